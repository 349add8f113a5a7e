/*
 * module.c - the directives, what they come to in each block, and what nginx is to call.
 */
#include "module.h"

typedef ngx_http_canopy_main_conf_t main_conf;
typedef ngx_http_canopy_loc_conf_t loc_conf;

/* ------------------------------------------------------------- directives */

static ngx_int_t is_header_name(const ngx_str_t *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name->len; i++) {
        u_char c = ngx_tolower(name->data[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !ngx_strchr(others, c)))
            return 0;
    }
    return name->len > 0;
}

/* In lower case and ended by a NUL, whatever the directive has. */
static char *lower_name(ngx_conf_t *cf, const ngx_str_t *from, ngx_str_t *name)
{
    if (!is_header_name(from)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" is no name of a header", from);
        return NGX_CONF_ERROR;
    }
    name->data = ngx_pnalloc(cf->pool, from->len + 1);
    if (!name->data)
        return NGX_CONF_ERROR;
    name->len = from->len;
    ngx_strlow(name->data, from->data, from->len);
    name->data[from->len] = '\0';
    return NGX_CONF_OK;
}

static ngx_int_t is_word(const ngx_str_t *value, const char *word)
{
    return value->len == ngx_strlen(word) && ngx_strncmp(value->data, word, value->len) == 0;
}

/* canopy_timeout_header off | NAME... */
static char *set_timeout_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    loc_conf *loc = conf;
    ngx_str_t *value = cf->args->elts;
    (void)cmd;
    if (loc->timeout_headers != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    loc->timeout_headers = NULL;
    if (cf->args->nelts == 2 && is_word(&value[1], "off"))
        return NGX_CONF_OK;
    loc->timeout_headers =
        ngx_array_create(cf->pool, cf->args->nelts - 1, sizeof(ngx_http_canopy_header_t));
    if (!loc->timeout_headers)
        return NGX_CONF_ERROR;
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        ngx_http_canopy_header_t *header = ngx_array_push(loc->timeout_headers);
        if (!header || lower_name(cf, &value[i], &header->name) != NGX_CONF_OK)
            return NGX_CONF_ERROR;
        header->grpc = is_word(&header->name, "grpc-timeout");
    }
    return NGX_CONF_OK;
}

/* canopy_send off | grpc | ms NAME */
static char *set_send(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    loc_conf *loc = conf;
    ngx_str_t *value = cf->args->elts;
    (void)cmd;
    if (loc->send_field != NGX_CONF_UNSET_UINT)
        return "is duplicate";
    if (cf->args->nelts == 3 && is_word(&value[1], "ms")) {
        loc->send_field = CANOPY_WIRE_MS_TIMEOUT;
        return lower_name(cf, &value[2], &loc->send_name);
    }
    if (cf->args->nelts == 2 && is_word(&value[1], "grpc"))
        loc->send_field = CANOPY_WIRE_GRPC_TIMEOUT;
    else if (cf->args->nelts == 2 && is_word(&value[1], "off"))
        loc->send_field = 0;
    else
        return "takes \"grpc\", \"ms\" and a name, or \"off\"";
    return NGX_CONF_OK;
}

/* canopy_status [html | json | prometheus] */
static char *set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    loc_conf *loc = conf;
    ngx_str_t *value = cf->args->elts;
    (void)cmd;
    if (loc->status != NGX_HTTP_CANOPY_STATUS_OFF)
        return "is duplicate";
    loc->status = cf->args->nelts == 1 ? NGX_HTTP_CANOPY_STATUS_BY_REQUEST
                                       : ngx_http_canopy_status_format(&value[1]);
    if (loc->status == NGX_HTTP_CANOPY_STATUS_OFF)
        return "takes \"html\", \"json\" or \"prometheus\"";
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    core->handler = ngx_http_canopy_status;
    main_conf *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_canopy_module);
    main->shown = 1;
    return NGX_CONF_OK;
}

static char *check_not_negative(ngx_conf_t *cf, void *post, void *data)
{
    (void)cf;
    (void)post;
    return *(ngx_int_t *)data >= 0 ? NGX_CONF_OK : "must not be negative";
}

static ngx_conf_post_t not_negative = {check_not_negative};

/* In nanoseconds, and later than now, it is a time still. */
static char *check_time(ngx_conf_t *cf, void *post, void *data)
{
    (void)cf;
    (void)post;
    return *(ngx_msec_t *)data <= INT64_MAX / 2 / 1000000 ? NGX_CONF_OK : "is too long";
}

static ngx_conf_post_t time_ns = {check_time};

static ngx_conf_enum_t timeout_statuses[] = {{ngx_string("504"), NGX_HTTP_GATEWAY_TIME_OUT},
                                             {ngx_string("408"), NGX_HTTP_REQUEST_TIME_OUT},
                                             {ngx_null_string, 0}};

#define EVERYWHERE (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF)
#define FLAG(name, field)                                                                          \
    {                                                                                              \
        ngx_string(name), EVERYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot,                      \
            NGX_HTTP_LOC_CONF_OFFSET, offsetof(loc_conf, field), NULL                              \
    }
#define TIME(name, field)                                                                          \
    {                                                                                              \
        ngx_string(name), EVERYWHERE | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,                     \
            NGX_HTTP_LOC_CONF_OFFSET, offsetof(loc_conf, field), &time_ns                          \
    }

static ngx_command_t commands[] = {
    FLAG("canopy", enable),
    FLAG("canopy_client_abort", client_abort),
    FLAG("canopy_trace", trace),
    FLAG("canopy_baggage", baggage),
    TIME("canopy_timeout", timeout),
    TIME("canopy_timeout_max", timeout_max),
    TIME("canopy_call_timeout", call_timeout),
    TIME("canopy_reserve", reserve),
    TIME("canopy_least", least),
    {ngx_string("canopy_timeout_status"), EVERYWHERE | NGX_CONF_TAKE1, ngx_conf_set_enum_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(loc_conf, timeout_status), timeout_statuses},
    {ngx_string("canopy_timeout_header"), EVERYWHERE | NGX_CONF_1MORE, set_timeout_header,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("canopy_send"), EVERYWHERE | NGX_CONF_TAKE12, set_send, NGX_HTTP_LOC_CONF_OFFSET, 0,
     NULL},
    {ngx_string("canopy_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1, set_status,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("canopy_drain_timeout"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_msec_slot, NGX_HTTP_MAIN_CONF_OFFSET, offsetof(main_conf, drain_timeout),
     &time_ns},
    {ngx_string("canopy_inspect"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12,
     ngx_http_canopy_set_inspect, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("canopy_max_live"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_num_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(main_conf, max_live), &not_negative},
    ngx_null_command};

/* ---------------------------------------------------------- configurations */

static void *create_main_conf(ngx_conf_t *cf)
{
    main_conf *conf = ngx_pcalloc(cf->pool, sizeof *conf);
    if (!conf)
        return NULL;
    conf->drain_timeout = NGX_CONF_UNSET_MSEC;
    conf->max_live = NGX_CONF_UNSET;
    return conf;
}

static char *init_main_conf(ngx_conf_t *cf, void *main)
{
    main_conf *conf = main;
    (void)cf;
    ngx_conf_init_msec_value(conf->drain_timeout, 0);
    ngx_conf_init_value(conf->max_live, 0);
    return NGX_CONF_OK;
}

static void *create_loc_conf(ngx_conf_t *cf)
{
    loc_conf *conf = ngx_pcalloc(cf->pool, sizeof *conf);
    if (!conf)
        return NULL;
    conf->enable = NGX_CONF_UNSET;
    conf->client_abort = NGX_CONF_UNSET;
    conf->trace = NGX_CONF_UNSET;
    conf->baggage = NGX_CONF_UNSET;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->timeout_max = NGX_CONF_UNSET_MSEC;
    conf->call_timeout = NGX_CONF_UNSET_MSEC;
    conf->reserve = NGX_CONF_UNSET_MSEC;
    conf->least = NGX_CONF_UNSET_MSEC;
    conf->timeout_status = NGX_CONF_UNSET_UINT;
    conf->timeout_headers = NGX_CONF_UNSET_PTR;
    conf->send_field = NGX_CONF_UNSET_UINT;
    return conf;
}

static void merge_values(loc_conf *conf, const loc_conf *prev)
{
    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->client_abort, prev->client_abort, 1);
    ngx_conf_merge_value(conf->trace, prev->trace, 0);
    ngx_conf_merge_value(conf->baggage, prev->baggage, 0);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 0);
    ngx_conf_merge_msec_value(conf->timeout_max, prev->timeout_max, 0);
    ngx_conf_merge_msec_value(conf->call_timeout, prev->call_timeout, 0);
    ngx_conf_merge_msec_value(conf->reserve, prev->reserve, 0);
    ngx_conf_merge_msec_value(conf->least, prev->least, 0);
    ngx_conf_merge_uint_value(conf->timeout_status, prev->timeout_status,
                              NGX_HTTP_GATEWAY_TIME_OUT);
    ngx_conf_merge_ptr_value(conf->timeout_headers, prev->timeout_headers, NULL);
}

/* Sent on is what the directive says, or else what the first header says that is read. */
static void merge_send(loc_conf *conf, const loc_conf *prev)
{
    if (conf->send_field == NGX_CONF_UNSET_UINT) {
        conf->send_field = prev->send_field;
        conf->send_name = prev->send_name;
    }
    conf->out.fields = (uint32_t)conf->send_field;
    conf->out.ms_name = (const char *)conf->send_name.data;
    if (conf->send_field == NGX_CONF_UNSET_UINT) {
        const ngx_http_canopy_header_t *first =
            conf->timeout_headers ? conf->timeout_headers->elts : NULL;
        conf->out.fields = !first        ? 0
                           : first->grpc ? CANOPY_WIRE_GRPC_TIMEOUT
                                         : CANOPY_WIRE_MS_TIMEOUT;
        conf->out.ms_name = first ? (const char *)first->name.data : NULL;
    }
}

static void make_policies(loc_conf *conf)
{
    uint32_t values =
        (conf->trace ? CANOPY_WIRE_TRACE : 0) | (conf->baggage ? CANOPY_WIRE_BAGGAGE : 0);
    conf->in.size = sizeof conf->in;
    conf->in.fields = values;
    conf->in.max_timeout_ns = (int64_t)conf->timeout_max * 1000000;
    conf->out.size = sizeof conf->out;
    conf->out.fields |= values;
    conf->out.try_timeout_ns = (int64_t)conf->call_timeout * 1000000;
    conf->out.reserve_ns = (int64_t)conf->reserve * 1000000;
}

static ngx_flag_t is_made_alike(const loc_conf *a, const loc_conf *b)
{
    return a->enable == b->enable && a->trace == b->trace && a->baggage == b->baggage &&
           a->timeout == b->timeout && a->timeout_max == b->timeout_max &&
           a->timeout_headers == b->timeout_headers;
}

static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    loc_conf *prev = parent, *conf = child;
    merge_values(conf, prev);
    merge_send(conf, prev);
    make_policies(conf);
    if (conf->status == NGX_HTTP_CANOPY_STATUS_OFF) /* an `if` goes on with the handler around it */
        conf->status = prev->status;
    conf->made_as = prev->made_as && is_made_alike(conf, prev) ? prev->made_as : conf;
    if (conf->timeout_max > 0 && conf->reserve >= conf->timeout_max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"canopy_reserve\" leaves nothing of \"canopy_timeout_max\"");
        return NGX_CONF_ERROR;
    }
    if (conf->call_timeout > 0 && conf->reserve >= conf->call_timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"canopy_reserve\" leaves nothing of \"canopy_call_timeout\"");
        return NGX_CONF_ERROR;
    }
    if (ngx_http_canopy_know_headers(cf, conf) != NGX_OK ||
        ngx_http_canopy_know_name(cf, conf) != NGX_OK)
        return NGX_CONF_ERROR;
    ngx_http_canopy_wrap_content(cf, prev, conf);
    main_conf *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_canopy_module);
    main->used |= conf->enable;
    return NGX_CONF_OK;
}

/* ------------------------------------------------------------------- hooks */

/* At the end of a phase's handlers: which is where most phases begin. */
static ngx_int_t add_handler(ngx_conf_t *cf, ngx_http_phases phase, ngx_http_handler_pt handler)
{
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *place = ngx_array_push(&core->phases[phase].handlers);
    if (!place)
        return NGX_ERROR;
    *place = handler;
    return NGX_OK;
}

/* Logs are written from the first on, and those of nginx are to have the variables. */
static ngx_int_t add_log_handler(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_array_t *handlers = &core->phases[NGX_HTTP_LOG_PHASE].handlers;
    if (add_handler(cf, NGX_HTTP_LOG_PHASE, ngx_http_canopy_log) != NGX_OK)
        return NGX_ERROR;
    ngx_http_handler_pt *first = handlers->elts;
    ngx_memmove(first + 1, first, (handlers->nelts - 1) * sizeof *first);
    *first = ngx_http_canopy_log;
    return NGX_OK;
}

/* Where canopy is on nowhere nginx goes on as if the module were not loaded. */
static ngx_int_t hook_in(ngx_conf_t *cf)
{
    main_conf *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_canopy_module);
    if ((conf->used || conf->shown) && ngx_http_canopy_totals_zone(cf, &conf->totals) != NGX_OK)
        return NGX_ERROR;
    if (!conf->used)
        return NGX_OK;
    if (add_handler(cf, NGX_HTTP_POST_READ_PHASE, ngx_http_canopy_post_read) != NGX_OK ||
        add_handler(cf, NGX_HTTP_PREACCESS_PHASE,
                    conf->inspect ? ngx_http_canopy_preaccess_named : ngx_http_canopy_preaccess) !=
            NGX_OK ||
        add_log_handler(cf) != NGX_OK)
        return NGX_ERROR;
    return ngx_http_canopy_wrap_upstreams(cf);
}

static ngx_http_module_t context = {.preconfiguration = ngx_http_canopy_add_variables,
                                    .postconfiguration = hook_in,
                                    .create_main_conf = create_main_conf,
                                    .init_main_conf = init_main_conf,
                                    .create_loc_conf = create_loc_conf,
                                    .merge_loc_conf = merge_loc_conf};

ngx_module_t ngx_http_canopy_module = {
    NGX_MODULE_V1,
    .ctx = &context,
    .commands = commands,
    .type = NGX_HTTP_MODULE,
    .init_process = ngx_http_canopy_init_process,
    .exit_process = ngx_http_canopy_exit_process,
    .exit_master = ngx_http_canopy_forget_names,
};
