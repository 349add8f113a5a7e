/*
 * loop_time.c - <canopy/loop.h>: the clock that a loop drives, and how long it sleeps.
 */
#include "looped.h"

#include <stdlib.h>

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

/* Timeouts that come due in one late turn. */
#define MOST_LATE 2000
struct late {
    canopy_ctx *ctx;
    int64_t deadline_ns;
    canopy_loop_callback on_loop;
    canopy_callback in_place;
    struct late_turn *turn;
};

struct late_turn {
    struct late late[MOST_LATE];
    int64_t last_ns[2]; /* on the loop, in place */
    unsigned runs[2];
};

static void runs_after_the_earlier(struct late *late, unsigned where)
{
    assert_true(late->turn->last_ns[where] <= late->deadline_ns);
    late->turn->last_ns[where] = late->deadline_ns;
    late->turn->runs[where]++;
}

static void runs_on_loop(void *late)
{
    runs_after_the_earlier(late, 0);
}

static void runs_in_place(void *late)
{
    runs_after_the_earlier(late, 1);
}

/* `n` deadlines, in the order `order`; some contexts below another that ends by itself. */
static void check_late_turn(size_t n, const size_t order[])
{
    struct looped l;
    looped_open(&l);
    struct late_turn *turn = calloc(1, sizeof *turn);
    assert_non_null(turn);
    /* Memory of before, so that it is not taken in the order of addresses. */
    canopy_ctx *before[64];
    for (size_t i = 0; i < 64; i++)
        before[i] = canopy_with_cancel(l.fixture.root);
    for (size_t i = 0; i < 64; i++)
        canopy_end(before[i * 13 % 64]);
    for (size_t i = 0; i < n; i++) {
        struct late *late = &turn->late[i];
        late->turn = turn;
        late->deadline_ns = 1000 + (int64_t)order[i];
        late->ctx = canopy_with_deadline(l.fixture.root, late->deadline_ns);
        assert_int_equal(
            canopy_loop_after_func(late->ctx, &l.loop, &late->on_loop, runs_on_loop, late), 0);
        assert_int_equal(canopy_after_func(late->ctx, &late->in_place, runs_in_place, late), 0);
    }
    assert_int_equal(canopy_loop_run(&l.loop, HOURS(1)), n);
    assert_int_equal(turn->runs[0], n);
    assert_int_equal(turn->runs[1], n);
    for (size_t i = 0; i < n; i++)
        canopy_end(turn->late[i].ctx);
    free(turn);
    looped_close(&l);
}

TEST(loop_runs_what_one_turn_ends_in_the_order_of_deadlines)
{
    size_t order[MOST_LATE];
    uint64_t seed = 11;
    for (size_t i = 0; i < MOST_LATE; i++)
        order[i] = i;
    check_late_turn(8, order);
    check_late_turn(MOST_LATE, order);
    for (size_t i = 0; i < MOST_LATE; i++)
        order[i] = MOST_LATE - i;
    check_late_turn(MOST_LATE, order);
    for (size_t i = 0; i < MOST_LATE; i++)
        order[i] = i % 7;
    check_late_turn(MOST_LATE, order);
    random_order(&seed, order, 300);
    check_late_turn(300, order);
    random_order(&seed, order, MOST_LATE);
    check_late_turn(MOST_LATE, order);
}

/* Which of its inputs has ended first is seen by a merged context. */
TEST(loop_ends_what_is_due_in_the_order_of_deadlines)
{
    struct looped l;
    looped_open(&l);
    enum { pairs = 100 };
    static const canopy_cause late = {.code = 1, .text = "late"},
                              early = {.code = 2, .text = "early"};
    canopy_ctx *contexts[pairs][3];
    for (size_t i = 0; i < pairs; i++) {
        contexts[i][0] = canopy_with_deadline_cause(l.fixture.root, 2000, &late);
        contexts[i][1] = canopy_with_deadline_cause(l.fixture.root, 1000, &early);
        contexts[i][2] = canopy_with_any((const canopy_ctx *[]){contexts[i][0], contexts[i][1]}, 2);
    }
    assert_int_equal(canopy_loop_run(&l.loop, HOURS(1)), 0);
    for (size_t i = 0; i < pairs; i++) {
        assert_ended(contexts[i][0], -ETIMEDOUT, &late);
        assert_ended(contexts[i][1], -ETIMEDOUT, &early);
        assert_ended(contexts[i][2], -ETIMEDOUT, &early);
        for (size_t j = 0; j < 3; j++)
            canopy_end(contexts[i][j]);
    }
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
