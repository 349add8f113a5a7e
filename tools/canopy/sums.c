/*
 * sums.c - counts of another process's heaps and domains; see sums.h and memory/counts.h.
 */
#include "sums.h"

#include <errno.h>
#include <stdlib.h>

/* Calls add(to, layout, counts) for all that count in a domain; false where that says so. */
typedef bool (*add_fn)(void *to, const struct layout *l, const unsigned char *counts);

static bool add_at(const struct image *image, uint64_t address, add_fn add, void *to)
{
    unsigned char *counts = malloc(LAYOUT_READ_BYTES);
    bool has_memory = counts != NULL;
    if (has_memory && remote_read(image->remote, address, counts, image->layout.counts_bytes))
        has_memory = add(to, &image->layout, counts);
    free(counts);
    return has_memory;
}

static bool add_heaps(const struct image *image, const struct domain_image *domain, uint64_t heap,
                      add_fn add, void *to)
{
    const struct layout *l = &image->layout;
    struct chain chain = {0};
    while (chain_goes_on(&chain, heap)) {
        uint64_t next, of;
        if (!remote_read(image->remote, heap + l->heap_domain, &of, sizeof of) ||
            of != domain->address ||
            !remote_read(image->remote, heap + l->heap_next, &next, sizeof next))
            break;
        if (!add_at(image, heap + l->heap_bytes, add, to))
            return false;
        heap = next;
    }
    return true;
}

static bool sum(const struct image *image, add_fn add, void *to)
{
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < image->domain_count; i++) {
        const struct domain_image *domain = &image->domains[i];
        if (domain->counts)
            has_memory = add_at(image, domain->counts, add, to) &&
                         add_heaps(image, domain, domain->heaps, add, to) &&
                         add_heaps(image, domain, domain->inherited_heaps, add, to);
    }
    return has_memory;
}

/* ------------------------------------------------------------------------ stats */

static bool add_stats(void *to, const struct layout *l, const unsigned char *counts)
{
    canopy_stats *stats = to;
    int64_t late_max_ns = (int64_t)word_at(counts, l->counts_late_max_ns);
    stats->gone += word_at(counts, l->counts_gone);
    stats->made += word_at(counts, l->counts_made);
    stats->born_done += word_at(counts, l->counts_born_done);
    stats->cancels += word_at(counts, l->counts_cancels);
    stats->ended += word_at(counts, l->counts_ended);
    stats->callbacks += word_at(counts, l->counts_callbacks);
    stats->expired += word_at(counts, l->counts_expired);
    if (late_max_ns > stats->late_max_ns)
        stats->late_max_ns = late_max_ns;
    for (size_t i = 0; i < l->late_buckets && i < CANOPY_LATE_BUCKETS; i++)
        stats->late[i] += word_at(counts, l->counts_late + 8 * i);
    return true;
}

void sums_stats(const struct image *image, canopy_stats *stats)
{
    *stats = (canopy_stats){.size = sizeof *stats};
    for (size_t i = 0; i < image->domain_count; i++)
        stats->memory_bytes += image->domains[i].allocated_bytes;
    sum(image, add_stats, stats);
    /* Read one after the other beside threads that make and end them. */
    stats->live = stats->made > stats->gone ? stats->made - stats->gone : 0;
}

/* ----------------------------------------------------------------------- causes */

struct causes {
    struct cause_sum *list;
    size_t count, room;
};

static struct cause_sum *cause_of(struct causes *causes, uint64_t address)
{
    for (size_t i = 0; i < causes->count; i++)
        if (causes->list[i].address == address)
            return &causes->list[i];
    if (causes->count == causes->room) {
        size_t room = causes->room ? 2 * causes->room : 64;
        struct cause_sum *list = realloc(causes->list, room * sizeof *list);
        if (!list)
            return NULL;
        causes->list = list;
        causes->room = room;
    }
    struct cause_sum *cause = &causes->list[causes->count++];
    *cause = (struct cause_sum){.address = address};
    return cause;
}

static bool add_causes(void *to, const struct layout *l, const unsigned char *counts)
{
    for (uint64_t i = 0; i <= l->causes_told; i++) {
        const unsigned char *place = counts + l->counts_causes + i * l->cause_counts_bytes;
        uint64_t ended = word_at(place, l->cause_counts_ended);
        if (ended == 0)
            continue;
        struct cause_sum *cause = cause_of(to, word_at(place, l->cause_counts_cause));
        if (!cause)
            return false;
        cause->ended += ended;
        cause->cancels += word_at(place, l->cause_counts_cancels);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const struct cause_sum *)a)->ended;
    uint64_t right = ((const struct cause_sum *)b)->ended;
    return (left < right) - (left > right);
}

int sums_causes(const struct image *image, struct cause_sum **list, size_t *count)
{
    struct causes causes = {NULL, 0, 0};
    if (!sum(image, add_causes, &causes)) {
        free(causes.list);
        return remote_fails(image->remote, -ENOMEM, "no memory");
    }
    if (causes.count > 0)
        qsort(causes.list, causes.count, sizeof *causes.list, compare);
    *list = causes.list;
    *count = causes.count;
    return 0;
}
