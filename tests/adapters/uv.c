/* uv.c - the loop of libuv. */
#include "driver.h"

#include <canopy/adapters/loop_uv.h>

#include <unistd.h>

static uv_loop_t uv;
static struct loop_uv adapter;
static unsigned closed_count;

static void closed(struct loop_uv *which)
{
    assert_ptr_equal(which, &adapter);
    closed_count++;
}

void driver_open(canopy_ctx *root)
{
    closed_count = 0;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(loop_uv_open(&adapter, &uv, root), 0);
    uv_ref((uv_handle_t *)&adapter.poll); /* so that uv_run waits for canopy alone too */
}

canopy_loop *driver_loop(void)
{
    return &adapter.loop;
}

void driver_turn(void)
{
    uv_run(&uv, UV_RUN_ONCE);
}

int driver_close(void)
{
    int err = loop_uv_close(&adapter, closed);
    if (err == 0) {
        assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
        assert_int_equal(closed_count, 1);
        assert_int_equal(uv_loop_close(&uv), 0);
    }
    return err;
}

TEST(uv_run_ends_when_only_canopy_is_left)
{
    struct fixture fixture;
    struct seen seen = {.runs = 0};
    driven_open(&fixture);
    uv_unref((uv_handle_t *)&adapter.poll);
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, now_ns() + HOURS(1));
    watch(&seen, ctx);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    canopy_cancel(ctx);
    uv_ref((uv_handle_t *)&adapter.poll);
    assert_in_range(turns_until(seen.runs > 0), 1, 3);
    canopy_end(ctx);
    driven_close(&fixture);
}

static void note_time(uv_timer_t *timer)
{
    *(int64_t *)timer->data = now_ns();
}

/* A deadline's callback that takes back the timer for which uv_run would sleep on. */
struct last_call {
    struct seen seen;
    uv_timer_t *timer;
};

static void see_and_take_back(void *arg)
{
    struct last_call *last = arg;
    see(&last->seen);
    assert_int_equal(uv_timer_stop(last->timer), 0);
}

TEST(deadlines_lie_between_uvs_own_timers)
{
    struct fixture fixture;
    uv_timer_t timers[2];
    struct last_call last = {.timer = &timers[1]};
    int64_t fired_ns[2] = {0, 0};
    driven_open(&fixture);
    uv_unref((uv_handle_t *)&adapter.poll);
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, now_ns() + MILLISECONDS(100));
    last.seen.ctx = ctx;
    assert_int_equal(
        canopy_loop_after_func(ctx, driver_loop(), &last.seen.callback, see_and_take_back, &last),
        0);
    for (int i = 0; i < 2; i++) {
        uv_timer_init(&uv, &timers[i]);
        timers[i].data = &fired_ns[i];
        uv_timer_start(&timers[i], note_time, i == 0 ? 10 : 3600000, 0);
    }
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(last.seen.runs, 1);
    assert_true(fired_ns[0] != 0 && fired_ns[1] == 0);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&timers[i], NULL);
    canopy_end(ctx);
    driven_close(&fixture);
}

static void give_time_limit(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    uv_poll_stop(poll);
    late_request_begin(poll->data);
}

static void write_later(void *fd)
{
    pause_ns(MILLISECONDS(60));
    assert_int_equal(write(*(int *)fd, "x", 1), 1);
}

TEST(a_time_limit_given_in_a_callback_of_io_is_not_early)
{
    struct fixture fixture;
    struct late_request request = {.root = NULL};
    struct thread writer;
    uv_poll_t poll;
    int ends[2];
    driven_open(&fixture);
    assert_int_equal(pipe(ends), 0);
    request.root = fixture.root;
    assert_int_equal(uv_poll_init(&uv, &poll, ends[0]), 0);
    poll.data = &request;
    uv_poll_start(&poll, UV_READABLE, give_time_limit);
    thread_start(&writer, write_later, &ends[1]);
    late_request_end(&request);
    thread_join(&writer);
    uv_close((uv_handle_t *)&poll, NULL);
    driven_close(&fixture);
    close(ends[0]);
    close(ends[1]);
}

static void close_adapter(void *unused)
{
    (void)unused;
    assert_int_equal(loop_uv_close(&adapter, closed), 0);
}

TEST(a_callback_may_close_the_adapter)
{
    struct fixture fixture;
    canopy_loop_callback last = {.canopy_next = NULL};
    driven_open(&fixture);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &adapter.loop, &last, close_adapter, NULL), 0);
    canopy_cancel(ctx);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(closed_count, 1);
    assert_int_equal(loop_uv_close(&adapter, closed), -EINVAL);
    assert_int_equal(uv_loop_close(&uv), 0);
    canopy_end(ctx);
    fixture_close(&fixture);
}
