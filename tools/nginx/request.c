/*
 * request.c - the context of a request, from its headers to its end.
 *
 * It is made when the headers have been read, as the server block says, and again where the
 * location that answers says otherwise: the time counts from the headers all the same. So it
 * goes for each location that an internal redirect leads to. An error page that answers in
 * the place of a request that was ended gets a context of its own, with the time-out of its
 * location from then on: what the client asked for is over. Subrequests are under the
 * context of their main request.
 *
 * An internal redirect makes nginx forget what modules keep for a request, but not the
 * clean-ups of its pool, so there the record is found again.
 */
#include "module.h"

#include <errno.h>

typedef ngx_http_canopy_request_t request;
typedef ngx_http_canopy_loc_conf_t loc_conf;

const canopy_cause ngx_http_canopy_client_gone = {-ECONNRESET, "the client has gone", NULL, 0};

/* Records that are kept for later requests. */
#define SPARES_MOST 512

/* ------------------------------------------------------------------ contexts */

static int64_t later_ns(int64_t from_ns, int64_t timeout_ns)
{
    return timeout_ns < CANOPY_NEVER - from_ns ? from_ns + timeout_ns : CANOPY_NEVER;
}

/* What the directives make of the time-out that came, if one did. */
static int64_t allowed_ns(const loc_conf *loc, int64_t timeout_ns)
{
    int64_t max_ns = loc->in.max_timeout_ns;
    if (timeout_ns == CANOPY_NEVER && loc->timeout > 0)
        timeout_ns = (int64_t)loc->timeout * 1000000;
    return max_ns > 0 && timeout_ns > max_ns ? max_ns : timeout_ns;
}

/* Where nothing came with the request but a time-out, or not even that. */
static canopy_ctx *make_plain(int64_t deadline_ns)
{
    const canopy_ctx *served = ngx_http_canopy_process.served;
    return deadline_ns == CANOPY_NEVER ? canopy_with_cancel(served)
                                       : canopy_with_deadline(served, deadline_ns);
}

/* The context that a request has by its headers; a trace is begun where none came. */
static canopy_ctx *make_from_headers(request *rq, const loc_conf *loc)
{
    canopy_wire wire;
    (void)canopy_wire_begin(&wire, &loc->in, rq->received_ns); /* of a policy that is valid */
    ngx_http_canopy_take(rq, loc, &wire);
    wire.timeout_ns = allowed_ns(loc, wire.timeout_ns);
    rq->deadline_ns = later_ns(rq->received_ns, wire.timeout_ns);
    if (loc->trace && !(wire.taken & CANOPY_WIRE_TRACE) &&
        canopy_traceparent_next(NULL, CANOPY_TRACE_SAMPLED | CANOPY_TRACE_RANDOM, NULL,
                                &wire.trace) == 0)
        wire.taken |= CANOPY_WIRE_TRACE;
    if (!(wire.taken & (CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE)))
        return make_plain(rq->deadline_ns);
    return canopy_with_wire(ngx_http_canopy_process.served, &wire);
}

/* By its location; with `with_headers` also by what came with the request. */
static canopy_ctx *make_context(request *rq, const loc_conf *loc, ngx_flag_t with_headers)
{
    if (with_headers && (loc->timeout_headers || loc->in.fields))
        return make_from_headers(rq, loc);
    rq->deadline_ns = later_ns(rq->received_ns, allowed_ns(loc, CANOPY_NEVER));
    return make_plain(rq->deadline_ns);
}

/* ------------------------------------------------------------------- the end */

static void log_end(const request *rq)
{
    static const ngx_str_t none = ngx_string("-");
    const ngx_http_upstream_t *upstream = rq->r->upstream;
    const ngx_str_t *peer =
        upstream && upstream->state && upstream->state->peer ? upstream->state->peer : &none;
    int64_t after_ms = (ngx_http_canopy_now_ns() - rq->received_ns) / 1000000;
    if (rq->deadline_ns == CANOPY_NEVER) {
        ngx_log_error(NGX_LOG_INFO, rq->r->connection->log, 0,
                      "canopy: request ended: %s, after %L ms, deadline none, upstream %V",
                      rq->cause->text, after_ms, peer);
    } else {
        ngx_log_error(NGX_LOG_INFO, rq->r->connection->log, 0,
                      "canopy: request ended: %s, after %L ms, deadline %L ms, upstream %V",
                      rq->cause->text, after_ms, (rq->deadline_ns - rq->received_ns) / 1000000,
                      peer);
    }
}

/* The end of its context, also one that waits for nginx's threads, comes to it no more. */
static void disarm(request *rq)
{
    if (rq->again && rq->again->timer_set)
        ngx_del_timer(rq->again);
    if (rq->is_armed)
        (void)ngx_http_canopy_process.callback_stop(&rq->ended.record);
    rq->is_armed = 0;
}

void ngx_http_canopy_over(ngx_http_canopy_request_t *rq, const canopy_cause *cause)
{
    disarm(rq);
    if (cause)
        (void)canopy_cancel_cause(rq->ctx, cause);
    if (rq->cause)
        return;
    rq->cause = canopy_cause_of(rq->ctx);
    log_end(rq);
}

/* ------------------------------------------------------------- a request's record */

static void count_live(ngx_int_t change)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    process->live += (ngx_uint_t)change;
    process->timer.cancelable = process->live == 0;
}

/*
 * Records are used again: from the pool of a request, where it is nearly full, they would take
 * a block more of memory.
 */
static request *take_record(ngx_log_t *log)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    request *rq = process->spares;
    if (!rq)
        return ngx_alloc(sizeof *rq, log);
    process->spares = rq->spare;
    process->spares_count--;
    return rq;
}

/*
 * Its clean-up is still looked at for the next one in the list when this returns, so of too
 * many records it is an older one that goes.
 */
static void give_record_back(void *data)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    request *rq = data;
    if (process->spares_count == SPARES_MOST)
        ngx_free(take_record(NULL));
    rq->spare = process->spares;
    process->spares = rq;
    process->spares_count++;
}

/* Lets go of the request, which goes on without a context. */
static void forget(request *rq)
{
    disarm(rq);
    ngx_http_canopy_calls_end(rq);
    canopy_end(rq->ctx);
    rq->ctx = NULL;
    rq->cleanup.handler = give_record_back;
    count_live(-1);
    ngx_http_canopy_count_end(rq->cause);
}

/* With the request's pool. */
static void end(void *data)
{
    forget(data);
    give_record_back(data);
}

static request *make_record(ngx_http_request_t *r)
{
    request *rq = take_record(r->connection->log);
    if (!rq)
        return NULL;
    rq->cleanup.data = rq;
    rq->r = r;
    rq->cause = NULL;
    rq->received_ns = ngx_http_canopy_now_ns();
    rq->again = NULL;
    rq->call = NULL;
    rq->came = NULL;
    rq->tries = 0;
    rq->malformed = 0;
    rq->is_timed = 0;
    rq->is_armed = 0;
    return rq;
}

/* From here on the record is found, and goes with the pool. */
static void enter(request *rq)
{
    ngx_pool_t *pool = rq->r->pool;
    rq->cleanup.handler = end;
    rq->cleanup.next = pool->cleanup;
    pool->cleanup = &rq->cleanup;
    ngx_http_set_ctx(rq->r, rq, ngx_http_canopy_module);
    count_live(1);
    ngx_http_canopy_count(NGX_HTTP_CANOPY_REQUESTS);
}

ngx_http_canopy_request_t *ngx_http_canopy_request(ngx_http_request_t *r)
{
    r = r->main;
    request *rq = ngx_http_get_module_ctx(r, ngx_http_canopy_module);
    if (rq)
        return rq;
    for (ngx_pool_cleanup_t *cleanup = r->pool ? r->pool->cleanup : NULL; cleanup;
         cleanup = cleanup->next)
        if (cleanup->handler == end) {
            ngx_http_set_ctx(r, cleanup->data, ngx_http_canopy_module);
            return cleanup->data;
        }
    return NULL;
}

/* ------------------------------------------------------------------- phases */

/* A phase's answer, given here where nginx would give none. */
static ngx_int_t refuse(ngx_http_request_t *r, ngx_int_t status)
{
    if (status != NGX_HTTP_REQUEST_TIME_OUT)
        return status;
    ngx_http_canopy_finalize(r, status);
    return NGX_DONE;
}

/*
 * Arms a context that was just made. One whose time is up is not: its callback would run
 * here, beneath the handler of the request that it is to end.
 */
static ngx_int_t arm(request *rq, const loc_conf *loc)
{
    rq->loc = loc;
    if (rq->deadline_ns <= ngx_http_canopy_now_ns() || canopy_done(rq->ctx)) {
        (void)canopy_set_deadline(rq->ctx, 0);
        ngx_http_canopy_over(rq, NULL);
        return refuse(rq->r, ngx_http_canopy_answer(rq));
    }
    if (ngx_http_canopy_process.after_func(rq->ctx, &rq->ended.record, ngx_http_canopy_ended, rq) !=
        0)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    rq->is_armed = 1;
    ngx_http_canopy_watch_client(rq->r, loc);
    return NGX_DECLINED;
}

static ngx_int_t begin(ngx_http_request_t *r, const loc_conf *loc)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    if (process->max_live > 0 && process->live >= process->max_live) {
        ngx_http_canopy_count(NGX_HTTP_CANOPY_REFUSED);
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0, "canopy: request refused: %ui are alive",
                      process->live);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    request *rq = make_record(r);
    if (!rq)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    rq->ctx = make_context(rq, loc, 1);
    if (!rq->ctx) {
        give_record_back(rq);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    enter(rq);
    return arm(rq, loc);
}

/* What goes on then is an error page. A try of a subrequest that is refused is not the end. */
static ngx_flag_t is_over(const request *rq)
{
    return rq->cause && (canopy_done(rq->ctx) || rq->r->error_page);
}

/*
 * Another location: another context. The old one is let go of and not cancelled, since
 * subrequests may have tries below it.
 */
static ngx_int_t begin_again(request *rq, const loc_conf *loc)
{
    ngx_flag_t is_error_page = is_over(rq);
    if (is_error_page)
        rq->received_ns = ngx_http_canopy_now_ns();
    canopy_ctx *ctx = make_context(rq, loc, !is_error_page);
    if (!ctx)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    disarm(rq);
    canopy_release(rq->ctx);
    rq->ctx = ctx;
    return arm(rq, loc);
}

ngx_int_t ngx_http_canopy_post_read(ngx_http_request_t *r)
{
    const loc_conf *loc = ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
    return loc->enable ? begin(r, loc) : NGX_DECLINED;
}

/* An error page for a request without a context gets none: it may be the answer for want of one. */
ngx_int_t ngx_http_canopy_preaccess(ngx_http_request_t *r)
{
    if (r != r->main)
        return NGX_DECLINED;
    const loc_conf *loc = ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
    request *rq = ngx_http_canopy_request(r);
    if (!rq)
        return loc->enable && !r->error_page ? begin(r, loc) : NGX_DECLINED;
    if (!loc->enable) {
        forget(rq);
        ngx_http_set_ctx(r, NULL, ngx_http_canopy_module);
        return NGX_DECLINED;
    }
    if (is_over(rq) || rq->loc->made_as != loc->made_as)
        return begin_again(rq, loc);
    rq->loc = loc;
    ngx_http_canopy_watch_client(r, loc);
    return NGX_DECLINED;
}

/* --------------------------------------------------------------------- the log */

static ngx_flag_t client_has_gone(const ngx_http_request_t *r)
{
    return r->headers_out.status == NGX_HTTP_CLIENT_CLOSED_REQUEST ||
           (r->connection->error && !r->filter_finalize);
}

/* Before nginx's own logs, which may ask for the cause. */
ngx_int_t ngx_http_canopy_log(ngx_http_request_t *r)
{
    request *rq = r == r->main ? ngx_http_canopy_request(r) : NULL;
    if (!rq)
        return NGX_OK;
    if (!rq->cause && rq->loc->client_abort && client_has_gone(r))
        ngx_http_canopy_over(rq, &ngx_http_canopy_client_gone);
    return NGX_OK;
}
