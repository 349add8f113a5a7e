/*
 * send.c - a request out: the headers of one try, made when it goes out. All of them are
 * ready before the first is handed over, so that what fails has written nothing.
 */
#include <errno.h>
#include <string.h>

#include "wire/list.h"
#include "wire/policy.h"
#include "wire/trace.h"

struct headers {
    struct text values[HEADERS]; /* empty: not to be written */
    char grpc[CANOPY_TIMEOUT_BYTES], ms[CANOPY_TIMEOUT_BYTES];
    char trace[CANOPY_TRACEPARENT_BYTES];
};

/* What the other side is told that it has: 0 where that is nothing, or CANOPY_NEVER. */
static int64_t timeout_at(const canopy_ctx *ctx, const canopy_wire_policy *policy, int64_t now_ns)
{
    int64_t left_ns = CANOPY_NEVER, deadline_ns;
    if (canopy_deadline(ctx, &deadline_ns) && __builtin_sub_overflow(deadline_ns, now_ns, &left_ns))
        left_ns = CANOPY_NEVER - 1;
    if (policy->try_timeout_ns > 0 && left_ns > policy->try_timeout_ns)
        left_ns = policy->try_timeout_ns;
    if (left_ns == CANOPY_NEVER)
        return left_ns;
    return left_ns > policy->reserve_ns ? left_ns - policy->reserve_ns : 0;
}

/* The value that a formatter wrote, if it did. */
static struct text formatted(const char *out, int result)
{
    return (struct text){out, result > 0 ? (size_t)result : 0};
}

static int make_timeouts(struct headers *made, const canopy_wire_policy *policy, int64_t timeout_ns)
{
    int grpc = 0, ms = 0;
    if (timeout_ns == 0)
        return -ETIMEDOUT;
    if (header_is_agreed(GRPC_TIMEOUT, policy))
        grpc = canopy_grpc_timeout_format(timeout_ns, made->grpc);
    if (header_is_agreed(MS_TIMEOUT, policy))
        ms = canopy_ms_timeout_format(timeout_ns, made->ms);
    made->values[GRPC_TIMEOUT] = formatted(made->grpc, grpc);
    made->values[MS_TIMEOUT] = formatted(made->ms, ms);
    return grpc == -ETIMEDOUT || ms == -ETIMEDOUT ? -ETIMEDOUT : 0;
}

/* The state goes with its own trace only. */
static int make_trace(struct headers *made, const struct carried *carried,
                      const canopy_traceparent *span)
{
    const canopy_traceparent *trace = carried ? carried->trace : NULL;
    canopy_traceparent next;
    if (!span && trace) {
        int err = canopy_traceparent_next(trace, 0, NULL, &next);
        if (err)
            return err;
        span = &next;
    }
    if (!span)
        return 0;
    if (!trace_is_valid(span))
        return -EINVAL;
    canopy_traceparent_format(span, made->trace);
    made->values[TRACEPARENT] = (struct text){made->trace, sizeof made->trace};
    if (trace && memcmp(trace->trace_id, span->trace_id, sizeof trace->trace_id) == 0)
        made->values[TRACESTATE] = carried->tracestate;
    return 0;
}

static int make_headers(struct headers *made, const canopy_ctx *ctx,
                        const canopy_wire_policy *policy, const canopy_traceparent *span,
                        int64_t now_ns)
{
    const struct carried *carried = carried_by(ctx);
    int err = canopy_err(ctx);
    if (!err)
        err = make_timeouts(made, policy, timeout_at(ctx, policy, now_ns));
    if (!err && header_is_agreed(TRACEPARENT, policy))
        err = make_trace(made, carried, span);
    if (carried && header_is_agreed(BAGGAGE, policy))
        made->values[BAGGAGE] = carried->baggage;
    return err;
}

int canopy_wire_write(const canopy_ctx *ctx, const canopy_wire_policy *policy,
                      const canopy_traceparent *span, int64_t now_ns, canopy_header_fn sink,
                      void *user)
{
    struct headers made;
    memset(made.values, 0, sizeof made.values);
    if (!policy_is_valid(policy) || !sink)
        return -EINVAL;
    int err = make_headers(&made, ctx, policy, span, now_ns);
    for (enum header header = GRPC_TIMEOUT; header < HEADERS && !err; header++) {
        struct text value = made.values[header];
        struct text name = value.bytes ? header_name(header, policy) : value;
        if (value.bytes)
            err = sink(user, name.at, name.bytes, value.at, value.bytes);
    }
    return err;
}
