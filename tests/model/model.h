/*
 * model.h - what the harnesses for the memory-model checker share.
 *
 * Each harness is a small program that GenMC runs in every order that the C11
 * memory model allows. It restates one protocol of src/ with the orders that the
 * protocol's comment asks for, and a few threads that meet in it. A harness also
 * carries weakened variants, numbered from 1 and chosen with -DWEAKENED=n, each
 * of which breaks one thing that the comment says is needed: the checker must
 * find an error in every one of them, or the comment asks for too much.
 */
#ifndef CANOPY_TESTS_MODEL_H
#define CANOPY_TESTS_MODEL_H

#include <assert.h>
#include <genmc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef WEAKENED
#define WEAKENED 0
#endif

/* The order as written, and the one of variant `n`. */
#define ORDER(n, written, weaker) (WEAKENED == (n) ? (weaker) : (written))

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst

#define load(atomic, order)         atomic_load_explicit(atomic, order)
#define store(atomic, value, order) atomic_store_explicit(atomic, value, order)
#define swap(atomic, value, order)  atomic_exchange_explicit(atomic, value, order)
#define add(atomic, value, order)   atomic_fetch_add_explicit(atomic, value, order)
#define cas(atomic, expected, value, order, order_failed)                                          \
    atomic_compare_exchange_strong_explicit(atomic, expected, value, order, order_failed)

/* Runs the functions as threads, all at once, until all have returned. */
#define MODEL_THREADS_MOST 4
static inline void run_threads(void *(*const functions[])(void *), int n)
{
    pthread_t threads[MODEL_THREADS_MOST];
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, functions[i], NULL);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/*
 * Read sections, and a grace period, which is over when there is a moment without
 * any: more than RCU asks for, so the harness must not rely on the difference.
 */
static _Atomic(unsigned) sections;

static inline void section_begin(void)
{
    add(&sections, 1, RELAXED);
    atomic_thread_fence(SEQ_CST);
}

static inline void section_end(void)
{
    add(&sections, -1u, RELEASE);
}

static inline void grace_period(void)
{
    atomic_thread_fence(SEQ_CST);
    __VERIFIER_assume(load(&sections, ACQUIRE) == 0);
}

/*
 * A futex as the kernel makes it: the look at the word and the falling asleep are
 * one step for those who wake. Who sleeps does not go on; the harness asks at the
 * end whether somebody still does.
 */
struct futex {
    pthread_mutex_t lock;
    int sleepers;
};

/* False: the word had changed, and the caller did not fall asleep. */
static inline bool futex_sleep(struct futex *futex, const _Atomic(unsigned) *word, unsigned seen)
{
    pthread_mutex_lock(&futex->lock);
    bool asleep = load(word, RELAXED) == seen;
    futex->sleepers += asleep;
    pthread_mutex_unlock(&futex->lock);
    return asleep;
}

static inline void futex_wake(struct futex *futex)
{
    pthread_mutex_lock(&futex->lock);
    futex->sleepers = 0;
    pthread_mutex_unlock(&futex->lock);
}

#endif
