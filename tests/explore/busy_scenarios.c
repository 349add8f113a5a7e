/*
 * busy_scenarios.c - threads that let go of what they made themselves, and make it
 * again: where parents are busy (explore_busy) that goes by plain stores, see children.c.
 * Promises 2, 7, 10 to 12, 18.
 */
#include "explore.h"

static canopy_ctx *top, *other, *leaf, *made;

static void make_parents(void)
{
    top = canopy_with_cancel(scenario_base());
    other = canopy_with_cancel(scenario_base());
}

static void end_parents(void)
{
    canopy_release(made);
    canopy_end(other);
    canopy_end(top);
    scenario_close();
}

static void makes_leaf(void)
{
    leaf = canopy_with_cancel(top);
}

static void releases_leaf(void)
{
    canopy_release(leaf);
}

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

static void releases_top(void)
{
    canopy_release(top);
    top = NULL;
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

/* As many as a block has slots; and more, so that some are in a second one. */
#define FULL 59
#define MORE 75

static canopy_ctx *many[MORE];

static void makes(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        many[i] = canopy_with_cancel(top);
}

static void releases(unsigned from, unsigned n)
{
    for (unsigned i = from; i < n; i++)
        canopy_release(many[i]);
}

static void fills_a_block(void)
{
    makes(FULL);
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

/* ------------------------------------------------------------ what is remembered */

static canopy_ctx *pair[2];

static void makes_pair(void)
{
    for (unsigned i = 0; i < 2; i++)
        pair[i] = canopy_with_cancel(top);
}

static void releases_pair(void)
{
    for (unsigned i = 0; i < 2; i++)
        canopy_release(pair[i]);
}

static void remakes_top(void)
{
    const canopy_ctx *before_it = top;
    releases_top();
    top = canopy_with_cancel(scenario_base());
    CHECK(top == before_it);
}

static void cancels_top_and_pair(void)
{
    cancels_top();
    CHECK(canopy_done(pair[0]) && canopy_done(pair[1]));
}

/* A parent where another one was, whose stripe is another's now. */
static void makes_children_where_others_were(void)
{
    makes_pair();
    releases_pair();
    remakes_top();
    made = canopy_with_cancel(other);
    makes_pair();
    cancels_top_and_pair();
    releases_pair();
}

SCENARIO(children_of_a_parent_where_another_was)
{
    other = canopy_with_cancel(scenario_base());
    top = canopy_with_cancel(scenario_base());
    beside(makes_children_where_others_were, NULL);
    CHECK(!canopy_done(made));
    end_parents();
}

/* The slot that one remembers is taken by another, which came to it in its turn. */
static void makes_children_in_a_remembered_slot(void)
{
    fills_a_block();
    made = canopy_with_cancel(other);
    canopy_release(many[0]);
    canopy_release(made);
    made = NULL;
    makes_pair();
    cancels_top_and_pair();
    many[0] = NULL;
    releases_pair();
}

SCENARIO(children_in_a_remembered_slot)
{
    make_parents();
    beside(makes_children_in_a_remembered_slot, NULL);
    releases(0, FULL);
    end_parents();
}

/* ----------------------------------------------------------------- blocks that go */

/*
 * A thread that releases more than it makes looks, each time that a magazine of
 * contexts overflows with a leaf of its own, whether it has blocks to give back. What
 * another thread has made fills the magazine.
 */
#define MAGAZINE    64
#define MAGAZINES   4
#define AT_HAND     21 /* what is left of the contexts with which it made its own */
#define FOREIGN_MAX 160

static canopy_ctx *foreign[FOREIGN_MAX * 2];
static unsigned foreign_left;

static void makes_foreign(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        foreign[foreign_left++] = canopy_with_cancel(other);
}

static void releases_foreign(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        canopy_release(foreign[--foreign_left]);
}

/* The last of the first block; before, nothing is left of the second. */
#define LAST (FULL - MAGAZINES)

static void empties_a_block(void)
{
    makes(MORE);
    releases(FULL, MORE);
    releases_foreign(MAGAZINE - AT_HAND - (MORE - FULL));
    for (unsigned i = LAST + 1; i < FULL; i++) {
        canopy_release(many[i]);
        releases_foreign(MAGAZINE - 1);
    }
}

static void gives_a_block_back(void)
{
    canopy_release(many[LAST]);
}

static void end_many(void)
{
    releases(0, LAST);
    releases_foreign(foreign_left);
    end_parents();
}

SCENARIO(own_block_goes_beside_cancel)
{
    make_parents();
    makes_foreign(MAGAZINES * MAGAZINE);
    before(empties_a_block);
    beside(gives_a_block_back, cancels_top, NULL);
    end_many();
}

SCENARIO(own_block_goes_beside_the_last_release)
{
    make_parents();
    makes_foreign(MAGAZINES * MAGAZINE);
    before(empties_a_block);
    beside(gives_a_block_back, releases_top, NULL);
    end_many();
}

/* The same, but for the first of the second block, for which it stays. */
static void nearly_empties_a_block(void)
{
    makes(MORE);
    releases(FULL + 1, MORE);
    releases_foreign(MAGAZINE - AT_HAND - (MORE - FULL) + 1);
    for (unsigned i = LAST + 1; i < FULL; i++) {
        canopy_release(many[i]);
        releases_foreign(MAGAZINE - 1);
    }
}

SCENARIO(own_block_stays_for_its_last_child)
{
    make_parents();
    makes_foreign(MAGAZINES * MAGAZINE + 1);
    before(nearly_empties_a_block);
    beside(gives_a_block_back, NULL);
    canopy_cancel(top);
    CHECK(canopy_done(many[FULL]));
    canopy_release(many[FULL]);
    end_many();
}

/* What was in the block comes again. */
static void gives_a_block_back_and_makes_more(void)
{
    gives_a_block_back();
    for (unsigned i = 0; i < FOREIGN_MAX; i++)
        foreign[foreign_left++] = canopy_with_cancel(top);
}

SCENARIO(children_come_again_whose_block_went)
{
    make_parents();
    makes_foreign(MAGAZINES * MAGAZINE);
    before(empties_a_block);
    beside(gives_a_block_back_and_makes_more, NULL);
    end_many();
}

/* ------------------------------------------- contexts that go back to their thread */

/*
 * Contexts of the first thread's memory become children in the second one's block, and
 * go back: they come again with their second derivation, and ask for no slot there.
 */
#define PAIRS 2

static canopy_ctx *come_again[PAIRS], *beside_them[PAIRS];

static void passes_through(void)
{
    releases_foreign(MAGAZINE / 2); /* as much as it has already */
    fills_a_block();
    releases_foreign(27);
    releases(0, PAIRS + 2);
    releases_foreign(28 + MAGAZINE + 1);
}

static void makes_foreign_for_the_next(void)
{
    makes_foreign(FOREIGN_MAX); /* all that it has at hand */
    before(passes_through);
}

static void derives_pair(canopy_ctx *made_pair[PAIRS])
{
    for (unsigned i = 0; i < PAIRS; i++)
        made_pair[i] = canopy_with_cancel(top);
}

static void derives_what_came_back(void)
{
    derives_pair(come_again);
}

static void derives_beside_them(void)
{
    derives_pair(beside_them);
}

SCENARIO(two_derivations_with_what_came_back)
{
    make_parents();
    before(makes_foreign_for_the_next);
    beside(derives_what_came_back, derives_beside_them, NULL);
    cancels_top();
    for (unsigned i = 0; i < PAIRS; i++) {
        CHECK(canopy_done(come_again[i]) && canopy_done(beside_them[i]));
        canopy_release(come_again[i]);
        canopy_release(beside_them[i]);
    }
    releases(PAIRS + 2, FULL);
    releases_foreign(foreign_left);
    end_parents();
}
