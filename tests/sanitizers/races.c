/*
 * races.c - what ThreadSanitizer must report of those who learn that a context is
 * done, and what it must not.
 *
 * In a planted race nothing that canopy promises lies between two accesses; in the
 * ordered twin a promise does. Together they show that the library neither hides
 * the races of its users nor invents some.
 */
#include "beside.h"

#include <poll.h>

static canopy_ctx *done_context(void)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_cancel(ctx);
    return ctx;
}

/* --------------------------------------- a write before a cancel, and who sees it */

static void writes_and_cancels(void *ctx)
{
    datum = 1;
    canopy_cancel(ctx);
    reach(1);
}

static void cancels_and_writes(void *ctx)
{
    canopy_cancel(ctx);
    datum = 1;
    reach(1);
}

static void waits(void *ctx)
{
    assert_true(canopy_wait(ctx, CANOPY_NEVER));
    await(1);
    read_datum();
}

static void waits_for_any(void *ctx)
{
    const canopy_ctx *const either[] = {canopy_background(), ctx};
    assert_int_equal(canopy_wait_any(either, 2, CANOPY_NEVER), 1);
    await(1);
    read_datum();
}

static void polls_err(void *ctx)
{
    while (canopy_err(ctx) == 0)
        sched_yield();
    await(1);
    read_datum();
}

static void polls_fd(void *ctx)
{
    struct pollfd done = {.fd = canopy_done_fd(ctx), .events = POLLIN};
    assert_int_equal(poll(&done, 1, -1), 1);
    assert_true(canopy_done(ctx));
    await(1);
    read_datum();
}

static void registers_late(void *ctx)
{
    canopy_callback record;
    await(1);
    assert_int_equal(canopy_after_func(ctx, &record, reads_in_callback, NULL), 0);
}

static void derives_late(void *ctx)
{
    await(1);
    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_true(canopy_done(child));
    read_datum();
    canopy_release(child);
}

static void cancels_late(void *ctx)
{
    await(1);
    assert_false(canopy_cancel(ctx));
    read_datum();
}

static void same_context(void (*writer)(void *ctx), void (*reader)(void *ctx))
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    beside(writer, ctx, reader, ctx);
    canopy_release(ctx);
}

/* The reader sees that a context is done, but not the one that the writer ended. */
static void another_context(void (*reader)(void *ctx))
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background()), *another = done_context();
    beside(writes_and_cancels, ctx, reader, another);
    canopy_release(another);
    canopy_release(ctx);
}

TEST(ordered_by_a_wait)
{
    same_context(writes_and_cancels, waits);
}

TEST(planted_wait_for_another_context)
{
    another_context(waits);
}

TEST(planted_write_after_the_cancel)
{
    same_context(cancels_and_writes, waits);
}

TEST(ordered_by_a_wait_for_any)
{
    same_context(writes_and_cancels, waits_for_any);
}

TEST(planted_wait_for_any_other_context)
{
    another_context(waits_for_any);
}

TEST(ordered_by_a_poll_of_err)
{
    same_context(writes_and_cancels, polls_err);
}

TEST(planted_poll_of_another_err)
{
    another_context(polls_err);
}

TEST(ordered_by_a_done_fd)
{
    same_context(writes_and_cancels, polls_fd);
}

TEST(planted_poll_of_another_fd)
{
    another_context(polls_fd);
}

TEST(ordered_by_a_callback_that_runs_at_once)
{
    same_context(writes_and_cancels, registers_late);
}

TEST(planted_callback_on_another_context)
{
    another_context(registers_late);
}

TEST(ordered_by_a_birth_under_a_done_parent)
{
    same_context(writes_and_cancels, derives_late);
}

TEST(planted_birth_under_another_parent)
{
    another_context(derives_late);
}

TEST(ordered_by_a_lost_cancel_for_the_loser)
{
    same_context(writes_and_cancels, cancels_late);
}

static void sees_it_done_early(void *ctx)
{
    assert_true(canopy_done(ctx));
    reach(1);
    await(2);
    read_datum();
}

static void loses_late(void *ctx)
{
    await(1);
    datum = 1;
    assert_false(canopy_cancel(ctx));
    reach(2);
}

TEST(planted_write_of_a_loser)
{
    canopy_ctx *ctx = done_context();
    beside(sees_it_done_early, ctx, loses_late, ctx);
    canopy_release(ctx);
}

/* ------------------------------------------------------------------ deadlines */

static void writes_and_advances(void *root)
{
    datum = 1;
    assert_int_equal(canopy_root_advance(root, 10, NULL), 0);
    reach(1);
}

TEST(ordered_by_an_expiry_that_the_writer_drives)
{
    canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST};
    canopy_ctx *root = canopy_root_new(&config);
    canopy_ctx *ctx = canopy_with_deadline(root, 10);
    beside(writes_and_advances, root, waits, ctx);
    canopy_release(ctx);
    while (canopy_root_free(root) == -EBUSY)
        sched_yield();
}

TEST(planted_expiry_that_says_nothing_of_the_writer)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(1));
    beside(writes, NULL, waits, ctx);
    canopy_release(ctx);
}
