/*
 * loop_time.c - <canopy/loop.h>: the clock that a loop drives, and how long it sleeps.
 */
#include "looped.h"

static bool becomes_readable(const canopy_loop *loop)
{
    struct pollfd fd = {canopy_loop_fd(loop), POLLIN, 0};
    return poll(&fd, 1, (int)(SOON / MILLISECONDS(1))) == 1;
}

TEST(loop_time_hours_pass_in_microseconds)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, HOURS(3));
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    int64_t now = 0;
    for (int turns = 0; !canopy_done(ctx); turns++) {
        assert_true(turns < 100);
        int64_t sleep_ns = canopy_loop_timeout_ns(&l.loop, now);
        assert_true(sleep_ns > 0 && now + sleep_ns <= HOURS(3));
        now += sleep_ns;
        canopy_loop_run(&l.loop, now);
    }
    assert_int_equal(now, HOURS(3));
    assert_int_equal(seen.runs, 1);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_time_that_runs_backwards_stands_still)
{
    struct looped l;
    looped_open(&l);
    assert_int_equal(canopy_loop_run(&l.loop, SECONDS(10)), 0);
    assert_int_equal(canopy_loop_run(&l.loop, SECONDS(4)), 0);
    assert_int_equal(canopy_loop_run(&l.loop, INT64_MIN), 0);
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, SECONDS(1));
    assert_deadline(ctx, SECONDS(11));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, SECONDS(4)), SECONDS(7));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, INT64_MIN), CANOPY_NEVER);
    assert_live(ctx);
    assert_int_equal(canopy_loop_run(&l.loop, CANOPY_NEVER), 0);
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_told_the_time_counts_from_it_and_runs_nothing)
{
    struct looped l;
    looped_open(&l);
    canopy_ctx *first = canopy_with_timeout(l.fixture.root, SECONDS(1));
    assert_int_equal(canopy_loop_tell_time(&l.loop, SECONDS(5)), 0);
    assert_int_equal(canopy_loop_tell_time(&l.loop, SECONDS(4)), 0);
    canopy_ctx *second = canopy_with_timeout(l.fixture.root, SECONDS(1));
    assert_live(first);
    assert_deadline(second, SECONDS(6));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, SECONDS(5)), 0);
    assert_int_equal(canopy_loop_run(&l.loop, SECONDS(5)), 0);
    assert_ended(first, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(second);
    assert_int_equal(canopy_loop_tell_time(NULL, 0), -EINVAL);
    canopy_release(first);
    canopy_release(second);
    looped_close(&l);
}

/* What another thread brings about. */
struct nearer {
    struct looped *l;
    canopy_loop_callback cb;
    struct seen seen;
};

static void arm_nearer(void *arg)
{
    struct nearer *nearer = arg;
    canopy_ctx *ctx = canopy_with_timeout(nearer->l->fixture.root, SECONDS(1));
    assert_int_equal(
        canopy_loop_after_func(ctx, &nearer->l->loop, &nearer->cb, note, &nearer->seen), 0);
    canopy_release(ctx);
}

TEST(loop_is_woken_for_a_nearer_deadline_from_another_thread)
{
    struct looped l;
    looped_open(&l);
    canopy_ctx *later = canopy_with_timeout(l.fixture.root, HOURS(1));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), HOURS(1));
    struct nearer nearer = {.l = &l};
    struct thread other;
    thread_start(&other, arm_nearer, &nearer);
    assert_true(becomes_readable(&l.loop));
    thread_join(&other);
    assert_int_equal(canopy_loop_run(&l.loop, 1), 0);
    assert_true(canopy_loop_timeout_ns(&l.loop, 1) <= SECONDS(1) - 1);
    assert_int_equal(canopy_loop_run(&l.loop, SECONDS(1)), 1);
    assert_int_equal(nearer.seen.runs, 1);
    assert_live(later);
    canopy_release(later);
    looped_close(&l);
}

TEST(loop_without_a_root_takes_callbacks_of_any_context)
{
    canopy_loop loop;
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    assert_int_equal(canopy_loop_init(&loop, NULL), 0);
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(SCALED(50, 500)));
    assert_int_equal(canopy_loop_after_func(ctx, &loop, &cb, note, &seen), 0);
    if (canopy_loop_timeout_ns(&loop, 0) != 0) /* else it has come already */
        assert_true(becomes_readable(&loop));
    assert_int_equal(canopy_loop_run(&loop, 0), 1);
    assert_int_equal(canopy_err(ctx), -ETIMEDOUT);
    canopy_release(ctx);
    assert_int_equal(canopy_loop_close(&loop), 0);
}

TEST(loop_timeout_in_milliseconds_is_rounded_up)
{
    assert_int_equal(canopy_loop_timeout_ms(CANOPY_NEVER), -1);
    assert_int_equal(canopy_loop_timeout_ms(-EINVAL), 0);
    assert_int_equal(canopy_loop_timeout_ms(0), 0);
    assert_int_equal(canopy_loop_timeout_ms(1), 1);
    assert_int_equal(canopy_loop_timeout_ms(1000000), 1);
    assert_int_equal(canopy_loop_timeout_ms(1000001), 2);
    assert_int_equal(canopy_loop_timeout_ms(CANOPY_NEVER - 1), INT_MAX);
}
