/*
 * upstream.h - tries of upstreams, as upstream.c and implicit.c share them.
 */
#ifndef NGX_HTTP_CANOPY_UPSTREAM_H
#define NGX_HTTP_CANOPY_UPSTREAM_H

#include "module.h"

/* That of `r`, made if need be. NULL: no memory. */
ngx_http_canopy_call_t *ngx_http_canopy_call(ngx_http_canopy_request_t *rq, ngx_http_request_t *r);
/* Puts itself before the balancer of r->upstream, unless it is there already. */
void ngx_http_canopy_call_wrap(ngx_http_canopy_call_t *call);
/* Makes the headers ready that r->upstream's first create_request takes. */
ngx_int_t ngx_http_canopy_call_prepare(ngx_http_canopy_call_t *call);
/*
 * Begins a try. `is_sent`: it is on its way already; else its bytes are made anew where they
 * are not those of now. NGX_OK; NGX_ABORT: too little time is left; NGX_ERROR.
 */
ngx_int_t ngx_http_canopy_call_begin(ngx_http_canopy_call_t *call, ngx_flag_t is_sent);
/* Ends the try that is under way, if one is. */
void ngx_http_canopy_call_end(ngx_http_canopy_call_t *call);
/* A try has begun. */
void ngx_http_canopy_call_count(ngx_http_canopy_call_t *call);
/* Ends r->upstream, and the request as one that has too little time left. */
void ngx_http_canopy_call_refuse(ngx_http_canopy_call_t *call);

#endif
