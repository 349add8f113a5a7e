/*
 * loop.c - <canopy/loop.h>: callbacks on the thread of a loop, and what wakes it. Its
 * time is in loop_time.c.
 */
#include "looped.h"

#include <stdlib.h>
#include <unistd.h>

TEST(loop_runs_a_callback_on_its_own_thread_and_once)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    cancel_elsewhere(ctx);
    assert_int_equal(seen.runs, 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 0);
    assert_int_equal(seen.runs, 1);
    assert_true(pthread_equal(seen.thread, pthread_self()));
    assert_false(canopy_loop_callback_stop(&cb));
    assert_int_equal(canopy_loop_callback_join(&cb), 0);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_runs_what_its_own_thread_cancels_not_at_once)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0}, late = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &late, note, &seen), 0);
    canopy_release(ctx); /* both keep it */
    assert_int_equal(seen.runs, 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_run(&l.loop, 0), 2);
    assert_int_equal(seen.runs, 2);
    looped_close(&l);
}

TEST(loop_fd_is_written_once_for_a_hundred_thousand_contexts)
{
    enum { CONTEXTS = 100000 };
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_ctx *parent = canopy_with_cancel(l.fixture.root);
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    canopy_loop_callback *cbs = calloc(CONTEXTS, sizeof *cbs);
    for (int i = 0; i < CONTEXTS; i++) {
        all[i] = canopy_with_cancel(parent);
        assert_int_equal(canopy_loop_after_func(all[i], &l.loop, &cbs[i], note, &seen), 0);
    }
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    cancel_elsewhere(parent);
    uint64_t written = 0;
    assert_int_equal(read(canopy_loop_fd(&l.loop), &written, sizeof written), sizeof written);
    assert_int_equal(written, 1);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), CONTEXTS);
    assert_int_equal(seen.runs, CONTEXTS);
    for (int i = 0; i < CONTEXTS; i++)
        canopy_release(all[i]);
    canopy_release(parent);
    free(all);
    free(cbs);
    looped_close(&l);
}

TEST(loop_fd_is_written_only_for_one_that_sleeps)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *awake = canopy_with_cancel(l.fixture.root);
    canopy_ctx *asleep = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(awake, &l.loop, &cbs[0], note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(asleep, &l.loop, &cbs[1], note, &seen), 0);
    cancel_elsewhere(awake);
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    cancel_elsewhere(asleep);
    assert_true(is_readable(&l.loop));
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_false(is_readable(&l.loop));
    canopy_release(awake);
    canopy_release(asleep);
    looped_close(&l);
}

TEST(loop_fd_is_written_once_for_two_cancels)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *all[2];
    for (int i = 0; i < 2; i++) {
        all[i] = canopy_with_cancel(l.fixture.root);
        assert_int_equal(canopy_loop_after_func(all[i], &l.loop, &cbs[i], note, &seen), 0);
    }
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER); /* asks in vain */
    for (int i = 0; i < 2; i++) {
        cancel_elsewhere(all[i]);
        canopy_release(all[i]);
    }
    uint64_t written = 0;
    assert_int_equal(read(canopy_loop_fd(&l.loop), &written, sizeof written), sizeof written);
    assert_int_equal(written, 1);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 2);
    looped_close(&l);
}

TEST(loop_that_has_asked_is_woken_by_its_own_thread_too)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    canopy_cancel(ctx);
    assert_true(is_readable(&l.loop));
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_false(is_readable(&l.loop));
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    canopy_ctx *timed = canopy_with_timeout(l.fixture.root, SECONDS(1));
    assert_true(is_readable(&l.loop));
    assert_int_equal(canopy_loop_run(&l.loop, 0), 0);
    assert_false(is_readable(&l.loop));
    canopy_release(timed);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_stop_is_certain_on_its_thread)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[4] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int i = 0; i < 4; i++)
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[i], note, &seen), 0);
    assert_true(canopy_loop_callback_stop(&cbs[0]));
    cancel_elsewhere(ctx);
    assert_int_equal(canopy_loop_callback_join(&cbs[1]), -EDEADLK);
    assert_true(canopy_loop_callback_stop(&cbs[2]));
    assert_true(canopy_loop_callback_stop(&cbs[1]));
    assert_false(canopy_loop_callback_stop(&cbs[1]));
    assert_int_equal(canopy_loop_callback_join(&cbs[1]), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(seen.runs, 1);
    canopy_release(ctx);
    looped_close(&l);
}

/* A stop on the loop's thread beside cancels on another, round after round. */
struct duel {
    struct meeting meeting;
    canopy_ctx *ctx;
    int rounds;
};

static void duel_cancel(void *arg)
{
    struct duel *duel = arg;
    for (int i = 0; i < duel->rounds; i++) {
        meet(&duel->meeting);
        canopy_cancel(duel->ctx);
        meet(&duel->meeting);
    }
}

TEST(loop_stop_beside_cancel_stops_what_has_not_run)
{
    struct looped l;
    looped_open(&l);
    struct duel duel = {.meeting = {.parties = 2}, .rounds = SCALED(20000, 2000)};
    struct thread canceller;
    struct seen seen = {0};
    thread_start(&canceller, duel_cancel, &duel);
    for (int i = 0; i < duel.rounds; i++) {
        /* On the heap: a record touched after its stop is seen there. */
        canopy_loop_callback *cb = calloc(1, sizeof *cb);
        duel.ctx = canopy_with_cancel(l.fixture.root);
        assert_int_equal(canopy_loop_after_func(duel.ctx, &l.loop, cb, note, &seen), 0);
        meet(&duel.meeting);
        assert_true(canopy_loop_callback_stop(cb));
        free(cb);
        meet_at_end(&duel.meeting, &duel.rounds, i);
        assert_int_equal(canopy_loop_run(&l.loop, 0), 0);
        canopy_release(duel.ctx);
    }
    thread_join(&canceller);
    assert_int_equal(seen.runs, 0);
    looped_close(&l);
}

/* On another thread: stop or join, whatever it is that happens. */
static void stop_or_join(void *arg)
{
    canopy_loop_callback *cb = arg;
    if (!canopy_loop_callback_stop(cb))
        assert_int_equal(canopy_loop_callback_join(cb), 0);
    free(cb);
}

TEST(loop_stop_and_join_elsewhere_free_the_record)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    for (int i = 0; i < SCALED(2000, 300); i++) {
        struct thread other;
        canopy_loop_callback *cb = calloc(1, sizeof *cb);
        canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, cb, note, &seen), 0);
        thread_start(&other, stop_or_join, cb);
        int before = seen.runs;
        canopy_cancel(ctx);
        int ran = canopy_loop_run(&l.loop, 0);
        assert_int_equal(ran, seen.runs - before);
        thread_join(&other);
        assert_int_equal(canopy_loop_run(&l.loop, 0), 0);
        canopy_release(ctx);
    }
    looped_close(&l);
}

TEST(loop_closes_only_when_nothing_is_bound_to_it)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    assert_int_equal(canopy_loop_close(&l.loop), -EBUSY);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_close(&l.loop), -EBUSY);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1); /* and nothing was lost */
    assert_int_equal(canopy_root_free(l.fixture.root), -EBUSY);
    assert_int_equal(canopy_loop_close(&l.loop), 0);
    assert_int_equal(canopy_loop_close(&l.loop), -EINVAL);
    assert_int_equal(canopy_loop_run(&l.loop, 0), -EINVAL);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), -EINVAL);
    assert_int_equal(canopy_loop_fd(&l.loop), -EINVAL);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), -EINVAL);
    canopy_release(ctx);
    looped_close(&l);
}

static void close_from_within(void *arg)
{
    struct looped *l = arg;
    assert_int_equal(canopy_loop_run(&l->loop, 0), -EDEADLK);
    assert_int_equal(canopy_loop_close(&l->loop), 0);
}

TEST(loop_closed_by_its_last_callback_runs_no_further)
{
    struct looped l;
    looped_open(&l);
    canopy_loop_callback cb = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, close_from_within, &l), 0);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_null(l.loop.canopy_state);
    canopy_release(ctx);
    looped_close(&l);
}

TEST(loop_closed_by_a_callback_in_place_runs_no_further)
{
    struct looped l;
    looped_open(&l);
    canopy_callback cb;
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, 1);
    assert_int_equal(canopy_after_func(ctx, &cb, close_from_within, &l), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 1), 0);
    assert_null(l.loop.canopy_state);
    canopy_release(ctx);
    looped_close(&l);
}

/* Adds itself anew, as long as it is told to. */
struct chain {
    struct looped *l;
    const canopy_ctx *ctx;
    canopy_loop_callback links[5];
    int ran;
};

static void chain_on(void *arg)
{
    struct chain *chain = arg;
    if (++chain->ran < 5)
        assert_int_equal(canopy_loop_after_func(chain->ctx, &chain->l->loop,
                                                &chain->links[chain->ran], chain_on, chain),
                         0);
}

TEST(loop_run_leaves_what_its_callbacks_bring_about_to_the_next)
{
    struct looped l;
    looped_open(&l);
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, 0);
    struct chain chain = {.l = &l, .ctx = ctx};
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &chain.links[0], chain_on, &chain), 0);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
        assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
        assert_int_equal(chain.ran, i);
    }
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    canopy_release(ctx);
    looped_close(&l);
}

/* Brings about two callbacks, and stops one of them and another: by then all are gathered. */
struct juggle {
    canopy_ctx *ends;
    canopy_loop_callback *stops[2];
};

static void juggle(void *arg)
{
    struct juggle *juggle = arg;
    canopy_cancel(juggle->ends);
    for (size_t i = 0; i < 2; i++)
        assert_true(canopy_loop_callback_stop(juggle->stops[i]));
}

TEST(loop_run_that_stops_one_does_not_take_a_later_one_for_it)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[4] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    canopy_ctx *later = canopy_with_cancel(l.fixture.root);
    struct juggle both = {later, {&cbs[1], &cbs[3]}};
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[0], juggle, &both), 0);
    assert_int_equal(canopy_loop_after_func(later, &l.loop, &cbs[2], note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(later, &l.loop, &cbs[3], note, &seen), 0);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[1], note, &seen), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(seen.runs, 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), 0);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(seen.runs, 1);
    canopy_release(ctx);
    canopy_release(later);
    looped_close(&l);
}

/* The order in which callbacks ran. */
struct order {
    int ran[4];
    int count;
};
struct entry {
    struct order *order;
    int number;
};

static void enter(void *arg)
{
    struct entry *entry = arg;
    entry->order->ran[entry->order->count++] = entry->number;
}

TEST(loop_runs_the_oldest_first_whoever_brought_it_about)
{
    struct looped l;
    looped_open(&l);
    struct order order = {.count = 0};
    struct entry entries[4];
    canopy_loop_callback cbs[4] = {0};
    canopy_ctx *all[4];
    for (int i = 0; i < 4; i++) {
        entries[i] = (struct entry){&order, i};
        all[i] = canopy_with_cancel(l.fixture.root);
        assert_int_equal(canopy_loop_after_func(all[i], &l.loop, &cbs[i], enter, &entries[i]), 0);
    }
    cancel_elsewhere(all[0]);
    canopy_cancel(all[1]);
    cancel_elsewhere(all[2]);
    canopy_cancel(all[3]);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(order.ran[i], i);
        canopy_release(all[i]);
    }
    looped_close(&l);
}

static void misuse_elsewhere(void *arg)
{
    struct looped *l = arg;
    assert_int_equal(canopy_loop_run(&l->loop, 0), -EPERM);
    assert_int_equal(canopy_loop_timeout_ns(&l->loop, 0), -EPERM);
    assert_int_equal(canopy_loop_awake(&l->loop), -EPERM);
    assert_int_equal(canopy_loop_tell_time(&l->loop, 0), -EPERM);
    assert_int_equal(canopy_loop_close(&l->loop), -EPERM);
}

TEST(loop_refuses_bad_input_and_changes_nothing)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_loop other = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_init(NULL, l.fixture.root), -EINVAL);
    assert_int_equal(canopy_loop_init(&other, ctx), -EINVAL);
    assert_int_equal(canopy_loop_init(&other, l.fixture.root), -EBUSY);
    assert_int_equal(canopy_loop_run(&other, 0), -EINVAL);
    assert_int_equal(canopy_loop_run(NULL, 0), -EINVAL);
    assert_int_equal(canopy_loop_close(NULL), -EINVAL);
    assert_int_equal(canopy_loop_fd(NULL), -EINVAL);
    assert_int_equal(canopy_loop_timeout_ns(NULL, 0), -EINVAL);
    assert_int_equal(canopy_loop_awake(NULL), -EINVAL);
    assert_int_equal(canopy_loop_awake(&other), -EINVAL);
    assert_int_equal(canopy_loop_after_func(NULL, &l.loop, &cb, note, &seen), -EINVAL);
    assert_int_equal(canopy_loop_after_func(ctx, NULL, &cb, note, &seen), -EINVAL);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, NULL, note, &seen), -EINVAL);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, NULL, &seen), -EINVAL);
    assert_false(canopy_loop_callback_stop(&cb));
    assert_false(canopy_loop_callback_stop(NULL));
    assert_int_equal(canopy_loop_callback_join(&cb), 0);
    assert_int_equal(canopy_loop_callback_join(NULL), -EINVAL);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), -EBUSY);
    struct thread thread;
    thread_start(&thread, misuse_elsewhere, &l);
    thread_join(&thread);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen), -EBUSY);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_int_equal(seen.runs, 1);
    canopy_release(ctx);
    looped_close(&l);
}

/* Several callbacks of a loop in memory that goes with the first of them that runs. */
#define TOGETHER 3
struct together {
    canopy_loop_callback callbacks[TOGETHER];
    int *never_run;
};

static void end_together(void *arg)
{
    struct together *together = arg;
    for (size_t i = 0; i < TOGETHER; i++)
        *together->never_run += canopy_loop_callback_drop(&together->callbacks[i]);
    memset(together, 0xa5, sizeof *together);
    free(together);
}

TEST(loop_callbacks_may_drop_and_free_themselves_and_each_other)
{
    struct looped l;
    looped_open(&l);
    int never_run = 0;
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int round = 0; round < 2; round++) { /* the second on a context that is done */
        struct together *together = calloc(1, sizeof *together);
        assert_non_null(together);
        together->never_run = &never_run;
        for (size_t i = 0; i < TOGETHER; i++)
            assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &together->callbacks[i],
                                                    end_together, together),
                             0);
        canopy_cancel(ctx);
        assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    }
    assert_int_equal(never_run, 2 * (TOGETHER - 1));
    assert_false(canopy_loop_callback_drop(NULL));
    canopy_release(ctx);
    looped_close(&l);
}
