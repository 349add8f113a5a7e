/*
 * valid.c - what holds of a domain's heaps, as it is looked at in debug builds and by the
 * explorer. No part of a release build.
 */
#include "memory/pool.h"

bool heaps_are_valid(const struct domain *domain)
{
    uint64_t owned = 0, owners = 0, others = 0;
    for (const struct heap *heap = domain->heaps; heap; heap = heap->next) {
        owned += heap->owner != 0;
        others += heap->owner == 0;
        owners ^= heap->owner;
    }
    for (const struct heap *heap = domain->orphans; heap; heap = heap->next_orphan)
        others--;
    for (const struct heap *heap = domain->tidied; heap; heap = heap->next_orphan)
        others--;
    return owned == domain->owned_heaps && owners == domain->owners && others <= 1;
}
