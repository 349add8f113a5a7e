/* now.h - the clock that the adapters share: canopy's, nanoseconds of CLOCK_MONOTONIC. */
#ifndef ADAPTERS_NOW_H
#define ADAPTERS_NOW_H

#include <stdint.h>
#include <time.h>

#define ADAPTERS_NS_PER_S INT64_C(1000000000)

static inline int64_t adapters_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * ADAPTERS_NS_PER_S + now.tv_nsec;
}

static inline struct timespec adapters_timespec(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    return (struct timespec){.tv_sec = ns / ADAPTERS_NS_PER_S, .tv_nsec = ns % ADAPTERS_NS_PER_S};
}

#endif
