/*
 * block_scenarios.c - what threads remember of slots and contexts under busy parents, and
 * blocks that they give back: see children.c. Promises 2, 7, 10 to 12.
 */
#include "busy.h"
#include "memory/scavenge.h"

/* What the reclaimer's thread does when it was asked; see rcu.h. */

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
    scavenge();
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
