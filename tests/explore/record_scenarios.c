/*
 * record_scenarios.c - callbacks that a thread adds and stops over and over under one
 * parent. Where that is busy (explore_busy) a record takes the slot that the last one
 * left, by a plain store, see children.h. Promises 10, 28, 29.
 */
#include "explore.h"

static canopy_ctx *top, *other, *made, *gate;
static const canopy_ctx *view;
static canopy_callback record;
static int runs;
static bool stopped;

static void counts(void *arg)
{
    CHECK(canopy_done(arg));
    runs++;
}

static void arms(const canopy_ctx *ctx)
{
    CHECK(canopy_after_func(ctx, &record, counts, (void *)(uintptr_t)ctx) == 0);
}

static void arms_on_view(void)
{
    arms(view);
}

static void stops(void)
{
    stopped = canopy_callback_stop(&record);
    if (stopped)
        record = (canopy_callback){0}; /* it is free at once */
}

static void arms_and_stops(void)
{
    arms_on_view();
    stops();
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

static void make(void)
{
    top = canopy_with_cancel(scenario_base());
    other = canopy_with_cancel(scenario_base());
    view = top;
}

static void end(void)
{
    canopy_end(made);
    canopy_end(other);
    canopy_end(top);
    scenario_close();
}

SCENARIO(record_comes_again_beside_cancel)
{
    make();
    before(arms_and_stops);
    beside(arms_on_view, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(record_comes_again_and_goes_beside_cancel)
{
    make();
    before(arms_and_stops);
    beside(arms_and_stops, cancels_top, NULL);
    CHECK(runs + stopped == 1);
    end();
}

static void cancels_top_or_helps(void)
{
    canopy_cancel(top);
}

SCENARIO(record_comes_again_beside_two_cancels)
{
    make();
    before(arms_and_stops);
    beside(arms_on_view, cancels_top_or_helps, cancels_top_or_helps, NULL);
    CHECK(runs == 1);
    end();
}

/* A child keeps the parent, so that the record is added to what has no handle any more. */
SCENARIO(record_comes_again_beside_the_last_release)
{
    make();
    made = canopy_with_cancel(top);
    before(arms_and_stops);
    beside(arms_on_view, releases_top, NULL);
    canopy_release(made);
    made = NULL;
    stops(); /* until now it has kept its context alone */
    CHECK(stopped && runs == 0);
    end();
}

/* The parent may die of the stop, and its memory be what the next ones are made of. */
static void stops_and_arms_elsewhere(void)
{
    stops();
    CHECK(stopped);
    for (unsigned i = 0; i < 2; i++) {
        canopy_end(made);
        made = canopy_with_cancel(other);
        arms(made);
        CHECK(canopy_cancel(made));
    }
    CHECK(runs == 2);
}

SCENARIO(record_goes_beside_the_last_release_and_comes_elsewhere)
{
    make();
    before(arms_on_view);
    beside(stops_and_arms_elsewhere, releases_top, NULL);
    end();
}

/* What a child that comes into the slot meanwhile is to hear of. */
static canopy_ctx *many[59];

static void arms_stops_and_fills(void)
{
    arms_and_stops();
    for (unsigned i = 0; i < 59; i++)
        many[i] = canopy_with_cancel(top);
}

SCENARIO(record_comes_where_a_child_is_beside_cancel)
{
    make();
    before(arms_stops_and_fills);
    beside(arms_on_view, cancels_top, NULL);
    CHECK(runs == 1);
    for (unsigned i = 0; i < 59; i++) {
        CHECK(canopy_done(many[i]));
        canopy_release(many[i]);
    }
    end();
}

static void stops_and_arms_in_its_place(void)
{
    stops();
    CHECK(stopped);
    CHECK(canopy_wait(gate, CANOPY_NEVER));
    arms(made);
    CHECK(canopy_cancel(made));
    CHECK(runs == 1);
}

static void releases_top_and_makes_another(void)
{
    canopy_end(canopy_with_cancel(other)); /* memory that is let go of stays with this thread */
    releases_top();
    made = canopy_with_cancel(other);
    CHECK(canopy_cancel(gate));
}

/* The same, where another thread has made a context of that memory. */
SCENARIO(record_goes_beside_the_last_release_and_comes_in_its_place)
{
    make();
    gate = canopy_with_cancel(scenario_base());
    before(arms_on_view);
    beside(stops_and_arms_in_its_place, releases_top_and_makes_another, NULL);
    canopy_release(gate);
    end();
}

/* More than make a parent busy, and less than have a thread go over to plain stores. */
#define NEARLY_BUSY 80

static void arms_and_stops_often(void)
{
    for (unsigned i = 0; i < NEARLY_BUSY; i++)
        arms_and_stops();
}

SCENARIO(record_comes_again_to_a_nearly_busy_parent_beside_cancel)
{
    make();
    before(arms_and_stops_often);
    beside(arms_on_view, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}
