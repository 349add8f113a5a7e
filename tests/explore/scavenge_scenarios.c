/*
 * scavenge_scenarios.c - memory that goes back on another thread than its owner's, beside
 * what the owner does with it: see pool.c and scavenge.c. Promises 11 and 12.
 */
#include "explore.h"
#include "memory/scavenge.h"

/* What the reclaimer's thread does when it was asked; see rcu.h. */

/* What a thread takes out of its slabs at a time, and a magazine. */
#define REFILL   32
#define MAGAZINE 64

static canopy_ctx *top, *made;
static canopy_ctx *many[3 * MAGAZINE];
static unsigned from, to;

static void makes(unsigned n)
{
    while (n--)
        many[to++] = canopy_with_cancel(top);
}

static void releases_latest(unsigned n)
{
    while (n--)
        canopy_release(many[--to]);
}

static void tidies(void)
{
    scavenge();
}

/* By a thread without a heap: one by one, to the heap that has them. */
static void releases_two_of_anothers(void)
{
    for (unsigned i = 0; i < 2; i++)
        canopy_release(many[from++]);
}

static void end(void)
{
    canopy_release(made);
    while (from < to)
        canopy_release(many[from++]);
    scavenge();
    canopy_end(top);
    scenario_close();
}

static void has_nothing_at_hand(void)
{
    makes(REFILL);
}

static void makes_one(void)
{
    made = canopy_with_cancel(top);
}

SCENARIO(tidying_beside_refill)
{
    top = canopy_with_cancel(scenario_base());
    before(has_nothing_at_hand);
    beside(makes_one, tidies, releases_two_of_anothers, NULL);
    end();
}

/* Two magazines full; what is made then is more than was at hand when it began. */
static void has_all_at_hand(void)
{
    makes(2 * MAGAZINE + REFILL);
    releases_latest(2 * MAGAZINE);
}

static void releases_one(void)
{
    releases_latest(1);
}

SCENARIO(tidying_beside_overflow)
{
    top = canopy_with_cancel(scenario_base());
    before(has_all_at_hand);
    beside(releases_one, tidies, releases_two_of_anothers, NULL);
    end();
}

static void makes_some_and_ends(void)
{
    makes(2);
    releases_latest(1);
}

SCENARIO(tidying_beside_the_end_of_a_thread)
{
    top = canopy_with_cancel(scenario_base());
    beside_to_the_end(makes_some_and_ends, makes_one, tidies, NULL);
    end();
}

static void tidies_twice(void)
{
    scavenge();
    scavenge();
}

SCENARIO(tidying_beside_tidied_memory_taken_over)
{
    top = canopy_with_cancel(scenario_base());
    beside_to_the_end(makes_some_and_ends, tidies_twice, makes_one, NULL);
    end();
}

static canopy_ctx *root;

static void frees_root(void)
{
    if (canopy_root_free(root) == 0)
        root = NULL;
}

SCENARIO(tidying_beside_root_free)
{
    canopy_config config = {.size = sizeof config};
    root = canopy_root_new(&config);
    canopy_release(canopy_with_cancel(root));
    beside(frees_root, tidies, NULL);
    CHECK(!root);
    scenario_close();
}
