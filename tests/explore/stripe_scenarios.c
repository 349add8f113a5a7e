/*
 * stripe_scenarios.c - a thread goes over to plain stores, or adds a block, just as
 * its parent is looked at or counted. Promises 6 and 36.
 */
#include "explore.h"

#include <errno.h>

static canopy_ctx *top, *made, *other;

/* ---------------------------------- a stripe becomes owned beside the count of its slots */

/* So many that the next registration makes the stripe owned: a small list, and a stripe's share. */
#define SMALL_SLOTS 8
#define BUSY_AFTER  59 /* as CANOPY_BUSY_AFTER in children.c */
#define CHILDREN    (SMALL_SLOTS + BUSY_AFTER + 1)

static canopy_ctx *children[CHILDREN];

static void makes_children(void)
{
    for (unsigned i = 0; i < CHILDREN; i++)
        children[i] = canopy_with_cancel(top);
}

static void derives_and_releases_the_last(void)
{
    made = canopy_with_cancel(top);
    canopy_release(children[CHILDREN - 1]);
    children[CHILDREN - 1] = NULL;
}

static void watches(void)
{
    CHECK(canopy_wait_idle(top, 0) == -ETIME);
}

SCENARIO(stripe_becomes_owned_beside_wait_idle)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_children);
    beside(derives_and_releases_the_last, watches, NULL);
    for (unsigned i = 0; i < CHILDREN; i++)
        canopy_release(children[i]);
    canopy_release(made);
    CHECK(canopy_wait_idle(top, 0) == 0);
    canopy_release(top);
    scenario_close();
}

static canopy_ctx *first;

static void makes_children_and_one_more(void)
{
    makes_children();
    first = canopy_with_cancel(top);
}

/* The blocks are opened for who waits: not while that one counts are they owned again. */
SCENARIO(stripe_becomes_owned_again_beside_wait_idle)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_children_and_one_more);
    beside(derives_and_releases_the_last, watches, NULL);
    for (unsigned i = 0; i < CHILDREN; i++)
        canopy_release(children[i]);
    canopy_release(first);
    canopy_release(made);
    CHECK(canopy_wait_idle(top, 0) == 0);
    canopy_release(top);
    scenario_close();
}

/* They were opened for one that has waited, and is gone. */
static void makes_children_and_watches(void)
{
    makes_children_and_one_more();
    watches();
}

static void derives_and_keeps(void)
{
    made = canopy_with_cancel(top);
    canopy_release(canopy_with_cancel(top));
}

static void releases_top(void)
{
    canopy_release(top);
}

SCENARIO(stripe_becomes_owned_again_beside_the_last_release)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_children_and_watches);
    beside(derives_and_keeps, releases_top, NULL);
    for (unsigned i = 0; i < CHILDREN; i++)
        canopy_release(children[i]);
    canopy_release(first);
    canopy_release(made);
    scenario_close();
}

/* --------------------- a block added behind one cancel, which another has just marked */

static void fills_busy(void)
{
    for (unsigned i = 0; i < BUSY_AFTER; i++)
        children[i] = canopy_with_cancel(top);
}

static void adds_a_block_and_leaves_it(void)
{
    made = canopy_with_cancel(top);
    canopy_release(made);
    made = canopy_with_cancel(other);
}

static void cancels(void)
{
    canopy_cancel(top);
}

SCENARIO(block_added_beside_two_cancels)
{
    other = canopy_with_cancel(scenario_base());
    top = canopy_with_cancel(scenario_base());
    before(fills_busy);
    beside(adds_a_block_and_leaves_it, cancels, cancels, NULL);
    CHECK(!canopy_done(made));
    for (unsigned i = 0; i < BUSY_AFTER; i++)
        canopy_end(children[i]);
    canopy_end(made);
    canopy_end(other);
    canopy_end(top);
    scenario_close();
}
