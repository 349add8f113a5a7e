/*
 * atomic_explore.h - what the library is compiled with in place of its own
 * atomics: each operation asks the explorer first, which may let another fiber
 * run before it. One fiber runs at a time, so the operation itself is plain.
 *
 * It is also the first of our headers that every source of the library sees, so
 * it hands the library's other ways to meet another thread to the explorer:
 * the futex, locks, sleeps, threads, thread-locals, signals, fds, the allocator.
 */
#ifndef CANOPY_ATOMIC_EXPLORE_H
#define CANOPY_ATOMIC_EXPLORE_H

/* All that the library includes, before the names in it change their meaning. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "explore.h"

/* In the sources whose accesses may meet freed lines by design; see CMakeLists.txt. */
#ifndef EXPLORE_LENIENT
#define EXPLORE_LENIENT 0
#endif

/* What must hold (base/invariant.h) is looked at as the calling fiber sees it, between steps. */
#define invariant(holds)                                                                           \
    (explore_look_begin(), explore_look_end(holds) ? (void)0                                       \
                                                   : explore_fail("%s:%d: does not hold: %s",      \
                                                                  __FILE__, __LINE__, #holds))

/* Inlined, so that a step is reported by the line that asked for it. */
#define EXPLORE_INLINE static inline __attribute__((always_inline))

#define EXPLORE_LOAD(name, type, order, lenient)                                                   \
    EXPLORE_INLINE type name##_load_##order(const atomic_##name *a)                                \
    {                                                                                              \
        return (type)explore_load(lenient, &a->value, sizeof(type));                               \
    }
#define EXPLORE_STORE(name, type, order, kind)                                                     \
    EXPLORE_INLINE void name##_store_##order(atomic_##name *a, type value)                         \
    {                                                                                              \
        explore_store(EXPLORE_LENIENT, &a->value, sizeof(type), (uint64_t)value, kind);            \
    }
#define EXPLORE_UPDATE(name, type, operation, update)                                              \
    EXPLORE_INLINE type name##_##operation(atomic_##name *a, type value)                           \
    {                                                                                              \
        return (type)explore_update(EXPLORE_LENIENT, &a->value, sizeof(type), update,              \
                                    (uint64_t)value);                                              \
    }
#define EXPLORE_CAS(name, type, order)                                                             \
    EXPLORE_INLINE bool name##_cas_##order(atomic_##name *a, type *expected, type value)           \
    {                                                                                              \
        return explore_cas(EXPLORE_LENIENT, &a->value, sizeof(type), expected, (uint64_t)value);   \
    }

#define EXPLORE_ATOMIC(name, type)                                                                 \
    typedef struct {                                                                               \
        type value;                                                                                \
    } atomic_##name;                                                                               \
    EXPLORE_LOAD(name, type, relaxed, EXPLORE_LENIENT)                                             \
    EXPLORE_LOAD(name, type, acquire, EXPLORE_LENIENT)                                             \
    EXPLORE_LOAD(name, type, seq_cst, EXPLORE_LENIENT)                                             \
    EXPLORE_LOAD(name, type, stale, ACCESS_LENIENT)                                                \
    EXPLORE_STORE(name, type, relaxed, STORE_BUFFERED)                                             \
    EXPLORE_STORE(name, type, release, STORE_BUFFERED)                                             \
    EXPLORE_STORE(name, type, seq_cst, STORE_FENCED)                                               \
    EXPLORE_UPDATE(name, type, exchange_acq_rel, UPDATE_EXCHANGE)                                  \
    EXPLORE_UPDATE(name, type, exchange_seq_cst, UPDATE_EXCHANGE)                                  \
    EXPLORE_UPDATE(name, type, fetch_add_relaxed, UPDATE_ADD)                                      \
    EXPLORE_UPDATE(name, type, fetch_add_acq_rel, UPDATE_ADD)                                      \
    EXPLORE_UPDATE(name, type, fetch_add_seq_cst, UPDATE_ADD)                                      \
    EXPLORE_CAS(name, type, acq_rel)                                                               \
    EXPLORE_CAS(name, type, seq_cst)

EXPLORE_ATOMIC(u32, uint32_t)
EXPLORE_ATOMIC(u64, uint64_t)
EXPLORE_ATOMIC(i64, int64_t)
EXPLORE_ATOMIC(word, uintptr_t)

EXPLORE_INLINE void fence_seq_cst(void)
{
    explore_fence();
}

/* The compiler keeps the order of accesses anyway, and the explorer that of its fibers. */
EXPLORE_INLINE void fence_light(void)
{
}

/* Store buffers keep the order of loads, and that of stores. */
EXPLORE_INLINE void fence_acquire(void)
{
}
EXPLORE_INLINE void fence_release(void)
{
}

/* Thread-locals live in one section, which is exchanged when fibers are. */
#define __thread __attribute__((section("explore_tls")))
#define tls_model(model) unused
/* The definition in base.h becomes one that nobody calls; every call becomes ours. */
#define thread_self(args)    explore_self_##args(args)
#define explore_self_(empty) explore_thread_self()

#define syscall(...)                      explore_syscall(__VA_ARGS__)
#define nanosleep(duration, rest)         explore_nanosleep(duration, rest)
#define clock_gettime(clock, now)         explore_clock_gettime(clock, now)
#define gettid()                          explore_gettid()
#define pthread_mutex_lock(mutex)         explore_mutex_lock(mutex)
#define pthread_mutex_unlock(mutex)       explore_mutex_unlock(mutex)
#define pthread_create(t, attr, run, arg) explore_thread_create(t, attr, run, arg)
#define pthread_self()                    explore_pthread_self()
#define pthread_detach(thread)            ((void)(thread))
#define pthread_join(thread, result)      explore_thread_join(thread, true)
#define pthread_tryjoin_np(thread, res)   explore_thread_join(thread, false)
#define pthread_setname_np(thread, name)  ((void)(thread), (void)(name))
#define pthread_setaffinity_np(t, n, set) ((void)(t))
#define pthread_atfork(a, b, c)           ((void)(a), (void)(b), (void)(c), 0)
#define pthread_key_create(key, end)      explore_key_create(key, end)
#define pthread_setspecific(key, value)   explore_setspecific(key, value)
#define pthread_getspecific(key)          explore_getspecific(key)
#define pthread_sigmask(how, set, before) ((void)(set), (void)(before))
#define prctl(...)                        ((void)0)
#define sigaction(number, act, before)    explore_sigaction(number, act, before)
#define raise(number)                     scenario_raise(number)
#define kill(process, number)             ((void)(process), scenario_raise(number))
#define eventfd(value, flags)             explore_eventfd()
#define close(fd)                         explore_syscall(SYS_close, fd)
#define getpid()                          1
#define sched_getcpu()                    explore_getcpu()
#define sched_yield()                     explore_nanosleep(NULL, NULL)
#define posix_memalign(out, align, size)  explore_memalign(out, align, size)
#define malloc(size)                      explore_calloc(1, size)
#define calloc(count, size)               explore_calloc(count, size)
#define free(memory)                      explore_release(memory)

#endif
