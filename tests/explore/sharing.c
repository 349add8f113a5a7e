/*
 * sharing.c - which places the fibers share. Only an access to a place that
 * another fiber writes, or gives back, is worth a decision: to exchange any others
 * changes nothing. What is shared is learned from the executions themselves; when
 * one more place turns out to be, the search begins anew, so that in the end all
 * decisions were made at all shared places.
 */
#include "fiber.h"

#define OBJECT_BYTES_MOST 512

static struct place *place_at(const void *address)
{
    uintptr_t key = (uintptr_t)address & ~(uintptr_t)7;
    for (size_t i = (key >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 40;; i++) {
        struct place *place = &explorer->places[i % PLACES];
        if (place->address == key)
            return place;
        if (place->address == 0) {
            if (++explorer->place_count > PLACES / 4 * 3)
                explore_fail("more places than there is room for");
            place->address = key;
            return place;
        }
    }
}

static bool is_several(unsigned mask)
{
    return (mask & (mask - 1)) != 0;
}

static void place_learn(struct place *place)
{
    unsigned changing = place->writers | place->freers;
    bool shared = changing && is_several(changing | place->readers);
    bool plain_shared = place->freers && is_several(place->freers | place->plain);
    if ((shared && !place->is_shared) || (plain_shared && !place->is_plain_shared))
        explorer->found_sharing = true;
    place->is_shared |= shared;
    place->is_plain_shared |= plain_shared;
}

bool place_touch(unsigned access, const void *address)
{
    struct place *place = place_at(address);
    uint8_t self = (uint8_t)(1U << explorer->current);
    uint8_t *mask = access & ACCESS_PLAIN   ? &place->plain
                    : access & ACCESS_WRITE ? &place->writers
                                            : &place->readers;
    if (!(*mask & self)) {
        *mask |= self;
        place_learn(place);
    }
    return access & ACCESS_PLAIN ? place->is_plain_shared : place->is_shared;
}

static void place_learn_freed(struct place *place)
{
    uint8_t self = (uint8_t)(1U << explorer->current);
    if (!(place->freers & self)) {
        place->freers |= self;
        place_learn(place);
    }
}

/* Of more than an object, the places that were touched: what touches another later fails. */
void place_freed(const void *address, size_t bytes)
{
    if (!explorer->exploring)
        return;
    uintptr_t from = (uintptr_t)address;
    if (bytes <= OBJECT_BYTES_MOST) {
        for (size_t i = 0; i < bytes; i += 8)
            place_learn_freed(place_at((const char *)address + i));
        return;
    }
    for (size_t i = 0; i < PLACES; i++)
        if (explorer->places[i].address - from < bytes)
            place_learn_freed(&explorer->places[i]);
}
