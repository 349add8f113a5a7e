/*
 * input.c - promise 38: bad input gives a clear error, leaks nothing and changes
 * nothing. What signals refuse is in signals.c.
 */
#include "probes.h"

#include <limits.h>

static const canopy_key counted = {"counted", count_call};

/* A constructor must say no with EINVAL, whatever errno was before. */
#define assert_refused(call)                                                                       \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_null(call);                                                                         \
        assert_int_equal(errno, EINVAL);                                                           \
    } while (0)

TEST(p38_a_null_parent_is_einval_for_every_constructor)
{
    const canopy_cause *cause = CANOPY_CAUSE(-1, "unused");
    atomic_uint destroyed = 0;
    assert_refused(canopy_with_cancel(NULL));
    assert_refused(canopy_with_deadline(NULL, 0));
    assert_refused(canopy_with_deadline(NULL, CANOPY_NEVER));
    assert_refused(canopy_with_timeout(NULL, 0));
    assert_refused(canopy_with_timeout(NULL, CANOPY_NEVER));
    assert_refused(canopy_with_deadline_cause(NULL, 1, cause));
    assert_refused(canopy_with_timeout_cause(NULL, 1, cause));
    assert_refused(canopy_with_value(NULL, &counted, &destroyed));
    assert_refused(canopy_without_cancel(NULL));
    assert_int_equal(atomic_load(&destroyed), 0);
}

TEST(p38_a_null_key_is_einval_and_found_nowhere)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    int there = 0;
    void *value = &there;
    assert_refused(canopy_with_value(ctx, NULL, &there));
    assert_null(canopy_value(ctx, NULL));
    assert_false(canopy_lookup(ctx, NULL, &value));
    assert_ptr_equal(value, &there);
    assert_int_equal(canopy_wait_idle(ctx, 0), 0);
    canopy_end(ctx);
    fixture_close(&fixture);
}

TEST(p38_with_any_refuses_no_list_no_inputs_and_a_null_inside)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *first = canopy_with_cancel(fixture.root);
    canopy_ctx *second = canopy_with_cancel(fixture.root);
    canopy_cancel(second);
    for (size_t hole = 0; hole < 3; hole++) {
        const canopy_ctx *list[3] = {first, first, second};
        list[hole] = NULL;
        assert_refused(canopy_with_any(list, 3));
        assert_int_equal(canopy_wait_idle(first, 0), 0);
    }
    assert_refused(canopy_with_any(NULL, 0));
    assert_refused(canopy_with_any(NULL, 3));
    assert_refused(canopy_with_any((const canopy_ctx *[]){first}, 0));
    assert_live(first);
    assert_int_equal(canopy_wait_idle(first, 0), 0);
    canopy_end(second);
    canopy_end(first);
    fixture_close(&fixture);
}

TEST(p38_wait_any_refuses_no_list_no_inputs_and_a_null_inside)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    const canopy_ctx *list[100];
    for (size_t n = 2; n <= 100; n += 49)
        for (size_t hole = 0; hole < n; hole += n - 1) {
            for (size_t i = 0; i < n; i++)
                list[i] = i == hole ? NULL : ctx;
            assert_int_equal(canopy_wait_any(list, n, CANOPY_NEVER), -EINVAL);
            assert_int_equal(canopy_wait_any(list, n, 0), -EINVAL);
        }
    list[0] = ctx;
    assert_int_equal(canopy_wait_any(NULL, 0, 0), -EINVAL);
    assert_int_equal(canopy_wait_any(NULL, 3, 0), -EINVAL);
    assert_int_equal(canopy_wait_any(list, 0, CANOPY_NEVER), -EINVAL);
    assert_int_equal(canopy_wait_any(list, (size_t)INT_MAX + 1, CANOPY_NEVER), -EINVAL);
    assert_int_equal(canopy_wait_any(list, SIZE_MAX, CANOPY_NEVER), -EINVAL);
    assert_live(ctx);
    canopy_end(ctx);
}

TEST(p38_null_handles_do_nothing)
{
    CANOPY_AUTO canopy_ctx *none = NULL;
    assert_false(canopy_cancel(NULL));
    assert_false(canopy_cancel_cause(NULL, CANOPY_CAUSE(-1, "unused")));
    assert_null(canopy_retain(NULL));
    canopy_release(NULL);
    canopy_end(NULL);
    assert_null(none);
}

TEST(p38_background_and_todo_take_any_number_of_releases)
{
    for (unsigned i = 0; i < 10; i++) {
        canopy_release(canopy_background());
        canopy_release(canopy_todo());
    }
    assert_ptr_equal(canopy_retain(canopy_background()), canopy_background());
    assert_live(canopy_background());
    assert_live(canopy_todo());
}

TEST(p38_after_func_refuses_nulls_and_stop_and_join_are_then_harmless)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    atomic_uint runs = 0;
    canopy_callback callback;

    for (int pass = 0; pass < 2; pass++) {
        memset(&callback, pass ? 0xff : 0x5a, sizeof callback);
        assert_int_equal(canopy_after_func(ctx, &callback, NULL, &runs), -EINVAL);
        assert_false(canopy_callback_stop(&callback));
        assert_int_equal(canopy_callback_join(&callback), 0);
        memset(&callback, pass ? 0xff : 0x5a, sizeof callback);
        assert_int_equal(canopy_after_func(NULL, &callback, count_call, &runs), -EINVAL);
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_false(canopy_callback_stop(&callback));
        assert_int_equal(canopy_after_func(ctx, NULL, count_call, &runs), -EINVAL);
        assert_false(canopy_callback_stop(NULL));
        (void)canopy_callback_join(NULL);
        assert_int_equal(canopy_after_func(canopy_background(), &callback, NULL, NULL), -EINVAL);
        assert_true(canopy_cancel(ctx) || pass == 1); /* a done context refuses as well */
    }
    assert_int_equal(atomic_load(&runs), 0);
    canopy_end(ctx);
    fixture_close(&fixture);
}

TEST(p38_wait_idle_refuses_null_background_and_todo)
{
    assert_int_equal(canopy_wait_idle(NULL, CANOPY_NEVER), -EINVAL);
    assert_int_equal(canopy_wait_idle(canopy_background(), CANOPY_NEVER), -EINVAL);
    assert_int_equal(canopy_wait_idle(canopy_todo(), 0), -EINVAL);
}

static int never_run(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return -1;
}

TEST(p38_groups_refuse_nulls)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(NULL, canopy_background(), 0), -EINVAL);
    assert_int_equal(canopy_group_init(&group, NULL, 0), -EINVAL);
    assert_int_equal(canopy_group_wait(NULL), -EINVAL);
    assert_int_equal(canopy_group_go(NULL, never_run, NULL), -EINVAL);

    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    assert_int_equal(canopy_group_go(&group, NULL, NULL), -EINVAL);
    assert_live(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(canopy_group_wait(&group), -EINVAL);
}

TEST(p38_root_new_refuses_a_config_that_makes_no_sense)
{
    struct memory memory = {0};
    const canopy_config good = memory_config(&memory);
    canopy_config config = good;
    config.size = 0;
    assert_refused(canopy_root_new(&config));
    config.size = sizeof(size_t) - 1;
    assert_refused(canopy_root_new(&config));
    config = good;
    config.release = NULL;
    assert_refused(canopy_root_new(&config));
    config = good;
    config.allocate = NULL;
    assert_refused(canopy_root_new(&config));
    config = good;
    config.clock = (canopy_clock)2;
    assert_refused(canopy_root_new(&config));
    config.clock = (canopy_clock)-1;
    assert_refused(canopy_root_new(&config));
    assert_int_equal(atomic_load(&memory.allocations), 0);
}

TEST(p38_root_new_takes_a_longer_config_only_if_its_tail_is_zero)
{
    struct memory memory = {0};
    struct {
        canopy_config config;
        unsigned char tail[64];
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.config = memory_config(&memory);
    longer.config.size = sizeof longer;
    for (size_t i = 0; i < sizeof longer.tail; i += 21) {
        longer.tail[i] = 1;
        assert_refused(canopy_root_new(&longer.config));
        longer.tail[i] = 0;
    }
    assert_int_equal(atomic_load(&memory.allocations), 0);
    canopy_ctx *root = canopy_root_new(&longer.config);
    assert_non_null(root);
    assert_int_equal(canopy_root_free(root), 0);
    assert_int_equal(atomic_load(&memory.live_blocks), 0);
}

TEST(p38_root_calls_refuse_what_is_no_such_root)
{
    struct fixture library, host;
    fixture_open(&library, CANOPY_CLOCK_LIBRARY);
    fixture_open(&host, CANOPY_CLOCK_HOST);
    canopy_ctx *child = canopy_with_cancel(host.root);
    atomic_uint destroyed = 0;
    canopy_ctx *value = canopy_with_value(host.root, &counted, &destroyed);
    canopy_ctx *orphan = canopy_with_cancel(canopy_background());
    canopy_ctx *const not_roots[] = {NULL, child, value, orphan};
    int64_t next_ns = 7;
    for (size_t i = 0; i < sizeof not_roots / sizeof *not_roots; i++) {
        assert_int_equal(canopy_root_free(not_roots[i]), -EINVAL);
        assert_int_equal(canopy_root_advance(not_roots[i], 100, &next_ns), -EINVAL);
    }
    assert_int_equal(canopy_root_advance(library.root, 100, &next_ns), -EINVAL);
    assert_int_equal(next_ns, 7);
    assert_live(child);
    canopy_end(orphan);
    canopy_release(value);
    canopy_end(child);
    fixture_close(&host);
    fixture_close(&library);
}

TEST(p38_numbers_at_the_ends_of_their_range_are_no_error)
{
    const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1};
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
        canopy_ctx *by_deadline = canopy_with_deadline(canopy_background(), extremes[i]);
        assert_ended(by_deadline, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        canopy_end(by_deadline);
        if (extremes[i] > 0)
            continue;
        canopy_ctx *by_timeout = canopy_with_timeout(canopy_background(), extremes[i]);
        assert_ended(by_timeout, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        canopy_end(by_timeout);
    }
    for (int64_t below = 0; below < 2; below++) {
        canopy_ctx *far = canopy_with_timeout(canopy_background(), INT64_MAX - below);
        assert_live(far);
        assert_deadline(far, CANOPY_NEVER);
        assert_int_equal(canopy_err_at(far, INT64_MAX - 1), 0);
        canopy_end(far);
    }
}
