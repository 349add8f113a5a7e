/*
 * idle_fd.c - promise 35 and its fine print: the fd of a context, and the wait
 * for everything below a context to be gone.
 */
#include "probes.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* ------------------------------------------------------------------ done_fd */

TEST(p35_an_fd_asked_for_after_done_is_readable_at_once)
{
    canopy_ctx *cancelled = canopy_with_cancel(canopy_background());
    canopy_ctx *expired = canopy_with_timeout(canopy_background(), 0);
    canopy_cancel(cancelled);
    assert_true(fd_readable(canopy_done_fd(cancelled), 0));
    assert_true(fd_readable(canopy_done_fd(expired), 0));
    assert_true(fd_readable(canopy_done_fd(expired), 0));
    canopy_end(expired);
    canopy_end(cancelled);
}

TEST(p35_an_fd_asked_for_before_becomes_readable_with_done)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(top);
    canopy_ctx *merged = any2(canopy_background(), top);
    int top_fd = canopy_done_fd(top), child_fd = canopy_done_fd(child);
    int merged_fd = canopy_done_fd(merged);

    assert_true(top_fd >= 0 && child_fd >= 0 && merged_fd >= 0);
    assert_true(top_fd != child_fd && child_fd != merged_fd);
    assert_false(fd_readable(top_fd, 0));
    assert_false(fd_readable(child_fd, 0));
    assert_false(fd_readable(merged_fd, 0));
    assert_true(canopy_cancel(top));
    assert_true(fd_readable(top_fd, 0));
    assert_true(fd_readable(child_fd, 0));
    assert_true(fd_readable(merged_fd, 0));

    canopy_end(merged);
    canopy_end(child);
    canopy_end(top);
}

/* ------------------------------------- when it is readable, for whom has seen what */

struct reader {
    const canopy_ctx *ctx;
    int fd;
    unsigned readable;
};

static void read_in_callback(void *arg)
{
    struct reader *reader = arg;
    reader->readable += fd_readable(reader->fd, 0);
}

TEST(p35_it_is_readable_in_callbacks_and_when_the_cancel_has_returned)
{
    enum { levels = 8 };
    canopy_ctx *chain[levels];
    canopy_callback callbacks[levels];
    struct reader readers[levels];
    for (size_t i = 0; i < levels; i++) {
        chain[i] = canopy_with_cancel(i ? chain[i - 1] : canopy_background());
        readers[i] = (struct reader){chain[i], canopy_done_fd(chain[i]), 0};
    }
    for (size_t i = 0; i < levels; i++) /* each looks at another one's */
        assert_int_equal(
            canopy_after_func(chain[i], &callbacks[i], read_in_callback, &readers[levels - 1 - i]),
            0);
    assert_true(canopy_cancel(chain[0]));
    for (size_t i = 0; i < levels; i++) {
        assert_int_equal(readers[i].readable, 1);
        assert_true(fd_readable(readers[i].fd, 0));
    }
    for (size_t i = levels; i-- > 0;)
        canopy_end(chain[i]);
}

/* The canceller may be between the mark and the write: who asks again need not wait for it. */
TEST(p35_it_is_readable_for_who_asks_again_after_done)
{
    for (unsigned round = 0; round < SCALED(3000, 300); round++) {
        struct race race = {.meeting.parties = 2};
        struct thread thread;
        race.ctx = canopy_with_cancel(canopy_background());
        int fd = canopy_done_fd(race.ctx);
        assert_false(fd_readable(fd, 0));
        thread_start(&thread, race_cancel, &race);
        meet(&race.meeting);
        while (!canopy_done(race.ctx))
            continue;
        assert_int_equal(canopy_done_fd(race.ctx), fd);
        assert_true(fd_readable(fd, 0));
        thread_join(&thread);
        canopy_end(race.ctx);
    }
}

TEST(p35_expiry_wakes_who_polls)
{
    int64_t deadline_ns = now_ns() + MILLISECONDS(30);
    canopy_ctx *ctx = canopy_with_deadline(canopy_background(), deadline_ns);
    assert_true(fd_readable(canopy_done_fd(ctx), 20000));
    assert_true(now_ns() >= deadline_ns);
    assert_true(canopy_done(ctx));
    canopy_end(ctx);
}

static void cancel_soon(void *ctx)
{
    pause_ns(MILLISECONDS(20));
    canopy_cancel(ctx);
}

TEST(p35_cancel_wakes_who_polls)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct thread thread;
    int fd = canopy_done_fd(ctx);
    thread_start(&thread, cancel_soon, ctx);
    assert_true(fd_readable(fd, 20000));
    assert_true(canopy_done(ctx));
    thread_join(&thread);
    canopy_end(ctx);
}

TEST(p35_it_is_the_same_on_each_call_and_on_value_layers)
{
    static const canopy_key key = {"key", NULL};
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(ctx, &key, NULL);
    int fd = canopy_done_fd(value);
    assert_true(fd >= 0);
    assert_int_equal(canopy_done_fd(value), fd);
    assert_int_equal(canopy_done_fd(ctx), fd);
    canopy_end(value);
    assert_int_equal(canopy_done_fd(ctx), fd);
    canopy_cancel(ctx);
    assert_int_equal(canopy_done_fd(ctx), fd);
    canopy_end(ctx);
}

TEST(p35_it_is_close_on_exec_and_non_blocking)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    const int fds[] = {canopy_done_fd(ctx), canopy_done_fd(canopy_background())};
    for (size_t i = 0; i < 2; i++) {
        assert_true(fds[i] >= 0);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    canopy_end(ctx);
}

static bool is_closed(int fd)
{
    errno = 0;
    return fcntl(fd, F_GETFD) == -1 && errno == EBADF;
}

TEST(p35_it_is_closed_with_the_last_reference_at_that_moment)
{
    for (unsigned round = 0; round < 100; round++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        canopy_ctx *child = round & 4 ? canopy_with_cancel(ctx) : NULL;
        const canopy_ctx *second = canopy_retain(ctx);
        int fd = canopy_done_fd(ctx);
        assert_true(fd >= 0);
        if (round & 1)
            canopy_cancel(ctx);
        (round & 2) ? canopy_end(ctx) : canopy_release(ctx);
        assert_false(is_closed(fd));
        canopy_end(child);
        canopy_release(second);
        assert_true(is_closed(fd));
    }
}

TEST(p35_background_has_one_fd_that_is_never_readable)
{
    canopy_ctx *detached = canopy_without_cancel(canopy_background());
    int fd = canopy_done_fd(canopy_background());
    assert_true(fd >= 0);
    assert_int_equal(canopy_done_fd(canopy_background()), fd);
    assert_int_equal(canopy_done_fd(canopy_todo()), fd);
    assert_int_equal(canopy_done_fd(detached), fd);
    assert_false(fd_readable(fd, 5));
    canopy_end(detached);
    assert_false(is_closed(fd));
}

TEST(p35_a_table_of_files_that_is_full_is_emfile_and_changes_nothing)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int fd = canopy_done_fd(ctx);
    int shared_fd = canopy_done_fd(canopy_background());
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(fd, -EMFILE);
    assert_int_equal(shared_fd, -EMFILE);
    assert_live(ctx);

    fd = canopy_done_fd(ctx);
    assert_true(fd >= 0);
    canopy_cancel(ctx);
    assert_true(fd_readable(fd, 0));
    assert_true(canopy_done_fd(canopy_background()) >= 0);
    canopy_end(ctx);
}

struct asking {
    struct meeting meeting;
    canopy_ctx *ctx;
    atomic_uint askers;
    int fds[3];
};

static void ask_and_poll(void *arg)
{
    struct asking *asking = arg;
    unsigned asker = atomic_fetch_add(&asking->askers, 1);
    meet(&asking->meeting);
    asking->fds[asker] = canopy_done_fd(asking->ctx);
    assert_true(fd_readable(asking->fds[asker], 20000));
}

TEST(p35_asked_for_by_two_threads_beside_a_cancel_it_is_one_and_readable)
{
    for (unsigned round = 0; round < SCALED(2000, 300); round++) {
        struct asking asking = {.meeting.parties = 3};
        struct thread askers[2];
        asking.ctx = canopy_with_cancel(canopy_background());
        canopy_ctx *child = canopy_with_cancel(asking.ctx);
        for (size_t i = 0; i < 2; i++)
            thread_start(&askers[i], ask_and_poll, &asking);
        meet(&asking.meeting);
        asking.fds[2] = canopy_done_fd(asking.ctx);
        canopy_cancel(asking.ctx);
        /* An asker that saw done first may be about to make it readable for all of us. */
        assert_true(fd_readable(asking.fds[2], 20000));
        assert_true(fd_readable(canopy_done_fd(child), 0));
        for (size_t i = 0; i < 2; i++)
            thread_join(&askers[i]);
        assert_int_equal(asking.fds[0], asking.fds[2]);
        assert_int_equal(asking.fds[1], asking.fds[2]);
        canopy_end(child);
        canopy_end(asking.ctx);
    }
}

/* --------------------------------------------------------------- wait_idle */

TEST(p35_wait_idle_is_0_only_when_nothing_derived_has_memory)
{
    static const canopy_key key = {"key", NULL};
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_wait_idle(top, 0), 0);

    canopy_ctx *early = canopy_with_cancel(top); /* made before top was ever waited for in vain */
    assert_int_equal(canopy_wait_idle(top, 0), -ETIME);
    canopy_ctx *value = canopy_with_value(early, &key, NULL);
    canopy_ctx *detached = canopy_without_cancel(value);
    canopy_ctx *merged = any2(canopy_background(), detached);
    canopy_ctx *const all[] = {early, value, detached, merged};
    for (size_t i = 0; i < 4; i++) {
        int64_t until_ns = now_ns() + MILLISECONDS(2);
        assert_int_equal(canopy_wait_idle(top, until_ns), -ETIME);
        assert_true(now_ns() >= until_ns);
        canopy_end(all[i]); /* the outer ones still stand on it */
    }
    assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
    assert_live(top);
    canopy_end(top);
}

TEST(p35_wait_idle_counts_what_is_cancelled_but_not_released)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(top);
    canopy_cancel(top);
    assert_int_equal(canopy_wait_idle(top, now_ns() + MILLISECONDS(2)), -ETIME);
    canopy_ctx *late = canopy_with_cancel(top);
    canopy_end(child);
    assert_int_equal(canopy_wait_idle(top, now_ns() + MILLISECONDS(2)), -ETIME);
    canopy_end(late);
    assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
    canopy_end(top);
}

TEST(p35_wait_idle_leaves_a_context_fit_for_reset)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_int_equal(canopy_wait_idle(ctx, 0), -ETIME);
    assert_false(canopy_try_reset(ctx));
    canopy_end(child);
    assert_int_equal(canopy_wait_idle(ctx, now_ns() + SOON), 0);
    assert_true(canopy_try_reset(ctx));
    assert_deadline(ctx, CANOPY_NEVER);
    child = canopy_with_cancel(ctx);
    assert_int_equal(canopy_wait_idle(ctx, 0), -ETIME);
    canopy_end(child);
    assert_int_equal(canopy_wait_idle(ctx, now_ns() + SOON), 0);
    canopy_end(ctx);
}

static void end_soon(void *ctx)
{
    pause_ns(MILLISECONDS(10));
    canopy_end(ctx);
}

TEST(p35_wait_idle_is_woken_by_the_last_release)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    for (unsigned round = 0; round < 20; round++) {
        canopy_ctx *first = canopy_with_cancel(top);
        canopy_ctx *second = canopy_with_timeout(round % 2 ? first : top, HOURS(1));
        struct thread threads[2];
        thread_start(&threads[0], end_soon, first);
        thread_start(&threads[1], end_soon, second);
        assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
        thread_join(&threads[0]);
        thread_join(&threads[1]);
    }
    canopy_end(top);
}

static void churn_below(void *arg)
{
    const canopy_ctx *top = arg;
    for (unsigned i = 0; i < SCALED(20000, 3000); i++) {
        canopy_ctx *child = canopy_with_cancel(top);
        canopy_ctx *grandchild = canopy_with_cancel(child);
        canopy_end(i % 2 ? child : grandchild);
        canopy_end(i % 2 ? grandchild : child);
    }
}

TEST(p35_wait_idle_beside_threads_that_come_and_go_ends_with_0)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    struct thread threads[3];
    for (size_t i = 0; i < 3; i++)
        thread_start(&threads[i], churn_below, top);
    for (unsigned i = 0; i < 200; i++) {
        int idle = canopy_wait_idle(top, now_ns() + MICROSECONDS(50));
        assert_true(idle == 0 || idle == -ETIME);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
    canopy_end(top);
}

TEST(p35_wait_idle_counts_a_context_that_an_armed_callback_keeps)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(top);
    atomic_uint runs = 0;
    canopy_callback callback;
    assert_int_equal(canopy_after_func(child, &callback, count_call, &runs), 0);
    canopy_release(child);
    assert_int_equal(canopy_wait_idle(top, now_ns() + MILLISECONDS(2)), -ETIME);
    assert_true(canopy_cancel(top));
    assert_int_equal(atomic_load(&runs), 1);
    assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
    canopy_end(top);
}
