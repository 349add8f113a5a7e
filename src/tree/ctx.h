/*
 * ctx.h - the life of a context: derive, retain, release.
 */
#ifndef CANOPY_CTX_H
#define CANOPY_CTX_H

#include "tree/cancel.h"
#include "tree/valid.h"

/*
 * A child of `parent`, registered, born done if the parent is; one handle. NULL
 * with errno. `kind` is one that canopy_with_* makes, or KIND_INPUT.
 */
struct canopy_ctx *ctx_derive(const canopy_ctx *parent, enum kind kind);

/*
 * The general way: any domain, any parent, NULL too. `heap` is what ctx_heap_at_hand gave,
 * or NULL.
 */
struct canopy_ctx *ctx_derive_anew(struct canopy_ctx *parent, struct heap *heap, enum kind kind);

/*
 * The everyday way, in steps, without a call. First the heap, or NULL where that takes
 * a search or contexts are counted.
 */
static inline struct heap *ctx_heap_at_hand(const struct canopy_ctx *parent)
{
    if (likely(!(parent->parent & PARENT_DOMAIN)))
        return tls_heap;
    return parent->parent & PARENT_LIMITED ? NULL : heap_recent(slab_of(parent)->domain_id);
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
 * Then the context on top of the magazine, if it was in a slot of this parent that is
 * this thread's to claim: it takes that again, by plain stores, which only an asymmetric
 * fence allows. NULL, and nothing done, if it was not.
 */
static inline struct canopy_ctx *ctx_enter(struct canopy_ctx *parent, struct heap *heap,
                                           enum kind kind)
{
    struct canopy_ctx *ctx =
        likely(heap != NULL) ? pool_peek(heap, CLASS_CTX, ctx_remembers_slot, parent) : NULL;
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

/* Then a look at what the parent has come to: where it is not true, ctx_settle follows. */
static inline bool ctx_is_settled(const struct canopy_ctx *parent)
{
    uint64_t refs = u64_load_seq_cst(&parent->refs);     /* S4, see ctx_registered */
    uintptr_t state = word_load_seq_cst(&parent->state); /* C4 */
    return likely(!(refs & REFS_WATCHED)) && likely(refs_handles(refs) != 0) &&
           (likely(state_is_live(state)) || forwards_to_live(state));
}

/* A child in its slot: what its parent has come to decides how it lives on. */
struct canopy_ctx *ctx_settle(struct canopy_ctx *ctx, struct canopy_ctx *parent);

/* An unregistered context of a domain, and its way back. NULL with errno. */
struct canopy_ctx *ctx_alloc(struct domain *domain, enum kind kind);
void ctx_free(struct canopy_ctx *ctx);

/* Counts `n` contexts against their domain's limit, where there is one; false: not so many. */
bool limit_take(struct domain *domain, size_t n);
static inline void limit_give(struct domain *domain, size_t n)
{
    if (unlikely(domain->max_live != 0))
        u64_fetch_add_relaxed(&domain->live, -(uint64_t)n);
}

/* Publishes an allocated context under `parent`. False: no memory, nothing has changed. */
bool ctx_register(struct canopy_ctx *ctx, const canopy_ctx *parent);

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

/* Before the slot is let go: the clock looks at what is armed (D4). */
static inline void ctx_disarm(struct canopy_ctx *ctx)
{
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
}

/*
 * Gives the only handle of what nobody else has anything to do with back: also of a value
 * layer, or what had a few children. At most one compare-and-swap. False, and nothing done,
 * where it is not so.
 */
bool release_sole(struct canopy_ctx *ctx);

/* Takes a leaf that nobody else has out of a slot that the thread owns, and back to the pool. */
static inline bool ctx_leave_leaf(struct canopy_ctx *ctx, struct heap *heap, atomic_word *slot,
                                  uintptr_t word)
{
    uint64_t epoch = u64_load_acquire(&leave_epoch); /* B5: pairs with B5a */
    ctx_disarm(ctx);
    if (unlikely(!children_leave(heap, slot, word)))
        return false;
    if (unlikely(ctx->parent & PARENT_LIMITED))
        limit_give(heap->domain, 1);
    u64_store_relaxed(&ctx->refs, epoch); /* what it remembers: see ctx.c */
    pool_put(heap, CLASS_CTX, ctx);
    word_store_release(&heap->leaving, 0); /* L4: last, a root's end waits for it */
    return true;
}

/* The same of one that was counted, if that is all that is the matter. */
bool ctx_leave_counted(struct canopy_ctx *ctx, struct heap *heap, atomic_word *slot);

/*
 * The everyday end: gives the only handle of a leaf back on which nothing hangs, so
 * that nobody else can be looking, or tell whether it was done first. In a block
 * that this thread owns: a few plain stores, and the context goes back to the top of
 * the magazine together with its slot. False, and nothing done, where it is not
 * that simple; release_sole is the next to be tried.
 */
static inline bool ctx_release_leaf(struct canopy_ctx *ctx)
{
    _Static_assert(KIND_CANCEL == 0, "the other kinds are told by their bits");
    uintptr_t other_kinds = ctx->parent & PARENT_FLAGS & ~PARENT_INHERITED;
    /* S6, S8: pairs with S5, S7; releases of other handles, ends of children come before. */
    if (unlikely(((u64_load_acquire(&ctx->refs) ^ REFS_HANDLE) & ~REFS_RECORDS) |
                 word_load_acquire(&ctx->slot0) | (word_load_acquire(&ctx->link) ^ SLOT_END) |
                 word_load_acquire(&ctx->aux) | other_kinds))
        return false;
    uintptr_t where = word_load_relaxed(&ctx->slot);
    if (unlikely(!(where & SLOT_STRIPED)))
        return false;
    atomic_word *slot = (atomic_word *)(where - SLOT_STRIPED);
    struct heap *heap;
    if (unlikely(!children_is_own(slot, &heap)) || unlikely(pool_is_full(heap, CLASS_CTX)))
        return false;
    return likely(ctx_leave_leaf(ctx, heap, slot, (uintptr_t)ctx)) ||
           ctx_leave_counted(ctx, heap, slot);
}

/* Gives `unit` (REFS_HANDLE or REFS_COUNT) of references back, and ends what dies of it. */
void refs_drop(struct canopy_ctx *ctx, uint64_t unit);

/* canopy_release, for what goes also when user code ends the thread. */
static inline void release_handle(void *ctx)
{
    canopy_release(ctx);
}

/* Gives a counted reference back; a context that dies of it joins `dead`, through ctx_node. */
void count_drop(struct canopy_ctx *ctx, struct handoff_node **dead);

/* The end of a context without references: runs what it has to run, frees or retires it. */
void ctx_end_now(struct canopy_ctx *ctx);

/* Dead and retired contexts are linked through `refs`. */
void ctx_retire(struct canopy_ctx *ctx);
static inline struct handoff_node *ctx_node(struct canopy_ctx *ctx)
{
    return (struct handoff_node *)(void *)&ctx->refs;
}
static inline struct canopy_ctx *node_ctx(struct handoff_node *node)
{
    return (struct canopy_ctx *)(void *)((char *)node - offsetof(struct canopy_ctx, refs));
}

void ctx_init(void);

#endif
