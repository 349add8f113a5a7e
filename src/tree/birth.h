/*
 * birth.h - how a child comes to be, from the first step to the last; the everyday way is
 * all here, without a call, and what each step leaves to the next is in birth.c, in turn.
 *
 *   1 the thread's heap in the parent's domain          ctx_heap_at_hand
 *   2 a context, in a slot of the parent: the one that was freed last, if it was in such a
 *     slot and that is free, by plain stores            ctx_enter
 *   3 what has the parent come to meanwhile?            ctx_is_settled
 *
 * Who makes more of it than a child goes the same way: a deadline is armed after step 3
 * (deadline.c), a value bound (value.c). Step 2 is S3, and step 3 S4 and C4 of the handshakes
 * with a parent's last release and its cancel (children.c, cancel.c).
 */
#ifndef CANOPY_BIRTH_H
#define CANOPY_BIRTH_H

#include "tree/ctx.h"

/* 1. NULL where it takes a search, or contexts are counted or noted. */
static inline struct heap *ctx_heap_at_hand(const struct canopy_ctx *parent)
{
    if (likely(!(parent->parent & (PARENT_DOMAIN | PARENT_NOTED))))
        return tls_heap;
    return parent->parent & (PARENT_LIMITED | PARENT_NOTED)
               ? NULL
               : heap_recent(slab_of(parent)->domain_id);
}

/* What a context is born as; set before it can be seen, so that a walk finds its way up. */
static inline void ctx_be_born(struct canopy_ctx *ctx, struct heap *heap, struct canopy_ctx *parent,
                               enum kind kind)
{
    struct busy *busy = children_busy(heap, ctx);
    invariant(ctx_is_blank(ctx));
    if (unlikely(busy->parent == ctx))
        busy->parent = NULL; /* another of that address */
    ctx->parent = (uintptr_t)parent | (uintptr_t)kind | (parent->parent & PARENT_INHERITED);
    u64_store_relaxed(&ctx->refs, REFS_HANDLE);
    word_store_relaxed(&ctx->state, kind == KIND_VALUE
                                        ? (uintptr_t)ctx_scope(parent) | STATE_FORWARD | STATE_SWEPT
                                        : STATE_LIVE);
}

/* The slot of a context that lies in a stripe's block. */
static inline atomic_word *ctx_striped_slot(const struct canopy_ctx *ctx)
{
    return (atomic_word *)(word_load_relaxed(&ctx->slot) - SLOT_STRIPED);
}

/* Whether a free context had a slot under this parent that is still its heap's, and free. */
static inline bool ctx_remembers_slot(const void *object, const void *parent)
{
    const struct canopy_ctx *ctx = object;
    return ((ctx->parent ^ (uintptr_t)parent) & ~PARENT_FLAGS) == 0 &&
           u64_load_relaxed(&ctx->refs) == u64_load_relaxed(&stripe_epoch) && /* B7 */
           likely(children_is_free(ctx_striped_slot(ctx)));
}

/*
 * 2. The context on top of the magazine, if it was in a slot of this parent that is
 * this thread's to claim: it takes that again, by plain stores, which only an asymmetric
 * fence allows. NULL, and nothing done, if it was not.
 */
static inline struct canopy_ctx *ctx_enter(struct canopy_ctx *parent, struct heap *heap,
                                           enum kind kind)
{
    struct canopy_ctx *ctx = pool_peek(heap, CLASS_CTX, ctx_remembers_slot, parent);
    if (!ctx)
        return NULL;
    struct handoff_node *rest = pool_take_begin(ctx, CLASS_CTX);
    ctx_be_born(ctx, heap, parent, kind);
    children_enter(ctx_striped_slot(ctx), (uintptr_t)ctx); /* S3 */
    pool_take_end(heap, CLASS_CTX, rest);                  /* B4: until here it is on top */
    return ctx;
}

/* Of a state word: that of a value layer whose context is live. */
static inline bool forwards_to_live(uintptr_t state)
{
    if ((state & STATE_KIND_MASK) != STATE_FORWARD)
        return false;
    return state_is_live(
        word_load_seq_cst(&((struct canopy_ctx *)(state & ~STATE_BITS))->state)); /* C4 */
}

/* 3. Where it is not true, ctx_settle follows. */
static inline bool ctx_is_settled(const struct canopy_ctx *parent)
{
    uint64_t refs = u64_load_seq_cst(&parent->refs);     /* S4, see ctx_registered */
    uintptr_t state = word_load_seq_cst(&parent->state); /* C4 */
    return likely(!(refs & REFS_WATCHED)) && likely(refs_handles(refs) != 0) &&
           (likely(state_is_live(state)) || forwards_to_live(state));
}

/* Where step 2 failed: the other ways, settled. `heap` is the one in hand. NULL with errno. */
struct canopy_ctx *ctx_derive_anew(struct canopy_ctx *parent, struct heap *heap, enum kind kind);

/*
 * Where step 1 failed: for any domain and any parent, NULL too. `place` is where a note says
 * that the child was made. NULL with errno.
 */
struct canopy_ctx *ctx_derive_in_domain(struct canopy_ctx *parent, enum kind kind,
                                        const void *place);

/* Where step 3 failed: what the parent has come to decides how the child lives on. */
struct canopy_ctx *ctx_settle(struct canopy_ctx *ctx, struct canopy_ctx *parent);

static inline struct canopy_ctx *ctx_settled(struct canopy_ctx *ctx, struct canopy_ctx *parent)
{
    return ctx_is_settled(parent) ? ctx : ctx_settle(ctx, parent);
}

/*
 * Where the public function returns to that this stands in, once it is inlined there. Read
 * where it is needed, so that it costs nothing elsewhere.
 */
#define PLACE_OF_CALL __builtin_return_address(0)

/* 2 and 3, with what follows on each. NULL with errno. */
static inline __attribute__((always_inline)) struct canopy_ctx *
ctx_derive_by(struct canopy_ctx *parent, struct heap *heap, enum kind kind)
{
    struct canopy_ctx *ctx = ctx_enter(parent, heap, kind);
    if (unlikely(!ctx))
        return ctx_derive_anew(parent, heap, kind);
    return ctx_settled(ctx, parent);
}

/*
 * A child of `parent`, registered, born done if the parent is; one handle. NULL with errno.
 * `kind` is one that canopy_with_* makes.
 */
static inline __attribute__((always_inline)) struct canopy_ctx *ctx_derive(const canopy_ctx *view,
                                                                           enum kind kind)
{
    struct canopy_ctx *parent = ctx_mutable(view);
    struct heap *heap = likely(parent != NULL) ? ctx_heap_at_hand(parent) : NULL;
    if (unlikely(!heap))
        return ctx_derive_in_domain(parent, kind, PLACE_OF_CALL);
    return ctx_derive_by(parent, heap, kind);
}

/* The same where the place of the call is known already. */
static inline struct canopy_ctx *ctx_derive_at(const canopy_ctx *view, enum kind kind,
                                               const void *place)
{
    struct canopy_ctx *parent = ctx_mutable(view);
    struct heap *heap = ctx_heap_at_hand(parent);
    if (unlikely(!heap))
        return ctx_derive_in_domain(parent, kind, place);
    return ctx_derive_by(parent, heap, kind);
}

/*
 * After publishing in a slot of `parent`: completes the handshake with a last
 * release (S4) and returns the state that decides whether the newcomer ends at
 * once (C4).
 */
static inline uintptr_t ctx_registered(struct canopy_ctx *parent, atomic_word *slot, bool record)
{
    /* S4: pairs with S1. Seldom true: the parent's owner has let go of it already. */
    uint64_t refs = u64_load_seq_cst(&parent->refs);
    if (unlikely(refs_handles(refs) == 0) || unlikely(!record && (refs & REFS_WATCHED)))
        children_count_slot(parent, slot, record);
    return ctx_state_seq_cst(parent); /* C4: pairs with C1 */
}

/* Publishes an allocated context under `parent`. False: no memory, nothing has changed. */
bool ctx_register(struct canopy_ctx *ctx, const canopy_ctx *parent);

#endif
