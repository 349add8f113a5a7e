/*
 * retire.c - the hand-over to the reclaimer: W1 to W4 of src/memory/rcu.c.
 *
 * Two threads retire one object each beside a reclaimer that goes to sleep. When
 * all have come to rest the reclaimer is awake again, or nothing is left for it;
 * and whatever was counted when it took the list was in the list.
 *
 * Weakened: 1 W1 acquire and release only, 2 W3 a release, 3 W4 an acquire, 4 W2
 * an acquire, 5 the list is taken before the count is read.
 *
 * Not among them: that the count before the take is an acquire. The checker's model
 * knows no load that runs ahead of a later write, so it would not see it missing.
 */
#include "model.h"

#define RETIRERS 2

static _Atomic(unsigned) pending; /* as a set of bits: what order they have is handoff.c's matter */
static _Atomic(unsigned) retired;
static _Atomic(unsigned) reclaimed;
static struct futex futex = {PTHREAD_MUTEX_INITIALIZER, 0};

static void retire(unsigned object)
{
    unsigned before;
    atomic_fetch_or_explicit(&pending, object, RELEASE);
    before = add(&retired, 1, ORDER(1, SEQ_CST, ACQ_REL));      /* W1 */
    if (load(&reclaimed, ORDER(4, SEQ_CST, ACQUIRE)) == before) /* W2 */
        futex_wake(&futex);
}

static void *first(void *arg)
{
    retire(1);
    return arg;
}

static void *second(void *arg)
{
    retire(2);
    return arg;
}

/* Works until it falls asleep: a wake begins the same again, with nothing forgotten. */
static void *reclaimer(void *arg)
{
    unsigned given_back = 0;
    for (int pass = 0; pass <= RETIRERS; pass++) {
        unsigned done = load(&reclaimed, RELAXED);
        if (load(&retired, ORDER(3, SEQ_CST, ACQUIRE)) == done && /* W4 */
            futex_sleep(&futex, &retired, done))
            return arg;
        unsigned early = WEAKENED == 5 ? swap(&pending, 0, ACQ_REL) : 0;
        done = load(&retired, ACQUIRE);
        unsigned taken = WEAKENED == 5 ? early : swap(&pending, 0, ACQ_REL);
        given_back += (taken & 1) + (taken >> 1);
        assert(given_back >= done);
        if (WEAKENED == 2)
            store(&reclaimed, done, RELEASE);
        else
            swap(&reclaimed, done, SEQ_CST); /* W3 */
    }
    return arg;
}

int main(void)
{
    void *(*const threads[])(void *) = {first, second, reclaimer};
    run_threads(threads, 3);
    if (futex.sleepers)
        assert(load(&pending, RELAXED) == 0);
    return 0;
}
