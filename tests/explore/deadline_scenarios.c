/*
 * deadline_scenarios.c - expiry under a host's clock beside cancel, release and a
 * deadline that moves. Promises 16, 18 to 21.
 */
#include "explore.h"

#include <errno.h>

static canopy_ctx *parent, *timed;
static bool cancelled, moved;

#define DUE_NS INT64_C(100)

static void advances(void)
{
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
}

static void advances_to_all(void)
{
    advances();
    CHECK(canopy_done(timed));
}

static void make(void)
{
    parent = canopy_with_cancel(scenario_base());
    timed = canopy_with_deadline(parent, DUE_NS);
}

static void end(void)
{
    canopy_end(timed);
    canopy_end(parent);
    scenario_close();
}

static void cancels_timed(void)
{
    cancelled = canopy_cancel(timed);
    CHECK(canopy_done(timed));
}

static void cancels_parent(void)
{
    CHECK(canopy_cancel(parent));
}

static void cancels_both(void)
{
    cancels_parent();
    CHECK(canopy_done(timed));
}

static void releases_timed(void)
{
    canopy_release(timed);
    timed = NULL;
}

HOST_SCENARIO(expiry_beside_cancel)
{
    make();
    beside(advances_to_all, cancels_timed, NULL);
    CHECK(canopy_err(timed) == (cancelled ? -ECANCELED : -ETIMEDOUT));
    CHECK(canopy_cause_of(timed) == (cancelled ? CANOPY_CANCELED : CANOPY_DEADLINE_EXCEEDED));
    CHECK(!canopy_done(parent));
    end();
}

HOST_SCENARIO(expiry_beside_cancel_of_parent)
{
    make();
    beside(advances_to_all, cancels_both, NULL);
    CHECK(canopy_err(parent) == -ECANCELED);
    end();
}

HOST_SCENARIO(expiry_beside_release)
{
    make();
    beside(advances, releases_timed, NULL);
    end();
}

static void releases_both(void)
{
    releases_timed();
    canopy_release(parent);
    parent = NULL;
}

/* Who looks at a child finds the way up from it, though all of it is let go of. */
HOST_SCENARIO(expiry_beside_release_of_child_and_parent)
{
    make();
    beside(advances, releases_both, NULL);
    end();
}

HOST_SCENARIO(expiry_beside_cancel_of_parent_beside_release)
{
    make();
    beside(advances, cancels_parent, releases_timed, NULL);
    CHECK(canopy_done(parent));
    end();
}

static void moves_away(void)
{
    moved = canopy_set_deadline(timed, CANOPY_NEVER);
    CHECK(moved || canopy_done(timed));
}

HOST_SCENARIO(set_deadline_away_beside_expiry)
{
    make();
    beside(advances, moves_away, NULL);
    CHECK(canopy_err(timed) == (moved ? 0 : -ETIMEDOUT));
    end();
}

static void moves_nearer(void)
{
    moved = canopy_set_deadline(timed, DUE_NS);
}

HOST_SCENARIO(set_deadline_nearer_beside_expiry)
{
    parent = canopy_with_cancel(scenario_base());
    timed = canopy_with_deadline(parent, 10 * DUE_NS);
    beside(advances, moves_nearer, NULL);
    /* Whoever was late, it fires with the clock's next look. */
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

static void derives_timed(void)
{
    timed = canopy_with_deadline(parent, DUE_NS);
    CHECK(timed);
}

HOST_SCENARIO(derive_with_deadline_beside_expiry)
{
    parent = canopy_with_cancel(scenario_base());
    beside(derives_timed, advances, NULL);
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

HOST_SCENARIO(derive_with_deadline_beside_expiry_beside_cancel)
{
    parent = canopy_with_cancel(scenario_base());
    beside(derives_timed, advances, cancels_parent, NULL);
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
    CHECK(canopy_done(timed));
    end();
}

static void derives_and_releases_a_nearer_one(void)
{
    canopy_release(canopy_with_deadline(parent, DUE_NS / 2));
}

static void advances_half_way(void)
{
    CHECK(canopy_root_advance(scenario_root(), DUE_NS / 2, NULL) == 0);
}

/* What is gone has left a bound lower than need be, so that there is none to lower. */
HOST_SCENARIO(derive_with_deadline_over_a_low_bound_beside_expiry)
{
    parent = canopy_with_cancel(scenario_base());
    before(derives_and_releases_a_nearer_one);
    beside(derives_timed, advances_half_way, NULL);
    CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

/* ------------------------------------ turns that leave some of what is due to the next */

static canopy_ctx *due_here, *due_there;

static void makes_one_that_is_due(void)
{
    due_there = canopy_with_deadline(parent, DUE_NS);
}

/* What is due is in two slabs, of which each of these turns looks into one, or two. */
static void advances_a_little_twice(void)
{
    CHECK(canopy_root_advance_for(scenario_root(), DUE_NS, 0, NULL) == 0);
    CHECK(canopy_root_advance_for(scenario_root(), DUE_NS, 0, NULL) == 0);
}

static void end_bounded(void)
{
    int64_t next_ns = 0;
    for (unsigned turns = 0; next_ns <= 2 * DUE_NS; turns++) {
        CHECK(turns < 8);
        CHECK(canopy_root_advance_for(scenario_root(), 2 * DUE_NS, 0, &next_ns) == 0);
    }
    CHECK(canopy_err(due_here) == -ETIMEDOUT && canopy_err(due_there) == -ETIMEDOUT);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    canopy_end(due_there);
    canopy_end(due_here);
    end();
}

static void derives_timed_later(void)
{
    timed = canopy_with_deadline(parent, 2 * DUE_NS);
    CHECK(canopy_deadline(timed, NULL));
}

HOST_SCENARIO(derive_with_deadline_beside_bounded_turns)
{
    parent = canopy_with_cancel(scenario_base());
    due_here = canopy_with_deadline(parent, DUE_NS);
    before(makes_one_that_is_due);
    beside(derives_timed_later, advances_a_little_twice, NULL);
    end_bounded();
}

static void moves_to_later(void)
{
    CHECK(canopy_set_deadline(timed, 2 * DUE_NS));
}

HOST_SCENARIO(set_deadline_nearer_beside_bounded_turns)
{
    parent = canopy_with_cancel(scenario_base());
    due_here = canopy_with_deadline(parent, DUE_NS);
    timed = canopy_with_deadline(parent, 10 * DUE_NS);
    before(makes_one_that_is_due);
    beside(moves_to_later, advances_a_little_twice, NULL);
    end_bounded();
}

static void moves_into_the_past(void)
{
    moved = canopy_set_deadline(timed, 0);
    CHECK(canopy_done(timed));
}

HOST_SCENARIO(set_deadline_in_the_past_beside_expiry)
{
    make();
    beside(advances, moves_into_the_past, NULL);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    end();
}

HOST_SCENARIO(set_deadline_in_the_past_beside_cancel)
{
    make();
    beside(cancels_timed, moves_into_the_past, NULL);
    CHECK(canopy_err(timed) == (cancelled ? -ECANCELED : -ETIMEDOUT));
    CHECK(cancelled != moved);
    end();
}

static void resets_timed(void)
{
    moved = canopy_try_reset(timed);
}

HOST_SCENARIO(reset_beside_expiry)
{
    make();
    beside(advances, resets_timed, NULL);
    CHECK(canopy_err(timed) == (moved ? 0 : -ETIMEDOUT));
    end();
}

static const canopy_ctx *retained;

static void releases_retained(void)
{
    canopy_release(retained);
}

static void ends_timed(void)
{
    canopy_end(timed);
    timed = NULL;
}

HOST_SCENARIO(expiry_beside_end_beside_release)
{
    make();
    retained = canopy_retain(timed);
    beside(advances, ends_timed, releases_retained, NULL);
    end();
}

static canopy_callback record;
static int runs;

static void counts(void *arg)
{
    (void)arg;
    runs++;
}

static void arms(void)
{
    CHECK(canopy_after_func(timed, &record, counts, NULL) == 0);
}

HOST_SCENARIO(after_func_beside_expiry_beside_cancel)
{
    make();
    beside(arms, advances_to_all, cancels_timed, NULL);
    CHECK(runs == 1);
    end();
}

static void waits(void)
{
    CHECK(canopy_wait(timed, CANOPY_NEVER));
    CHECK(canopy_err(timed) == -ETIMEDOUT);
}

HOST_SCENARIO(wait_beside_expiry)
{
    make();
    beside(waits, advances, NULL);
    end();
}

static canopy_ctx *timed_below;

/* Parent and child due at once: the ancestor's end is what both report. */
HOST_SCENARIO(expiry_of_both_beside_cancel_of_the_child)
{
    static const canopy_cause above = {.code = 1, .text = "above"};
    static const canopy_cause underneath = {.code = 2, .text = "underneath"};
    parent = canopy_with_deadline_cause(scenario_base(), DUE_NS, &above);
    timed = canopy_with_deadline_cause(parent, DUE_NS, &underneath);
    timed_below = canopy_with_cancel(timed);
    beside(advances_to_all, cancels_timed, NULL);
    CHECK(canopy_cause_of(parent) == &above);
    CHECK(canopy_cause_of(timed) == (cancelled ? CANOPY_CANCELED : &above));
    CHECK(canopy_done(timed_below));
    canopy_end(timed_below);
    end();
}
