/*
 * detach.c - promise 24: canopy_without_cancel keeps the values of its parent
 * and nothing else.
 */
#include "probes.h"

static const canopy_key color = {"color", NULL};
static int red, blue;

TEST(p24_it_is_live_under_a_parent_that_is_done_already)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_true(canopy_cancel(parent));
    canopy_ctx *detached = canopy_without_cancel(parent);

    assert_live(detached);
    assert_deadline(detached, CANOPY_NEVER);
    canopy_end(detached);
    canopy_end(parent);
}

TEST(p24_cancel_of_a_parent_does_not_reach_it)
{
    const canopy_cause *cause = CANOPY_CAUSE(-5, "only for what is above");
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *parent = canopy_with_cancel(top);
    canopy_ctx *detached = canopy_without_cancel(parent);
    canopy_ctx *below = canopy_with_cancel(detached);

    assert_true(canopy_cancel_cause(top, cause));
    assert_ended(parent, -ECANCELED, cause);
    assert_live(detached);
    assert_live(below);

    canopy_end(below);
    canopy_end(detached);
    canopy_end(parent);
    canopy_end(top);
}

TEST(p24_a_deadline_above_neither_shows_nor_fires_below)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_deadline(fixture.root, 1000);
    canopy_ctx *detached = canopy_without_cancel(parent);
    canopy_ctx *below = canopy_with_cancel(detached);

    assert_deadline(parent, 1000);
    assert_deadline(detached, CANOPY_NEVER);
    assert_deadline(below, CANOPY_NEVER);
    assert_int_equal(canopy_err_at(below, 2000), 0);
    assert_int_equal(canopy_root_advance(fixture.root, 1000, NULL), 0);
    assert_ended(parent, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(detached);
    assert_live(below);

    canopy_end(below);
    canopy_end(detached);
    canopy_end(parent);
    fixture_close(&fixture);
}

TEST(p24_values_stay_readable_also_after_the_parent_is_done)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(top, &color, &red);
    canopy_ctx *detached = canopy_without_cancel(value);
    canopy_ctx *below = canopy_with_cancel(detached);
    canopy_end(value);

    assert_ptr_equal(canopy_value(detached, &color), &red);
    canopy_end(top);
    assert_ptr_equal(canopy_value(detached, &color), &red);
    assert_ptr_equal(canopy_value(below, &color), &red);

    canopy_end(below);
    canopy_end(detached);
}

TEST(p24_what_is_below_ends_by_its_own_cancel_and_deadline)
{
    const canopy_cause *cause = CANOPY_CAUSE(-7, "own");
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_deadline(fixture.root, 500);
    canopy_ctx *detached = canopy_without_cancel(parent);
    canopy_ctx *cancelled = canopy_with_cancel(detached);
    canopy_ctx *child = canopy_with_cancel(cancelled);
    canopy_ctx *timed = canopy_with_deadline(detached, 2000);

    assert_deadline(timed, 2000);
    assert_true(canopy_cancel_cause(cancelled, cause));
    assert_ended(cancelled, -ECANCELED, cause);
    assert_ended(child, -ECANCELED, cause);
    assert_live(detached);
    assert_live(parent);

    assert_int_equal(canopy_root_advance(fixture.root, 1999, NULL), 0);
    assert_live(timed);
    assert_int_equal(canopy_root_advance(fixture.root, 2000, NULL), 0);
    assert_ended(timed, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(detached);

    canopy_end(timed);
    canopy_end(child);
    canopy_end(cancelled);
    canopy_end(detached);
    canopy_end(parent);
    fixture_close(&fixture);
}

TEST(p24_the_library_clock_leaves_it_alone)
{
    canopy_ctx *parent = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    canopy_ctx *detached = canopy_without_cancel(parent);
    canopy_ctx *below = canopy_with_timeout(detached, HOURS(1));

    assert_true(canopy_wait(parent, now_ns() + SOON));
    assert_false(canopy_wait(below, now_ns() + MILLISECONDS(30)));
    assert_live(detached);
    assert_live(below);

    canopy_end(below);
    canopy_end(detached);
    canopy_end(parent);
}

TEST(p24_it_cannot_be_cancelled_and_end_is_a_release)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *detached = canopy_without_cancel(fixture.root);
    canopy_ctx *below = canopy_with_cancel(detached);

    assert_false(canopy_cancel(detached));
    assert_false(canopy_cancel_cause(detached, CANOPY_CANCELED));
    assert_false(canopy_set_deadline(detached, 1));
    assert_false(canopy_set_deadline(detached, CANOPY_NEVER));
    assert_false(canopy_try_reset(detached));
    assert_live(detached);
    canopy_end(detached);
    assert_live(below);

    canopy_end(below);
    fixture_close(&fixture);
}

TEST(p24_a_root_that_is_cancelled_does_not_reach_it_but_waits_for_it)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *detached = canopy_without_cancel(fixture.root);
    assert_true(canopy_cancel(fixture.root));
    canopy_ctx *below = canopy_with_cancel(detached);
    canopy_end(detached);

    assert_live(below);
    assert_int_equal(canopy_root_free(fixture.root), -EBUSY);
    assert_int_equal(canopy_wait_idle(fixture.root, 0), -ETIME);
    canopy_end(below);
    fixture_close(&fixture);
}

TEST(p24_layers_stack_in_any_order)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *first = canopy_without_cancel(top);
    canopy_ctx *value = canopy_with_value(first, &color, &red);
    canopy_ctx *second = canopy_without_cancel(value);
    canopy_ctx *inner = canopy_with_value(second, &color, &blue);
    canopy_ctx *child = canopy_with_cancel(inner);
    canopy_ctx *third = canopy_without_cancel(child);

    assert_true(canopy_cancel(top));
    assert_live(value);
    assert_live(inner);
    assert_true(canopy_cancel(child));
    assert_live(inner);
    assert_live(third);
    assert_ptr_equal(canopy_value(second, &color), &red);
    assert_ptr_equal(canopy_value(third, &color), &blue);

    canopy_ctx *const all[] = {third, child, inner, second, value, first, top};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
}

TEST(p24_from_background_it_stays_live)
{
    canopy_ctx *detached = canopy_without_cancel(canopy_background());
    canopy_ctx *again = canopy_without_cancel(canopy_todo());
    canopy_ctx *below = canopy_with_cancel(detached);

    assert_live(detached);
    assert_live(again);
    assert_true(canopy_cancel(below));
    assert_live(detached);
    canopy_end(below);
    canopy_end(again);
    canopy_end(detached);
}

TEST(p24_waiting_on_it_ends_only_in_time)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *detached = canopy_without_cancel(parent);
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(detached, &callback, count_call, &runs), 0);
    int fd = canopy_done_fd(detached);
    assert_true(fd >= 0);
    assert_true(canopy_cancel(parent));

    int64_t until_ns = now_ns() + MILLISECONDS(20);
    assert_false(canopy_wait(detached, until_ns));
    assert_true(now_ns() >= until_ns);
    assert_false(fd_readable(fd, 0));
    assert_int_equal(canopy_sleep(detached, MILLISECONDS(1)), 0);
    assert_true(canopy_callback_stop(&callback));
    assert_int_equal(atomic_load(&runs), 0);

    canopy_end(detached);
    canopy_end(parent);
}
