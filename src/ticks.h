/*
 * ticks.h - a cheap reading of the monotonic clock that is never early.
 *
 * Where the kernel itself takes CLOCK_MONOTONIC from the CPU's time stamp counter,
 * a thread can do so too: from a pair of readings of both, taken a moment ago, and
 * a rate that is a little too high. What comes out may be late by a part in a
 * thousand of that moment and by what the two readings took, and is never before the
 * true time: which is what a timeout needs. Each new pair checks the last one; a
 * counter that was once found to fall short is not used again.
 */
#ifndef CANOPY_TICKS_H
#define CANOPY_TICKS_H

#include "base.h"

#if defined(__x86_64__) && !defined(CANOPY_ATOMIC_INTERPOSER)
#define CANOPY_TICKS 1
#endif

/* CLOCK_MONOTONIC, exactly; renews the pair. */
int64_t ticks_renew(void);

/* Decides whether the counter can be used; once, under library_lock. */
void ticks_init(void);

#ifdef CANOPY_TICKS
/* At `ticks` it was `ns` or a little less; until `limit_ticks` later that may be built on. */
struct ticks_pair {
    uint64_t ticks;
    int64_t ns;
    uint64_t limit_ticks;
};
extern __thread struct ticks_pair tls_ticks __attribute__((tls_model("initial-exec")));

/* Nanoseconds to a tick, in 2^-32, rounded up. */
extern atomic_u64 ticks_scale;

/* The reading, where that takes no call. */
static inline bool clock_at_hand(int64_t *now_ns)
{
    uint64_t passed = __builtin_ia32_rdtsc() - tls_ticks.ticks;
    if (unlikely(passed >= tls_ticks.limit_ticks))
        return false;
    *now_ns = tls_ticks.ns + (int64_t)(passed * u64_load_relaxed(&ticks_scale) >> 32);
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
