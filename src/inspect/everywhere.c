/*
 * everywhere.c - counts of background and of each root there is, summed up.
 */
#include "inspect/everywhere.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/look.h"

static const canopy_ctx *domain_ctx(const struct domain *domain)
{
    return domain == &default_domain ? canopy_background() : domain->root;
}

static void add_stats(canopy_stats *all, const canopy_stats *one)
{
    all->live += one->live;
    all->memory_bytes += one->memory_bytes;
    all->expired += one->expired;
    all->late_max_ns = one->late_max_ns > all->late_max_ns ? one->late_max_ns : all->late_max_ns;
    for (size_t i = 0; i < CANOPY_LATE_BUCKETS; i++)
        all->late[i] += one->late[i];
    all->made += one->made;
    all->gone += one->gone;
    all->born_done += one->born_done;
    all->cancels += one->cancels;
    all->ended += one->ended;
    all->callbacks += one->callbacks;
}

void stats_everywhere(canopy_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->size = sizeof *stats;
    for (struct domain *d = &default_domain; d; d = domain_hold_next(d)) {
        canopy_stats one = {.size = sizeof one};
        if (domain_ctx(d) && canopy_stats_read(domain_ctx(d), &one) == 0)
            add_stats(stats, &one);
    }
}

/* ----------------------------------------------------------------------- causes */

struct causes {
    canopy_cause_count *counts;
    size_t used;
    size_t room;
};

static bool causes_grow(struct causes *causes, size_t room)
{
    if (room <= causes->room)
        return true;
    canopy_cause_count *counts = realloc(causes->counts, room * sizeof *counts);
    if (!counts)
        return false;
    causes->counts = counts;
    causes->room = room;
    return true;
}

static void add_cause(struct causes *causes, const canopy_cause_count *one)
{
    size_t i = 0;
    while (i < causes->used && causes->counts[i].cause != one->cause)
        i++;
    if (i == causes->used)
        causes->counts[causes->used++] = (canopy_cause_count){.cause = one->cause};
    causes->counts[i].cancels += one->cancels;
    causes->counts[i].ended += one->ended;
}

/* Those of one root behind the others, where they stay if they are new. */
static bool add_causes(struct causes *all, const canopy_ctx *ctx)
{
    int count = canopy_stats_causes(ctx, NULL, 0);
    if (count <= 0)
        return count == 0;
    canopy_cause_count *ones = calloc((size_t)count, sizeof *ones);
    int told = ones ? canopy_stats_causes(ctx, ones, (size_t)count) : -ENOMEM;
    told = told > count ? count : told; /* there may be more by now */
    bool has_memory = told >= 0 && causes_grow(all, all->used + (size_t)told);
    for (int i = 0; has_memory && i < told; i++)
        add_cause(all, &ones[i]);
    free(ones);
    return has_memory;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const canopy_cause_count *)a)->ended;
    uint64_t right = ((const canopy_cause_count *)b)->ended;
    return (left < right) - (left > right);
}

int causes_everywhere(canopy_cause_count **counts)
{
    struct causes all = {NULL, 0, 0};
    bool has_memory = true;
    for (struct domain *d = &default_domain; d; d = domain_hold_next(d))
        if (has_memory && domain_ctx(d))
            has_memory = add_causes(&all, domain_ctx(d));
    if (!has_memory) {
        free(all.counts);
        return -ENOMEM;
    }
    if (all.used > 0)
        qsort(all.counts, all.used, sizeof *all.counts, compare);
    *counts = all.counts;
    return (int)all.used;
}
