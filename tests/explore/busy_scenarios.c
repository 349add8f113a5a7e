/*
 * busy_scenarios.c - threads that let go of what they made themselves, and make it
 * again: where parents are busy (explore_busy) that goes by plain stores, see children.c.
 * Promises 2, 7, 10 to 12, 18.
 */
#include "busy.h"

#include <errno.h>

static canopy_ctx *leaf;

static void makes_leaf(void)
{
    leaf = canopy_with_cancel(top);
}

static void releases_leaf(void)
{
    canopy_release(leaf);
}

/* --------------------------------------------------------------- beside a walk */

static void releases_leaf_and_derives_elsewhere(void)
{
    releases_leaf();
    made = canopy_with_cancel(other);
}

/* The memory of what the walk came for is at once another one's, who is not to end. */
SCENARIO(own_leaf_goes_and_another_comes_beside_cancel)
{
    make_parents();
    before(makes_leaf);
    beside(releases_leaf_and_derives_elsewhere, cancels_top, NULL);
    CHECK(!canopy_done(made));
    end_parents();
}

static void makes_leaf_and_releases_it(void)
{
    makes_leaf();
    releases_leaf();
}

/* The first child of its thread, whose stripe comes under the walk. */
SCENARIO(first_leaf_comes_and_goes_beside_cancel)
{
    make_parents();
    beside(makes_leaf_and_releases_it, cancels_top, NULL);
    end_parents();
}

static void cancels_top_or_helps(void)
{
    canopy_cancel(top);
}

SCENARIO(own_leaf_goes_beside_two_cancels)
{
    make_parents();
    before(makes_leaf);
    beside(releases_leaf, cancels_top_or_helps, cancels_top_or_helps, NULL);
    end_parents();
}

static void makes_leaf_and_exchanges_it(void)
{
    makes_leaf();
    releases_leaf_and_derives_elsewhere();
}

/* The next is in a block that the walk knew nothing of when it began. */
SCENARIO(leaf_in_a_new_block_comes_and_goes_beside_cancel)
{
    make_parents();
    before(fills_a_block);
    beside(makes_leaf_and_exchanges_it, cancels_top, NULL);
    CHECK(!canopy_done(made));
    releases(0, FULL);
    end_parents();
}

/* --------------------------------------------------------------- beside a count */

SCENARIO(own_leaf_goes_beside_the_last_release)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_leaf);
    beside(releases_leaf, releases_top, NULL);
    scenario_close();
}

static void waits_for_idle(void)
{
    CHECK(canopy_wait_idle(top, CANOPY_NEVER) == 0);
}

SCENARIO(own_leaf_goes_beside_wait_idle)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_leaf);
    beside(releases_leaf, waits_for_idle, NULL);
    releases_top();
    scenario_close();
}

/*
 * As long as somebody waits what comes counts itself, and once those are counted that were
 * there before, it goes by plain stores again: each time that something comes that does
 * not remember its slot.
 */
static canopy_ctx *stays;

static void makes_what_stays(void)
{
    makes_leaf_and_releases_it();
    stays = canopy_with_cancel(top);
}

static void releases_what_stays(void)
{
    canopy_release(stays);
}

static void exchanges_leaf_and_releases_what_stays(void)
{
    makes_leaf_and_releases_it();
    makes_leaf_and_releases_it();
    releases_what_stays();
}

SCENARIO(counted_leaf_goes_beside_wait_idle)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_what_stays);
    beside(exchanges_leaf_and_releases_what_stays, waits_for_idle, NULL);
    releases_top();
    scenario_close();
}

static void waits_in_vain(void)
{
    int waited = canopy_wait_idle(top, 0);
    CHECK(waited == 0 || waited == -ETIME);
}

/* Once the first has counted, the blocks may be owned again under the second, who still counts. */
SCENARIO(counted_leaf_goes_beside_two_who_wait_for_idle)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_what_stays);
    beside(exchanges_leaf_and_releases_what_stays, waits_in_vain, waits_for_idle, NULL);
    releases_top();
    scenario_close();
}

/* The parent stays by a child of which nobody lets go meanwhile. */
static const canopy_ctx *view;
static canopy_ctx *staying;

static void make_viewed(void)
{
    top = canopy_with_cancel(scenario_base());
    staying = canopy_with_cancel(top);
    view = top;
}

static void derives_from_view(void)
{
    leaf = canopy_with_cancel(view);
}

static void derives_from_view_and_releases(void)
{
    derives_from_view();
    releases_leaf();
}

SCENARIO(first_leaf_comes_and_goes_beside_the_last_release)
{
    make_viewed();
    beside(derives_from_view_and_releases, releases_top, NULL);
    canopy_release(staying);
    scenario_close();
}

SCENARIO(leaf_comes_again_beside_the_last_release)
{
    make_viewed();
    before(makes_leaf_and_releases_it);
    beside(derives_from_view, releases_top, NULL);
    canopy_release(staying);
    CHECK(!canopy_done(leaf));
    releases_leaf();
    scenario_close();
}

static canopy_ctx *root;

static void makes_root_and_leaf(void)
{
    root = canopy_root_new(NULL);
    leaf = canopy_with_cancel(root);
}

/* One that counts its contexts, which is written as they go. */
static void makes_limited_root_and_leaf(void)
{
    canopy_config config = {.size = sizeof config, .max_live = 1};
    root = canopy_root_new(&config);
    leaf = canopy_with_cancel(root);
}

static void frees_root(void)
{
    if (canopy_root_free(root) == 0)
        root = NULL;
}

/* Its thread's memory goes with the root, as soon as it is through with it. */
SCENARIO(own_leaf_goes_beside_root_free)
{
    before(makes_root_and_leaf);
    beside(releases_leaf, frees_root, NULL);
    CHECK(!root || canopy_root_free(root) == 0);
    scenario_close();
}

SCENARIO(own_leaf_goes_from_a_limited_root_beside_root_free)
{
    before(makes_limited_root_and_leaf);
    beside(releases_leaf, frees_root, NULL);
    CHECK(!root || canopy_root_free(root) == 0);
    scenario_close();
}

/*
 * A stripe goes over to plain stores at the second of these; the first has been there
 * before, and its thread lets go of it by one.
 */
#define NEARLY_BUSY 118

static void makes_leaf_of_a_nearly_busy_parent(void)
{
    for (unsigned i = 0; i < NEARLY_BUSY; i++)
        makes_leaf_and_releases_it();
    made = canopy_with_cancel(top);
}

static void derives_from_view_and_releases_what_was_there(void)
{
    derives_from_view();
    canopy_release(made);
    made = NULL;
}

SCENARIO(parent_becomes_busy_beside_the_last_release)
{
    make_viewed();
    before(makes_leaf_of_a_nearly_busy_parent);
    beside(derives_from_view_and_releases_what_was_there, releases_top, NULL);
    canopy_release(staying);
    releases_leaf();
    scenario_close();
}

/* ------------------------------------------------------------- beside the clock */

#define DUE_NS INT64_C(100)

static void makes_timed_leaf(void)
{
    leaf = canopy_with_deadline(top, DUE_NS);
}

static void advances(void)
{
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
}

static canopy_ctx *gate;

static void remakes_timed_leaf(void)
{
    releases_leaf();
    makes_timed_leaf();
    CHECK(canopy_cancel(gate));
}

static void releases_leaf_behind_the_gate(void)
{
    CHECK(canopy_wait(gate, CANOPY_NEVER));
    releases_leaf();
}

HOST_SCENARIO(own_leaf_goes_beside_expiry)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_timed_leaf);
    beside(releases_leaf, advances, NULL);
    canopy_release(top);
    scenario_close();
}

/* What is born past its deadline is not the clock's, in whatever memory it is. */
HOST_SCENARIO(own_leaf_goes_and_comes_and_goes_beside_expiry)
{
    top = canopy_with_cancel(scenario_base());
    gate = canopy_with_cancel(scenario_base());
    before(makes_timed_leaf);
    beside(remakes_timed_leaf, advances, releases_leaf_behind_the_gate, NULL);
    canopy_release(gate);
    canopy_release(top);
    scenario_close();
}
