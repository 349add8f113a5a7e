/*
 * implicit.c - upstreams that nginx makes as it goes: `proxy_pass http://$name`, for which
 * an address is parsed or a name resolved. Nobody is asked then who could put himself before
 * the balancer, so the first try is on its way when we come to it, and the balancer is
 * wrapped for those that follow.
 *
 * What makes the answer in a location is wrapped for that, and for all upstreams because it
 * is there that headers can be changed before a first try's bytes are made. From it on
 * nginx may go at once, or once it has the client's body, or the name's addresses: each of
 * these hands on to a function that is wrapped likewise.
 */
#include "upstream.h"

typedef ngx_http_canopy_call_t call_t;

static void body_is_read(ngx_http_request_t *r);
static void name_is_resolved(ngx_resolver_ctx_t *resolver);

/* The one that nginx has for this. */
static ngx_resolver_handler_pt resolved_handler;

/* The first try, which is on its way, is under a context from now on. */
static void follow_try(call_t *call)
{
    ngx_http_canopy_call_wrap(call);
    if (call->ctx == NULL && ngx_http_canopy_call_begin(call, 1) == NGX_ABORT)
        ngx_http_canopy_call_refuse(call);
    else
        ngx_http_canopy_call_count(call);
}

/* Sees how far nginx has come with r->upstream, and meets it where it goes on. */
static void follow(call_t *call)
{
    ngx_http_request_t *r = call->r;
    ngx_http_upstream_t *u = r->upstream;
    if (u == NULL || u->resolved == NULL || u->upstream != NULL)
        return;
    if (u->peer.connection != NULL && u->peer.data != call) {
        follow_try(call);
    } else if (u->resolved->ctx != NULL && u->resolved->ctx->handler != name_is_resolved) {
        resolved_handler = u->resolved->ctx->handler;
        u->resolved->ctx->handler = name_is_resolved;
    } else if (r->request_body != NULL && r->request_body->post_handler == ngx_http_upstream_init) {
        r->request_body->post_handler = body_is_read;
    }
}

static call_t *call_of(ngx_http_request_t *r)
{
    ngx_http_canopy_request_t *rq = ngx_http_canopy_request(r);
    return rq ? ngx_http_canopy_call(rq, r) : NULL;
}

/* In the place of ngx_http_upstream_init, which may end the request, so we hold it meanwhile. */
static void body_is_read(ngx_http_request_t *r)
{
    call_t *call = call_of(r);
    if (call == NULL) {
        ngx_http_upstream_init(r);
        return;
    }
    r->main->count++;
    (void)ngx_http_canopy_call_prepare(call);
    ngx_http_upstream_init(r);
    follow(call);
    ngx_http_finalize_request(r, NGX_DONE);
}

/* What stands for the request's bytes by now may be its body alone. */
static void give_up(ngx_http_request_t *r)
{
    r->main->count++; /* which the end of the upstream takes */
    (*r->upstream->cleanup)(r);
    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}

/*
 * In the place of upstream's own handler. That runs posted requests, of which one may be to
 * free this one whatever its count; so we do that in its stead, at the end.
 */
static void name_is_resolved(ngx_resolver_ctx_t *resolver)
{
    ngx_http_request_t *r = resolver->data;
    ngx_connection_t *c = r->connection;
    call_t *call = call_of(r);
    ngx_uint_t is_async = resolver->async;
    if (call == NULL) {
        resolved_handler(resolver);
        return;
    }
    r->main->count++;
    ngx_int_t rc = resolver->state == NGX_OK ? ngx_http_canopy_call_begin(call, 0) : NGX_OK;
    if (rc == NGX_ABORT) {
        ngx_http_canopy_call_refuse(call);
    } else if (rc != NGX_OK) {
        give_up(r);
    } else {
        resolver->async = 0;
        resolved_handler(resolver);
        follow(call);
    }
    if (r->upstream->cleanup == NULL) /* no address could be tried */
        ngx_http_canopy_call_end(call);
    ngx_http_finalize_request(r, NGX_DONE);
    if (is_async)
        ngx_http_run_posted_requests(c);
}

/* In the place of what makes the answer in a location. */
static ngx_int_t make_answer(ngx_http_request_t *r)
{
    const ngx_http_canopy_loc_conf_t *loc = ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
    ngx_http_canopy_request_t *rq = loc->enable ? ngx_http_canopy_request(r) : NULL;
    if (rq == NULL)
        return loc->handler(r);
    call_t *call = ngx_http_canopy_call(rq, r);
    if (call == NULL || ngx_http_canopy_call_prepare(call) == NGX_ERROR)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ngx_int_t rc = loc->handler(r);
    if (rc == NGX_DONE)
        follow(call);
    return rc;
}

/* An `if` without a handler of its own goes on with that of the location around it. */
void ngx_http_canopy_wrap_content(ngx_conf_t *cf, const ngx_http_canopy_loc_conf_t *prev,
                                  ngx_http_canopy_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    conf->handler = core->handler ? core->handler : prev->handler;
    if (core->handler != NULL && conf->enable)
        core->handler = make_answer;
}
