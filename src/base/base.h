/*
 * base.h - small things that every file may need: branch hints, the futex, the
 * monotonic clock, the library's one lock for rare work.
 */
#ifndef CANOPY_BASE_H
#define CANOPY_BASE_H

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/invariant.h"
#include "base/sanitizer.h"
#include "base/upward.h"
#include <canopy/canopy.h>

#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define CACHE_LINE    64
#define NS_PER_SECOND INT64_C(1000000000)

_Static_assert(sizeof(uintptr_t) == 8, "canopy packs tags and counts into 64-bit words");

/* The half of a word that the kernel's 32-bit futex looks at. */
static inline uint32_t *futex_low_half(void *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint32_t *)word;
#else
    return (uint32_t *)word + 1;
#endif
}

static inline int64_t clock_read_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

static inline int64_t clock_now_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

/*
 * Around every call that may be a point at which a thread is cancelled (open, close,
 * nanosleep, pthread_join and the like; not mutexes, sigaction, mmap, pthread_create, or
 * what goes by syscall): its end there would leave a lock taken or a step half done.
 */
static inline int cancellation_hold(void)
{
    int cancelable;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    return cancelable;
}

static inline void cancellation_restore(int cancelable)
{
    pthread_setcancelstate(cancelable, NULL);
}

#ifdef CANOPY_TSAN
/*
 * ThreadSanitizer holds signals back until a call that it intercepts, which
 * syscall is not: there no sleep is long, and each is preceded by such a call.
 */
static inline int64_t tsan_signal_point(int64_t until_ns)
{
    struct timespec moment = {0, 1};
    int cancelable = cancellation_hold();
    nanosleep(&moment, NULL);
    cancellation_restore(cancelable);
    int64_t soon_ns = clock_now_ns() + NS_PER_SECOND / 20;
    return until_ns < soon_ns ? until_ns : soon_ns;
}
#endif

/*
 * Sleeps while *word is `expected`, until a wake, a signal, or `until_ns` of
 * CLOCK_MONOTONIC. The caller loops: every return may be spurious.
 */
static inline void futex_wait(uint32_t *word, uint32_t expected, int64_t until_ns)
{
#ifdef CANOPY_TSAN
    until_ns = tsan_signal_point(until_ns);
#endif
    struct timespec ts = {until_ns / NS_PER_SECOND, until_ns % NS_PER_SECOND};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
            until_ns == CANOPY_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* A short sleep. Like futex_wait, and unlike nanosleep, no point at which a thread is cancelled. */
static inline void pause_ns(long ns)
{
    struct timespec moment = {0, ns};
    syscall(SYS_nanosleep, &moment, NULL);
}

/* Wakes everybody on `word`; only the address is used, nothing is read. */
static inline void futex_wake_all(const void *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

/* Makes an eventfd readable; and unreadable again: how often it was raised since the last time. */
void eventfd_raise(int fd);
uint64_t eventfd_clear(int fd);

/* close, and no more: neither a point at which a thread is cancelled, nor a new errno. */
void fd_close(int fd);

/*
 * Asymmetric fences. When fence_heavy returns, every thread of the process has
 * executed a full fence since it was called: what a thread stored before its
 * fence_light is visible, or its loads after that see what the caller stored
 * before. So where one side is hot and the other rare, a store-then-load pairing
 * costs the hot side nothing. Where the kernel cannot do it, fence_is_asymmetric
 * stays false, and the hot sides use orders that need no help.
 */
extern bool fence_is_asymmetric;
void fence_init(void);
void fence_heavy(void);

/* Whether a wait until `until_ns` is over; 0 and less is a poll. */
static inline bool time_is_up(int64_t until_ns)
{
    return until_ns != CANOPY_NEVER && (until_ns <= 0 || clock_now_ns() >= until_ns);
}

/* a + b, where a sum beyond the end of time is never and none wraps. */
static inline int64_t saturating_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return b > 0 ? CANOPY_NEVER : INT64_MIN;
}

/*
 * One lock for everything rare: heaps that change hands, slabs that come and go,
 * threads that start. Never held over user code. Of the locks that fork takes (init.c)
 * it is the last: who holds it takes none of the others.
 */
extern pthread_mutex_t library_lock;

/* An address that is this thread's alone while it lives. */
extern __thread char thread_marker __attribute__((tls_model("initial-exec")));
static inline uint64_t thread_self(void)
{
    return (uint64_t)(uintptr_t)&thread_marker;
}

/* One of the library's threads. It lasts as long, since the thread reads it when it gets to run. */
struct thread_role {
    const char *name;
    void (*run)(const struct thread_role *self); /* returns only where the thread is joined */
    bool runs_user_code;
    bool is_worker;
};

/*
 * Starts a thread, and no thread of ours is started otherwise: 0 or an errno. Requires
 * library_lock, which a fork takes as well: it does not wait for the thread to run. Whoever
 * starts it, the thread is detached, blocks all signals, has the ordinary policy
 * (SCHED_OTHER) and the CPUs that the process had when the library was loaded, and a stack
 * of the size that the process gives all its threads, since code of the user's may run on
 * it: callbacks, destructors, hooks of an allocator.
 */
int thread_start(const struct thread_role *role);

/* The same with a thread that is joined by `*thread`. */
int thread_start_joinable(const struct thread_role *role, pthread_t *thread);

/* When the library is loaded: what is ordinary. */
void threads_init(void);

/* Before a fork, with library_lock held: none of our threads is on its way into its code. */
void threads_fork_prepare(void);

/*
 * After a fork by one of our threads, from a callback or a hook: it is the child's only
 * one, no longer ours, and if user code left the mask as it was, an ordinary mask serves
 * it and what it executes better than one that blocks everything.
 */
void threads_fork_child(void);

/* True on a thread of ours that runs no user code of its own accord. */
extern __thread bool thread_is_library __attribute__((tls_model("initial-exec")));

/* True on the one that does, the worker (worker.h). */
extern __thread bool thread_is_worker __attribute__((tls_model("initial-exec")));

/* Who is to run a callback: a thread, by its thread_self, or the worker, started or not. */
#define RUNNER_WORKER UINT64_C(1)
static inline bool runner_is_self(uint64_t runner)
{
    return runner == thread_self() || (runner == RUNNER_WORKER && thread_is_worker);
}

/* Advances with each fork in the child, so that what was inherited can be told. */
extern atomic_u32 fork_generation;

/* Not 0 once there may be contexts of before a fork, or such of which notes are kept. */
extern atomic_u32 odd_contexts;

#endif
