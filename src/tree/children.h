/*
 * children.h - the children list: what a parent knows of those that must hear
 * of its end. The protocol is described in children.c.
 */
#ifndef CANOPY_CHILDREN_H
#define CANOPY_CHILDREN_H

#include "base/park.h"
#include "tree/node.h"

#define BLOCK_SLOTS ((BLOCK_BYTES - 4 * sizeof(void *)) / sizeof(atomic_word) - 1)

/*
 * After so many registrations by one thread a small parent gets a stripe for it, and
 * after as many more the stripe's blocks become owned: a fence_heavy at the parent's
 * end is then paid for. Tests set it lower.
 */
#ifndef CANOPY_BUSY_AFTER
#define CANOPY_BUSY_AFTER BLOCK_SLOTS
#endif

/* Each time that a stripe has so many blocks more or less it is worth a look at what it needs. */
#define BLOCKS_ASKED 64

/* Modes of a block, in the low bits of `owner`; none of them: owned. See children.c. */
#define BLOCK_SHARED ((uintptr_t)1)
#define BLOCK_LOOKED ((uintptr_t)2)
#define BLOCK_MODE   ((uintptr_t)3)

struct block {
    union {
        struct block *previous;      /* in the stripe, around; the owner's */
        struct handoff_node retired; /* and the pool's free link */
    };
    atomic_word owner; /* the heap whose thread registers here, and the mode */
    struct stripe *stripe;
    struct block *next; /* in the stripe, around; the owner's */
    atomic_word slots[BLOCK_SLOTS];
    atomic_word link;
};

/* The slots of a small parent behind its first. */
#define LINE_SLOTS (CACHE_LINE / sizeof(atomic_word) - 1)
struct slot_line {
    atomic_word slots[LINE_SLOTS];
    atomic_word link;
};

static inline struct block *block_of(const void *slot)
{
    return (struct block *)((uintptr_t)slot & ~(uintptr_t)(BLOCK_BYTES - 1));
}

/* Behind a block's last slot, and still in it. */
static inline atomic_word *block_end(struct block *block)
{
    return &block->slots[BLOCK_SLOTS];
}

static inline struct heap *block_heap(const struct block *block)
{
    return (struct heap *)(word_load_acquire(&block->owner) & ~BLOCK_MODE); /* fixed; S0 */
}

/* The part of a hot parent's list in which one heap's thread registers. */
struct stripe {
    const struct canopy_ctx *parent; /* not looked at where it may be gone */
    struct heap *owner;
    union {
        struct stripe *next;      /* of the same parent, or heap where that is a static; fixed */
        struct handoff_node gone; /* once the parent is */
    };
    struct block *first; /* others link to it: never unlinked while the parent lives */
    atomic_word *hand;   /* where the search for a free slot goes on, or a block's end */
    atomic_word aside;   /* blocks out of the list in which nothing is, by `next`; see trim.c */
    uint32_t blocks;     /* in the list */
    uint32_t claimed;    /* slots claimed, until it is owned */
    atomic_u32 owned;    /* its thread registers by plain stores */
    atomic_u32 held;     /* by who trims it: its thread stays away */
};

/*
 * Advances when a stripe's block may have gone: what remembers a slot of one
 * from before must not look at it. `leave_epoch` is what one remembers: the same, but
 * while blocks are trimmed, when what is remembered will not hold (children.c, B5a).
 */
extern atomic_u64 stripe_epoch;
extern atomic_u64 leave_epoch;

static inline struct block *link_block(uintptr_t link)
{
    return block_of(link_target(link));
}

/*
 * Publishes `word` (a context, or a record with SLOT_CALLBACK) in a slot of
 * `parent`, whose address `where` holds before anybody can see it. seq_cst, so
 * that the caller's later load of the parent's state completes the handshake
 * with a canceller. False: no memory.
 */
bool children_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word, atomic_word *where);

/* True when no slot is in use; callable while others unregister. */
bool children_empty(const struct canopy_ctx *parent);

/* Takes a counted reference back, and wakes who waits for idle if it was the last: what is left. */
static inline uint64_t children_uncount(struct canopy_ctx *parent)
{
    /* S5, S6: what all who drop one did comes before the end. */
    uint64_t refs = u64_fetch_add_acq_rel(&parent->refs, -REFS_COUNT) - REFS_COUNT;
    if ((refs & REFS_WATCHED) && !(refs & REFS_COUNTED))
        futex_wake_all(futex_low_half(&parent->refs)); /* only the address is used */
    return refs;
}

/*
 * Turns the reference that an occupied slot is into a counted one, for one slot
 * or for all. With `records` false records are left alone.
 */
void children_count_slot(struct canopy_ctx *parent, atomic_word *slot, bool records);
void children_count_all(struct canopy_ctx *parent, bool records);

/*
 * Has contexts counted from now on, those that are there and those to come, until as
 * often unwatched: the count is meanwhile exactly how many there are, and who brings it to
 * 0 wakes who sleeps on it. The caller keeps `parent`, and `watch` in its frame.
 */
void children_watch(struct canopy_ctx *parent, struct parked *watch);
void children_unwatch(struct canopy_ctx *parent, struct parked *watch);

/* Before a record is published: lets the winner of a cancel know that there are any. */
void children_flag_records(struct canopy_ctx *parent);
static inline void children_expect_records(struct canopy_ctx *parent)
{
    if (unlikely(!(u64_load_acquire(&parent->refs) & REFS_RECORDS)))
        children_flag_records(parent); /* C8a: pairs with C8 */
}

/* Tags a context that the caller keeps as looked at: it will be retired, not freed. */
void children_look(struct canopy_ctx *ctx);

/*
 * To keep a context that nobody has in hand, one that was seen in this read section, until
 * that ends: tags its slot, from its own address, as looked at; then, after a domain_fence, asks
 * whether the tag is still there. False: it is about to go, or has gone. See trim.c, K1 to K3.
 */
bool children_tag(struct canopy_ctx *ctx);
bool children_is_kept(const struct canopy_ctx *ctx);

/*
 * Before one looks at the slots of a hot parent: ends plain stores to those that
 * are there, with `mode` for its blocks, so that (LOOKED) what leaves them is
 * retired, not freed, or (SHARED) leaves them by compare-and-swap. Only a slot
 * that children_leaving then names may still be under such a store.
 */
void children_open(struct canopy_ctx *parent, uintptr_t mode);

static inline bool children_is_looked(const atomic_word *slot)
{
    return word_load_acquire(&block_of(slot)->owner) & BLOCK_LOOKED; /* whether O3 was done */
}

/* The slot that the owner of the block around `slot` is emptying by plain stores, or 0. */
static inline uintptr_t children_leaving(const atomic_word *slot)
{
    return word_load_acquire(&block_heap(block_of(slot))->leaving); /* O4: pairs with L1, L4 */
}

/*
 * The everyday way in and out, for the thread that owns the block: no operation
 * that locks a line. children_enter takes a free slot that is the caller's to claim.
 * children_leave takes `word` out if the block, which was `heap`'s a moment ago, is
 * still; the caller then clears heap->leaving as its last step.
 */
static inline bool children_is_free(const atomic_word *slot)
{
    return word_load_relaxed(slot) == 0;
}

static inline void children_enter(atomic_word *slot, uintptr_t word)
{
    word_store_release(slot, word); /* S3 */
    fence_light();                  /* against children_open's heavy one */
}

/*
 * Whether a block is owned, by the calling thread's heap, which `*heap` then is. With a
 * mode in its low bits the word is no heap's address.
 */
static inline bool children_is_own(const atomic_word *slot, struct heap **heap)
{
    *heap = (struct heap *)word_load_relaxed(&block_of(slot)->owner);
    return likely(heap_is_own(*heap));
}

static inline bool children_leave(struct heap *heap, atomic_word *slot, uintptr_t word)
{
    word_store_relaxed(&heap->leaving, (uintptr_t)slot); /* L1: pairs with O4 */
    fence_light();
    if (likely(word_load_acquire(&block_of(slot)->owner) == (uintptr_t)heap && /* L2 */
               word_load_acquire(slot) == word)) {
        word_store_release(slot, 0); /* L3 */
        return true;
    }
    word_store_release(&heap->leaving, 0); /* L4 */
    return false;
}

/*
 * What a record of this thread's leaves is what the next one under that parent takes:
 * a (striped) slot that may be free in a moment, and will be remembered once it is, if
 * it is in a block that this thread owns. Between the two the block may be freed, so
 * nothing is written before; inside one read section.
 */
struct hint {
    struct heap *heap; /* the caller's, or NULL */
    uint64_t epoch;
};

/* The same where it is not remembered already. */
void children_change_hint(struct hint hint, const struct canopy_ctx *parent, atomic_word *slot);

static inline struct hint children_hint(const atomic_word *slot)
{
    struct heap *heap;
    bool is_own = children_is_own(slot, &heap);
    return (struct hint){is_own ? heap : NULL,
                         u64_load_acquire(&leave_epoch)}; /* B5: pairs with B5a */
}

static inline void children_take_hint(struct hint hint, const struct canopy_ctx *parent,
                                      atomic_word *slot)
{
    if (!hint.heap)
        return;
    /* A slot has one parent while the epoch is one. */
    if (unlikely(word_load_relaxed(&hint.heap->hint_slot) != (uintptr_t)slot) ||
        unlikely(hint.heap->hint_epoch != hint.epoch))
        children_change_hint(hint, parent, slot);
}

/*
 * S3 in that slot, which lies in a stripe that is owned. False, and nothing done, where
 * there is none, or it was given away.
 */
static inline bool children_enter_hint(struct heap *heap, const struct canopy_ctx *parent,
                                       uintptr_t word, atomic_word *where)
{
    atomic_word *slot = (atomic_word *)word_load_relaxed(&heap->hint_slot); /* our own */
    if (heap->hint_parent != parent ||
        heap->hint_epoch != u64_load_relaxed(&stripe_epoch) || /* B7 */
        unlikely(!children_is_free(slot)))
        return false;
    word_store_relaxed(where, (uintptr_t)slot | SLOT_STRIPED);
    children_enter(slot, word);
    return true;
}

/*
 * What a thread keeps of a parent, which is to be forgotten with the parent. Where the parent
 * lies is hashed, by the golden ratio: all threads begin at the same places of their slabs, so
 * those of a request would be those of a parent that another thread made. Of the address the
 * lowest 26 bits count, so that where the explorer has its memory does not matter.
 */
static inline struct busy *children_busy(struct heap *heap, const struct canopy_ctx *parent)
{
    uint32_t hash = (uint32_t)(uintptr_t)parent * (UINT32_C(0x9E3779B1) * CACHE_LINE);
    return &heap->busy[hash / (UINT32_MAX / BUSY_PARENTS + 1)];
}

/* Whether this thread has derived so often from a small parent that it deserves a stripe. */
static inline bool children_becomes_busy(struct heap *heap, const struct canopy_ctx *parent)
{
    struct busy *busy = children_busy(heap, parent);
    if (busy->parent != parent) {
        busy->parent = parent;
        busy->claims = 0;
        busy->epoch = 0; /* there is no last slot */
    }
    return ++busy->claims > CANOPY_BUSY_AFTER;
}

/* S3 in a slot that was empty. False: it is somebody else's by now. */
static inline bool children_claim(atomic_word *slot, uintptr_t word, atomic_word *where)
{
    uintptr_t empty = 0;
    word_store_relaxed(where, (uintptr_t)slot);
    return word_cas_seq_cst(slot, &empty, word); /* S3: pairs with S1/S2 and C1/C3 */
}

/*
 * The slot that the heap's thread claimed last under a parent, for children_enter, where it
 * is free again and nobody looks at its block; or NULL. It stays in its block as long as
 * what a free context remembers.
 */
static inline atomic_word *children_last_slot(struct heap *heap, const struct canopy_ctx *parent)
{
    const struct busy *busy = children_busy(heap, parent);
    atomic_word *slot = (atomic_word *)word_load_relaxed(&busy->slot);
    if (busy->parent != parent || busy->epoch != u64_load_relaxed(&stripe_epoch) || /* B7 */
        !children_is_free(slot) || word_load_relaxed(&block_of(slot)->owner) != (uintptr_t)heap)
        return NULL;
    return slot;
}

/* What unregistering found. */
struct removal {
    bool looked;  /* the memory must be retired, not freed */
    bool counted; /* the parent's reference must be given back, with refs_drop */
};

/*
 * Takes `word` out of its slot, which `where` names as ctx.slot does. Unless it was
 * counted the parent may be gone when this returns.
 */
struct removal children_remove(struct canopy_ctx *parent, uintptr_t where, uintptr_t word);

/* Whether a list that goes on behind slot0 is small, and nothing in it. */
static inline bool children_small_and_gone(const struct canopy_ctx *parent)
{
    uintptr_t link = word_load_acquire(&parent->link); /* S0 */
    if (link & SLOT_HOT)
        return false;
    const struct slot_line *line = (const struct slot_line *)link_target(link);
    uintptr_t any = 0;
#pragma GCC unroll 8
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        any |= word_load_acquire(&line->slots[i]); /* S8: pairs with S7 */
    return any == 0;
}

/* Its giving back, where there is room for it. */
static inline void children_put_small(struct heap *heap, struct canopy_ctx *parent)
{
    pool_put(heap, CLASS_LINE, link_target(word_load_relaxed(&parent->link)));
    word_store_relaxed(&parent->link, SLOT_END);
}

/* Gives the rows of a dead parent back, which nobody looks at any more. */
void children_free(struct canopy_ctx *parent);

/* The same of one block that nobody can come to any more. */
void block_retire(struct block *block);

/*
 * The owner's thread is at a stripe (B1), until stripe_end. False: who trims it is.
 */
static inline void stripe_end(struct heap *heap)
{
    word_store_release(&heap->claiming, 0); /* B1: pairs with B2, B6 */
}

static inline bool stripe_begin(struct heap *heap, const struct stripe *stripe)
{
    word_store_relaxed(&heap->claiming, (uintptr_t)stripe); /* B1: pairs with B2, B6 */
    fence_light();
    if (likely(!u32_load_acquire(&stripe->held))) /* B1a: pairs with B3, B2a */
        return true;
    stripe_end(heap);
    return false;
}

static inline struct block *stripe_aside(const struct stripe *stripe)
{
    return (struct block *)word_load_relaxed(&stripe->aside);
}

/*
 * Of a slot that `heap`, the caller's, remembers under a parent, which may be gone: the block
 * is set aside if nothing is in it. Inside a read section.
 */
void children_set_aside(struct heap *heap, const struct canopy_ctx *parent, const atomic_word *slot,
                        uint64_t epoch);

void children_init(void);

#endif
