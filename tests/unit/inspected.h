/*
 * inspected.h - roots that keep notes, for the tests of inspect.h.
 */
#ifndef CANOPY_TESTS_INSPECTED_H
#define CANOPY_TESTS_INSPECTED_H

#include "harness.h"

#include <canopy/inspect.h>
#include <unistd.h>

static inline void noted_open(struct fixture *f, canopy_clock clock)
{
    memset(f, 0, sizeof *f);
    canopy_config config = memory_config(&f->memory);
    config.clock = clock;
    config.inspect = CANOPY_INSPECT_NOTES;
    f->root = canopy_root_new(&config);
    assert_non_null(f->root);
    assert_int_not_equal(canopy_id(f->root), 0);
}

static inline canopy_info info_of(const canopy_ctx *ctx)
{
    canopy_info info;
    assert_int_equal(canopy_inspect(canopy_id(ctx), &info, sizeof info), 0);
    assert_int_equal(info.id, canopy_id(ctx));
    return info;
}

#endif
