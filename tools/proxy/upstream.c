/* upstream.c - connections to the upstream, and the calls made over them. */
#include "upstream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "conn.h"
#include "request.h"

enum { IDLE_UPSTREAMS_MAX = 64 };

/* ------------------------------------------------------------ connections */

static void upstream_close(struct upstream *upstream)
{
    upstream->worker->upstream_count--;
    endpoint_close(&upstream->endpoint);
    http_free(&upstream->response);
    worker_bury(upstream->worker, &upstream->endpoint.record);
}

static void upstream_forget_idle(struct upstream *upstream)
{
    LIST_REMOVE(upstream, siblings);
    upstream->worker->idle_upstream_count--;
}

static void upstream_keep(struct upstream *upstream)
{
    struct worker *worker = upstream->worker;
    if (worker->draining || worker->idle_upstream_count == IDLE_UPSTREAMS_MAX) {
        upstream_close(upstream);
        return;
    }
    LIST_INSERT_HEAD(&worker->idle_upstreams, upstream, siblings);
    worker->idle_upstream_count++;
    upstream->reused = true;
    endpoint_watch(worker, &upstream->endpoint, EPOLLIN | EPOLLRDHUP);
}

void upstreams_close_idle(struct worker *worker)
{
    while (!LIST_EMPTY(&worker->idle_upstreams)) {
        struct upstream *upstream = LIST_FIRST(&worker->idle_upstreams);
        upstream_forget_idle(upstream);
        upstream_close(upstream);
    }
}

static void upstream_ready(struct endpoint *endpoint, uint32_t events);

static struct upstream *upstream_connect(struct worker *worker)
{
    const struct sockaddr_in *address = &worker->server->options.upstream;
    const int on = 1;
    struct upstream *upstream = worker_allocate(worker, sizeof *upstream);
    if (!upstream)
        return NULL;
    *upstream = (struct upstream){
        .endpoint = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                     .ready = upstream_ready},
        .worker = worker};
    worker->upstream_count++;
    if (upstream->endpoint.fd >= 0 &&
        (connect(upstream->endpoint.fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
         errno == EINPROGRESS) &&
        endpoint_open(worker, &upstream->endpoint, EPOLLIN | EPOLLOUT)) {
        setsockopt(upstream->endpoint.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        worker->stats.upstream_opened++;
        return upstream;
    }
    upstream_close(upstream);
    return NULL;
}

/* Whether a call can have a connection now. */
static bool upstream_is_available(const struct worker *worker)
{
    const size_t limit = worker_share(worker, worker->server->options.max_upstreams);
    return limit == 0 || worker->upstream_count < limit || !LIST_EMPTY(&worker->idle_upstreams);
}

static struct upstream *upstream_take(struct worker *worker, bool fresh)
{
    struct upstream *upstream = LIST_FIRST(&worker->idle_upstreams);
    if (fresh || !upstream)
        return upstream_connect(worker);
    upstream_forget_idle(upstream);
    worker->stats.upstream_reused++;
    return upstream;
}

/* ------------------------------------------------------------------ calls */

static void call_queue(struct call *call)
{
    call->waiting = true;
    TAILQ_INSERT_TAIL(&call->worker->waiting_calls, call, siblings);
}

static void call_unqueue(struct call *call)
{
    if (call->waiting)
        TAILQ_REMOVE(&call->worker->waiting_calls, call, siblings);
    call->waiting = false;
}

/* Takes the call off its request and its connection, which the caller goes on with. */
static void call_end(struct call *call)
{
    call_unqueue(call);
    call->request->call = NULL;
    if (call->upstream)
        call->upstream->call = NULL;
    call->upstream = NULL;
    context_end(&call->worker->contexts, call->ctx);
    worker_bury(call->worker, &call->record);
}

static void call_abort(struct call *call)
{
    if (call->upstream)
        upstream_close(call->upstream);
    call_end(call);
}

/* The call's context is done: its connection is of no use to anybody. */
static void call_cancelled(struct call *call)
{
    struct stats *stats = &call->worker->stats;
    const bool sent = call->upstream != NULL;
    const bool timed_out = context_timed_out(call->ctx);
    const int64_t ended_ns = timed_out ? context_deadline(call->ctx) : call->abandoned_ns;
    call_abort(call);
    if (sent && ended_ns != 0) /* 0: cancelled from outside, nobody knows when */
        samples_add(timed_out ? &stats->deadline_to_close : &stats->cancel_to_close,
                    monotonic_ns() - ended_ns);
}

void call_abandon(struct call *call)
{
    call->abandoned_ns = monotonic_ns();
}

void call_detach(struct call *call)
{
    if (context_done(call->ctx))
        call_cancelled(call);
    else
        call_abort(call);
}

static void call_expect_response(struct call *call)
{
    struct http_message *response = &call->upstream->response;
    http_start(response, HTTP_RESPONSE);
    response->answers_head = call->request->conn->inbound.parser.method == HTTP_HEAD;
}

/* Gives the call a connection, or ends its request. */
static void call_connect(struct call *call, bool fresh)
{
    struct request *request = call->request;
    call->upstream = upstream_take(call->worker, fresh);
    if (!call->upstream) {
        call_end(call);
        request_end(request, OUTCOME_UPSTREAM_FAILED);
        return;
    }
    call->upstream->call = call;
    call_expect_response(call);
}

static void call_begin(struct request *request, bool fresh)
{
    struct worker *worker = request->conn->worker;
    struct call *call = worker_allocate(worker, sizeof *call);
    if (!call) {
        request_end(request, OUTCOME_OVERLOAD);
        return;
    }
    *call = (struct call){.worker = worker, .request = request};
    request->call = call;
    if (!context_call(&worker->contexts, request->scope.ctx, &call->ctx)) {
        call_end(call);
        request_end(request, OUTCOME_OVERLOAD);
    } else if (fresh || upstream_is_available(worker)) {
        call_connect(call, fresh);
    } else {
        call_queue(call);
    }
}

void call_start(struct request *request)
{
    call_begin(request, false);
}

void calls_serve_waiting(struct worker *worker)
{
    struct call *call;
    while ((call = TAILQ_FIRST(&worker->waiting_calls)) && upstream_is_available(worker)) {
        struct conn *conn = call->request->conn;
        call_unqueue(call);
        call_connect(call, false);
        call_send(call);
        conn_advance(conn);
    }
}

/* The connection broke, or speaks no HTTP. */
static void call_lost(struct call *call)
{
    struct request *request = call->request;
    struct upstream *upstream = call->upstream;
    struct conn *conn = request->conn;
    /* A connection that was kept may have been closed on us as we took it. */
    const bool again =
        upstream->reused && request->replayable && upstream->response.state == MESSAGE_WAITING;
    call_abort(call);
    if (again) {
        request->replayable = false;
        upstream->worker->stats.upstream_retried++;
        buffer_rewind(&conn->to_upstream);
        call_begin(request, true);
    } else {
        request_end(request, OUTCOME_UPSTREAM_FAILED);
    }
}

void call_send(struct call *call)
{
    struct upstream *upstream = call->upstream;
    if (upstream && upstream->connected && !upstream->send_failed &&
        !buffer_send(&call->request->conn->to_upstream, upstream->endpoint.fd))
        upstream->send_failed = true;
}

void call_watch(struct call *call)
{
    struct upstream *upstream = call->upstream;
    if (!upstream)
        return;
    struct conn *conn = call->request->conn;
    uint32_t interest = 0;
    if (buffer_length(&conn->out) < BUFFER_HIGH_BYTES)
        interest |= EPOLLIN;
    if (!upstream->connected || (!upstream->send_failed && buffer_length(&conn->to_upstream) > 0))
        interest |= EPOLLOUT;
    endpoint_watch(upstream->worker, &upstream->endpoint, interest);
}

/* -------------------------------------------------------------- responses */

/* The response's head is there: passes it on. False: it is none that we can. */
static bool call_respond(struct call *call)
{
    struct http_message *response = &call->upstream->response;
    struct request *request = call->request;
    struct conn *conn = request->conn;
    const unsigned status = response->parser.status_code;
    if (status == 101 || http_unsupported(response) != OUTCOME_COMPLETED)
        return false;
    if (status >= 200)
        request->status = (int)status;
    else if (conn->inbound.parser.http_minor == 0)
        return true; /* HTTP/1.0 knows no interim responses */
    const bool close = conn->closing || conn->worker->draining;
    if (!http_write_response(response, &conn->inbound, &conn->out, close))
        conn->closing = true;
    return true;
}

static void call_completed(struct call *call, bool reusable)
{
    struct upstream *upstream = call->upstream;
    struct request *request = call->request;
    struct conn *conn = request->conn;
    reusable = reusable && upstream->response.keep_alive && !upstream->send_failed &&
               buffer_length(&conn->to_upstream) == 0 && conn->inbound.state == MESSAGE_DONE;
    request->response_complete = true;
    conn->inbound.body_out = NULL;
    call_end(call);
    if (reusable)
        upstream_keep(upstream);
    else
        upstream_close(upstream);
}

/* Parses what arrived; no bytes: the upstream closed. */
static void call_parse(struct call *call, const char *data, size_t length)
{
    struct http_message *response = &call->upstream->response;
    const bool closed = length == 0;
    do {
        size_t used = http_feed(response, data, length);
        data += used;
        length -= used;
        if (response->state == MESSAGE_HEAD_READY && !call_respond(call))
            response->state = MESSAGE_FAILED;
        if (response->state == MESSAGE_DONE && response->parser.status_code < 200)
            call_expect_response(call); /* that was an interim one */
    } while (length > 0 && response->state != MESSAGE_DONE && response->state != MESSAGE_FAILED);
    if (response->state == MESSAGE_DONE)
        call_completed(call, !closed && length == 0);
    else if (closed || response->state == MESSAGE_FAILED)
        call_lost(call);
}

static void call_receive(struct call *call)
{
    struct worker *worker = call->worker;
    ssize_t length = recv(call->upstream->endpoint.fd, worker->scratch, SCRATCH_BYTES, 0);
    if (length >= 0)
        call_parse(call, worker->scratch, (size_t)length);
    else if (errno != EAGAIN && errno != EINTR)
        call_lost(call);
}

static bool upstream_connected(struct upstream *upstream)
{
    int error = 0;
    socklen_t length = sizeof error;
    upstream->connected =
        getsockopt(upstream->endpoint.fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
    return upstream->connected;
}

static void upstream_ready(struct endpoint *endpoint, uint32_t events)
{
    struct upstream *upstream = CONTAINER_OF(endpoint, struct upstream, endpoint);
    struct call *call = upstream->call;
    if (!call) {
        /* Nothing was asked, so whatever it says, it is of no more use. */
        upstream_forget_idle(upstream);
        upstream_close(upstream);
        return;
    }
    struct conn *conn = call->request->conn;
    if (!upstream->connected && !upstream_connected(upstream)) {
        call_lost(call);
    } else {
        if (events & EPOLLOUT)
            call_send(call);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            call_receive(call);
    }
    conn_advance(conn);
}
