/*
 * wire.c - what libFuzzer calls for <canopy/wire.h>: its bytes are header lines, "name:
 * value" with a line end between them, and each value is handed to every parser as well.
 * Built with clang only, and only when asked for:
 *
 *     cmake --build build/clang --target fuzz_wire
 *     build/clang/tests/fuzz/fuzz_wire -max_len=4096 -detect_leaks=0 -dict=tests/fuzz/wire.dict NEW
 *
 * Values lie where reading beyond them is seen. What is read must be written as something
 * that reads the same; what is passed on must be taken, unchanged, by the next machine.
 */
#include <canopy/wire.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static char *copy(const char *bytes, size_t count)
{
    char *alone = malloc(count ? count : 1);
    if (!alone)
        abort();
    if (count)
        memcpy(alone, bytes, count);
    return alone;
}

/* --------------------------------------------------------------------- each parser */

static void try_timeouts(const char *value, size_t bytes)
{
    int64_t read_ns = -1, again_ns = -1;
    char out[CANOPY_TIMEOUT_BYTES];
    if (canopy_grpc_timeout_parse(value, bytes, &read_ns) == 0) {
        int count = canopy_grpc_timeout_format(read_ns, out);
        must(read_ns >= 0 && (count > 0 || read_ns == 0 || read_ns == CANOPY_NEVER));
        must(count < 0 || (canopy_grpc_timeout_parse(out, (size_t)count, &again_ns) == 0 &&
                           again_ns <= read_ns && read_ns - again_ns <= read_ns / 100000));
    }
    if (canopy_ms_timeout_parse(value, bytes, &read_ns) == 0) {
        int count = canopy_ms_timeout_format(read_ns, out);
        must(count > 0 || read_ns == 0);
        must(count < 0 ||
             (canopy_ms_timeout_parse(out, (size_t)count, &again_ns) == 0 && again_ns == read_ns));
    }
}

static void try_trace(const char *value, size_t bytes)
{
    canopy_traceparent trace, again;
    char out[CANOPY_TRACEPARENT_BYTES];
    if (canopy_traceparent_parse(value, bytes, &trace) != 0)
        return;
    canopy_traceparent_format(&trace, out);
    must(canopy_traceparent_parse(out, sizeof out, &again) == 0);
    must(memcmp(&trace, &again, sizeof trace) == 0);
}

/* With as much room as may be needed, and with less. */
static void try_value(const char *value, size_t bytes)
{
    char *decoded = copy(value, bytes), *encoded = malloc(3 * bytes + 1), *again;
    int count = canopy_baggage_decode(value, bytes, decoded, bytes);
    must(encoded && (count == -EILSEQ || (count >= 0 && (size_t)count <= bytes)));
    must(canopy_baggage_decode(value, bytes, decoded, bytes / 2) == count);
    if (canopy_baggage_decode(value, bytes, decoded, bytes) >= 0) {
        int length = canopy_baggage_encode(decoded, (size_t)count, encoded, 3 * bytes);
        again = copy(encoded, (size_t)length);
        must(canopy_baggage_decode(encoded, (size_t)length, again, (size_t)length) == count);
        must(count == 0 || memcmp(again, decoded, (size_t)count) == 0);
        free(again);
    }
    must(canopy_grpc_message_encode(value, bytes, encoded, 3 * bytes) >= (int)bytes);
    must(canopy_grpc_message_encode(value, bytes, encoded, bytes) >= (int)bytes);
    free(encoded);
    free(decoded);
}

static void try_baggage(const char *value, size_t bytes)
{
    canopy_baggage_member member;
    size_t at = 0;
    for (int result; (result = canopy_baggage_next(value, bytes, &at, &member)) != 0;) {
        must(at <= bytes && (result == 1 || result == -EINVAL));
        if (result == 1)
            try_value(member.value, member.value_bytes);
    }
}

/* --------------------------------------------------------------------- a whole request */

static const canopy_wire_policy policy = {.size = sizeof policy,
                                          .fields = CANOPY_WIRE_GRPC_TIMEOUT |
                                                    CANOPY_WIRE_MS_TIMEOUT | CANOPY_WIRE_TRACE |
                                                    CANOPY_WIRE_BAGGAGE,
                                          .ms_name = "x-timeout-ms"};

#define LINES 64

/* What was sent; the next machine refers to it. */
struct sent {
    canopy_wire next;
    char *values[8];
    size_t bytes[8], count;
    const struct sent *same; /* unless NULL: what it must be */
};

static int send_on(void *user, const char *name, size_t name_bytes, const char *value,
                   size_t value_bytes)
{
    struct sent *sent = user;
    size_t i = sent->count++;
    must(i < 8 && !memchr(value, '\r', value_bytes) && !memchr(value, '\n', value_bytes) &&
         !memchr(value, 0, value_bytes));
    sent->values[i] = copy(value, value_bytes);
    sent->bytes[i] = value_bytes;
    must(canopy_wire_take(&sent->next, name, name_bytes, sent->values[i], value_bytes) == 1);
    if (sent->same)
        must(sent->same->bytes[i] == value_bytes &&
             memcmp(sent->same->values[i], value, value_bytes) == 0);
    return 0;
}

static struct sent pass_on(const canopy_wire *wire, const struct sent *same)
{
    static const canopy_traceparent span = {{1}, {2}, 3};
    struct sent sent = {.count = 0, .same = same};
    must(canopy_wire_begin(&sent.next, &policy, 0) == 0);
    canopy_ctx *request = canopy_with_wire(canopy_background(), wire);
    must(request != NULL);
    const canopy_traceparent *trace = canopy_traceparent_of(request);
    int err = canopy_wire_write(request, &policy, trace ? trace : &span, 0, send_on, &sent);
    must(err == 0 || err == canopy_err(request) || (err == -ETIMEDOUT && sent.count == 0));
    must(sent.next.malformed == 0 && (!same || sent.count == same->count));
    canopy_end(request);
    return sent;
}

static void forget(struct sent *sent)
{
    for (size_t i = 0; i < sent->count; i++)
        free(sent->values[i]);
}

/* Twice, with what the library's clock has no say in: how long is left. */
static void try_request(canopy_wire *wire)
{
    wire->timeout_ns = CANOPY_NEVER;
    struct sent first = pass_on(wire, NULL);
    first.next.timeout_ns = CANOPY_NEVER;
    struct sent second = pass_on(&first.next, &first);
    forget(&first);
    forget(&second);
}

/* One header line; returns the copy of its value, which the request refers to. */
static char *try_line(canopy_wire *wire, const char *line, size_t bytes)
{
    const char *colon = bytes ? memchr(line, ':', bytes) : NULL;
    size_t name_bytes = colon ? (size_t)(colon - line) : 0;
    size_t begin = colon ? name_bytes + 1 : 0;
    char *value = copy(line + begin, bytes - begin);
    bytes -= begin;
    try_timeouts(value, bytes);
    try_trace(value, bytes);
    try_baggage(value, bytes);
    try_value(value, bytes);
    int taken = canopy_wire_take(wire, line, name_bytes, value, bytes);
    must(taken == 0 || taken == 1 || taken == -EINVAL);
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    canopy_wire wire;
    char *values[LINES];
    size_t count = 0;
    const char *at = (const char *)bytes;
    must(canopy_wire_begin(&wire, &policy, 0) == 0);
    while (size_bytes > 0 && count < LINES) {
        const char *end = memchr(at, '\n', size_bytes);
        size_t line_bytes = end ? (size_t)(end - at) : size_bytes;
        values[count++] = try_line(&wire, at, line_bytes);
        line_bytes += end != NULL;
        at += line_bytes;
        size_bytes -= line_bytes;
    }
    try_request(&wire);
    while (count > 0)
        free(values[--count]);
    return 0;
}
