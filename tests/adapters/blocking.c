/*
 * blocking.c - the waits of blocking code: each ends with what it waits for, with its
 * context, and at its time; bad input, signal handlers, threads that are cancelled.
 */
#include "subject.h"

#include <signal.h>

static void post_each(void *arg)
{
    struct subject *subject = arg;
    const uint64_t one = 1;
    pause_ns(MILLISECONDS(20));
    pthread_mutex_lock(&subject->mutex);
    subject->posted = true;
    pthread_cond_signal(&subject->cond);
    pthread_mutex_unlock(&subject->mutex);
    assert_int_equal(blocking_sem_post(&subject->sem), 0);
    assert_int_equal(write(subject->fd, &one, sizeof one), sizeof one);
}

/* ------------------------------------------------------------- what ends them */

TEST(a_wait_ends_with_what_it_waits_for)
{
    for (int i = 0; i < WAITS; i++) {
        struct fixture fixture;
        struct subject subject;
        struct thread poster;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        subject_open(&subject);
        thread_start(&poster, post_each, &subject);
        assert_int_equal(waits[i](fixture.root, &subject, now_ns() + SOON), 0);
        thread_join(&poster);
        assert_live(fixture.root);
        subject_close(&subject);
        fixture_close(&fixture);
    }
}

TEST(a_wait_ends_when_another_thread_cancels)
{
    for (int i = 0; i < WAITS; i++) {
        struct fixture fixture;
        struct subject subject;
        struct thread canceller;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        subject_open(&subject);
        canopy_ctx *ctx = canopy_with_cancel(fixture.root);
        thread_start(&canceller, cancel_after_pause, ctx);
        assert_int_equal(waits[i](ctx, &subject, CANOPY_NEVER), -ECANCELED);
        thread_join(&canceller);
        canopy_end(ctx);
        subject_close(&subject);
        fixture_close(&fixture);
    }
}

TEST(a_wait_ends_at_the_deadline_of_its_context_and_not_before)
{
    for (int i = 0; i < WAITS; i++) {
        struct subject subject;
        subject_open(&subject);
        int64_t deadline_ns = now_ns() + MILLISECONDS(30);
        canopy_ctx *ctx = canopy_with_deadline(canopy_background(), deadline_ns);
        assert_int_equal(waits[i](ctx, &subject, deadline_ns + SOON), -ETIMEDOUT);
        assert_true(now_ns() >= deadline_ns);
        canopy_end(ctx);
        subject_close(&subject);
    }
}

TEST(a_wait_ends_at_its_time_and_not_before)
{
    for (int i = 0; i < WAITS; i++) {
        struct fixture fixture;
        struct subject subject;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        subject_open(&subject);
        int64_t until_ns = now_ns() + MILLISECONDS(30);
        assert_int_equal(waits[i](fixture.root, &subject, until_ns), -ETIME);
        assert_true(now_ns() >= until_ns);
        assert_int_equal(waits[i](fixture.root, &subject, 0), -ETIME);
        assert_int_equal(waits[i](fixture.root, &subject, INT64_MIN), -ETIME);
        assert_int_equal(waits[i](canopy_background(), &subject, now_ns()), -ETIME);
        subject_close(&subject);
        fixture_close(&fixture);
    }
}

TEST(a_done_context_ends_a_wait_at_once_and_takes_nothing)
{
    struct subject subject;
    struct thread poster;
    subject_open(&subject);
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), 0);
    assert_int_equal(wait_cond(ctx, &subject, CANOPY_NEVER), -ETIMEDOUT);
    thread_start(&poster, post_each, &subject);
    thread_join(&poster);
    assert_int_equal(wait_sem(ctx, &subject, CANOPY_NEVER), -ETIMEDOUT);
    assert_int_equal(subject.sem.tokens, 1);
    struct pollfd fds[] = {{0}, {.fd = subject.fd, .events = POLLIN}};
    assert_int_equal(blocking_poll(ctx, fds, 2, CANOPY_NEVER), -ETIMEDOUT);
    assert_int_equal(fds[1].revents, POLLIN);
    canopy_end(ctx);
    subject_close(&subject);
}

TEST(poll_waits_for_the_context_alone_and_for_several)
{
    struct subject first, second;
    struct thread poster;
    subject_open(&first);
    subject_open(&second);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct pollfd fds[] = {
        {0}, {.fd = first.fd, .events = POLLIN}, {.fd = second.fd, .events = POLLIN}};
    assert_int_equal(blocking_poll(ctx, fds, 1, now_ns() + MILLISECONDS(1)), -ETIME);
    thread_start(&poster, post_each, &second);
    assert_int_equal(blocking_poll(ctx, fds, 3, CANOPY_NEVER), 1);
    assert_int_equal(fds[1].revents, 0);
    assert_int_equal(fds[2].revents, POLLIN);
    thread_join(&poster);
    canopy_end(ctx);
    subject_close(&second);
    subject_close(&first);
}

TEST(bad_input_is_answered)
{
    struct subject subject;
    struct pollfd fds[] = {{0}};
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    subject_open(&subject);
    assert_int_equal(blocking_cond_wait(NULL, &subject.cond, &subject.mutex, 0), -EINVAL);
    assert_int_equal(blocking_cond_wait(ctx, NULL, &subject.mutex, 0), -EINVAL);
    assert_int_equal(blocking_cond_wait(ctx, &subject.cond, NULL, 0), -EINVAL);
    assert_int_equal(blocking_sem_init(NULL, 0), -EINVAL);
    assert_int_equal(blocking_sem_post(NULL), -EINVAL);
    assert_int_equal(blocking_sem_wait(NULL, &subject.sem, 0), -EINVAL);
    assert_int_equal(blocking_sem_wait(ctx, NULL, 0), -EINVAL);
    assert_int_equal(blocking_poll(NULL, fds, 1, 0), -EINVAL);
    assert_int_equal(blocking_poll(ctx, NULL, 1, 0), -EINVAL);
    assert_int_equal(blocking_poll(ctx, fds, 0, 0), -EINVAL);

    struct blocking_sem full;
    assert_int_equal(blocking_sem_init(&full, UINT_MAX), 0);
    assert_int_equal(blocking_sem_post(&full), -EOVERFLOW);
    assert_int_equal(blocking_sem_wait(ctx, &full, CANOPY_NEVER), 0);
    assert_int_equal(blocking_sem_post(&full), 0);
    blocking_sem_destroy(&full);
    subject_close(&subject);
    canopy_end(ctx);
}

/* -------------------------------------------------- signals, thread cancellation */

struct waiting {
    const canopy_ctx *ctx;
    struct subject *subject;
    wait_fn wait;
    atomic_int result;
};

static void wait_to_the_end(void *arg)
{
    struct waiting *waiting = arg;
    atomic_store(&waiting->result,
                 waiting->wait(waiting->ctx, waiting->subject, now_ns() + 2 * SOON));
}

static void ignore(int signal_number)
{
    (void)signal_number;
}

TEST(signal_handlers_do_not_end_a_wait)
{
    struct sigaction action = {.sa_handler = ignore};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    for (int i = 0; i < WAITS; i++) {
        struct subject subject;
        struct thread waiter;
        subject_open(&subject);
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        struct waiting waiting = {ctx, &subject, waits[i], 1};
        thread_start(&waiter, wait_to_the_end, &waiting);
        for (int signals = 0; signals < 20; signals++) {
            pause_ns(MILLISECONDS(1));
            assert_int_equal(pthread_kill(waiter.id, SIGUSR1), 0);
        }
        assert_int_equal(atomic_load(&waiting.result), 1);
        canopy_cancel(ctx);
        thread_join(&waiter);
        assert_int_equal(atomic_load(&waiting.result), -ECANCELED);
        canopy_end(ctx);
        subject_close(&subject);
    }
}

static void unlock(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

/* As wait_cond, in a thread that may be cancelled. */
static int wait_cond_cleaning_up(const canopy_ctx *ctx, struct subject *subject, int64_t until_ns)
{
    int result;
    assert_int_equal(pthread_mutex_lock(&subject->mutex), 0);
    pthread_cleanup_push(unlock, &subject->mutex);
    result = blocking_cond_wait(ctx, &subject->cond, &subject->mutex, until_ns);
    pthread_cleanup_pop(1);
    return result;
}

TEST(a_thread_that_is_cancelled_in_a_wait_leaves_nothing_behind)
{
    const wait_fn cancellable[] = {wait_cond_cleaning_up, wait_sem, wait_poll};
    for (int i = 0; i < WAITS; i++) {
        struct fixture fixture;
        struct subject subject;
        struct thread waiter;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        subject_open(&subject);
        struct waiting waiting = {fixture.root, &subject, cancellable[i], 1};
        thread_start(&waiter, wait_to_the_end, &waiting);
        pause_ns(MILLISECONDS(10));
        assert_int_equal(pthread_cancel(waiter.id), 0);
        thread_join(&waiter);
        assert_int_equal(atomic_load(&waiting.result), 1);
        /* What is still armed or held shows here. */
        canopy_cancel(fixture.root);
        assert_int_equal(pthread_mutex_trylock(&subject.mutex), 0);
        assert_int_equal(pthread_mutex_unlock(&subject.mutex), 0);
        assert_int_equal(blocking_sem_post(&subject.sem), 0);
        subject_close(&subject);
        fixture_close(&fixture);
    }
}
