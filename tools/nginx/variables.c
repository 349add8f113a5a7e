/*
 * variables.c - $canopy_*, for logs, headers and conditions. All are empty ("-" in a log) in a
 * request without a context, and where there is nothing to tell.
 */
#include "module.h"

typedef const ngx_http_canopy_request_t request;

/* Writes a value into room for VALUE_BYTES, and returns its end; NULL: there is none. */
typedef u_char *(*write_fn)(u_char *out, ngx_http_request_t *r, request *q);

enum { VALUE_BYTES = 64 };

static u_char *write_cause_code(u_char *out, ngx_http_request_t *r, request *q)
{
    (void)r;
    return q->cause ? ngx_sprintf(out, "%d", q->cause->code) : NULL;
}

/* In ms, rounded down as all that is told of it. */
static ngx_flag_t left_ms(request *q, int64_t *left)
{
    int64_t deadline_ns;
    if (!canopy_deadline(q->ctx, &deadline_ns))
        return 0;
    *left = ngx_max(deadline_ns - ngx_http_canopy_now_ns(), 0) / 1000000;
    return 1;
}

static u_char *write_left_ms(u_char *out, ngx_http_request_t *r, request *q)
{
    int64_t left;
    (void)r;
    return left_ms(q, &left) ? ngx_sprintf(out, "%L", left) : NULL;
}

static u_char *write_deadline(u_char *out, ngx_http_request_t *r, request *q)
{
    int64_t left;
    volatile ngx_time_t *now = ngx_cached_time;
    (void)r;
    return left_ms(q, &left)
               ? ngx_sprintf(out, "%L", (int64_t)now->sec * 1000 + (int64_t)now->msec + left)
               : NULL;
}

/* A sink for canopy_wire_write: keeps the value of the one header. */
static int keep(void *user, const char *name, size_t name_bytes, const char *value,
                size_t value_bytes)
{
    u_char **end = user;
    (void)name;
    (void)name_bytes;
    *end = ngx_cpymem(*end, value, value_bytes);
    return 0;
}

/* What a try sends of the time, were it begun now. */
static u_char *write_timeout(u_char *out, ngx_http_request_t *r, request *q, uint32_t field)
{
    const ngx_http_canopy_loc_conf_t *loc = ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
    canopy_wire_policy policy = loc->out;
    u_char *end = out;
    policy.fields = field;
    policy.ms_name = "ms";
    if (canopy_wire_write(q->ctx, &policy, NULL, ngx_http_canopy_now_ns(), keep, &end) != 0)
        return NULL;
    return end > out ? end : NULL;
}

static u_char *write_grpc_timeout(u_char *out, ngx_http_request_t *r, request *q)
{
    return write_timeout(out, r, q, CANOPY_WIRE_GRPC_TIMEOUT);
}

static u_char *write_ms_timeout(u_char *out, ngx_http_request_t *r, request *q)
{
    return write_timeout(out, r, q, CANOPY_WIRE_MS_TIMEOUT);
}

static u_char *write_traceparent(u_char *out, ngx_http_request_t *r, request *q)
{
    const canopy_traceparent *trace = canopy_traceparent_of(q->ctx);
    (void)r;
    if (!trace)
        return NULL;
    canopy_traceparent_format(trace, (char *)out);
    return out + CANOPY_TRACEPARENT_BYTES;
}

static u_char *write_trace_id(u_char *out, ngx_http_request_t *r, request *q)
{
    const canopy_traceparent *trace = canopy_traceparent_of(q->ctx);
    uint8_t id[sizeof trace->trace_id];
    (void)r;
    if (!trace)
        return NULL;
    ngx_memcpy(id, trace->trace_id, sizeof id);
    return ngx_hex_dump(out, id, sizeof id);
}

static u_char *write_tries(u_char *out, ngx_http_request_t *r, request *q)
{
    (void)r;
    return ngx_sprintf(out, "%ui", q->tries);
}

/* ------------------------------------------------------------------------- */

static ngx_int_t set(ngx_http_variable_value_t *v, u_char *begin, u_char *end)
{
    v->valid = end != NULL;
    v->not_found = end == NULL;
    v->no_cacheable = 1;
    v->data = begin;
    v->len = end ? (unsigned)(end - begin) : 0;
    return NGX_OK;
}

static ngx_int_t get_cause(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    request *q = ngx_http_canopy_request(r);
    u_char *text = q && q->cause ? (u_char *)(uintptr_t)q->cause->text : NULL;
    (void)data;
    return set(v, text, text ? text + ngx_strlen(text) : NULL);
}

static const struct {
    ngx_str_t name;
    write_fn write;
} written[] = {
    {ngx_string("canopy_cause_code"), write_cause_code},
    {ngx_string("canopy_left_ms"), write_left_ms},
    {ngx_string("canopy_deadline"), write_deadline},
    {ngx_string("canopy_grpc_timeout"), write_grpc_timeout},
    {ngx_string("canopy_ms_timeout"), write_ms_timeout},
    {ngx_string("canopy_traceparent"), write_traceparent},
    {ngx_string("canopy_trace_id"), write_trace_id},
    {ngx_string("canopy_tries"), write_tries},
};

/* `data`: which of them. */
static ngx_int_t get_written(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    request *q = ngx_http_canopy_request(r);
    if (!q)
        return set(v, NULL, NULL);
    u_char *out = ngx_pnalloc(r->pool, VALUE_BYTES);
    if (!out)
        return NGX_ERROR;
    return set(v, out, written[data].write(out, r, q));
}

static ngx_int_t add(ngx_conf_t *cf, ngx_str_t name, ngx_http_get_variable_pt get, uintptr_t data)
{
    ngx_http_variable_t *variable = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (!variable)
        return NGX_ERROR;
    variable->get_handler = get;
    variable->data = data;
    return NGX_OK;
}

ngx_int_t ngx_http_canopy_add_variables(ngx_conf_t *cf)
{
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (add(cf, written[i].name, get_written, i) != NGX_OK)
            return NGX_ERROR;
    return add(cf, (ngx_str_t)ngx_string("canopy_cause"), get_cause, 0);
}
