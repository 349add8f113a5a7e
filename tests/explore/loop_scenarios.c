/*
 * loop_scenarios.c - a loop's thread that sleeps, runs, stops and closes beside those
 * who cancel, add, stop and arm. The loop is made by the first fiber, which then is its
 * thread, and closes it at once when all has run: so who posts late meets it gone.
 */
#include "explore.h"

#include <errno.h>

#include <canopy/loop.h>

static canopy_loop loop;
static canopy_ctx *top, *contexts[2];
static canopy_loop_callback records[2];
static int runs, stops, cancels;
static int64_t time_ns;

static void counts(void *arg)
{
    CHECK(canopy_done(arg));
    runs++;
}

static void adds(unsigned i)
{
    CHECK(canopy_loop_after_func(contexts[i], &loop, &records[i], counts, contexts[i]) == 0);
}

static void opens(void)
{
    CHECK(canopy_loop_init(&loop, NULL) == 0);
}

static void opens_and_adds(void)
{
    opens();
    adds(0);
}

static void opens_and_adds_both(void)
{
    opens_and_adds();
    adds(1);
}

/* Sleeps as long as it may: for ever, if nobody wakes it. */
static void turns(void)
{
    if (canopy_loop_timeout_ns(&loop, time_ns) != 0)
        while (!scenario_fd_is_readable(canopy_loop_fd(&loop)))
            explore_nanosleep(NULL, NULL);
    CHECK(canopy_loop_run(&loop, time_ns) >= 0);
}

static void turns_until_it_ran(void)
{
    while (runs == 0)
        turns();
    CHECK(canopy_loop_close(&loop) == 0);
}

static void turns_until_both_ran(void)
{
    while (runs < 2)
        turns();
    CHECK(canopy_loop_close(&loop) == 0);
}

static void stops_and_closes(void)
{
    CHECK(canopy_loop_callback_stop(&records[0]));
    records[0] = (canopy_loop_callback){0}; /* it is free at once */
    CHECK(canopy_loop_close(&loop) == 0);
}

static void sleeps_and_stops(void)
{
    canopy_loop_timeout_ns(&loop, 0);
    stops_and_closes();
}

/* The host has no hook before its sleep: what its handlers do lies between asking and it. */
static void handles_a_stop_and_sleeps(void)
{
    int64_t sleep_ns = canopy_loop_timeout_ns(&loop, 0);
    CHECK(canopy_loop_callback_stop(&records[0]));
    if (sleep_ns != 0)
        while (!scenario_fd_is_readable(canopy_loop_fd(&loop)))
            explore_nanosleep(NULL, NULL);
    CHECK(canopy_loop_run(&loop, 0) >= 0);
    while (runs == 0)
        turns();
    CHECK(canopy_loop_callback_stop(&records[0]) == false);
    CHECK(canopy_loop_close(&loop) == 0);
}

/* Its handlers say that they are awake, and ask again as they end. */
static void turns_awake(void)
{
    while (runs < 2) {
        canopy_loop_timeout_ns(&loop, 0);
        CHECK(canopy_loop_awake(&loop) == 0);
        turns();
    }
    canopy_loop_timeout_ns(&loop, 0); /* a write that came late wakes it for nothing, and once */
    CHECK(canopy_loop_awake(&loop) == 0);
    CHECK(canopy_loop_run(&loop, 0) == 0);
    CHECK(canopy_loop_close(&loop) == 0);
}

static void stops_elsewhere(void)
{
    if (canopy_loop_callback_stop(&records[0])) {
        stops++;
    } else {
        CHECK(canopy_loop_callback_join(&records[0]) == 0);
        CHECK(runs == 1);
    }
    records[0] = (canopy_loop_callback){0};
}

static void turns_until_it_closes(void)
{
    while (canopy_loop_close(&loop) == -EBUSY) {
        CHECK(canopy_loop_run(&loop, 0) >= 0);
        explore_nanosleep(NULL, NULL);
    }
}

static void adds_the_first(void)
{
    adds(0);
}

static void cancels_top(void)
{
    canopy_cancel(top);
}

static void cancels_first(void)
{
    canopy_cancel(contexts[0]);
    cancels++;
}

static void cancels_second(void)
{
    canopy_cancel(contexts[1]);
    cancels++;
}

/* The host is woken by other fds of its own, until nobody has anything to write any more. */
static void turns_restlessly(void)
{
    while (runs < 2 || cancels < 2) {
        canopy_loop_timeout_ns(&loop, 0);
        explore_nanosleep(NULL, NULL);
        CHECK(canopy_loop_run(&loop, 0) >= 0);
    }
    /* A write that came late may wake it once more, for nothing; not over and over. */
    canopy_loop_timeout_ns(&loop, 0);
    CHECK(canopy_loop_run(&loop, 0) == 0);
    CHECK(canopy_loop_timeout_ns(&loop, 0) == CANOPY_NEVER);
    CHECK(!scenario_fd_is_readable(canopy_loop_fd(&loop)));
    CHECK(canopy_loop_close(&loop) == 0);
}

static void make(void)
{
    top = canopy_with_cancel(scenario_base());
    contexts[0] = canopy_with_cancel(top);
    contexts[1] = canopy_with_cancel(top);
}

static void end(void)
{
    canopy_end(contexts[0]);
    canopy_end(contexts[1]);
    canopy_end(top);
    scenario_close();
}

SCENARIO(loop_sleeps_beside_cancel)
{
    make();
    before(opens_and_adds);
    beside(turns_until_it_ran, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(loop_that_never_sleeps_beside_cancel)
{
    make();
    before(opens_and_adds);
    beside(turns_until_it_closes, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(loop_sleeps_beside_two_cancels)
{
    make();
    before(opens_and_adds_both);
    beside(turns_until_both_ran, cancels_first, cancels_second, NULL);
    CHECK(runs == 2);
    end();
}

SCENARIO(loop_woken_otherwise_beside_two_cancels)
{
    make();
    before(opens_and_adds_both);
    beside(turns_restlessly, cancels_first, cancels_second, NULL);
    end();
}

SCENARIO(loop_sleeps_beside_a_cancel_of_two)
{
    make();
    before(opens_and_adds_both);
    beside(turns_until_both_ran, cancels_top, NULL);
    CHECK(runs == 2);
    end();
}

SCENARIO(loop_sleeps_beside_after_func_and_cancel)
{
    make();
    before(opens);
    beside(turns_until_it_ran, adds_the_first, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}

SCENARIO(loop_stop_beside_cancel)
{
    make();
    before(opens_and_adds);
    beside(stops_and_closes, cancels_top, NULL);
    CHECK(runs == 0);
    end();
}

SCENARIO(loop_stop_of_one_that_slept_beside_cancel)
{
    make();
    before(opens_and_adds);
    beside(sleeps_and_stops, cancels_top, NULL);
    CHECK(runs == 0);
    end();
}

SCENARIO(loop_stop_in_a_handler_beside_cancel_of_two)
{
    make();
    before(opens_and_adds_both);
    beside(handles_a_stop_and_sleeps, cancels_top, NULL);
    CHECK(runs == 1);
    end();
}

/* At exit: nothing runs any more, and all records are free when drop says so. */
static void abandons_and_drops(void)
{
    CHECK(canopy_loop_abandon(&loop) == 0);
    for (int i = 0; i < 2; i++) {
        canopy_loop_callback_drop(&records[i]);
        records[i] = (canopy_loop_callback){0};
    }
    CHECK(runs == 0);
}

static void sleeps_and_abandons(void)
{
    canopy_loop_timeout_ns(&loop, 0);
    abandons_and_drops();
}

SCENARIO(loop_abandoned_beside_cancel)
{
    make();
    before(opens_and_adds_both);
    beside(sleeps_and_abandons, cancels_top, NULL);
    end();
}

SCENARIO(loop_abandoned_beside_two_cancels)
{
    make();
    before(opens_and_adds_both);
    beside(abandons_and_drops, cancels_first, cancels_second, NULL);
    end();
}

SCENARIO(loop_awake_beside_two_cancels)
{
    make();
    before(opens_and_adds_both);
    beside(turns_awake, cancels_first, cancels_second, NULL);
    CHECK(runs == 2);
    end();
}

SCENARIO(loop_stop_elsewhere_beside_cancel_and_run)
{
    make();
    before(opens_and_adds);
    beside(turns_until_it_closes, stops_elsewhere, cancels_top, NULL);
    CHECK(runs + stops == 1);
    end();
}

static canopy_ctx *timed;

static void opens_with_root(void)
{
    CHECK(canopy_loop_init(&loop, scenario_root()) == 0);
}

/* Who derived it may have been told by the loop that it is done before we are told of it. */
static bool timed_is_done(void)
{
    return timed && canopy_done(timed);
}

static void turns_until_timed_is_done(void)
{
    /* The host's clock: it passes by as much as the loop was told that it may sleep. */
    while (!timed_is_done()) {
        int64_t sleep_ns = canopy_loop_timeout_ns(&loop, time_ns);
        if (sleep_ns == CANOPY_NEVER) {
            while (!timed_is_done() && !scenario_fd_is_readable(canopy_loop_fd(&loop)))
                explore_nanosleep(NULL, NULL);
            sleep_ns = 0;
        }
        time_ns += sleep_ns;
        CHECK(canopy_loop_run(&loop, time_ns) >= 0);
        if (sleep_ns == 0)
            explore_nanosleep(NULL, NULL);
    }
    CHECK(canopy_loop_close(&loop) == 0);
}

static void derives_timed(void)
{
    canopy_ctx *ctx = canopy_with_timeout(scenario_base(), 1000);
    CHECK(ctx);
    timed = ctx;
}

HOST_SCENARIO(loop_sleeps_beside_a_deadline_from_elsewhere)
{
    before(opens_with_root);
    beside(turns_until_timed_is_done, derives_timed, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    canopy_end(timed);
    scenario_close();
}
