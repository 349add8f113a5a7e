/*
 * ticks.h - a cheap reading of the monotonic clock that is never early.
 *
 * Where the kernel itself takes CLOCK_MONOTONIC from the CPU's time stamp counter, a
 * thread can do so too: from a pair of readings of both, taken a moment ago. What comes
 * out is never before the true time, which is what a timeout needs, and late by half a
 * millisecond at most. How much, and why never early, is said in ticks.c.
 */
#ifndef CANOPY_TICKS_H
#define CANOPY_TICKS_H

#include "base/base.h"

#if defined(__x86_64__) && !defined(CANOPY_ATOMIC_INTERPOSER)
#define CANOPY_TICKS 1
#endif

/* CLOCK_MONOTONIC, exactly; renews the pair. */
int64_t ticks_renew(void);

/* Decides whether the counter can be used, and how; once, under library_lock. */
void ticks_init(void);

/* In the child, which may be in another time namespace: what was read before holds no more. */
void ticks_fork_child(void);

#ifdef CANOPY_TICKS
/* From `ticks` on, until `limit_ticks` later, it is at most `ns` and `scale` for each tick. */
struct ticks_pair {
    uint64_t ticks;
    int64_t ns;
    uint64_t limit_ticks;
    uint64_t scale; /* nanoseconds in 2^-32 */
};
extern __thread struct ticks_pair tls_ticks __attribute__((tls_model("initial-exec")));

/* The reading, where that takes no call. */
static inline bool clock_at_hand(int64_t *now_ns)
{
    uint64_t passed = __builtin_ia32_rdtsc() - tls_ticks.ticks;
    if (unlikely(passed >= tls_ticks.limit_ticks))
        return false;
    *now_ns = tls_ticks.ns + (int64_t)(passed * tls_ticks.scale >> 32);
    return true;
}
#else
static inline bool clock_at_hand(int64_t *now_ns)
{
    (void)now_ns;
    return false;
}
#endif

#endif
