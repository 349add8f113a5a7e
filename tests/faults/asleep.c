/*
 * asleep.c - sleep that ends for no reason, wakes that get lost on a kernel without
 * futexes, signals that rain on every wait: each wait ends when it should, not
 * before, and not later.
 */
#include "scene.h"

#include <signal.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ the calls */

TEST(futex_wait_that_returns_for_any_reason)
{
    fault_plan(FAULT_FUTEX_WAIT, 1, 0);
    scene_play_unrefused();
    assert_true(fault_calls(FAULT_FUTEX_WAIT) > 0);
}

TEST(kernel_without_futex)
{
    fault_plan(FAULT_FUTEX_WAIT, 1, 0);
    fault_plan(FAULT_FUTEX_WAKE, 1, 0);
    scene_play_unrefused();
    assert_true(fault_calls(FAULT_FUTEX_WAKE) > 0);
}

TEST(nanosleep_that_returns_at_once)
{
    fault_plan(FAULT_NANOSLEEP, 1, 0);
    scene_play_unrefused();
}

TEST(thread_ids_that_cannot_be_asked_for)
{
    fault_plan(FAULT_TGKILL, 1, 0);
    scene_play_unrefused();
}

/* ---------------------------------------------------------------------- rain */

/* Each wait there is, made by `sleeper`, to be ended by `ender`. */
struct drop {
    struct fixture fixture;
    canopy_ctx *ctx, *child;
    canopy_callback callback;
    struct gate gate;
    canopy_group group;
    atomic_bool asleep, raining;
    pthread_t sleeper;
    struct thread cloud;
};

static const canopy_ctx *_Atomic observed;
static atomic_uint signals_seen;

/* A handler may observe. */
static void on_drop(int number)
{
    int saved_errno = errno;
    const canopy_ctx *ctx = atomic_load(&observed);
    (void)number;
    if (ctx && canopy_done(ctx) && (!canopy_err(ctx) || !canopy_cause_of(ctx)))
        abort();
    atomic_fetch_add(&signals_seen, 1);
    errno = saved_errno;
}

static void rain(void *arg)
{
    struct drop *drop = arg;
    while (atomic_load(&drop->raining)) {
        pthread_kill(drop->sleeper, SIGUSR1);
        pause_ns(MICROSECONDS(30));
    }
}

static int pass_gate_member(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    pass_gate(arg);
    return 0;
}

static void sleep_until_done(struct drop *drop)
{
    assert_true(canopy_wait(drop->ctx, now_ns() + SOON));
}

static void sleep_on_two(struct drop *drop)
{
    const canopy_ctx *both[] = {canopy_background(), drop->ctx};
    assert_int_equal(canopy_wait_any(both, 2, now_ns() + SOON), 1);
}

static void sleep_on_many(struct drop *drop)
{
    enum { many = 70 };
    const canopy_ctx *all[many];
    for (unsigned i = 0; i < many; i++)
        all[i] = i == many - 1 ? drop->ctx : drop->fixture.root;
    assert_int_equal(canopy_wait_any(all, many, now_ns() + SOON), many - 1);
}

static void sleep_a_time(struct drop *drop)
{
    int64_t begin_ns = now_ns();
    assert_int_equal(canopy_sleep(drop->fixture.root, MILLISECONDS(60)), 0);
    assert_true(now_ns() - begin_ns >= MILLISECONDS(60));
    assert_int_equal(canopy_sleep(drop->ctx, SOON), -ECANCELED);
}

static void sleep_in_vain(struct drop *drop)
{
    const canopy_ctx *both[] = {drop->ctx, drop->fixture.root};
    int64_t until_ns = now_ns() + MILLISECONDS(30);
    assert_false(canopy_wait(drop->fixture.root, until_ns));
    assert_true(now_ns() >= until_ns);
    canopy_wait_any(both + 1, 1, until_ns += MILLISECONDS(30));
    assert_true(now_ns() >= until_ns);
    assert_int_equal(canopy_wait_idle(drop->fixture.root, until_ns += MILLISECONDS(30)), -ETIME);
    assert_true(now_ns() >= until_ns);
}

static void sleep_until_idle(struct drop *drop)
{
    assert_int_equal(canopy_wait_idle(drop->ctx, now_ns() + SOON), 0);
}

static void sleep_until_joined(struct drop *drop)
{
    assert_true(eventually(atomic_load(&drop->gate.entered), SOON));
    assert_int_equal(canopy_callback_join(&drop->callback), 0);
    assert_true(atomic_load(&drop->gate.left));
}

static void sleep_for_members(struct drop *drop)
{
    assert_int_equal(canopy_group_init(&drop->group, drop->ctx, 1), 0);
    assert_int_equal(canopy_group_go(&drop->group, pass_gate_member, &drop->gate), 0);
    assert_int_equal(canopy_group_go(&drop->group, pass_gate_member, &drop->gate), 0);
    assert_true(atomic_load(&drop->gate.left)); /* the limit held: the first has gone */
    assert_int_equal(canopy_group_wait(&drop->group), 0);
}

static void (*const sleeps[])(struct drop *drop) = {
    sleep_until_done, sleep_on_two,     sleep_on_many,      sleep_a_time,
    sleep_in_vain,    sleep_until_idle, sleep_until_joined, sleep_for_members,
};

/* On a thread of its own: what ends every one of the sleeps, after a while. */
static void end_all(void *arg)
{
    struct drop *drop = arg;
    while (!atomic_load(&drop->asleep))
        pause_ns(MICROSECONDS(100));
    pause_ns(MILLISECONDS(100));
    struct thread opener;
    thread_start(&opener, open_gate_later, &drop->gate);
    canopy_cancel(drop->ctx); /* runs the callback, which waits for the gate */
    canopy_end(drop->child);
    thread_join(&opener);
}

TEST(signals_rain_on_each_kind_of_wait)
{
    struct sigaction action = {.sa_handler = on_drop}; /* without SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
    for (size_t i = 0; i < sizeof sleeps / sizeof *sleeps; i++) {
        struct drop drop = {.sleeper = pthread_self()};
        struct thread ender;
        fixture_open(&drop.fixture, CANOPY_CLOCK_LIBRARY);
        drop.ctx = canopy_with_cancel(drop.fixture.root);
        drop.child = canopy_with_cancel(drop.ctx);
        assert_non_null(drop.child);
        assert_int_equal(canopy_after_func(drop.ctx, &drop.callback, pass_gate, &drop.gate), 0);
        atomic_store(&observed, drop.ctx);
        atomic_store(&signals_seen, 0);
        atomic_store(&drop.raining, true);
        thread_start(&drop.cloud, rain, &drop);
        thread_start(&ender, end_all, &drop);
        atomic_store(&drop.asleep, true);
        sleeps[i](&drop);
        assert_true(eventually(atomic_load(&signals_seen) > 20, SOON));
        thread_join(&ender);
        assert_int_equal(canopy_callback_join(&drop.callback), 0);
        atomic_store(&observed, NULL);
        canopy_end(drop.ctx);
        assert_int_equal(canopy_wait_idle(drop.fixture.root, now_ns() + SOON), 0);
        fixture_close(&drop.fixture); /* in the rain, too */
        atomic_store(&drop.raining, false);
        thread_join(&drop.cloud);
    }
}

/* The starts of threads, and a whole use of everything. */
TEST(signals_rain_on_everything)
{
    struct sigaction action = {.sa_handler = on_drop};
    struct drop drop = {.sleeper = pthread_self()};
    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&drop.raining, true);
    thread_start(&drop.cloud, rain, &drop);
    scene_play_unrefused();
    atomic_store(&drop.raining, false);
    thread_join(&drop.cloud);
}
