/*
 * beside.h - two threads whose steps come in a certain order in time and in no
 * other: what the tests of ThreadSanitizer share.
 */
#ifndef CANOPY_TESTS_BESIDE_H
#define CANOPY_TESTS_BESIDE_H

#include "../unit/harness.h"

#include <sched.h>

/*
 * ThreadSanitizer remembers the last four accesses to each eight bytes, whatever they
 * are: what is looked at again and again is not to lie in the same ones as the datum.
 */
#define WORD 8

/* Relaxed, so that ThreadSanitizer takes the order of steps for a coincidence. */
static _Alignas(WORD) atomic_uint step_reached;

static inline void reach(unsigned step)
{
    atomic_store_explicit(&step_reached, step, memory_order_relaxed);
}

static inline void await(unsigned step)
{
    while (atomic_load_explicit(&step_reached, memory_order_relaxed) < step)
        sched_yield();
}

/* What the accesses are to: plain. */
static _Alignas(WORD) int datum;

/* A read that stays, whatever the compiler knows of datum. */
static inline void read_datum(void)
{
    assert_in_range(datum, 0, 1);
}

static inline void reads_in_callback(void *arg)
{
    (void)arg;
    read_datum();
}

struct party {
    void (*body)(void *arg);
    void *arg;
};

static _Alignas(WORD) atomic_uint parties_done;

/* A thread that ends hands things over to others, in an order that they then see. */
static inline void stay_together(void *arg)
{
    struct party *party = arg;
    party->body(party->arg);
    atomic_fetch_add_explicit(&parties_done, 1, memory_order_relaxed);
    while (atomic_load_explicit(&parties_done, memory_order_relaxed) < 2)
        sched_yield();
}

static inline void beside(void (*first)(void *arg), void *first_arg, void (*second)(void *arg),
                          void *second_arg)
{
    struct party parties[] = {{first, first_arg}, {second, second_arg}};
    struct thread threads[2];
    datum = 0;
    reach(0);
    atomic_store_explicit(&parties_done, 0, memory_order_relaxed);
    for (size_t i = 0; i < 2; i++)
        thread_start(&threads[i], stay_together, &parties[i]);
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
}

static inline void writes(void *arg)
{
    (void)arg;
    datum = 1;
    reach(1);
}

#endif
