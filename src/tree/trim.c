/*
 * trim.c - blocks of slots in which nothing is any more go; see children.c, B1 to B9.
 *
 * In two steps, so that a walk's cost follows what is there at once, and memory later:
 *
 *     in the list ──owner: nothing in it──► aside ──owner: needs a block──► in the list
 *          └──────────── scavenger ───────────┴──► retired
 *
 * Set aside. By the thread that owns the stripe, as it takes out what was there: it looks at
 * the block of a context that goes from its hand to the slabs (so once for each end beyond
 * what is made again), and at the block of the last record when the next is in another. A
 * block of its own that is empty stays so, since it alone registers there. Who comes to it by
 * what he remembers, or stands in it:
 *
 *   -  each slot becomes the link to what came behind the block. So none is free to be
 *      entered; and whoever walks or counts goes on from anywhere in it as if from its end.
 *      What the link leads to was in the list when the block left it, after the section of
 *      who stands there had begun, so it is not given back before that ends
 *   -  it comes back behind the stripe's first block, emptied first. Who stands in it still,
 *      and goes on by its new link, meets blocks twice. Anywhere else he would miss those
 *      between its old place and the new one
 *
 * The thread need not have the parent in hand, who may be going just now. Only what is still
 * OWNED is set aside, which who drops the last handle ends (O3), with a fence: so either the
 * thread sees that, or B6 that it is there. Before either, the epoch tells whether the block
 * is still the one that was remembered. What leaves a block in another way, by another
 * thread or looked at, is left to the scavenger.
 *
 * Given back. Parents that have stripes are found as the clock finds contexts: line by line, in
 * slabs that say that there may be some (has_hot). A line may be free by the time, so it is looked
 * at by its words alone, until it is tagged LOOKED in its slot and still there:
 *
 *   K1 load link: hot. Then slot: the context is in it, or was within this read section, or
 *      another life of the line was; so the slot's memory stays for the rest of the section
 *   K2 tag: compare-and-swap from this very address
 *   K3 after a fence: the tag is still there, and nobody is leaving the slot by plain
 *      stores (L1 to L4): what the context has stays for the rest of the section
 *
 *   K8 link: no longer hot, by who has died, before it lets go of the slot (ctx.c)
 *
 *   K4 has_hot = 1, by who gives a context its first stripe, after the link
 *   K5 has_hot = 0, before the look; a slab in which one is left says so again
 *
 * Ordering pairs:
 *   K8/K1  K8 comes before the release that empties the slot, and with it before any grace
 *         period that the slot's memory goes through: a section that still sees hot is one that
 *         such a grace period waits for. K1 is an acquire, with S3 of the first stripe, so
 *         that the slot is that life's or a later one's. Without it the scavenger reads a slot
 *         whose memory has gone back to the system.
 *   K1,K2/S9  as the clock's tag (deadline.c): the tag fails once the context has left the
 *         slot. Without it the context's blocks are looked at after they have gone.
 *   K3/L1  the fence between K2 and K3 is heavy: either K3 sees that the slot is being left,
 *         or who leaves it sees the tag (L2). Without it the context's blocks are looked at
 *         after they have gone.
 *   K4/K5  K4 is a release, K5 an acquire: who takes the mark away sees the link, and what
 *         comes later sets it again. Without it a stripe is never trimmed.
 *   K6/K7  a heap's list of stripes of background and todo is published by a release.
 *         Without it the scavenger reads a stripe that is not written yet.
 *
 * A root stays while its domain is held. A merged context's slot is its INPUT 0's, which is
 * given back after it.
 *
 * Progress: nobody waits for anybody here; who frees a parent waits for its stripes' owners
 * (B6), some instructions.
 */
#include "tree/children.h"

/* More than children_free will ever add, so that the two do not meet. */
#define EPOCH_TRIM (UINT64_C(1) << 40)

/* A stripe of so many blocks is looked at once more although all are in use. */
#define MANY_BLOCKS 64

static bool block_is_empty(const struct block *block)
{
    for (unsigned i = 0; i < BLOCK_SLOTS; i++)
        if (word_load_acquire(&block->slots[i]) != 0) /* S8: pairs with S7 */
            return false;
    return true;
}

/* Out of the list, in which it is not the first. */
static void block_unlink(struct stripe *stripe, struct block *block)
{
    struct block *previous = block->previous;
    /* S3, as there: a walker that goes on from `previous` finds what follows complete. */
    word_store_release(&previous->link, word_load_relaxed(&block->link));
    previous->next = block->next;
    block->next->previous = previous;
    if (block_of(stripe->hand) == block)
        stripe->hand = block_end(previous);
    stripe->blocks--;
}

/* ------------------------------------------------------------------ set aside */

static void block_set_aside(struct stripe *stripe, struct block *block)
{
    uintptr_t link = word_load_relaxed(&block->link);
    block_unlink(stripe, block);
    for (unsigned i = 0; i < BLOCK_SLOTS; i++)
        word_store_release(&block->slots[i], link); /* S3, as the link itself */
    block->next = stripe_aside(stripe);
    word_store_relaxed(&stripe->aside, (uintptr_t)block);
    if (stripe->blocks % BLOCKS_ASKED == 0)
        rcu_ask();
}

void children_set_aside(struct heap *heap, const struct canopy_ctx *parent, const atomic_word *slot,
                        uint64_t epoch)
{
    struct block *block = block_of(slot);
    struct stripe *stripe = block ? table_find(heap->stripes, (uintptr_t)parent) : NULL;
    if (!stripe || !stripe_begin(heap, stripe))
        return;
    /* Then it is a block of that stripe, and neither trimmed nor freed as long as we are here. */
    if (word_load_acquire(&block->owner) == (uintptr_t)heap && /* B9: pairs with O3 */
        u64_load_acquire(&stripe_epoch) == epoch && block->stripe == stripe &&
        block != stripe->first && block_is_empty(block))
        block_set_aside(stripe, block);
    stripe_end(heap);
}

/* The parent that a free context remembers; not looked at, as it may be gone. */
static const struct canopy_ctx *parent_remembered(const struct canopy_ctx *ctx)
{
    uintptr_t parent = word_load_relaxed((const atomic_word *)(const void *)&ctx->parent);
    return (const struct canopy_ctx *)(parent & ~PARENT_FLAGS);
}

void children_shed(struct heap *heap, const struct handoff_node *objects)
{
    const struct block *before = NULL;
    rcu_read_begin();
    for (; objects; objects = handoff_next(objects)) {
        const struct canopy_ctx *ctx = (const struct canopy_ctx *)(const void *)objects;
        uint64_t epoch = u64_load_relaxed(&ctx->refs);
        const atomic_word *slot = ctx_slot(ctx);
        if (epoch != u64_load_relaxed(&stripe_epoch) || block_of(slot) == before)
            continue;
        before = block_of(slot);
        children_set_aside(heap, parent_remembered(ctx), slot, epoch);
    }
    rcu_read_end();
}

/* ------------------------------------------------------------------ given back */

/* B4a: where the context on top of a magazine may just be taking its slot again, or NULL. */
static const struct block *block_on_top(const struct magazine *magazine)
{
    const struct canopy_ctx *ctx = (const struct canopy_ctx *)word_load_acquire(
        (const atomic_word *)(const void *)&magazine->top); /* B4a: pairs with B4 */
    return ctx ? block_of(ctx_slot(ctx)) : NULL;
}

/* B4a: where a context or a record may just be taking the slot that its thread took last there. */
static const struct block *block_of_last(const struct heap *heap, const struct canopy_ctx *parent)
{
    struct busy *busy = children_busy((struct heap *)(uintptr_t)heap, parent);
    return block_of((void *)word_load_acquire(&busy->slot)); /* B4a */
}

/* Blocks that are not to be trimmed, as a thread may just be coming to them: B4a. */
struct spared {
    const struct block *blocks[4];
};

static struct spared blocks_spared(const struct stripe *stripe)
{
    const struct heap *heap = stripe->owner;
    bool is_static = ctx_kind(stripe->parent) == KIND_STATIC; /* background and todo share one */
    return (struct spared){{block_on_top(&heap->loaded[CLASS_CTX]),
                            block_of((void *)word_load_acquire(&heap->hint_slot)), /* B4a */
                            block_of_last(heap, is_static ? canopy_background() : stripe->parent),
                            block_of_last(heap, is_static ? canopy_todo() : stripe->parent)}};
}

static bool is_spared(const struct spared *spared, const struct block *block)
{
    return block == spared->blocks[0] || block == spared->blocks[1] || block == spared->blocks[2] ||
           block == spared->blocks[3];
}

/* The blocks that were set aside: true if any goes. */
static bool retire_aside(struct stripe *stripe, const struct spared *spared)
{
    bool any = false;
    struct block *block = stripe_aside(stripe), *left = NULL;
    for (struct block *next; block; block = next) {
        next = block->next;
        if (is_spared(spared, block)) {
            block->next = left;
            left = block;
        } else {
            block_retire(block);
            any = true;
        }
    }
    word_store_relaxed(&stripe->aside, (uintptr_t)left);
    return any;
}

/* B2, and what follows, in a read section: true if any goes. */
static bool unlink_empty(struct stripe *stripe)
{
    if (word_load_acquire(&stripe->owner->claiming) == (uintptr_t)stripe) /* B2: pairs with B1 */
        return false;
    struct spared spared = blocks_spared(stripe);
    bool any = retire_aside(stripe, &spared);
    for (struct block *block = stripe->first->next, *next; block != stripe->first; block = next) {
        next = block->next;
        if (is_spared(&spared, block) || !block_is_empty(block))
            continue;
        block_unlink(stripe, block);
        block_retire(block);
        any = true;
    }
    return any;
}

/* Whether a quarter of a stripe's blocks is empty; the first, to which others link, is not asked.
 */
static bool is_sparse(const struct stripe *stripe, uint32_t *blocks)
{
    uint32_t empty = 0;
    *blocks = 1;
    const struct block *block = stripe->first;
    for (;;) {
        uintptr_t link = word_load_acquire(&block->link); /* S0 */
        if (!link_target(link) || !slot_is_in_block(link_target(link)))
            break;
        block = link_block(link);
        if (block->stripe != stripe)
            break;
        ++*blocks;
        empty += block_is_empty(block);
    }
    return empty > 0 && empty >= *blocks / 4;
}

static enum trimmed stripe_trim(struct stripe *stripe)
{
    uint32_t blocks;
    if (!stripe_aside(stripe) && !is_sparse(stripe, &blocks))
        return blocks >= MANY_BLOCKS ? TRIM_LATER : TRIM_IDLE;
    u64_fetch_add_seq_cst(&stripe_epoch, EPOCH_TRIM); /* B3: pairs with B7 */
    u32_exchange_seq_cst(&stripe->held, 1);           /* B3: pairs with B1a */
    domain_fence(stripe->owner->domain);
    bool any = unlink_empty(stripe);
    u32_store_release(&stripe->held, 0);             /* B2a: pairs with B1a */
    u64_fetch_add_seq_cst(&leave_epoch, EPOCH_TRIM); /* B5a: pairs with B5 */
    return any ? TRIM_DONE : TRIM_LATER;
}

static enum trimmed later_of(enum trimmed a, enum trimmed b)
{
    return a > b ? a : b;
}

static enum trimmed stripes_trim(struct stripe *stripe)
{
    enum trimmed all = TRIM_IDLE;
    for (; stripe; stripe = stripe->next)
        all = later_of(all, stripe_trim(stripe));
    return all;
}

/* ------------------------------------------------------------------- parents */

static bool is_hot(const struct canopy_ctx *ctx)
{
    return word_load_acquire(&ctx->link) & SLOT_HOT; /* K1, K3; S0 */
}

/* K1, of what was found hot, and K2. */
bool children_tag(struct canopy_ctx *ctx)
{
    atomic_word *slot = ctx_slot(ctx); /* K1 */
    if (!slot)
        return false;
    uintptr_t word = word_load_acquire(slot); /* S9 */
    do {
        if ((word & ~SLOT_TAGS) != (uintptr_t)ctx)
            return false;
    } while (!(word & SLOT_LOOKED) && !word_cas_seq_cst(slot, &word, word | SLOT_LOOKED)); /* K2 */
    return true;
}

bool children_is_kept(const struct canopy_ctx *ctx)
{
    uintptr_t where = word_load_relaxed(&ctx->slot);
    const atomic_word *slot = (const atomic_word *)(where & ~SLOT_STRIPED);
    if ((where & SLOT_STRIPED) && children_leaving(slot) == (uintptr_t)slot)
        return false;
    return (word_load_acquire(slot) & ~SLOT_COUNTED) == ((uintptr_t)ctx | SLOT_LOOKED); /* K3 */
}

/* K3. */
static bool is_kept(const struct canopy_ctx *ctx)
{
    return children_is_kept(ctx) && is_hot(ctx);
}

static enum trimmed parent_trim(const struct canopy_ctx *parent)
{
    return stripes_trim(link_block(word_load_acquire(&parent->link))->stripe); /* S0 */
}

#define SLAB_LINES (SLAB_BYTES / CACHE_LINE)

static enum trimmed slab_trim(struct slab *slab)
{
    struct canopy_ctx *hot[SLAB_LINES];
    unsigned count = 0;
    enum trimmed all = TRIM_IDLE;
    if (!u32_load_relaxed(&slab->has_hot))
        return all;
    /* K5: before the look; who gets a first stripe later says so later. */
    u32_exchange_acq_rel(&slab->has_hot, 0);
    char *end = (char *)slab + u32_load_acquire(&slab->fresh_bytes); /* V2 */
    for (char *line = (char *)slab + SLAB_HEADER_BYTES; line < end; line += CACHE_LINE) {
        struct canopy_ctx *ctx = (struct canopy_ctx *)(void *)line;
        if (!is_hot(ctx))
            continue;
        u32_store_relaxed(&slab->has_hot, 1);
        if (ctx == slab->domain->root)
            all = later_of(all, parent_trim(ctx));
        else if (children_tag(ctx))
            hot[count++] = ctx;
    }
    if (count > 0)
        domain_fence(slab->domain); /* between K2 and K3 */
    while (count > 0)
        if (is_kept(hot[--count]))
            all = later_of(all, parent_trim(hot[count]));
    return all;
}

static enum trimmed statics_trim(const struct heap *heap)
{
    rcu_read_begin();
    enum trimmed all = stripes_trim((struct stripe *)word_load_acquire(&heap->statics)); /* K7 */
    rcu_read_end();
    return all;
}

static enum trimmed place_trim(const struct shelf_place *place)
{
    enum trimmed all = TRIM_IDLE;
    rcu_read_begin();
    struct slab *slab = shelf_item(place);
    if (slab && slab->class == CLASS_CTX && !slab_is_inherited(slab))
        all = slab_trim(slab);
    rcu_read_end();
    return all;
}

enum trimmed children_trim(struct domain *domain)
{
    enum trimmed all = TRIM_IDLE;
    if (!fence_is_asymmetric)
        return all;
    for (struct heap *heap = domain_heaps(domain); heap; heap = heap->next)
        all = later_of(all, statics_trim(heap));
    for (struct shelf *shelf = shelf_first(&domain->slabs); shelf; shelf = shelf_next(shelf)) {
        uint32_t opened = u32_load_seq_cst(&shelf->opened); /* P3 */
        for (struct shelf_place *place = shelf->places; place < shelf->places + opened; place++) {
            all = later_of(all, place_trim(place));
            if (u32_load_relaxed(&domain->is_removed))
                return all;
            rcu_catch_up();
        }
    }
    return all;
}
