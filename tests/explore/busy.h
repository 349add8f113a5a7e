/*
 * busy.h - what the scenarios of busy parents share: parents, and children that fill a
 * block.
 */
#ifndef CANOPY_EXPLORE_BUSY_H
#define CANOPY_EXPLORE_BUSY_H

#include "explore.h"

static canopy_ctx *top, *other, *made;

static inline void make_parents(void)
{
    top = canopy_with_cancel(scenario_base());
    other = canopy_with_cancel(scenario_base());
}

static inline void end_parents(void)
{
    canopy_release(made);
    canopy_end(other);
    canopy_end(top);
    scenario_close();
}

static inline void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

static inline void releases_top(void)
{
    canopy_release(top);
    top = NULL;
}

/* As many as a block has slots; and more, so that some are in a second one. */
#define FULL 59
#define MORE 75

static canopy_ctx *many[MORE];

static inline void makes(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        many[i] = canopy_with_cancel(top);
}

static inline void releases(unsigned from, unsigned n)
{
    for (unsigned i = from; i < n; i++)
        canopy_release(many[i]);
}

static inline void fills_a_block(void)
{
    makes(FULL);
}

#endif
