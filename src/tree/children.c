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
 * A parent stays small until its line is full, two threads fall over each other in it,
 * or one thread has registered there often. Then every thread that registers gets a
 * stripe of its own: a run of blocks in the same list in which this thread alone claims
 * slots, so that no line is written by two. Stripes belong to heaps, and go with them.
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
 *                Missing: a walker reads memory that was freed at once. Wrong:
 *                nothing but a grace period too many. Of a record the same bit is
 *                CLAIMED: it is one canceller's to run. Missing: it runs twice.
 *                Wrong: it is lost.
 *   COUNTED      whoever counts (below), once. Missing: a parent freed under
 *                its children. Wrong: a parent never freed.
 *
 * A walker does not tag the slots of a block one by one: it marks the block (O3), and
 * who takes a context out of a slot looks at the mark afterwards (L5): store-then-load
 * on both sides, hence seq_cst, of the compare-and-swap that empties the slot too. Either
 * L5 sees the mark or O4 sees that the slot is empty. The mark need not be handed up,
 * since a walker comes from above and has looked at the parent.
 *
 * Owned blocks. A stripe whose thread has registered often goes over to plain
 * stores: no operation that locks a line, no fence. The price is paid by the rare
 * others: before they look at slots they end it, block by block (children_open),
 * and then have every thread execute a fence (fence_heavy). The mode of a block
 * lies in the low bits of `owner`:
 *
 *     OWNED ──last handle, idle──► SHARED ──walker──► LOOKED
 *       │ ▲                          │                  ▲
 *       │ └──── stripe_own ──────────┘                  │
 *       └──────────────── walker ───────────────────────┘
 *
 *   OWNED   the heap's thread unregisters by plain stores, what it frees may be
 *           reused at once; everybody else by compare-and-swap.
 *   SHARED  everybody by compare-and-swap.
 *   LOOKED  the same, and contexts are retired.
 *
 *   unregister, in an OWNED block, by its owner (children_leave):
 *     L1  heap->leaving = slot           fence_light
 *     L2  load owner: still OWNED? load the slot: no tag?
 *     L3  slot = 0
 *     L4  heap->leaving = 0, at the very end: memory and heap are done with
 *   others:
 *     O3  owner = SHARED or LOOKED       fence_heavy, where the heap is another thread's
 *     O4  load heap->leaving, then the slot (C3, S2)
 *     L6  who counts, or frees a root, waits until leaving is another slot, or 0
 *
 *   Either L2 sees O3 (or a tag), and the thread goes the general way, or O4 sees
 *   L1: then this one slot may still be under a plain store. A heap has one thread,
 *   so it is one slot at most. Its child is a leaf whose only handle is being given
 *   back: a walker leaves it alone, since nobody can tell whether it was done; who
 *   counts waits for L4, some instructions (await_left); the clock, which tags one
 *   slot and not the block, drops it (expire.c). Without L1 a walker would keep
 *   what L3 gives free; with L2 before L1 likewise, so would it without either fence.
 *
 *   register, in a stripe that is `owned` (children_enter): S3 is a plain store and
 *   fence_light, and whoever needs S3's other side (S2, C3) has found the stripe's
 *   flag (O5) and fenced. The flag is set before (O1), and then the parent is looked at
 *   once more (O2): who did not find it had ended or let go of the parent before,
 *   O2 sees that, and no block becomes OWNED under a walk. What was SHARED for one that
 *   waits for idle becomes OWNED again in the same way once that one has counted: until
 *   then O2 sees COUNTING. Without it L3 could empty a slot just as it is tagged COUNTED.
 *   What comes while somebody waits counts itself (S4), and leaves an OWNED block by plain
 *   stores all the same: L2 expects the tag. One who waits has counted all that were there;
 *   so COUNTING is over for others who are at it, too: they only find what is counted, or
 *   just counts itself.
 *
 *   A block that is added while others go by is opened by who adds it: that puts it in
 *   (S3), then loads the mode of the block before it (O6); who goes by opens that (O3),
 *   then loads its link (O7).
 *
 * Ordering pairs:
 *   L1,L2/O3,O4  the way out of an owned block against who opens it: store-then-load, by a
 *         light fence and a heavy one: either L2 sees the mode or O4 the slot. Without it a
 *         walker keeps what L3 gives free.
 *   L4/O4,L6  L4 is a release, after memory and heap are done with. Without it a slot is
 *         counted, or a root's heaps are freed, under who is still leaving.
 *   L3/S8  L3 is a release, after all that the child did. Without it the parent's memory is
 *         reused under it.
 *   L5a,L5/O3,C3  the way out of any other block against who opens it, all seq_cst: either
 *         L5 sees the mode or C3 that the slot is empty. Without it a walker reads a
 *         context that was freed at once.
 *   O1,O2/C1,S1,O5  a stripe that becomes owned against who ends, counts or watches: either
 *         O2 sees that or O5 that it has to fence, seq_cst. Without it a block is OWNED
 *         under a walk.
 *   S3,O6/O3,O7  a block that is added against who opens all: either O6 sees the mode or O7
 *         the block, seq_cst. Without it a child leaves the new block by plain stores under
 *         a walk.
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
 *   seq_cst (or a light fence against a heavy one). WATCHED takes the place of S1 where
 *   somebody waits for idle. The count is raised before the tag is set and lowered again
 *   when the tag could not be set, so it is never short.
 *
 * Ordering pairs:
 *   S1,S2/S3,S4  release, or a wait for idle, against register: either S2 sees the child
 *         or S4 that the handles are gone. Without it a child stays uncounted under a
 *         parent that counts, which is freed under it.
 *   S5/S6  each drop of a count or a handle is a release, and what finds none left an
 *         acquire: what all of them did comes before the end. Without it memory is reused
 *         under a thread that had let go of it, in its own order, before.
 *   S3/S0  a row is linked by a release, and links are loaded by acquires. Without it who
 *         goes on to the row reads what was in that memory before.
 *   S9/S9  who tags a slot and who leaves it do so by a compare-and-swap of one word, so one
 *         of them is first, and sees what the other did. Without it a walker stands on a
 *         context that was freed at once.
 *   S7/S8  who leaves a slot does so by a release, and who finds it empty and goes on to
 *         reuse the parent loads it by an acquire. Without it the parent's memory is reused
 *         under a child that was just leaving.
 *         L1 comes before it in a small parent too: who finds all slots below a root empty
 *         sees who is leaving, and waits (L6).
 *
 * Cancel. The handshake with a canceller is the same shape, with the state word:
 *
 *     register  S3: publish the child                                seq_cst
 *               C4: load the parent's state; done: the child ends itself
 *     cancel    C1: compare-and-swap the state                       seq_cst
 *               C3: load the slots                                   seq_cst
 *
 *   One of the two sees the other, as cancel.c has it. With S3 a mere release store the
 *   load C4 may run ahead of it.
 *
 * Linearization: register at S3, unregister at its compare-and-swap or at L3.
 *
 * Memory. A dead parent's blocks go with the parent: at once, or after the grace period
 * that it was retired through. A freed context remembers the slot that it had, if that
 * lies in a stripe of this heap, and asks for it again when its next life begins under
 * the same parent; so does a heap of the slot that its last record left, and, for each of
 * some parents, of the slot that its thread took last: where several parents are worked
 * under in turn no context comes back to its own. stripe_epoch, advanced before a block
 * goes, tells when what is remembered no longer holds.
 *
 * Blocks in which nothing is any more are set aside by the stripe's owner, for its next ones
 * (trim.c), and retired by the scavenger, through RCU, as walkers may stand in them. He does
 * that while the owner is elsewhere: an empty block then stays empty. The owner comes by two
 * ways, neither of which waits:
 *
 *   owner, by a claim:         B1  heap->claiming = stripe          fence_light
 *                              B1a load held: set: another stripe
 *   owner, remembered slot:    B7  load stripe_epoch: moved: by a claim; S3
 *                              B4  next, only now: the context that remembers it is taken
 *                                  off the magazine's top (a record: hint_slot changes; the
 *                                  slot that was taken last: the next claim changes that)
 *   scavenger:                 B3  stripe_epoch += EPOCH_TRIM; held = 1      fence_heavy
 *                              B2  load claiming: this stripe: not now
 *                              B4a load the top, and its slot, hint_slot, the last slot: their
 *                                  blocks stay
 *                                  unlink what is empty
 *                              B2a held = 0
 *                              B5a leave_epoch += EPOCH_TRIM
 *
 *   Either the owner sees B3, or B2 and B4a see where it is. A slot that is left meanwhile
 *   is remembered with leave_epoch (B5), which stripe_epoch is ahead of until all unlinking
 *   is done: so it is not entered again, whatever became of its block.
 *
 * Ordering pairs:
 *   B1,B1a/B3,B2  a claim against the scavenger: store-then-load, by a light fence and a
 *         heavy one. Without it a child is put into a block that is just unlinked.
 *   B7/B3,B4a  a remembered slot against the scavenger: the epoch is loaded before S3, and
 *         the owner stays where B4a finds it until S3 is done. Without it a child is put into a
 *         block that is just unlinked.
 *   B4/B4a  B4 is a release, after S3: who sees that the owner has gone on sees the child.
 *         Without it a block counts as empty in which one is.
 *   B1/B2  the end of a claim is a release, after S3, as B4. Without it a block counts
 *         as empty in which a child is.
 *   B2a/B1a  the scavenger's end is a release: the owner finds the list of blocks as it has
 *         become. Without it the search goes on in a block that is gone.
 *   B5/B5a  B5 comes before the slot is left, and B5a after all unlinking: what is remembered
 *         from in between does not hold. Without it a slot is entered again in a block that
 *         was unlinked.
 *   B1,B9/O3,B6  the owner also comes to a stripe whose parent it has not in hand, if a block
 *         is OWNED (B9). Who frees the parent has opened that before (O3, and a heavy fence)
 *         and awaits that the owner is elsewhere (B6): store-then-load, by a light fence and
 *         the heavy one. Without it the owner unlinks a block that is gone.
 *   B7/B8  a parent's end advances the epochs before its blocks go. Whoever has a parent in
 *         hand that lies in its place has that memory by way of the pool, which orders the
 *         two; so B7 is relaxed. Without it a slot is entered in a block that is gone.
 *
 * A heap finds its stripe under a parent in a table of its own, so that what others have in
 * the list need not be looked through. The stripe's line is therefore the heap's, and is
 * not given back with the blocks by whoever frees the parent:
 *
 *     parent's end  T1: hand the stripe over to its heap                (handoff.h)
 *                   give the parent's memory back
 *     register      T2: take what was handed over, out of the table and back to the pool
 *                   look for the parent in the table
 *
 * Ordering pairs:
 *   T1/T2  the hand-over's (handoff.h), and that T1 comes before the parent's memory goes.
 *         Without it a child is put into the stripe of a parent that is gone.
 *
 *   Who looks has its parent in hand. Where that lies in the place of one that is gone,
 *   its memory came by way of the pool from who did T1, so T2 finds the old one's stripe.
 *   Others may be found gone at any time later: nobody looks for them. Heaps change hands
 *   with their tables, and what was handed to an orphan waits for its next thread.
 *
 * Progress: register and unregister are lock-free (a failed compare-and-swap
 * means that somebody else registered, unregistered, or tagged once), in an owned
 * block wait-free. A walk is lock-free: it passes by what is being left. Who counts
 * waits for that (await_left), from L1 to L4, and who frees a parent for B6, which is some
 * instructions unless the thread in between is not running.
 */
#include "tree/children.h"

#include "tree/valid.h"

_Static_assert(sizeof(struct slot_line) == CACHE_LINE, "a line is a line");
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "a block is a block");
_Static_assert(offsetof(struct block, slots) % CACHE_LINE == CACHE_LINE / 2, "slot_is_in_block");
_Static_assert(sizeof(struct stripe) <= CACHE_LINE, "a stripe is a line");

atomic_u64 stripe_epoch = {1};
atomic_u64 leave_epoch = {1};

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

void block_retire(struct block *block)
{
    domain_hold(slab_of(block)->domain);
    rcu_retire(&block_queue, &block->retired);
}

/* ------------------------------------------------------------------- register */

static void slots_clear(struct block *block)
{
    for (unsigned i = 0; i < BLOCK_SLOTS; i++)
        word_store_relaxed(&block->slots[i], 0);
}

static struct block *block_new(struct heap *heap, struct stripe *stripe)
{
    struct block *block = pool_alloc(heap, CLASS_BLOCK);
    if (!block)
        return NULL;
    word_store_relaxed(&block->owner,
                       (uintptr_t)heap | (u32_load_relaxed(&stripe->owned) ? 0 : BLOCK_SHARED));
    block->stripe = stripe;
    slots_clear(block);
    return block;
}

/* Opens a block at least as far as `mode` says. */
static void block_open(struct block *block, uintptr_t mode)
{
    uintptr_t owner = word_load_seq_cst(&block->owner); /* O3, where it says so already */
    while (!(owner & (mode | BLOCK_LOOKED)))
        if (word_cas_seq_cst(&block->owner, &owner, (owner & ~BLOCK_MODE) | mode)) /* O3 */
            break;
}

static uintptr_t block_mode(const struct block *block)
{
    return word_load_relaxed(&block->owner) & BLOCK_MODE;
}

/*
 * Forgets stripes whose parents are gone: T1 came before their memory went, and so before
 * the caller got a parent in hand that lies where one of them lay.
 */
static void stripes_collect(struct heap *heap)
{
    if (likely(handoff_is_empty(&heap->gone_stripes)))
        return;
    for (struct handoff_node *node = handoff_take_all(&heap->gone_stripes); node;) { /* T2 */
        struct stripe *stripe = (struct stripe *)((char *)node - offsetof(struct stripe, gone));
        node = handoff_next(node);
        if (table_find(heap->stripes, (uintptr_t)stripe->parent) == stripe) /* the latest there */
            table_erase(heap->stripes, (uintptr_t)stripe->parent);
        pool_free(heap, CLASS_LINE, stripe);
    }
}

/* Sees that the heap's table has room for one more stripe. False: no memory. */
static bool stripes_reserve(struct heap *heap)
{
    struct table *before = heap->stripes;
    if (table_has_room(before))
        return true;
    struct table *stripes = domain_table_new(heap->domain, before ? before->values : 0);
    if (!stripes)
        return false;
    table_copy(stripes, before);
    heap->stripes = stripes;
    domain_table_free(heap->domain, before);
    return true;
}

static struct stripe *stripe_find(struct heap *heap, const struct canopy_ctx *parent,
                                  uintptr_t link)
{
    if (ctx_kind(parent) == KIND_STATIC)
        return (struct stripe *)word_load_relaxed(&heap->statics);
    if (!(link & SLOT_HOT))
        return NULL;
    return table_find(heap->stripes, (uintptr_t)parent);
}

void children_change_hint(struct hint hint, const struct canopy_ctx *parent, atomic_word *slot)
{
    struct heap *heap = hint.heap;
    const struct canopy_ctx *parent_before = heap->hint_parent;
    const atomic_word *before = (const atomic_word *)word_load_relaxed(&heap->hint_slot);
    uint64_t epoch_before = heap->hint_epoch;
    heap->hint_parent = parent;
    word_store_release(&heap->hint_slot, (uintptr_t)slot); /* B4: after S3 in the last one */
    heap->hint_epoch = hint.epoch;
    if (block_of(before) != block_of(slot))
        children_set_aside(heap, parent_before, before, epoch_before);
}

/* The heap's thread has a slot there, which it may have again. */
static void remember_slot(struct heap *heap, const struct canopy_ctx *parent,
                          const struct stripe *stripe, atomic_word *slot)
{
    if (!u32_load_relaxed(&stripe->owned))
        return;
    struct busy *busy = children_busy(heap, parent);
    busy->parent = parent;
    busy->claims = 0;
    word_store_release(&busy->slot, (uintptr_t)slot); /* B4: after S3 in the last one */
    busy->epoch = u64_load_relaxed(&stripe_epoch);    /* B7: the stripe is not being trimmed */
}

/* With one block, whose first slot is taken. NULL: no memory. */
static struct stripe *stripe_new(struct heap *heap, const struct canopy_ctx *parent)
{
    struct stripe *stripe = pool_alloc(heap, CLASS_LINE);
    if (!stripe)
        return NULL;
    *stripe = (struct stripe){.parent = parent, .owner = heap, .blocks = 1, .claimed = 1};
    /* Nobody walks the children of background and todo: owned from the first. */
    if (ctx_kind(parent) == KIND_STATIC && fence_is_asymmetric)
        u32_store_relaxed(&stripe->owned, 1);
    struct block *block = block_new(heap, stripe);
    if (!block) {
        pool_free(heap, CLASS_LINE, stripe);
        return NULL;
    }
    stripe->first = block->next = block->previous = block;
    stripe->hand = &block->slots[1];
    return stripe;
}

/* Where a mode of a stripe's blocks is `from` it becomes `to`. */
static void stripe_set_mode(struct stripe *stripe, uintptr_t from, uintptr_t to)
{
    struct block *block = stripe->first;
    do {
        uintptr_t owner = (uintptr_t)stripe->owner | from;
        word_cas_seq_cst(&block->owner, &owner, (uintptr_t)stripe->owner | to); /* O1 */
        block = block->next;
    } while (block != stripe->first);
}

/* O2: whether somebody may rely on the blocks of a parent being open, or will. */
static bool must_be_open(const struct canopy_ctx *parent)
{
    uint64_t refs = u64_load_seq_cst(&parent->refs); /* O2: pairs with S1 */
    return refs_handles(refs) == 0 || (refs & REFS_COUNTING) ||
           !state_is_live(ctx_state_seq_cst(parent)); /* O2: pairs with C1 */
}

/*
 * Once the parent is busy enough that its end may cost a fence_heavy the owner's
 * thread goes over to plain stores; and again once they are counted whose blocks were
 * opened for one that waits for idle. O1, and the blocks' modes, before O2, as S3 before
 * S4 and C4: who was not told to fence, or found a block SHARED, has ended, watched or
 * let go of the parent before, and is seen here. Nothing leaves a block in between.
 */
static void stripe_own(struct stripe *stripe, const struct canopy_ctx *parent)
{
    bool is_owned = u32_load_relaxed(&stripe->owned);
    if (likely(is_owned ? block_mode(block_of(stripe->hand)) != BLOCK_SHARED
                        : stripe->claimed <= CANOPY_BUSY_AFTER) ||
        !fence_is_asymmetric || must_be_open(parent))
        return;
    u32_exchange_seq_cst(&stripe->owned, 1); /* O1: pairs with O5 */
    stripe_set_mode(stripe, BLOCK_SHARED, 0);
    if (must_be_open(parent)) /* O2 */
        stripe_set_mode(stripe, 0, BLOCK_SHARED);
}

/* The first child of this heap under a parent that is, or becomes, hot. */
static bool stripe_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word,
                       atomic_word *where)
{
    bool is_static = ctx_kind(parent) == KIND_STATIC;
    struct stripe *stripe = is_static || stripes_reserve(heap) ? stripe_new(heap, parent) : NULL;
    if (!stripe)
        return false;
    struct block *block = stripe->first;
    word_store_relaxed(&heap->claiming, (uintptr_t)stripe); /* B1: it is about to be found */
    word_store_relaxed(&block->slots[0], word);
    word_store_relaxed(where, (uintptr_t)&block->slots[0] | SLOT_STRIPED);
    if (is_static) {
        word_store_relaxed(&block->link, SLOT_END);
        stripe->next = (struct stripe *)word_load_relaxed(&heap->statics);
        word_store_release(&heap->statics, (uintptr_t)stripe); /* K6: pairs with K7 */
        return true;
    }
    uintptr_t link = word_load_acquire(&parent->link); /* S0 */
    do {
        stripe->next = link & SLOT_HOT ? link_block(link)->stripe : NULL;
        word_store_relaxed(&block->link, link & ~SLOT_HOT);
        /* S3, with the child already in place. */
    } while (
        !word_cas_seq_cst(&parent->link, &link, (uintptr_t)block->slots | SLOT_LINK | SLOT_HOT));
    table_put(heap->stripes, (uintptr_t)parent, stripe);
    u32_store_release(&slab_of(parent)->has_hot, 1); /* K4: after the link; pairs with K5 */
    stripe_own(stripe, parent);
    return true;
}

/* S3, in a stripe, where nobody else claims. */
static bool stripe_enter(struct stripe *stripe, atomic_word *slot, uintptr_t word,
                         atomic_word *where)
{
    if (!children_is_free(slot))
        return false;
    word_store_relaxed(where, (uintptr_t)slot | SLOT_STRIPED);
    if (u32_load_relaxed(&stripe->owned)) {
        children_enter(slot, word);
    } else {
        stripe->claimed++;
        word_exchange_seq_cst(slot, word); /* S3: pairs with S1/S2 and C1/C3 */
    }
    return true;
}

/*
 * Who went by the place before the block was there did so after `after` was opened: then
 * the block is as open before anything leaves it.
 */
static void block_follow(struct block *block, const struct block *after)
{
    uintptr_t mode = word_load_seq_cst(&after->owner) & BLOCK_MODE; /* O6: pairs with O3 */
    if (mode)
        block_open(block, mode);
}

/*
 * A block to put into the list behind `after`, with nothing in it; NULL: no memory. What was
 * set aside comes back behind the first: see trim.c.
 */
static struct block *stripe_take_block(struct heap *heap, struct stripe *stripe,
                                       struct block **after)
{
    struct block *block = stripe_aside(stripe);
    if (!block) {
        *after = block_of(stripe->hand);
        return block_new(heap, stripe);
    }
    *after = stripe->first;
    word_store_relaxed(&stripe->aside, (uintptr_t)block->next);
    slots_clear(block);
    return block;
}

/*
 * Looks through about as many slots as a new block would bring before it takes
 * one, so the list stays within a small factor of what it holds, and a claim
 * costs a constant on average.
 */
static bool stripe_claim(struct heap *heap, struct stripe *stripe, struct canopy_ctx *parent,
                         uintptr_t word, atomic_word *where)
{
    stripe_own(stripe, parent);
    for (unsigned budget = 2 * BLOCK_SLOTS; budget > 0; budget--) {
        atomic_word *slot = stripe->hand;
        if (slot == block_end(block_of(slot)))
            slot = block_of(slot)->next->slots;
        stripe->hand = slot + 1;
        if (stripe_enter(stripe, slot, word, where)) {
            remember_slot(heap, parent, stripe, slot);
            return true;
        }
    }
    struct block *after, *block = stripe_take_block(heap, stripe, &after);
    if (!block)
        return false;
    word_store_relaxed(&block->slots[0], word);
    word_store_relaxed(where, (uintptr_t)&block->slots[0] | SLOT_STRIPED);
    word_store_relaxed(&block->link, word_load_relaxed(&after->link));
    block->next = after->next;
    block->previous = after;
    after->next = block->next->previous = block;
    stripe->hand = &block->slots[1];
    if (++stripe->blocks % BLOCKS_ASKED == 0)
        rcu_ask();
    /* A look at a ring for each time that it doubles. */
    invariant((stripe->blocks & (stripe->blocks - 1)) != 0 || stripe_is_valid(stripe));
    stripe->claimed++;
    word_exchange_seq_cst(&after->link, (uintptr_t)block->slots | SLOT_LINK); /* S3 */
    block_follow(block, after);
    return true;
}

/* The first line of a small parent. False: no memory, or somebody was faster. */
static bool line_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word,
                     atomic_word *where)
{
    struct slot_line *line = pool_alloc(heap, CLASS_LINE);
    if (unlikely(!line))
        return false;
#pragma GCC unroll 8
    for (unsigned i = 1; i < LINE_SLOTS; i++)
        word_store_relaxed(&line->slots[i], 0);
    word_store_relaxed(&line->slots[0], word);
    word_store_relaxed(&line->link, SLOT_END);
    word_store_relaxed(where, (uintptr_t)&line->slots[0]);
    uintptr_t end = SLOT_END;
    if (likely(word_cas_seq_cst(&parent->link, &end, (uintptr_t)line->slots | SLOT_LINK))) /* S3 */
        return true;
    pool_free(heap, CLASS_LINE, line);
    return false;
}

/* The first free slot of a small parent that has a line, or NULL. */
static atomic_word *free_in_line(uintptr_t link)
{
    struct slot_line *line = (struct slot_line *)link_target(link);
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        if (children_is_free(&line->slots[i]))
            return &line->slots[i];
    return NULL;
}

/* In the stripe of this heap's thread. False: no memory. */
static __attribute__((noinline)) bool stripe_register(struct heap *heap, struct canopy_ctx *parent,
                                                      uintptr_t link, uintptr_t word,
                                                      atomic_word *where)
{
    atomic_word *last = children_last_slot(heap, parent);
    if (last) {
        word_store_relaxed(where, (uintptr_t)last | SLOT_STRIPED);
        children_enter(last, word); /* S3 */
        return true;
    }
    stripes_collect(heap);
    struct stripe *stripe = stripe_find(heap, parent, link);
    while (stripe && (stripe->owner != heap || !stripe_begin(heap, stripe)))
        stripe = stripe->next; /* while one is trimmed there is another */
    bool added = stripe ? stripe_claim(heap, stripe, parent, word, where)
                        : stripe_add(heap, parent, word, where);
    stripe_end(heap);
    return added;
}

bool children_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word, atomic_word *where)
{
    uintptr_t link = word_load_acquire(&parent->link); /* S0 */
    if ((link & SLOT_HOT) || ctx_kind(parent) == KIND_STATIC || children_becomes_busy(heap, parent))
        return stripe_register(heap, parent, link, word, where);
    atomic_word *slot = &parent->slot0;
    if (!children_is_free(slot)) {
        if (link == SLOT_END && line_add(heap, parent, word, where))
            return true;
        slot = link == SLOT_END ? NULL : free_in_line(link);
    }
    if (likely(slot != NULL) && likely(children_claim(slot, word, where)))
        return true;
    /* It is full, or others come and go. */
    link = word_load_acquire(&parent->link); /* S0 */
    return stripe_register(heap, parent, link, word, where);
}

/* ----------------------------------------------------------------- look and count */

/*
 * The next occupied slot at or after `slot`; NULL at the list's end. `*word` is what
 * it held; `*in_block` is kept up to date along the way.
 */
static atomic_word *next_occupied(atomic_word *slot, uintptr_t *word, bool *in_block)
{
    for (;;) {
        *word = word_load_seq_cst(slot); /* S2, C3, S8: after the caller's seq_cst write */
        if (*word == 0) {
            slot++;
        } else if (slot_is_link(*word)) {
            slot = link_target(*word);
            if (!slot)
                return NULL;
            *in_block = slot_is_in_block(slot);
        } else {
            return slot;
        }
    }
}

/*
 * Blocks that were made in turn mostly lie in turn, so what comes a few blocks on can be
 * asked for. By the links alone each block would be waited for; a wrong guess asks in vain.
 */
#define OPEN_AHEAD_BYTES ((uintptr_t)6 * BLOCK_BYTES)

static void open_ahead(const struct block *block)
{
    uintptr_t ahead = (uintptr_t)block + OPEN_AHEAD_BYTES;
    __builtin_prefetch((const void *)(ahead + offsetof(struct block, owner)), 1);
    __builtin_prefetch((const void *)(ahead + offsetof(struct block, link)));
}

void children_open(struct canopy_ctx *parent, uintptr_t mode)
{
    bool fence = false;
    uintptr_t link = word_load_seq_cst(&parent->link); /* S2, C3: after S1 or C1 */
    if (!(link & SLOT_HOT))
        return;
    for (atomic_word *row = link_target(link); row && slot_is_in_block(row);) {
        struct block *block = block_of(row);
        open_ahead(block);
        /* O5: pairs with O1; stripe_own then sees why we look. */
        fence |= u32_load_seq_cst(&block->stripe->owned) && !heap_is_own(block->stripe->owner);
        block_open(block, mode);
        row = link_target(word_load_seq_cst(&block->link)); /* O7: pairs with S3 */
    }
    if (fence)
        domain_fence(ctx_domain(parent)); /* between O3 and O4, and C1 or S1 and C3 or S2 */
}

/* A slot that is being emptied by plain stores: a few instructions of another thread. */
static void await_left(const atomic_word *slot)
{
    while (unlikely(children_leaving(slot) == (uintptr_t)slot)) /* L6: pairs with L4 */
        pause_ns(1000);
}

bool children_empty(const struct canopy_ctx *parent)
{
    uintptr_t word;
    bool in_block = false;
    rcu_read_begin(); /* blocks may be trimmed under us */
    bool empty = next_occupied(&ctx_mutable(parent)->slot0, &word, &in_block) == NULL;
    rcu_read_end();
    return empty;
}

void children_count_slot(struct canopy_ctx *parent, atomic_word *slot, bool records)
{
    uintptr_t word = word_load_seq_cst(slot); /* S2 */
    while (word != 0 && !(word & SLOT_COUNTED)) {
        if (slot_is_callback(word) && !records)
            return;
        u64_fetch_add_relaxed(&parent->refs, REFS_COUNT);       /* before the tag, so never short */
        if (word_cas_acq_rel(slot, &word, word | SLOT_COUNTED)) /* S9 */
            return;
        children_uncount(parent); /* S5: the caller keeps the parent, so what is left is not 0 */
    }
}

void children_count_all(struct canopy_ctx *parent, bool records)
{
    uintptr_t word;
    bool in_block = false;
    atomic_word *slot = &parent->slot0;
    rcu_read_begin(); /* blocks may be trimmed under us */
    children_open(parent, BLOCK_SHARED);
    while ((slot = next_occupied(slot, &word, &in_block)) != NULL) {
        if (in_block)
            await_left(slot);
        children_count_slot(parent, slot, records);
        slot++;
    }
    rcu_read_end();
}

/* Whether somebody is just counting, seq_cst as WATCHED. */
static void flag_counting(struct canopy_ctx *parent, uint64_t flag)
{
    uint64_t refs = u64_load_relaxed(&parent->refs);
    while (!u64_cas_seq_cst(&parent->refs, &refs, (refs & ~REFS_COUNTING) | flag)) /* S1 */
        continue;
}

void children_watch(struct canopy_ctx *parent, struct parked *watch)
{
    /* S1, in its place: who registers later sees it, or is seen below. */
    park_flag(watch, &parent->refs, REFS_WATCHED);
    flag_counting(parent, REFS_COUNTING);
    children_count_all(parent, false);
    flag_counting(parent, 0);
}

void children_unwatch(struct canopy_ctx *parent, struct parked *watch)
{
    unpark_flag(watch, &parent->refs, REFS_WATCHED);
}

void children_flag_records(struct canopy_ctx *parent)
{
    uint64_t refs = u64_load_acquire(&parent->refs); /* C8a, where another has set it */
    while (!(refs & REFS_RECORDS))
        if (u64_cas_seq_cst(&parent->refs, &refs, refs | REFS_RECORDS)) /* C8a: pairs with C8 */
            break;
}

/* ----------------------------------------------------------------- unregister */

void children_look(struct canopy_ctx *ctx)
{
    atomic_word *slot = ctx_slot(ctx);
    if (!slot)
        return; /* a root or a static: gone only when nobody can be looking */
    uintptr_t word = word_load_relaxed(slot);
    while (!(word & SLOT_LOOKED))
        if (word_cas_acq_rel(slot, &word, word | SLOT_LOOKED)) /* S9 */
            return;
}

struct removal children_remove(struct canopy_ctx *parent, uintptr_t where, uintptr_t word)
{
    atomic_word *slot = (atomic_word *)(where & ~SLOT_STRIPED);
    uintptr_t seen = word;
    bool looked = false;
    if (where & SLOT_STRIPED)
        rcu_read_begin(); /* the block, which may go with the parent, is looked at once more */
    /* L5a, S7, S9: the next owner of the slot, and of our memory, comes after all that we did. */
    while (!word_cas_seq_cst(slot, &seen, 0)) {
        /* While the slot is ours the parent is there to be tagged. */
        if (seen & SLOT_LOOKED)
            children_look(parent);
    }
    if (where & SLOT_STRIPED) {
        looked = word_load_stale(&block_of(slot)->owner) & BLOCK_LOOKED; /* L5 */
        rcu_read_end();
    }
    return (struct removal){looked || (seen & SLOT_LOOKED), seen & SLOT_COUNTED};
}

/* ------------------------------------------------------------------ give back */

/* A few instructions of the owner's thread, which has not the parent in hand. */
static void await_owner(const struct stripe *stripe)
{
    /* B6: pairs with B1 */
    while (unlikely(word_load_acquire(&stripe->owner->claiming) == (uintptr_t)stripe))
        pause_ns(1000);
}

static void blocks_free(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        pool_free_any(block);
        block = next;
    }
}

static void stripe_free(struct stripe *stripe)
{
    invariant(stripe_is_valid(stripe));
    stripe->first->previous->next = NULL;
    blocks_free(stripe->first);
    blocks_free(stripe_aside(stripe));
    handoff_push(&stripe->owner->gone_stripes, &stripe->gone); /* T1 */
}

void children_free(struct canopy_ctx *parent)
{
    uintptr_t link = word_load_acquire(&parent->link); /* S0 */
    struct stripe *stripe = NULL;
    if (slot_is_in_block(link_target(link))) { /* HOT is gone: K8 */
        stripe = link_block(link)->stripe;
        u64_fetch_add_seq_cst(&stripe_epoch, 1); /* B8 */
        u64_fetch_add_seq_cst(&leave_epoch, 1);  /* B8: second, never ahead of the other one */
    }
    while (stripe) {
        struct stripe *next = stripe->next;
        await_owner(stripe);
        if (!next) /* the oldest stripe ends where the small list begins */
            link = word_load_relaxed(&stripe->first->previous->link);
        stripe_free(stripe);
        stripe = next;
    }
    void *line = link_target(link);
    if (line)
        pool_free_any(line);
    word_store_relaxed(&parent->link, SLOT_END);
}
