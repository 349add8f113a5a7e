/*
 * receive.c - a request in: its headers one by one, then a context for it.
 *
 * Nothing is copied before the context is made. Of a list what is kept is a span for each
 * member, so that what is passed on has no malformed member, empty one, or space between
 * them. All that came counts against the limits, kept or not: bytes with the commas that
 * join header lines, and members. Once they are reached, a header costs no more than the
 * look at its name.
 */
#include <errno.h>
#include <string.h>

#include "wire/list.h"
#include "wire/policy.h"
#include "wire/trace.h"

/* How a traceparent came. */
enum { TRACE_NONE, TRACE_ONE, TRACE_SPOILED };

/* ------------------------------------------------------------------------- lists */

#define TRACESTATE_KEY   256
#define TRACESTATE_VALUE 256

static const struct octets state_first = {{OCTETS('0', '9'), OCTETS('a', 'z')}};
static const struct octets state_key = {
    {OCTETS('0', '9') | OCTETS('*', '*') | OCTETS('-', '-') | OCTETS('/', '/'),
     OCTETS('a', 'z') | OCTETS('_', '_') | OCTETS('@', '@')}};
static const struct octets state_value = {
    {OCTETS(' ', '+') | OCTETS('-', '<') | OCTETS('>', '?'), OCTETS('@', '~')}};

/* Of a tracestate. The item has no space at its end, so neither has the value. */
static bool is_state_member(struct text item)
{
    size_t key_bytes = octets_span(&state_key, item);
    if (key_bytes == 0 || key_bytes > TRACESTATE_KEY || !octets_have(&state_first, *item.at) ||
        key_bytes == item.bytes || item.at[key_bytes] != '=')
        return false;
    struct text value = {item.at + key_bytes + 1, item.bytes - key_bytes - 1};
    return value.bytes > 0 && value.bytes <= TRACESTATE_VALUE &&
           octets_span(&state_value, value) == value.bytes;
}

static bool is_baggage_member(struct text item)
{
    return baggage_member_read(item, NULL);
}

/* Keeps the members of a header line; false where one is malformed, or beyond the limits. */
static bool list_take(struct canopy_wire_list *list, struct canopy_wire_span *spans, uint32_t most,
                      bool (*is_member)(struct text item), struct text line)
{
    size_t at = 0, before = list->bytes + (list->is_begun ? 1 : 0);
    bool is_whole = true;
    struct text item;
    if (before + line.bytes < line.bytes || before + line.bytes > CANOPY_WIRE_LIST_BYTES)
        list->bytes = CANOPY_WIRE_LIST_BYTES;
    else
        list->bytes = (uint32_t)(before + line.bytes);
    list->is_begun = true;
    while (before <= CANOPY_WIRE_LIST_BYTES && list_next(line, &at, &item)) {
        size_t end = before + (size_t)(item.at + item.bytes - line.at);
        if (item.bytes == 0)
            continue;
        if (end > CANOPY_WIRE_LIST_BYTES || list->members == most)
            return false;
        list->members++;
        if (is_member(item))
            spans[list->kept++] = (struct canopy_wire_span){item.at, (uint32_t)item.bytes};
        else
            is_whole = false;
    }
    return is_whole && before <= CANOPY_WIRE_LIST_BYTES;
}

static size_t list_bytes(const struct canopy_wire_list *list, const struct canopy_wire_span *spans)
{
    size_t bytes = list->kept > 0 ? list->kept - 1 : 0;
    for (uint32_t i = 0; i < list->kept; i++)
        bytes += spans[i].bytes;
    return bytes;
}

static struct text list_write(const struct canopy_wire_list *list,
                              const struct canopy_wire_span *spans, char *out)
{
    struct text written = {out, 0};
    for (uint32_t i = 0; i < list->kept; i++) {
        if (i > 0)
            out[written.bytes++] = ',';
        memcpy(out + written.bytes, spans[i].at, spans[i].bytes);
        written.bytes += spans[i].bytes;
    }
    return written;
}

/* ----------------------------------------------------------------------- headers */

int canopy_wire_begin(canopy_wire *wire, const canopy_wire_policy *policy, int64_t received_ns)
{
    static const canopy_wire_policy nothing = {.size = sizeof nothing};
    bool is_valid = policy_is_valid(policy);
    wire->timeout_ns = CANOPY_NEVER;
    wire->taken = 0;
    wire->malformed = 0;
    wire->canopy_trace = TRACE_NONE;
    wire->canopy_policy = is_valid ? policy : &nothing;
    wire->canopy_received_ns = received_ns;
    wire->canopy_tracestate = (struct canopy_wire_list){0};
    wire->canopy_baggage = (struct canopy_wire_list){0};
    return is_valid ? 0 : -EINVAL;
}

static bool take_timeout(canopy_wire *wire, enum header header, struct text value)
{
    int64_t timeout_ns = 0;
    bool is_ms = header == MS_TIMEOUT;
    int err = is_ms ? canopy_ms_timeout_parse(value.at, value.bytes, &timeout_ns)
                    : canopy_grpc_timeout_parse(value.at, value.bytes, &timeout_ns);
    if (is_ms && timeout_ns == 0 && wire->canopy_policy->ms_zero_is_none)
        timeout_ns = CANOPY_NEVER;
    if (!err && timeout_ns < wire->timeout_ns)
        wire->timeout_ns = timeout_ns;
    return !err;
}

/* Two traces are none. */
static bool take_trace(canopy_wire *wire, struct text value)
{
    bool is_first = wire->canopy_trace == TRACE_NONE;
    if (is_first && canopy_traceparent_parse(value.at, value.bytes, &wire->trace) == 0) {
        wire->canopy_trace = TRACE_ONE;
        return true;
    }
    wire->canopy_trace = TRACE_SPOILED;
    wire->taken &= ~CANOPY_WIRE_TRACE;
    return false;
}

/* A list that is not whole is none. */
static bool take_state(canopy_wire *wire, struct text value)
{
    if ((wire->malformed & CANOPY_WIRE_TRACESTATE) != 0)
        return false;
    if (list_take(&wire->canopy_tracestate, wire->canopy_states, CANOPY_TRACESTATE_MEMBERS,
                  is_state_member, value))
        return true;
    wire->canopy_tracestate.kept = 0;
    wire->taken &= ~CANOPY_WIRE_TRACESTATE;
    return false;
}

static bool take_value(canopy_wire *wire, enum header header, struct text value)
{
    switch (header) {
    case TRACEPARENT:
        return take_trace(wire, value);
    case TRACESTATE:
        return take_state(wire, value);
    case BAGGAGE:
        return list_take(&wire->canopy_baggage, wire->canopy_members, CANOPY_BAGGAGE_MEMBERS,
                         is_baggage_member, value);
    default:
        return take_timeout(wire, header, value);
    }
}

/* Names of headers are of any case; the one that it is compared with is in lower case. */
static bool is_named(struct text name, struct text lower)
{
    if (name.bytes != lower.bytes)
        return false;
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.at[i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != lower.at[i])
            return false;
    }
    return true;
}

static enum header header_named(struct text name, const canopy_wire_policy *policy)
{
    enum header header = GRPC_TIMEOUT;
    while (header < HEADERS &&
           !(header_is_agreed(header, policy) && is_named(name, header_name(header, policy))))
        header++;
    return header;
}

int canopy_wire_take(canopy_wire *wire, const char *name, size_t name_bytes, const char *value,
                     size_t value_bytes)
{
    struct text named = {name, name ? name_bytes : 0};
    enum header header = header_named(named, wire->canopy_policy);
    if (header == HEADERS)
        return 0;
    if (take_value(wire, header, (struct text){value, value ? value_bytes : 0})) {
        wire->taken |= header_field(header);
        return 1;
    }
    wire->malformed |= header_field(header);
    if (header == BAGGAGE && wire->canopy_baggage.kept > 0)
        wire->taken |= CANOPY_WIRE_BAGGAGE;
    return -EINVAL;
}

/* --------------------------------------------------------------------- a context */

/* A layer with the trace and the lists that came. */
static canopy_ctx *with_lists(const canopy_ctx *parent, const canopy_wire *wire)
{
    bool has_trace = (wire->taken & CANOPY_WIRE_TRACE) != 0;
    bool has_state =
        has_trace && wire->canopy_trace == TRACE_ONE && (wire->taken & CANOPY_WIRE_TRACESTATE) != 0;
    if (has_trace && !trace_is_valid(&wire->trace)) {
        errno = EINVAL;
        return NULL;
    }
    struct carried *carried =
        carried_new(parent, list_bytes(&wire->canopy_tracestate, wire->canopy_states) +
                                list_bytes(&wire->canopy_baggage, wire->canopy_members));
    if (!carried)
        return NULL;
    char *room = carried->bytes;
    if (has_trace) {
        carried->own_trace = wire->trace;
        carried->trace = &carried->own_trace;
        carried->tracestate = (struct text){NULL, 0};
    }
    if (has_state) {
        carried->tracestate = list_write(&wire->canopy_tracestate, wire->canopy_states, room);
        room += carried->tracestate.bytes;
    }
    if ((wire->taken & CANOPY_WIRE_BAGGAGE) != 0)
        carried->baggage = list_write(&wire->canopy_baggage, wire->canopy_members, room);
    return carried_bind(parent, carried);
}

/* Below the layer, for what lies on one cannot be cancelled. */
static canopy_ctx *with_time(const canopy_ctx *parent, const canopy_wire *wire)
{
    int64_t timeout_ns = wire->timeout_ns, deadline_ns;
    int64_t max_ns = wire->canopy_policy->max_timeout_ns;
    if (max_ns > 0 && timeout_ns > max_ns)
        timeout_ns = max_ns;
    if (timeout_ns == CANOPY_NEVER)
        return canopy_with_cancel(parent);
    if (timeout_ns <= 0) /* by no clock: now may seem to be a moment before it was received */
        return canopy_with_timeout(parent, 0);
    if (__builtin_add_overflow(wire->canopy_received_ns, timeout_ns, &deadline_ns))
        deadline_ns = CANOPY_NEVER;
    return canopy_with_deadline(parent, deadline_ns);
}

canopy_ctx *canopy_with_wire(const canopy_ctx *parent, const canopy_wire *wire)
{
    if (!parent || !wire) {
        errno = EINVAL;
        return NULL;
    }
    if ((wire->taken & (CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE)) == 0)
        return with_time(parent, wire);
    canopy_ctx *layer = with_lists(parent, wire);
    canopy_ctx *request = layer ? with_time(layer, wire) : NULL;
    int err = errno;
    canopy_release(layer);
    errno = err;
    return request;
}

const canopy_traceparent *canopy_traceparent_of(const canopy_ctx *ctx)
{
    const struct carried *carried = carried_by(ctx);
    return carried ? carried->trace : NULL;
}
