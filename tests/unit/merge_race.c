/*
 * merge_race.c - promise 27, the other half: what canopy_with_any keeps, what
 * ending it takes away, and both beside cancels of its inputs.
 */
#include "probes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const canopy_key counted = {"counted", count_call};

/* ---------------------------------------------------------------- lifetime */

TEST(p27_it_keeps_its_inputs_memory_until_it_is_released)
{
    struct fixture near, far;
    atomic_uint destroyed = 0;
    fixture_open(&near, CANOPY_CLOCK_HOST);
    fixture_open(&far, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *first = canopy_with_cancel(near.root);
    canopy_ctx *second = canopy_with_value(far.root, &counted, &destroyed);
    canopy_ctx *merged = any2(first, second);

    canopy_end(second);
    canopy_cancel(merged);
    assert_int_equal(canopy_root_free(far.root), -EBUSY);
    assert_int_equal(canopy_wait_idle(far.root, 0), -ETIME);
    assert_int_equal(canopy_wait_idle(first, 0), -ETIME);
    assert_int_equal(atomic_load(&destroyed), 0);
    canopy_end(merged);
    fixture_close(&far);
    assert_int_equal(atomic_load(&destroyed), 1);
    canopy_end(first);
    fixture_close(&near);
}

TEST(p27_ending_it_takes_it_off_every_input)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *first = canopy_with_cancel(fixture.root);
    canopy_ctx *second = canopy_with_cancel(fixture.root);
    size_t settled_bytes = 0, cycles = SCALED(100000, 20000);
    for (size_t i = 0; i < cycles; i++) {
        canopy_ctx *merged = any2(first, second);
        if (i % 3 == 0)
            canopy_release(merged);
        else
            canopy_end(merged);
        if (i == cycles / 10)
            settled_bytes = atomic_load(&fixture.memory.live_bytes);
    }
    assert_true(atomic_load(&fixture.memory.live_bytes) <= 2 * settled_bytes);
    assert_int_equal(canopy_wait_idle(first, now_ns() + SOON), 0);
    assert_int_equal(canopy_wait_idle(second, now_ns() + SOON), 0);
    canopy_end(second);
    canopy_end(first);
    fixture_close(&fixture);
}

/* ------------------------------------------------------------------- races */

struct merge_race {
    struct meeting meeting;
    canopy_ctx *inputs[2];
    canopy_ctx *merged;
    canopy_ctx *child;
    const canopy_cause *causes[2];
};

static void cancel_first(void *arg)
{
    struct merge_race *race = arg;
    meet(&race->meeting);
    canopy_cancel_cause(race->inputs[0], race->causes[0]);
    assert_true(canopy_done(race->merged));
    assert_true(canopy_done(race->child));
}

static void cancel_second(void *arg)
{
    struct merge_race *race = arg;
    meet(&race->meeting);
    canopy_cancel_cause(race->inputs[1], race->causes[1]);
    assert_true(canopy_done(race->merged));
    assert_true(canopy_done(race->child));
}

/* Whoever finds an input's cancel lost must still find everything below done. */
static void race_two_inputs(struct fixture *fixture, bool same_input)
{
    const canopy_cause *causes[2] = {CANOPY_CAUSE(-1, "one"), CANOPY_CAUSE(-2, "two")};
    for (unsigned round = 0; round < SCALED(3000, 400); round++) {
        struct merge_race race = {.meeting.parties = 2};
        struct thread other;
        memcpy(race.causes, causes, sizeof causes);
        race.inputs[0] = canopy_with_cancel(fixture->root);
        race.inputs[1] = same_input ? race.inputs[0] : canopy_with_cancel(fixture->root);
        canopy_ctx *between = canopy_with_cancel(race.inputs[1]);
        race.merged = any2(race.inputs[0], between);
        race.child = canopy_with_cancel(race.merged);

        thread_start(&other, cancel_first, &race);
        cancel_second(&race);
        thread_join(&other);
        const canopy_cause *cause = canopy_cause_of(race.merged);
        assert_true(cause == causes[0] || cause == causes[1]);
        assert_ended(race.child, -ECANCELED, cause);

        canopy_end(race.child);
        canopy_end(race.merged);
        canopy_end(between);
        canopy_end(race.inputs[0]);
        if (!same_input)
            canopy_end(race.inputs[1]);
    }
}

TEST(p27_of_two_inputs_cancelled_at_once_one_wins_whole)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    race_two_inputs(&fixture, false);
    fixture_close(&fixture);
}

TEST(p27_a_losing_cancel_of_an_input_finds_what_is_merged_done)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    race_two_inputs(&fixture, true);
    fixture_close(&fixture);
}

struct ending {
    struct meeting meeting;
    canopy_ctx *input;
};

static void cancel_input(void *arg)
{
    struct ending *ending = arg;
    meet(&ending->meeting);
    canopy_cancel(ending->input);
}

TEST(p27_it_may_be_ended_while_an_input_is_being_cancelled)
{
    enum { merges = 8 };
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *other = canopy_with_cancel(fixture.root);
    for (unsigned round = 0; round < SCALED(3000, 400); round++) {
        struct ending ending = {.meeting.parties = 2};
        struct thread thread;
        canopy_ctx *merged[merges];
        ending.input = canopy_with_cancel(fixture.root);
        for (size_t i = 0; i < merges; i++)
            merged[i] = i % 2 ? any2(other, ending.input) : any2(ending.input, other);

        thread_start(&thread, cancel_input, &ending);
        meet(&ending.meeting);
        for (size_t i = 0; i < merges; i++)
            (i % 4 < 2) ? canopy_release(merged[i]) : canopy_end(merged[i]);
        thread_join(&thread);
        assert_live(other);
        canopy_end(ending.input);
    }
    assert_int_equal(canopy_wait_idle(other, now_ns() + SOON), 0);
    canopy_end(other);
    fixture_close(&fixture);
}

TEST(p27_made_while_an_input_is_being_cancelled_it_ends_done)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *other = canopy_with_cancel(fixture.root);
    for (unsigned round = 0; round < SCALED(3000, 400); round++) {
        struct ending ending = {.meeting.parties = 2};
        struct thread thread;
        ending.input = canopy_with_cancel(fixture.root);
        thread_start(&thread, cancel_input, &ending);
        meet(&ending.meeting);
        canopy_ctx *merged = any2(other, ending.input);
        thread_join(&thread);
        assert_ended(merged, -ECANCELED, CANOPY_CANCELED);
        canopy_end(merged);
        canopy_end(ending.input);
    }
    canopy_end(other);
    fixture_close(&fixture);
}

/* ------------------------------------------------- a cancel that comes to a stop */

/* A context whose canceller stops in the middle, at what nobody has read, until that is read. */
static int stop_at(canopy_ctx *ctx)
{
    int fd = canopy_done_fd(ctx);
    uint64_t full = UINT64_MAX - 1;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(write(fd, &full, sizeof full), sizeof full);
    return fd;
}

static void go_on(int fd)
{
    uint64_t count;
    assert_int_equal(read(fd, &count, sizeof count), sizeof count);
}

static void cancel_it(void *ctx)
{
    canopy_cancel(ctx);
}

struct merges {
    size_t n;
    canopy_ctx *inputs[2];
    canopy_ctx **merged;
    canopy_ctx **below;
};

/* Each on both inputs, with a child; `is_chain`: the first input of each is the one before. */
static void merges_make(struct merges *merges, const canopy_ctx *root, size_t n, bool is_chain)
{
    merges->n = n;
    merges->inputs[0] = canopy_with_cancel(root);
    merges->inputs[1] = canopy_with_cancel(root);
    merges->merged = calloc(n, sizeof *merges->merged);
    merges->below = calloc(n, sizeof *merges->below);
    assert_true(merges->merged && merges->below);
    for (size_t i = 0; i < n; i++) {
        const canopy_ctx *first = is_chain && i > 0 ? merges->below[i - 1] : merges->inputs[0];
        merges->merged[i] = any2(first, merges->inputs[1]);
        merges->below[i] = canopy_with_cancel(merges->merged[i]);
    }
}

static void merges_end(struct merges *merges)
{
    for (size_t i = merges->n; i-- > 0;) {
        canopy_end(merges->below[i]);
        canopy_end(merges->merged[i]);
    }
    canopy_end(merges->inputs[1]);
    canopy_end(merges->inputs[0]);
    free(merges->below);
    free(merges->merged);
}

/* A cancel of the first input stops at `stop`; one of `input` does all the same what is to do. */
static void lose_over_merges(size_t n, bool is_chain, size_t stop, unsigned input)
{
    struct fixture fixture;
    struct merges merges;
    struct thread winner;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    merges_make(&merges, fixture.root, n, is_chain);
    int fd = stop_at(merges.below[stop]);
    thread_start(&winner, cancel_it, merges.inputs[0]);
    assert_true(eventually(canopy_done(merges.below[stop]), SOON));

    assert_int_equal(canopy_cancel(merges.inputs[input]), input == 1);
    for (size_t i = 0; i < n; i++)
        assert_true(canopy_done(merges.merged[i]) && canopy_done(merges.below[i]));
    go_on(fd);
    thread_join(&winner);
    merges_end(&merges);
    fixture_close(&fixture);
}

/* Half a minute and more where each of them, or some, are looked for from the first again. */
TEST(p27_a_cancel_that_loses_over_200000_merges_finds_them_done)
{
    size_t n = SCALED(200000, 5000);
    lose_over_merges(n, false, 0, 0);
    lose_over_merges(n, false, n / 2, 1);
}

TEST(p27_a_cancel_that_loses_over_a_chain_of_merges_finds_them_done)
{
    size_t n = SCALED(50000, 2000);
    lose_over_merges(n, true, n - 1, 0);
    lose_over_merges(n, true, n - 1, 1);
    lose_over_merges(n, true, n / 2, 1);
}
