/*
 * bounded_turn.c - turns of a host's clock that end before all that is due has: what is
 * left stays due, and what comes due meanwhile need not wait for it. Promise 18.
 */
#include "looped.h"

#include <stdlib.h>

/* In more slabs than a turn without time looks into. */
#define MANY 5000

struct many {
    struct looped looped;
    canopy_ctx *all[MANY];
};

static struct many *many_open(int64_t deadline_ns)
{
    struct many *many = malloc(sizeof *many);
    assert_non_null(many);
    looped_open(&many->looped);
    for (size_t i = 0; i < MANY; i++)
        many->all[i] = canopy_with_deadline(many->looped.fixture.root, deadline_ns);
    return many;
}

static size_t many_done(const struct many *many)
{
    size_t done = 0;
    for (size_t i = 0; i < MANY; i++)
        done += canopy_done(many->all[i]);
    return done;
}

static void many_release(struct many *many)
{
    for (size_t i = 0; i < MANY; i++) {
        canopy_release(many->all[i]);
        many->all[i] = NULL;
    }
}

static void many_close(struct many *many)
{
    many_release(many);
    looped_close(&many->looped);
    free(many);
}

/* A turn for which there is no time: the time by which to call again. */
static int64_t advance_a_little(struct many *many, int64_t now)
{
    int64_t next_ns = INT64_MIN;
    assert_int_equal(canopy_root_advance_for(many->looped.fixture.root, now, 0, &next_ns), 0);
    return next_ns;
}

TEST(p18_what_a_turn_has_no_time_for_stays_due)
{
    struct many *many = many_open(1000);
    assert_int_equal(advance_a_little(many, 999), 1000);
    size_t before = 0;
    for (int64_t next_ns = 0; next_ns <= 1000;) {
        next_ns = advance_a_little(many, 1000);
        size_t done = many_done(many);
        assert_true(done > before);
        if (before == 0) {
            assert_true(done < MANY);
            assert_true(next_ns <= 1000);
            assert_int_equal(canopy_loop_timeout_ns(&many->looped.loop, 1000), 0);
        }
        before = done;
    }
    assert_int_equal(before, MANY);
    many_close(many);
}

TEST(p18_a_turn_without_an_end_ends_what_bounded_ones_have_left)
{
    struct many *many = many_open(1000);
    advance_a_little(many, 1000);
    assert_true(many_done(many) < MANY);
    int64_t next_ns = 0;
    assert_int_equal(canopy_root_advance(many->looped.fixture.root, 1000, &next_ns), 0);
    assert_int_equal(many_done(many), MANY);
    assert_true(next_ns > 1000);
    many_close(many);
}

struct newcomer {
    canopy_ctx *root, *ctx;
};

static void come(void *arg)
{
    struct newcomer *newcomer = arg;
    newcomer->ctx = canopy_with_deadline(newcomer->root, 1001);
}

TEST(p18_what_comes_due_later_does_not_wait_for_the_many)
{
    struct many *many = many_open(1000);
    struct newcomer newcomer = {.root = many->looped.fixture.root};
    struct thread thread;
    thread_start(&thread, come, &newcomer);
    thread_join(&thread);
    advance_a_little(many, 1000);
    assert_live(newcomer.ctx);
    advance_a_little(many, 1001);
    assert_int_equal(canopy_err(newcomer.ctx), -ETIMEDOUT);
    assert_true(many_done(many) < MANY);
    canopy_release(newcomer.ctx);
    many_close(many);
}

/* Some that lie amid the many, and differ from them by their deadlines alone. */
TEST(p18_what_comes_due_steadily_does_not_wait_for_the_many_around_it)
{
    enum { MS = 1000000, INSTANT = 100 * MS };
    struct many *many = many_open(INSTANT);
    canopy_ctx **steady = &many->all[MANY / 2];
    static const int64_t at_ns[] = {INSTANT - 25 * MS, INSTANT - 10 * MS, INSTANT + MS};
    for (size_t i = 0; i < 3; i++)
        assert_true(canopy_set_deadline(steady[i], at_ns[i]));
    /* So that none of the many stands alone, in a slab that it begins: those come first. */
    for (size_t i = MANY - 256; i < MANY; i++)
        assert_true(canopy_set_deadline(many->all[i], 10 * (int64_t)INSTANT));
    advance_a_little(many, at_ns[0]);
    advance_a_little(many, at_ns[1]);
    advance_a_little(many, INSTANT);
    assert_live(steady[2]);
    advance_a_little(many, at_ns[2]);
    assert_int_equal(canopy_err(steady[2]), -ETIMEDOUT);
    assert_true(many_done(many) < MANY);
    many_close(many);
}

TEST(p18_memory_goes_and_comes_between_bounded_turns)
{
    struct many *many = many_open(1000);
    advance_a_little(many, 1000);
    many_release(many);
    for (size_t i = 0; i < MANY; i++)
        many->all[i] = canopy_with_deadline(many->looped.fixture.root, 2000);
    int64_t next_ns = 0;
    for (int turns = 0; next_ns <= 1000; turns++) {
        assert_true(turns < MANY);
        next_ns = advance_a_little(many, 1000);
    }
    assert_true(next_ns <= 2000);
    assert_int_equal(many_done(many), 0);
    assert_int_equal(canopy_root_advance_for(many->looped.fixture.root, 2000, HOURS(1), NULL), 0);
    assert_int_equal(many_done(many), MANY);
    many_close(many);
}

/* ------------------------------------------------------------------------- loops */

struct ordered {
    canopy_ctx *ctx;
    canopy_loop_callback callback;
    int64_t deadline_ns;
    int64_t *last_ns;
};

static void runs_in_order(void *arg)
{
    const struct ordered *ordered = arg;
    assert_true(*ordered->last_ns <= ordered->deadline_ns);
    *ordered->last_ns = ordered->deadline_ns;
}

/* As many as a portion has, among others that lie between them in memory. */
TEST(loop_run_for_a_time_ends_a_portion_in_the_order_of_deadlines)
{
    enum { PORTION = 256, OTHERS = 20, ALL_OTHERS = PORTION * OTHERS };
    static struct ordered all[PORTION];
    static canopy_ctx *others[ALL_OTHERS];
    struct looped l;
    size_t order[PORTION];
    uint64_t seed = 36;
    int64_t last_ns = 0;
    looped_open(&l);
    random_order(&seed, order, PORTION);
    for (size_t i = 0; i < PORTION; i++) {
        all[i].last_ns = &last_ns;
        all[i].deadline_ns = 1000 + (int64_t)order[i];
        all[i].ctx = canopy_with_deadline(l.fixture.root, all[i].deadline_ns);
        assert_int_equal(
            canopy_loop_after_func(all[i].ctx, &l.loop, &all[i].callback, runs_in_order, &all[i]),
            0);
        for (size_t j = 0; j < OTHERS; j++)
            others[j * PORTION + i] = canopy_with_deadline(l.fixture.root, HOURS(1));
    }
    assert_int_equal(canopy_loop_run_for(&l.loop, 2000, HOURS(1)), PORTION);
    for (size_t i = 0; i < PORTION; i++)
        canopy_end(all[i].ctx);
    for (size_t i = 0; i < ALL_OTHERS; i++) {
        assert_live(others[i]);
        canopy_end(others[i]);
    }
    looped_close(&l);
}

TEST(loop_run_for_no_time_runs_one_and_keeps_the_rest_in_order)
{
    enum { CALLBACKS = 5 };
    static struct ordered all[CALLBACKS];
    struct looped l;
    int64_t last_ns = 0;
    looped_open(&l);
    for (size_t i = 0; i < CALLBACKS; i++) {
        all[i] = (struct ordered){.last_ns = &last_ns, .deadline_ns = (int64_t)i};
        all[i].ctx = canopy_with_cancel(l.fixture.root);
        assert_int_equal(
            canopy_loop_after_func(all[i].ctx, &l.loop, &all[i].callback, runs_in_order, &all[i]),
            0);
        canopy_cancel(all[i].ctx);
    }
    for (size_t i = 0; i < CALLBACKS; i++) {
        assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
        assert_int_equal(canopy_loop_run_for(&l.loop, 0, i % 2 ? 0 : -1), 1);
        assert_int_equal(last_ns, i);
    }
    assert_int_equal(canopy_loop_run_for(&l.loop, 0, 0), 0);
    for (size_t i = 0; i < CALLBACKS; i++)
        canopy_end(all[i].ctx);
    looped_close(&l);
}

TEST(loop_run_for_a_time_ends_many_and_runs_their_callbacks)
{
    struct many *many = many_open(1000);
    struct looped *l = &many->looped;
    canopy_loop_callback *callbacks = calloc(MANY, sizeof *callbacks);
    assert_non_null(callbacks);
    struct seen seen = {0};
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(canopy_loop_after_func(many->all[i], &l->loop, &callbacks[i], note, &seen),
                         0);
    assert_int_equal(canopy_loop_run_for(&l->loop, 1000, HOURS(1)), MANY);
    assert_int_equal(seen.runs, MANY);
    free(callbacks);
    many_close(many);
}

struct closing {
    canopy_loop *loop;
    int runs, again;
};

static void abandons(void *arg)
{
    struct closing *closing = arg;
    closing->runs++;
    closing->again = canopy_loop_run_for(closing->loop, 1000, 0);
    assert_int_equal(canopy_loop_abandon(closing->loop), 0);
}

TEST(loop_run_for_a_time_ends_with_its_loop)
{
    struct many *many = many_open(1000);
    struct looped *l = &many->looped;
    canopy_loop_callback *callbacks = calloc(MANY, sizeof *callbacks);
    assert_non_null(callbacks);
    struct closing closing = {.loop = &l->loop};
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(
            canopy_loop_after_func(many->all[i], &l->loop, &callbacks[i], abandons, &closing), 0);
    assert_int_equal(canopy_loop_run_for(&l->loop, 1000, HOURS(1)), 1);
    assert_int_equal(closing.runs, 1);
    assert_int_equal(closing.again, -EDEADLK);
    for (size_t i = 0; i < MANY; i++)
        canopy_loop_callback_drop(&callbacks[i]);
    free(callbacks);
    many_close(many);
}

TEST(loop_run_for_refuses_what_run_refuses)
{
    struct fixture library;
    canopy_loop none = {0};
    fixture_open(&library, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_loop_run_for(NULL, 0, 0), -EINVAL);
    assert_int_equal(canopy_loop_run_for(&none, 0, 0), -EINVAL);
    assert_int_equal(canopy_root_advance_for(NULL, 0, 0, NULL), -EINVAL);
    assert_int_equal(canopy_root_advance_for(library.root, 0, 0, NULL), -EINVAL);
    fixture_close(&library);
}
