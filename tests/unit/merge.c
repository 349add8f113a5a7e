/*
 * merge.c - promise 27: canopy_with_any is done when any of its inputs is, with
 * that input's err and cause, and leaves its inputs alone.
 */
#include "probes.h"

#include <stdlib.h>

static const canopy_key color = {"color", NULL};
static const canopy_key shape = {"shape", NULL};
static int red, blue;

/* ------------------------------------------------------------ what it is */

TEST(p27_it_takes_err_and_cause_of_the_input_that_ends)
{
    const canopy_cause *cause = CANOPY_CAUSE(-3, "the second one");
    for (size_t which = 0; which < 3; which++) {
        canopy_ctx *inputs[3];
        for (size_t i = 0; i < 3; i++)
            inputs[i] = canopy_with_cancel(canopy_background());
        canopy_ctx *merged =
            canopy_with_any((const canopy_ctx *[]){inputs[0], inputs[1], inputs[2]}, 3);
        canopy_ctx *child = canopy_with_cancel(merged);

        assert_live(merged);
        assert_true(canopy_cancel_cause(inputs[which], cause));
        assert_ended(merged, -ECANCELED, cause);
        assert_ended(child, -ECANCELED, cause);
        for (size_t i = 0; i < 3; i++)
            if (i != which)
                assert_live(inputs[i]);

        canopy_end(child);
        canopy_end(merged);
        for (size_t i = 0; i < 3; i++)
            canopy_end(inputs[i]);
    }
}

TEST(p27_inputs_that_end_later_change_nothing)
{
    const canopy_cause *early = CANOPY_CAUSE(-1, "early");
    const canopy_cause *late = CANOPY_CAUSE(-2, "late");
    canopy_ctx *first = canopy_with_cancel(canopy_background());
    canopy_ctx *second = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = any2(first, second);

    assert_true(canopy_cancel_cause(second, early));
    assert_true(canopy_cancel_cause(first, late));
    assert_false(canopy_cancel(merged));
    assert_ended(merged, -ECANCELED, early);

    canopy_end(merged);
    canopy_end(second);
    canopy_end(first);
}

TEST(p27_cancelling_it_leaves_the_inputs_alone)
{
    const canopy_cause *cause = CANOPY_CAUSE(-4, "own");
    canopy_ctx *first = canopy_with_cancel(canopy_background());
    canopy_ctx *second = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = any2(first, second);
    canopy_ctx *child = canopy_with_cancel(merged);

    assert_true(canopy_cancel_cause(merged, cause));
    assert_ended(merged, -ECANCELED, cause);
    assert_ended(child, -ECANCELED, cause);
    assert_live(first);
    assert_live(second);
    assert_true(canopy_cancel(first));
    assert_ended(merged, -ECANCELED, cause);

    canopy_end(child);
    canopy_end(merged);
    canopy_end(second);
    canopy_end(first);
}

TEST(p27_it_is_born_done_with_the_lowest_input_that_is)
{
    const canopy_cause *lower = CANOPY_CAUSE(-1, "lower");
    const canopy_cause *upper = CANOPY_CAUSE(-2, "upper");
    canopy_ctx *live = canopy_with_cancel(canopy_background());
    canopy_ctx *expired = canopy_with_timeout_cause(canopy_background(), 0, lower);
    canopy_ctx *cancelled = canopy_with_cancel(canopy_background());
    canopy_cancel_cause(cancelled, upper);

    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){live, expired, cancelled}, 3);
    assert_ended(merged, -ETIMEDOUT, lower);
    canopy_end(merged);
    merged = canopy_with_any((const canopy_ctx *[]){cancelled, live, expired}, 3);
    assert_ended(merged, -ECANCELED, upper);
    canopy_end(merged);
    assert_live(live);

    canopy_end(cancelled);
    canopy_end(expired);
    canopy_end(live);
}

TEST(p27_duplicates_and_never_done_inputs_are_fine)
{
    canopy_ctx *input = canopy_with_cancel(canopy_background());
    canopy_ctx *detached = canopy_without_cancel(input);
    canopy_ctx *twice = any2(input, input);
    canopy_ctx *mixed = canopy_with_any(
        (const canopy_ctx *[]){canopy_background(), detached, input, canopy_todo(), input}, 5);
    canopy_ctx *never = any2(canopy_background(), canopy_todo());
    canopy_ctx *single = canopy_with_any((const canopy_ctx *[]){input}, 1);

    assert_live(mixed);
    assert_live(never);
    assert_true(canopy_cancel(input));
    assert_ended(twice, -ECANCELED, CANOPY_CANCELED);
    assert_ended(mixed, -ECANCELED, CANOPY_CANCELED);
    assert_ended(single, -ECANCELED, CANOPY_CANCELED);
    assert_live(never);
    assert_true(canopy_cancel(never));
    assert_live(canopy_background());

    canopy_ctx *const all[] = {single, never, mixed, twice, detached, input};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
}

TEST(p27_values_come_from_the_first_input_only)
{
    canopy_ctx *first = canopy_with_value(canopy_background(), &color, &red);
    canopy_ctx *bound = canopy_with_value(canopy_background(), &color, &blue);
    canopy_ctx *second = canopy_with_value(bound, &shape, &blue);
    canopy_ctx *merged = any2(first, second);
    canopy_ctx *swapped = any2(second, first);

    assert_ptr_equal(canopy_value(merged, &color), &red);
    assert_null(canopy_value(merged, &shape));
    assert_ptr_equal(canopy_value(swapped, &color), &blue);
    assert_ptr_equal(canopy_value(swapped, &shape), &blue);

    canopy_ctx *const all[] = {swapped, merged, second, bound, first};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
}

TEST(p27_a_value_layer_as_input_stands_for_its_ancestor)
{
    canopy_ctx *first = canopy_with_cancel(canopy_background());
    canopy_ctx *layer = canopy_with_value(first, &color, &red);
    canopy_ctx *second = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = any2(second, layer);

    canopy_end(layer);
    assert_true(canopy_cancel(first));
    assert_ended(merged, -ECANCELED, CANOPY_CANCELED);
    assert_live(second);

    canopy_end(merged);
    canopy_end(second);
    canopy_end(first);
}

TEST(p27_waiters_fds_and_callbacks_of_it_hear_of_an_input)
{
    canopy_ctx *first = canopy_with_cancel(canopy_background());
    canopy_ctx *second = canopy_with_timeout(canopy_background(), HOURS(1));
    canopy_ctx *merged = any2(first, second);
    atomic_uint runs = 0;
    canopy_callback callback;
    int fd = canopy_done_fd(merged);

    assert_true(fd >= 0);
    assert_int_equal(canopy_after_func(merged, &callback, count_call, &runs), 0);
    assert_false(fd_readable(fd, 0));
    assert_true(canopy_set_deadline(second, now_ns() + MILLISECONDS(20)));
    assert_true(canopy_wait(merged, now_ns() + SOON));
    assert_ended(merged, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_true(fd_readable(fd, 20000));
    assert_true(eventually(atomic_load(&runs) == 1, SOON));
    assert_int_equal(canopy_callback_join(&callback), 0);

    canopy_end(merged);
    canopy_end(second);
    canopy_end(first);
}

TEST(p27_try_reset_refuses_it)
{
    canopy_ctx *input = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = any2(input, canopy_background());
    assert_false(canopy_try_reset(merged));
    assert_false(canopy_try_reset(input)); /* it has a child */
    canopy_end(merged);
    assert_int_equal(canopy_wait_idle(input, now_ns() + SOON), 0);
    assert_true(canopy_try_reset(input));
    canopy_end(input);
}

/* ---------------------------------------------------------------- deadline */

TEST(p27_its_deadline_is_the_minimum_over_the_inputs)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *plain = canopy_with_cancel(fixture.root);
    canopy_ctx *early = canopy_with_deadline(fixture.root, 1000);
    canopy_ctx *late = canopy_with_deadline(fixture.root, 5000);
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){plain, late, early}, 3);
    canopy_ctx *below = canopy_with_deadline(merged, 3000);
    canopy_ctx *none = any2(plain, canopy_background());

    assert_deadline(none, CANOPY_NEVER);
    assert_deadline(merged, 1000);
    assert_deadline(below, 1000);
    assert_true(canopy_set_deadline(early, 4000));
    assert_deadline(merged, 4000);
    assert_deadline(below, 3000);
    assert_true(canopy_set_deadline(early, CANOPY_NEVER));
    assert_deadline(merged, 5000);
    assert_int_equal(canopy_err_at(merged, 4999), 0);
    assert_int_equal(canopy_err_at(merged, 5000), -ETIMEDOUT);
    assert_live(merged);

    assert_int_equal(canopy_root_advance(fixture.root, 3000, NULL), 0);
    assert_ended(below, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(merged);
    assert_int_equal(canopy_root_advance(fixture.root, 5000, NULL), 0);
    assert_ended(merged, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(plain);

    canopy_ctx *const all[] = {none, below, merged, late, early, plain};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
    fixture_close(&fixture);
}

enum { merge_levels = 60 };

/* Any of a context and itself, sixty times over: 2^60 paths. */
TEST(p27_sixty_levels_of_the_same_input_twice_cost_no_exponential_time)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *levels[merge_levels + 1];
    levels[0] = canopy_with_deadline(fixture.root, 1000);
    for (size_t i = 0; i < merge_levels; i++)
        levels[i + 1] = any2(levels[i], levels[i]);

    assert_deadline(levels[merge_levels], 1000);
    assert_int_equal(canopy_err_at(levels[merge_levels], 1000), -ETIMEDOUT);
    assert_null(canopy_value(levels[merge_levels], &color));
    assert_true(canopy_cancel(levels[0]));
    assert_ended(levels[merge_levels], -ECANCELED, CANOPY_CANCELED);
    assert_deadline(levels[merge_levels], 1000);

    for (size_t i = 0; i <= merge_levels; i++)
        canopy_end(levels[i]);
    fixture_close(&fixture);
}

TEST(p27_sixty_levels_of_two_children_cost_no_exponential_time)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *levels[merge_levels + 1], *left[merge_levels], *right[merge_levels];
    levels[0] = canopy_with_cancel(fixture.root);
    for (size_t i = 0; i < merge_levels; i++) {
        left[i] = canopy_with_cancel(levels[i]);
        right[i] = canopy_with_deadline(levels[i], 9000 - (int64_t)i);
        levels[i + 1] = any2(left[i], right[i]);
    }

    assert_deadline(levels[merge_levels], 9000 - (merge_levels - 1));
    assert_int_equal(canopy_err_at(levels[merge_levels], 9000), -ETIMEDOUT);
    assert_int_equal(canopy_root_advance(fixture.root, 5000, NULL), 0);
    assert_live(levels[merge_levels]);
    assert_true(canopy_cancel(levels[0]));
    assert_ended(levels[merge_levels], -ECANCELED, CANOPY_CANCELED);

    for (size_t i = 0; i < merge_levels; i++) {
        canopy_end(left[i]);
        canopy_end(right[i]);
    }
    for (size_t i = 0; i <= merge_levels; i++)
        canopy_end(levels[i]);
    fixture_close(&fixture);
}

/* ------------------------------------------------------------------- shape */

TEST(p27_a_thousand_inputs)
{
    enum { n = 1000 };
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    const canopy_ctx *inputs[n];
    canopy_ctx *owners[n];
    for (size_t i = 0; i < n; i++)
        inputs[i] = owners[i] = canopy_with_cancel(fixture.root);
    canopy_ctx *merged = canopy_with_any(inputs, n);

    assert_live(merged);
    canopy_cancel(owners[777]);
    assert_ended(merged, -ECANCELED, CANOPY_CANCELED);
    assert_live(inputs[776]);

    canopy_end(merged);
    for (size_t i = 0; i < n; i++)
        canopy_end(owners[i]);
    fixture_close(&fixture);
}

/* Each merge stands on the previous one and on another context. */
static void cancel_a_chain_of_merges(void *arg)
{
    struct fixture *fixture = arg;
    size_t depth = SCALED(100000, 10000);
    canopy_ctx *top = canopy_with_cancel(fixture->root);
    canopy_ctx *other = canopy_with_cancel(fixture->root);
    canopy_ctx *late_other = canopy_with_deadline(fixture->root, 77);
    canopy_ctx **chain = calloc(depth, sizeof(canopy_ctx *));
    assert_non_null(chain);
    for (size_t i = 0; i < depth; i++)
        chain[i] = any2(i ? chain[i - 1] : top, i + 1 == depth ? late_other : other);

    assert_deadline(chain[depth - 1], 77);
    assert_true(canopy_cancel(top));
    for (size_t i = 0; i < depth; i++)
        assert_true(canopy_done(chain[i]));
    assert_live(other);

    const canopy_ctx *last = canopy_retain(chain[depth - 1]);
    for (size_t i = 0; i < depth; i++)
        canopy_end(chain[i]);
    canopy_end(late_other);
    canopy_end(other);
    canopy_end(top);
    canopy_release(last); /* takes the whole chain with it */
    free(chain);
}

TEST(p27_a_chain_of_100000_merges_is_cancelled_in_bounded_stack)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    run_on_small_stack(cancel_a_chain_of_merges, &fixture);
    fixture_close(&fixture);
}
