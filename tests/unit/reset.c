/*
 * reset.c - canopy_try_reset: when a context can serve again in place, what it
 * is then, and what is refused.
 */
#include "harness.h"

#include <signal.h>

static const canopy_key key = {.name = "key"};

/* Refused, and as it was. */
static void check_refused(canopy_ctx *ctx)
{
    int64_t before_ns, after_ns;
    int err = canopy_err(ctx);
    bool had = canopy_deadline(ctx, &before_ns);
    assert_false(canopy_try_reset(ctx));
    assert_int_equal(canopy_err(ctx), err);
    assert_int_equal(canopy_deadline(ctx, &after_ns), had);
    assert_int_equal(before_ns, after_ns);
}

TEST(core_reset_makes_a_deadline_context_plain)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_deadline_cause(f.root, 100, CANOPY_CAUSE(-EPIPE, "forgotten"));
    assert_true(canopy_try_reset(ctx));
    assert_deadline(ctx, CANOPY_NEVER);
    assert_int_equal(canopy_root_advance(f.root, 200, NULL), 0);
    assert_live(ctx);
    assert_true(canopy_set_deadline(ctx, 300));
    assert_int_equal(canopy_root_advance(f.root, 300, NULL), 0);
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(core_reset_context_is_still_its_parents_child)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *ctx = canopy_with_timeout(parent, HOURS(1));
    assert_true(canopy_try_reset(ctx));
    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_true(canopy_cancel(parent));
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_release(child);
    canopy_release(ctx);
    canopy_release(parent);
    fixture_close(&f);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

TEST(core_reset_serves_request_after_request)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    for (int request = 0; request < SCALED(20000, 2000); request++) {
        assert_true(canopy_set_deadline(ctx, now_ns() + SECONDS(30)));
        canopy_ctx *call = canopy_with_cancel(ctx);
        assert_live(call);
        canopy_callback callback;
        assert_int_equal(canopy_after_func(ctx, &callback, do_nothing, NULL), 0);
        canopy_end(call);
        assert_true(canopy_callback_stop(&callback));
        assert_true(canopy_try_reset(ctx));
        assert_deadline(ctx, CANOPY_NEVER);
    }
    assert_true(canopy_cancel(ctx));
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(core_reset_refuses_a_done_context)
{
    canopy_ctx *cancelled = canopy_with_timeout(canopy_background(), HOURS(1));
    assert_true(canopy_cancel(cancelled));
    check_refused(cancelled);
    canopy_release(cancelled);

    canopy_ctx *expired = canopy_with_timeout(canopy_background(), 0);
    check_refused(expired);
    canopy_release(expired);

    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    assert_true(canopy_cancel(parent));
    check_refused(child);
    canopy_release(child);
    canopy_release(parent);
}

TEST(core_reset_refuses_a_parent)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_timeout(f.root, HOURS(1));
    canopy_ctx *children[] = {canopy_with_cancel(ctx), canopy_with_value(ctx, &key, NULL),
                              canopy_without_cancel(ctx)};
    for (size_t i = 0; i < 3; i++) {
        check_refused(ctx);
        canopy_end(children[i]);
    }
    assert_true(canopy_try_reset(ctx));

    /* A child whose handle is gone still counts while a grandchild keeps it. */
    canopy_ctx *child = canopy_with_cancel(ctx);
    canopy_ctx *grandchild = canopy_with_cancel(child);
    canopy_release(child);
    check_refused(ctx);
    canopy_release(grandchild);
    assert_true(canopy_try_reset(ctx));

    const canopy_ctx *inputs[] = {f.root, ctx};
    canopy_ctx *merged = canopy_with_any(inputs, 2);
    check_refused(ctx);
    canopy_end(merged);
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(core_reset_refuses_a_shared_context)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    const canopy_ctx *shared = canopy_retain(ctx);
    check_refused(ctx);
    canopy_release(shared);
    assert_true(canopy_try_reset(ctx));
    canopy_release(ctx);
}

TEST(core_reset_refuses_while_a_callback_is_armed)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    canopy_callback callback;
    assert_int_equal(canopy_after_func(ctx, &callback, do_nothing, NULL), 0);
    check_refused(ctx);
    assert_true(canopy_callback_stop(&callback));
    assert_true(canopy_try_reset(ctx));
    canopy_release(ctx);
}

TEST(core_reset_refuses_a_context_with_an_fd)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    assert_true(canopy_done_fd(ctx) >= 0);
    check_refused(ctx);
    canopy_release(ctx);
}

TEST(core_reset_refuses_other_kinds)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    const canopy_ctx *inputs[] = {parent};
    const int signals[] = {SIGUSR1};
    canopy_ctx *others[] = {
        canopy_with_value(parent, &key, NULL),
        canopy_without_cancel(parent),
        canopy_with_any(inputs, 1),
        canopy_with_signals(parent, signals, 1),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        check_refused(others[i]);
        canopy_end(others[i]);
    }
    check_refused(f.root);
    canopy_end(parent);
    fixture_close(&f);
}
