/*
 * observe.c - the questions that a borrowed context answers from its state word.
 */
#include "tree/node.h"

#include <errno.h>

const canopy_cause canopy_cause_canceled = {.code = -ECANCELED, .text = "context canceled"};
const canopy_cause canopy_cause_deadline_exceeded = {.code = -ETIMEDOUT,
                                                     .text = "context deadline exceeded"};

int canopy_err(const canopy_ctx *ctx)
{
    uintptr_t state = ctx_state(ctx);
    if (likely(state_is_live(state)))
        return 0;
    return (state & STATE_KIND_MASK) == STATE_TIMEDOUT ? -ETIMEDOUT : -ECANCELED;
}

bool canopy_done(const canopy_ctx *ctx)
{
    return !state_is_live(ctx_state(ctx));
}

const canopy_cause *canopy_cause_of(const canopy_ctx *ctx)
{
    uintptr_t state = ctx_state(ctx);
    return state_is_live(state) ? NULL : state_cause(state);
}

int64_t canopy_now_ns(void)
{
    return clock_now_ns();
}
