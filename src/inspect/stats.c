/*
 * stats.c - what heaps and domains have counted, summed up; see memory/counts.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/look.h"
#include "tree/ctx.h"

/* ---------------------------------------------------------------------- sums */

static void add_late(canopy_stats *stats, const struct counts *counts)
{
    int64_t most_ns = i64_load_relaxed(&counts->late_max_ns);
    stats->expired += u64_load_relaxed(&counts->expired);
    if (most_ns > stats->late_max_ns)
        stats->late_max_ns = most_ns;
    for (unsigned i = 0; i < LATE_BUCKETS; i++)
        stats->late[i] += u64_load_relaxed(&counts->late[i]);
}

static void add_gone(void *to, const struct counts *counts)
{
    ((canopy_stats *)to)->gone += u64_load_relaxed(&counts->gone);
}

static void add_stats(void *to, const struct counts *counts)
{
    canopy_stats *stats = to;
    stats->made += u64_load_relaxed(&counts->made);
    stats->born_done += u64_load_relaxed(&counts->born_done);
    stats->cancels += u64_load_relaxed(&counts->cancels);
    stats->ended += u64_load_relaxed(&counts->ended);
    stats->callbacks += u64_load_relaxed(&counts->callbacks);
    add_late(stats, counts);
}

/* Calls add(to, counts) for all that count in a domain with notes. */
static void sum(struct domain *domain, void (*add)(void *to, const struct counts *counts), void *to)
{
    pthread_mutex_lock(&library_lock);
    add(to, domain->counts);
    for (struct heap *heap = domain->heaps; heap; heap = heap->next)
        add(to, heap_counts(heap));
    for (struct heap *heap = domain->inherited_heaps; heap; heap = heap->next)
        add(to, heap_counts(heap));
    pthread_mutex_unlock(&library_lock);
}

int canopy_stats_read(const canopy_ctx *root, canopy_stats *stats)
{
    _Static_assert(LATE_BUCKETS == CANOPY_LATE_BUCKETS, "one is the other");
    if (!root || !stats || stats->size < sizeof *stats || stats->size > 4096)
        return -EINVAL;
    struct domain *domain = ctx_domain(root);
    size_t size = stats->size;
    memset(stats, 0, size);
    stats->size = size;
    stats->memory_bytes = u64_load_relaxed(&domain->bytes);
    if (!domain->counts) {
        stats->live = domain_contexts(domain) + (domain->root != NULL);
        return 0;
    }
    sum(domain, add_gone, stats); /* first, so that no more have gone than were made */
    sum(domain, add_stats, stats);
    stats->live = stats->made - stats->gone;
    return 0;
}

/* ---------------------------------------------------------------------- causes */

/* Those of all threads, each once; the first is for all others. */
struct causes {
    canopy_cause_count *counts;
    size_t used;
    size_t room;
    bool is_short;
};

static void add_cause(struct causes *causes, const struct cause_counts *of)
{
    const canopy_cause *cause = (const canopy_cause *)word_load_relaxed(&of->cause);
    size_t i = cause ? 1 : 0;
    while (cause && i < causes->used && causes->counts[i].cause != cause)
        i++;
    if (i == causes->room) {
        causes->is_short = true;
        return;
    }
    if (i == causes->used)
        causes->counts[causes->used++] = (canopy_cause_count){.cause = cause};
    causes->counts[i].cancels += u64_load_relaxed(&of->cancels);
    causes->counts[i].ended += u64_load_relaxed(&of->ended);
}

static void add_causes(void *to, const struct counts *counts)
{
    for (unsigned i = 0; i <= CAUSES_TOLD; i++)
        if (u64_load_relaxed(&counts->causes[i].ended))
            add_cause(to, &counts->causes[i]);
}

/* Sums up in as much room as it takes: 0, or -ENOMEM. */
static int gather(struct domain *domain, struct causes *causes)
{
    for (causes->room = 2 * CAUSES_TOLD;; causes->room *= 2) {
        causes->counts = calloc(causes->room, sizeof *causes->counts);
        if (!causes->counts)
            return -ENOMEM;
        causes->used = 1;
        causes->is_short = false;
        sum(domain, add_causes, causes);
        if (!causes->is_short)
            return 0;
        free(causes->counts);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const canopy_cause_count *)a)->ended;
    uint64_t right = ((const canopy_cause_count *)b)->ended;
    return (left < right) - (left > right);
}

int canopy_stats_causes(const canopy_ctx *root, canopy_cause_count counts[], size_t n)
{
    struct causes causes;
    if (!root || (!counts && n > 0))
        return -EINVAL;
    struct domain *domain = ctx_domain(root);
    if (!domain->counts)
        return 0;
    int err = gather(domain, &causes);
    if (err)
        return err;
    qsort(causes.counts, causes.used, sizeof *causes.counts, compare);
    if (causes.counts[causes.used - 1].ended == 0)
        causes.used--; /* there are no others */
    if (n > 0)
        memcpy(counts, causes.counts, (n < causes.used ? n : causes.used) * sizeof *counts);
    free(causes.counts);
    return (int)causes.used;
}
