/*
 * group_scenarios.c - threads that succeed or fail together, beside failure and
 * cancel. Promise 36.
 */
#include "explore.h"

#include <errno.h>

#define FAILURE 7
#define ANOTHER 8

static canopy_ctx *top;
static const canopy_ctx *ctx; /* the group's, after it */
static canopy_group group;
static int at_once, result;

static void make(unsigned limit)
{
    top = canopy_with_cancel(scenario_base());
    CHECK(canopy_group_init(&group, top, limit) == 0);
    ctx = canopy_retain(canopy_group_ctx(&group));
}

static void end(void)
{
    CHECK(canopy_done(ctx));
    canopy_release(ctx);
    canopy_end(top);
    scenario_close();
}

static int succeeds(const canopy_ctx *of_group, void *arg)
{
    (void)of_group;
    (void)arg;
    return 0;
}

static int fails(const canopy_ctx *of_group, void *code)
{
    (void)of_group;
    return (int)(intptr_t)code;
}

static int waits(const canopy_ctx *of_group, void *arg)
{
    (void)arg;
    CHECK(canopy_wait(of_group, CANOPY_NEVER));
    return 0;
}

static int is_alone(const canopy_ctx *of_group, void *arg)
{
    (void)arg;
    CHECK(++at_once == 1);
    canopy_done(of_group);
    at_once--;
    return 0;
}

static void goes(int (*fn)(const canopy_ctx *of_group, void *arg), int code)
{
    CHECK(canopy_group_go(&group, fn, (void *)(intptr_t)code) == 0);
}

static void waits_for_group(void)
{
    result = canopy_group_wait(&group);
    CHECK(canopy_done(ctx));
}

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

static void runs_one_that_succeeds(void)
{
    goes(succeeds, 0);
    waits_for_group();
    CHECK(result == 0);
}

SCENARIO(group_beside_cancel)
{
    make(0);
    beside(runs_one_that_succeeds, cancels_top, NULL);
    CHECK(canopy_cause_of(ctx) == CANOPY_CANCELED);
    end();
}

static void runs_one_that_fails(void)
{
    goes(fails, FAILURE);
    waits_for_group();
    CHECK(result == FAILURE);
}

SCENARIO(failure_of_a_member)
{
    make(0);
    beside(runs_one_that_fails, NULL);
    CHECK(canopy_cause_of(ctx)->code == FAILURE);
    CHECK(!canopy_done(top));
    end();
}

SCENARIO(failure_of_a_member_beside_cancel)
{
    make(0);
    beside(runs_one_that_fails, cancels_top, NULL);
    CHECK(canopy_cause_of(ctx) == CANOPY_CANCELED || canopy_cause_of(ctx)->code == FAILURE);
    end();
}

static void runs_two_that_fail(void)
{
    goes(fails, FAILURE);
    goes(fails, ANOTHER);
    waits_for_group();
    CHECK(result == FAILURE || result == ANOTHER);
    CHECK(canopy_cause_of(ctx)->code == result);
}

SCENARIO(failure_beside_failure)
{
    make(0);
    beside(runs_two_that_fail, NULL);
    end();
}

static void runs_one_that_waits_for_a_failure(void)
{
    goes(waits, 0);
    goes(fails, FAILURE);
    waits_for_group();
    CHECK(result == FAILURE && canopy_cause_of(ctx)->code == FAILURE);
}

SCENARIO(failure_beside_a_member_that_waits)
{
    make(0);
    beside(runs_one_that_waits_for_a_failure, NULL);
    end();
}

static void runs_two_one_by_one(void)
{
    goes(is_alone, 0);
    goes(is_alone, 0);
    waits_for_group();
}

SCENARIO(members_beyond_the_limit)
{
    make(1);
    beside(runs_two_one_by_one, NULL);
    end();
}

static const canopy_cause *seen;

static void observes(void)
{
    seen = canopy_cause_of(ctx);
    CHECK(!seen || seen->code == FAILURE);
    CHECK(!seen || canopy_err(ctx) == -ECANCELED);
}

SCENARIO(observe_beside_failure_of_a_member)
{
    make(0);
    beside(observes, runs_one_that_fails, NULL);
    end();
}

static int results[2];

static void waits_as_first(void)
{
    results[0] = canopy_group_wait(&group);
}

static void waits_as_second(void)
{
    results[1] = canopy_group_wait(&group);
}

static bool is_refused(int of_wait)
{
    return of_wait == -EBUSY || of_wait == -EINVAL;
}

SCENARIO(two_waits_for_one_group)
{
    make(0);
    goes(fails, FAILURE);
    beside(waits_as_first, waits_as_second, NULL);
    CHECK(results[0] == FAILURE ? is_refused(results[1]) : results[1] == FAILURE);
    CHECK(results[1] == FAILURE || results[0] == FAILURE);
    end();
}

static void goes_on_while_live(void)
{
    goes(waits, 0);
    result = canopy_group_go_unless_done(&group, succeeds, NULL);
    CHECK(result == -ECANCELED || result == 0);
    CHECK(canopy_group_wait(&group) == 0);
}

/* Whoever waits for room hears of the end, though the member keeps its place. */
SCENARIO(group_go_unless_done_beside_cancel)
{
    make(1);
    beside(goes_on_while_live, cancels_top, NULL);
    end();
}

static void tries_until_there_is_room(void)
{
    goes(is_alone, 0);
    result = canopy_group_try_go(&group, is_alone, NULL);
    CHECK(result == 0 || result == -EBUSY);
    CHECK(canopy_group_wait(&group) == 0);
}

SCENARIO(group_try_go_beside_the_end_of_a_member)
{
    make(1);
    beside(tries_until_there_is_room, NULL);
    end();
}
