/*
 * wired.h - what the tests of wire.h share: values as they stand in a header, and random
 * ones, from a seed that is always the same and from one that is new each time, and told.
 */
#ifndef CANOPY_TESTS_WIRED_H
#define CANOPY_TESTS_WIRED_H

#include "harness.h"

#include <canopy/wire.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A string without its NUL, as two arguments: so that a sanitizer sees who reads on. */
#define VALUE(text) (text), (sizeof(text) - 1)

static uint64_t wired_state;

/* splitmix64. */
static inline uint64_t wired_random(void)
{
    uint64_t z = wired_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t wired_below(uint64_t end)
{
    return wired_random() % end;
}

/* A number as likely of any length in bits. */
static inline uint64_t wired_of_any_length(void)
{
    return wired_random() >> wired_below(64);
}

/* One of those, or, once in `seldom` times, any octet. */
static inline char wired_octet(const char *often, uint64_t seldom)
{
    if (wired_below(seldom) == 0)
        return (char)wired_random();
    return often[wired_below(strlen(often))];
}

/* Runs `body` `rounds` times from each of the two seeds. */
static inline void wired_both_seeds(void (*body)(void), unsigned rounds)
{
    uint64_t seeds[] = {1, (uint64_t)now_ns()};
    for (size_t i = 0; i < 2; i++) {
        print_message("seed %" PRIu64 "\n", seeds[i]);
        wired_state = seeds[i];
        for (unsigned round = 0; round < rounds; round++)
            body();
    }
}

/* The bytes, on the heap with nothing behind them: for who might read on. */
static inline char *wired_alone(const char *bytes, size_t count)
{
    char *alone = malloc(count ? count : 1);
    assert_non_null(alone);
    if (count)
        memcpy(alone, bytes, count);
    return alone;
}

#endif
