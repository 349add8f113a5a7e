/*
 * join.c - promise 30: canopy_callback_join returns only when the callback is
 * not running, and says so where that would be a hang.
 */
#include "probes.h"

TEST(p30_join_of_an_armed_callback_returns_at_once)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(atomic_load(&runs), 0);
    canopy_cancel(ctx);
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(ctx);
}

TEST(p30_join_waits_for_a_running_callback)
{
    for (unsigned round = 0; round < 5; round++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        struct gate gate = {0};
        struct thread canceller, opener;
        canopy_callback callback;

        assert_int_equal(canopy_after_func(ctx, &callback, pass_gate, &gate), 0);
        thread_start(&canceller, cancel_context, ctx);
        assert_true(eventually(atomic_load(&gate.entered), SOON));
        thread_start(&opener, open_gate_later, &gate);
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_true(atomic_load(&gate.left));
        thread_join(&opener);
        thread_join(&canceller);
        canopy_end(ctx);
    }
}

TEST(p30_join_waits_for_a_callback_that_is_still_bound_to_run_elsewhere)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct gate gates[2] = {0};
    struct thread canceller, opener;
    canopy_callback callbacks[2];

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &callbacks[i], pass_gate, &gates[i]), 0);
    thread_start(&canceller, cancel_context, ctx);
    assert_true(eventually(atomic_load(&gates[0].entered) || atomic_load(&gates[1].entered), SOON));
    size_t running = atomic_load(&gates[0].entered) ? 0 : 1;
    atomic_store(&gates[!running].open, true);
    assert_false(canopy_callback_stop(&callbacks[!running]));
    thread_start(&opener, open_gate_later, &gates[running]);
    assert_int_equal(canopy_callback_join(&callbacks[!running]), 0);
    assert_true(atomic_load(&gates[!running].left));
    thread_join(&opener);
    thread_join(&canceller);
    canopy_end(ctx);
}

struct joiner {
    canopy_callback own;
    canopy_callback *other;
    canopy_ctx *next; /* cancelled from inside, or NULL */
    atomic_uint *runs;
    unsigned turn; /* this one ran as the first, second, ... */
    int own_result, other_result;
    bool own_stopped;
};

static void join_from_inside(void *arg)
{
    struct joiner *joiner = arg;
    joiner->turn = atomic_fetch_add(joiner->runs, 1);
    joiner->own_result = canopy_callback_join(&joiner->own);
    joiner->own_stopped = canopy_callback_stop(&joiner->own);
    if (joiner->next)
        assert_true(canopy_cancel(joiner->next));
    if (joiner->other)
        joiner->other_result = canopy_callback_join(joiner->other);
}

TEST(p30_join_and_stop_from_inside_itself_do_not_hang)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiner = {.runs = &runs};

    assert_int_equal(canopy_after_func(ctx, &joiner.own, join_from_inside, &joiner), 0);
    canopy_cancel(ctx);
    assert_int_equal(joiner.own_result, -EDEADLK);
    assert_false(joiner.own_stopped);
    assert_int_equal(canopy_callback_join(&joiner.own), 0);
    canopy_end(ctx);
}

TEST(p30_join_at_once_on_a_done_context_from_inside_itself)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), 0);
    atomic_uint runs = 0;
    struct joiner joiner = {.runs = &runs};

    assert_int_equal(canopy_after_func(ctx, &joiner.own, join_from_inside, &joiner), 0);
    assert_int_equal(atomic_load(&runs), 1);
    assert_int_equal(joiner.own_result, -EDEADLK);
    assert_int_equal(canopy_callback_join(&joiner.own), 0);
    canopy_end(ctx);
}

TEST(p30_join_of_what_this_thread_still_has_to_run_is_edeadlk)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiners[2] = {{.runs = &runs}, {.runs = &runs}};
    joiners[0].other = &joiners[1].own;
    joiners[1].other = &joiners[0].own;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &joiners[i].own, join_from_inside, &joiners[i]), 0);

    canopy_cancel(ctx);
    assert_int_equal(atomic_load(&runs), 2);
    size_t first = joiners[0].turn == 0 ? 0 : 1;
    assert_int_equal(joiners[first].other_result, -EDEADLK);
    assert_int_equal(joiners[!first].other_result, 0);
    canopy_end(ctx);
}

TEST(p30_join_of_what_a_library_thread_still_has_to_run_is_edeadlk_there)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiners[2] = {{.runs = &runs}, {.runs = &runs}};
    joiners[0].other = &joiners[1].own;
    joiners[1].other = &joiners[0].own;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &joiners[i].own, join_from_inside, &joiners[i]), 0);
    /* Not past, or it ran here. */
    canopy_set_deadline(ctx, now_ns() + MILLISECONDS(SCALED(100, 1000)));

    assert_true(eventually(atomic_load(&runs) == 2, SOON));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_callback_join(&joiners[i].own), 0);
    size_t first = joiners[0].turn == 0 ? 0 : 1;
    assert_int_equal(joiners[first].other_result, -EDEADLK);
    assert_int_equal(joiners[!first].other_result, 0);
    canopy_end(ctx);
}

TEST(p30_join_of_an_outer_callback_from_a_nested_one_is_edeadlk)
{
    canopy_ctx *outer_ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *inner_ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner outer = {.runs = &runs, .next = inner_ctx};
    struct joiner inner = {.runs = &runs, .other = &outer.own};
    outer.other = &inner.own;

    assert_int_equal(canopy_after_func(outer_ctx, &outer.own, join_from_inside, &outer), 0);
    assert_int_equal(canopy_after_func(inner_ctx, &inner.own, join_from_inside, &inner), 0);
    canopy_cancel(outer_ctx);
    assert_int_equal(inner.other_result, -EDEADLK);
    assert_int_equal(outer.other_result, 0);
    assert_int_equal(atomic_load(&runs), 2);
    canopy_end(inner_ctx);
    canopy_end(outer_ctx);
}
