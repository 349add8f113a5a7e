/*
 * notes.h - notes of contexts, beside the slabs of a root that keeps them: a line for each
 * line of a slab, and a number for each such slab, so that an id can name a line.
 *
 *     slab   ░░░░ header ░░░░│ context │ context │ ...
 *     notes                  │  note   │  note   │ ...         from the domain's allocator
 *
 *     id     37 bits: lives that the line has had │ 18 bits: number of the slab │ 9 bits: line
 *
 * A number is used again once its slab has gone. It keeps the most lives that any line of
 * that slab had had, from which the lines of the next one go on counting: so an id comes back
 * no sooner than its 37 bits do, whatever memory does in between.
 *
 * Ordering pairs:
 *   NS1/NS2  a slab is named under its number by a release, when it and its notes are
 *         complete, and a page of numbers likewise. Without it who looks for an id reads what
 *         was in that memory before.
 *
 * The name goes before the slab is retired, and those of a whole domain before the grace
 * period that its end waits for: so who found a slab in a read section may look at its
 * notes until that ends.
 */
#ifndef CANOPY_NOTES_H
#define CANOPY_NOTES_H

#include "base/base.h"

struct domain;
struct slab;

/* What is written by whom, and when: tree/note.h. */
struct ctx_note {
    atomic_u64 life;    /* odd while it is of a context that lives */
    atomic_word parent; /* and, as in a context, its kind; of a merged one the first input */
    atomic_i64 made_ns;
    atomic_word made_at;
    atomic_word name;
    atomic_i64 ended_ns;
    atomic_word ended_at; /* of a merged one that an input ended that input */
    atomic_u32 made_tid;
    atomic_u32 ended_tid; /* 0: live, or not by an end of its own */
};

_Static_assert(sizeof(struct ctx_note) == CACHE_LINE, "a note is a line");

#define ID_LINE_BITS   9
#define ID_NUMBER_BITS 18
#define ID_LIFE_SHIFT  (ID_LINE_BITS + ID_NUMBER_BITS)
#define NOTED_SLABS    (UINT32_C(1) << ID_NUMBER_BITS)

/* A number, and notes of no life, for a slab that is complete otherwise. False: no memory. */
bool notes_open(struct slab *slab);

/* From here on the slab is found by its number; and from there on no more. */
void notes_publish(struct slab *slab);
void notes_close(struct slab *slab);

/* The same for all slabs of a domain to which no new one comes. */
void notes_close_all(struct domain *domain);

/* A grace period later, or before anybody could find it. */
void notes_free(struct slab *slab);

/* In the child, which forgets what is retired: numbers that name nothing are free. */
void notes_fork_child(void);

/* The slab of that number, in a read section; NULL: there is none. */
struct slab *notes_slab(uint32_t number);

/* All numbers that there are lie below. */
uint32_t notes_numbers(void);

#endif
