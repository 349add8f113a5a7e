/*
 * shelf.h - where a domain keeps its slabs: places, many to a shelf, each with the
 * lower bound of the deadlines in its slab. The bounds stand side by side, and a
 * shelf has one of its own, so that the clock passes by what is not due without a
 * look at it. What the bounds mean is described in deadline.c.
 *
 * Places and shelves stay as long as their domain. A place whose slab has gone takes
 * the next one; a bound that was left there is too low for that, which costs a look.
 */
#ifndef CANOPY_SHELF_H
#define CANOPY_SHELF_H

#include "base.h"

struct domain;
struct slab;

#define SHELF_BYTES 1024

struct shelf_place {
    atomic_i64 due_ns;
    /* The slab, or PLACE_VACANT and the next such place; changed under library_lock. */
    atomic_word slab;
};
#define PLACE_VACANT ((uintptr_t)1)

#define SHELF_PLACES (SHELF_BYTES / sizeof(struct shelf_place) - 2)

struct shelf {
    atomic_i64 due_ns;
    atomic_word next;  /* of the domain; written once */
    atomic_u32 opened; /* so many places have, or had, a slab */
    struct shelf_place places[SHELF_PLACES] __attribute__((aligned(sizeof(struct shelf_place))));
};

_Static_assert(sizeof(struct shelf) <= SHELF_BYTES, "a shelf is found by its alignment");

static inline struct shelf *shelf_of(const struct shelf_place *place)
{
    return (struct shelf *)((uintptr_t)place & ~(uintptr_t)(SHELF_BYTES - 1));
}

/*
 * P3. That a shelf, a place, a slab are there is stored and loaded in seq_cst order, as
 * bounds are: who then finds a bound low, and leaves it so, can rely on it that whoever
 * resets that bound afterwards sees the slab. P1 is the same for domains and the clock's
 * thread, one level up.
 */

/* A domain's shelves, in read sections or under library_lock. */
struct shelf *shelf_first(const struct domain *domain);
static inline struct shelf *shelf_next(const struct shelf *shelf)
{
    return (struct shelf *)word_load_acquire(&shelf->next);
}

/* The slab in a place, or NULL. */
static inline struct slab *shelf_slab(const struct shelf_place *place)
{
    uintptr_t word = word_load_seq_cst(&place->slab); /* P3: pairs with shelf_put */
    return word & PLACE_VACANT ? NULL : (struct slab *)word;
}

/* Puts a slab in a place, and says so in slab->place: false if there is no memory. */
bool shelf_put(struct domain *domain, struct slab *slab);

/* Takes it from there. It stays in memory for a grace period. */
void shelf_take(struct slab *slab);

/* For the child of a fork, in which nothing inherited is due. */
void shelf_reset(struct domain *domain);

/* Gives a domain's slabs and shelves back. */
void shelf_free_all(struct domain *domain);

#endif
