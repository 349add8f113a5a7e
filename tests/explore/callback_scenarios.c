/*
 * callback_scenarios.c - callbacks and merged contexts beside a cancel. Promises
 * 14, 27 to 32.
 */
#include "explore.h"

#include <string.h>

static canopy_ctx *top, *child;
static canopy_callback record;
static int runs;
static bool stopped;

static void counts(void *arg)
{
    CHECK(arg == &record);
    CHECK(canopy_done(child));
    runs++;
}

static void arms(void)
{
    CHECK(canopy_after_func(child, &record, counts, &record) == 0);
}

static void stops(void)
{
    stopped = canopy_callback_stop(&record);
    if (stopped)
        record = (canopy_callback){0}; /* it is free at once */
}

static void stops_and_joins(void)
{
    stopped = canopy_callback_stop(&record);
    if (!stopped) {
        CHECK(canopy_callback_join(&record) == 0);
        CHECK(runs == 1);
    }
    record = (canopy_callback){0};
}

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

static void cancels_both(void)
{
    cancels_top();
    CHECK(canopy_done(child));
}

static void cancels_child(void)
{
    canopy_cancel(child);
}

static void make(void)
{
    top = canopy_with_cancel(scenario_base());
    child = canopy_with_cancel(top);
}

static void end(void)
{
    canopy_end(child);
    canopy_end(top);
    scenario_close();
}

SCENARIO(after_func_beside_cancel)
{
    make();
    beside(arms, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(after_func_beside_two_cancels)
{
    make();
    beside(arms, cancels_both, cancels_child, NULL);
    CHECK(runs == 1);
    end();
}

static void arms_and_stops(void)
{
    arms();
    stops();
}

SCENARIO(after_func_and_stop_beside_cancel)
{
    make();
    beside(arms_and_stops, cancels_both, NULL);
    CHECK(runs + stopped == 1);
    end();
}

SCENARIO(stop_beside_cancel)
{
    make();
    arms();
    beside(stops, cancels_both, NULL);
    CHECK(runs + stopped == 1);
    end();
}

SCENARIO(stop_and_join_beside_cancel)
{
    make();
    arms();
    beside(stops_and_joins, cancels_both, NULL);
    CHECK(runs + stopped == 1);
    end();
}

SCENARIO(stop_and_join_beside_two_cancels)
{
    make();
    arms();
    beside(stops_and_joins, cancels_both, cancels_child, NULL);
    CHECK(runs + stopped == 1);
    end();
}

static void drops(void)
{
    stopped = canopy_callback_drop(&record);
    CHECK(runs + stopped == 1);
    record = (canopy_callback){0};
}

SCENARIO(drop_beside_cancel)
{
    make();
    arms();
    beside(drops, cancels_both, NULL);
    end();
}

static void joins(void)
{
    CHECK(canopy_callback_join(&record) == 0);
}

static void stops_for_another_to_join(void)
{
    stopped = canopy_callback_stop(&record);
    joins();
    CHECK(runs + stopped == 1);
}

SCENARIO(two_joins_beside_cancel)
{
    make();
    arms();
    beside(stops_for_another_to_join, joins, cancels_both, NULL);
    end();
}

static void joins_once_it_is_done(void)
{
    if (!canopy_done(child))
        return;
    joins();
    CHECK(runs == 1);
}

SCENARIO(join_of_what_is_done_beside_cancel)
{
    make();
    arms();
    beside(joins_once_it_is_done, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

static const canopy_key key = {.name = "key"};
static canopy_ctx *layer;

static void arms_on_layer(void)
{
    CHECK(canopy_after_func(layer, &record, counts, &record) == 0);
    canopy_release(layer);
}

/* The record holds the layer, and sits in the list of what the layer shares its state with. */
SCENARIO(after_func_through_a_value_beside_cancel)
{
    make();
    layer = canopy_with_value(child, &key, NULL);
    beside(arms_on_layer, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(stop_through_a_value_beside_cancel)
{
    make();
    layer = canopy_with_value(child, &key, NULL);
    arms_on_layer();
    beside(stops, cancels_both, NULL);
    CHECK(runs + stopped == 1);
    end();
}

static void releases_child(void)
{
    canopy_release(child);
}

static void counts_only(void *arg)
{
    (void)arg;
    runs++;
}

/* An armed callback keeps its context. */
SCENARIO(release_of_armed_beside_cancel)
{
    make();
    CHECK(canopy_after_func(child, &record, counts_only, NULL) == 0);
    beside(releases_child, cancels_top, NULL);
    CHECK(runs == 1);
    canopy_end(top);
    scenario_close();
}

SCENARIO(release_of_armed_beside_stop_beside_cancel)
{
    make();
    CHECK(canopy_after_func(child, &record, counts_only, NULL) == 0);
    beside(releases_child, stops, cancels_top, NULL);
    CHECK(runs + stopped == 1);
    canopy_end(top);
    scenario_close();
}

static void gives_up_child(void *arg)
{
    (void)arg;
    runs++;
    canopy_release(child);
}

static void arms_to_give_up(void)
{
    CHECK(canopy_after_func(child, &record, gives_up_child, NULL) == 0);
}

SCENARIO(last_reference_in_the_callback)
{
    make();
    beside(arms_to_give_up, cancels_top, NULL);
    CHECK(runs == 1);
    canopy_end(top);
    scenario_close();
}

static canopy_callback second_record;

static void arms_second(void)
{
    CHECK(canopy_after_func(child, &second_record, counts, &record) == 0);
}

SCENARIO(two_after_funcs_beside_cancel)
{
    make();
    beside(arms, arms_second, cancels_both, NULL);
    CHECK(runs == 2);
    end();
}

/* Whichever runs first drops both, and their memory is used for something else. */
static void drops_both(void *arg)
{
    (void)arg;
    runs++;
    int never_run = canopy_callback_drop(&record) + canopy_callback_drop(&second_record);
    CHECK(never_run == 1);
    memset(&record, 0xa5, sizeof record);
    memset(&second_record, 0xa5, sizeof second_record);
}

SCENARIO(drops_in_callbacks_beside_release)
{
    make();
    CHECK(canopy_after_func(child, &record, drops_both, NULL) == 0);
    CHECK(canopy_after_func(child, &second_record, drops_both, NULL) == 0);
    beside(cancels_top, releases_child, NULL);
    CHECK(runs == 1);
    canopy_end(top);
    scenario_close();
}

static void drops_itself(void *arg)
{
    (void)arg;
    runs++;
    CHECK(!canopy_callback_drop(&record));
    memset(&record, 0xa5, sizeof record);
}

static void arms_to_drop(void)
{
    CHECK(canopy_after_func(child, &record, drops_itself, NULL) == 0);
}

SCENARIO(after_func_that_drops_itself_beside_cancel)
{
    make();
    beside(arms_to_drop, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

/* ----------------------------------------------------------------------- async */

static void counts_elsewhere(void *arg)
{
    CHECK(canopy_done(arg));
    runs++;
}

static void arms_async(void)
{
    CHECK(canopy_after_func_async(child, &record, counts_elsewhere, child) == 0);
}

static void arms_async_and_joins(void)
{
    arms_async();
    CHECK(canopy_wait(child, CANOPY_NEVER));
    joins();
    CHECK(runs == 1);
}

CLOCK_SCENARIO(after_func_async_beside_cancel)
{
    make();
    beside(arms_async_and_joins, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

static void arms_async_and_drops(void)
{
    arms_async();
    stopped = canopy_callback_drop(&record);
    memset(&record, 0xa5, sizeof record);
    CHECK(runs + stopped == 1);
}

CLOCK_SCENARIO(after_func_async_and_drop_beside_cancel)
{
    make();
    beside(arms_async_and_drops, cancels_both, NULL);
    CHECK(runs + stopped == 1);
    end();
}

/* ------------------------------------------------------------------ taken back */

/* Whichever of two runs first stays inside until the other was taken back elsewhere. */
static canopy_callback pair[2];
static int begun;
static bool is_back;

static void waits_for_the_other(void *arg)
{
    runs++;
    begun = arg == &pair[0] ? 1 : 2;
    while (!is_back)
        explore_nanosleep(NULL, NULL);
}

static void arms_pair(void)
{
    for (unsigned i = 0; i < 2; i++)
        CHECK(canopy_after_func(i == 0 ? top : child, &pair[i], waits_for_the_other, &pair[i]) ==
              0);
}

static void drops_the_other(void)
{
    while (!begun)
        explore_nanosleep(NULL, NULL);
    canopy_callback *other = &pair[2 - begun];
    CHECK(canopy_callback_drop(other));
    memset(other, 0xa5, sizeof *other);
    is_back = true;
}

SCENARIO(drop_of_what_waits_behind_a_callback)
{
    make();
    arms_pair();
    beside(drops_the_other, cancels_both, NULL);
    CHECK(runs == 1);
    end();
}

static canopy_callback three[3];
static int ran[3];

static void counts_its_own(void *arg)
{
    (*(int *)arg)++;
}

static void arms_three(void)
{
    for (unsigned i = 0; i < 3; i++)
        CHECK(canopy_after_func(i == 2 ? child : top, &three[i], counts_its_own, &ran[i]) == 0);
}

static void stops_one_of_three(unsigned i)
{
    if (canopy_callback_stop(&three[i])) {
        CHECK(ran[i] == 0);
        ran[i] = 1;
    } else {
        CHECK(canopy_callback_join(&three[i]) == 0);
        CHECK(ran[i] == 1);
    }
    memset(&three[i], 0xa5, sizeof three[i]);
}

static void stops_the_last(void)
{
    stops_one_of_three(2);
}

static void stops_the_middle(void)
{
    stops_one_of_three(1);
}

SCENARIO(stop_of_one_of_three_beside_cancel)
{
    make();
    arms_three();
    beside(stops_the_middle, cancels_both, NULL);
    CHECK(ran[0] == 1 && ran[1] == 1 && ran[2] == 1);
    end();
}

SCENARIO(stop_of_two_of_three_beside_cancel)
{
    make();
    arms_three();
    beside(stops_the_middle, stops_the_last, cancels_both, NULL);
    CHECK(ran[0] == 1 && ran[1] == 1 && ran[2] == 1);
    end();
}

/* ---------------------------------------------------------------------- merged */

static canopy_ctx *left, *right, *merged;
static const canopy_cause left_cause = {.code = 1, .text = "left"};
static const canopy_cause right_cause = {.code = 2, .text = "right"};

static void make_inputs(void)
{
    left = canopy_with_cancel(scenario_base());
    right = canopy_with_cancel(scenario_base());
}

static void merges(void)
{
    const canopy_ctx *inputs[] = {left, right};
    merged = canopy_with_any(inputs, 2);
}

static void cancels_left(void)
{
    canopy_cancel_cause(left, &left_cause);
    CHECK(canopy_cause_of(left) == &left_cause);
}

static void cancels_left_for_all(void)
{
    cancels_left();
    CHECK(canopy_done(merged));
}

static void cancels_right_for_all(void)
{
    canopy_cancel_cause(right, &right_cause);
    CHECK(canopy_done(merged));
}

static void ends_merged(void)
{
    canopy_end(merged);
    merged = NULL;
}

static void releases_merged(void)
{
    canopy_release(merged);
    merged = NULL;
}

static void end_inputs(void)
{
    canopy_end(merged);
    canopy_end(left);
    canopy_end(right);
    scenario_close();
}

SCENARIO(with_any_beside_cancel_of_an_input)
{
    make_inputs();
    beside(merges, cancels_left, NULL);
    CHECK(canopy_cause_of(merged) == &left_cause);
    CHECK(!canopy_done(right));
    end_inputs();
}

static void cancels_left_then_right(void)
{
    canopy_cancel_cause(left, &left_cause);
    canopy_cancel_cause(right, &right_cause);
}

/* Whenever it is made among the two: there is no moment at which the second one is the first. */
SCENARIO(with_any_beside_cancels_in_turn)
{
    make_inputs();
    beside(merges, cancels_left_then_right, NULL);
    CHECK(canopy_cause_of(merged) == &left_cause);
    end_inputs();
}

SCENARIO(end_of_merged_beside_cancel_of_an_input)
{
    make_inputs();
    merges();
    beside(ends_merged, cancels_left, NULL);
    CHECK(!canopy_done(right));
    end_inputs();
}

SCENARIO(release_of_merged_beside_cancel_of_inputs)
{
    make_inputs();
    merges();
    beside(releases_merged, cancels_left, NULL);
    end_inputs();
}

SCENARIO(merged_beside_cancel_of_both_inputs)
{
    make_inputs();
    merges();
    beside(cancels_left_for_all, cancels_right_for_all, NULL);
    CHECK(canopy_cause_of(merged) == &left_cause || canopy_cause_of(merged) == &right_cause);
    end_inputs();
}

/* The inputs share an ancestor, so that one cancel finds the merged context twice. */
SCENARIO(merged_beside_cancel_above_both_inputs)
{
    make();
    left = canopy_with_cancel(top);
    right = canopy_with_cancel(child);
    merges();
    beside(cancels_both, cancels_right_for_all, NULL);
    canopy_end(merged);
    merged = NULL;
    canopy_end(left);
    canopy_end(right);
    end();
}

static canopy_ctx *below;

static void derives_below(void)
{
    below = canopy_with_cancel(merged);
}

SCENARIO(derive_under_merged_beside_cancel_of_an_input)
{
    make_inputs();
    merges();
    beside(derives_below, cancels_left_for_all, NULL);
    CHECK(canopy_cause_of(below) == &left_cause);
    canopy_end(below);
    end_inputs();
}

/* ------------------------------------------- merged, something below, and more behind it */

static canopy_ctx *after_left, *after_right;

/* What is behind the merged context in the lists of its inputs is met on the way back. */
static void make_tree_below_merged(void)
{
    make_inputs();
    merges();
    below = canopy_with_cancel(merged);
    after_left = canopy_with_cancel(left);
    after_right = canopy_with_cancel(right);
}

static void end_tree_below_merged(void)
{
    canopy_end(after_right);
    canopy_end(after_left);
    canopy_end(below);
    end_inputs();
}

static void cancels_left_for_all_below(void)
{
    canopy_cancel(left);
    CHECK(canopy_done(below) && canopy_done(after_left));
}

static void cancels_right_for_all_below(void)
{
    canopy_cancel(right);
    CHECK(canopy_done(below) && canopy_done(after_right));
}

SCENARIO(tree_below_merged_beside_cancel_of_both_inputs)
{
    make_tree_below_merged();
    beside(cancels_left_for_all_below, cancels_right_for_all_below, NULL);
    end_tree_below_merged();
}

SCENARIO(tree_below_merged_beside_cancel_of_an_input_by_two)
{
    make_tree_below_merged();
    beside(cancels_left_for_all_below, cancels_left_for_all_below, NULL);
    CHECK(!canopy_done(after_right));
    end_tree_below_merged();
}

SCENARIO(tree_below_merged_beside_cancels_of_one_input_and_two_of_the_other)
{
    make_tree_below_merged();
    beside(cancels_left_for_all_below, cancels_right_for_all_below, cancels_right_for_all_below,
           NULL);
    end_tree_below_merged();
}
