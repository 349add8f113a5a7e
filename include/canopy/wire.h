/*
 * wire.h - what a request takes along to another machine, and brings: how long is left;
 * and what the end of a context is called there.
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

#endif
