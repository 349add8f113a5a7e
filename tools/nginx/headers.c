/*
 * headers.c - the headers that canopy knows: what a request brings along, and what a try of
 * an upstream is sent in the place of that.
 *
 * They are found by the hash that nginx has of each header anyway, so a request without them
 * costs a look at a bit for each header. What is sent stands in a list of headers made anew,
 * as subrequests share the elements of their parent's. Of what the client sent under these
 * names nothing is in it, nor of what a CGI takes for them, to which `-` and `_` are alike.
 */
#include "module.h"

typedef struct {
    ngx_str_t name;     /* lower case */
    ngx_uint_t hash;    /* as nginx hashes it */
    uint32_t field;     /* CANOPY_WIRE_* */
    ngx_flag_t is_read; /* else it is sent, and what came is not passed on */
} known_header;

/* So that a mask has room for them. */
#define KNOWN_MOST 64

static uint64_t bit_of(size_t number)
{
    return UINT64_C(1) << (number & 63);
}

/* ------------------------------------------------------------- configuration */

static known_header *known_by_name(const ngx_http_canopy_known_t *known, const void *name,
                                   size_t bytes)
{
    known_header *header = known->names.elts;
    for (ngx_uint_t i = 0; i < known->names.nelts; i++)
        if (header[i].name.len == bytes && ngx_memcmp(header[i].name.data, name, bytes) == 0)
            return &header[i];
    return NULL;
}

static ngx_int_t know(ngx_http_canopy_known_t *known, ngx_str_t name, uint32_t field,
                      ngx_flag_t is_read)
{
    known_header *header = known_by_name(known, name.data, name.len);
    if (header != NULL)
        return NGX_OK;
    header = known->names.nelts < KNOWN_MOST ? ngx_array_push(&known->names) : NULL;
    if (header == NULL)
        return NGX_ERROR;
    *header = (known_header){name, ngx_hash_key(name.data, name.len), field, is_read};
    known->lengths |= bit_of(name.len);
    if (is_read)
        known->hashes |= bit_of(header->hash);
    return NGX_OK;
}

/* The name of the header that tells a try how long it has; empty: none does. */
static ngx_str_t sent_timeout(const ngx_http_canopy_loc_conf_t *conf)
{
    ngx_str_t none = ngx_null_string, grpc = ngx_string("grpc-timeout");
    if ((conf->out.fields & CANOPY_WIRE_GRPC_TIMEOUT) != 0)
        return grpc;
    if ((conf->out.fields & CANOPY_WIRE_MS_TIMEOUT) == 0)
        return none;
    return (ngx_str_t){ngx_strlen(conf->out.ms_name), (u_char *)(uintptr_t)conf->out.ms_name};
}

static ngx_int_t know_timeouts(ngx_http_canopy_loc_conf_t *conf)
{
    const ngx_array_t *all = conf->timeout_headers;
    const ngx_http_canopy_header_t *header = all ? all->elts : NULL;
    for (ngx_uint_t i = 0; header && i < all->nelts; i++)
        if (know(&conf->known, header[i].name,
                 header[i].grpc ? CANOPY_WIRE_GRPC_TIMEOUT : CANOPY_WIRE_MS_TIMEOUT, 1) != NGX_OK)
            return NGX_ERROR;
    ngx_str_t sent = sent_timeout(conf);
    if (sent.len == 0)
        return NGX_OK;
    conf->known.most++;
    return know(&conf->known, sent, conf->out.fields & NGX_HTTP_CANOPY_TIMEOUTS, 0);
}

static ngx_int_t know_values(ngx_http_canopy_loc_conf_t *conf)
{
    static const struct {
        uint32_t agreed, field;
        ngx_str_t name;
    } values[] = {{CANOPY_WIRE_TRACE, CANOPY_WIRE_TRACE, ngx_string("traceparent")},
                  {CANOPY_WIRE_TRACE, CANOPY_WIRE_TRACESTATE, ngx_string("tracestate")},
                  {CANOPY_WIRE_BAGGAGE, CANOPY_WIRE_BAGGAGE, ngx_string("baggage")}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if ((conf->in.fields & values[i].agreed) != 0 && ++conf->known.most &&
            know(&conf->known, values[i].name, values[i].field, 1) != NGX_OK)
            return NGX_ERROR;
    return NGX_OK;
}

ngx_int_t ngx_http_canopy_know_headers(ngx_conf_t *cf, ngx_http_canopy_loc_conf_t *conf)
{
    if (!conf->enable)
        return NGX_OK;
    if (ngx_array_init(&conf->known.names, cf->pool, 4, sizeof(known_header)) == NGX_OK &&
        know_timeouts(conf) == NGX_OK && know_values(conf) == NGX_OK) {
        ngx_str_t sent = sent_timeout(conf);
        conf->known.sent = known_by_name(&conf->known, sent.data, sent.len);
        return NGX_OK;
    }
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "no room for more names of headers");
    return NGX_ERROR;
}

/* ------------------------------------------------------------------ a list */

/* Where one is in a list of headers. */
typedef struct {
    const ngx_list_part_t *part;
    ngx_uint_t next;
} header_place;

static const ngx_table_elt_t *header_next(header_place *place)
{
    while (place->next >= place->part->nelts) {
        place->part = place->part->next;
        place->next = 0;
        if (place->part == NULL)
            return NULL;
    }
    return (const ngx_table_elt_t *)place->part->elts + place->next++;
}

/* --------------------------------------------------------------------- in */

static const known_header *known_read(const ngx_http_canopy_known_t *known,
                                      const ngx_table_elt_t *came)
{
    const known_header *header = known->names.elts;
    for (ngx_uint_t i = 0; i < known->names.nelts; i++)
        if (header[i].hash == came->hash && header[i].is_read &&
            header[i].name.len == came->key.len &&
            ngx_strncasecmp(header[i].name.data, came->key.data, came->key.len) == 0)
            return &header[i];
    return NULL;
}

/* A time-out under any name; of several the least counts. */
static ngx_flag_t take_timeout(canopy_wire *wire, uint32_t field, const ngx_str_t *value)
{
    const char *at = (const char *)value->data;
    int64_t timeout_ns;
    int err = field == CANOPY_WIRE_GRPC_TIMEOUT
                  ? canopy_grpc_timeout_parse(at, value->len, &timeout_ns)
                  : canopy_ms_timeout_parse(at, value->len, &timeout_ns);
    if (err != 0)
        return 0;
    if (timeout_ns < wire->timeout_ns)
        wire->timeout_ns = timeout_ns;
    wire->taken |= field;
    return 1;
}

static ngx_flag_t take_value(canopy_wire *wire, const known_header *header, const ngx_str_t *value)
{
    if (header->field & NGX_HTTP_CANOPY_TIMEOUTS)
        return take_timeout(wire, header->field, value);
    return canopy_wire_take(wire, (const char *)header->name.data, header->name.len,
                            (const char *)value->data, value->len) == 1;
}

static ngx_http_canopy_total_t malformed_total(uint32_t field)
{
    return field == CANOPY_WIRE_GRPC_TIMEOUT ? NGX_HTTP_CANOPY_MALFORMED_GRPC_TIMEOUT
           : field == CANOPY_WIRE_MS_TIMEOUT ? NGX_HTTP_CANOPY_MALFORMED_MS_TIMEOUT
           : field == CANOPY_WIRE_TRACE      ? NGX_HTTP_CANOPY_MALFORMED_TRACEPARENT
           : field == CANOPY_WIRE_TRACESTATE ? NGX_HTTP_CANOPY_MALFORMED_TRACESTATE
                                             : NGX_HTTP_CANOPY_MALFORMED_BAGGAGE;
}

/* Once for each kind in a request, however many came and however often they are read. */
static void tell_malformed(ngx_http_canopy_request_t *rq, const known_header *header)
{
    if ((rq->malformed & header->field) != 0)
        return;
    rq->malformed |= header->field;
    ngx_http_canopy_count(malformed_total(header->field));
    ngx_log_error(NGX_LOG_INFO, rq->r->connection->log, 0,
                  "canopy: client sent malformed \"%V\", left out", &header->name);
}

static void tell_timed(ngx_http_canopy_request_t *rq)
{
    if (!rq->is_timed)
        ngx_http_canopy_count(NGX_HTTP_CANOPY_TIMEOUT_RECEIVED);
    rq->is_timed = 1;
}

/* The headers that came, also where others stand in their place by now. */
static header_place headers_of(const ngx_http_canopy_request_t *rq)
{
    return (header_place){rq->came ? &rq->came->part : &rq->r->headers_in.headers.part, 0};
}

void ngx_http_canopy_take(ngx_http_canopy_request_t *rq, const ngx_http_canopy_loc_conf_t *loc,
                          canopy_wire *wire)
{
    header_place place = headers_of(rq);
    const ngx_table_elt_t *came;
    while ((came = header_next(&place)) != NULL) {
        const known_header *header =
            (loc->known.hashes & bit_of(came->hash)) != 0 ? known_read(&loc->known, came) : NULL;
        if (header != NULL && !take_value(wire, header, &came->value))
            tell_malformed(rq, header);
    }
    if ((wire->taken & NGX_HTTP_CANOPY_TIMEOUTS) != 0)
        tell_timed(rq);
}

/* -------------------------------------------------------------------- out */

/* The list in the making. */
typedef struct {
    ngx_pool_t *pool;
    const ngx_http_canopy_known_t *known;
    ngx_table_elt_t *elts;
    ngx_uint_t nelts;
} header_list;

/* Whether a CGI takes it for a name that is known. */
static ngx_flag_t is_taken_for(const known_header *header, const ngx_str_t *name)
{
    if (header->name.len != name->len)
        return 0;
    for (size_t i = 0; i < name->len; i++) {
        u_char c = ngx_tolower(name->data[i]), known = header->name.data[i];
        if (c != known && !((c == '_' && known == '-') || (c == '-' && known == '_')))
            return 0;
    }
    return 1;
}

static ngx_flag_t is_known(const ngx_http_canopy_known_t *known, const ngx_str_t *name)
{
    const known_header *header = known->names.elts;
    if ((known->lengths & bit_of(name->len)) == 0)
        return 0;
    for (ngx_uint_t i = 0; i < known->names.nelts; i++)
        if (is_taken_for(&header[i], name))
            return 1;
    return 0;
}

static void keep_others(header_list *list, const ngx_list_t *from)
{
    header_place place = {&from->part, 0};
    const ngx_table_elt_t *came;
    while ((came = header_next(&place)) != NULL)
        if (!is_known(list->known, &came->key))
            list->elts[list->nelts++] = *came;
}

static int add_known(header_list *list, const known_header *header, const char *value,
                     size_t value_bytes)
{
    u_char *copy = header ? ngx_pnalloc(list->pool, value_bytes) : NULL;
    if (copy == NULL)
        return -ENOMEM;
    ngx_memcpy(copy, value, value_bytes);
    list->elts[list->nelts++] = (ngx_table_elt_t){.hash = header->hash,
                                                  .key = header->name,
                                                  .value = {value_bytes, copy},
                                                  .lowcase_key = header->name.data};
    return 0;
}

/* A canopy_header_fn. */
static int add(void *user, const char *name, size_t name_bytes, const char *value,
               size_t value_bytes)
{
    header_list *list = user;
    return add_known(list, known_by_name(list->known, name, name_bytes), value, value_bytes);
}

static ngx_uint_t header_count(const ngx_list_t *list)
{
    ngx_uint_t count = 0;
    for (const ngx_list_part_t *part = &list->part; part != NULL; part = part->next)
        count += part->nelts;
    return count;
}

/* Whether all that came is sent on, and stands where a part may be put behind it. */
static ngx_flag_t may_append(const ngx_list_t *list, const ngx_http_canopy_known_t *known)
{
    const ngx_table_elt_t *came = list->part.elts;
    if (list->part.next != NULL)
        return 0;
    for (ngx_uint_t i = 0; i < list->part.nelts; i++)
        if (is_known(known, &came[i].key))
            return 0;
    return 1;
}

/* The time-out alone, if one is sent: what canopy_wire_write makes too, but by a walk up. */
static int send_timeout(header_list *list, const canopy_wire_policy *out, int64_t deadline_ns)
{
    char value[CANOPY_TIMEOUT_BYTES];
    int64_t left_ns = CANOPY_NEVER;
    ngx_flag_t is_ms = (out->fields & CANOPY_WIRE_MS_TIMEOUT) != 0;
    if (deadline_ns != CANOPY_NEVER)
        left_ns = deadline_ns - ngx_http_canopy_now_ns();
    if (out->try_timeout_ns > 0 && left_ns > out->try_timeout_ns)
        left_ns = out->try_timeout_ns;
    if (left_ns != CANOPY_NEVER)
        left_ns -= out->reserve_ns;
    int bytes = is_ms ? canopy_ms_timeout_format(left_ns, value)
                      : canopy_grpc_timeout_format(left_ns, value);
    if (bytes < 0)
        return bytes == -ENOENT ? 0 : bytes;
    return list->known->sent ? add_known(list, list->known->sent, value, (size_t)bytes) : 0;
}

/* Puts the list in the place of the headers of `r`, or behind them. */
static void enter(ngx_http_request_t *r, const header_list *list, ngx_list_part_t *part,
                  ngx_uint_t room)
{
    ngx_list_t *headers = &r->headers_in.headers;
    *part = (ngx_list_part_t){list->elts, list->nelts, NULL};
    headers->last = part;
    headers->size = sizeof(ngx_table_elt_t);
    headers->nalloc = room;
    headers->pool = r->pool;
}

ngx_int_t ngx_http_canopy_send(ngx_http_request_t *r, const ngx_http_canopy_loc_conf_t *loc,
                               const ngx_http_canopy_request_t *rq, const canopy_ctx *ctx)
{
    ngx_list_t *headers = &r->headers_in.headers;
    if (loc->known.names.nelts == 0)
        return NGX_OK;
    ngx_flag_t appends = may_append(headers, &loc->known);
    ngx_uint_t room = loc->known.most + (appends ? 0 : header_count(headers));
    ngx_list_part_t *part = ngx_palloc(r->pool, sizeof *part + room * sizeof(ngx_table_elt_t));
    if (part == NULL)
        return NGX_ERROR;
    header_list list = {r->pool, &loc->known, (ngx_table_elt_t *)(part + 1), 0};
    if (!appends)
        keep_others(&list, headers);
    int err = loc->out.fields & ~NGX_HTTP_CANOPY_TIMEOUTS
                  ? canopy_wire_write(ctx, &loc->out, NULL, ngx_http_canopy_now_ns(), add, &list)
                  : send_timeout(&list, &loc->out, ngx_http_canopy_until_ns(rq));
    if (appends && list.nelts > 0) { /* nginx takes a part behind the first for one that has some */
        headers->part.next = part;
        enter(r, &list, part, room);
    } else if (!appends) {
        enter(r, &list, &headers->part, room);
    }
    if (err == -ETIMEDOUT || err == -ECANCELED)
        return NGX_ABORT;
    return err == 0 ? NGX_OK : NGX_ERROR;
}
