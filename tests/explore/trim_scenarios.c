/*
 * trim_scenarios.c - blocks in which nothing is any more go back, beside who comes to them:
 * see trim.c, and B1 to B8 in children.c. Promises 2, 7, 10 to 12.
 */
#include "busy.h"
#include "memory/rcu.h"
#include "memory/scavenge.h"

/* What the reclaimer's thread does when it was asked; see rcu.h. */

static void tidies(void)
{
    scavenge();
}

static void end_many(unsigned from, unsigned n)
{
    releases(from, n);
    end_parents();
}

/*
 * Three blocks. The slot that the thread took last is in the third, which is spared for
 * that; the second is empty, and what was in it remembers where.
 */
static canopy_ctx *second[FULL], *third[FULL], *next;
static unsigned thirds;

static void empties_the_second_block_of(unsigned children)
{
    makes(FULL);
    for (unsigned i = 0; i < FULL; i++)
        second[i] = canopy_with_cancel(top);
    for (thirds = 0; thirds < children; thirds++)
        third[thirds] = canopy_with_cancel(top);
    for (unsigned i = 0; i < FULL; i++)
        canopy_release(second[i]);
}

static void empties_the_second_block(void)
{
    empties_the_second_block_of(2); /* a block's first child is not remembered as the last */
}

static void makes_one(void)
{
    made = canopy_with_cancel(top);
}

static void releases_thirds(void)
{
    while (thirds > 0)
        canopy_release(third[--thirds]);
}

static void check_made_is_found(void)
{
    canopy_cancel(top);
    CHECK(canopy_done(made));
    releases_thirds();
    end_many(0, FULL);
}

SCENARIO(trim_beside_a_remembered_slot)
{
    make_parents();
    before(empties_the_second_block);
    beside(makes_one, tidies, NULL);
    check_made_is_found();
}

SCENARIO(trim_beside_a_remembered_slot_and_cancel)
{
    make_parents();
    before(empties_the_second_block);
    beside(makes_one, tidies, cancels_top, NULL);
    check_made_is_found();
}

/* What remembers a slot there is another's child now; all others are taken. */
static canopy_ctx *others[FULL];

static void empties_the_second_block_and_forgets(void)
{
    empties_the_second_block_of(FULL);
    for (unsigned i = 0; i < FULL; i++)
        others[i] = canopy_with_cancel(other);
}

SCENARIO(trim_beside_a_claim)
{
    make_parents();
    before(empties_the_second_block_and_forgets);
    beside(makes_one, tidies, NULL);
    for (unsigned i = 0; i < FULL; i++)
        canopy_release(others[i]);
    check_made_is_found();
}

/*
 * One of the second block goes, and what is made next but one comes to its slot. The third
 * block is empty, but spared for what is on top; the slot that was taken last is in the first.
 */
static void leaves_one_in_the_second_block_of_three(void)
{
    empties_the_second_block_of(FULL);
    for (unsigned i = 0; i < FULL; i++)
        second[i] = canopy_with_cancel(top);
    canopy_release(many[0]);
    others[0] = canopy_with_cancel(other);
    many[0] = canopy_with_cancel(top);
    for (unsigned i = 1; i < FULL; i++)
        canopy_release(second[i]);
    releases_thirds();
}

static void goes_and_comes_again(void)
{
    canopy_release(second[0]);
    canopy_release(many[FULL - 1]);
    next = canopy_with_cancel(top);
    makes_one();
}

SCENARIO(trim_beside_a_child_that_goes_and_comes_again)
{
    make_parents();
    before(leaves_one_in_the_second_block_of_three);
    beside(goes_and_comes_again, tidies, NULL);
    canopy_cancel(top);
    CHECK(canopy_done(made) && canopy_done(next));
    canopy_release(next);
    canopy_release(others[0]);
    end_many(0, FULL - 1);
}

static void leaves_one_in_the_second_block(void)
{
    makes(MORE);
    releases(FULL, MORE - 1);
}

static void releases_it(void)
{
    canopy_release(many[MORE - 1]);
}

SCENARIO(trim_beside_a_walk)
{
    make_parents();
    before(leaves_one_in_the_second_block);
    beside(releases_it, tidies, cancels_top, NULL);
    end_many(0, FULL);
}

static void empties_all_but_one(void)
{
    makes(MORE);
    releases(1, MORE);
}

static void releases_all(void)
{
    canopy_release(many[0]);
    releases_top();
}

SCENARIO(trim_beside_the_end_of_the_parent)
{
    make_parents();
    before(empties_all_but_one);
    beside(releases_all, tidies, NULL);
    end_parents();
}

/* The same of a record, whose slot its thread remembers. */
static canopy_callback record;
static unsigned runs;

static void counts(void *arg)
{
    (void)arg;
    runs++;
}

static void arms(void)
{
    CHECK(canopy_after_func(top, &record, counts, NULL) == 0);
}

static void empties_the_second_block_but_for_a_record(void)
{
    makes(FULL);
    arms();
    CHECK(canopy_callback_stop(&record));
}

SCENARIO(trim_beside_a_record_that_comes_again)
{
    runs = 0;
    make_parents();
    before(empties_the_second_block_but_for_a_record);
    beside(arms, tidies, NULL);
    cancels_top();
    CHECK(runs == 1);
    end_many(0, FULL);
}

/*
 * A record in the second block and one in the first: when the thread takes back both it
 * leaves the second, which is empty then, and is set aside.
 */
static canopy_callback in_first, in_second;

static void arms_in_first(void)
{
    CHECK(canopy_after_func(top, &in_first, counts, NULL) == 0);
}

static void fills_the_first_block_and_begins_the_second(void)
{
    makes(FULL - 1);
    arms_in_first();
    CHECK(canopy_after_func(top, &in_second, counts, NULL) == 0);
}

static void leaves_one_in_the_second_block_before(unsigned children)
{
    fills_the_first_block_and_begins_the_second();
    for (unsigned i = 1; i < FULL; i++)
        second[i] = canopy_with_cancel(top);
    for (thirds = 0; thirds < children; thirds++)
        third[thirds] = canopy_with_cancel(top);
    for (unsigned i = 1; i < FULL; i++)
        canopy_release(second[i]);
}

static void leaves_one_in_each_block(void)
{
    leaves_one_in_the_second_block_before(1);
    releases(0, FULL - 1);
}

static void leaves_the_second_block(void)
{
    canopy_callback_drop(&in_second);
    canopy_callback_drop(&in_first);
}

SCENARIO(walk_beside_a_block_set_aside)
{
    make_parents();
    before(leaves_one_in_each_block);
    beside(leaves_the_second_block, cancels_top, NULL);
    CHECK(canopy_done(third[0]));
    releases_thirds();
    end_parents();
}

static void leaves_the_other_blocks_full(void)
{
    leaves_one_in_the_second_block_before(FULL);
}

static void comes_back_to_the_second_block(void)
{
    leaves_the_second_block();
    arms_in_first();
    makes_one();
}

SCENARIO(walk_beside_a_block_that_comes_back)
{
    make_parents();
    before(leaves_the_other_blocks_full);
    beside(comes_back_to_the_second_block, cancels_top, NULL);
    CHECK(canopy_done(third[FULL - 1]) && canopy_done(made));
    canopy_callback_drop(&in_first);
    releases_thirds();
    end_many(0, FULL - 1);
}

SCENARIO(trim_beside_a_block_that_comes_back)
{
    make_parents();
    before(fills_the_first_block_and_begins_the_second);
    beside(comes_back_to_the_second_block, tidies, NULL);
    cancels_top();
    CHECK(canopy_done(made));
    canopy_callback_drop(&in_first);
    end_many(0, FULL - 1);
}

/* The other record is another parent's, and the first parent may be gone by then. */
static void leaves_one_record_with_each_parent(void)
{
    makes(FULL);
    CHECK(canopy_after_func(top, &in_second, counts, NULL) == 0);
    CHECK(canopy_after_func(other, &in_first, counts, NULL) == 0);
    releases(0, FULL);
}

SCENARIO(block_set_aside_beside_the_end_of_the_parent)
{
    make_parents();
    before(leaves_one_record_with_each_parent);
    beside(leaves_the_second_block, releases_top, NULL);
    end_parents();
}

/* What the scavenger has taken is not set aside by what remembers it. */
static void empties_the_second_block_and_most_of_the_third(void)
{
    empties_the_second_block_of(FULL);
    while (thirds > 2)
        canopy_release(third[--thirds]);
}

static void lets_go_of_what_was_in_the_second(void)
{
    releases_thirds();
    releases(0, FULL);
}

SCENARIO(trim_beside_who_goes_past_what_was_trimmed)
{
    make_parents();
    before(empties_the_second_block_and_most_of_the_third);
    beside(lets_go_of_what_was_in_the_second, tidies, NULL);
    cancels_top();
    end_parents();
}

/*
 * A hot parent whose own parent's memory goes, that of a thread which has ended, while the
 * first one is dead but not yet given back: it still names the slot that it had.
 */
static canopy_ctx *hot;

static void *makes_top(void *arg)
{
    top = canopy_with_cancel(scenario_base());
    return arg;
}

static void make_hot_parent_in_anothers_memory(void)
{
    pthread_t thread;
    other = canopy_with_cancel(scenario_base());
    CHECK(explore_thread_create(&thread, NULL, makes_top, NULL) == 0);
    CHECK(explore_thread_join(thread, true) == 0);
    tidies(); /* nothing else is left in that memory */
    hot = canopy_with_cancel(top);
    for (unsigned i = 0; i <= FULL; i++)
        canopy_release(canopy_with_cancel(hot));
}

static void releases_made(void)
{
    canopy_release(made);
    made = NULL;
}

static void releases_top_and_tidies(void)
{
    releases_top();
    tidies();
    tidies();
}

/* It dies together with another: dead, each is linked to the next. */
SCENARIO(trim_beside_the_end_of_two_that_were_merged)
{
    make_hot_parent_in_anothers_memory();
    made = canopy_with_any((const canopy_ctx *[]){other, hot}, 2);
    canopy_release(other);
    canopy_release(hot);
    beside_to_the_end(releases_made, releases_top_and_tidies, NULL);
    other = NULL;
    end_parents();
}

static canopy_ctx *gate;

static void releases_hot(void)
{
    canopy_release(hot);
    canopy_cancel(gate);
}

static void releases_top_and_made_and_tidies(void)
{
    releases_top();
    rcu_flush(CANOPY_NEVER);
    tidies();
    releases_made();
    canopy_wait(gate, CANOPY_NEVER);
    tidies();
}

/* It was looked at, so it is retired: behind another, to which it is linked. */
SCENARIO(trim_beside_one_that_is_retired_behind_another)
{
    make_hot_parent_in_anothers_memory();
    gate = canopy_with_cancel(scenario_base());
    made = canopy_with_cancel(other);
    CHECK(canopy_cancel(top) && canopy_cancel(other));
    beside_to_the_end(releases_hot, releases_top_and_made_and_tidies, NULL);
    canopy_release(gate);
    end_parents();
}
