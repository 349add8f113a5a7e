/* request.c - one request, from its head to the last byte of the response. */
#include "request.h"

#include "conn.h"
#include "upstream.h"

static void request_cancelled(void *argument)
{
    struct request *request = argument;
    struct conn *conn = request->conn;
    request_end(request, context_outcome(request->scope.timed));
    conn_advance(conn);
}

/* NULL: out of memory, and the connection is closed. */
static struct request *request_new(struct conn *conn)
{
    struct worker *worker = conn->worker;
    struct request *request = worker_allocate(worker, sizeof *request);
    worker->stats.requests++;
    if (!request) {
        worker->stats.outcomes[OUTCOME_OVERLOAD]++;
        conn_close(conn);
        return NULL;
    }
    *request =
        (struct request){.conn = conn, .id = worker->next_request_id, .started_ns = worker->now_ns};
    worker->next_request_id += worker->server->options.workers;
    conn->request = request;
    return request;
}

/* Counts the request among the live ones, unless that would be one too many. */
static bool request_admit(struct request *request, struct server *server)
{
    const unsigned limit = server->options.max_requests;
    const unsigned live =
        atomic_fetch_add_explicit(&server->live_requests, 1, memory_order_relaxed);
    request->admitted = true;
    return limit == 0 || live < limit;
}

static bool request_open(struct request *request, struct worker *worker, int64_t timeout_ms)
{
    struct conn *conn = request->conn;
    const int64_t timeout_ns =
        timeout_ms >= 0 ? timeout_ms * NS_PER_MS : worker->server->options.timeout_ns;
    const int64_t deadline_ns = worker->now_ns + timeout_ns;
    conn_busy(conn, deadline_ns);
    return request_contexts_open(&worker->contexts, &request->scope, &conn->scope, deadline_ns,
                                 &request->id) &&
           context_watch(&worker->contexts, request->scope.timed, &request->on_done,
                         request_cancelled, request);
}

/* What is left of its time, for the upstream to know; -1: it is not limited. */
static int64_t request_remaining_ms(const struct request *request)
{
    const int64_t deadline_ns = scope_deadline(&request->scope);
    if (deadline_ns == CANOPY_NEVER)
        return -1;
    const int64_t remaining_ns = deadline_ns - request->conn->worker->now_ns;
    return remaining_ns > 0 ? remaining_ns / NS_PER_MS : 0;
}

void request_begin(struct conn *conn)
{
    struct worker *worker = conn->worker;
    struct request *request = request_new(conn);
    if (!request)
        return;
    const enum outcome unsupported = http_unsupported(&conn->inbound);
    if (unsupported != OUTCOME_COMPLETED) {
        request_end(request, unsupported);
        return;
    }
    if (!request_admit(request, worker->server) ||
        !request_open(request, worker, http_timeout_ms(&conn->inbound))) {
        request_end(request, OUTCOME_OVERLOAD);
        return;
    }
    request->replayable = http_is_replayable(&conn->inbound);
    buffer_clear(&conn->to_upstream);
    http_write_request(&conn->inbound, &conn->to_upstream, request_remaining_ms(request));
    /* Born done: its callback will answer it. */
    if (!context_done(request->scope.timed))
        call_start(request);
}

void request_refuse(struct conn *conn, enum outcome outcome)
{
    struct request *request = conn->request ? conn->request : request_new(conn);
    if (!request)
        return;
    conn->closing = true;
    request_end(request, outcome);
}

static void request_log(const struct request *request, enum outcome outcome)
{
    struct worker *worker = request->conn->worker;
    const struct http_message *inbound = &request->conn->inbound;
    const struct log_entry entry = {
        .method = http_method_str(inbound->parser.method),
        .target = buffer_data(&inbound->text),
        .target_length = inbound->start_length,
        .status = request->status,
        .duration_ns = monotonic_ns() - request->started_ns,
        .outcome = outcome,
    };
    log_request(&worker->server->log, request->scope.ctx, &entry);
}

/* Tells the client how it ended: by a response, or by cutting off one that began. */
static void request_answer(struct request *request, struct conn *conn, enum outcome outcome)
{
    if (request->status != 0) {
        conn_close(conn);
        return;
    }
    conn->closing = conn->closing || conn->worker->draining || context_done(conn->scope.timed) ||
                    !conn->inbound.keep_alive;
    request->status = outcomes[outcome].code;
    http_write_answer(&conn->inbound, &conn->out, &outcomes[outcome], conn->closing);
}

void request_end(struct request *request, enum outcome outcome)
{
    struct conn *conn = request->conn;
    struct worker *worker = conn->worker;
    if (request->call)
        call_detach(request->call);
    if (outcome != OUTCOME_COMPLETED && conn->endpoint.fd >= 0)
        request_answer(request, conn, outcome);
    worker->stats.outcomes[outcome]++;
    request_log(request, outcome);
    if (request->admitted)
        atomic_fetch_sub_explicit(&worker->server->live_requests, 1, memory_order_relaxed);
    context_unwatch(&request->on_done);
    scope_close(&worker->contexts, &request->scope);
    /* What is still to come of the body is read, and dropped. */
    conn->inbound.body_out = NULL;
    buffer_clear(&conn->to_upstream);
    conn->request = NULL;
    conn_idle(conn);
    worker_bury(worker, &request->record);
}
