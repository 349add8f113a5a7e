/*
 * due.h - what a clock found due, in the order of deadlines.
 *
 * Lists of what is to be ordered are singly linked, in place: lines that a turn is about
 * to end (expire.c), records that it has claimed (record.h).
 */
#ifndef CANOPY_DUE_H
#define CANOPY_DUE_H

#include <stddef.h>

#include "base/atomic.h"

/* Part of each element. Both relaxed: one thread's alone, in fields that have other uses. */
struct due {
    atomic_word next; /* the next element, not the `due` in it */
    atomic_i64 due_ns;
};

/*
 * Sorts a list of elements by their deadlines, which are `offset` bytes into each: what
 * has the same deadline stays in its order. In place, O(n log r) for a list of r runs
 * that are in order already: O(n) for one or two. Not for an empty one.
 */
void *due_sort(void *list, size_t offset);

#endif
