/*
 * go_signals.c - what the tests of Go's signal.NotifyContext show, shown of contexts of
 * signals. tests/README.md says which of its tests is which of these.
 */
#include "probes.h"

#include <signal.h>
#include <unistd.h>

static canopy_ctx *on(const canopy_ctx *parent, int number)
{
    canopy_ctx *ctx = canopy_with_signals(parent, &number, 1);
    assert_non_null(ctx);
    return ctx;
}

static bool is_ignored(int number)
{
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
}

TEST(go_a_signal_that_comes_once_or_often_ends_the_context_once)
{
    for (int times = 1; times <= 10; times += 9) {
        canopy_callback record;
        atomic_uint runs = 0;
        canopy_ctx *ctx = on(canopy_background(), SIGINT);
        assert_int_equal(canopy_after_func(ctx, &record, count_call, &runs), 0);
        /* Taken before kill returns: no other thread has it unblocked. */
        for (int i = 0; i < times; i++)
            assert_int_equal(kill(getpid(), SIGINT), 0);
        assert_true(canopy_wait(ctx, now_ns() + SOON));
        assert_int_equal(canopy_err(ctx), -ECANCELED);
        assert_int_equal(canopy_cause_of(ctx)->code, SIGINT);
        assert_int_equal(canopy_callback_join(&record), 0);
        assert_int_equal(atomic_load(&runs), 1);
        canopy_end(ctx);
    }
}

TEST(go_a_signal_that_was_ignored_is_heard_and_then_ignored_again)
{
    signal(SIGHUP, SIG_IGN);
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *ctx = on(parent, SIGHUP);
    assert_false(is_ignored(SIGHUP));
    assert_true(canopy_cancel(ctx));
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    assert_true(is_ignored(SIGHUP)); /* given back by the cancel, not by the release */
    assert_live(parent);
    canopy_end(ctx);
    canopy_end(parent);
}

TEST(go_a_parent_ends_a_context_of_signals)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *ctx = on(parent, SIGINT);
    assert_true(canopy_cancel(parent));
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_end(ctx);
    canopy_end(parent);
}

TEST(go_a_parent_that_has_ended_ends_a_context_of_signals_as_it_is_made)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_true(canopy_cancel(parent));
    canopy_ctx *ctx = on(parent, SIGINT);
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_end(ctx);
    canopy_end(parent);
}

TEST(go_a_context_of_signals_may_be_cancelled_by_many_at_once)
{
    enum { cancellers = 10 };
    struct race race = {.meeting = {.parties = cancellers}, .ctx = on(canopy_background(), SIGINT)};
    struct thread threads[cancellers];
    for (size_t i = 0; i < cancellers; i++)
        thread_start(&threads[i], race_cancel, &race);
    for (size_t i = 0; i < cancellers; i++)
        thread_join(&threads[i]);
    assert_ended(race.ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_end(race.ctx);
}
