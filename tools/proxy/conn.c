/* conn.c - a client's connection. */
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "request.h"
#include "upstream.h"

/* How long a client that was told to close may take to do so. */
#define LINGER_NS (1000 * NS_PER_MS)

/* An idle connection is closed by a part of its time too early, at most. */
#define IDLE_PRECISION 16

static bool is_open(const struct conn *conn)
{
    return conn->endpoint.fd >= 0;
}

static void conn_limit(struct conn *conn, int64_t until_ns)
{
    conn->idle_until_ns = until_ns;
    context_set_deadline(conn->scope.timed, until_ns);
}

/* Where the request's own deadline is earlier there is nothing to move. */
void conn_busy(struct conn *conn, int64_t until_ns)
{
    if (conn->idle_until_ns <= until_ns)
        conn_limit(conn, CANOPY_NEVER);
}

/* Not moved each time: it is enough that it is about right. */
void conn_idle(struct conn *conn)
{
    const int64_t idle_ns = conn->worker->server->options.idle_ns;
    const int64_t until_ns = conn->worker->now_ns + idle_ns;
    if (conn->idle_until_ns > until_ns || until_ns - conn->idle_until_ns > idle_ns / IDLE_PRECISION)
        conn_limit(conn, until_ns);
}

/* Buries the connection once nothing refers to it. */
static void conn_settle(struct conn *conn)
{
    if (is_open(conn) || conn->request || conn->buried)
        return;
    conn->buried = true;
    scope_close(&conn->worker->contexts, &conn->scope);
    http_free(&conn->inbound);
    buffer_free(&conn->leftover);
    buffer_free(&conn->out);
    buffer_free(&conn->to_upstream);
    worker_bury(conn->worker, &conn->endpoint.record);
}

static void conn_shut(struct conn *conn)
{
    context_unwatch(&conn->on_done);
    endpoint_close(&conn->endpoint);
    LIST_REMOVE(conn, siblings);
}

void conn_close(struct conn *conn)
{
    if (!is_open(conn))
        return;
    conn_shut(conn);
    conn_settle(conn);
}

/* Says what the connection, and its call, wait for next. */
static void conn_watch(struct conn *conn)
{
    if (conn->request && conn->request->call)
        call_watch(conn->request->call);
    uint32_t interest = EPOLLRDHUP;
    if (buffer_length(&conn->leftover) == 0 &&
        buffer_length(&conn->to_upstream) < BUFFER_HIGH_BYTES)
        interest |= EPOLLIN;
    if (buffer_length(&conn->out) > 0)
        interest |= EPOLLOUT;
    endpoint_watch(conn->worker, &conn->endpoint, interest);
}

/* The client hung up: so nobody waits for what its request is doing. */
static void conn_gone(struct conn *conn)
{
    conn_shut(conn);
    if (conn->request && conn->request->call)
        call_abandon(conn->request->call);
    context_cancel(conn->scope.timed, OUTCOME_CLIENT_GONE);
    /* A call that no cancel reaches runs to its end, and may not wait for room. */
    buffer_clear(&conn->out);
    conn_watch(conn);
    conn_settle(conn);
}

/* The context is done: idle for too long, or the server's grace period is over. */
static void conn_cancelled(void *argument)
{
    struct conn *conn = argument;
    /* A request has a callback of its own, and still has an answer to write. */
    if (!conn->request)
        conn_close(conn);
}

/* All is sent, but closing while the client still writes would destroy it on the way. */
static void conn_linger(struct conn *conn)
{
    if (context_done(conn->scope.timed)) {
        conn_close(conn);
        return;
    }
    conn->lingering = true;
    shutdown(conn->endpoint.fd, SHUT_WR);
    conn_limit(conn, conn->worker->now_ns + LINGER_NS);
    endpoint_watch(conn->worker, &conn->endpoint, EPOLLIN | EPOLLRDHUP);
}

/* Feeds the parser up to the end of the current request; returns the bytes used. */
static size_t conn_parse(struct conn *conn, const char *data, size_t length)
{
    struct http_message *inbound = &conn->inbound;
    size_t used = 0;
    while (used < length && inbound->state != MESSAGE_DONE && inbound->state != MESSAGE_FAILED) {
        used += http_feed(inbound, data + used, length - used);
        if (inbound->state == MESSAGE_HEAD_READY)
            request_begin(conn);
    }
    if (inbound->state == MESSAGE_FAILED) {
        request_refuse(conn, inbound->failure);
        return length;
    }
    if (conn->request && conn->request->call)
        call_send(conn->request->call);
    return used;
}

static void conn_receive(struct conn *conn)
{
    char *scratch = conn->worker->scratch;
    ssize_t length = recv(conn->endpoint.fd, scratch, SCRATCH_BYTES, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        conn_gone(conn);
        return;
    }
    if (conn->lingering)
        return;
    size_t used = 0;
    if (buffer_length(&conn->leftover) == 0)
        used = conn_parse(conn, scratch, (size_t)length);
    buffer_append(&conn->leftover, scratch + used, (size_t)length - used);
}

static void conn_ready(struct endpoint *endpoint, uint32_t events)
{
    struct conn *conn = CONTAINER_OF(endpoint, struct conn, endpoint);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        conn_gone(conn);
        return;
    }
    if (events & EPOLLIN)
        conn_receive(conn);
    conn_advance(conn);
}

static bool conn_send(struct conn *conn)
{
    if (is_open(conn))
        return !conn->leftover.failed && buffer_send(&conn->out, conn->endpoint.fd);
    buffer_clear(&conn->out); /* a response that nobody waits for */
    return true;
}

/*
 * Between two requests, or behind the last one. Returns whether another may
 * begin; if not, the connection is closed, or will be.
 */
static bool conn_next(struct conn *conn)
{
    const bool at_end = conn->inbound.state == MESSAGE_DONE;
    if (conn->closing || (at_end && conn->worker->draining)) {
        if (at_end)
            conn_close(conn);
        else
            conn_linger(conn);
        return false;
    }
    if (at_end)
        http_start(&conn->inbound, HTTP_REQUEST);
    return buffer_length(&conn->leftover) > 0;
}

void conn_advance(struct conn *conn)
{
    while (!conn->lingering) {
        if (!conn_send(conn)) {
            conn_gone(conn);
            return;
        }
        if (buffer_length(&conn->out) > 0) {
            /* Past its end a connection gets one attempt to say so, no more. */
            if (context_done(conn->scope.timed))
                conn_close(conn);
            break;
        }
        if (conn->request) {
            if (!conn->request->response_complete)
                break;
            request_end(conn->request, is_open(conn) ? OUTCOME_COMPLETED : OUTCOME_CLIENT_GONE);
        }
        if (!is_open(conn)) {
            conn_settle(conn);
            return;
        }
        if (!conn_next(conn))
            break;
        size_t used =
            conn_parse(conn, buffer_data(&conn->leftover), buffer_length(&conn->leftover));
        buffer_consume(&conn->leftover, used);
    }
    if (!conn->lingering)
        conn_watch(conn);
}

void conn_drain(struct conn *conn)
{
    const bool idle =
        !conn->request && conn->inbound.state == MESSAGE_WAITING && buffer_length(&conn->out) == 0;
    if (!idle)
        return;
    /* What the client sent before it could know is still served. */
    conn_ready(&conn->endpoint, EPOLLIN);
    if (is_open(conn) && conn->inbound.state == MESSAGE_WAITING)
        conn_close(conn);
}

void conn_open(struct worker *worker, int fd, const struct sockaddr_in *client)
{
    const int on = 1;
    const int64_t idle_until_ns = worker->now_ns + worker->server->options.idle_ns;
    struct conn *conn = worker_allocate(worker, sizeof *conn);
    if (!conn) {
        close(fd);
        return;
    }
    *conn = (struct conn){.endpoint = {.fd = fd, .ready = conn_ready},
                          .worker = worker,
                          .idle_until_ns = idle_until_ns,
                          .client = *client};
    LIST_INSERT_HEAD(&worker->conns, conn, siblings);
    http_start(&conn->inbound, HTTP_REQUEST);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    worker->stats.connections++;
    if (!connection_contexts_open(&worker->contexts, &conn->scope, idle_until_ns, &conn->client) ||
        !context_watch(&worker->contexts, conn->scope.timed, &conn->on_done, conn_cancelled,
                       conn) ||
        !endpoint_open(worker, &conn->endpoint, EPOLLIN | EPOLLRDHUP))
        conn_close(conn);
}
