/*
 * children.c - the children list, an unrolled, RCU-protected, lock-free list of
 * slots. Everything that must hear of a context's end sits in a slot of it.
 *
 * Shape. A slot is a word: 0, or an address with tags. Slots lie in a row that
 * ends with a link word: to the next row, or the end.
 *
 *     context: slot0, link ──► line: 7 slots, link ──► end          (small)
 *     context: slot0, link ──► block: 59 slots, link ──► block ... ──► line ──► end
 *                              └────── a stripe ──────┘ └ another ┘  (hot)
 *
 * A parent stays small until its line is full or two threads fall over each
 * other in it. Then every thread that registers gets a stripe of its own: a run
 * of blocks in the same list in which this thread alone claims slots, so that
 * no line is written by two. Stripes belong to heaps, and go with them.
 *
 * Background and todo have no list: nobody ever walks it. Their children sit in a
 * stripe that each heap keeps for itself, since a slot still has to vouch for
 * them (deadline.c), and deriving from them writes nothing shared.
 *
 * A slot's life, and who may change it:
 *
 *     0 ──register──► child ──unregister──► 0
 *                       │ walker: LOOKED           child|LOOKED ──unregister──► 0, retire
 *                       │ last handle: COUNTED     child|COUNTED ──unregister──► 0, refs_drop
 *
 *   register     any thread with the parent in hand (in a stripe: its owner);
 *                0 to child.
 *   unregister   the child's owner alone; child, with whatever tags, to 0.
 *   LOOKED       anybody inside a read section: from here on the child's memory
 *                outlives the section. Who unregisters a looked-at child hands
 *                the tag on to the parent, before it lets go of the slot: so
 *                whoever stands on the child finds the whole way up in memory.
 *                For a record: the claim to run it. Missing: a walker reads
 *                memory that was freed at once. Wrong: nothing but a grace
 *                period too many (records: a callback lost).
 *   COUNTED      whoever counts (below), once. Missing: a parent freed under
 *                its children. Wrong: a parent never freed.
 *
 * References. An occupied slot *is* the child's reference to its parent: no
 * count is touched as children come and go. Only when the last handle goes (or
 * somebody waits for idle) are the slots turned into counted references:
 *
 *     release   S1: refs: last handle becomes one count (a guard)   seq_cst
 *               S2: for each occupied slot: count, then tag COUNTED
 *               drop the guard; at zero the context is dead
 *     register  S3: publish the child in the slot                   seq_cst
 *               S4: load the parent's refs: no handles (or WATCHED): count
 *                   and tag its own slot, unless S2 did
 *
 *   S1 before S2 and S3 before S4 are store-then-load on both sides, hence
 *   seq_cst: either S2 sees the child or S4 sees that the handles are gone. With
 *   either weaker a child could stay uncounted under a parent that counts, and
 *   the parent would be freed under it. The count is raised before the tag is
 *   set and lowered again when the tag could not be set, so it is never short.
 *
 * Cancel. The handshake with a canceller is the same shape, with the state word:
 *
 *     register  S3: publish the child                                seq_cst
 *               C4: load the parent's state; done: the child ends itself
 *     cancel    C1: compare-and-swap the state                       seq_cst
 *               C3: load the slots                                   seq_cst
 *
 *   One of the two sees the other. With S3 a mere release store the load C4 may
 *   run ahead of it, C3 may read 0, and the cancel is lost.
 *
 * Linearization: register at S3, unregister at its compare-and-swap or exchange.
 *
 * Memory. Blocks are unlinked by the stripe's owner alone, found empty: nobody
 * else registers there, so an empty block stays empty. Walkers may stand in it:
 * it is retired through RCU. A dead parent's blocks go with the parent: at once, or
 * after the grace period that it was retired through. A freed context remembers the slot that it
 * had, if that lies in a stripe of this heap, and asks for it again when its next life begins under
 * the same parent; stripe_epoch, advanced before a block goes, tells when the
 * memory no longer holds.
 *
 * Progress: register and unregister are lock-free (a failed compare-and-swap
 * means that somebody else registered, unregistered, or tagged once).
 */
#include "children.h"

#include <string.h>

#define LINE_SLOTS  (CACHE_LINE / sizeof(atomic_word) - 1)
#define BLOCK_SLOTS ((BLOCK_BYTES - 4 * sizeof(void *)) / sizeof(atomic_word) - 1)

struct line {
    atomic_word slots[LINE_SLOTS];
    atomic_word link;
};

struct block {
    struct handoff_node retired; /* and the pool's free link */
    struct heap *owner;
    struct stripe *stripe;
    struct block *next; /* in the stripe, around; the owner's */
    atomic_word slots[BLOCK_SLOTS];
    atomic_word link;
};

/* The part of a hot parent's list in which one heap's thread registers. */
struct stripe {
    void *pool_link;
    struct heap *owner;
    struct stripe *next; /* of the same parent, fixed once published */
    struct block *first; /* others link to it: never unlinked while the parent lives */
    struct block *hand;  /* where the search for a free slot goes on */
    uint32_t hand_index;
    uint32_t blocks;
    uint64_t freed; /* slots freed since the last trim, about */
};

_Static_assert(sizeof(struct line) == CACHE_LINE, "a line is a line");
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "a block is a block");
_Static_assert(offsetof(struct block, slots) % CACHE_LINE == CACHE_LINE / 2, "slot_is_in_block");
_Static_assert(sizeof(struct stripe) <= CACHE_LINE, "a stripe is a line");

atomic_u64 stripe_epoch = {1};

static void block_reclaim(struct handoff_node *node)
{
    struct domain *domain = slab_of(node)->domain;
    pool_free_any(node);
    domain_let_go(domain);
}

static struct retire_queue block_queue = {.reclaim = block_reclaim};

void children_init(void)
{
    rcu_queue_register(&block_queue);
}

static void block_retire(struct block *block)
{
    domain_hold(slab_of(block)->domain);
    rcu_retire(&block_queue, &block->retired);
}

static struct block *block_of(uintptr_t slot)
{
    return (struct block *)(slot & ~(uintptr_t)(BLOCK_BYTES - 1));
}

const struct heap *children_slot_owner(uintptr_t slot)
{
    return block_of(slot)->owner;
}

/* ------------------------------------------------------------------- register */

/* S3. False: the slot is somebody else's; `*lost` when it became so under our hands. */
static bool claim(atomic_word *slot, uintptr_t striped, uintptr_t word, atomic_word *where,
                  bool *lost)
{
    uintptr_t empty = 0;
    if (word_load_relaxed(slot) != 0)
        return false;
    word_store_relaxed(where, (uintptr_t)slot | striped);
    if (word_cas_seq_cst(slot, &empty, word)) /* S3: pairs with S1/S2 and C1/C3 */
        return true;
    *lost = true;
    return false;
}

static struct block *block_new(struct heap *heap, struct stripe *stripe)
{
    struct block *block = pool_alloc(heap, CLASS_BLOCK);
    if (!block)
        return NULL;
    block->owner = heap;
    block->stripe = stripe;
    for (unsigned i = 0; i < BLOCK_SLOTS; i++)
        word_store_relaxed(&block->slots[i], 0);
    return block;
}

static struct stripe *stripe_find(const struct heap *heap, const struct canopy_ctx *parent,
                                  uintptr_t link)
{
    if (ctx_kind(parent) == KIND_STATIC)
        return heap->statics;
    if (!(link & SLOT_HOT))
        return NULL;
    struct stripe *stripe = block_of((uintptr_t)link_target(link))->stripe;
    while (stripe && stripe->owner != heap)
        stripe = stripe->next;
    return stripe;
}

/* The first child of this heap under a parent that is, or becomes, hot. */
static bool stripe_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word,
                       atomic_word *where)
{
    struct stripe *stripe = pool_alloc(heap, CLASS_LINE);
    if (!stripe)
        return false;
    struct block *block = block_new(heap, stripe);
    if (!block) {
        pool_free(heap, CLASS_LINE, stripe);
        return false;
    }
    *stripe =
        (struct stripe){.owner = heap, .first = block, .hand = block, .hand_index = 1, .blocks = 1};
    block->next = block;
    word_store_relaxed(&block->slots[0], word);
    word_store_relaxed(where, (uintptr_t)&block->slots[0] | SLOT_STRIPED);
    if (ctx_kind(parent) == KIND_STATIC) {
        word_store_relaxed(&block->link, SLOT_END);
        heap->statics = stripe;
        return true;
    }
    uintptr_t link = word_load_acquire(&parent->link);
    do {
        stripe->next = link & SLOT_HOT ? block_of((uintptr_t)link_target(link))->stripe : NULL;
        word_store_relaxed(&block->link, link & ~SLOT_HOT);
        /* S3, with the child already in place. */
    } while (
        !word_cas_seq_cst(&parent->link, &link, (uintptr_t)block->slots | SLOT_LINK | SLOT_HOT));
    return true;
}

/* The owner found `block` empty: only it registers here, so empty it stays. */
static void block_unlink(struct stripe *stripe, struct block *previous, struct block *block)
{
    /* Release: a walker that goes on from `previous` finds what follows complete. */
    word_store_release(&previous->link, word_load_relaxed(&block->link));
    previous->next = block->next;
    if (stripe->hand == block) {
        stripe->hand = previous;
        stripe->hand_index = BLOCK_SLOTS;
    }
    stripe->blocks--;
    block->owner = NULL;
    u64_fetch_add_seq_cst(&stripe_epoch, 1);
    block_retire(block);
}

static bool block_is_empty(const struct block *block)
{
    for (unsigned i = 0; i < BLOCK_SLOTS; i++)
        if (word_load_relaxed(&block->slots[i]) != 0)
            return false;
    return true;
}

/*
 * Looks through about as many slots as a new block would bring before it takes
 * one, so the list stays within a small factor of what it holds, and a claim
 * costs a constant on average.
 */
static bool stripe_claim(struct heap *heap, struct stripe *stripe, uintptr_t word,
                         atomic_word *where)
{
    bool lost;
    for (unsigned budget = 2 * BLOCK_SLOTS; budget > 0; budget--) {
        if (stripe->hand_index == BLOCK_SLOTS) {
            stripe->hand = stripe->hand->next;
            stripe->hand_index = 0;
        }
        if (claim(&stripe->hand->slots[stripe->hand_index++], SLOT_STRIPED, word, where, &lost))
            return true;
    }
    struct block *block = block_new(heap, stripe);
    if (!block)
        return false;
    struct block *after = stripe->hand;
    word_store_relaxed(&block->slots[0], word);
    word_store_relaxed(where, (uintptr_t)&block->slots[0] | SLOT_STRIPED);
    word_store_relaxed(&block->link, word_load_relaxed(&after->link));
    block->next = after->next;
    after->next = block;
    stripe->hand = block;
    stripe->hand_index = 1;
    stripe->blocks++;
    word_exchange_seq_cst(&after->link, (uintptr_t)block->slots | SLOT_LINK); /* S3 */
    return true;
}

/* The first line of a small parent. False: no memory, or somebody was faster. */
static bool line_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word,
                     atomic_word *where, bool *no_memory)
{
    struct line *line = pool_alloc(heap, CLASS_LINE);
    if (!line) {
        *no_memory = true;
        return false;
    }
    for (unsigned i = 1; i < LINE_SLOTS; i++)
        word_store_relaxed(&line->slots[i], 0);
    word_store_relaxed(&line->slots[0], word);
    word_store_relaxed(&line->link, SLOT_END);
    word_store_relaxed(where, (uintptr_t)&line->slots[0]);
    uintptr_t end = SLOT_END;
    if (word_cas_seq_cst(&parent->link, &end, (uintptr_t)line->slots | SLOT_LINK)) /* S3 */
        return true;
    pool_free(heap, CLASS_LINE, line);
    return false;
}

bool children_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word, atomic_word *where)
{
    uintptr_t link = word_load_acquire(&parent->link); /* acquire: the rows behind it */
    bool lost = false;
    bool is_small = !(link & SLOT_HOT) && ctx_kind(parent) != KIND_STATIC;
    if (is_small) {
        if (ctx_kind(parent) != KIND_VALUE && claim(&parent->slot0, 0, word, where, &lost))
            return true;
        if (!lost && link == SLOT_END && heap) {
            bool no_memory = false;
            if (line_add(heap, parent, word, where, &no_memory))
                return true;
            if (no_memory)
                return false;
            link = word_load_acquire(&parent->link);
        }
    }
    if (is_small && !lost && !(link & SLOT_HOT) && link != SLOT_END) {
        atomic_word *slots = link_target(link);
        for (unsigned i = 0; i < LINE_SLOTS && !lost; i++)
            if (claim(&slots[i], 0, word, where, &lost))
                return true;
    }
    if (!heap)
        return false;
    struct stripe *stripe = stripe_find(heap, parent, link);
    return stripe ? stripe_claim(heap, stripe, word, where) : stripe_add(heap, parent, word, where);
}

/* ----------------------------------------------------------------- look and count */

/* The next occupied slot at or after `slot`; NULL at the list's end. `*word` is what it held. */
static atomic_word *next_occupied(atomic_word *slot, uintptr_t *word)
{
    for (;;) {
        *word = word_load_seq_cst(slot); /* S2 and C3: after the caller's seq_cst write */
        if (*word == 0) {
            slot++;
        } else if (slot_is_link(*word)) {
            slot = link_target(*word);
            if (!slot)
                return NULL;
        } else {
            return slot;
        }
    }
}

bool children_empty(const struct canopy_ctx *parent)
{
    uintptr_t word;
    rcu_read_begin(); /* blocks may be trimmed under us */
    bool empty = next_occupied(ctx_first_slot(ctx_mutable(parent)), &word) == NULL;
    rcu_read_end();
    return empty;
}

void children_count_slot(struct canopy_ctx *parent, atomic_word *slot, bool records)
{
    uintptr_t word = word_load_seq_cst(slot);
    while (word != 0 && !(word & SLOT_COUNTED)) {
        if (slot_is_callback(word) && !records)
            return;
        u64_fetch_add_relaxed(&parent->refs, REFS_COUNT); /* before the tag, so never short */
        if (word_cas_acq_rel(slot, &word, word | SLOT_COUNTED))
            return;
        /* The caller keeps the parent, so this is never the last one. */
        uint64_t refs = u64_fetch_add_acq_rel(&parent->refs, -REFS_COUNT) - REFS_COUNT;
        if ((refs & REFS_WATCHED) && !(refs & REFS_COUNTED))
            futex_wake_all(futex_low_half(&parent->refs));
    }
}

void children_count_all(struct canopy_ctx *parent, bool records)
{
    uintptr_t word;
    atomic_word *slot = ctx_first_slot(parent);
    rcu_read_begin(); /* blocks may be trimmed under us */
    while ((slot = next_occupied(slot, &word)) != NULL) {
        children_count_slot(parent, slot, records);
        slot++;
    }
    rcu_read_end();
}

static void refs_flag(struct canopy_ctx *ctx, uint64_t flag)
{
    uint64_t refs = u64_load_acquire(&ctx->refs);
    while (!(refs & flag))
        if (u64_cas_seq_cst(&ctx->refs, &refs, refs | flag))
            break;
}

void children_watch(struct canopy_ctx *parent)
{
    /* In the place of S1: who registers later sees it, or is seen below. */
    refs_flag(parent, REFS_WATCHED);
    children_count_all(parent, false);
}

void children_expect_records(struct canopy_ctx *parent)
{
    refs_flag(parent, REFS_RECORDS); /* C8: pairs with mark in cancel.c */
}

/* ----------------------------------------------------------------- unregister */

void children_look(struct canopy_ctx *ctx)
{
    atomic_word *slot = ctx_slot(ctx);
    if (!slot)
        return; /* a root or a static: gone only when nobody can be looking */
    uintptr_t word = word_load_relaxed(slot);
    while (!(word & SLOT_LOOKED))
        if (word_cas_acq_rel(slot, &word, word | SLOT_LOOKED))
            return;
}

struct removal children_remove(struct canopy_ctx *parent, atomic_word *slot, uintptr_t word)
{
    uintptr_t seen = word;
    /* Release: the next owner of the slot, and of our memory, comes after all that we did. */
    if (likely(word_cas_acq_rel(slot, &seen, 0)))
        return (struct removal){false, false};
    do {
        /* While the slot is ours the parent is there to be tagged. */
        if (seen & SLOT_LOOKED)
            children_look(parent);
    } while (!word_cas_acq_rel(slot, &seen, 0));
    return (struct removal){seen & SLOT_LOOKED, seen & SLOT_COUNTED};
}

/* ------------------------------------------------------------------ give back */

static void stripe_free(struct stripe *stripe)
{
    struct block *block = stripe->first;
    for (uint32_t i = 0, n = stripe->blocks; i < n; i++) {
        struct block *next = block->next;
        pool_free_any(block);
        block = next;
    }
    pool_free_any(stripe);
}

void children_free(struct canopy_ctx *parent)
{
    uintptr_t link = word_load_acquire(&parent->link);
    struct stripe *stripe = NULL;
    if (link & SLOT_HOT) {
        stripe = block_of((uintptr_t)link_target(link))->stripe;
        u64_fetch_add_seq_cst(&stripe_epoch, 1);
    }
    while (stripe) {
        struct stripe *next = stripe->next;
        struct block *last = stripe->first;
        if (!next) {
            /* The oldest stripe ends where the small list begins. */
            for (uint32_t i = 1; i < stripe->blocks; i++)
                last = last->next;
            link = word_load_relaxed(&last->link);
        }
        stripe_free(stripe);
        stripe = next;
    }
    void *line = link_target(link);
    if (line)
        pool_free_any(line);
    word_store_relaxed(&parent->link, SLOT_END);
}

void children_trim(uintptr_t slot)
{
    struct stripe *stripe = block_of(slot)->stripe;
    stripe->freed += MAGAZINE_LIMIT;
    if (stripe->freed < (uint64_t)stripe->blocks * BLOCK_SLOTS)
        return;
    stripe->freed = 0;
    struct block *previous = stripe->first;
    for (uint32_t i = 1, n = stripe->blocks; i < n; i++) {
        struct block *block = previous->next;
        if (block_is_empty(block))
            block_unlink(stripe, previous, block);
        else
            previous = block;
    }
}
