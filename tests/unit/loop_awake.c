/*
 * loop_awake.c - what makes the fd of a loop readable whose handlers run after it has
 * asked how long it may sleep, as in hosts without a hook before their sleep.
 */
#include "looped.h"

TEST(loop_that_says_that_it_is_awake_is_not_woken_by_its_own_thread)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    assert_int_equal(canopy_loop_awake(&l.loop), 0); /* as it is */
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    assert_int_equal(canopy_loop_awake(&l.loop), 0);
    canopy_ctx *timed = canopy_with_timeout(l.fixture.root, SECONDS(1));
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), SECONDS(1)); /* asked anew */
    assert_int_equal(canopy_loop_awake(&l.loop), 0);
    canopy_cancel(ctx);
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    canopy_release(timed);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_that_says_that_it_is_awake_hears_of_what_others_posted_before)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
        if (round == 1)
            cancel_elsewhere(ctx); /* writes the fd */
        assert_true(is_readable(&l.loop));
        assert_int_equal(canopy_loop_awake(&l.loop), 0);
        assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
        assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
        assert_false(is_readable(&l.loop));
    }
    assert_int_equal(seen.runs, 2);
    canopy_release(ctx);
    looped_close(&l);
}

struct look {
    const canopy_loop *loop;
    bool was_readable;
};

static void looks(void *arg)
{
    struct look *look = arg;
    look->was_readable = is_readable(look->loop);
}

TEST(loop_that_runs_what_is_due_does_not_write_its_own_fd)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    struct look look = {&l.loop, true};
    canopy_loop_callback cb = {0};
    canopy_callback in_place; /* runs when the other has been handed to the loop */
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, 5);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    assert_int_equal(canopy_after_func(ctx, &in_place, looks, &look), 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 5);
    assert_int_equal(canopy_loop_run(&l.loop, 5), 1);
    assert_false(look.was_readable);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_stop_in_a_handler_keeps_the_fd_readable_for_the_rest)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[3] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int i = 0; i < 3; i++)
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[i], note, &seen), 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    cancel_elsewhere(ctx);
    assert_true(canopy_loop_callback_stop(&cbs[1]));
    assert_true(canopy_loop_callback_stop(&cbs[0]));
    assert_true(is_readable(&l.loop)); /* else it would sleep over the third */
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(seen.runs, 1);
    assert_false(is_readable(&l.loop));
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_stop_in_a_handler_does_not_put_one_to_sleep_that_is_awake)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int i = 0; i < 2; i++)
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[i], note, &seen), 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    assert_int_equal(canopy_loop_awake(&l.loop), 0);
    cancel_elsewhere(ctx);
    assert_true(canopy_loop_callback_stop(&cbs[0]));
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    canopy_release(ctx);
    looped_close(&l);
}
