/*
 * deadline.c - deadlines are armed beside the clock's reset of its bounds: D1 to
 * D4 of src/time/deadline.c, on two levels. Promise 18.
 *
 * Both bounds say that something is due early, which is no longer true, when two
 * contexts arm later deadlines and the clock comes to look. Afterwards each bound
 * is at or below every deadline that it covers, so somebody will look in time.
 *
 * Weakened: 1 D1 is a release, 2 D2 loads with acquire, 3 D3 acquire and release
 * only, 4 D4 an acquire, 5 the clock resets the bound after it has looked.
 */
#include "model.h"

#define NEVER    100u
#define STALE    5u
#define CONTEXTS 2

static _Atomic(unsigned) deadlines[CONTEXTS];
static _Atomic(unsigned) group_due;
static _Atomic(unsigned) slab_due;

/* D2. True when the bound was above. */
static bool lower(_Atomic(unsigned) *bound, unsigned due)
{
    unsigned seen = load(bound, ORDER(2, SEQ_CST, ACQUIRE));
    while (seen > due)
        if (cas(bound, &seen, due, SEQ_CST, SEQ_CST))
            return true;
    return false;
}

static void arm(unsigned i, unsigned due)
{
    store(&deadlines[i], due, ORDER(1, SEQ_CST, RELEASE)); /* D1 */
    if (lower(&group_due, due))
        lower(&slab_due, due);
}

static void *first(void *arg)
{
    arm(0, 20);
    return arg;
}

static void *second(void *arg)
{
    arm(1, 30);
    return arg;
}

static void reset(_Atomic(unsigned) *bound)
{
    if (WEAKENED == 3)
        store(bound, NEVER, RELEASE);
    else if (WEAKENED != 5)
        swap(bound, NEVER, SEQ_CST); /* D3 */
}

static unsigned look(unsigned i)
{
    return load(&deadlines[i], ORDER(4, SEQ_CST, ACQUIRE)); /* D4 */
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void *clock_look(void *arg)
{
    reset(&slab_due);
    unsigned due = load(&group_due, SEQ_CST); /* D4, one level up */
    if (due <= STALE) {
        reset(&group_due);
        due = least(look(0), look(1));
        if (WEAKENED == 5)
            swap(&group_due, NEVER, SEQ_CST);
        lower(&group_due, due);
    }
    if (WEAKENED == 5)
        swap(&slab_due, NEVER, SEQ_CST);
    lower(&slab_due, due);
    return arg;
}

int main(void)
{
    atomic_init(&group_due, STALE);
    atomic_init(&slab_due, STALE);
    for (unsigned i = 0; i < CONTEXTS; i++)
        atomic_init(&deadlines[i], NEVER);
    void *(*const threads[])(void *) = {first, second, clock_look};
    run_threads(threads, 3);
    unsigned due = least(load(&deadlines[0], RELAXED), load(&deadlines[1], RELAXED));
    assert(load(&group_due, RELAXED) <= due);
    assert(load(&slab_due, RELAXED) <= load(&group_due, RELAXED));
    return 0;
}
