/*
 * blocking.h - waits of blocking code that end when a context does: on a condition
 * variable, on a semaphore, on file descriptors. (To wait for nothing but the
 * context there are canopy_wait and canopy_sleep.)
 *
 * All take the context first, and as `until_ns` a time of CLOCK_MONOTONIC, or
 * CANOPY_NEVER. They return 0 (poll: how many are ready) when what was waited for
 * came; the context's error, -ECANCELED or -ETIMEDOUT, when it is done, at once if it
 * was before; -ETIME at `until_ns`; -EINVAL on a NULL; -ENOMEM. Signal handlers end
 * none of them. A thread that is cancelled in one (pthread_cancel) leaves nothing
 * behind.
 *
 * _GNU_SOURCE is needed for pthread_cond_clockwait and ppoll.
 */
#ifndef CANOPY_ADAPTERS_BLOCKING_H
#define CANOPY_ADAPTERS_BLOCKING_H

#include <canopy/canopy.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Others' warnings of how a header of theirs is written are not for this one. */
#pragma GCC diagnostic push
#ifdef __cplusplus
#pragma GCC diagnostic ignored "-Wold-style-cast"
#else
#pragma GCC diagnostic ignored "-Wdeclaration-after-statement"
#endif
#ifdef __clang__
#pragma clang diagnostic ignored "-Wextra-semi-stmt" /* of pthread_cleanup_pop */
#endif

static inline struct timespec blocking_timespec(int64_t ns)
{
    const int64_t second_ns = INT64_C(1000000000);
    struct timespec time;
    time.tv_sec = ns > 0 ? ns / second_ns : 0;
    time.tv_nsec = ns > 0 ? ns % second_ns : 0;
    return time;
}

/* ------------------------------------------------------- condition variable */

/* A thread in blocking_cond_wait. */
struct blocking_waiter {
    canopy_callback callback;
    pthread_cond_t *cond;
    pthread_mutex_t *mutex;
    pthread_t thread;
    bool woken; /* by the context; guarded by the mutex */
};

/*
 * Runs on the canceller. The mutex is what closes the gap between the waiter's look
 * at `woken` and its sleep; where the context ends while the waiter still arms this,
 * it is the waiter that runs it, and holds the mutex already.
 */
static inline void blocking_wake(void *arg)
{
    struct blocking_waiter *waiter = (struct blocking_waiter *)arg;
    if (pthread_equal(waiter->thread, pthread_self())) {
        waiter->woken = true;
        return;
    }
    pthread_mutex_lock(waiter->mutex);
    waiter->woken = true;
    pthread_cond_broadcast(waiter->cond);
    pthread_mutex_unlock(waiter->mutex);
}

/* A callback that is on its way wants the mutex, so it is let in before the wait for its end. */
static inline void blocking_disarm(void *arg)
{
    struct blocking_waiter *waiter = (struct blocking_waiter *)arg;
    if (canopy_callback_stop(&waiter->callback))
        return;
    pthread_mutex_unlock(waiter->mutex);
    canopy_callback_join(&waiter->callback);
    pthread_mutex_lock(waiter->mutex);
}

/*
 * pthread_cond_wait that ends with `ctx`. Called and left with `mutex` held, also on
 * an error; 0 does not mean that the predicate holds, so call it in a loop:
 *
 *     while (!predicate && (err = blocking_cond_wait(ctx, &cond, &mutex, until_ns)) == 0)
 *         ;
 *
 * A pthread_cond_signal is never lost to a thread that leaves: the end of a context
 * is a broadcast, and who was woken by anything else returns 0. All waiters on `cond`
 * are thus to expect wake-ups that were not for them, as always.
 *
 * The callback that wakes takes `mutex` on the thread that ends the context, so
 * nobody may cancel the context while he holds it. The mutex is neither robust nor
 * held twice by the caller.
 */
static inline int blocking_cond_wait(const canopy_ctx *ctx, pthread_cond_t *cond,
                                     pthread_mutex_t *mutex, int64_t until_ns)
{
    if (!ctx || !cond || !mutex)
        return -EINVAL;
    int result = canopy_err(ctx);
    if (result != 0)
        return result;
    struct timespec until = blocking_timespec(until_ns);
    struct blocking_waiter waiter;
    waiter.cond = cond;
    waiter.mutex = mutex;
    waiter.thread = pthread_self();
    waiter.woken = false;
    result = canopy_after_func(ctx, &waiter.callback, blocking_wake, &waiter);
    if (result != 0)
        return result;
    pthread_cleanup_push(blocking_disarm, &waiter);
    if (!waiter.woken)
        result = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until);
    pthread_cleanup_pop(1);
    if (waiter.woken)
        return canopy_err(ctx);
    return result == ETIMEDOUT ? -ETIME : -result;
}

/* ---------------------------------------------------------------- semaphore */

/*
 * A semaphore of its own, since who sleeps on a sem_t can be woken only by a token,
 * and anybody else may take that for a real one.
 */
struct blocking_sem {
    pthread_mutex_t mutex;
    pthread_cond_t posted;
    unsigned tokens;
};

/* 0 or a negative errno. Ownership: blocking_sem_destroy. */
static inline int blocking_sem_init(struct blocking_sem *sem, unsigned tokens)
{
    if (!sem)
        return -EINVAL;
    int err = pthread_mutex_init(&sem->mutex, NULL);
    if (err != 0)
        return -err;
    err = pthread_cond_init(&sem->posted, NULL);
    if (err != 0)
        pthread_mutex_destroy(&sem->mutex);
    sem->tokens = tokens;
    return -err;
}

/* Requires that nobody uses it any more. */
static inline void blocking_sem_destroy(struct blocking_sem *sem)
{
    pthread_cond_destroy(&sem->posted);
    pthread_mutex_destroy(&sem->mutex);
}

/* Adds a token: 0, -EINVAL on NULL, -EOVERFLOW. Not for signal handlers. */
static inline int blocking_sem_post(struct blocking_sem *sem)
{
    if (!sem)
        return -EINVAL;
    pthread_mutex_lock(&sem->mutex);
    bool fits = sem->tokens < UINT_MAX;
    if (fits) {
        sem->tokens++;
        pthread_cond_signal(&sem->posted);
    }
    pthread_mutex_unlock(&sem->mutex);
    return fits ? 0 : -EOVERFLOW;
}

static inline void blocking_sem_unlock(void *sem)
{
    pthread_mutex_unlock(&((struct blocking_sem *)sem)->mutex);
}

/* Takes a token: 0 if and only if it did. A context that is done gets none. */
static inline int blocking_sem_wait(const canopy_ctx *ctx, struct blocking_sem *sem,
                                    int64_t until_ns)
{
    if (!ctx || !sem)
        return -EINVAL;
    int result = canopy_err(ctx);
    pthread_mutex_lock(&sem->mutex);
    pthread_cleanup_push(blocking_sem_unlock, sem);
    while (result == 0 && sem->tokens == 0)
        result = blocking_cond_wait(ctx, &sem->posted, &sem->mutex, until_ns);
    if (result == 0)
        sem->tokens--;
    pthread_cleanup_pop(1);
    return result;
}

/* --------------------------------------------------------------------- poll */

/*
 * poll that ends with `ctx`. fds[0] is the context's: the call fills it in, and `n`
 * counts it. Returns how many of the others have events; their revents are also right
 * when it returns the context's error. Further errors: -EINVAL for n == 0 and as poll
 * has them, and those of canopy_done_fd. Takes one file descriptor a context, which
 * stays open as long as that does.
 */
static inline int blocking_poll(const canopy_ctx *ctx, struct pollfd *fds, nfds_t n,
                                int64_t until_ns)
{
    if (!ctx || !fds || n == 0)
        return -EINVAL;
    fds[0].fd = canopy_done_fd(ctx);
    fds[0].events = POLLIN;
    fds[0].revents = 0;
    if (fds[0].fd < 0)
        return fds[0].fd;
    for (;;) {
        int64_t left_ns = until_ns > 0 ? until_ns - canopy_now_ns() : 0;
        struct timespec left = blocking_timespec(left_ns);
        int ready = ppoll(fds, n, until_ns == CANOPY_NEVER ? NULL : &left, NULL);
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready > 0)
            return fds[0].revents != 0 ? canopy_err(ctx) : ready;
        if (until_ns != CANOPY_NEVER && left_ns <= 0)
            return -ETIME;
    }
}

#pragma GCC diagnostic pop
#ifdef __cplusplus
}
#endif

#endif
