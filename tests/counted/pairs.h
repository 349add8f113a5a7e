/*
 * pairs.h - the same work written in C and in C++, to count that C++ costs no more.
 * Each language makes a program of all that is declared here.
 */
#ifndef CANOPY_TESTS_PAIRS_H
#define CANOPY_TESTS_PAIRS_H

#include "counted.h"

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `planted` does more in C++. */
#define PAIRS(pair)                                                                                \
    pair(create) pair(cancel) pair(timeout) pair(deadline) pair(moved) pair(returned) pair(value)  \
        pair(observe) pair(callback) pair(callback_run) pair(loop_callback) pair(planted)

#define PAIR_DECLARE(name) void pair_##name(struct scene *scene, struct part *part);
PAIRS(PAIR_DECLARE)

/* On the thread that works: the loop of that thread. */
void pair_enter(struct scene *scene, struct part *part);
void pair_leave(struct scene *scene, struct part *part);

/* Where a context, or what is made of it, cannot be had. */
__attribute__((noreturn, cold)) void pair_fail(void);

/* Keeps the compiler from leaving out what gave `value`. */
static inline void pair_keep(uintptr_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
