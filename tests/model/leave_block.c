/*
 * leave_block.c - a context leaves its slot in a block beside a walker, which does not
 * tag the slots of a block but marks the block: O3, O4 and L5 of src/tree/children.c, where
 * the slot is left by compare-and-swap. Promise 12.
 *
 * The walker marks the block and reads what it finds in the slot, inside a read section.
 * The child's owner empties the slot and looks at the mark: without one the child's
 * memory is free at once, which is a plain write to it, else after a grace period. What
 * the walker reads must not race with that.
 *
 * Weakened: 1 the slot is emptied by acquire and release only, 2 L5 is an acquire, 3 the
 * mark is set by acquire and release only, 4 O4 is an acquire, 5 the owner looks at the
 * mark before it empties the slot, 6 the mark does not matter.
 */
#include "model.h"

#define OWNED    0u
#define LOOKED   2u
#define OCCUPIED 4u

static _Atomic(unsigned) owner; /* the mode in it */
static _Atomic(unsigned) slot;
static int child; /* plain: written by who frees it */

static bool is_looked(void)
{
    return load(&owner, ORDER(2, SEQ_CST, ACQUIRE)) & LOOKED; /* L5 */
}

static void *leaves(void *arg)
{
    unsigned seen = OCCUPIED;
    bool looked = WEAKENED == 5 && is_looked();
    while (!cas(&slot, &seen, 0, ORDER(1, SEQ_CST, ACQ_REL), ACQUIRE))
        ;
    if (WEAKENED != 5)
        looked = is_looked();
    if (looked && WEAKENED != 6)
        grace_period();
    child = 0;
    return arg;
}

static void *walks(void *arg)
{
    unsigned mode = OWNED;
    section_begin();
    cas(&owner, &mode, LOOKED, ORDER(3, SEQ_CST, ACQ_REL), ACQUIRE); /* O3 */
    if (load(&slot, ORDER(4, SEQ_CST, ACQUIRE)) == OCCUPIED)         /* O4 */
        assert(child == 1);
    section_end();
    return arg;
}

int main(void)
{
    child = 1;
    atomic_init(&owner, OWNED);
    atomic_init(&slot, OCCUPIED);
    void *(*const threads[])(void *) = {leaves, walks};
    run_threads(threads, 2);
    return 0;
}
