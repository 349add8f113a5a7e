/*
 * loop_abandon.c - a loop that is left with callbacks on it, and what may still be done
 * with those.
 */
#include "looped.h"

#include <fcntl.h>
#include <stdlib.h>

TEST(loop_abandoned_runs_nothing_any_more_and_frees_what_waited)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback *own = calloc(1, sizeof *own), *foreign = calloc(1, sizeof *foreign);
    canopy_ctx *one = canopy_with_cancel(l.fixture.root), *two = canopy_with_cancel(one);
    assert_int_equal(canopy_loop_after_func(one, &l.loop, own, note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(two, &l.loop, foreign, note, &seen), 0);
    cancel_elsewhere(two);
    canopy_cancel(one);
    int fd = canopy_loop_fd(&l.loop);
    assert_int_equal(canopy_loop_close(&l.loop), -EBUSY);
    assert_int_equal(canopy_loop_abandon(&l.loop), 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    free(own);
    free(foreign);
    assert_int_equal(canopy_loop_abandon(&l.loop), -EINVAL);
    assert_int_equal(canopy_loop_run(&l.loop, 0), -EINVAL);
    assert_int_equal(canopy_loop_fd(&l.loop), -EINVAL);
    canopy_release(two);
    canopy_release(one);
    looped_close(&l); /* nothing holds the contexts any more */
    assert_int_equal(seen.runs, 0);
}

static void stop_armed(void *cb)
{
    assert_true(canopy_loop_callback_stop(cb));
    free(cb);
}

TEST(loop_abandoned_leaves_armed_callbacks_to_be_stopped_by_anybody)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback *cbs[3];
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int i = 0; i < 3; i++) {
        cbs[i] = calloc(1, sizeof *cbs[i]);
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, cbs[i], note, &seen), 0);
    }
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0),
                     CANOPY_NEVER); /* asleep, for all it knows */
    assert_int_equal(canopy_loop_abandon(&l.loop), 0);
    stop_armed(cbs[0]);
    struct thread thread;
    thread_start(&thread, stop_armed, cbs[1]);
    thread_join(&thread);
    assert_true(canopy_loop_callback_drop(cbs[2]));
    free(cbs[2]);
    canopy_end(ctx);
    looped_close(&l);
    assert_int_equal(seen.runs, 0);
}

static void end_left(bool here)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    for (int i = 0; i < 2; i++)
        assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[i], note, &seen), 0);
    assert_int_equal(canopy_loop_abandon(&l.loop), 0);
    if (here)
        canopy_cancel(ctx);
    else
        cancel_elsewhere(ctx);
    assert_false(canopy_loop_callback_stop(&cbs[0]));
    assert_int_equal(canopy_loop_callback_join(&cbs[0]), 0);
    assert_false(canopy_loop_callback_drop(&cbs[1]));
    /* The records serve again, on another loop. */
    canopy_loop other;
    assert_int_equal(canopy_loop_init(&other, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(canopy_loop_after_func(ctx, &other, &cbs[i], note, &seen), 0);
    assert_int_equal(canopy_loop_run(&other, 0), 2);
    assert_int_equal(canopy_loop_close(&other), 0);
    canopy_release(ctx);
    looped_close(&l);
    assert_int_equal(seen.runs, 2);
}

TEST(loop_abandoned_lets_go_of_callbacks_whose_context_its_thread_ends)
{
    end_left(true);
}

TEST(loop_abandoned_lets_go_of_callbacks_whose_context_another_thread_ends)
{
    end_left(false);
}

static void abandon_from_within(void *arg)
{
    struct looped *l = arg;
    assert_int_equal(canopy_loop_abandon(&l->loop), 0);
}

TEST(loop_abandoned_by_its_callback_runs_no_further)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[3] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[0], note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[1], abandon_from_within, &l), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[2], note, &seen), 0);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 2);
    assert_int_equal(seen.runs, 1);
    assert_int_equal(canopy_loop_callback_join(&cbs[2]), 0);
    canopy_release(ctx);
    looped_close(&l);
}

/* Its destructor takes the other callback back, which waits to be let go of as well. */
static canopy_loop_callback *other_record;
static int destroyed;

static void drops_other(void *value)
{
    (void)value;
    destroyed++;
    canopy_loop_callback_drop(other_record);
    memset(other_record, 0xa5, sizeof *other_record);
}

TEST(loop_abandoned_with_a_callback_that_another_ones_end_takes_back)
{
    static const canopy_key key = {"key", drops_other};
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    canopy_ctx *layer = canopy_with_value(ctx, &key, &l);
    other_record = &cbs[1];
    assert_int_equal(canopy_loop_after_func(layer, &l.loop, &cbs[0], note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[1], note, &seen), 0);
    canopy_release(layer);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_abandon(&l.loop), 0);
    assert_int_equal(destroyed, 1);
    canopy_release(ctx);
    looped_close(&l);
}

static void abandon_elsewhere(void *arg)
{
    struct looped *l = arg;
    assert_int_equal(canopy_loop_abandon(&l->loop), -EPERM);
}

TEST(loop_abandon_refuses_bad_input_and_changes_nothing)
{
    struct looped l;
    looped_open(&l);
    canopy_loop none = {0};
    struct thread thread;
    assert_int_equal(canopy_loop_abandon(NULL), -EINVAL);
    assert_int_equal(canopy_loop_abandon(&none), -EINVAL);
    thread_start(&thread, abandon_elsewhere, &l);
    thread_join(&thread);
    assert_int_equal(canopy_loop_run(&l.loop, 0), 0);
    looped_close(&l);
}
