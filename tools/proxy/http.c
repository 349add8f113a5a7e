/* http.c - HTTP messages on their way through the proxy, over http-parser. */
#include "http.h"

#include <string.h>
#include <strings.h>

#define TIMEOUT_HEADER "X-Timeout-Ms"

/* Headers that speak of one connection only; each side of the proxy has its own. */
static const char *const hop_headers[] = {
    "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
};
enum { HOP_HEADER_COUNT = sizeof hop_headers / sizeof hop_headers[0] };

/* ---------------------------------------------------------------- parsing */

static int message_fail(struct http_message *m, enum outcome failure)
{
    m->failure = failure;
    return -1;
}

static int head_append(struct http_message *m, const char *at, size_t length)
{
    if (buffer_length(&m->text) + length > HTTP_MAX_HEAD_BYTES)
        return message_fail(m, OUTCOME_HEAD_TOO_LARGE);
    buffer_append(&m->text, at, length);
    return m->text.failed ? message_fail(m, OUTCOME_OVERLOAD) : 0;
}

static int on_message_begin(http_parser *parser)
{
    ((struct http_message *)parser->data)->state = MESSAGE_HEAD;
    return 0;
}

static int on_start_line(http_parser *parser, const char *at, size_t length)
{
    struct http_message *m = parser->data;
    m->start_length += (unsigned)length;
    return head_append(m, at, length);
}

static int on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct http_message *m = parser->data;
    if (m->state != MESSAGE_HEAD)
        return 0; /* a trailer: dropped */
    if (m->after_value || m->field_count == 0) {
        if (m->field_count == HTTP_MAX_FIELDS)
            return message_fail(m, OUTCOME_HEAD_TOO_LARGE);
        uint16_t place = (uint16_t)buffer_length(&m->text);
        m->fields[m->field_count++] = (struct http_field){.name = place, .value = place};
        m->after_value = false;
    }
    m->fields[m->field_count - 1].name_length += (uint16_t)length;
    return head_append(m, at, length);
}

static int on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct http_message *m = parser->data;
    if (m->state != MESSAGE_HEAD)
        return 0;
    struct http_field *field = &m->fields[m->field_count - 1];
    if (!m->after_value)
        field->value = (uint16_t)buffer_length(&m->text);
    m->after_value = true;
    field->value_length += (uint16_t)length;
    return head_append(m, at, length);
}

static int on_headers_complete(http_parser *parser)
{
    struct http_message *m = parser->data;
    m->state = MESSAGE_HEAD_READY;
    m->keep_alive = http_should_keep_alive(parser);
    parser->upgrade = 0; /* we pass no upgrade on, so the message ends as any other */
    http_parser_pause(parser, 1);
    return m->answers_head;
}

static int on_body(http_parser *parser, const char *at, size_t length)
{
    struct http_message *m = parser->data;
    if (!m->body_out)
        return 0;
    if (m->writes_chunks)
        buffer_printf(m->body_out, "%zx\r\n", length);
    buffer_append(m->body_out, at, length);
    if (m->writes_chunks)
        buffer_append_string(m->body_out, "\r\n");
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http_message *m = parser->data;
    if (m->body_out && m->writes_chunks)
        buffer_append_string(m->body_out, "0\r\n\r\n");
    m->state = MESSAGE_DONE;
    m->keep_alive = http_should_keep_alive(parser);
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_start_line,
    .on_status = on_start_line,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_start(struct http_message *m, enum http_parser_type type)
{
    http_parser_init(&m->parser, type);
    m->parser.data = m;
    m->state = MESSAGE_WAITING;
    m->failure = OUTCOME_BAD_REQUEST;
    m->answers_head = m->keep_alive = m->writes_chunks = m->after_value = false;
    m->body_out = NULL;
    buffer_clear(&m->text);
    m->start_length = m->field_count = 0;
}

void http_free(struct http_message *m)
{
    buffer_free(&m->text);
}

size_t http_feed(struct http_message *m, const char *data, size_t length)
{
    if (HTTP_PARSER_ERRNO(&m->parser) == HPE_PAUSED)
        http_parser_pause(&m->parser, 0);
    if (m->state == MESSAGE_HEAD_READY)
        m->state = MESSAGE_BODY;
    size_t used = http_parser_execute(&m->parser, &settings, data, length);
    enum http_errno error = HTTP_PARSER_ERRNO(&m->parser);
    if (error == HPE_HEADER_OVERFLOW)
        m->failure = OUTCOME_HEAD_TOO_LARGE;
    if (error != HPE_OK && error != HPE_PAUSED)
        m->state = MESSAGE_FAILED;
    return used;
}

/* ------------------------------------------------------------------- head */

static bool equals(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

static const char *head_text(const struct http_message *m, uint16_t place)
{
    return buffer_data(&m->text) + place;
}

const char *http_value(const struct http_message *m, const char *name, size_t *length)
{
    for (unsigned i = 0; i < m->field_count; i++) {
        const struct http_field *field = &m->fields[i];
        if (equals(head_text(m, field->name), field->name_length, name)) {
            *length = field->value_length;
            return head_text(m, field->value);
        }
    }
    return NULL;
}

int64_t http_timeout_ms(const struct http_message *m)
{
    size_t length;
    const char *value = http_value(m, TIMEOUT_HEADER, &length);
    int64_t timeout_ms = 0;
    if (!value || length == 0 || length > 9)
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        timeout_ms = timeout_ms * 10 + (value[i] - '0');
    }
    return timeout_ms;
}

bool http_is_replayable(const struct http_message *m)
{
    const enum http_method method = m->parser.method;
    const bool safe = method == HTTP_GET || method == HTTP_HEAD || method == HTTP_OPTIONS;
    const bool has_body = (m->parser.flags & (F_CHUNKED | F_CONTENTLENGTH)) != 0;
    return safe && !has_body;
}

enum outcome http_unsupported(const struct http_message *m)
{
    size_t length;
    const char *coding = http_value(m, "Transfer-Encoding", &length);
    if (coding && !equals(coding, length, "chunked"))
        return OUTCOME_UNSUPPORTED;
    if (m->parser.type == HTTP_REQUEST && m->parser.method == HTTP_CONNECT)
        return OUTCOME_UNSUPPORTED;
    return OUTCOME_COMPLETED;
}

/* Whether `connection`, a list of words, contains the name. */
static bool list_names(const char *connection, size_t length, const char *name, size_t name_length)
{
    while (length > 0) {
        const char *comma = memchr(connection, ',', length);
        size_t word = comma ? (size_t)(comma - connection) : length;
        size_t next = comma ? word + 1 : length;
        const char *start = connection;
        while (word > 0 && (*start == ' ' || *start == '\t'))
            start++, word--;
        while (word > 0 && (start[word - 1] == ' ' || start[word - 1] == '\t'))
            word--;
        if (word == name_length && strncasecmp(start, name, word) == 0)
            return true;
        connection += next;
        length -= next;
    }
    return false;
}

static bool is_hop_header(const char *name, size_t length)
{
    for (int i = 0; i < HOP_HEADER_COUNT; i++) {
        if (equals(name, length, hop_headers[i]))
            return true;
    }
    return false;
}

/* Writes the headers that go from end to end, apart from `skip`. */
static void write_fields(const struct http_message *m, struct buffer *out, const char *skip)
{
    size_t connection_length = 0;
    const char *connection = http_value(m, "Connection", &connection_length);
    for (unsigned i = 0; i < m->field_count; i++) {
        const struct http_field *field = &m->fields[i];
        const char *name = head_text(m, field->name);
        if (is_hop_header(name, field->name_length) ||
            list_names(connection, connection_length, name, field->name_length) ||
            (skip && equals(name, field->name_length, skip)))
            continue;
        buffer_append(out, name, field->name_length);
        buffer_append(out, ": ", 2);
        buffer_append(out, head_text(m, field->value), field->value_length);
        buffer_append(out, "\r\n", 2);
    }
}

void http_write_request(struct http_message *m, struct buffer *out, int64_t timeout_ms)
{
    size_t length;
    buffer_append_string(out, http_method_str(m->parser.method));
    buffer_append(out, " ", 1);
    buffer_append(out, head_text(m, 0), m->start_length);
    buffer_append_string(out, " HTTP/1.1\r\n");
    write_fields(m, out, timeout_ms >= 0 ? TIMEOUT_HEADER : NULL);
    if (!http_value(m, "Host", &length))
        buffer_append_string(out, "Host: localhost\r\n");
    if (timeout_ms >= 0)
        buffer_printf(out, TIMEOUT_HEADER ": %lld\r\n", (long long)timeout_ms);
    m->writes_chunks = (m->parser.flags & F_CHUNKED) != 0;
    if (m->writes_chunks)
        buffer_append_string(out, "Transfer-Encoding: chunked\r\n");
    buffer_append(out, "\r\n", 2);
    m->body_out = out;
}

/* Says what becomes of the connection where its version would not have guessed it. */
static void write_connection(const struct http_message *request, struct buffer *out, bool close)
{
    if (close)
        buffer_append_string(out, "Connection: close\r\n");
    else if (request->parser.http_minor == 0)
        buffer_append_string(out, "Connection: keep-alive\r\n");
}

bool http_write_response(struct http_message *m, const struct http_message *request,
                         struct buffer *out, bool close)
{
    const unsigned status = m->parser.status_code;
    const bool has_body = !m->answers_head && status >= 200 && status != 204 && status != 304;
    const bool has_length = (m->parser.flags & F_CONTENTLENGTH) != 0;
    const bool interim = status < 200;

    m->writes_chunks = has_body && !has_length && request->parser.http_minor > 0;
    close = close || !request->keep_alive || (has_body && !has_length && !m->writes_chunks);
    buffer_printf(out, "HTTP/1.1 %u ", status);
    buffer_append(out, head_text(m, 0), m->start_length);
    buffer_append(out, "\r\n", 2);
    write_fields(m, out, NULL);
    if (m->writes_chunks)
        buffer_append_string(out, "Transfer-Encoding: chunked\r\n");
    if (!interim)
        write_connection(request, out, close);
    buffer_append(out, "\r\n", 2);
    m->body_out = out;
    return !close;
}

void http_write_answer(const struct http_message *request, struct buffer *out,
                       const canopy_cause *cause, bool close)
{
    buffer_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n",
                  cause->code, http_status_str((enum http_status)cause->code),
                  strlen(cause->text) + 1);
    write_connection(request, out, close);
    buffer_append(out, "\r\n", 2);
    if (request->parser.method != HTTP_HEAD)
        buffer_printf(out, "%s\n", cause->text);
}
