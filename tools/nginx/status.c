/*
 * status.c - the page with the totals: which format is asked for, and the answer. Who may see
 * it nginx's own allow, deny and auth_basic say.
 */
#include "report.h"

typedef struct {
    ngx_str_t name;       /* as ?format= has it */
    ngx_str_t media_type; /* as Accept has it */
    ngx_str_t content_type;
    ngx_http_canopy_status_format_t format;
} format;

/* Of those that Accept names the first here is given; a browser's names text/html. */
static const format formats[] = {
    {ngx_string("html"), ngx_string("text/html"), ngx_string("text/html"),
     NGX_HTTP_CANOPY_STATUS_HTML},
    {ngx_string("json"), ngx_string("application/json"), ngx_string("application/json"),
     NGX_HTTP_CANOPY_STATUS_JSON},
    {ngx_string("prometheus"), ngx_string("text/plain"), ngx_string("text/plain; version=0.0.4"),
     NGX_HTTP_CANOPY_STATUS_PROMETHEUS},
};

#define FORMATS (sizeof formats / sizeof *formats)

static const format *format_at(ngx_uint_t number)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i].format == number)
            return &formats[i];
    return NULL;
}

ngx_http_canopy_status_format_t ngx_http_canopy_status_format(const ngx_str_t *name)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i].name.len == name->len &&
            ngx_strncmp(formats[i].name.data, name->data, name->len) == 0)
            return formats[i].format;
    return NGX_HTTP_CANOPY_STATUS_OFF;
}

static const format *format_of_accept(ngx_http_request_t *r)
{
    ngx_str_t name = ngx_string("http_accept");
    ngx_http_variable_value_t *accept =
        ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));
    if (accept && !accept->not_found)
        for (size_t i = 0; i < FORMATS; i++)
            if (ngx_strlcasestrn(accept->data, accept->data + accept->len,
                                 formats[i].media_type.data, formats[i].media_type.len - 1))
                return &formats[i];
    return &formats[0];
}

/* NULL: of a name that there is not. */
static const format *format_of(ngx_http_request_t *r, ngx_uint_t configured)
{
    ngx_str_t argument;
    if (configured != NGX_HTTP_CANOPY_STATUS_BY_REQUEST)
        return format_at(configured);
    if (ngx_http_arg(r, (u_char *)"format", sizeof("format") - 1, &argument) == NGX_OK)
        return format_at(ngx_http_canopy_status_format(&argument));
    return format_of_accept(r);
}

static ngx_int_t add_header(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_table_elt_t *header = ngx_list_push(&r->headers_out.headers);
    if (!header)
        return NGX_ERROR;
    ngx_memzero(header, sizeof *header);
    header->hash = 1;
    header->key = (ngx_str_t){ngx_strlen(name), (u_char *)(uintptr_t)name};
    header->value = (ngx_str_t){ngx_strlen(value), (u_char *)(uintptr_t)value};
    return NGX_OK;
}

static ngx_int_t send_head(ngx_http_request_t *r, const format *f, off_t bytes)
{
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = bytes;
    r->headers_out.content_type = f->content_type;
    r->headers_out.content_type_len = f->content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    if (f->format != NGX_HTTP_CANOPY_STATUS_JSON)
        r->headers_out.charset = (ngx_str_t)ngx_string("utf-8");
    if (add_header(r, "Cache-Control", "no-store") != NGX_OK ||
        add_header(r, "X-Content-Type-Options", "nosniff") != NGX_OK ||
        add_header(r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'") !=
            NGX_OK)
        return NGX_ERROR;
    return ngx_http_send_header(r);
}

static u_char *report(u_char *out, ngx_http_request_t *r, const format *f, ngx_flag_t with_links)
{
    const ngx_http_canopy_main_conf_t *conf =
        ngx_http_get_module_main_conf(r, ngx_http_canopy_module);
    ngx_http_canopy_sum_t sum;
    ngx_http_canopy_totals_sum(conf->totals, &sum);
    switch (f->format) {
    case NGX_HTTP_CANOPY_STATUS_JSON:
        return ngx_http_canopy_report_json(out, &sum);
    case NGX_HTTP_CANOPY_STATUS_PROMETHEUS:
        return ngx_http_canopy_report_prometheus(out, &sum);
    default:
        return ngx_http_canopy_report_html(out, &sum, with_links);
    }
}

ngx_int_t ngx_http_canopy_status(ngx_http_request_t *r)
{
    const ngx_http_canopy_loc_conf_t *loc = ngx_http_get_module_loc_conf(r, ngx_http_canopy_module);
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return NGX_HTTP_NOT_ALLOWED;
    ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK)
        return rc;
    const format *f = format_of(r, loc->status);
    if (!f)
        return NGX_HTTP_BAD_REQUEST;
    ngx_buf_t *b = ngx_create_temp_buf(r->pool, NGX_HTTP_CANOPY_REPORT_BYTES);
    if (!b)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    b->last = report(b->last, r, f, loc->status == NGX_HTTP_CANOPY_STATUS_BY_REQUEST);
    b->last_buf = r == r->main;
    b->last_in_chain = 1;
    rc = send_head(r, f, b->last - b->pos);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return ngx_http_output_filter(r, &(ngx_chain_t){.buf = b});
}
