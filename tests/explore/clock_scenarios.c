/*
 * clock_scenarios.c - expiry by the library's own threads: the clock, which marks
 * and wakes, and the worker, which runs callbacks. Time passes whenever the search
 * wants it to. Promises 18 to 21, 31.
 */
#include "explore.h"

#include <errno.h>

/* The explorer's clock begins at this. */
#define BEGIN_NS INT64_C(1000000000000)
#define SECOND   INT64_C(1000000000)
#define DUE_NS   (BEGIN_NS + SECOND / 100)
#define NEAR_NS  (BEGIN_NS + SECOND / 200)
#define FAR_NS   (BEGIN_NS + 3600 * SECOND)

static canopy_ctx *parent, *timed, *other;
static bool moved, cancelled;

static void make(void)
{
    parent = canopy_with_cancel(scenario_base());
    timed = canopy_with_deadline(parent, DUE_NS);
}

static void end(void)
{
    canopy_end(other);
    canopy_end(timed);
    canopy_end(parent);
    scenario_close();
}

static void waits_for_timed(void)
{
    CHECK(canopy_wait(timed, CANOPY_NEVER));
}

/* Who polls leaves what is due to the clock; who waits would end it. */
static void polls_timed(void)
{
    scenario_await_fd(canopy_done_fd(timed));
    CHECK(canopy_done(timed));
}

CLOCK_SCENARIO(expiry_by_the_clock_beside_wait)
{
    make();
    beside(waits_for_timed, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT && !canopy_done(parent));
    end();
}

CLOCK_SCENARIO(expiry_by_the_clock_beside_poll)
{
    make();
    beside(polls_timed, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT && !canopy_done(parent));
    end();
}

static void cancels_timed(void)
{
    cancelled = canopy_cancel(timed);
}

CLOCK_SCENARIO(expiry_by_the_clock_beside_cancel)
{
    make();
    beside(cancels_timed, polls_timed, NULL);
    CHECK(canopy_err(timed) == (cancelled ? -ECANCELED : -ETIMEDOUT));
    end();
}

static void releases_timed(void)
{
    canopy_release(timed);
    timed = NULL;
}

static void releases_parent(void)
{
    canopy_release(parent);
    parent = NULL;
}

CLOCK_SCENARIO(expiry_by_the_clock_beside_releases)
{
    make();
    beside(releases_timed, releases_parent, NULL);
    end();
}

static void moves_away(void)
{
    moved = canopy_set_deadline(timed, CANOPY_NEVER);
    CHECK(moved || canopy_done(timed));
}

CLOCK_SCENARIO(expiry_by_the_clock_beside_set_deadline_away)
{
    make();
    beside(moves_away, NULL);
    CHECK(canopy_err(timed) == (moved ? 0 : -ETIMEDOUT));
    end();
}

static void moves_away_or_cancels(void)
{
    moves_away();
    if (moved)
        cancels_timed();
}

/* What is moved away from under who waits is not what ends it. */
CLOCK_SCENARIO(wait_beside_set_deadline_away)
{
    make();
    beside(waits_for_timed, moves_away_or_cancels, NULL);
    CHECK(canopy_err(timed) == (moved ? -ECANCELED : -ETIMEDOUT));
    end();
}

static void moves_nearer_and_polls(void)
{
    moved = canopy_set_deadline(timed, NEAR_NS);
    CHECK(moved || canopy_done(timed));
    polls_timed();
}

CLOCK_SCENARIO(set_deadline_nearer_than_the_clock_sleeps)
{
    parent = canopy_with_cancel(scenario_base());
    timed = canopy_with_deadline(parent, FAR_NS);
    beside(moves_nearer_and_polls, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

/* The first of all deadlines, also in the clock's life. */
static void derives_timed_and_polls(void)
{
    timed = canopy_with_deadline(parent, DUE_NS);
    polls_timed();
}

CLOCK_SCENARIO(deadline_beside_the_start_of_the_clock)
{
    parent = canopy_with_cancel(scenario_base());
    beside(derives_timed_and_polls, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

static void derives_other(void)
{
    other = canopy_with_deadline(parent, FAR_NS);
}

/* A nearer one comes while the clock, woken by the other one, goes to sleep again. */
CLOCK_SCENARIO(nearer_deadline_as_the_clock_goes_to_sleep)
{
    parent = canopy_with_cancel(scenario_base());
    canopy_release(canopy_with_deadline(parent, FAR_NS + SECOND));
    beside(derives_other, derives_timed_and_polls, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

/* ------------------------------------------------------------------- the worker */

static canopy_callback record;
static int runs;
static bool stopped;

static void counts(void *arg)
{
    (void)arg;
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    runs++;
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

CLOCK_SCENARIO(stop_and_join_beside_expiry_by_the_clock)
{
    make();
    CHECK(canopy_after_func(timed, &record, counts, NULL) == 0);
    beside(stops_and_joins, NULL);
    CHECK(runs + stopped == 1);
    end();
}

/* Whoever ends it, who waits or the clock: it is the worker that runs it. */
CLOCK_SCENARIO(stop_and_join_beside_expiry_by_who_waits)
{
    make();
    CHECK(canopy_after_func(timed, &record, counts, NULL) == 0);
    beside(stops_and_joins, waits_for_timed, NULL);
    CHECK(runs + stopped == 1);
    end();
}

static void gives_up_timed(void *arg)
{
    (void)arg;
    runs++;
    releases_timed();
}

static void waits_for_parent_to_be_idle(void)
{
    CHECK(canopy_wait_idle(parent, CANOPY_NEVER) == 0);
    CHECK(runs == 1);
}

/* Nobody but the callback holds it. */
CLOCK_SCENARIO(last_reference_in_the_callback_at_expiry)
{
    make();
    CHECK(canopy_after_func(timed, &record, gives_up_timed, NULL) == 0);
    beside(waits_for_parent_to_be_idle, NULL);
    end();
}

/* ----------------------------------------------------------------- a root that goes */

static canopy_ctx *root;

static void releases_timed_and_frees_root(void)
{
    releases_timed();
    CHECK(canopy_root_free(root) == 0);
}

/* The clock looks at all roots of its own. */
CLOCK_SCENARIO(root_free_beside_expiry_by_the_clock)
{
    root = canopy_root_new(NULL);
    timed = canopy_with_deadline(root, DUE_NS);
    beside(releases_timed_and_frees_root, NULL);
    scenario_close();
}

static void makes_root_and_polls(void)
{
    root = canopy_root_new(NULL);
    timed = canopy_with_deadline(root, DUE_NS);
    polls_timed();
}

/* Its place has a low bound of one that has gone, so that there is none to lower. */
CLOCK_SCENARIO(root_in_the_place_of_another_beside_the_clock)
{
    root = canopy_root_new(NULL);
    canopy_release(canopy_with_deadline(root, NEAR_NS));
    CHECK(canopy_root_free(root) == 0);
    beside(makes_root_and_polls, NULL);
    canopy_end(timed);
    CHECK(canopy_root_free(root) == 0);
    scenario_close();
}
