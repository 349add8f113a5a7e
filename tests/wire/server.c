/*
 * server.c - a service in the middle of a chain, as the W3C's tests of Trace Context ask
 * for one (test/README.md of w3c/trace-context): a request has a list of calls, each with
 * the list of those that the called one makes, and is answered when all have been.
 *
 *     [{"url": "http://127.0.0.1:7777/a", "arguments": []}, ...]
 *
 * Listens on loopback, on a port that it prints; ends with its standard input.
 */
#include <canopy/wire.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const canopy_wire_policy policy = {.size = sizeof policy,
                                          .fields = CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_TRACE |
                                                    CANOPY_WIRE_BAGGAGE,
                                          .max_timeout_ns = INT64_C(60000000000)};

struct request {
    struct evhttp_request *http;
    canopy_ctx *ctx;
    json_t *calls;
    size_t called;
};

/* ---------------------------------------------------------------------- in */

/* What the body of a request has, or NULL. */
static json_t *calls_of(struct evhttp_request *http)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(http);
    size_t bytes = evbuffer_get_length(body);
    const char *text = (const char *)evbuffer_pullup(body, -1);
    return text ? json_loadb(text, bytes, 0, NULL) : NULL;
}

/* The context of a request that came now; it begins a trace where none came. */
static canopy_ctx *context_of(struct evhttp_request *http)
{
    canopy_wire wire;
    if (canopy_wire_begin(&wire, &policy, canopy_now_ns()) != 0)
        return NULL;
    for (struct evkeyval *header = evhttp_request_get_input_headers(http)->tqh_first; header;
         header = header->next.tqe_next)
        (void)canopy_wire_take(&wire, header->key, strlen(header->key), header->value,
                               strlen(header->value));
    if ((wire.taken & CANOPY_WIRE_TRACE) == 0) {
        if (canopy_traceparent_next(NULL, 0, NULL, &wire.trace) != 0)
            return NULL;
        wire.taken |= CANOPY_WIRE_TRACE;
    }
    return canopy_with_wire(canopy_background(), &wire);
}

static void request_end(struct request *request, int http_status)
{
    struct evbuffer *body = evbuffer_new();
    if (body)
        evbuffer_add_printf(body, "null\n");
    evhttp_add_header(evhttp_request_get_output_headers(request->http), "Content-Type",
                      "application/json");
    evhttp_send_reply(request->http, http_status, NULL, body);
    if (body)
        evbuffer_free(body);
    json_decref(request->calls);
    canopy_end(request->ctx);
    free(request);
}

/* --------------------------------------------------------------------- out */

/* As a string; freed by the caller. */
static char *string_of(const char *at, size_t bytes)
{
    char *string = malloc(bytes + 1);
    if (!string)
        return NULL;
    memcpy(string, at, bytes);
    string[bytes] = 0;
    return string;
}

static int add_header(void *headers, const char *name, size_t name_bytes, const char *value,
                      size_t value_bytes)
{
    char *own_name = string_of(name, name_bytes), *own_value = string_of(value, value_bytes);
    int err = own_name && own_value ? evhttp_add_header(headers, own_name, own_value) : -1;
    free(own_name);
    free(own_value);
    return err;
}

static void call_next(struct request *request);

static void on_answer(struct evhttp_request *call, void *arg)
{
    struct request *request = arg;
    int status = call ? evhttp_request_get_response_code(call) : 0;
    if (status / 100 == 2)
        call_next(request);
    else if (canopy_done(request->ctx))
        request_end(request, canopy_wire_status(request->ctx).http_status);
    else
        request_end(request, 502);
}

/* A connection for one call, which lasts no longer than the context has left. */
static struct evhttp_connection *connect_to(const struct evhttp_uri *uri, struct event_base *base,
                                            int64_t left_ns)
{
    struct timeval left = {left_ns / 1000000000, left_ns % 1000000000 / 1000};
    struct evhttp_connection *connection = evhttp_connection_base_new(
        base, NULL, evhttp_uri_get_host(uri), (unsigned short)evhttp_uri_get_port(uri));
    if (connection) {
        evhttp_connection_set_timeout_tv(connection, &left);
        evhttp_connection_free_on_completion(connection);
    }
    return connection;
}

/* A call with what the context has for it, or NULL. */
static struct evhttp_request *call_new(struct request *request, const struct evhttp_uri *uri,
                                       const char *body, int64_t now_ns)
{
    struct evhttp_request *call = evhttp_request_new(on_answer, request);
    if (!call)
        return NULL;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(call);
    struct evbuffer *out = evhttp_request_get_output_buffer(call);
    if (evhttp_add_header(headers, "Host", evhttp_uri_get_host(uri)) == 0 &&
        evhttp_add_header(headers, "Content-Type", "application/json") == 0 &&
        evbuffer_add(out, body, strlen(body)) == 0 &&
        canopy_wire_write(request->ctx, &policy, NULL, now_ns, add_header, headers) == 0)
        return call;
    evhttp_request_free(call);
    return NULL;
}

/* False: it could not be sent. */
static bool call_send(struct request *request, const struct evhttp_uri *uri, const char *body)
{
    int64_t now_ns = canopy_now_ns(), deadline_ns;
    if (!evhttp_uri_get_host(uri) || evhttp_uri_get_port(uri) < 0 ||
        !canopy_deadline(request->ctx, &deadline_ns))
        return false;
    struct event_base *base =
        evhttp_connection_get_base(evhttp_request_get_connection(request->http));
    struct evhttp_request *call = call_new(request, uri, body, now_ns);
    struct evhttp_connection *connection =
        call ? connect_to(uri, base, deadline_ns - now_ns) : NULL;
    if (connection)
        return evhttp_make_request(connection, call, EVHTTP_REQ_POST, evhttp_uri_get_path(uri)) ==
               0;
    if (call)
        evhttp_request_free(call);
    return false;
}

static void call_next(struct request *request)
{
    const json_t *call = json_array_get(request->calls, request->called);
    if (!call) {
        request_end(request, 200);
        return;
    }
    request->called++;
    const char *url = json_string_value(json_object_get(call, "url"));
    struct evhttp_uri *uri = url ? evhttp_uri_parse(url) : NULL;
    char *body = json_dumps(json_object_get(call, "arguments"), JSON_ENCODE_ANY);
    if (!uri || !body || !call_send(request, uri, body))
        request_end(request, 500);
    free(body);
    if (uri)
        evhttp_uri_free(uri);
}

/* -------------------------------------------------------------------- main */

static void on_request(struct evhttp_request *http, void *arg)
{
    (void)arg;
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        evhttp_send_error(http, 503, NULL);
        return;
    }
    *request = (struct request){.http = http, .ctx = context_of(http), .calls = calls_of(http)};
    if (!request->ctx)
        request_end(request, 503);
    else if (canopy_done(request->ctx))
        request_end(request, canopy_wire_status(request->ctx).http_status);
    else if (!request->calls)
        request_end(request, 400);
    else
        call_next(request);
}

static void on_input(evutil_socket_t fd, short what, void *base)
{
    char byte;
    (void)what;
    if (read(fd, &byte, 1) <= 0)
        event_base_loopbreak(base);
}

static bool announce(struct evhttp_bound_socket *bound)
{
    struct sockaddr_in address = {0};
    socklen_t bytes = sizeof address;
    return getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &bytes) ==
               0 &&
           printf("%d\n", ntohs(address.sin_port)) > 0 && fflush(stdout) == 0;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    struct evhttp *http = base ? evhttp_new(base) : NULL;
    struct event *input = base ? event_new(base, 0, EV_READ | EV_PERSIST, on_input, base) : NULL;
    struct evhttp_bound_socket *bound =
        http ? evhttp_bind_socket_with_handle(http, "127.0.0.1", 0) : NULL;
    if (!input || !bound || event_add(input, NULL) != 0 || !announce(bound))
        return 1;
    evhttp_set_gencb(http, on_request, NULL);
    int result = event_base_dispatch(base);
    evhttp_free(http);
    event_free(input);
    event_base_free(base);
    return result == 0 ? 0 : 1;
}
