/*
 * heap_scenarios.c - a thread that works under several parents or roots in turn, while one
 * of them is ended, or goes: what it keeps of each. Promises 2, 10 to 12.
 */
#include "busy.h"

/* ------------------------------------------------------------- parents in turn */

static void makes_and_releases_under(const canopy_ctx *parent)
{
    canopy_release(canopy_with_cancel(parent));
}

/* So that a slot is remembered under each, and the context at hand had another one's. */
static void works_under_both(void)
{
    for (unsigned i = 0; i < 3; i++) {
        makes_and_releases_under(top);
        makes_and_releases_under(other);
    }
}

static void makes_one_under_top(void)
{
    made = canopy_with_cancel(top);
}

static void makes_one_under_top_between_others(void)
{
    makes_one_under_top();
    makes_and_releases_under(other);
}

/* It takes the slot that was the last one there, in the place of its first look. */
SCENARIO(derive_in_turn_beside_cancel)
{
    make_parents();
    before(works_under_both);
    beside(makes_one_under_top_between_others, cancels_top, NULL);
    CHECK(canopy_done(made));
    end_parents();
}

static void makes_one_under_each_in_turn(void)
{
    many[0] = canopy_with_cancel(top);
    many[1] = canopy_with_cancel(other);
    many[2] = canopy_with_cancel(top);
    many[3] = canopy_with_cancel(other);
    canopy_release(many[2]);
    canopy_release(many[1]);
    made = canopy_with_cancel(top);
}

/* The last slot is in use at times. */
SCENARIO(children_of_parents_in_turn_beside_cancel)
{
    make_parents();
    before(works_under_both);
    beside(makes_one_under_each_in_turn, cancels_top, NULL);
    CHECK(canopy_done(made) && canopy_done(many[0]) && !canopy_done(many[3]));
    canopy_release(many[0]);
    canopy_release(many[3]);
    end_parents();
}

static const canopy_ctx *view;
static canopy_ctx *staying;

static void derives_from_view_in_turn(void)
{
    made = canopy_with_cancel(view);
    makes_and_releases_under(other);
}

/* The parent stays by a child of which nobody lets go meanwhile. */
SCENARIO(derive_in_turn_beside_the_last_release)
{
    make_parents();
    view = top;
    staying = canopy_with_cancel(view);
    before(works_under_both);
    beside(derives_from_view_in_turn, releases_top, NULL);
    CHECK(!canopy_done(made));
    canopy_release(staying);
    end_parents();
}

static void waits_for_idle_at_once(void)
{
    canopy_wait_idle(top, 0);
}

SCENARIO(derive_in_turn_beside_wait_idle)
{
    make_parents();
    before(works_under_both);
    beside(makes_one_under_top_between_others, waits_for_idle_at_once, NULL);
    canopy_release(made);
    made = NULL;
    CHECK(canopy_wait_idle(top, 0) == 0);
    end_parents();
}

/* ----------------------------------------------------- a parent that goes elsewhere */

/* Ended once there is another parent, which may lie where the first one was. */
static canopy_ctx *gate;

/* Its memory is this thread's then, and the next context's. */
static void replaces_top(void)
{
    makes_and_releases_under(other);
    canopy_end(top);
    top = canopy_with_cancel(scenario_base());
    canopy_cancel(gate);
}

/* The next is as busy, and what the first one's children were in is a third one's. */
static canopy_ctx *third;

static void replaces_top_by_a_busy_one(void)
{
    makes_and_releases_under(other);
    canopy_end(top);
    top = canopy_with_cancel(scenario_base());
    makes_and_releases_under(third);
    makes_and_releases_under(top);
    canopy_cancel(gate);
}

static void works_until_top_is_another(void)
{
    makes_and_releases_under(other);
    if (canopy_done(gate))
        made = canopy_with_cancel(top);
}

static void ends_what_was_made_under_another(void)
{
    canopy_cancel(top);
    CHECK(!made || canopy_done(made));
    canopy_end(gate);
    end_parents();
}

/* The stripe under the first goes to its thread, which adds stripes and looks for some. */
SCENARIO(parent_goes_beside_derive_by_the_owner_of_a_stripe)
{
    make_parents();
    made = NULL;
    gate = canopy_with_cancel(scenario_base());
    before(works_under_both);
    beside(works_until_top_is_another, replaces_top, NULL);
    ends_what_was_made_under_another();
}

SCENARIO(parent_goes_and_a_busy_one_comes_beside_derive)
{
    make_parents();
    made = NULL;
    gate = canopy_with_cancel(scenario_base());
    third = canopy_with_cancel(scenario_base());
    before(works_under_both);
    beside(works_until_top_is_another, replaces_top_by_a_busy_one, NULL);
    canopy_end(third);
    ends_what_was_made_under_another();
}

static void works_and_ends(void)
{
    makes_and_releases_under(other);
}

static void makes_one_where_top_was(void)
{
    if (!canopy_done(gate))
        return;
    made = canopy_with_cancel(top);
}

/* The same, where the thread ends and another takes its memory over. */
SCENARIO(parent_goes_beside_the_end_of_the_owner_of_a_stripe)
{
    make_parents();
    made = NULL;
    gate = canopy_with_cancel(scenario_base());
    before(works_under_both);
    beside_to_the_end(works_and_ends, replaces_top, makes_one_where_top_was, NULL);
    ends_what_was_made_under_another();
}

/* ------------------------------------------------------------------ roots in turn */

static canopy_ctx *first, *second;

static void works_under_two_roots(void)
{
    first = canopy_root_new(NULL);
    second = canopy_root_new(NULL);
    for (unsigned i = 0; i < 2; i++) {
        makes_and_releases_under(first);
        makes_and_releases_under(second);
    }
    makes_and_releases_under(first);
}

static void frees_first(void)
{
    CHECK(canopy_root_free(first) == 0);
}

static void works_under_second(void)
{
    makes_and_releases_under(second);
    made = canopy_with_cancel(second);
}

static void releases_made_and_frees_second(void)
{
    canopy_release(made);
    CHECK(canopy_root_free(second) == 0);
    scenario_close();
}

/* The thread has memory under the one that goes, and looks for that under the other. */
SCENARIO(root_free_beside_derive_under_another)
{
    before(works_under_two_roots);
    beside(works_under_second, frees_first, NULL);
    releases_made_and_frees_second();
}

/* The same as it ends, and lets go of all the memory that it knows. */
SCENARIO(root_free_beside_the_end_of_a_thread_that_used_it)
{
    before(works_under_two_roots);
    beside_to_the_end(works_under_second, frees_first, NULL);
    releases_made_and_frees_second();
}
