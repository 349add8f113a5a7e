/*
 * own.c - what an owner's handle can do besides observing: cancel and end.
 */
#include "base/probe.h"
#include "callbacks/callback.h"
#include "host/signals.h"
#include "tree/note.h"

/* cancel_tree by the owner of a merged context, which may watch signals. */
static bool merged_cancel(struct canopy_ctx *ctx, uintptr_t word, struct pass *pass)
{
    uintptr_t by_signal = signals_give_back(ctx);
    return cancel_tree(ctx, by_signal ? by_signal : word, pass) && !by_signal;
}

static bool __attribute__((noinline))
merged_cancel_and_deliver(struct canopy_ctx *ctx, uintptr_t word)
{
    struct pass pass;
    pass_init(&pass);
    bool won = merged_cancel(ctx, word, &pass);
    deliver(&pass, false);
    return won;
}

static bool cancel_noted(struct canopy_ctx *ctx, uintptr_t word, const void *place,
                         struct pass *pass)
{
    bool won = ctx_kind(ctx) == KIND_MERGED ? merged_cancel(ctx, word, pass)
                                            : cancel_tree(ctx, word, pass);
    if (won)
        note_place(ctx, place);
    return won;
}

static bool __attribute__((noinline))
cancel_noted_and_deliver(struct canopy_ctx *ctx, uintptr_t word, const void *place)
{
    struct pass pass;
    pass_init(&pass);
    bool won = cancel_noted(ctx, word, place, &pass);
    deliver(&pass, false);
    return won;
}

static bool __attribute__((noinline))
cancel_other(struct canopy_ctx *ctx, uintptr_t word, const void *place)
{
    if (!ctx || !kind_is_cancellable(ctx_kind(ctx)))
        return false;
    if (ctx->parent & PARENT_NOTED)
        return cancel_noted_and_deliver(ctx, word, place);
    if (unlikely(ctx_kind(ctx) == KIND_MERGED))
        return merged_cancel_and_deliver(ctx, word);
    return cancel_and_deliver(ctx, word);
}

static bool __attribute__((noinline)) cancel_rest_and_deliver(struct canopy_ctx *ctx)
{
    struct pass pass;
    pass_init(&pass);
    cancel_rest(ctx, &pass);
    if (unlikely(pass.first != NULL))
        deliver(&pass, false);
    return true;
}

static inline __attribute__((always_inline)) bool cancel(struct canopy_ctx *ctx,
                                                         const canopy_cause *cause)
{
    uintptr_t word = state_word(cause, STATE_CANCELED);
    if (unlikely(!ctx) || unlikely(ctx_kind_unless_noted(ctx) != KIND_CANCEL))
        return cancel_other(ctx, word, PLACE_OF_CALL);
    if (unlikely(!cancel_live(ctx, word)))
        return cancel_and_deliver(ctx, word);
    return cancel_is_over(ctx) || cancel_rest_and_deliver(ctx);
}

bool canopy_cancel_cause(canopy_ctx *ctx, const canopy_cause *cause)
{
    if (!cause)
        cause = CANOPY_CANCELED;
    bool won = cancel(ctx, cause);
    if (won)
        PROBE3(cancel, ctx, cause, cause->text);
    return won;
}

bool canopy_cancel(canopy_ctx *ctx)
{
    return cancel(ctx, CANOPY_CANCELED);
}

/* The handle goes also when a callback ends this thread. */
static void __attribute__((noinline)) deliver_and_release(struct pass *pass, canopy_ctx *ctx)
{
    pthread_cleanup_push(release_handle, ctx);
    deliver(pass, false);
    pthread_cleanup_pop(1);
}

/* A context with a note, a static, or nothing that has an end. */
static void __attribute__((noinline)) end_other(canopy_ctx *ctx, const void *place)
{
    if (ctx_kind(ctx) == KIND_STATIC || ctx_release_noted(ctx))
        return;
    if (kind_is_cancellable(ctx_kind(ctx))) {
        struct pass pass;
        pass_init(&pass);
        cancel_noted(ctx, state_word(CANOPY_CANCELED, STATE_CANCELED), place, &pass);
        deliver_and_release(&pass, ctx);
        return;
    }
    refs_drop(ctx, REFS_HANDLE);
}

static void __attribute__((noinline)) end_by_cancel(canopy_ctx *ctx)
{
    struct pass pass;
    pass_init(&pass);
    uintptr_t word = state_word(CANOPY_CANCELED, STATE_CANCELED);
    if (ctx_kind(ctx) == KIND_MERGED)
        merged_cancel(ctx, word, &pass);
    else
        cancel_tree(ctx, word, &pass);
    if (unlikely(pass.first != NULL))
        deliver_and_release(&pass, ctx);
    else
        refs_drop(ctx, REFS_HANDLE);
}

static void __attribute__((noinline)) end_in_steps(canopy_ctx *ctx, const void *place)
{
    if (ctx_kind_unless_noted(ctx) <= KIND_MERGED)
        end_by_cancel(ctx);
    else if (ctx_kind_unless_noted(ctx) > KIND_DETACHED)
        end_other(ctx, place);
    else
        refs_drop(ctx, REFS_HANDLE);
}

/* Optimised it is jumped to, so that it returns to where canopy_end would. */
static void __attribute__((noinline)) end_slowly(canopy_ctx *ctx)
{
    if (!release_sole(ctx))
        end_in_steps(ctx, PLACE_OF_CALL);
}

void canopy_end(canopy_ctx *ctx)
{
    invariant(!ctx || ctx_is_valid(ctx));
    if (likely(ctx != NULL) && unlikely(!ctx_release_leaf(ctx)))
        end_slowly(ctx);
}
