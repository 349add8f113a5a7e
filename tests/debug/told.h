/*
 * told.h - a hook that remembers what it was told, and checks on that, for the tests
 * of the debug build.
 */
#ifndef CANOPY_TESTS_TOLD_H
#define CANOPY_TESTS_TOLD_H

#include "../unit/harness.h"

#include <canopy/debug.h>

struct told {
    atomic_uint count;
    canopy_debug_report last;
    char text[1024];
};

/* Tells the test from now on. */
void listen_to(struct told *told);

/* Exactly one report since the last of these checks, of this kind, about `ctx`, in `call`. */
#define assert_told(told, kind, ctx, call)                                                         \
    check_told((told), (kind), (ctx), (call), __FILE__, __LINE__)
#define assert_not_told(told) assert_int_equal(atomic_load(&(told)->count), 0)

/* A place of this file. */
#define assert_place(place, call_, line_)                                                          \
    check_place(&(place), (call_), __FILE__, (line_), __LINE__)

void check_told(struct told *told, canopy_debug_kind kind, const canopy_ctx *ctx, const char *call,
                const char *file, int line);
void check_place(const canopy_debug_place *place, const char *call, const char *file,
                 int place_line, int line);

#endif
