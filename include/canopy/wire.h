/*
 * wire.h - what a request takes along to another machine, and brings: how long is left,
 * the trace that it is part of, baggage; and what the end of a context is called there.
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
#endif

#endif
