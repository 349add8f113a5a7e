/*
 * scavenge.c - memory that nobody else would give back.
 *
 * A heap's thread takes what others freed back to its slabs as it takes more, and lets
 * empty slabs go as it frees. One that rests, or has ended, does neither; so the
 * reclaimer's thread does it instead, some time after it was asked (rcu_ask), by whoever
 * freed much for others, left slabs empty, or ended. What it finds it works through in
 * portions, so that nobody does without his slabs for more than some microseconds, and
 * roots are freed, grace periods end, in between. A process in which nothing is freed is
 * not looked at, and its threads sleep.
 *
 * Slabs without a use go through a grace period to their allocator; ours keeps their
 * pages for a while longer (region.c).
 */
#include "memory/scavenge.h"

#include "memory/pool.h"
#include "memory/region.h"

/* True: to be looked at again. */
static bool tidy_heap(struct heap *heap)
{
    bool again = false;
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        while (pool_tidy(heap, (enum object_class)i, &again) &&
               !u32_load_relaxed(&heap->domain->is_removed))
            rcu_catch_up();
    rcu_catch_up();
    return again;
}

static bool tidy_domain(struct domain *domain)
{
    bool again = false;
    for (struct heap *heap; (heap = orphan_borrow(domain)); orphan_return(heap))
        for (unsigned i = 0; i < CLASS_COUNT; i++)
            pool_empty(heap, (enum object_class)i);
    for (struct heap *heap = domain_heaps(domain); heap; heap = heap->next)
        again |= tidy_heap(heap);
    return again;
}

/*
 * Blocks first: their memory is to be tidied as well. Stripes that are in full use are
 * looked at a few times more, since nobody says when records leave them.
 */
static bool trim_domain(struct domain *domain, bool *later)
{
    enum trimmed trimmed = children_trim(domain);
    *later |= trimmed == TRIM_LATER;
    return trimmed == TRIM_DONE;
}

#define LOOKS_AT_FULL_STRIPES 8

bool scavenge(void)
{
    static unsigned looks;
    bool again = false, later = false;
    struct domain *domain = &default_domain;
    for (; domain; domain = domain_hold_next(domain)) {
        again |= trim_domain(domain, &later);
        again |= tidy_domain(domain);
    }
    again |= region_trim();
    looks = again || !later ? 0 : looks + 1;
    if (looks == LOOKS_AT_FULL_STRIPES)
        looks = 0;
    return again || looks > 0;
}
