/*
 * waiters_bit.c - a thread sleeps on the state word beside its canceller: the
 * WAITED bit of src/tree/cancel.c and src/host/wait.c. Promises 3, 4, 5, 33.
 *
 * Two waiters and two cancellers: nobody sleeps on, one cancel wins, and whoever
 * returns from a wait sees what the winner wrote before.
 *
 * Weakened: 1 the waiter stores WAITED instead of comparing and swapping, 2 the
 * canceller decides by a load and a store, 3 C1 is relaxed, 4 C2 is relaxed, 5 the
 * canceller wakes for what it saw first, not for what it replaced.
 */
#include "model.h"

#define LIVE   0u
#define WAITED 1u
#define DONE   2u /* and 3: by which canceller */

static _Atomic(unsigned) state;
static struct futex futex = {PTHREAD_MUTEX_INITIALIZER, 0};
static _Atomic(unsigned) wins;
static unsigned written_before[2];

static void *waiter(void *arg)
{
    for (;;) {
        unsigned seen = load(&state, ORDER(4, ACQUIRE, RELAXED)); /* C2 */
        if (seen >= DONE) {
            assert(written_before[seen - DONE] == 42);
            return arg;
        }
        if (seen == LIVE) {
            if (WEAKENED == 1)
                store(&state, WAITED, RELEASE);
            else if (!cas(&state, &seen, WAITED, ACQ_REL, ACQUIRE))
                continue;
        }
        if (futex_sleep(&futex, &state, WAITED))
            return arg; /* until woken; a wake sends it to the start, where it sees done */
    }
}

static void cancel(unsigned who)
{
    written_before[who] = 42;
    unsigned seen = load(&state, RELAXED), first = seen;
    while (seen < DONE) {
        if (WEAKENED == 2)
            store(&state, DONE + who, RELEASE);
        else if (!cas(&state, &seen, DONE + who, ORDER(3, SEQ_CST, RELAXED), RELAXED)) /* C1 */
            continue;
        add(&wins, 1, RELAXED);
        if ((WEAKENED == 5 ? first : seen) == WAITED)
            futex_wake(&futex);
        return;
    }
}

static void *first_canceller(void *arg)
{
    cancel(0);
    return arg;
}

static void *second_canceller(void *arg)
{
    cancel(1);
    return arg;
}

int main(void)
{
    void *(*const threads[])(void *) = {waiter, waiter, first_canceller, second_canceller};
    run_threads(threads, 4);
    assert(futex.sleepers == 0);
    assert(load(&wins, RELAXED) == 1);
    assert(load(&state, RELAXED) >= DONE);
    return 0;
}
