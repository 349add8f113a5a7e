/*
 * scenarios.c - what every adapter must do: deliver on the loop's own thread whatever
 * ends a context, never before its deadline, sleep when there is nothing to do, and
 * close only when nothing is armed.
 */
#include "driver.h"

#include <stdlib.h>
#include <time.h>

/* One turn for the sleep that it ends; a timer that fires a little early may add some. */
enum { FEW_TURNS = 6 };

TEST(a_cancel_on_another_thread_is_delivered_on_the_loops)
{
    struct fixture fixture;
    struct thread canceller;
    struct seen seen = {.runs = 0};
    driven_open(&fixture);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    watch(&seen, ctx);
    thread_start(&canceller, cancel_after_pause, ctx);
    assert_in_range(turns_until(seen.runs > 0), 1, FEW_TURNS);
    thread_join(&canceller);
    assert_true(pthread_equal(seen.thread, pthread_self()));
    assert_int_equal(seen.err, -ECANCELED);
    canopy_end(ctx);
    driven_close(&fixture);
    assert_int_equal(seen.runs, 1);
}

TEST(deadlines_end_by_the_hosts_clock_and_never_early)
{
    enum { DEADLINES = 40 };
    struct fixture fixture;
    struct seen seen[DEADLINES] = {{.runs = 0}};
    canopy_ctx *ctxs[DEADLINES];
    uint64_t seed = 3;
    driven_open(&fixture);
    int64_t start_ns = now_ns();
    for (int i = 0; i < DEADLINES; i++) {
        int64_t after_ns = (int64_t)(random_next(&seed) % (uint64_t)MILLISECONDS(60));
        ctxs[i] = canopy_with_deadline(fixture.root, start_ns + after_ns);
        watch(&seen[i], ctxs[i]);
    }
    for (int i = 0; i < DEADLINES; i++) {
        int64_t deadline_ns;
        turns_until(seen[i].runs > 0);
        assert_true(canopy_deadline(ctxs[i], &deadline_ns));
        assert_true(seen[i].at_ns >= deadline_ns);
        assert_int_equal(seen[i].err, -ETIMEDOUT);
        assert_int_equal(seen[i].runs, 1);
        canopy_end(ctxs[i]);
    }
    driven_close(&fixture);
}

static void move_nearer(void *ctx)
{
    pause_ns(MILLISECONDS(30));
    assert_true(canopy_set_deadline(ctx, now_ns() + MILLISECONDS(20)));
}

TEST(a_deadline_that_another_thread_moves_nearer_ends_the_sleep)
{
    struct fixture fixture;
    struct thread mover;
    struct seen seen = {.runs = 0};
    driven_open(&fixture);
    int64_t start_ns = now_ns();
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, start_ns + HOURS(1));
    watch(&seen, ctx);
    thread_start(&mover, move_nearer, ctx);
    assert_in_range(turns_until(seen.runs > 0), 1, 2 * FEW_TURNS);
    thread_join(&mover);
    assert_int_equal(seen.err, -ETIMEDOUT);
    assert_true(seen.at_ns >= start_ns + MILLISECONDS(50));
    canopy_end(ctx);
    driven_close(&fixture);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec used;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return SECONDS(used.tv_sec) + used.tv_nsec;
}

TEST(an_idle_loop_sleeps)
{
    struct fixture fixture;
    struct seen seen = {.runs = 0};
    driven_open(&fixture);
    canopy_ctx *far = canopy_with_deadline(fixture.root, now_ns() + HOURS(1));
    canopy_ctx *near = canopy_with_deadline(fixture.root, now_ns() + MILLISECONDS(400));
    watch(&seen, near);
    int64_t before_ns = thread_cpu_ns();
    assert_in_range(turns_until(seen.runs > 0), 1, FEW_TURNS);
    assert_true(thread_cpu_ns() - before_ns < MILLISECONDS(100));
    canopy_end(near);
    canopy_end(far);
    driven_close(&fixture);
}

/* Each callback ends the next context, on the thread that would otherwise go to sleep. */
struct link {
    struct seen seen;
    canopy_ctx *ctx;
    struct link *next;
};

static void end_next(void *arg)
{
    struct link *link = arg;
    see(&link->seen);
    if (link->next)
        canopy_cancel(link->next->ctx);
}

TEST(what_a_callback_makes_due_is_not_slept_on)
{
    enum { LINKS = 5 };
    struct fixture fixture;
    struct link links[LINKS] = {{.next = NULL}};
    driven_open(&fixture);
    for (int i = 0; i < LINKS; i++) {
        struct link *link = &links[i];
        link->ctx = canopy_with_cancel(fixture.root);
        link->seen.ctx = link->ctx;
        link->next = i + 1 < LINKS ? link + 1 : NULL;
        assert_int_equal(
            canopy_loop_after_func(link->ctx, driver_loop(), &link->seen.callback, end_next, link),
            0);
    }
    canopy_cancel(links[0].ctx);
    assert_in_range(turns_until(links[LINKS - 1].seen.runs > 0), 1, LINKS + FEW_TURNS);
    for (int i = 0; i < LINKS; i++) {
        assert_int_equal(links[i].seen.runs, 1);
        canopy_end(links[i].ctx);
    }
    driven_close(&fixture);
}

TEST(a_turn_that_does_not_sleep_leaves_the_next_one_able_to_wake)
{
    struct fixture fixture;
    struct thread canceller;
    struct seen at_once = {.runs = 0}, later = {.runs = 0};
    driven_open(&fixture);
    canopy_ctx *done = canopy_with_timeout(fixture.root, 0);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    watch(&at_once, done);
    watch(&later, ctx);
    assert_in_range(turns_until(at_once.runs > 0), 1, FEW_TURNS);
    thread_start(&canceller, cancel_after_pause, ctx);
    assert_in_range(turns_until(later.runs > 0), 1, FEW_TURNS);
    thread_join(&canceller);
    canopy_end(done);
    canopy_end(ctx);
    driven_close(&fixture);
}

/* ------------------------------------------------------------ many at once */

enum { CANCELLERS = 3, CONTEXTS = SCALED(400, 100) };

struct canceller {
    struct thread thread;
    canopy_ctx *ctxs[CONTEXTS];
    struct seen seen[CONTEXTS];
};

static void cancel_all(void *arg)
{
    struct canceller *canceller = arg;
    for (int i = 0; i < CONTEXTS; i++) {
        canopy_cancel(canceller->ctxs[i]);
        if (i % 16 == 0) /* so that the loop falls asleep now and then */
            pause_ns(MICROSECONDS(100));
    }
}

TEST(cancels_of_many_threads_are_all_delivered_once)
{
    struct fixture fixture;
    struct canceller *cancellers = calloc(CANCELLERS, sizeof *cancellers);
    assert_non_null(cancellers);
    driven_open(&fixture);
    for (int t = 0; t < CANCELLERS; t++) {
        for (int i = 0; i < CONTEXTS; i++) {
            cancellers[t].ctxs[i] = canopy_with_cancel(fixture.root);
            watch(&cancellers[t].seen[i], cancellers[t].ctxs[i]);
        }
    }
    for (int t = 0; t < CANCELLERS; t++)
        thread_start(&cancellers[t].thread, cancel_all, &cancellers[t]);
    for (int t = 0; t < CANCELLERS; t++) {
        for (int i = 0; i < CONTEXTS; i++) {
            turns_until(cancellers[t].seen[i].runs > 0);
            assert_true(pthread_equal(cancellers[t].seen[i].thread, pthread_self()));
        }
    }
    for (int t = 0; t < CANCELLERS; t++) {
        thread_join(&cancellers[t].thread);
        for (int i = 0; i < CONTEXTS; i++) {
            assert_int_equal(cancellers[t].seen[i].runs, 1);
            canopy_end(cancellers[t].ctxs[i]);
        }
    }
    driven_close(&fixture);
    free(cancellers);
}

/* -------------------------------------------------------------------- close */

TEST(close_waits_for_what_is_armed)
{
    struct fixture fixture;
    struct thread canceller;
    struct seen armed = {.runs = 0}, due = {.runs = 0}, stopped = {.runs = 0};
    driven_open(&fixture);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    canopy_ctx *done = canopy_with_timeout(fixture.root, 0);
    watch(&stopped, ctx);
    assert_int_equal(driver_close(), -EBUSY);
    assert_true(canopy_loop_callback_stop(&stopped.callback));

    /* It goes on as before, also in its sleep. */
    watch(&due, done);
    assert_int_equal(driver_close(), -EBUSY);
    assert_in_range(turns_until(due.runs > 0), 1, FEW_TURNS);
    watch(&armed, ctx);
    assert_int_equal(driver_close(), -EBUSY);
    thread_start(&canceller, cancel_after_pause, ctx);
    assert_in_range(turns_until(armed.runs > 0), 1, FEW_TURNS);
    thread_join(&canceller);
    canopy_end(done);
    canopy_end(ctx);
    driven_close(&fixture);
    assert_int_equal(driver_close(), -EINVAL);
    assert_int_equal(stopped.runs, 0);
}
