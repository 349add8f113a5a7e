/*
 * shelf.h - where a domain keeps its slabs, and the library the domains that its clock
 * serves: places, many to a shelf, each with the lower bound of the deadlines in what
 * stands there. The bounds stand side by side, and a shelf has one of its own, so that
 * the clock passes by what is not due without a look at it. What the bounds mean is
 * described in deadline.c.
 *
 * Places and shelves stay as long as their domain, those of domains for ever. A place
 * that something has left takes the next; a bound that was left there may be too low for
 * that, which costs a look.
 *
 * Ordering pairs:
 *   P3/P3  that a shelf, a place, what stands there are there is stored and loaded in
 *         seq_cst order, as bounds are: who finds a bound low, and leaves it so, can rely on
 *         it that whoever resets that bound afterwards (D3) sees the slab, or the domain.
 *         Without it a slab is passed by in which something is due, and its bound is reset.
 *   P4/P4  the shelf behind a shelf: written before `first` names it. Without it who goes
 *         on from there reads what was in that memory before.
 */
#ifndef CANOPY_SHELF_H
#define CANOPY_SHELF_H

#include "base/base.h"

struct domain;

#define SHELF_BYTES 1024

struct shelf_place {
    atomic_i64 due_ns;
    /* A slab or a domain, or PLACE_VACANT and the next such place; changed under library_lock. */
    atomic_word item;
};
#define PLACE_VACANT ((uintptr_t)1)

#define SHELF_PLACES 58

struct shelf {
    atomic_i64 due_ns;
    atomic_word next;  /* of the same shelves; written once */
    atomic_u32 opened; /* so many places have, or had, something in them */
    uint32_t owed;     /* the clock's: places of slabs in which it owes a look; see expire.c */
    struct shelf_place places[SHELF_PLACES] __attribute__((aligned(sizeof(struct shelf_place))));
    unsigned char owed_sectors[SHELF_PLACES]; /* of each slab a bit for each sector */
};

_Static_assert(sizeof(struct shelf) == SHELF_BYTES, "a shelf is found by its alignment");

struct shelves {
    atomic_word first;          /* changed under library_lock, read in read sections */
    struct shelf_place *vacant; /* places that something has left; under library_lock */
};

static inline struct shelf *shelf_of(const struct shelf_place *place)
{
    return (struct shelf *)((uintptr_t)place & ~(uintptr_t)(SHELF_BYTES - 1));
}

/* All shelves, in read sections or under library_lock. */
static inline struct shelf *shelf_first(const struct shelves *shelves)
{
    return (struct shelf *)word_load_seq_cst(&shelves->first); /* P3 */
}

static inline struct shelf *shelf_next(const struct shelf *shelf)
{
    return (struct shelf *)word_load_acquire(&shelf->next); /* P4 */
}

/* What stands in a place, or NULL. */
static inline void *shelf_item(const struct shelf_place *place)
{
    uintptr_t word = word_load_seq_cst(&place->item); /* P3 */
    return word & PLACE_VACANT ? NULL : (void *)word;
}

/* A first shelf, for which nothing has to be allocated. */
void shelf_open(struct shelves *shelves, struct shelf *first);

/*
 * Puts `item` in a place, which `*at` names before anybody can find it there; `domain` has
 * the memory for one more shelf. False if there is none.
 */
bool shelf_put(struct shelves *shelves, struct domain *domain, void *item, struct shelf_place **at);

/* Empties a place. What stood there stays in memory for a grace period. */
void shelf_take(struct shelves *shelves, struct shelf_place *place);

/* For the child of a fork, in which nothing inherited is due. */
void shelf_reset(struct shelves *shelves);

/* Gives a domain's slabs and shelves back. */
void shelf_free_all(struct domain *domain);

#endif
