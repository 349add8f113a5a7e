/*
 * birth.c - promises 7 to 9: how a derived context starts out, what a layer
 * shares with what lies below it, and what deriving leaves untouched.
 */
#include "probes.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static const canopy_key key = {.name = "key"};

/* ------------------------------------------------------------- 7: born done */

static void check_born_done(const canopy_ctx *parent)
{
    int err = canopy_err(parent);
    const canopy_cause *cause = canopy_cause_of(parent);
    const canopy_cause *own = CANOPY_CAUSE(-3, "never reported");
    const canopy_ctx *inputs[] = {canopy_background(), parent};
    const int signals[] = {SIGUSR2};
    canopy_ctx *children[] = {
        canopy_with_cancel(parent),
        canopy_with_deadline(parent, now_ns() + HOURS(1)),
        canopy_with_deadline(parent, CANOPY_NEVER),
        canopy_with_timeout(parent, HOURS(1)),
        canopy_with_deadline_cause(parent, now_ns() - 1, own),
        canopy_with_timeout_cause(parent, 0, own),
        canopy_with_value(parent, &key, NULL),
        canopy_with_any(inputs, 2),
        canopy_with_signals(parent, signals, 1),
    };
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        assert_ended(children[i], err, cause);
        assert_false(canopy_cancel(children[i]));
        canopy_ctx *grandchild = canopy_with_cancel(children[i]);
        assert_ended(grandchild, err, cause);
        canopy_release(grandchild);
        canopy_release(children[i]);
    }
}

TEST(p07_child_of_a_cancelled_parent_is_born_done)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_true(canopy_cancel_cause(parent, CANOPY_CAUSE(-EPIPE, "the parent's")));
    check_born_done(parent);
    canopy_release(parent);
}

TEST(p07_child_of_an_expired_parent_is_born_done)
{
    canopy_ctx *parent = canopy_with_timeout_cause(canopy_background(), 0,
                                                   CANOPY_CAUSE(-EPIPE, "the parent's, expired"));
    check_born_done(parent);
    canopy_release(parent);
}

TEST(p07_child_of_a_value_layer_over_a_done_parent_is_born_done)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *layer = canopy_with_value(parent, &key, NULL);
    assert_true(canopy_cancel_cause(parent, CANOPY_CAUSE(-EPIPE, "the parent's")));
    check_born_done(layer);
    canopy_release(layer);
    canopy_release(parent);
}

#define BORN_BESIDE 8

struct birth_race {
    struct meeting start, end;
    canopy_ctx *parent;
    int rounds;
};

static void derive_rounds(void *arg)
{
    struct birth_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        canopy_ctx *children[BORN_BESIDE];
        meet(&race->start);
        for (int i = 0; i < BORN_BESIDE; i++)
            children[i] = i % 4 == 3 ? canopy_with_timeout(race->parent, HOURS(1))
                                     : canopy_with_cancel(i % 2 ? children[i - 1] : race->parent);
        meet(&race->end);
        /* Both the cancel and the constructors have returned. */
        for (int i = BORN_BESIDE - 1; i >= 0; i--) {
            assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
            canopy_release(children[i]);
        }
        meet(&race->end);
    }
}

TEST(p07_child_made_during_its_parents_cancel_ends_done)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct birth_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(10000, 1000)};
    uint64_t seed = 7;
    struct thread deriver;
    thread_start(&deriver, derive_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        race.parent = canopy_with_cancel(f.root);
        unsigned delay = random_next(&seed) % 256;
        meet(&race.start);
        for (volatile unsigned i = 0; i < delay; i++)
            ;
        assert_true(canopy_cancel(race.parent));
        meet(&race.end);
        meet_at_end(&race.end, &race.rounds, round);
        canopy_release(race.parent);
    }
    thread_join(&deriver);
    fixture_close(&f);
}

/* -------------------------- 7: registered while the processor still has writes to do */

/* As many lines as the other thread has written keep what a processor writes after them waiting. */
#define LINES 48

struct busy_race {
    struct meeting start, end;
    canopy_ctx *parent, *child;
    volatile uint64_t lines[LINES][8];
    int rounds;
};

static void write_lines(struct busy_race *race)
{
    for (size_t i = 0; i < LINES; i++)
        race->lines[i][0]++;
}

static void write_and_derive(void *arg)
{
    struct busy_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        (void)canopy_done(race->parent); /* so that it is near by the time it is needed */
        write_lines(race);
        race->child = canopy_with_cancel(race->parent);
        meet(&race->end);
    }
}

TEST(p07_a_child_registered_while_older_writes_are_under_way_ends_done)
{
    struct busy_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(100000, 1000)};
    struct thread deriver;
    thread_start(&deriver, write_and_derive, &race);
    for (int round = 0; round < race.rounds; round++) {
        write_lines(&race);
        race.parent = canopy_with_cancel(canopy_background());
        meet(&race.start);
        for (int i = round * 7 % 1000; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        assert_true(canopy_cancel(race.parent));
        meet_at_end(&race.end, &race.rounds, round);
        assert_true(canopy_done(race.child));
        canopy_release(race.child);
        canopy_release(race.parent);
    }
    thread_join(&deriver);
}

/* ----------------------------------------------------------- 8: value layers */

TEST(p08_value_layer_shares_err_cause_and_done)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *low = canopy_with_value(ctx, &key, NULL);
    canopy_ctx *high = canopy_with_value(low, &key, NULL);
    assert_live(low);
    assert_live(high);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "shared");
    assert_true(canopy_cancel_cause(ctx, cause));
    assert_ended(low, -ECANCELED, cause);
    assert_ended(high, -ECANCELED, cause);
    assert_true(canopy_wait(high, CANOPY_NEVER));
    canopy_release(ctx);
    canopy_release(low);
    assert_ended(high, -ECANCELED, cause);
    canopy_release(high);
}

TEST(p08_value_layer_shares_the_deadline_and_its_expiry)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    canopy_ctx *layer = canopy_with_value(ctx, &key, NULL);
    int64_t deadline_ns;
    assert_true(canopy_deadline(ctx, &deadline_ns));
    assert_deadline(layer, deadline_ns);
    assert_true(canopy_wait(layer, now_ns() + SOON));
    assert_ended(layer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(layer);
    canopy_release(ctx);
}

TEST(p08_value_layer_cannot_be_cancelled_or_moved)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    canopy_ctx *layers[] = {canopy_with_value(ctx, &key, NULL), canopy_without_cancel(ctx)};
    for (size_t i = 0; i < 2; i++) {
        assert_false(canopy_cancel(layers[i]));
        assert_false(canopy_cancel_cause(layers[i], CANOPY_CAUSE(-1, "ignored")));
        assert_false(canopy_set_deadline(layers[i], 0));
        assert_false(canopy_set_deadline(layers[i], now_ns() + HOURS(1)));
        assert_live(layers[i]);
        assert_live(ctx);
        assert_deadline(ctx, CANOPY_NEVER);
        assert_deadline(layers[i], CANOPY_NEVER);
        canopy_end(layers[i]); /* a release, no more */
        assert_live(ctx);
    }
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(p08_value_layer_over_what_is_never_done_is_never_done)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *detached = canopy_without_cancel(parent);
    canopy_ctx *over_detached = canopy_with_value(detached, &key, NULL);
    canopy_ctx *over_background = canopy_with_value(canopy_background(), &key, NULL);
    assert_true(canopy_cancel(parent));
    assert_live(over_detached);
    assert_live(over_background);
    canopy_release(over_background);
    canopy_release(over_detached);
    canopy_release(detached);
    canopy_release(parent);
}

/* What a layer binds lies where others have their deadline, which a clock passes by. */
TEST(p08_value_layer_is_not_due_when_others_are)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *layer = canopy_with_value(f.root, &key, NULL);
    canopy_ctx *child = canopy_with_cancel(layer);
    canopy_ctx *due = canopy_with_timeout(layer, 1);
    atomic_uint calls = 0;
    canopy_callback on_end;
    assert_int_equal(canopy_after_func(child, &on_end, count_call, &calls), 0);
    assert_int_equal(canopy_root_advance(f.root, 1, NULL), 0);
    assert_ended(due, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(child);
    assert_int_equal(atomic_load(&calls), 0);
    assert_true(canopy_cancel(child));
    assert_int_equal(atomic_load(&calls), 1);
    canopy_release(due);
    canopy_release(child);
    canopy_release(layer);
    fixture_close(&f);
}

/* ------------------------------------------------------ 9: nothing is shared */

/* A context's line: where a reference count, a state or a list of children would lie. */
#define LINE_BYTES 64

/* Through the kernel, since the object's size is not ours to know. */
static void read_line(const canopy_ctx *ctx, unsigned char line[LINE_BYTES])
{
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_true(memory >= 0);
    assert_int_equal(pread(memory, line, LINE_BYTES, (off_t)(uintptr_t)ctx), LINE_BYTES);
    close(memory);
}

#define NINTH_CHILDREN 300

static void derive_many(void *arg)
{
    canopy_ctx **children = arg;
    for (size_t i = 0; i < NINTH_CHILDREN; i += 6) {
        const canopy_ctx *parent = i % 4 ? canopy_background() : canopy_todo();
        children[i] = canopy_with_cancel(parent);
        children[i + 1] = canopy_with_timeout(parent, HOURS(1));
        children[i + 2] = canopy_with_value(parent, &key, NULL);
        children[i + 3] = canopy_with_cancel(children[i + 2]);
        children[i + 4] = canopy_without_cancel(parent);
        children[i + 5] = canopy_with_any(&parent, 1);
    }
}

TEST(p09_deriving_from_background_and_todo_writes_nothing_to_them)
{
    canopy_ctx *children[2][NINTH_CHILDREN];
    unsigned char before[2][LINE_BYTES], after[2][LINE_BYTES];
    derive_many(children[0]); /* what is set up once, at first use, is not the subject */
    read_line(canopy_background(), before[0]);
    read_line(canopy_todo(), before[1]);
    struct thread other;
    thread_start(&other, derive_many, children[1]);
    thread_join(&other);
    read_line(canopy_background(), after[0]);
    read_line(canopy_todo(), after[1]);
    assert_memory_equal(before, after, sizeof before);

    for (size_t i = 0; i < NINTH_CHILDREN; i++) {
        assert_non_null(children[0][i]);
        assert_non_null(children[1][i]);
        canopy_end(children[0][i]);
        canopy_end(children[1][i]);
    }
    read_line(canopy_background(), after[0]);
    read_line(canopy_todo(), after[1]);
    assert_memory_equal(before, after, sizeof before);
}
