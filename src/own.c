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

/* The handle goes also when a callback ends this thread. */
static void __attribute__((noinline)) deliver_and_release(struct pass *pass, canopy_ctx *ctx)
{
    pthread_cleanup_push(release_handle, ctx);
    deliver(pass, false);
    pthread_cleanup_pop(1);
}

static void __attribute__((noinline)) end_in_steps(canopy_ctx *ctx)
{
    if (kind_is_cancellable(ctx_kind(ctx))) {
        struct pass pass;
        pass_init(&pass);
        cancel_tree(ctx, state_word(CANOPY_CANCELED, STATE_CANCELED), &pass);
        if (unlikely(pass.first != NULL)) {
            deliver_and_release(&pass, ctx);
            return;
        }
    }
    if (ctx_kind(ctx) != KIND_STATIC)
        refs_drop(ctx, REFS_HANDLE);
}

static void __attribute__((noinline)) end_slowly(canopy_ctx *ctx)
{
    if (!release_sole(ctx))
        end_in_steps(ctx);
}

void canopy_end(canopy_ctx *ctx)
{
    if (likely(ctx != NULL) && unlikely(!ctx_release_leaf(ctx)))
        end_slowly(ctx);
}
