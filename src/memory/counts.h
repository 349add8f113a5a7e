/*
 * counts.h - what is counted in a root that keeps notes: by each heap's thread for itself,
 * behind its heap, and by threads that have no heap there in the domain's own. Who reads
 * sums up.
 */
#ifndef CANOPY_COUNTS_H
#define CANOPY_COUNTS_H

#include "base/base.h"

#define LATE_BUCKETS 24

/* So many causes are told apart by each; the last place is for all others. */
#define CAUSES_TOLD 31

struct cause_counts {
    atomic_word cause;
    atomic_u64 cancels;
    atomic_u64 ended;
};

struct counts {
    atomic_u64 made;
    atomic_u64 gone;
    atomic_u64 born_done;
    atomic_u64 cancels;
    atomic_u64 ended;
    atomic_u64 callbacks;
    atomic_u64 expired;
    atomic_i64 late_max_ns;
    atomic_u64 late[LATE_BUCKETS];
    struct cause_counts causes[CAUSES_TOLD + 1];
} __attribute__((aligned(CACHE_LINE)));

/* One more, by whose it is alone, or (`is_shared`) beside others. */
static inline void count_one(atomic_u64 *count, bool is_shared)
{
    if (is_shared)
        u64_fetch_add_relaxed(count, 1);
    else
        u64_store_relaxed(count, u64_load_relaxed(count) + 1);
}

#endif
