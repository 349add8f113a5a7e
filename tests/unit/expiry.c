/*
 * expiry.c - promises 18 and 19 on the library's clock: never early, seen by
 * everybody though nobody polls, and one winner against cancel. Nothing here
 * asserts that an expiry is quick, only that it comes.
 */
#include "harness.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

static const canopy_key key = {.name = "key"};

static int64_t deadline_of(const canopy_ctx *ctx)
{
    int64_t deadline_ns;
    assert_true(canopy_deadline(ctx, &deadline_ns));
    return deadline_ns;
}

/* -------------------------------------------------------- 18: never early */

/* By which the library's reading of the time may be late, whatever the clock source (ticks.c). */
#define READING_LATE_NS MICROSECONDS(500)

/* The deadline that a timeout becomes may lie late by `late_ns` more, and not early at all. */
static void check_timeout(int64_t timeout_ns, int64_t late_ns)
{
    for (int i = 0; i < 200; i++) {
        int64_t before_ns = now_ns();
        canopy_ctx *ctx = canopy_with_timeout(canopy_background(), timeout_ns);
        int64_t after_ns = now_ns();
        int64_t deadline_ns = deadline_of(ctx);
        if (deadline_ns < before_ns + timeout_ns ||
            deadline_ns > after_ns + timeout_ns + READING_LATE_NS + late_ns)
            fail_msg("a timeout made between %lld and %lld ends at +%lld", (long long)before_ns,
                     (long long)after_ns, (long long)(deadline_ns - before_ns));
        canopy_release(ctx);
        pause_ns(MICROSECONDS(20)); /* to meet the coarse clock at all of its phases */
    }
}

TEST(p18_timeouts_are_counted_from_now_and_never_early)
{
    struct timespec tick;
    assert_int_equal(clock_getres(CLOCK_MONOTONIC_COARSE, &tick), 0);
    check_timeout(MILLISECONDS(100), 0);
    check_timeout(SECONDS(1), 0);
    check_timeout(1000 * tick.tv_nsec - 1, 0);
    check_timeout(1000 * tick.tv_nsec, tick.tv_nsec);
    check_timeout(SECONDS(30), tick.tv_nsec);
    check_timeout(HOURS(1), tick.tv_nsec);
}

TEST(p18_never_done_before_its_deadline)
{
    enum { CONTEXTS = 2000 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = malloc(CONTEXTS * sizeof *all);
    int64_t *deadlines_ns = malloc(CONTEXTS * sizeof *deadlines_ns);
    assert_true(all && deadlines_ns);
    uint64_t seed = 18;
    for (size_t i = 0; i < CONTEXTS; i++) {
        deadlines_ns[i] = now_ns() + (int64_t)(random_next(&seed) % MILLISECONDS(300));
        bool below = i % 3 == 2;
        all[i] = canopy_with_deadline(below ? all[i - 1] : f.root, deadlines_ns[i]);
        if (below && deadlines_ns[i - 1] < deadlines_ns[i])
            deadlines_ns[i] = deadlines_ns[i - 1];
    }
    int64_t until_ns = now_ns() + SOON;
    for (size_t live = CONTEXTS; live > 0 && now_ns() < until_ns;) {
        live = 0;
        for (size_t i = 0; i < CONTEXTS; i++) {
            if (!canopy_done(all[i]))
                live++;
            else /* the time is read after done was seen */
                assert_true(now_ns() >= deadlines_ns[i]);
        }
    }
    for (size_t i = 0; i < CONTEXTS; i++)
        assert_ended(all[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    for (size_t i = 0; i < CONTEXTS; i++)
        canopy_release(all[i]);
    free(deadlines_ns);
    free(all);
    fixture_close(&f);
}

/* More than the clock takes on in one turn. */
TEST(p18_all_that_are_due_at_once_end)
{
    enum { CONTEXTS = 20000 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = malloc(CONTEXTS * sizeof *all);
    assert_non_null(all);
    int64_t deadline_ns = now_ns() + MILLISECONDS(100);
    for (size_t i = 0; i < CONTEXTS; i++)
        all[i] = canopy_with_deadline(f.root, deadline_ns);
    for (size_t i = 0; i < CONTEXTS; i++) {
        assert_true(eventually(canopy_done(all[i]), SOON)); /* a wait would end it itself */
        assert_ended(all[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        canopy_release(all[i]);
    }
    free(all);
    fixture_close(&f);
}

/* ----------------------------------- 18: seen by everybody, polled by nobody */

TEST(p18_expiry_reaches_a_waiter)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    int64_t deadline_ns = deadline_of(ctx);
    assert_true(canopy_wait(ctx, CANOPY_NEVER));
    assert_true(now_ns() >= deadline_ns);
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
}

TEST(p18_expiry_reaches_a_waiter_on_several)
{
    canopy_ctx *never = canopy_with_timeout(canopy_background(), HOURS(1));
    canopy_ctx *soon = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    const canopy_ctx *both[] = {never, soon};
    int64_t deadline_ns = deadline_of(soon);
    assert_int_equal(canopy_wait_any(both, 2, CANOPY_NEVER), 1);
    assert_true(now_ns() >= deadline_ns);
    canopy_release(soon);
    canopy_release(never);
}

TEST(p18_expiry_reaches_a_sleeper)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    int64_t deadline_ns = deadline_of(ctx);
    assert_int_equal(canopy_sleep(ctx, HOURS(1)), -ETIMEDOUT);
    assert_true(now_ns() >= deadline_ns);
    canopy_release(ctx);
}

TEST(p18_expiry_reaches_an_fd)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    int64_t deadline_ns = deadline_of(ctx);
    struct pollfd fd = {.fd = canopy_done_fd(ctx), .events = POLLIN};
    assert_true(fd.fd >= 0);
    assert_int_equal(poll(&fd, 1, SOON / MILLISECONDS(1)), 1);
    assert_true(now_ns() >= deadline_ns);
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
}

struct moment {
    const canopy_ctx *ctx;
    atomic_llong at_ns;
    atomic_int err;
};

static void note_moment(void *arg)
{
    struct moment *moment = arg;
    atomic_store(&moment->err, canopy_err(moment->ctx));
    atomic_store(&moment->at_ns, now_ns());
}

TEST(p18_expiry_reaches_a_callback)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    struct moment moment = {.ctx = ctx};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(ctx, &callback, note_moment, &moment), 0);
    assert_true(eventually(atomic_load(&moment.at_ns) != 0, SOON));
    assert_true(atomic_load(&moment.at_ns) >= deadline_of(ctx));
    assert_int_equal(atomic_load(&moment.err), -ETIMEDOUT);
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_release(ctx);
}

static void wait_for_end(void *arg)
{
    assert_true(canopy_wait(arg, now_ns() + SOON));
    assert_ended(arg, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
}

TEST(p18_expiry_reaches_waiters_below)
{
    canopy_ctx *top = canopy_with_timeout(canopy_background(), MILLISECONDS(30));
    canopy_ctx *middle = canopy_with_value(top, &key, NULL);
    canopy_ctx *leaf = canopy_with_timeout(middle, HOURS(1));
    canopy_ctx *all[] = {top, middle, leaf, leaf};
    struct thread waiters[4];
    for (size_t i = 0; i < 4; i++)
        thread_start(&waiters[i], wait_for_end, all[i]);
    for (size_t i = 0; i < 4; i++)
        thread_join(&waiters[i]);
    canopy_release(leaf);
    canopy_release(middle);
    canopy_release(top);
}

TEST(p18_an_earlier_deadline_than_the_one_the_clock_sleeps_for)
{
    canopy_ctx *far = canopy_with_timeout(canopy_background(), HOURS(1));
    pause_ns(MILLISECONDS(20)); /* let the clock go to sleep */
    canopy_ctx *near = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    assert_true(canopy_wait(near, now_ns() + SOON));
    assert_live(far);
    pause_ns(MILLISECONDS(20));
    assert_true(canopy_set_deadline(far, now_ns() + MILLISECONDS(20)));
    assert_true(canopy_wait(far, now_ns() + SOON));
    canopy_release(near);
    canopy_release(far);
}

static void arm_and_wait(void *arg)
{
    const canopy_ctx *root = arg;
    uint64_t seed = (uintptr_t)&seed;
    for (int i = 0; i < 30; i++) {
        canopy_ctx *ctx =
            canopy_with_timeout(root, (int64_t)(random_next(&seed) % MILLISECONDS(4)));
        int64_t deadline_ns = deadline_of(ctx);
        assert_true(canopy_wait(ctx, now_ns() + SOON));
        assert_true(now_ns() >= deadline_ns);
        canopy_release(ctx);
    }
}

TEST(p18_no_deadline_armed_beside_others_is_lost)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct thread threads[8];
    for (size_t i = 0; i < 8; i++)
        thread_start(&threads[i], arm_and_wait, f.root);
    for (size_t i = 0; i < 8; i++)
        thread_join(&threads[i]);
    fixture_close(&f);
}

/* Nobody may set the wall clock for a test, but it is told apart by its value. */
TEST(p21_deadlines_are_moments_of_the_monotonic_clock)
{
    struct timespec wall;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &wall), 0);
    canopy_ctx *by_wall =
        canopy_with_deadline(canopy_background(), SECONDS(wall.tv_sec) + wall.tv_nsec);
    canopy_ctx *by_timeout = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    assert_in_range(deadline_of(by_timeout), 1, now_ns() + MILLISECONDS(20));
    assert_true(canopy_wait(by_timeout, now_ns() + SOON));
    assert_live(by_wall);
    canopy_release(by_timeout);
    canopy_release(by_wall);
}

/* --------------------------------------- 18: armed while the clock is at work */

TEST(p18_a_deadline_armed_at_the_moment_of_anothers_expiry_is_not_lost)
{
    for (int round = 0; round < SCALED(1000, 300); round++) {
        /* One lies before the other in memory; the clock has passed either of them. */
        canopy_ctx *pair[2];
        for (size_t i = 0; i < 2; i++)
            pair[i] = canopy_with_cancel(canopy_background());
        canopy_ctx *first = pair[round % 2], *second = pair[1 - round % 2];
        canopy_set_deadline(first, now_ns() + MICROSECONDS(100));
        int64_t latest_ns = now_ns() + SOON;
        while (!canopy_done(first))
            assert_true(now_ns() < latest_ns);
        for (int i = round % 32; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        canopy_set_deadline(second, now_ns() + MICROSECONDS(200)); /* false if it ends meanwhile */
        assert_true(eventually(canopy_done(second), SOON));        /* a wait would end it itself */
        canopy_release(first);
        canopy_release(second);
    }
}

/* ------------------------------- 17, once more: due beside its parent, for real */

TEST(p17_a_deadline_equal_to_the_parents_reports_the_parents_cause)
{
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "the parent's");
    const canopy_cause *own = CANOPY_CAUSE(-EPIPE, "the child's");
    for (int round = 0; round < 20; round++) {
        int64_t deadline_ns = now_ns() + MILLISECONDS(3);
        canopy_ctx *parent = canopy_with_deadline_cause(canopy_background(), deadline_ns, cause);
        /* Children are made and moved before, around and after the moment itself. */
        while (now_ns() < deadline_ns + MILLISECONDS(1)) {
            canopy_ctx *child = canopy_with_deadline_cause(parent, deadline_ns, own);
            canopy_ctx *moved = canopy_with_deadline_cause(parent, CANOPY_NEVER, own);
            canopy_set_deadline(moved, deadline_ns);
            canopy_ctx *both[] = {child, moved};
            for (size_t i = 0; i < 2; i++) {
                if (canopy_done(both[i]))
                    assert_ended(both[i], -ETIMEDOUT, cause);
                canopy_release(both[i]);
            }
        }
        assert_true(canopy_wait(parent, now_ns() + SOON));
        canopy_release(parent);
    }
}

/* ------------------------------------------------------- 19: cancel or expiry */

TEST(p19_cancel_before_expiry_disarms)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "cancelled in time");
    canopy_ctx *ctx = canopy_with_deadline_cause(f.root, 100, CANOPY_CAUSE(-EPIPE, "too late"));
    assert_true(canopy_cancel_cause(ctx, cause));
    assert_int_equal(canopy_root_advance(f.root, 100, NULL), 0);
    assert_ended(ctx, -ECANCELED, cause);
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(p19_cancel_after_expiry_changes_nothing)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "expired");
    canopy_ctx *ctx = canopy_with_deadline_cause(f.root, 100, cause);
    assert_int_equal(canopy_root_advance(f.root, 100, NULL), 0);
    assert_false(canopy_cancel_cause(ctx, CANOPY_CAUSE(-EPIPE, "too late")));
    assert_ended(ctx, -ETIMEDOUT, cause);
    canopy_end(ctx);
    fixture_close(&f);
}

/* Cancel on one thread against expiry on another. */
struct expiry_race {
    struct meeting start, end;
    canopy_ctx *ctx;
    canopy_ctx *child;
    int64_t deadline_ns;
    bool won;
    int rounds;
};

static const canopy_cause cancelled = {-1, "cancelled", NULL, 0};
static const canopy_cause expired = {-2, "expired", NULL, 0};

static void cancel_rounds(void *arg)
{
    struct expiry_race *race = arg;
    uint64_t seed = 19;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        for (volatile unsigned delay = random_next(&seed) % 200; delay > 0; delay--)
            ;
        race->won = canopy_cancel_cause(race->ctx, &cancelled);
        assert_true(canopy_done(race->child));
        meet(&race->end);
    }
}

static void check_race(const struct expiry_race *race)
{
    if (race->won) {
        assert_ended(race->ctx, -ECANCELED, &cancelled);
        assert_ended(race->child, -ECANCELED, &cancelled);
    } else {
        assert_ended(race->ctx, -ETIMEDOUT, &expired);
        assert_ended(race->child, -ETIMEDOUT, &expired);
    }
}

TEST(p19_cancel_beside_expiry_has_one_winner)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    struct expiry_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(20000, 2000)};
    int wins = 0;
    struct thread canceller;
    thread_start(&canceller, cancel_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        race.ctx = canopy_with_deadline_cause(f.root, round + 1, &expired);
        race.child = canopy_with_cancel(race.ctx);
        meet(&race.start);
        assert_int_equal(canopy_root_advance(f.root, round + 1, NULL), 0);
        assert_true(canopy_done(race.child));
        meet_at_end(&race.end, &race.rounds, round);
        check_race(&race);
        wins += race.won;
        canopy_release(race.child);
        canopy_release(race.ctx);
    }
    thread_join(&canceller);
    print_message("%d of %d won by cancel\n", wins, race.rounds);
    fixture_close(&f);
}

TEST(p19_cancel_beside_the_library_clock_has_one_winner)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int round = 0; round < 200; round++) {
        struct expiry_race race;
        int64_t deadline_ns = now_ns() + MILLISECONDS(1);
        race.ctx = canopy_with_deadline_cause(f.root, deadline_ns, &expired);
        race.child = canopy_with_cancel(race.ctx);
        while (now_ns() < deadline_ns)
            ;
        race.won = canopy_cancel_cause(race.ctx, &cancelled);
        check_race(&race);
        canopy_release(race.child);
        canopy_release(race.ctx);
    }
    fixture_close(&f);
}

/* -------------------------------------------------------------------- order */

enum { in_order_size = 500 };
struct in_order {
    struct timed_callback {
        canopy_ctx *ctx;
        canopy_callback callback;
        int64_t deadline_ns;
        struct in_order *all;
    } timed[in_order_size];
    int64_t last_ns;
    atomic_uint runs, early;
};

static void note_its_turn(void *arg)
{
    const struct timed_callback *timed = arg;
    struct in_order *all = timed->all;
    if (timed->deadline_ns < all->last_ns)
        atomic_fetch_add(&all->early, 1);
    all->last_ns = timed->deadline_ns;
    atomic_fetch_add(&all->runs, 1);
}

/* Those of one turn, which are most of them, as well as those of several. */
TEST(p19_callbacks_at_expiry_run_in_the_order_of_deadlines)
{
    struct in_order *all = calloc(1, sizeof *all);
    size_t order[in_order_size];
    uint64_t seed = 19;
    assert_non_null(all);
    random_order(&seed, order, in_order_size);
    int64_t first_ns = now_ns() + MILLISECONDS(SCALED(200, 2000));
    for (size_t i = 0; i < in_order_size; i++) {
        struct timed_callback *timed = &all->timed[i];
        timed->all = all;
        timed->deadline_ns = first_ns + (int64_t)order[i] * 100;
        timed->ctx = canopy_with_deadline(canopy_background(), timed->deadline_ns);
        assert_int_equal(canopy_after_func(timed->ctx, &timed->callback, note_its_turn, timed), 0);
    }
    bool in_time = now_ns() < first_ns; /* else some came due before others were made */
    assert_true(eventually(atomic_load(&all->runs) == in_order_size, SOON));
    for (size_t i = 0; i < in_order_size; i++) {
        assert_int_equal(canopy_callback_join(&all->timed[i].callback), 0);
        canopy_end(all->timed[i].ctx);
    }
    if (in_time)
        assert_int_equal(atomic_load(&all->early), 0);
    free(all);
}
