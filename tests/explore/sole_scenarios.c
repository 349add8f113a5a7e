/*
 * sole_scenarios.c - a thread that has a root to itself looks at deadlines and children
 * without a fence for all, beside another that comes there for the first time: with a
 * heap of its own, or with one that a thread has left. Promises 6, 12, 18, 36.
 */
#include "explore.h"

#include <errno.h>

#include "tree/node.h"

static canopy_ctx *parent, *timed, *made;

#define DUE_NS INT64_C(100)

static void advance_to(int64_t now_ns)
{
    CHECK(canopy_root_advance(scenario_root(), now_ns, NULL) == 0);
}

static void advances_half_way(void)
{
    advance_to(DUE_NS / 2);
}

static void derives_timed(void)
{
    timed = canopy_with_deadline(scenario_root(), DUE_NS);
    CHECK(canopy_deadline(timed, NULL));
}

static void end_timed(void)
{
    advance_to(DUE_NS);
    CHECK(canopy_err(timed) == -ETIMEDOUT);
    canopy_end(timed);
    scenario_close();
}

/* What is gone has left a bound lower than need be, so that there is none to lower. */
static void leaves_a_low_bound(void)
{
    canopy_release(canopy_with_deadline(scenario_root(), DUE_NS / 2));
}

HOST_SCENARIO(first_deadline_of_a_thread_beside_a_turn)
{
    before(leaves_a_low_bound);
    beside_to_the_end(advances_half_way, derives_timed, NULL);
    end_timed();
}

HOST_SCENARIO(adopted_heap_arms_over_a_low_bound_beside_a_turn)
{
    leaves_a_low_bound();
    domain_leave(ctx_domain(scenario_root()));
    beside_to_the_end(advances_half_way, derives_timed, NULL);
    end_timed();
}

/* So many that the last of them are in an owned stripe, also where no parent is busy at once. */
#define SMALL_SLOTS 8
#define BUSY_AFTER  59 /* as CANOPY_BUSY_AFTER in children.c */
#define CHILDREN    (SMALL_SLOTS + BUSY_AFTER + 2)

static canopy_ctx *children[CHILDREN];

static void fill(void)
{
    for (unsigned i = 0; i < CHILDREN; i++)
        children[i] = canopy_with_cancel(parent);
}

static void empty(void)
{
    for (unsigned i = 0; i < CHILDREN; i++)
        canopy_release(children[i]);
}

/* What is left of a thread: a heap, and in an owned stripe of it contexts. */
static void leave_a_heap(void)
{
    parent = canopy_with_cancel(scenario_root());
    fill();
    timed = canopy_with_deadline(parent, DUE_NS);
    domain_leave(ctx_domain(scenario_root()));
}

static void advances(void)
{
    advance_to(DUE_NS);
}

static void cancels_parent(void)
{
    CHECK(canopy_cancel(parent));
}

/* Takes over what the first one left, and is at home in its stripe. */
static void comes_and_releases_timed(void)
{
    made = canopy_with_cancel(scenario_root());
    canopy_release(timed);
}

static void comes_and_derives(void)
{
    made = canopy_with_cancel(scenario_root());
    canopy_release(timed);
    timed = canopy_with_cancel(parent);
}

static void end(void)
{
    canopy_end(made);
    empty();
    canopy_end(parent);
    scenario_close();
}

HOST_SCENARIO(adopted_heap_is_left_by_a_leaf_beside_a_turn)
{
    leave_a_heap();
    beside_to_the_end(advances, comes_and_releases_timed, NULL);
    end();
}

HOST_SCENARIO(adopted_heap_is_left_by_a_leaf_beside_cancel)
{
    leave_a_heap();
    beside_to_the_end(cancels_parent, comes_and_releases_timed, NULL);
    end();
}

HOST_SCENARIO(adopted_heap_takes_a_leaf_beside_cancel)
{
    leave_a_heap();
    beside_to_the_end(cancels_parent, comes_and_derives, NULL);
    CHECK(canopy_done(timed));
    canopy_release(timed);
    end();
}

/* One of two at home under the same parent looks at its own stripe and at the other's. */
static canopy_ctx *others[2];

static void makes_two(void)
{
    made = canopy_with_cancel(parent);
    timed = canopy_with_cancel(parent);
}

static void makes_others(void)
{
    for (unsigned i = 0; i < 2; i++)
        others[i] = canopy_with_cancel(parent);
}

SCENARIO(cancel_in_two_stripes_one_of_them_ones_own)
{
    parent = canopy_with_cancel(scenario_base());
    before(makes_two);
    beside(cancels_parent, makes_others, NULL);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(canopy_done(others[i]));
        canopy_release(others[i]);
    }
    canopy_release(timed);
    end();
}
