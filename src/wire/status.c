/*
 * status.c - what the end of a context is called by gRPC and by HTTP, and back.
 */
#include <canopy/wire.h>
#include <errno.h>

#include "wire/text.h"

enum {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_UNAVAILABLE = 14,
    STATUSES = 17
};

/* The HTTP numbers are those of google.rpc.Code; which errno means what is our choice. */
static const struct status {
    int http;
    canopy_cause cause;
} statuses[STATUSES] = {
    {200, {0, "OK", NULL, 0}},
    {499, {-ECANCELED, "CANCELLED", NULL, 0}},
    {500, {-EIO, "UNKNOWN", NULL, 0}},
    {400, {-EINVAL, "INVALID_ARGUMENT", NULL, 0}},
    {504, {-ETIMEDOUT, "DEADLINE_EXCEEDED", NULL, 0}},
    {404, {-ENOENT, "NOT_FOUND", NULL, 0}},
    {409, {-EEXIST, "ALREADY_EXISTS", NULL, 0}},
    {403, {-EPERM, "PERMISSION_DENIED", NULL, 0}},
    {429, {-EDQUOT, "RESOURCE_EXHAUSTED", NULL, 0}},
    {400, {-ESTALE, "FAILED_PRECONDITION", NULL, 0}},
    {409, {-ECONNABORTED, "ABORTED", NULL, 0}},
    {400, {-ERANGE, "OUT_OF_RANGE", NULL, 0}},
    {501, {-ENOSYS, "UNIMPLEMENTED", NULL, 0}},
    {500, {-EPROTO, "INTERNAL", NULL, 0}},
    {503, {-EAGAIN, "UNAVAILABLE", NULL, 0}},
    {500, {-EBADMSG, "DATA_LOSS", NULL, 0}},
    {401, {-EACCES, "UNAUTHENTICATED", NULL, 0}},
};

const canopy_cause *canopy_wire_cause(int grpc_status)
{
    if (grpc_status == STATUS_OK)
        return NULL;
    if (grpc_status < 0 || grpc_status >= STATUSES)
        grpc_status = STATUS_UNKNOWN;
    return &statuses[grpc_status].cause;
}

/* The status whose cause this is, by address; STATUS_OK where it is none of them. */
static int status_of_address(const canopy_cause *cause)
{
    int status = STATUSES - 1;
    while (status > STATUS_OK && cause != &statuses[status].cause)
        status--;
    return status;
}

static int status_of_code(int code)
{
    switch (code) {
    case 0:
    case -ECANCELED:
    case -EPIPE:
    case -ECONNRESET:
        return STATUS_CANCELLED;
    case -ETIMEDOUT:
        return STATUS_DEADLINE_EXCEEDED;
    case -EAGAIN:
    case -EBUSY:
    case -ECONNREFUSED:
    case -EHOSTUNREACH:
    case -ESHUTDOWN:
        return STATUS_UNAVAILABLE;
    case -EDQUOT:
    case -ENOBUFS:
        return STATUS_RESOURCE_EXHAUSTED;
    default:
        return STATUS_UNKNOWN;
    }
}

static int status_of_end(int err, const canopy_cause *cause)
{
    int status = status_of_address(cause);
    if (status != STATUS_OK)
        return status;
    if (err == -ETIMEDOUT)
        return STATUS_DEADLINE_EXCEEDED;
    return canopy_cause_signal(cause) ? STATUS_UNAVAILABLE : status_of_code(cause->code);
}

canopy_wire_end canopy_wire_status(const canopy_ctx *ctx)
{
    const canopy_cause *cause = canopy_cause_of(ctx);
    int status = cause ? status_of_end(canopy_err(ctx), cause) : STATUS_OK;
    return (canopy_wire_end){status, statuses[status].http};
}

int canopy_wire_answered(const canopy_ctx *call, int grpc_status, int64_t now_ns)
{
    bool is_late = grpc_status == STATUS_CANCELLED && canopy_err_at(call, now_ns) == -ETIMEDOUT;
    return is_late ? STATUS_DEADLINE_EXCEEDED : grpc_status;
}

int canopy_grpc_message_encode(const char *text, size_t bytes, char *out, size_t room)
{
    static const struct octets plain = {{OCTETS(' ', '$') | OCTETS('&', '?'), OCTETS('@', '~')}};
    return percent_encode((struct text){text, text ? bytes : 0}, &plain, out, room);
}
