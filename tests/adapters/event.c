/* event.c - the loop of libevent. */
#include "driver.h"

#include <canopy/adapters/loop_event.h>

#include <unistd.h>

static struct event_base *base;
static struct loop_event adapter;

void driver_open(canopy_ctx *root)
{
    base = event_base_new();
    assert_non_null(base);
    assert_int_equal(loop_event_open(&adapter, base, root), 0);
}

canopy_loop *driver_loop(void)
{
    return &adapter.loop;
}

void driver_turn(void)
{
    assert_int_equal(loop_event_turn(&adapter), 0);
}

int driver_close(void)
{
    int err = loop_event_close(&adapter);
    if (err == 0)
        event_base_free(base);
    return err;
}

static void note_event(evutil_socket_t fd, short what, void *at_ns)
{
    (void)fd, (void)what;
    *(int64_t *)at_ns = now_ns();
}

static struct event *timer_after(int64_t after_ns, event_callback_fn fn, void *arg)
{
    struct event *timer = evtimer_new(base, fn, arg);
    struct timeval timeout = {after_ns / SECONDS(1), after_ns % SECONDS(1) / 1000};
    assert_non_null(timer);
    assert_int_equal(evtimer_add(timer, &timeout), 0);
    return timer;
}

/* A deadline's callback that takes back the timer for which dispatch would sleep on. */
struct last_call {
    struct seen seen;
    struct event *timer;
};

static void see_and_take_back(void *arg)
{
    struct last_call *last = arg;
    see(&last->seen);
    assert_int_equal(evtimer_del(last->timer), 0);
}

TEST(dispatch_ends_with_the_events_of_others)
{
    struct fixture fixture;
    struct seen far = {.runs = 0};
    struct last_call last = {.seen.runs = 0};
    int64_t fired_ns[2] = {0, 0};
    driven_open(&fixture);
    assert_int_equal(loop_event_dispatch(&adapter), 1);
    canopy_ctx *never = canopy_with_deadline(fixture.root, now_ns() + HOURS(1));
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, now_ns() + HOURS(1));
    watch(&far, never);
    last.seen.ctx = ctx;
    assert_int_equal(
        canopy_loop_after_func(ctx, driver_loop(), &last.seen.callback, see_and_take_back, &last),
        0);
    assert_int_equal(loop_event_dispatch(&adapter), 1);
    struct event *timers[] = {timer_after(MILLISECONDS(10), note_event, &fired_ns[0]),
                              timer_after(HOURS(1), note_event, &fired_ns[1])};
    last.timer = timers[1];
    assert_true(canopy_set_deadline(ctx, now_ns() + MILLISECONDS(100)));
    assert_int_equal(loop_event_dispatch(&adapter), 1);
    assert_int_equal(last.seen.runs, 1);
    assert_true(fired_ns[0] != 0 && fired_ns[1] == 0);
    assert_true(canopy_loop_callback_stop(&far.callback));
    event_free(timers[0]);
    event_free(timers[1]);
    canopy_end(ctx);
    canopy_end(never);
    driven_close(&fixture);
}

static void break_loop(void *unused)
{
    (void)unused;
    assert_int_equal(event_base_loopbreak(base), 0);
}

static void exit_loop(void *unused)
{
    (void)unused;
    assert_int_equal(event_base_loopexit(base, NULL), 0);
}

TEST(dispatch_ends_when_a_callback_says_so)
{
    struct fixture fixture;
    struct seen seen = {.runs = 0};
    void (*const enders[])(void *) = {break_loop, exit_loop};
    int64_t fired_ns = 0;
    driven_open(&fixture);
    struct event *timer = timer_after(HOURS(1), note_event, &fired_ns);
    for (int i = 0; i < 2; i++) {
        canopy_loop_callback last = {.canopy_next = NULL};
        canopy_ctx *ctx = canopy_with_deadline(fixture.root, now_ns() + MILLISECONDS(10));
        assert_int_equal(canopy_loop_after_func(ctx, &adapter.loop, &last, enders[i], NULL), 0);
        assert_int_equal(loop_event_dispatch(&adapter), 0);
        canopy_end(ctx);
    }
    /* And it can be taken up again. */
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, now_ns() + MILLISECONDS(10));
    watch(&seen, ctx);
    turns_until(seen.runs > 0);
    assert_int_equal(fired_ns, 0);
    event_free(timer);
    canopy_end(ctx);
    driven_close(&fixture);
}

static void give_time_limit(evutil_socket_t fd, short what, void *request)
{
    (void)fd, (void)what;
    late_request_begin(request);
}

TEST(a_time_limit_given_in_a_callback_of_libevent_is_not_early)
{
    struct fixture fixture;
    struct late_request request = {.root = NULL};
    driven_open(&fixture);
    request.root = fixture.root;
    struct event *timer = timer_after(MILLISECONDS(60), give_time_limit, &request);
    late_request_end(&request);
    event_free(timer);
    driven_close(&fixture);
}
