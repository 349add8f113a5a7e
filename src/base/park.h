/*
 * park.h - where threads that wait for several contexts, or for one to be idle, leave
 * word of it: a static table of buckets, each a lock and a list of records that lie on
 * the waiters' stacks.
 *
 * A record names what its thread waits for (its key, the context's address) and the word
 * on which it sleeps. Nothing is allocated, nothing is left in the context but
 * WAITED, and a cancel that did not see WAITED does not come here.
 *
 *   waiter     C6a: put the record into its bucket; C6b: set WAITED, or find it set, and
 *              load the state
 *   canceller  C1: the state, over WAITED; C6c: look into the bucket; under its lock
 *              store 1 into the words of those that wait for this context; then wake
 *   Either C6c finds the record or C6b finds the context done (cancel.c has the pair).
 *
 *   A word that is told and the thread that sleeps on it: who tells exchanges it for 1 and
 *   wakes if it was 0; who was asleep exchanges it for 0, and looks at what it waits for.
 *
 * Ordering pairs:
 *   PK1/PK1  both exchanges are acquires and releases: who takes the 1 out sees why it was
 *         put there, also where another had put one there before. Without it the waiter looks
 *         too early, and sleeps on.
 *
 * A record leaves under the lock, so who holds that can touch what it finds; of the word
 * only the address is used afterwards, for the wake. A word that has been woken by what
 * is not its own business is looked at and slept on again.
 *
 * The lock is held for some instructions, with no call in between that could block. Who
 * finds a bucket empty does not take it: a cancel of what nobody waits for, or that
 * single waits alone sleep on, stays lock-free.
 */
#ifndef CANOPY_PARK_H
#define CANOPY_PARK_H

#include "base/base.h"

struct parked {
    struct parked *next;
    struct parked *previous;
    uintptr_t key;
    atomic_u32 *word;
    uint32_t fork_generation;
};

/* The key of who waits for more contexts than it has records for. */
#define PARK_ANY ((uintptr_t)1)

/* In the caller's frame, until unpark. */
void park(struct parked *record, uintptr_t key, atomic_u32 *word);
void unpark(struct parked *record);

/* Wakes who is parked for `key`, or for any. */
void park_wake(uintptr_t key);

/* Sleeps until the word is 1, a signal, or `until_ns`; then it is 0. May be spurious. */
void park_sleep(atomic_u32 *word, int64_t until_ns);

/*
 * Has `flag` set in `*flags` as long as anybody is parked for it: set and cleared under the
 * lock, so the last one to leave is known. seq_cst, both.
 */
void park_flag(struct parked *record, atomic_u64 *flags, uint64_t flag);
void unpark_flag(struct parked *record, atomic_u64 *flags, uint64_t flag);

/*
 * Whoever was parked is in the parent process. A thread that forks while it is parked (in a
 * handler of a signal, or a callback that it runs) is in no bucket of its child's.
 */
void park_fork_child(void);

#endif
