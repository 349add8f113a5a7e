/*
 * wire.h - what a request takes along to another machine, and brings: how long is left,
 * the trace that it is part of, baggage; and what the end of a context is called there.
 *
 *     canopy_wire wire;
 *     canopy_wire_begin(&wire, &policy, received_ns);
 *     ... for each header: canopy_wire_take(&wire, name, name_bytes, value, value_bytes) ...
 *     canopy_ctx *request = canopy_with_wire(connection, &wire);
 *     if (request && canopy_err(request) != 0)
 *         ... nobody waits for it any more: answer with canopy_wire_status, do nothing ...
 *     ... for each try, when its headers go out:
 *     int err = canopy_wire_write(call, &policy, NULL, canopy_now_ns(), add_header, stream);
 *     if (err != 0)
 *         ... it could not be answered in time, or has ended: send nothing ...
 *
 * Time crosses as what is left, never as a point in time: clocks differ. Parsers are total
 * (any bytes, any length), strict and linear; they, the formatters and the status functions
 * allocate nothing, take no lock, are wait-free and may be called from signal handlers.
 * Spaces and tabs around a value are not part of it. Strings need no final NUL. The
 * conventions are those of canopy.h. Since 1.1.
 */
#ifndef CANOPY_WIRE_H
#define CANOPY_WIRE_H

#include <canopy/canopy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --------------------------------------------------------------- time-outs */

/* Room for what the two formatters below write, which is not ended by a NUL. */
#define CANOPY_TIMEOUT_BYTES 10

/*
 * Reads a grpc-timeout: 1 to 8 digits and one of H M S m u n. 0, or -EINVAL, and
 * `*timeout_ns` is untouched. 0 of any unit gives 0: time is up (the grammar has no 0, but
 * senders do). What is beyond int64_t gives CANOPY_NEVER.
 */
CANOPY_API CANOPY_MUST_USE int canopy_grpc_timeout_parse(const char *value, size_t bytes,
                                                         int64_t *timeout_ns);

/*
 * Writes a grpc-timeout, and returns its length: in the finest unit in which it fits,
 * rounded down, so that what is read from it is never more, and less by at most 1/100,000
 * (by nothing below 0.1 s). -ETIMEDOUT: 0 or less; -ENOENT: CANOPY_NEVER, send no header.
 */
CANOPY_API CANOPY_MUST_USE int canopy_grpc_timeout_format(int64_t timeout_ns,
                                                          char out[CANOPY_TIMEOUT_BYTES]);

/* Reads milliseconds, as headers of many names have them: 1 to 10 digits. 0, or -EINVAL as above.
 */
CANOPY_API CANOPY_MUST_USE int canopy_ms_timeout_parse(const char *value, size_t bytes,
                                                       int64_t *timeout_ns);

/*
 * Writes milliseconds, rounded down, and returns the length. More than 10 digits hold is
 * written as 9999999999. -ETIMEDOUT: less than one; -ENOENT: CANOPY_NEVER, send no header.
 */
CANOPY_API CANOPY_MUST_USE int canopy_ms_timeout_format(int64_t timeout_ns,
                                                        char out[CANOPY_TIMEOUT_BYTES]);

/* ------------------------------------------------------------------- trace */

/* Flags of a trace: that it is recorded; that its id is random. */
#define CANOPY_TRACE_SAMPLED UINT8_C(1)
#define CANOPY_TRACE_RANDOM  UINT8_C(2)

/* The W3C's traceparent. Neither id is all zero; of the flags only the two above are kept. */
typedef struct canopy_traceparent {
    uint8_t trace_id[16]; /* of the whole trace */
    uint8_t span_id[8];   /* of who sent it */
    uint8_t flags;        /* CANOPY_TRACE_* */
} canopy_traceparent;

/* What canopy_traceparent_format writes. */
#define CANOPY_TRACEPARENT_BYTES 55

/*
 * Reads a traceparent: version 00 exactly, later ones (not ff) by their first 55 bytes, if
 * nothing or a '-' is behind them. 0, or -EINVAL, and `*trace` is untouched: begin a new
 * trace, and forget the tracestate.
 */
CANOPY_API CANOPY_MUST_USE int canopy_traceparent_parse(const char *value, size_t bytes,
                                                        canopy_traceparent *trace);

/* Writes it as version 00, always 55 bytes without a NUL. Read again it is the same trace. */
CANOPY_API CANOPY_NONNULL void canopy_traceparent_format(const canopy_traceparent *trace,
                                                         char out[CANOPY_TRACEPARENT_BYTES]);

/*
 * The next span of the trace `from`, or, where that is NULL, the first of a new one with
 * `flags` and CANOPY_TRACE_RANDOM. `random` has the 8 bytes of the span's id and, without
 * `from`, the 16 of the trace's behind them; NULL: canopy_random's. `next` may be `from`.
 * 0, -EINVAL (an id is all zero), or what canopy_random says; then `*next` is untouched.
 */
CANOPY_API CANOPY_MUST_USE int canopy_traceparent_next(const canopy_traceparent *from,
                                                       uint8_t flags, const uint8_t *random,
                                                       canopy_traceparent *next);

/* The most that canopy_random gives at once, and what it takes from the kernel. */
#define CANOPY_RANDOM_BYTES 256

/*
 * Random bytes for ids, by getrandom, a batch at a time for each thread. Each is given out
 * once, also on both sides of a fork (not of _Fork or clone, which run no handlers). Not
 * for signal handlers. 0, -EINVAL (NULL, too many), or getrandom's error.
 */
CANOPY_API CANOPY_MUST_USE int canopy_random(void *out, size_t bytes);

/* ----------------------------------------------------------------- baggage */

/* Of a baggage the most members, and the most bytes with all commas and space. */
#define CANOPY_BAGGAGE_MEMBERS 64
#define CANOPY_BAGGAGE_BYTES   8192

/* A member of a baggage as it is on the wire: spans of the header's value. */
typedef struct canopy_baggage_member {
    const char *key;         /* a token */
    const char *value;       /* not decoded; may be empty */
    const char *properties;  /* behind the first ';', or NULL */
    size_t key_bytes;        /* at `key` */
    size_t value_bytes;      /* at `value` */
    size_t properties_bytes; /* at `properties` */
} canopy_baggage_member;

/*
 * Reads the member at `*at` (begin with 0), which moves on; empty ones are passed over. 1;
 * 0: that was all; -EINVAL: this one is malformed, and `*member` untouched; go on behind
 * it. All calls together are linear in `bytes`.
 */
CANOPY_API CANOPY_MUST_USE int canopy_baggage_next(const char *baggage, size_t bytes, size_t *at,
                                                   canopy_baggage_member *member);

/*
 * Decodes a value: the bytes needed, of which at most `room` are written, no character by
 * half; never more than there were. What is no UTF-8 gives U+FFFD. What is decoded may be
 * anything, NUL and line ends too. -EILSEQ: a '%' without two digits behind it, or what no
 * value has; -E2BIG: more than INT_MAX.
 */
CANOPY_API CANOPY_MUST_USE int canopy_baggage_decode(const char *value, size_t bytes, char *out,
                                                     size_t room);

/* Encodes a value likewise, no escape by half. -E2BIG: more than a third of INT_MAX. */
CANOPY_API CANOPY_MUST_USE int canopy_baggage_encode(const char *value, size_t bytes, char *out,
                                                     size_t room);

/*
 * A layer on which the baggage has this member, in the place of all with that key; or,
 * where `value` is NULL, none of them. The value is encoded here; `properties` are as on
 * the wire, or NULL. Allocates by malloc, and needs time and memory as the whole baggage
 * does. A layer as canopy_with_value makes it. NULL with errno: EINVAL (a NULL parent, a key
 * that is no token, malformed properties), E2BIG (beyond the limits), or that call's.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *
canopy_with_baggage(const canopy_ctx *parent, const char *key, size_t key_bytes, const char *value,
                    size_t value_bytes, const char *properties, size_t properties_bytes);

/*
 * The baggage of the nearest layer that has one, as on the wire and without malformed
 * members; valid as long as `ctx` is. NULL and 0 bytes: none. Costs as canopy_value.
 */
CANOPY_API CANOPY_NONNULL const char *canopy_baggage_of(const canopy_ctx *ctx, size_t *bytes);

/* ------------------------------------------------------------ a request in */

/* Headers, for canopy_wire_policy.fields and the masks of canopy_wire. */
#define CANOPY_WIRE_GRPC_TIMEOUT UINT32_C(1)  /* grpc-timeout */
#define CANOPY_WIRE_MS_TIMEOUT   UINT32_C(2)  /* policy.ms_name */
#define CANOPY_WIRE_TRACE        UINT32_C(4)  /* traceparent; in `fields` tracestate, too */
#define CANOPY_WIRE_BAGGAGE      UINT32_C(8)  /* baggage */
#define CANOPY_WIRE_TRACESTATE   UINT32_C(16) /* in the masks alone */

/* Of a tracestate the most members; of each list the most bytes with all commas and space. */
#define CANOPY_TRACESTATE_MEMBERS 32
#define CANOPY_WIRE_LIST_BYTES    CANOPY_BAGGAGE_BYTES

/*
 * What is agreed with the other side. Set `size` to sizeof(canopy_wire_policy) and leave
 * what you do not need zero: so the struct can grow. From strangers take few fields, if any.
 */
typedef struct canopy_wire_policy {
    size_t size;            /* sizeof(canopy_wire_policy) */
    uint32_t fields;        /* the headers that are read, or written */
    bool ms_zero_is_none;   /* 0 in the ms header is no limit (Envoy's way), not no time */
    const char *ms_name;    /* lower case: "x-envoy-expected-rq-timeout-ms" */
    int64_t max_timeout_ns; /* in: more is taken as so much, and so is none; 0: as it comes */
    int64_t try_timeout_ns; /* out: no try takes longer; 0: as long as its context */
    int64_t reserve_ns;     /* out: kept back for the network and for our own answer */
} canopy_wire_policy;

/* How much of a list came. Its fields are canopy's. */
struct canopy_wire_list {
    uint32_t bytes;   /* with the commas between lines */
    uint32_t members; /* the malformed ones, too */
    uint32_t kept;    /* without them */
    bool is_begun;    /* by a line */
};
/* A member of it. */
struct canopy_wire_span {
    const char *at; /* in the header's value */
    uint32_t bytes; /* so many */
};

/*
 * What came with a request; placed by the caller. Until canopy_with_wire it refers to the
 * policy and to the values of headers. Between the two the first four fields may be
 * changed: so a host begins a trace where none came (canopy_traceparent_next into `trace`,
 * and its bit into `taken`), or leaves one out. The other fields are canopy's.
 */
typedef struct canopy_wire {
    int64_t timeout_ns;       /* the least that came; CANOPY_NEVER: none did */
    uint32_t taken;           /* CANOPY_WIRE_*: what came, and is taken */
    uint32_t malformed;       /* CANOPY_WIRE_*: what came malformed, or too often, or too much */
    canopy_traceparent trace; /* if it is taken */
    uint8_t canopy_trace;
    const canopy_wire_policy *canopy_policy;
    int64_t canopy_received_ns;
    struct canopy_wire_list canopy_tracestate, canopy_baggage;
    struct canopy_wire_span canopy_states[CANOPY_TRACESTATE_MEMBERS];
    struct canopy_wire_span canopy_members[CANOPY_BAGGAGE_MEMBERS];
} canopy_wire;

/*
 * Makes `wire` ready. `received_ns`: when the request arrived, from which its time-out
 * counts; by canopy_now_ns, or the host's clock of its root. 0; -EINVAL: a policy of
 * unknown size or fields, with a number below zero, or with the ms header and no name for
 * it: then nothing is taken.
 */
CANOPY_API CANOPY_NONNULL int canopy_wire_begin(canopy_wire *wire, const canopy_wire_policy *policy,
                                                int64_t received_ns);

/*
 * Takes a header line, its name in any case. 1: it was one of the policy's; 0: it was not;
 * -EINVAL: it was, and is malformed, which `malformed` tells as well. That is as if it had
 * not come:
 *
 *  - of several time-outs the least counts; of two traceparents none;
 *  - the lines of a list add up, and the limits hold for all of them joined by commas. A
 *    baggage loses the members that are malformed or lie beyond the limits, each whole; a
 *    tracestate is gone with the first such one, and without a traceparent.
 *
 * Linear in the bytes, and over all lines beyond the limits in their number.
 */
CANOPY_API CANOPY_NONNULL int canopy_wire_take(canopy_wire *wire, const char *name,
                                               size_t name_bytes, const char *value,
                                               size_t value_bytes);

/*
 * A context for the request: canopy_with_deadline, or canopy_with_cancel where no time-out
 * came, below a layer that holds what is taken of trace and lists, if anything: one layer
 * of canopy_with_value, and one malloc for what it copies. What did not come is that of
 * the layers above. Where time is up it is born done. A handle, or NULL with errno: EINVAL
 * (a NULL, a trace with an id of zero), or those calls'.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_wire(const canopy_ctx *parent,
                                                        const canopy_wire *wire);

/* The trace of the nearest layer that has one, valid as long as `ctx`; NULL: none. */
CANOPY_API CANOPY_NONNULL const canopy_traceparent *canopy_traceparent_of(const canopy_ctx *ctx);

/* ----------------------------------------------------------- a request out */

/* Receives a header, valid until it returns; what it returns but 0 ends the writing. */
typedef int (*canopy_header_fn)(void *user, const char *name, size_t name_bytes, const char *value,
                                size_t value_bytes);

/*
 * Writes the headers of one try, time-outs first: what is left at `now_ns`, or the try's
 * own time-out if that is less, less the reserve; then `span`, or, where that is NULL, a new
 * one of the context's trace (none is begun where there is none), the tracestate if it is
 * of that trace, and the baggage. -ECANCELED or -ETIMEDOUT: `ctx` has ended, or would before
 * an answer; then, and on -EINVAL (a policy as in canopy_wire_begin, no sink, a span with an
 * id of zero) and an error of canopy_random's, nothing was written. Else 0, or the sink's.
 * Call it when the bytes go out, and for each try anew.
 */
CANOPY_API CANOPY_NONNULL CANOPY_MUST_USE int canopy_wire_write(const canopy_ctx *ctx,
                                                                const canopy_wire_policy *policy,
                                                                const canopy_traceparent *span,
                                                                int64_t now_ns,
                                                                canopy_header_fn sink, void *user);

/* ----------------------------------------------------------------- the end */

/*
 * Towards the called side an end is HTTP/2's RST_STREAM with CANCEL (8), HTTP/3's
 * H3_REQUEST_CANCELLED (0x10c), and carries no reason; towards the caller it is a status.
 */
typedef struct canopy_wire_end {
    int grpc_status; /* 0: live */
    int http_status; /* 200: live; 499 is what nginx says where the client has gone */
} canopy_wire_end;

/*
 * What the end of `ctx` is called there, by its err and its cause's code (the guide has the
 * table; 2 and 500 for a code that is not in it). The cause's text, file and line are for
 * this process alone. Wait-free.
 */
CANOPY_API CANOPY_NONNULL canopy_wire_end canopy_wire_status(const canopy_ctx *ctx);

/*
 * A static cause for a gRPC status that came, to cancel with: canopy_wire_status tells that
 * status of it again. Its text is the status's name, its code a fitting errno. NULL for 0;
 * that of UNKNOWN for a number that gRPC does not have.
 */
CANOPY_API const canopy_cause *canopy_wire_cause(int grpc_status);

/*
 * The status to report where `grpc_status` came as the answer to `call`: DEADLINE_EXCEEDED
 * in the place of CANCELLED where the deadline of `call` has passed at `now_ns`, as gRPC
 * advises; else the same. Costs as canopy_err_at.
 */
CANOPY_API CANOPY_NONNULL int canopy_wire_answered(const canopy_ctx *call, int grpc_status,
                                                   int64_t now_ns);

/*
 * Encodes a text as grpc-message has it: the bytes needed, of which at most `room` are
 * written, no escape by half. -E2BIG: more than a third of INT_MAX.
 */
CANOPY_API CANOPY_MUST_USE int canopy_grpc_message_encode(const char *text, size_t bytes, char *out,
                                                          size_t room);

#ifdef __cplusplus
}
#endif

/* As debug.h has it for other constructors. */
#if defined(CANOPY_DEBUG) && !defined(__cplusplus)
#include <canopy/debug.h>
#define canopy_with_baggage(...) CANOPY_DEBUG_HERE((canopy_with_baggage)(__VA_ARGS__))
#define canopy_with_wire(...)    CANOPY_DEBUG_HERE((canopy_with_wire)(__VA_ARGS__))
#endif

#endif
