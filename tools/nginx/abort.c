/*
 * abort.c - the end of a context is the end of its request.
 *
 * It comes from the worker's loop, beneath no handler of the request. Whatever the request
 * waits for is let go of first, by nginx's own clean-ups: upstreams are closed, timers
 * deleted, subrequests are there no more. Then it is answered, if nothing of another
 * answer is on its way yet; else the connection (in HTTP/2 the stream) is cut off.
 */
#include "module.h"

/* As long as one of nginx's threads is at work on the request, look again this often. */
#define AGAIN_MS 5

typedef ngx_http_canopy_request_t request;

/* ------------------------------------------------------------------- what goes on */

/* Who waits for another to fill the cache would be waited for as threads are. */
static void leave_cache_queue(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)
    if (r->cache && r->cache->waiting) {
        if (r->cache->wait_event.timer_set)
            ngx_del_timer(&r->cache->wait_event);
        r->cache->waiting = 0;
        r->main->blocked--;
    }
#endif
}

/* Subrequests hang in their parents' output; main first, then those below, in any order. */
static void leave_cache_queues(ngx_http_request_t *r)
{
    leave_cache_queue(r);
    for (ngx_http_postponed_request_t *postponed = r->postponed; postponed;
         postponed = postponed->next)
        if (postponed->request)
            leave_cache_queues(postponed->request);
}

/* Those in the background hang nowhere, but go with a request that is not answered yet. */
static void leave_all_cache_queues(request *rq)
{
    leave_cache_queues(rq->r);
    for (ngx_http_canopy_call_t *call = rq->r->done ? NULL : rq->call; call; call = call->next)
        leave_cache_queue(call->r);
}

/*
 * One reference more than there is need for keeps the request where a clean-up drops the
 * last. What is left afterwards is dropped at once, as nginx itself does where it
 * terminates a request; but who discards the rest of a body has a reference still.
 */
static void let_go(ngx_http_request_t *r)
{
    ngx_http_cleanup_t *cleanup = r->cleanup;
    r->count++;
    r->cleanup = NULL;
    for (; cleanup; cleanup = cleanup->next)
        if (cleanup->handler)
            cleanup->handler(cleanup->data);
    r->count = r->discard_body ? 2 : 1;
    r->postponed = NULL;
    r->posted_requests = NULL;
    r->connection->data = r;
}

/* nginx closes a body's file when an upstream has answered. */
static ngx_flag_t is_body_gone(const ngx_http_request_body_t *body)
{
    return body->temp_file && body->temp_file->file.fd == NGX_INVALID_FILE;
}

/* An error page is to pass on a whole body or none. */
static void forget_body(ngx_http_request_t *r)
{
    r->request_body->bufs = NULL;
    r->request_body_no_buffering = 0;
    r->headers_in.content_length = NULL;
    r->headers_in.content_length_n = 0;
    r->headers_in.chunked = 0;
}

/*
 * A body of which a part was read cannot be read to its end any more: what follows on the
 * connection is its rest, not a request.
 */
static void leave_body(ngx_http_request_t *r)
{
    if (!r->request_body)
        return;
    if (r->reading_body || r->request_body->rest > 0) {
        r->keepalive = 0;
        r->lingering_close = 1;
        forget_body(r);
#if (NGX_HTTP_V2)
        if (r->stream)
            r->stream->skip_data = 1;
#endif
    } else if (is_body_gone(r->request_body)) {
        forget_body(r);
    }
}

/* --------------------------------------------------------------------- the answer */

/* A drain is a deadline too, but not one that the client or the location set. */
ngx_int_t ngx_http_canopy_answer(const ngx_http_canopy_request_t *rq)
{
    const canopy_cause *cause = canopy_cause_of(rq->ctx);
    if (cause == CANOPY_DEADLINE_EXCEEDED)
        return (ngx_int_t)rq->loc->timeout_status;
    if (cause == &ngx_http_canopy_drained)
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    return canopy_wire_status(rq->ctx).http_status;
}

/* nginx ends a 408 without an answer, and what comes of an answer in the usual way. */
void ngx_http_canopy_finalize(ngx_http_request_t *r, ngx_int_t status)
{
    if (status == NGX_HTTP_REQUEST_TIME_OUT)
        status = ngx_http_special_response_handler(r, status);
    ngx_http_finalize_request(r, status);
}

/* Bytes that are sent, or that are in a stream or in TLS records, cannot be taken back. */
static ngx_flag_t is_on_its_way(const ngx_http_request_t *r)
{
    if (!r->header_sent)
        return 0;
    return r->http_version >= NGX_HTTP_VERSION_20 || r->connection->sent > 0 ||
           (r->connection->buffered & NGX_LOWLEVEL_BUFFERED);
}

/* Header and filters as they are before an answer begins: what was written goes nowhere. */
static void take_back(ngx_http_request_t *r)
{
    ngx_http_clean_header(r);
    ngx_memzero(r->ctx, sizeof(void *) * ngx_http_max_module);
    r->header_sent = 0;
    r->header_only = 0;
    r->chunked = 0;
    r->allow_ranges = 0;
    r->filter_need_in_memory = 0;
    r->filter_need_temporary = 0;
    r->main_filter_need_in_memory = 0;
    r->out = NULL;
    r->buffered = 0;
    r->connection->buffered &= ~NGX_HTTP_LOWLEVEL_BUFFERED;
}

static void stop_timers(ngx_connection_t *connection)
{
    if (connection->read->timer_set)
        ngx_del_timer(connection->read);
    if (connection->write->timer_set)
        ngx_del_timer(connection->write);
    connection->write->delayed = 0;
}

static void answer(request *rq)
{
    ngx_http_request_t *r = rq->r;
    let_go(r);
    if (r->connection->error) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }
    stop_timers(r->connection);
    leave_body(r);
    take_back(r);
    if (!r->discard_body)
        r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
    ngx_http_canopy_finalize(r, ngx_http_canopy_answer(rq));
}

/* ----------------------------------------------------------------------- the end */

static void end_request(request *rq);

static void on_again(ngx_event_t *event)
{
    end_request(event->data);
}

/* A thread reads or writes what the request has; its event comes to the request as it is. */
static void end_later(request *rq)
{
    if (!rq->again) {
        rq->again = ngx_pcalloc(rq->r->pool, sizeof *rq->again);
        if (!rq->again)
            return;
        rq->again->handler = on_again;
        rq->again->data = rq;
        rq->again->log = rq->r->connection->log;
    }
    ngx_add_timer(rq->again, AGAIN_MS);
}

void ngx_http_canopy_end_background(request *rq)
{
    for (ngx_http_canopy_call_t *call = rq->call; call; call = call->next)
        if (call->ctx && call->r->background) {
            rq->r->count++; /* which the upstream's end takes */
            (*call->u->cleanup)(call->r);
            ngx_http_finalize_request(call->r, NGX_OK);
        }
}

/*
 * The answer is out, and what may be at work still is in the background. What else the
 * request waits for, the rest of its body, is left to nginx.
 */
static void end_answered(request *rq)
{
    ngx_http_request_t *r = rq->r;
    r->count++;
    ngx_http_canopy_end_background(rq);
    ngx_http_finalize_request(r, NGX_DONE);
}

static void end_request(request *rq)
{
    ngx_http_request_t *r = rq->r;
    ngx_connection_t *connection = r->connection;
    if (r->post_action)
        return;
    leave_all_cache_queues(rq);
    if (r->blocked) {
        end_later(rq);
        return;
    }
    ngx_http_set_log_request(connection->log, r);
    if (r->done) {
        end_answered(rq);
    } else if (is_on_its_way(r)) {
        ngx_http_canopy_over(rq, NULL);
        r->count++;
        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
    } else {
        ngx_http_canopy_over(rq, NULL);
        answer(rq);
    }
    ngx_http_run_posted_requests(connection);
}

void ngx_http_canopy_ended(void *arg)
{
    request *rq = arg;
    (void)ngx_http_canopy_process.callback_drop(&rq->ended.record);
    rq->is_armed = 0;
    if (canopy_cause_of(rq->ctx) == CANOPY_DEADLINE_EXCEEDED)
        ngx_http_canopy_count_lateness(rq->deadline_ns);
    end_request(rq);
}

/* ---------------------------------------------------------------------- the client */

/* nginx does not end who waits for another to fill the cache before he is served. */
static void test_reading(ngx_http_request_t *r)
{
    request *rq = ngx_http_canopy_request(r);
    if (rq && (r->connection->read->pending_eof || r->connection->error))
        leave_all_cache_queues(rq);
    ngx_http_test_reading(r);
}

void ngx_http_canopy_watch_client(ngx_http_request_t *r, const ngx_http_canopy_loc_conf_t *loc)
{
    if (loc->client_abort && r->read_event_handler == ngx_http_block_reading)
        r->read_event_handler = test_reading;
    else if (!loc->client_abort && r->read_event_handler == test_reading)
        r->read_event_handler = ngx_http_block_reading;
}

/*
 * Here nginx looks by itself, unless its own directive forbids it. What is set in the
 * upstream's configuration is what this location says for all its requests.
 */
void ngx_http_canopy_watch_client_in_upstream(ngx_http_request_t *r,
                                              const ngx_http_canopy_loc_conf_t *loc)
{
    if (!loc->client_abort && !r->upstream->conf->ignore_client_abort) {
        r->upstream->conf->ignore_client_abort = 1;
        if (!r->reading_body) {
            r->read_event_handler = ngx_http_block_reading;
            r->write_event_handler = ngx_http_request_empty_handler;
        }
    }
    ngx_http_canopy_watch_client(r, loc);
}
