/*
 * gap_scenarios.c - what planted bugs (tests/mutants) showed to be unexplored: each
 * scenario here was written for one that survived all others. Promises 2, 7, 12, 27, 34, 37.
 */
#include "explore.h"

static canopy_ctx *top;

/* ------------------------------------------------------ a wait that has its records */

static canopy_ctx *pair[2];

static void make_pair(void)
{
    for (unsigned i = 0; i < 2; i++)
        pair[i] = canopy_with_cancel(scenario_base());
}

static void waits_for_either(void)
{
    CHECK(canopy_wait_any((const canopy_ctx *const *)pair, 2, CANOPY_NEVER) == 1);
}

static void cancels_second(void)
{
    CHECK(canopy_cancel(pair[1]));
}

/* Neither has children, so there is room for a record in each. */
SCENARIO(wait_for_either_beside_cancel)
{
    make_pair();
    beside(waits_for_either, cancels_second, NULL);
    for (unsigned i = 0; i < 2; i++)
        canopy_end(pair[i]);
    scenario_close();
}

/* -------------------------------------------------- a merge ends beside its expiry */

#define DUE_NS 100

static canopy_ctx *merged;

static void advances(void)
{
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
}

static void releases_merged(void)
{
    canopy_release(merged);
}

/* The inputs have no handle: they go with it, while the clock looks at the way up. */
HOST_SCENARIO(expiry_of_a_merge_beside_its_end)
{
    make_pair();
    merged = canopy_with_any((const canopy_ctx *const *)pair, 2);
    CHECK(canopy_set_deadline(merged, DUE_NS));
    for (unsigned i = 0; i < 2; i++)
        canopy_release(pair[i]);
    beside(advances, releases_merged, NULL);
    scenario_close();
}

/* ----------------------------------------- blocks go beside the parent's last handle */

/* More than one block holds, so many that their thread gives blocks back as they go. */
#define CHILDREN 150
#define STAYING  2
#define CYCLES   2

static canopy_ctx *children[CHILDREN];

static void makes(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        children[i] = canopy_with_cancel(top);
}

/* In a circle, beginning with `from`. */
static void releases(unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++)
        canopy_release(children[i % CHILDREN]);
}

static void makes_again(void)
{
    for (unsigned i = 0; i < CYCLES; i++) {
        makes(CHILDREN);
        releases(0, CHILDREN);
    }
    makes(CHILDREN);
}

static void releases_all_but_a_few(void)
{
    releases(STAYING, CHILDREN - STAYING);
}

static void releases_top(void)
{
    canopy_release(top);
}

SCENARIO(block_reclaim_beside_the_last_release)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_again);
    beside(releases_all_but_a_few, releases_top, NULL);
    for (unsigned i = 0; i < STAYING; i++)
        CHECK(!canopy_done(children[i]));
    releases(0, STAYING);
    scenario_close();
}

/* --------------------- a context returns to its thread, out of another one's block */

/*
 * Contexts of one thread's memory go through the other's hands, and so many of them
 * that some are sent back, which were in the other's second block last. That block is
 * empty from then on, and goes as more is released.
 */
#define FOREIGN   96
#define BLOCK     59 /* where the second one begins */
#define PASSING   70
#define UNTIL_NOW 20
#define REBORN    4

static canopy_ctx *reborn[REBORN], *rest[31];

static void passes_through(void)
{
    releases(0, FOREIGN);
    makes(CHILDREN);
    releases(BLOCK, CHILDREN);
    makes(PASSING);
    releases(0, UNTIL_NOW);
}

static void makes_foreign(void)
{
    makes(FOREIGN);
    /* What remains of what its thread has at hand. */
    for (unsigned i = 0; i < sizeof rest / sizeof *rest; i++)
        rest[i] = canopy_with_cancel(top);
    before(passes_through); /* for the next fiber */
}

static void derives_again(void)
{
    for (unsigned i = 0; i < REBORN; i++)
        reborn[i] = canopy_with_cancel(top);
}

static void gives_block_back(void)
{
    releases(UNTIL_NOW, PASSING - UNTIL_NOW);
}

SCENARIO(rebirth_beside_a_block_given_back)
{
    top = canopy_with_cancel(scenario_base());
    before(makes_foreign);
    beside(derives_again, gives_block_back, NULL);
    CHECK(canopy_cancel(top));
    for (unsigned i = 0; i < REBORN; i++) {
        CHECK(canopy_done(reborn[i]));
        canopy_release(reborn[i]);
    }
    for (unsigned i = 0; i < sizeof rest / sizeof *rest; i++)
        canopy_release(rest[i]);
    canopy_end(top);
    scenario_close();
}

/* ----------------------------------------- a context comes again in its old slot */

/* More than fit beside the parent itself: the last is in a block, where it may come again. */
#define FIRST_IN_BLOCK 8

static void leaves_a_slot(void)
{
    makes(FIRST_IN_BLOCK + 1);
    canopy_release(children[FIRST_IN_BLOCK]);
}

static void comes_again(void)
{
    children[FIRST_IN_BLOCK] = canopy_with_cancel(top);
}

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

SCENARIO(rebirth_in_a_block_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    before(leaves_a_slot);
    beside(comes_again, cancels_top, NULL);
    for (unsigned i = 0; i <= FIRST_IN_BLOCK; i++) {
        CHECK(canopy_done(children[i]));
        canopy_release(children[i]);
    }
    canopy_end(top);
    scenario_close();
}

/* The same under a value layer, whose state word leads to the one that counts. */
static const canopy_key layer_key = {.name = "layer"};
static canopy_ctx *layer;

static void leaves_a_slot_of_the_layer(void)
{
    for (unsigned i = 0; i <= FIRST_IN_BLOCK; i++)
        children[i] = canopy_with_cancel(layer);
    canopy_release(children[FIRST_IN_BLOCK]);
}

static void comes_again_in_the_layer(void)
{
    children[FIRST_IN_BLOCK] = canopy_with_cancel(layer);
}

SCENARIO(rebirth_in_a_block_of_a_value_layer_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    layer = canopy_with_value(top, &layer_key, &top);
    before(leaves_a_slot_of_the_layer);
    beside(comes_again_in_the_layer, cancels_top, NULL);
    for (unsigned i = 0; i <= FIRST_IN_BLOCK; i++) {
        CHECK(canopy_done(children[i]));
        canopy_release(children[i]);
    }
    canopy_release(layer);
    canopy_end(top);
    scenario_close();
}

/* ------------------------------------- two signals at once, and what one cancel leaves */

static canopy_ctx *watching, *other, *below, *late[2], *gate;

static void raises_both(void)
{
    scenario_raise(SIGUSR1);
    scenario_raise(SIGUSR2);
}

static canopy_ctx *merges(canopy_ctx *input)
{
    return canopy_with_any((const canopy_ctx *const *)&input, 1);
}

static void merges_late(void)
{
    late[0] = merges(watching);
    late[1] = canopy_with_cancel(late[0]);
    CHECK(canopy_cancel(gate));
}

static void releases_late(void)
{
    CHECK(canopy_wait(gate, CANOPY_NEVER));
    canopy_release(late[1]);
    canopy_release(late[0]);
}

/*
 * One pass ends both. What it meets as it looks again at what the first has ended,
 * and looks again for `below`, may be gone when it comes to the second.
 */
SCENARIO(two_signals_beside_a_merge_that_comes_and_goes)
{
    watching = canopy_with_signals(scenario_base(), &(const int){SIGUSR1}, 1);
    other = canopy_with_signals(scenario_base(), &(const int){SIGUSR2}, 1);
    below = merges(watching);
    gate = canopy_with_cancel(scenario_base());
    beside(raises_both, merges_late, releases_late, NULL);
    CHECK(canopy_wait(below, CANOPY_NEVER) && canopy_wait(other, CANOPY_NEVER));
    canopy_release(below);
    canopy_release(watching);
    canopy_release(other);
    canopy_release(gate);
    scenario_close();
}
