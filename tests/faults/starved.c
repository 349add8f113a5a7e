/*
 * starved.c - threads of the library that get no processor for seconds, that never
 * start, or whose clock lags: late is all that anything may be.
 */
#include "scene.h"

#include <signal.h>

static const canopy_cause upper = {-ETIMEDOUT, "the upper deadline", __FILE__, __LINE__};
static const canopy_cause lower = {-ETIMEDOUT, "the lower deadline", __FILE__, __LINE__};
static const canopy_cause stop = {-ECANCELED, "stopped", __FILE__, __LINE__};

enum { starved_ms = SCALED(2000, 1000), families = 60 };

/* Later than it takes to make families on a busy machine, and past when those starve no longer. */
static int64_t soon_ns(void)
{
    return now_ns() + MILLISECONDS(starved_ms / 4);
}

/* A parent with a deadline, a child with a later one that is past as well when the clock wakes. */
struct family {
    canopy_ctx *parent, *child;
    canopy_callback callback;
    atomic_uint runs;
};

static void family_open(struct family *family, const canopy_ctx *top, int64_t deadline_ns)
{
    family->parent = canopy_with_deadline_cause(top, deadline_ns, &upper);
    family->child =
        canopy_with_deadline_cause(family->parent, deadline_ns + MILLISECONDS(100), &lower);
    assert_non_null(family->child);
    atomic_store(&family->runs, 0);
    assert_int_equal(canopy_after_func(family->child, &family->callback, count_call, &family->runs),
                     0);
}

static void family_close(struct family *family)
{
    assert_true(eventually(atomic_load(&family->runs) == 1, SOON));
    assert_int_equal(canopy_callback_join(&family->callback), 0);
    canopy_end(family->child);
    canopy_end(family->parent);
}

/* What a family does while nobody looks at the clock. */
enum fate { LEFT_ALONE, CANCELLED, CHILD_CANCELLED, EARLIER, TAKEN_AWAY, FATES };

static void meet_fate(struct family *family, enum fate fate)
{
    switch (fate) {
    case CANCELLED:
        assert_true(canopy_cancel_cause(family->parent, &stop));
        break;
    case CHILD_CANCELLED:
        assert_true(canopy_cancel_cause(family->child, &stop));
        break;
    case EARLIER: /* a deadline in the past needs no clock */
        assert_true(canopy_set_deadline(family->parent, 1));
        break;
    case TAKEN_AWAY:
        assert_true(canopy_set_deadline(family->parent, CANOPY_NEVER));
        assert_true(canopy_set_deadline(family->child, CANOPY_NEVER));
        break;
    default:
        break;
    }
}

static void assert_fate(struct family *family, enum fate fate)
{
    switch (fate) {
    case CANCELLED:
        assert_ended(family->parent, -ECANCELED, &stop);
        assert_ended(family->child, -ECANCELED, &stop);
        break;
    case CHILD_CANCELLED:
        assert_ended(family->parent, -ETIMEDOUT, &upper);
        assert_ended(family->child, -ECANCELED, &stop);
        break;
    case TAKEN_AWAY:
        assert_live(family->parent);
        assert_live(family->child);
        assert_true(canopy_cancel_cause(family->parent, &stop));
        break;
    default: /* the ancestor's, also where the clock finds both due */
        assert_ended(family->parent, -ETIMEDOUT, &upper);
        assert_ended(family->child, -ETIMEDOUT, &upper);
    }
}

TEST(clock_starved_for_seconds)
{
    static struct family all[families];
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *sentinel = canopy_with_timeout(fixture.root, MILLISECONDS(5));
    assert_true(canopy_wait(sentinel, now_ns() + SOON)); /* the clock runs */
    fault_hold(FAULT_CLOCK);
    int64_t deadline_ns = soon_ns();
    for (unsigned i = 0; i < families; i++)
        family_open(&all[i], fixture.root, deadline_ns);
    assert_true(eventually(fault_is_held(FAULT_CLOCK), SOON));

    int64_t until_ns = now_ns() + MILLISECONDS(starved_ms);
    for (unsigned i = 0; i < families; i++)
        meet_fate(&all[i], i % FATES);
    /* A wait needs no clock but the kernel's; questions tell the truth. */
    assert_false(canopy_wait(all[TAKEN_AWAY].parent, until_ns));
    assert_true(now_ns() >= until_ns);
    assert_live(all[LEFT_ALONE].parent);
    assert_int_equal(canopy_err_at(all[LEFT_ALONE].child, now_ns()), -ETIMEDOUT);
    assert_true(canopy_wait(all[LEFT_ALONE].child, CANOPY_NEVER));
    assert_ended(all[LEFT_ALONE].child, -ETIMEDOUT, &upper);
    assert_live(all[LEFT_ALONE + FATES].parent);
    assert_int_equal(canopy_err_at(all[TAKEN_AWAY].child, now_ns()), 0);
    /* Born late: the deadline that is past already needs no clock. */
    canopy_ctx *born = canopy_with_deadline(all[TAKEN_AWAY].child, deadline_ns);
    assert_ended(born, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(born);
    fault_let_go(FAULT_CLOCK);

    for (unsigned i = 0; i < families; i++)
        if (i % FATES != TAKEN_AWAY)
            assert_true(canopy_wait(all[i].parent, now_ns() + SOON));
    for (unsigned i = 0; i < families; i++) {
        assert_fate(&all[i], i % FATES);
        family_close(&all[i]);
    }
    canopy_end(sentinel);
    fixture_close(&fixture);
}

TEST(clock_that_lags)
{
    enum { rounds = 20 };
    static struct family all[rounds];
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    fault_clock_lag(MILLISECONDS(50));
    for (unsigned i = 0; i < rounds; i++)
        family_open(&all[i], fixture.root, now_ns() + MILLISECONDS(i));
    for (unsigned i = 0; i < rounds; i++) {
        assert_true(canopy_wait(all[i].child, now_ns() + SOON));
        assert_fate(&all[i], LEFT_ALONE);
        family_close(&all[i]);
    }
    fault_clock_lag(0);
    fixture_close(&fixture);
}

TEST(worker_starved_delays_callbacks_only)
{
    struct fixture fixture;
    struct family family;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *sentinel = canopy_with_timeout(fixture.root, MILLISECONDS(5));
    assert_true(canopy_wait(sentinel, now_ns() + SOON));
    fault_hold(FAULT_WORKER);
    family_open(&family, fixture.root, soon_ns());
    canopy_callback taken_back;
    atomic_uint taken_runs = 0;
    assert_int_equal(canopy_after_func(family.child, &taken_back, count_call, &taken_runs), 0);
    int fd = canopy_done_fd(family.child);
    assert_true(canopy_wait(family.child, now_ns() + SOON));
    assert_true(fd_readable(fd, 20000));
    pause_ns(MILLISECONDS(starved_ms / 4));
    assert_int_equal(atomic_load(&family.runs), 0);
    /* What has not begun to run is taken back at once. */
    assert_true(canopy_callback_stop(&taken_back));
    fault_let_go(FAULT_WORKER);
    assert_int_equal(canopy_callback_join(&family.callback), 0);
    assert_int_equal(atomic_load(&family.runs), 1);
    assert_int_equal(atomic_load(&taken_runs), 0);
    assert_fate(&family, LEFT_ALONE);
    family_close(&family);
    canopy_end(sentinel);
    fixture_close(&fixture);
}

/* ------------------------------------------------------------------ memory */

/* Contexts that a cancel has looked at: their memory waits for the reclaimer. */
static void retire_some(const canopy_ctx *top)
{
    enum { some = 100 };
    canopy_ctx *made[some];
    canopy_ctx *parent = canopy_with_cancel(top);
    for (unsigned i = 0; i < some; i++) {
        made[i] = canopy_with_cancel(parent);
        assert_non_null(made[i]);
    }
    assert_true(canopy_cancel(parent));
    for (unsigned i = 0; i < some; i++)
        canopy_end(made[i]);
    canopy_end(parent);
}

TEST(reclaimer_starved_delays_memory_only)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    retire_some(fixture.root);
    assert_int_equal(canopy_wait_idle(fixture.root, now_ns() + SOON), 0);
    fault_hold(FAULT_RECLAIMER);
    for (unsigned i = 0; i < 20; i++)
        retire_some(fixture.root);
    assert_int_equal(canopy_wait_idle(fixture.root, now_ns() + MILLISECONDS(starved_ms / 4)),
                     -ETIME);
    assert_live(fixture.root);
    fault_let_go(FAULT_RECLAIMER);
    fixture_close(&fixture);
}

/* So much waits for the reclaimer that who makes more is slowed, but never stopped. */
TEST(reclaimer_starved_slows_who_takes_more_memory)
{
    enum { much = 300000, more = 5000 };
    static canopy_ctx *made[more];
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    retire_some(fixture.root);
    assert_int_equal(canopy_wait_idle(fixture.root, now_ns() + SOON), 0);
    fault_hold(FAULT_RECLAIMER);
    for (unsigned retired = 0; retired < much; retired += 100)
        retire_some(fixture.root);
    fault_plan(FAULT_FUTEX_WAIT, 0, 0);
    for (unsigned i = 0; i < more; i++) {
        made[i] = canopy_with_cancel(fixture.root);
        assert_non_null(made[i]);
    }
    assert_true(fault_calls(FAULT_FUTEX_WAIT) > 0);
    fault_let_go(FAULT_RECLAIMER);
    for (unsigned i = 0; i < more; i++)
        canopy_end(made[i]);
    fixture_close(&fixture);
}

TEST(no_thread_to_be_had_until_all_is_over)
{
    struct fixture fixture;
    fault_plan(FAULT_THREAD, 1, 0);
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    retire_some(fixture.root);
    assert_true(fault_calls(FAULT_THREAD) > 0);
    fault_lift_all();
    fixture_close(&fixture);
}

/* Everything that needs no thread of the library works without one, memory included. */
TEST(no_thread_to_be_had_at_all)
{
    struct fixture fixture;
    fault_plan(FAULT_THREAD, 1, 0);
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, 10);
    assert_non_null(timed);
    assert_int_equal(canopy_root_advance(fixture.root, 10, NULL), 0);
    assert_ended(timed, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(timed);
    retire_some(fixture.root);
    fixture_close(&fixture);
}

/* A deadline that nobody would keep is not set. */
TEST(deadline_set_before_a_clock_can_start)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    fault_plan(FAULT_THREAD, 1, 0);
    errno = 0;
    assert_false(canopy_set_deadline(ctx, soon_ns()));
    assert_int_equal(errno, EAGAIN);
    assert_deadline(ctx, CANOPY_NEVER);
    errno = 0;
    assert_null(canopy_with_timeout(ctx, HOURS(1)));
    assert_int_equal(errno, EAGAIN);
    fault_lift_all();
    canopy_ctx *child = canopy_with_timeout(ctx, HOURS(1));
    assert_non_null(child);
    assert_true(canopy_set_deadline(ctx, soon_ns()));
    assert_true(canopy_wait(child, now_ns() + SOON));
    assert_ended(child, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(child);
    canopy_end(ctx);
    fixture_close(&fixture);
}

/* ------------------------------------------------------------- that do not begin */

static void make_first_context(void *arg)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_non_null(ctx);
    canopy_end(ctx);
    count_call(arg);
}

/* Neither who starts a thread nor who needs the same lock waits for it to run. */
TEST(nobody_waits_for_a_thread_of_the_library_to_begin)
{
    const int number = SIGUSR1;
    atomic_uint runs = 0, made = 0;
    canopy_callback callback;
    struct thread other;
    fault_hold_starts(true);
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    canopy_ctx *timed = canopy_with_timeout(child, MILLISECONDS(1));
    canopy_ctx *signalled = canopy_with_signals(child, &number, 1);
    assert_non_null(timed);
    assert_non_null(signalled);
    assert_int_equal(canopy_after_func(timed, &callback, count_call, &runs), 0);
    thread_start(&other, make_first_context, &made);
    thread_join(&other);
    assert_int_equal(atomic_load(&made), 1);
    fault_hold_starts(false);
    assert_true(canopy_wait(timed, now_ns() + SOON));
    assert_true(eventually(atomic_load(&runs) == 1, SOON));
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_end(signalled);
    canopy_end(timed);
    canopy_end(child);
    canopy_end(parent);
}
