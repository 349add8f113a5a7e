/*
 * chain.c - a service in the middle of a chain: a request comes with a time-out, a trace
 * and baggage, and each try of a call passes on what is left of them. The time is the
 * host's, so that it prints the same each time.
 *
 * Prints:
 *     at 1000 ms a request came
 *         grpc-timeout: 800000u
 *         traceparent: the next span of its trace
 *         baggage: user=alice,tenant=7
 *     at 1000 ms a try was sent
 *         grpc-timeout: 180000u
 *         traceparent: the next span of its trace
 *         baggage: user=alice,tenant=7
 *     at 1800 ms a try was sent
 *     at 1990 ms a try was not worth it
 *     at 2000 ms answered with grpc-status 4, HTTP 504
 *     at 2000 ms a request came
 *     at 2000 ms answered with grpc-status 4, HTTP 504
 */
#include <canopy/wire.h>
#include <stdio.h>
#include <string.h>

#define MILLISECONDS(n) ((int64_t)(n)*1000000)

static canopy_ctx *root;
static int64_t now_ns = MILLISECONDS(1000);

static void say(const char *what)
{
    printf("at %d ms %s\n", (int)(now_ns / MILLISECONDS(1)), what);
}

static void pass_time(int64_t duration_ns)
{
    now_ns += duration_ns;
    canopy_root_advance(root, now_ns, NULL);
}

/* What we agree on with our callers, and with whom we call. */
static const canopy_wire_policy policy = {
    .size = sizeof(canopy_wire_policy),
    .fields = CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE,
    .max_timeout_ns = MILLISECONDS(5000), /* whatever they say, and if they say nothing */
    .try_timeout_ns = MILLISECONDS(820),
    .reserve_ns = MILLISECONDS(20), /* for the network, and for our own answer */
};

struct header {
    const char *name, *value;
};

/* A context for a request that arrived at `received_ns`, or NULL. */
static canopy_ctx *request_begin(const canopy_ctx *connection, int64_t received_ns,
                                 const struct header *headers)
{
    canopy_wire wire;
    canopy_wire_begin(&wire, &policy, received_ns);
    for (const struct header *h = headers; h->name; h++)
        canopy_wire_take(&wire, h->name, strlen(h->name), h->value, strlen(h->value));
    return canopy_with_wire(connection, &wire);
}

/* Of the HTTP client: adds a header to what is about to be sent. */
static int add_header(void *user, const char *name, size_t name_bytes, const char *value,
                      size_t value_bytes)
{
    bool is_random = strncmp(name, "traceparent", name_bytes) == 0;
    (void)user;
    printf("    %.*s: %.*s\n", (int)name_bytes, name, is_random ? 26 : (int)value_bytes,
           is_random ? "the next span of its trace" : value);
    return 0;
}

/* One try. False: it could not be answered in time, or nobody waits: nothing was sent. */
static bool try_send(const canopy_ctx *request)
{
    return canopy_wire_write(request, &policy, NULL, now_ns, add_header, NULL) == 0;
}

static void answer(const canopy_ctx *request)
{
    canopy_wire_end end = canopy_wire_status(request);
    char text[64];
    snprintf(text, sizeof text, "answered with grpc-status %d, HTTP %d", end.grpc_status,
             end.http_status);
    say(text);
}

/* The upstream answers none of the tries. */
static void serve(const struct header *headers)
{
    canopy_ctx *request = request_begin(root, now_ns, headers);
    static const int64_t pauses_ns[] = {MILLISECONDS(800), MILLISECONDS(190), MILLISECONDS(10)};
    say("a request came");
    for (size_t i = 0; i < 3 && request && canopy_err(request) == 0; i++) {
        say(try_send(request) ? "a try was sent" : "a try was not worth it");
        pass_time(pauses_ns[i]);
    }
    if (request)
        answer(request);
    canopy_end(request);
}

int main(void)
{
    const struct header first[] = {
        {"grpc-timeout", "1S"},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"baggage", "user=alice, tenant=7"},
        {0}};
    const struct header late[] = {{"grpc-timeout", "0S"}, {0}};
    root = canopy_root_new(&(canopy_config){
        .size = sizeof(canopy_config), .clock = CANOPY_CLOCK_HOST, .now_ns = now_ns});
    if (!root)
        return 1;
    serve(first);
    serve(late);
    return canopy_wait_idle(root, CANOPY_NEVER) || canopy_root_free(root);
}
