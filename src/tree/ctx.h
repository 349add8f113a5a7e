/*
 * ctx.h - the life of a context, but for its birth (birth.h): retain, release.
 */
#ifndef CANOPY_CTX_H
#define CANOPY_CTX_H

#include "tree/cancel.h"
#include "tree/valid.h"

/* An unregistered context of a domain, and its way back. NULL with errno. */
struct canopy_ctx *ctx_alloc(struct domain *domain, enum kind kind);
void ctx_free(struct canopy_ctx *ctx);

/*
 * Back to the pool, to the thread's heap or (NULL) whose it is. What a free context
 * remembers: its slot, in `slot` and `parent`, and in `refs` the epoch at which that slot
 * was its heap's to claim; 0: nothing.
 */
void ctx_give(struct heap *heap, struct canopy_ctx *ctx, uint64_t epoch);

/* Counts `n` contexts against their domain's limit, where there is one; false: not so many. */
bool limit_take(struct domain *domain, size_t n);
static inline void limit_give(struct domain *domain, size_t n)
{
    if (unlikely(domain->max_live != 0))
        u64_fetch_add_relaxed(&domain->live, -(uint64_t)n);
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

/* Takes a context that goes off what is counted, and ends its note; the second is ctx_left. */
void ctx_tell_gone(struct canopy_ctx *ctx);
void ctx_tell_left(struct canopy_ctx *ctx, struct heap *heap, uint64_t epoch);

/* Back to the pool, blank but for what it remembers (see ctx_give), from a slot that it left by L1.
 */
static inline void ctx_left_told(struct canopy_ctx *ctx, struct heap *heap, uint64_t epoch)
{
    invariant(ctx_is_blank(ctx));
    u64_store_relaxed(&ctx->refs, epoch);
    pool_put(heap, CLASS_CTX, ctx);
    word_store_release(&heap->leaving, 0); /* L4: last, a root's end waits for it */
}

static inline void ctx_left(struct canopy_ctx *ctx, struct heap *heap, uint64_t epoch)
{
    if (unlikely(ctx->parent & (PARENT_LIMITED | PARENT_NOTED)))
        ctx_tell_left(ctx, heap, epoch);
    else
        ctx_left_told(ctx, heap, epoch);
}

/* Takes a leaf that nobody else has out of a slot that the thread owns, and back to the pool. */
static inline bool ctx_leave_leaf(struct canopy_ctx *ctx, struct heap *heap, atomic_word *slot,
                                  uintptr_t word)
{
    uint64_t epoch = u64_load_acquire(&leave_epoch); /* B5: pairs with B5a */
    ctx_disarm(ctx);
    if (unlikely(!children_leave(heap, slot, word)))
        return false;
    ctx_left(ctx, heap, epoch);
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
static inline bool ctx_release_leaf_if(struct canopy_ctx *ctx, uintptr_t flags)
{
    _Static_assert(KIND_CANCEL == 0, "the other kinds are told by their bits");
    uintptr_t other_kinds = ctx->parent & PARENT_FLAGS & ~flags;
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

static inline bool ctx_release_leaf(struct canopy_ctx *ctx)
{
    return ctx_release_leaf_if(ctx, PARENT_INHERITED & ~PARENT_NOTED);
}

/* The same, and release_sole, of one with a note. */
bool ctx_release_noted(struct canopy_ctx *ctx);

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

/* How many contexts there are in a domain without its root, as canopy_root_usage tells it. */
size_t domain_contexts(struct domain *domain);

extern struct canopy_ctx ctx_background, ctx_todo;

/* Background and todo keep notes from now on, and what is derived from them: 0, or an error. */
int statics_keep_notes(void);

void ctx_init(void);

#endif
