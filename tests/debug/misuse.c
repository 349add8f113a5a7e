/*
 * misuse.c - contexts: each mistake that a debug build finds, made once, is told as
 * what it is and with its places, and does no harm; what comes close is not told.
 */
#include "told.h"

#include <canopy/wire.h>
#include <stdlib.h>

/* Nulls are handed to what must not get any. */
#define UNCHECKED __attribute__((no_sanitize("undefined")))

static const canopy_key key = {.name = "key"};

/* A context that is gone, and the line that made it. */
static canopy_ctx *gone(int *line)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    *line = __LINE__ - 1;
    canopy_end(ctx);
    return ctx;
}

/* ---------------------------------------------------------------- every call of them */

static void assert_refused(const canopy_ctx *ctx)
{
    assert_null(ctx);
    assert_int_equal(errno, EINVAL);
}

struct call {
    const char *name;
    void (*make)(canopy_ctx *ctx);
    bool takes_null;
};

#define CALL(name_, takes_null_, ...)                                                              \
    UNCHECKED static void call_##name_(canopy_ctx *ctx)                                            \
    {                                                                                              \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    static const struct call name_##_call = {"canopy_" #name_, call_##name_, takes_null_};

CALL(with_cancel, true, assert_refused(canopy_with_cancel(ctx)))
CALL(with_deadline, true, assert_refused(canopy_with_deadline(ctx, 1)))
CALL(with_timeout, true, assert_refused(canopy_with_timeout(ctx, 1)))
CALL(with_deadline_cause, true, assert_refused(canopy_with_deadline_cause(ctx, 1, NULL)))
CALL(with_timeout_cause, true, assert_refused(canopy_with_timeout_cause(ctx, 1, NULL)))
CALL(with_value, true, assert_refused(canopy_with_value(ctx, &key, NULL)))
CALL(without_cancel, true, assert_refused(canopy_without_cancel(ctx)))
CALL(with_any, true,
     assert_refused(canopy_with_any((const canopy_ctx *[]){canopy_background(), ctx}, 2)))
CALL(with_signals, true, assert_refused(canopy_with_signals(ctx, (int[]){10}, 1)))
CALL(root_free, true, assert_int_equal(canopy_root_free(ctx), -EINVAL))
CALL(root_advance, true, assert_int_equal(canopy_root_advance(ctx, 1, NULL), -EINVAL))
CALL(cancel, true, assert_false(canopy_cancel(ctx)))
CALL(cancel_cause, true, assert_false(canopy_cancel_cause(ctx, NULL)))
CALL(set_deadline, true, assert_false(canopy_set_deadline(ctx, 1)))
CALL(try_reset, true, assert_false(canopy_try_reset(ctx)))
CALL(retain, true, assert_ptr_equal(canopy_retain(ctx), ctx))
CALL(wait_any, true,
     assert_int_equal(canopy_wait_any((const canopy_ctx *[]){canopy_background(), ctx}, 2, 1),
                      -EINVAL))
CALL(wait_idle, true, assert_int_equal(canopy_wait_idle(ctx, 1), -EINVAL))
CALL(after_func, true,
     assert_int_equal(canopy_after_func(ctx, &(canopy_callback){0}, free, NULL), -EINVAL))
CALL(group_init, true, assert_int_equal(canopy_group_init(&(canopy_group){0}, ctx, 0), -EINVAL))
CALL(err, false, assert_int_equal(canopy_err(ctx), -ECANCELED))
CALL(done, false, assert_true(canopy_done(ctx)))
CALL(cause_of, false, assert_ptr_equal(canopy_cause_of(ctx), CANOPY_CANCELED))
CALL(deadline, false, assert_false(canopy_deadline(ctx, &(int64_t){0})))
CALL(err_at, false, assert_int_equal(canopy_err_at(ctx, 1), -ECANCELED))
CALL(value, false, assert_null(canopy_value(ctx, &key)))
CALL(lookup, false, assert_false(canopy_lookup(ctx, &key, NULL)))
CALL(done_fd, false, assert_int_equal(canopy_done_fd(ctx), -EINVAL))
CALL(wait, false, assert_true(canopy_wait(ctx, CANOPY_NEVER)))
CALL(sleep, false, assert_int_equal(canopy_sleep(ctx, SECONDS(1)), -ECANCELED))
CALL(wire_status, false, assert_int_equal(canopy_wire_status(ctx).grpc_status, 1))
CALL(wire_answered, false, assert_int_equal(canopy_wire_answered(ctx, 1, 1), 1))
CALL(with_baggage, true, assert_refused(canopy_with_baggage(ctx, "k", 1, "", 0, NULL, 0)))
CALL(baggage_of, false, assert_null(canopy_baggage_of(ctx, &(size_t){1})))
CALL(with_wire, true, assert_refused(canopy_with_wire(ctx, &(canopy_wire){0})))
CALL(traceparent_of, false, assert_null(canopy_traceparent_of(ctx)))
CALL(wire_write, false,
     assert_int_equal(canopy_wire_write(ctx, NULL, NULL, 1, NULL, NULL), -ECANCELED))

static const struct call *const calls[] = {
    &with_cancel_call,
    &with_deadline_call,
    &with_timeout_call,
    &with_value_call,
    &with_deadline_cause_call,
    &with_timeout_cause_call,
    &with_any_call,
    &without_cancel_call,
    &with_signals_call,
    &root_free_call,
    &root_advance_call,
    &cancel_call,
    &cancel_cause_call,
    &set_deadline_call,
    &try_reset_call,
    &retain_call,
    &wait_any_call,
    &wait_idle_call,
    &after_func_call,
    &group_init_call,
    &err_call,
    &done_call,
    &cause_of_call,
    &deadline_call,
    &err_at_call,
    &value_call,
    &lookup_call,
    &done_fd_call,
    &wait_call,
    &sleep_call,
    &wire_status_call,
    &wire_answered_call,
    &with_baggage_call,
    &baggage_of_call,
    &with_wire_call,
    &traceparent_of_call,
    &wire_write_call,
};
#define CALLS (sizeof calls / sizeof calls[0])

TEST(use_after_release_is_told_by_every_call)
{
    struct told told = {0};
    int line;
    canopy_ctx *ctx = gone(&line);
    listen_to(&told);
    for (size_t i = 0; i < CALLS; i++) {
        calls[i]->make(ctx);
        assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, ctx, calls[i]->name);
        assert_place(told.last.made, "canopy_with_cancel", line);
        assert_place(told.last.released, "canopy_end", 0);
    }
}

TEST(null_is_told_by_every_call_that_has_no_error_for_it)
{
    struct told told = {0};
    listen_to(&told);
    for (size_t i = 0; i < CALLS; i++) {
        calls[i]->make(NULL);
        if (calls[i]->takes_null)
            assert_not_told(&told);
        else
            assert_told(&told, CANOPY_DEBUG_NOT_A_CONTEXT, NULL, calls[i]->name);
    }
    canopy_release(NULL);
    canopy_end(NULL);
    assert_not_told(&told);
}

TEST(what_was_never_a_context_is_told_by_every_call)
{
    struct told told = {0};
    _Alignas(64) static char bytes[1024];
    listen_to(&told);
    for (size_t i = 0; i < CALLS; i++)
        for (size_t offset = 0; offset < 2; offset++) {
            canopy_ctx *ctx = (canopy_ctx *)(void *)(bytes + offset);
            calls[i]->make(ctx);
            assert_told(&told, CANOPY_DEBUG_NOT_A_CONTEXT, ctx, calls[i]->name);
        }
    canopy_release((canopy_ctx *)(void *)bytes);
    assert_told(&told, CANOPY_DEBUG_NOT_A_CONTEXT, (canopy_ctx *)(void *)bytes, "canopy_release");
}

/* -------------------------------------------------------------------------- release */

TEST(second_release_is_told)
{
    struct told told = {0};
    int line;
    canopy_ctx *ctx = gone(&line);
    listen_to(&told);
    canopy_release(ctx);
    assert_told(&told, CANOPY_DEBUG_DOUBLE_RELEASE, ctx, "canopy_release");
    assert_place(told.last.made, "canopy_with_cancel", line);
    assert_place(told.last.released, "canopy_end", 0);
    canopy_end(ctx);
    assert_told(&told, CANOPY_DEBUG_DOUBLE_RELEASE, ctx, "canopy_end");
}

TEST(release_without_a_handle_is_told_also_while_a_child_lives)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_value(parent, &key, &told);
    canopy_release(canopy_retain(parent));
    canopy_release(parent);
    assert_false(canopy_done(parent)); /* the child keeps it */
    assert_not_told(&told);
    canopy_release(parent);
    assert_told(&told, CANOPY_DEBUG_DOUBLE_RELEASE, parent, "canopy_release");
    assert_false(canopy_done(child));
    canopy_release(child);
    assert_not_told(&told);
    canopy_done(parent);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, parent, "canopy_done");
}

TEST(inputs_of_a_merge_are_there_until_it_is_released)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *first = canopy_with_cancel(canopy_background());
    canopy_ctx *second = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){first, second, first}, 3);
    canopy_release(first);
    canopy_release(second);
    assert_true(canopy_cancel(second));
    assert_ended(merged, -ECANCELED, CANOPY_CANCELED);
    assert_live(first);
    assert_not_told(&told);
    canopy_release(merged);
    canopy_err(first);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, first, "canopy_err");
    canopy_err(second);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, second, "canopy_err");
}

TEST(refused_constructors_keep_nothing)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *root =
        canopy_root_new(&(canopy_config){.size = sizeof(canopy_config), .max_live = 1});
    canopy_ctx *only = canopy_with_cancel(root);
    assert_null(canopy_with_cancel(only));
    assert_int_equal(errno, EAGAIN);
    assert_null(canopy_with_value(only, NULL, NULL));
    assert_int_equal(errno, EINVAL);
    canopy_end(only);
    canopy_done(only);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, only, "canopy_done");
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_not_told(&told);
}

TEST(what_has_gone_is_known_long_after)
{
    struct told told = {0};
    int line;
    canopy_ctx *ctx = gone(&line), *other = NULL;
    listen_to(&told);
    for (int i = 0; i < 65000; i++)
        canopy_end(canopy_with_cancel(canopy_background()));
    assert_true(canopy_done(ctx));
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, ctx, "canopy_done");
    assert_place(told.last.made, "canopy_with_cancel", line);
    /* But not for ever. */
    for (int i = 0; other != ctx && i < 1000; i++) {
        canopy_end(other);
        other = canopy_with_cancel(canopy_background());
    }
    assert_ptr_equal(other, ctx);
    assert_false(canopy_done(ctx));
    canopy_end(other);
    assert_not_told(&told);
}

static void use_and_release(void *ctx)
{
    canopy_done(ctx);
    canopy_release(ctx);
}

TEST(mistakes_of_many_threads_are_all_told)
{
    struct told told = {0};
    int line;
    canopy_ctx *ctx = gone(&line);
    listen_to(&told);
    struct thread threads[4];
    for (size_t i = 0; i < 4; i++)
        thread_start(&threads[i], use_and_release, ctx);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    assert_int_equal(atomic_load(&told.count), 8);
}

TEST(many_threads_make_no_mistake)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *shared = canopy_with_cancel(canopy_background());
    struct thread threads[4];
    for (size_t i = 0; i < 4; i++)
        thread_start(&threads[i], use_and_release, (void *)(uintptr_t)canopy_retain(shared));
    canopy_end(shared);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    assert_not_told(&told);
    canopy_release(shared);
    assert_told(&told, CANOPY_DEBUG_DOUBLE_RELEASE, shared, "canopy_release");
}
