/*
 * own.c - what an owner's handle can do besides observing: cancel and end.
 */
#include "callback.h"

bool canopy_cancel_cause(canopy_ctx *ctx, const canopy_cause *cause)
{
    if (!ctx || !kind_is_cancellable(ctx_kind(ctx)))
        return false;
    return cancel_and_deliver(ctx, state_word(cause ? cause : CANOPY_CANCELED, STATE_CANCELED));
}

bool canopy_cancel(canopy_ctx *ctx)
{
    return canopy_cancel_cause(ctx, NULL);
}

void canopy_end(canopy_ctx *ctx)
{
    canopy_cancel_cause(ctx, NULL);
    canopy_release(ctx);
}
