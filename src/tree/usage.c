/*
 * usage.c - what a root takes: contexts and bytes, counted where it costs the everyday
 * calls nothing.
 *
 * Memory is counted as it comes from the allocator and goes back: slabs, heaps, shelves,
 * tables.
 * Contexts are counted as they go from slabs into magazines and back (pool.c), half a
 * magazine at a time, by each heap for itself. So what is out of the slabs is alive, or
 * retired, or lies in a magazine: how much that is, only the magazine's thread may ask,
 * or whoever has the lock where no thread has the heap.
 * With a limit each context is counted at its birth and end anyway.
 */
#include <errno.h>
#include <string.h>

#include "tree/ctx.h"

static uint64_t at_hand(const struct heap *heap)
{
    return heap->loaded[CLASS_CTX].count + heap->pools[CLASS_CTX].spare.count;
}

static uint64_t orphans_at_hand(const struct heap *orphan)
{
    uint64_t n = 0;
    for (; orphan; orphan = orphan->next_orphan)
        n += at_hand(orphan);
    return n;
}

size_t domain_contexts(struct domain *domain)
{
    if (domain->max_live)
        return u64_load_relaxed(&domain->live);
    struct heap *own = heap_peek(domain);
    uint64_t out = 0;
    pthread_mutex_lock(&library_lock);
    for (const struct heap *heap = domain->heaps; heap; heap = heap->next)
        out += u64_load_relaxed(&heap->taken);
    out -= orphans_at_hand(domain->orphans) + orphans_at_hand(domain->tidied);
    if (domain->root && !slab_is_inherited(slab_of(domain->root)))
        out--; /* the root itself */
    pthread_mutex_unlock(&library_lock);
    out -= u64_load_relaxed(&domain->given_back);
    if (own)
        out -= at_hand(own);
    /* Read one after the other, beside threads that hand contexts on, they may not add up. */
    return (int64_t)out > 0 ? out : 0;
}

int canopy_root_usage(const canopy_ctx *root, canopy_usage *usage)
{
    if (!root || ctx_kind(root) != KIND_ROOT || !usage || usage->size < sizeof *usage ||
        usage->size > 4096)
        return -EINVAL;
    struct domain *domain = ctx_domain(root);
    size_t size = usage->size;
    memset(usage, 0, size);
    *usage = (canopy_usage){.size = size,
                            .contexts = domain_contexts(domain),
                            .bytes = u64_load_relaxed(&domain->bytes)};
    return 0;
}
