/*
 * callbacks.c - callbacks and groups: records that were never added, or are added
 * where they are in use, and waits in a callback that nothing would end.
 */
#include "told.h"

#include <canopy/loop.h>

/* ------------------------------------------------------------------------ records */

static void count_call(void *calls)
{
    ++*(int *)calls;
}

TEST(stop_and_join_of_what_was_never_added_are_told)
{
    struct told told = {0};
    listen_to(&told);
    for (int fill = 0; fill < 256; fill += 85) {
        canopy_callback callback;
        memset(&callback, fill, sizeof callback);
        assert_false(canopy_callback_stop(&callback));
        assert_told(&told, CANOPY_DEBUG_CALLBACK_NOT_ADDED, NULL, "canopy_callback_stop");
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_told(&told, CANOPY_DEBUG_CALLBACK_NOT_ADDED, NULL, "canopy_callback_join");
    }
    assert_false(canopy_callback_stop(NULL));
    assert_int_equal(canopy_callback_join(NULL), -EINVAL);
    assert_not_told(&told);
}

TEST(stop_and_join_of_a_loops_record_that_is_garbage_are_told)
{
    struct told told = {0};
    listen_to(&told);
    canopy_loop_callback callback = {0};
    assert_false(canopy_loop_callback_stop(&callback));
    assert_int_equal(canopy_loop_callback_join(&callback), 0);
    assert_not_told(&told);
    memset(&callback, 0xaa, sizeof callback);
    assert_false(canopy_loop_callback_stop(&callback));
    assert_told(&told, CANOPY_DEBUG_CALLBACK_NOT_ADDED, NULL, "canopy_loop_callback_stop");
    assert_false(canopy_loop_callback_drop(&callback));
    assert_told(&told, CANOPY_DEBUG_CALLBACK_NOT_ADDED, NULL, "canopy_loop_callback_drop");
    assert_int_equal(canopy_loop_callback_join(&callback), 0);
    assert_told(&told, CANOPY_DEBUG_CALLBACK_NOT_ADDED, NULL, "canopy_loop_callback_join");
}

TEST(stop_and_join_of_what_was_added_are_not_told)
{
    struct told told = {0};
    listen_to(&told);
    int calls = 0;
    canopy_callback callback, refused;
    memset(&refused, 0xaa, sizeof refused);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    for (int i = 0; i < 3; i++) {
        assert_int_equal(canopy_after_func(ctx, &callback, count_call, &calls), 0);
        assert_int_equal(canopy_callback_join(&callback), 0);
        if (i == 1)
            canopy_cancel(ctx); /* from then on it runs as it is added */
        assert_int_equal(canopy_callback_stop(&callback), i == 0);
        assert_false(canopy_callback_stop(&callback));
        assert_int_equal(canopy_callback_join(&callback), 0);
    }
    assert_int_equal(calls, 2);
    assert_int_equal(canopy_after_func(NULL, &refused, count_call, &calls), -EINVAL);
    assert_false(canopy_callback_stop(&refused));
    assert_int_equal(canopy_callback_join(&refused), 0);
    canopy_end(ctx);
    assert_not_told(&told);
}

/* A request of a server that keeps them in a pool: its end gives it back there. */
struct request {
    canopy_callback ended;
    canopy_loop_callback looped;
    bool drops;
};

static void request_ended(void *arg)
{
    struct request *request = arg;
    if (request->drops)
        assert_false(canopy_callback_drop(&request->ended));
    else
        assert_false(canopy_callback_stop(&request->ended));
    memset(&request->ended, 0x5a, sizeof request->ended);
}

static void looped_request_ended(void *arg)
{
    struct request *request = arg;
    if (request->drops)
        assert_false(canopy_loop_callback_drop(&request->looped));
    else
        assert_false(canopy_loop_callback_stop(&request->looped));
    memset(&request->looped, 0x5a, sizeof request->looped);
}

TEST(callback_that_stops_itself_and_frees_its_record_is_told)
{
    struct told told = {0};
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    listen_to(&told);
    canopy_loop loop;
    assert_int_equal(canopy_loop_init(&loop, fixture.root), 0);
    for (int drops = 0; drops < 2; drops++) {
        struct request request = {.drops = drops};
        canopy_ctx *ctx = canopy_with_cancel(fixture.root);
        assert_int_equal(canopy_after_func(ctx, &request.ended, request_ended, &request), 0);
        assert_int_equal(
            canopy_loop_after_func(ctx, &loop, &request.looped, looped_request_ended, &request), 0);
        canopy_cancel(ctx);
        if (!drops) {
            assert_told(&told, CANOPY_DEBUG_CALLBACK_FREED, ctx, "canopy_callback_stop");
            assert_string_equal(told.last.made.call, "canopy_after_func");
        }
        assert_int_equal(canopy_loop_run(&loop, 0), 1);
        if (!drops)
            assert_told(&told, CANOPY_DEBUG_CALLBACK_FREED, ctx, "canopy_loop_callback_stop");
        assert_not_told(&told);
        canopy_release(ctx);
    }
    /* It does no harm: the library has touched neither record, and nothing is held. */
    assert_int_equal(canopy_loop_close(&loop), 0);
    fixture_close(&fixture);
    assert_not_told(&told);
}

static void stop_only(void *arg)
{
    struct request *request = arg;
    assert_false(canopy_callback_stop(&request->ended));
}

TEST(callback_that_stops_itself_and_keeps_its_record_is_not_told)
{
    struct told told = {0};
    listen_to(&told);
    struct request request = {.drops = false};
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_after_func(ctx, &request.ended, stop_only, &request), 0);
    canopy_cancel(ctx);
    memset(&request, 0x5a, sizeof request); /* once it has returned */
    assert_int_equal(canopy_after_func(ctx, &request.ended, stop_only, &request), 0);
    canopy_release(ctx);
    assert_not_told(&told);
}

struct race {
    struct meeting meeting;
    canopy_ctx *ctx;
};

static void cancel_in_race(void *arg)
{
    struct race *race = arg;
    meet(&race->meeting);
    canopy_cancel(race->ctx);
}

/* What the layer reads of a record is not what the library writes; ThreadSanitizer sees that. */
TEST(stop_and_join_beside_a_cancel_are_not_told)
{
    struct told told = {0};
    listen_to(&told);
    int calls = 0, stopped = 0;
    for (int i = 0; i < 200; i++) {
        struct race race = {.meeting = {.parties = 2},
                            .ctx = canopy_with_cancel(canopy_background())};
        struct thread canceller;
        canopy_callback callback;
        assert_int_equal(canopy_after_func(race.ctx, &callback, count_call, &calls), 0);
        thread_start(&canceller, cancel_in_race, &race);
        meet(&race.meeting);
        if (canopy_callback_stop(&callback))
            stopped++;
        else
            assert_int_equal(canopy_callback_join(&callback), 0);
        thread_join(&canceller);
        canopy_release(race.ctx);
    }
    assert_int_equal(calls + stopped, 200);
    assert_not_told(&told);
}

struct again {
    canopy_callback callback;
    canopy_ctx *ctx;
    struct told *told;
    int calls;
};

static void add_again(void *arg)
{
    struct again *again = arg;
    if (again->calls++ > 0)
        return;
    assert_int_equal(canopy_after_func(again->ctx, &again->callback, add_again, again), -EINVAL);
    assert_told(again->told, CANOPY_DEBUG_CALLBACK_BUSY, again->ctx, "canopy_after_func");
}

TEST(record_added_where_it_is_in_use_is_told)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct again again = {.ctx = ctx, .told = &told};
    assert_int_equal(canopy_after_func(ctx, &again.callback, add_again, &again), 0);
    assert_int_equal(canopy_after_func(ctx, &again.callback, add_again, &again), -EINVAL);
    assert_told(&told, CANOPY_DEBUG_CALLBACK_BUSY, ctx, "canopy_after_func");
    assert_place(told.last.made, "canopy_after_func", 0);
    assert_ptr_not_equal(told.last.made.address, told.last.here.address);
    canopy_cancel(ctx); /* the first one is what runs, once */
    assert_int_equal(again.calls, 1);
    assert_int_equal(canopy_callback_join(&again.callback), 0);
    assert_int_equal(canopy_after_func(ctx, &again.callback, add_again, &again), 0);
    assert_int_equal(again.calls, 2);
    canopy_release(ctx);
    assert_not_told(&told);
}

static void use_own(void *arg)
{
    struct again *again = arg;
    canopy_release(again->ctx);
    assert_true(canopy_done(again->ctx)); /* the callback keeps it until it returns */
    assert_not_told(again->told);
}

TEST(callback_keeps_its_context_until_it_returns)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct again again = {.ctx = ctx, .told = &told};
    assert_int_equal(canopy_after_func(ctx, &again.callback, use_own, &again), 0);
    canopy_cancel(ctx);
    assert_true(canopy_done(ctx));
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, ctx, "canopy_done");
    assert_place(told.last.released, "canopy_release", 0);
}

/* -------------------------------------------------------------------------- waits */

struct waiting {
    struct told told;
    canopy_ctx *parent, *ctx;
    int calls;
};

static void wait_for_idle(void *arg)
{
    struct waiting *w = arg;
    w->calls++;
    assert_int_equal(canopy_wait_idle(w->parent, CANOPY_NEVER), -EDEADLK);
    assert_told(&w->told, CANOPY_DEBUG_ENDLESS_WAIT, w->parent, "canopy_wait_idle");
    assert_int_equal(canopy_wait_idle(w->ctx, CANOPY_NEVER), 0); /* nothing is below it */
    assert_not_told(&w->told);
    canopy_release(w->ctx);
    assert_int_equal(canopy_wait_idle(w->ctx, now_ns() + MILLISECONDS(1)), -EDEADLK);
    assert_told(&w->told, CANOPY_DEBUG_ENDLESS_WAIT, w->ctx, "canopy_wait_idle");
    canopy_retain(w->ctx);
}

TEST(wait_in_a_callback_for_its_own_end_is_told)
{
    struct waiting w = {0};
    listen_to(&w.told);
    canopy_callback callback;
    w.parent = canopy_with_cancel(canopy_background());
    w.ctx = canopy_with_any((const canopy_ctx *[]){canopy_background(), w.parent}, 2);
    assert_int_equal(canopy_after_func(w.ctx, &callback, wait_for_idle, &w), 0);
    canopy_cancel(w.parent);
    assert_int_equal(w.calls, 1);
    canopy_release(w.ctx);
    assert_int_equal(canopy_wait_idle(w.parent, CANOPY_NEVER), 0);
    canopy_release(w.parent);
    assert_not_told(&w.told);
}

static void wait_for_ever(void *arg)
{
    static const canopy_key key = {.name = "key"};
    struct waiting *w = arg;
    w->calls++;
    canopy_ctx *detached = canopy_without_cancel(w->ctx);
    canopy_ctx *layer = canopy_with_value(detached, &key, NULL);
    const canopy_ctx *both[] = {canopy_background(), layer};
    assert_false(canopy_wait(layer, CANOPY_NEVER));
    assert_told(&w->told, CANOPY_DEBUG_ENDLESS_WAIT, layer, "canopy_wait");
    assert_int_equal(canopy_wait_any(both, 2, CANOPY_NEVER), -EDEADLK);
    assert_told(&w->told, CANOPY_DEBUG_ENDLESS_WAIT, canopy_background(), "canopy_wait_any");
    assert_false(canopy_wait(layer, now_ns() + MILLISECONDS(1)));
    both[1] = w->ctx;
    assert_int_equal(canopy_wait_any(both, 2, CANOPY_NEVER), 1);
    assert_true(canopy_wait(w->ctx, CANOPY_NEVER));
    canopy_release(layer);
    canopy_release(detached);
    assert_not_told(&w->told);
}

TEST(wait_in_a_callback_for_what_is_never_done_is_told)
{
    struct waiting w = {0};
    listen_to(&w.told);
    canopy_callback callback;
    w.ctx = canopy_with_cancel(canopy_background());
    canopy_cancel(w.ctx);
    assert_int_equal(canopy_after_func(w.ctx, &callback, wait_for_ever, &w), 0);
    assert_int_equal(w.calls, 1);
    canopy_release(w.ctx);
}

/* ------------------------------------------------------------------------- groups */

struct seen {
    const canopy_ctx *ctx;
};

static int see(const canopy_ctx *ctx, void *seen)
{
    ((struct seen *)seen)->ctx = ctx;
    return canopy_err(ctx);
}

TEST(members_get_the_groups_context_which_ends_with_the_wait)
{
    struct told told = {0};
    listen_to(&told);
    canopy_group group;
    struct seen seen;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_group_ctx(&group);
    assert_int_equal(canopy_group_go(&group, see, &seen), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_ptr_equal(seen.ctx, ctx);
    assert_null(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_wait(&group), -EINVAL);
    assert_int_equal(canopy_group_go(&group, see, &seen), -EINVAL);
    assert_not_told(&told);
    canopy_err(ctx);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, ctx, "canopy_err");
    assert_place(told.last.made, "canopy_group_init", 0);
    assert_place(told.last.released, "canopy_group_wait", 0);
}
