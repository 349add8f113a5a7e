/* now.h - the clock of the examples: nanoseconds of CLOCK_MONOTONIC, as canopy takes them. */
#ifndef EXAMPLES_NOW_H
#define EXAMPLES_NOW_H

#include <stdint.h>
#include <time.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

static inline int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

#endif
