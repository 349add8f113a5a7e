/*
 * mutant_gaps.c - races that only planted bugs (tests/mutants) showed to be
 * untested: each test here was written for one that survived all others.
 */
#include "harness.h"

/* -------------------------------------------------------- 6: down a long chain */

#define DEPTH 1000

struct chain_watch {
    struct meeting start, end;
    canopy_ctx *chain[DEPTH];
    int rounds;
};

static void watch_chain(void *arg)
{
    struct chain_watch *watch = arg;
    for (int round = 0; round < watch->rounds; round++) {
        meet(&watch->start);
        while (!canopy_done(watch->chain[DEPTH - 1]))
            ;
        for (size_t i = 0; i < DEPTH; i++)
            assert_true(canopy_done(watch->chain[i]));
        meet(&watch->end);
    }
}

TEST(p06_the_last_of_a_long_chain_is_done_only_after_all_above)
{
    struct chain_watch watch = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(200, 50)};
    struct thread observer;
    thread_start(&observer, watch_chain, &watch);
    for (int round = 0; round < watch.rounds; round++) {
        const canopy_ctx *parent = canopy_background();
        for (size_t i = 0; i < DEPTH; i++)
            parent = watch.chain[i] = canopy_with_cancel(parent);
        meet(&watch.start);
        assert_true(canopy_cancel(watch.chain[0]));
        meet(&watch.end);
        for (size_t i = 0; i < DEPTH; i++)
            canopy_release(watch.chain[i]);
    }
    thread_join(&observer);
}

/* ------------------------- 10: derive beside the release of the last handle */

/* As many as sit beside the context itself: what is derived next takes the first place again. */
#define SIBLINGS 7

struct last_handle_race {
    struct meeting start, end;
    canopy_ctx *parent;
    int rounds;
};

static void release_last_handles(void *arg)
{
    struct last_handle_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        canopy_release(race->parent);
        meet(&race->end);
    }
}

TEST(p10_a_child_derived_beside_the_release_of_the_last_handle_keeps_its_parent)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct last_handle_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(100000, 1000)};
    struct thread releaser;
    thread_start(&releaser, release_last_handles, &race);
    for (int round = 0; round < race.rounds; round++) {
        canopy_ctx *top = canopy_with_cancel(f.root);
        race.parent = canopy_with_cancel(top);
        canopy_ctx *first = canopy_with_cancel(race.parent);
        canopy_ctx *siblings[SIBLINGS];
        for (size_t i = 0; i < SIBLINGS; i++)
            siblings[i] = canopy_with_cancel(race.parent);
        canopy_release(first);

        meet(&race.start);
        for (int i = round % 64; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        canopy_ctx *child = canopy_with_cancel(race.parent);
        meet_at_end(&race.end, &race.rounds, round);

        for (size_t i = 0; i < SIBLINGS; i++)
            canopy_release(siblings[i]);
        /* The child alone keeps the parent now, so it is still reached from above. */
        canopy_ctx *other = canopy_with_cancel(f.root);
        assert_true(canopy_cancel(top));
        assert_ended(child, -ECANCELED, CANOPY_CANCELED);
        canopy_release(child);
        canopy_release(other);
        canopy_release(top);
    }
    thread_join(&releaser);
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

/* ------------------------------- 12: the last two children of a released parent */

struct last_children {
    struct meeting start, middle, end;
    canopy_ctx *parent;
    int rounds;
    int left_in[2]; /* by each: the round in which it left last; no atomics */
    int seen;
};

struct last_child {
    struct last_children *race;
    int *left_in;
};

static void come_and_go(void *arg)
{
    struct last_child *self = arg;
    struct last_children *race = self->race;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        canopy_ctx *child = canopy_with_cancel(race->parent);
        meet(&race->middle);
        meet(&race->end);
        *self->left_in = round;
        canopy_release(child);
    }
}

static void see_what_was_left(void *value)
{
    struct last_children *race = value;
    race->seen += race->left_in[0] == race->left_in[1];
}

static const canopy_key left_key = {.name = "left", .destroy = see_what_was_left};

/* Who goes last ends the parent, after all that the others did. */
TEST(p12_the_last_child_frees_its_parent_after_all_others_have_left_it)
{
    struct last_children race = {.start = {.parties = 3},
                                 .middle = {.parties = 3},
                                 .end = {.parties = 3},
                                 .rounds = SCALED(20000, 2000)};
    struct last_child children[2];
    struct thread threads[2];
    for (size_t i = 0; i < 2; i++) {
        children[i] = (struct last_child){&race, &race.left_in[i]};
        thread_start(&threads[i], come_and_go, &children[i]);
    }
    for (int round = 0; round < race.rounds; round++) {
        race.parent = canopy_with_value(canopy_background(), &left_key, &race);
        meet(&race.start);
        meet(&race.middle);
        canopy_release(race.parent); /* its children keep it, and are counted now */
        meet_at_end(&race.end, &race.rounds, round);
    }
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
    assert_int_equal(race.seen, race.rounds);
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

/* ------------------------------------------- 21: moved away beside its expiry */

#define MOVED 32

struct move_race {
    struct meeting start, end;
    canopy_ctx *root;
    int64_t due_ns;
    int rounds;
};

static void advance_rounds(void *arg)
{
    struct move_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        assert_int_equal(canopy_root_advance(race->root, race->due_ns, NULL), 0);
        meet(&race->end);
    }
}

/* The clock and the mover come from both ends, so that they meet in between. */
TEST(p21_a_deadline_moved_away_beside_its_expiry_has_ended_or_is_moved)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    struct move_race race = {.start = {.parties = 2},
                             .end = {.parties = 2},
                             .root = f.root,
                             .due_ns = SECONDS(1),
                             .rounds = SCALED(10000, 500)};
    struct thread clock;
    thread_start(&clock, advance_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        canopy_ctx *contexts[MOVED];
        bool moved[MOVED];
        race.due_ns++;
        for (size_t i = 0; i < MOVED; i++)
            contexts[i] = canopy_with_deadline(f.root, race.due_ns);
        meet(&race.start);
        for (size_t k = 0; k < MOVED; k++) {
            size_t i = round % 2 ? k : MOVED - 1 - k;
            moved[i] = canopy_set_deadline(contexts[i], CANOPY_NEVER);
            if (!moved[i])
                assert_true(canopy_done(contexts[i]));
        }
        meet_at_end(&race.end, &race.rounds, round);
        for (size_t i = 0; i < MOVED; i++) {
            assert_int_equal(canopy_err(contexts[i]), moved[i] ? 0 : -ETIMEDOUT);
            canopy_release(contexts[i]);
        }
    }
    thread_join(&clock);
    fixture_close(&f);
}

/* ------------------------------------------------ 2, 11: many children's places */

#define MANY 4000

static void make_children(const canopy_ctx *parent, canopy_ctx *children[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        children[i] = canopy_with_cancel(parent);
        assert_non_null(children[i]);
    }
}

TEST(p02_the_few_that_are_left_of_many_children_are_reached)
{
    static canopy_ctx *children[MANY], *passing[MANY];
    for (size_t kept = 3; kept < 60; kept += 7) {
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        make_children(parent, children, MANY);
        for (size_t i = 0; i < MANY; i++)
            if (i % 60 != kept)
                canopy_release(children[i]);
        /* Enough come and go now for the parent to shed what it does not need. */
        for (int i = 0; i < 2; i++) {
            make_children(parent, passing, MANY);
            for (size_t k = 0; k < MANY; k++)
                canopy_release(passing[k]);
        }
        assert_true(canopy_cancel(parent));
        for (size_t i = kept; i < MANY; i += 60) {
            assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
            canopy_release(children[i]);
        }
        canopy_release(parent);
    }
}

TEST(p11_a_parent_made_where_another_one_was_reaches_its_own_children)
{
    enum { n = 100 };
    canopy_ctx *children[n];
    for (int round = 0; round < 20; round++) {
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        make_children(parent, children, n);
        if (round % 2) {
            assert_true(canopy_cancel(parent));
            for (size_t i = 0; i < n; i++)
                assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
        }
        for (size_t i = 0; i < n; i++)
            canopy_release(children[i]);
        canopy_release(parent);
    }
}

/* ----------------------------------------------------------- 33: woken in time */

static void cancel_after_a_while(void *ctx)
{
    pause_ns(MILLISECONDS(20));
    canopy_cancel(ctx);
}

TEST(p33_a_wait_ends_with_the_cancel_and_not_with_its_time)
{
    for (size_t n = 1; n <= 100; n += 33) { /* one, several, more than there are records for */
        const canopy_ctx *list[100];
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        for (size_t i = 0; i < n; i++)
            list[i] = ctx;
        struct thread canceller;
        int64_t begin_ns = now_ns();
        thread_start(&canceller, cancel_after_a_while, ctx);
        if (n == 1)
            assert_true(canopy_wait(ctx, begin_ns + SOON));
        else
            assert_int_equal(canopy_wait_any(list, n, begin_ns + SOON), 0);
        assert_true(now_ns() < begin_ns + SOON / 2);
        thread_join(&canceller);
        canopy_release(ctx);
    }
}

#define WIDE 500

struct first_race {
    struct meeting start, end;
    canopy_ctx *first;
    int rounds;
};

static void cancel_first_rounds(void *arg)
{
    struct first_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        for (int i = round * 7 % 5000; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        canopy_cancel(race->first);
        meet(&race->end);
    }
}

/* The wait has looked at the first one long before it has looked at all. */
TEST(p34_a_wait_on_many_is_woken_beside_a_cancel_of_the_first)
{
    static canopy_ctx *own[WIDE];
    static const canopy_ctx *list[WIDE];
    make_children(canopy_background(), own, WIDE);
    memcpy(list, own, sizeof list);
    struct first_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(10000, 300)};
    struct thread canceller;
    thread_start(&canceller, cancel_first_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        list[0] = race.first = canopy_with_cancel(canopy_background());
        meet(&race.start);
        int64_t begin_ns = now_ns();
        assert_int_equal(canopy_wait_any(list, WIDE, begin_ns + SOON), 0);
        assert_true(now_ns() < begin_ns + SOON / 2);
        meet_at_end(&race.end, &race.rounds, round);
        canopy_release(race.first);
    }
    thread_join(&canceller);
    for (size_t i = 0; i < WIDE; i++)
        canopy_release(own[i]);
}

/* --------------------------------------------------------- 30: two that join */

struct long_callback {
    atomic_bool begun, over;
    canopy_callback record;
    canopy_ctx *ctx;
};

static void run_long(void *arg)
{
    struct long_callback *callback = arg;
    atomic_store(&callback->begun, true);
    pause_ns(MILLISECONDS(30));
    atomic_store(&callback->over, true);
}

static void cancel_it(void *arg)
{
    struct long_callback *callback = arg;
    canopy_cancel(callback->ctx);
}

static void join_it(void *arg)
{
    struct long_callback *callback = arg;
    assert_int_equal(canopy_callback_join(&callback->record), 0);
    assert_true(atomic_load(&callback->over));
}

TEST(p30_several_threads_may_join_one_callback)
{
    struct long_callback callback = {.ctx = canopy_with_cancel(canopy_background())};
    struct thread canceller, joiners[3];
    assert_int_equal(canopy_after_func(callback.ctx, &callback.record, run_long, &callback), 0);
    thread_start(&canceller, cancel_it, &callback);
    assert_true(eventually(atomic_load(&callback.begun), SOON));
    for (size_t i = 0; i < 3; i++)
        thread_start(&joiners[i], join_it, &callback);
    for (size_t i = 0; i < 3; i++)
        thread_join(&joiners[i]);
    thread_join(&canceller);
    canopy_release(callback.ctx);
}
