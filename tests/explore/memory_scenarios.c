/*
 * memory_scenarios.c - memory that changes hands while others look: lists that
 * shrink, threads that end, contexts that are born again in their old slots.
 * Promises 11 and 12.
 */
#include "explore.h"
#include "memory/scavenge.h"

/* What the reclaimer's thread does when it was asked; see rcu.h. */

static canopy_ctx *top, *made;

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

/* A context that goes and comes again under the same parent, in the same slot. */
static void derives_again(void)
{
    canopy_ctx *before = canopy_with_cancel(top);
    canopy_release(before);
    made = canopy_with_cancel(top);
}

static void end(void)
{
    canopy_end(made);
    canopy_end(top);
    scenario_close();
}

SCENARIO(rebirth_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    beside(derives_again, cancels_top, NULL);
    CHECK(canopy_done(made));
    end();
}

/* Threads whose memory another takes over, as it was left. */
static canopy_ctx *taken;

static void derives_and_ends(void)
{
    made = canopy_with_cancel(top);
}

static void derives_and_releases(void)
{
    canopy_release(canopy_with_cancel(top));
    taken = canopy_with_cancel(top);
}

static void end_both(void)
{
    canopy_end(taken);
    end();
}

SCENARIO(hand_over_of_memory_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    beside_to_the_end(derives_and_ends, cancels_top, NULL);
    CHECK(canopy_done(made));
    end_both();
}

SCENARIO(hand_over_of_memory_between_threads)
{
    top = canopy_with_cancel(scenario_base());
    beside_to_the_end(derives_and_ends, derives_and_releases, NULL);
    CHECK(!canopy_done(made) && !canopy_done(taken));
    end_both();
}

SCENARIO(hand_over_of_memory_beside_cancel_and_release)
{
    top = canopy_with_cancel(scenario_base());
    beside_to_the_end(derives_and_ends, derives_and_releases, cancels_top, NULL);
    CHECK(canopy_done(made) && canopy_done(taken));
    end_both();
}

/*
 * As many children as two blocks hold. When most of them have gone, the latest
 * first, the second block is given back: here by their thread, as it needs no other.
 */
#define CHILDREN 128
#define STAYING  2
#define CYCLES   2

static canopy_ctx *children[CHILDREN];

static void releases_children(unsigned staying)
{
    for (unsigned i = CHILDREN; i > staying; i--)
        canopy_release(children[i - 1]);
}

static void makes_children(void)
{
    for (unsigned i = 0; i < CHILDREN; i++)
        children[i] = canopy_with_cancel(top);
}

static void makes_children_again(void)
{
    for (unsigned i = 0; i < CYCLES; i++) {
        makes_children();
        releases_children(0);
    }
    makes_children();
}

static void gives_blocks_back(void)
{
    releases_children(STAYING);
    scavenge();
}

static void releases_children_that_stay(void)
{
    for (unsigned i = 0; i < STAYING; i++)
        canopy_release(children[i]);
}

SCENARIO(block_reclaim_beside_a_walk)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_children_again);
    beside(gives_blocks_back, cancels_top, NULL);
    for (unsigned i = 0; i < STAYING; i++)
        CHECK(canopy_done(children[i]));
    releases_children_that_stay();
    end();
}

static void releases_top(void)
{
    canopy_release(top);
    top = NULL;
}

/* The last handle counts the children, and looks through blocks that go meanwhile. */
SCENARIO(block_reclaim_beside_release_of_the_parent)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_children_again);
    beside(gives_blocks_back, releases_top, NULL);
    releases_children_that_stay();
    scenario_close();
}
