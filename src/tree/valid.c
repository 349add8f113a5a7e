/*
 * valid.c - what holds of contexts, stripes and domains, as it is looked at in debug
 * builds and by the explorer. No part of a release build.
 */
#include "tree/valid.h"

#include "tree/ctx.h"
#include "tree/extension.h"

bool ctx_is_blank(const struct canopy_ctx *ctx)
{
    return word_load_relaxed(&ctx->slot0) == 0 && word_load_relaxed(&ctx->link) == SLOT_END &&
           word_load_relaxed(&ctx->aux) == 0 && i64_load_relaxed(&ctx->deadline) == CANOPY_NEVER;
}

bool ctx_is_valid(const struct canopy_ctx *ctx)
{
    enum kind kind = ctx_kind(ctx);
    if (kind == KIND_STATIC)
        return true;
    if (kind > KIND_STATIC || refs_handles(u64_load_relaxed(&ctx->refs)) == 0)
        return false;
    if (kind == KIND_ROOT)
        return !ctx_parent(ctx);
    return kind == KIND_MERGED ||
           (ctx_parent(ctx) && slot_ctx(word_load_relaxed(ctx_slot(ctx))) == ctx);
}

bool stripe_is_valid(const struct stripe *stripe)
{
    const struct block *block = stripe->first;
    bool has_hand = false;
    for (uint32_t i = 0; i < stripe->blocks; i++, block = block->next) {
        if (block->stripe != stripe || block_heap(block) != stripe->owner ||
            (i > 0 && block == stripe->first))
            return false;
        has_hand |= block == block_of(stripe->hand);
    }
    return block == stripe->first && has_hand;
}

/* --------------------------------------------------------------------- domains */

static uint64_t list_length(const struct handoff_node *node)
{
    uint64_t length = 0;
    for (; node; node = handoff_next(node))
        length++;
    return length;
}

static const struct handoff_node *handoff_first(const struct handoff *handoff)
{
    return (const struct handoff_node *)word_load_relaxed(
        (const atomic_word *)(const void *)&handoff->head);
}

/* What slabs say is in use. */
static void add_used(const struct domain *domain, uint64_t used[CLASS_COUNT])
{
    for (const struct shelf *shelf = shelf_first(&domain->slabs); shelf; shelf = shelf_next(shelf))
        for (unsigned i = 0; i < SHELF_PLACES; i++) {
            const struct slab *slab = shelf_item(&shelf->places[i]);
            if (slab)
                used[slab->class] += slab->used;
        }
}

/* What of it is free, at hand or never used, or was handed over. */
static void take_free(const struct heap *heap, uint64_t used[CLASS_COUNT])
{
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct pool *pool = &heap->pools[class];
        used[class] -= list_length(heap->loaded[class].top) + list_length(pool->spare.top) +
                       list_length(pool->pending) + list_length(handoff_first(&pool->remote));
        if (pool->fresh)
            used[class] -= slab_never_used(pool->fresh);
    }
}

/* Stripes of dead parents, which are on their way back to the pool. */
static void take_gone_stripes(const struct heap *heap, uint64_t used[CLASS_COUNT])
{
    used[CLASS_LINE] -= list_length(handoff_first(&heap->gone_stripes));
}

/* A parent's stripes, and the blocks that are set aside; those in the list are rows. */
static void take_stripes(uintptr_t link, uint64_t used[CLASS_COUNT])
{
    const struct stripe *stripe = link & SLOT_HOT ? link_block(link)->stripe : NULL;
    for (; stripe; stripe = stripe->next) {
        used[CLASS_LINE]--;
        for (const struct block *block = stripe_aside(stripe); block; block = block->next)
            used[CLASS_BLOCK]--;
    }
}

/* The root's own: its line, its stripes, its list, its extension. */
static void take_root(struct canopy_ctx *root, uint64_t used[CLASS_COUNT])
{
    uintptr_t link = word_load_relaxed(&root->link);
    used[CLASS_CTX]--;
    take_stripes(link, used);
    used[CLASS_LINE] -= (word_load_relaxed(&root->aux) & AUX_EXTENSION) != 0;
    for (const atomic_word *row = link_target(link); row; row = link_target(link)) {
        bool is_block = slot_is_in_block(row);
        used[is_block ? CLASS_BLOCK : CLASS_LINE]--;
        link =
            word_load_relaxed(is_block ? &block_of(row)->link : &row[CACHE_LINE / sizeof *row - 1]);
    }
}

bool domain_is_valid(const struct domain *domain)
{
    uint64_t used[CLASS_COUNT] = {0};
    if (domain->inherited_heaps) /* whatever it was in the middle of when the process forked */
        return true;
    add_used(domain, used);
    for (const struct heap *heap = domain->heaps; heap; heap = heap->next) {
        take_free(heap, used);
        take_gone_stripes(heap, used);
    }
    take_root(domain->root, used);
    return !used[CLASS_CTX] && !used[CLASS_LINE] && !used[CLASS_BLOCK];
}
