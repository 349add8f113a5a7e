/*
 * upstream.c - the tries of an upstream. One begins as nginx asks its balancer for a peer,
 * and ends as nginx gives that back. Where it may not take as long as the request it has a
 * context of its own, below the request's; else that is its context. What it sends is made
 * anew for it, and so tells what is left then; where that is too little there is no try.
 *
 * Balancers are wrapped once all of them are configured: so keepalive, and whatever else
 * gives connections out, is below us. Where nginx makes the balancer as it goes there is
 * nothing to wrap at configuration; see implicit.c.
 */
#include "upstream.h"

typedef ngx_http_canopy_call_t call_t;
typedef ngx_http_canopy_loc_conf_t loc_conf;

const canopy_cause ngx_http_canopy_call_late = {-ETIMEDOUT, "the try took too long", NULL, 0};
const canopy_cause ngx_http_canopy_not_tried = {-ETIMEDOUT, "too little time left to try", NULL, 0};

static const loc_conf *loc_of(ngx_http_request_t *r)
{
    return ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
}

/* ----------------------------------------------------------------- the end */

/* As if nginx's own timer had run out: so it goes on to the next upstream. */
static void call_is_late(void *arg)
{
    call_t *call = arg;
    ngx_connection_t *c = call->u->peer.connection;
    if (c == NULL || canopy_err(call->rq->ctx) != 0)
        return;
    ngx_http_canopy_count(NGX_HTTP_CANOPY_CALL_TIMEOUT);
    c->read->delayed = 0;
    c->read->timedout = 1;
    c->write->timedout = 1; /* which a TLS handshake looks at */
    c->read->handler(c->read);
}

void ngx_http_canopy_call_end(call_t *call)
{
    if (call->ctx == NULL)
        return;
    if (call->is_timed) {
        (void)ngx_http_canopy_process.callback_drop(&call->late.record);
        canopy_end(call->ctx);
    } else {
        canopy_release(call->ctx);
    }
    call->is_timed = 0;
    call->ctx = NULL;
}

void ngx_http_canopy_calls_end(ngx_http_canopy_request_t *rq)
{
    for (call_t *call = rq->call; call != NULL; call = call->next)
        ngx_http_canopy_call_end(call);
    if (rq->came != NULL)
        rq->r->headers_in.headers = *rq->came;
    rq->came = NULL;
}

/* --------------------------------------------------------------- the begin */

call_t *ngx_http_canopy_call(ngx_http_canopy_request_t *rq, ngx_http_request_t *r)
{
    call_t *call = rq->call;
    while (call != NULL && call->r != r)
        call = call->next;
    if (call != NULL)
        return call;
    call = r == rq->r ? &rq->first : ngx_palloc(r->pool, sizeof *call);
    if (call == NULL)
        return NULL;
    ngx_memzero(call, sizeof *call);
    call->rq = rq;
    call->r = r;
    call->next = rq->call;
    rq->call = call;
    return call;
}

static ngx_flag_t has_time(const call_t *call, const loc_conf *loc)
{
    int64_t deadline_ns = ngx_http_canopy_until_ns(call->rq);
    int64_t least_ns = (int64_t)loc->least * 1000000;
    if (canopy_err(call->rq->ctx) != 0)
        return 0;
    if (deadline_ns == CANOPY_NEVER)
        return 1;
    int64_t left_ns = deadline_ns - ngx_http_canopy_now_ns();
    return left_ns > 0 && left_ns >= least_ns;
}

/*
 * A context for a try: its own where that is to end before the request, else the request's,
 * which it then has nothing to add to.
 */
static canopy_ctx *call_derive(call_t *call, const loc_conf *loc)
{
    canopy_ctx *parent = call->rq->ctx;
    int64_t deadline_ns = ngx_http_canopy_now_ns() + (int64_t)loc->call_timeout * 1000000;
    call->is_timed = loc->call_timeout > 0 && deadline_ns < ngx_http_canopy_until_ns(call->rq);
    if (!call->is_timed) {
        (void)canopy_retain(parent);
        return parent;
    }
    canopy_ctx *ctx = canopy_with_deadline_cause(parent, deadline_ns, &ngx_http_canopy_call_late);
    canopy_name(ctx, "try");
    if (ctx == NULL ||
        ngx_http_canopy_process.after_func(ctx, &call->late.record, call_is_late, call) == 0)
        return ctx;
    call->is_timed = 0;
    canopy_end(ctx);
    return NULL;
}

/* Headers for a try, in the place of those that came; these are kept, for who asks what came. */
static ngx_int_t make_headers(call_t *call, const loc_conf *loc, const canopy_ctx *ctx)
{
    ngx_http_canopy_request_t *rq = call->rq;
    if (call->r == rq->r && rq->came == NULL) {
        call->came = rq->r->headers_in.headers;
        rq->came = &call->came;
    }
    return ngx_http_canopy_send(call->r, loc, rq, ctx);
}

ngx_int_t ngx_http_canopy_call_prepare(call_t *call)
{
    ngx_int_t rc = make_headers(call, loc_of(call->r), call->rq->ctx);
    call->is_made = rc == NGX_OK;
    call->made_ms = ngx_current_msec;
    return rc;
}

/* A first try's headers are of now, unless there was a body to wait for, or a name to resolve. */
static ngx_flag_t is_current(const call_t *call, const loc_conf *loc)
{
    if (call->tries > 0)
        return 0;
    return loc->known.names.nelts == 0 || (call->is_made && call->made_ms == ngx_current_msec);
}

/* The request's bytes, as for the first try. */
static ngx_int_t remake(call_t *call, const loc_conf *loc)
{
    ngx_http_request_t *r = call->r;
    ngx_int_t rc = make_headers(call, loc, call->ctx);
    if (rc != NGX_OK)
        return rc;
    r->upstream->request_bufs = r->request_body ? r->request_body->bufs : NULL;
    return r->upstream->create_request(r) == NGX_OK ? NGX_OK : NGX_ERROR;
}

ngx_int_t ngx_http_canopy_call_begin(call_t *call, ngx_flag_t is_sent)
{
    const loc_conf *loc = loc_of(call->r);
    ngx_http_canopy_call_end(call);
    call->u = call->r->upstream;
    if (call->rq->ctx == NULL) /* the main request has gone on to where canopy is off */
        return NGX_OK;
    if (!has_time(call, loc))
        return NGX_ABORT;
    call->ctx = call_derive(call, loc);
    if (call->ctx == NULL)
        return NGX_ERROR;
    ngx_int_t rc = is_sent || is_current(call, loc) ? NGX_OK : remake(call, loc);
    if (rc != NGX_OK)
        ngx_http_canopy_call_end(call);
    return rc;
}

void ngx_http_canopy_call_count(call_t *call)
{
    if (call->ctx == NULL)
        return;
    call->rq->tries++;
    ngx_http_canopy_count(NGX_HTTP_CANOPY_TRIES);
    if (call->tries++ > 0)
        ngx_http_canopy_count(NGX_HTTP_CANOPY_RETRIES);
    if (loc_of(call->r)->known.sent != NULL &&
        (call->is_timed || ngx_http_canopy_until_ns(call->rq) != CANOPY_NEVER))
        ngx_http_canopy_count(NGX_HTTP_CANOPY_TIMEOUT_SENT);
}

/* ------------------------------------------------------------- the refusal */

void ngx_http_canopy_call_refuse(call_t *call)
{
    ngx_http_request_t *r = call->r;
    ngx_http_canopy_request_t *rq = call->rq;
    ngx_int_t status = ngx_http_canopy_answer(rq);
    if (canopy_err(rq->ctx) == 0) {
        status = (ngx_int_t)loc_of(r)->timeout_status;
        ngx_http_canopy_count(NGX_HTTP_CANOPY_NOT_TRIED);
    }
    if (r == r->main)
        ngx_http_canopy_over(rq, &ngx_http_canopy_not_tried);
    r->main->count++; /* which the end of the upstream takes */
    (*r->upstream->cleanup)(r);
    if (r == r->main)
        ngx_http_canopy_end_background(rq);
    ngx_http_canopy_finalize(r, status);
}

/* ------------------------------------------------------------ the balancer */

/*
 * A refused try has ended its request within nginx's frame, which comes to see that its
 * upstream is ended, and lets go of the request once more.
 */
static ngx_int_t get_peer(ngx_peer_connection_t *pc, void *data)
{
    call_t *call = data;
    ngx_int_t rc = ngx_http_canopy_call_begin(call, 0);
    if (rc == NGX_ABORT) {
        call->r->main->count++;
        ngx_http_canopy_call_refuse(call);
    }
    if (rc != NGX_OK)
        return NGX_ERROR;
    rc = call->get(pc, call->data);
    if (rc == NGX_OK || rc == NGX_DONE || rc == NGX_AGAIN)
        ngx_http_canopy_call_count(call);
    else
        ngx_http_canopy_call_end(call);
    return rc;
}

static void free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    call_t *call = data;
    ngx_http_canopy_call_end(call);
    call->free(pc, call->data, state);
}

static void notify_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t type)
{
    call_t *call = data;
    call->notify(pc, call->data, type);
}

#if (NGX_SSL || NGX_COMPAT)
static ngx_int_t set_session(ngx_peer_connection_t *pc, void *data)
{
    call_t *call = data;
    return call->set_session(pc, call->data);
}

static void save_session(ngx_peer_connection_t *pc, void *data)
{
    call_t *call = data;
    call->save_session(pc, call->data);
}

static void wrap_sessions(call_t *call, ngx_peer_connection_t *pc)
{
    call->set_session = pc->set_session;
    call->save_session = pc->save_session;
    pc->set_session = pc->set_session ? set_session : NULL;
    pc->save_session = pc->save_session ? save_session : NULL;
}
#endif

void ngx_http_canopy_call_wrap(call_t *call)
{
    ngx_peer_connection_t *pc = &call->r->upstream->peer;
    if (pc->get == get_peer)
        return;
    ngx_http_canopy_watch_client_in_upstream(call->r, loc_of(call->r));
    call->tries = 0;
    call->data = pc->data;
    call->get = pc->get;
    call->free = pc->free;
    call->notify = pc->notify;
    pc->data = call;
    pc->get = get_peer;
    pc->free = free_peer;
    pc->notify = pc->notify ? notify_peer : NULL;
#if (NGX_SSL || NGX_COMPAT)
    wrap_sessions(call, pc);
#endif
}

/* ------------------------------------------------------------ configuration */

/* What an upstream's peer.init was. An implicit one has no configuration that could hold it. */
typedef struct {
    ngx_http_upstream_srv_conf_t *upstream;
    ngx_http_upstream_init_peer_pt init;
} upstream_init;

static int ngx_libc_cdecl by_address(const void *one, const void *other)
{
    uintptr_t a = (uintptr_t)((const upstream_init *)one)->upstream;
    uintptr_t b = (uintptr_t)((const upstream_init *)other)->upstream;
    return (a > b) - (a < b);
}

static ngx_http_upstream_init_peer_pt init_of(ngx_http_request_t *r,
                                              const ngx_http_upstream_srv_conf_t *upstream)
{
    const ngx_http_canopy_main_conf_t *conf =
        ngx_http_get_module_main_conf(r, ngx_http_canopy_module);
    const upstream_init *all = conf->upstreams.elts;
    ngx_uint_t low = 0, high = conf->upstreams.nelts;
    while (high - low > 1) {
        ngx_uint_t middle = low + (high - low) / 2;
        if ((uintptr_t)all[middle].upstream <= (uintptr_t)upstream)
            low = middle;
        else
            high = middle;
    }
    return all[low].init;
}

static ngx_int_t init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *upstream)
{
    ngx_int_t rc = init_of(r, upstream)(r, upstream);
    ngx_http_canopy_request_t *rq = loc_of(r)->enable ? ngx_http_canopy_request(r) : NULL;
    if (rc != NGX_OK || rq == NULL)
        return rc;
    call_t *call = ngx_http_canopy_call(rq, r);
    if (call == NULL)
        return NGX_ERROR;
    ngx_http_canopy_call_wrap(call);
    return NGX_OK;
}

ngx_int_t ngx_http_canopy_wrap_upstreams(ngx_conf_t *cf)
{
    const ngx_http_upstream_main_conf_t *upstreams =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    ngx_http_canopy_main_conf_t *conf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_canopy_module);
    ngx_http_upstream_srv_conf_t **upstream = upstreams->upstreams.elts;
    ngx_uint_t count = upstreams->upstreams.nelts;
    if (ngx_array_init(&conf->upstreams, cf->pool, count + 1, sizeof(upstream_init)) != NGX_OK)
        return NGX_ERROR;
    upstream_init *all = ngx_array_push_n(&conf->upstreams, count);
    for (ngx_uint_t i = 0; i < count; i++) {
        all[i] = (upstream_init){upstream[i], upstream[i]->peer.init};
        upstream[i]->peer.init = init_peer;
    }
    ngx_qsort(all, count, sizeof *all, by_address);
    return NGX_OK;
}
