/*
 * ctx.h - the life of a context: derive, retain, release.
 */
#ifndef CANOPY_CTX_H
#define CANOPY_CTX_H

#include "cancel.h"

/*
 * A child of `parent`, registered, born done if the parent is; one handle. NULL
 * with errno. `kind` is one that canopy_with_* makes, or KIND_INPUT.
 */
struct canopy_ctx *ctx_derive(const canopy_ctx *parent, enum kind kind);

/* An unregistered context of a domain, and its way back. NULL with errno. */
struct canopy_ctx *ctx_alloc(struct domain *domain, enum kind kind);
void ctx_free(struct canopy_ctx *ctx);

/* Counts a context against its domain's limit, where there is one; false: reached. */
bool limit_take(struct domain *domain);
void limit_give(struct domain *domain);

/* Publishes an allocated context under `parent`. False: no memory, nothing has changed. */
bool ctx_register(struct canopy_ctx *ctx, const canopy_ctx *parent);

/*
 * After publishing in a slot of `parent`: completes the handshake with a last
 * release (children.c, S4) and returns the state that decides whether the
 * newcomer ends at once (C4).
 */
uintptr_t ctx_registered(struct canopy_ctx *parent, atomic_word *slot, bool record);

/* Before the slot is let go: the clock looks at what is armed (deadline.c, D4). */
static inline void ctx_disarm(struct canopy_ctx *ctx)
{
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
}

/*
 * The same for whatever nobody else has anything to do with: also a value layer, or
 * what had a few children. At most one compare-and-swap.
 */
bool release_sole(struct canopy_ctx *ctx);

bool release_to_full(struct canopy_ctx *ctx, struct heap *heap);

/*
 * The everyday end: gives the only handle of a leaf back on which nothing hangs, so
 * that nobody else can be looking, or tell whether it was done first. In a block
 * that this thread owns: a few plain stores, and the context goes back to the top of
 * the magazine together with its slot. False, and nothing done, where it is not
 * that simple.
 */
static inline bool ctx_release_leaf(struct canopy_ctx *ctx)
{
    _Static_assert(KIND_CANCEL == 0, "the other kinds are told by their bits");
    uintptr_t other_kinds = ctx->parent & PARENT_FLAGS & ~PARENT_DOMAIN;
    /* Acquire: earlier releases of other handles come before our reuse. */
    if (unlikely(((u64_load_acquire(&ctx->refs) ^ REFS_HANDLE) & ~REFS_RECORDS) |
                 word_load_acquire(&ctx->slot0) | (word_load_acquire(&ctx->link) ^ SLOT_END) |
                 word_load_acquire(&ctx->aux) | other_kinds))
        return false;
    uintptr_t where = word_load_relaxed(&ctx->slot);
    if (unlikely(!(where & SLOT_STRIPED)))
        return release_sole(ctx);
    atomic_word *slot = (atomic_word *)(where - SLOT_STRIPED);
    struct heap *heap = children_owner(slot);
    if (unlikely(!heap))
        return false;
    if (unlikely(pool_is_full(heap, CLASS_CTX)))
        return release_to_full(ctx, heap);
    uint64_t epoch = u64_load_relaxed(&stripe_epoch);
    ctx_disarm(ctx);
    if (unlikely(!children_leave(heap, slot, (uintptr_t)ctx)))
        return false;
    if (unlikely(ctx->parent & PARENT_DOMAIN))
        limit_give(heap->domain);
    u64_store_relaxed(&ctx->refs, epoch); /* what it remembers: see ctx.c */
    pool_put(heap, CLASS_CTX, ctx);
    word_store_release(&heap->leaving, 0); /* L4: last, a root's end waits for it */
    return true;
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

/* What the layers above do at a context's last reference; set by init.c. */
struct ctx_hooks {
    /* Ends a merged context's inputs and retires it all. */
    void (*merged_end)(struct canopy_ctx *ctx, struct handoff_node **dead);
    void (*merged_reclaim)(struct canopy_ctx *ctx);
    /* The last context on some signals goes. */
    void (*signals_end)(uint64_t signals);
    /* Sees that ctx_end_now runs on a thread that may run user code; false: it cannot. */
    bool (*end_elsewhere)(struct canopy_ctx *ctx);
};
extern struct ctx_hooks ctx_hooks;

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
