/*
 * go_after_func.c - what Go's tests show of context.AfterFunc, shown of callbacks. Where
 * they differ it is in who runs them: Go starts a goroutine, these run on the canceller,
 * or on the thread of a loop. tests/README.md says which of its tests is which of these.
 */
#include "probes.h"

#include <canopy/loop.h>

/* A callback, and how often it ran. */
struct counted {
    canopy_callback record;
    atomic_uint runs;
};

static void counted_open(struct counted *counted, const canopy_ctx *ctx)
{
    atomic_store(&counted->runs, 0);
    assert_non_null(ctx);
    assert_int_equal(canopy_after_func(ctx, &counted->record, count_call, &counted->runs), 0);
}

TEST(go_a_callback_runs_after_the_cancel_and_cannot_be_stopped_then)
{
    struct counted counted;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    counted_open(&counted, ctx);
    assert_int_equal(atomic_load(&counted.runs), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&counted.runs), 1);
    assert_false(canopy_callback_stop(&counted.record));
    assert_false(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&counted.runs), 1);
    canopy_end(ctx);
}

TEST(go_a_callback_runs_after_the_timeout)
{
    struct counted counted;
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(1));
    counted_open(&counted, ctx);
    assert_true(eventually(atomic_load(&counted.runs) == 1, SOON));
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_int_equal(canopy_callback_join(&counted.record), 0);
    canopy_end(ctx);
}

TEST(go_a_callback_on_a_done_context_runs_at_once)
{
    struct counted counted;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_cancel(ctx);
    counted_open(&counted, ctx);
    assert_int_equal(atomic_load(&counted.runs), 1);
    canopy_end(ctx);
}

TEST(go_a_stopped_callback_never_runs_and_is_stopped_once)
{
    struct counted counted;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    counted_open(&counted, ctx);
    assert_true(canopy_callback_stop(&counted.record));
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&counted.runs), 0);
    assert_false(canopy_callback_stop(&counted.record));
    canopy_end(ctx);
}

TEST(go_a_callback_that_is_stopped_keeps_nothing_of_its_context)
{
    struct fixture fixture;
    struct counted counted;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    counted_open(&counted, ctx);
    assert_true(canopy_callback_stop(&counted.record));
    canopy_end(ctx);
    fixture_close(&fixture);
}

/* Go's cancel does not wait for what it has started. This one has run it all. */
TEST(go_a_cancel_has_run_its_callbacks_when_it_returns)
{
    struct gate gate = {.entered = false};
    struct thread canceller, opener;
    canopy_callback record;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_after_func(ctx, &record, pass_gate, &gate), 0);
    thread_start(&canceller, cancel_context, ctx);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED); /* seen by others meanwhile */
    thread_start(&opener, open_gate_later, &gate);
    thread_join(&canceller);
    assert_true(atomic_load(&gate.left));
    thread_join(&opener);
    canopy_end(ctx);
}

TEST(go_a_cancel_does_not_wait_for_a_callback_of_a_loop)
{
    canopy_loop loop;
    canopy_loop_callback record = {.canopy_fn = NULL};
    atomic_uint runs = 0;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_loop_init(&loop, NULL), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &loop, &record, count_call, &runs), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&runs), 0);
    assert_int_equal(canopy_loop_run(&loop, now_ns()), 1);
    assert_int_equal(atomic_load(&runs), 1);
    assert_int_equal(canopy_loop_close(&loop), 0);
    canopy_end(ctx);
}
