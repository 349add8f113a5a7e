/*
 * stats.c - what heaps and domains have counted, summed up; see memory/counts.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/look.h"
#include "inspect/stats.h"
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

/* Calls add(to, counts) for all that count in a domain. False: it keeps no notes. */
static bool sum(struct domain *domain, void (*add)(void *to, const struct counts *counts), void *to)
{
    pthread_mutex_lock(&library_lock);
    struct counts *own = domain->counts;
    if (own)
        add(to, own);
    for (struct heap *heap = own ? domain->heaps : NULL; heap; heap = heap->next)
        add(to, heap_counts(heap));
    for (struct heap *heap = own ? domain->inherited_heaps : NULL; heap; heap = heap->next)
        add(to, heap_counts(heap));
    pthread_mutex_unlock(&library_lock);
    return own != NULL;
}

static void stats_add(canopy_stats *stats, struct domain *domain)
{
    uint64_t made = stats->made, gone = stats->gone;
    stats->memory_bytes += u64_load_relaxed(&domain->bytes);
    if (!sum(domain, add_gone, stats)) { /* first, so that no more have gone than were made */
        stats->live += domain_contexts(domain) + (domain != &default_domain);
        return;
    }
    sum(domain, add_stats, stats);
    /* Two counts of one thread may be seen in another order than they were written in. */
    if (stats->gone - gone > stats->made - made)
        stats->gone = gone + (stats->made - made);
    stats->live += (stats->made - made) - (stats->gone - gone);
}

void stats_of_all(canopy_stats *stats)
{
    *stats = (canopy_stats){.size = sizeof *stats};
    for (struct domain *domain = &default_domain; domain; domain = domain_hold_next(domain))
        stats_add(stats, domain);
}

int canopy_stats_read(const canopy_ctx *root, canopy_stats *stats)
{
    _Static_assert(LATE_BUCKETS == CANOPY_LATE_BUCKETS, "one is the other");
    if (!root || !stats || stats->size < sizeof *stats || stats->size > 4096)
        return -EINVAL;
    size_t size = stats->size;
    memset(stats, 0, size);
    stats->size = size;
    stats_add(stats, ctx_domain(root));
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

/* Of one domain, or (NULL) of all. */
static void add_domains(struct causes *causes, struct domain *domain)
{
    if (domain)
        sum(domain, add_causes, causes);
    else
        for (domain = &default_domain; domain; domain = domain_hold_next(domain))
            sum(domain, add_causes, causes);
}

/* Sums up in as much room as it takes: 0, or -ENOMEM. */
static int gather(struct domain *domain, struct causes *causes)
{
    for (causes->room = (size_t)2 * CAUSES_TOLD;; causes->room *= 2) {
        causes->counts = calloc(causes->room, sizeof *causes->counts);
        if (!causes->counts)
            return -ENOMEM;
        causes->used = 1;
        causes->is_short = false;
        add_domains(causes, domain);
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

/* Most first, as many as there is room for: how many there are, or -ENOMEM. */
static int tell_causes(struct domain *domain, canopy_cause_count counts[], size_t n)
{
    struct causes causes;
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

int causes_of_all(canopy_cause_count counts[], size_t n)
{
    return tell_causes(NULL, counts, n);
}

int canopy_stats_causes(const canopy_ctx *root, canopy_cause_count counts[], size_t n)
{
    if (!root || (!counts && n > 0))
        return -EINVAL;
    return tell_causes(ctx_domain(root), counts, n);
}
