/*
 * register_cancel.c - a child registers beside a cancel of its parent: S3, C4 and
 * C1, C3 of src/tree/children.c, and C1, C2 of src/tree/cancel.c. Promises 2, 3, 4, 7.
 *
 * Two threads derive and one cancels; whoever is faster, both children end done,
 * and who sees one done sees what the canceller wrote before.
 *
 * Weakened: 1 S3 is a release, 2 C4 an acquire, 3 C1 acquire and release only,
 * 4 C3 an acquire, 5 C1 relaxed for those that see done.
 */
#include "model.h"

#define CHILDREN 2

static _Atomic(unsigned) parent_state;
static _Atomic(unsigned) slots[CHILDREN];
static _Atomic(unsigned) child_states[CHILDREN];
static unsigned written_before;

static void set_done(_Atomic(unsigned) *state)
{
    unsigned live = 0;
    cas(state, &live, 1, ORDER(5, ORDER(3, SEQ_CST, ACQ_REL), RELAXED), ORDER(5, ACQUIRE, RELAXED));
}

static void derive(unsigned child)
{
    unsigned empty = 0;
    cas(&slots[child], &empty, child + 1, ORDER(1, SEQ_CST, RELEASE), ORDER(1, SEQ_CST, RELAXED));
    if (load(&parent_state, ORDER(2, SEQ_CST, ACQUIRE))) /* C4 */
        set_done(&child_states[child]);
    if (load(&child_states[child], ACQUIRE)) /* C2 */
        assert(written_before == 42);
}

static void *first(void *arg)
{
    derive(0);
    return arg;
}

static void *second(void *arg)
{
    derive(1);
    return arg;
}

static void *canceller(void *arg)
{
    written_before = 42;
    set_done(&parent_state); /* C1 */
    for (unsigned i = 0; i < CHILDREN; i++) {
        unsigned child = load(&slots[i], ORDER(4, SEQ_CST, ACQUIRE)); /* C3 */
        if (child)
            set_done(&child_states[child - 1]);
    }
    return arg;
}

int main(void)
{
    void *(*const threads[])(void *) = {first, second, canceller};
    run_threads(threads, 3);
    for (unsigned i = 0; i < CHILDREN; i++)
        assert(load(&child_states[i], RELAXED));
    return 0;
}
