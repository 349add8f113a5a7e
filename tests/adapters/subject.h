/* subject.h - something to wait for with each of the blocking waits, behind one signature. */
#ifndef CANOPY_TESTS_SUBJECT_H
#define CANOPY_TESTS_SUBJECT_H

#include "../unit/probes.h"

#include <canopy/adapters/blocking.h>

#include <sys/eventfd.h>
#include <unistd.h>

/* Something to wait for, with each of the three waits. */
struct subject {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool posted; /* the condition */
    struct blocking_sem sem;
    int fd; /* an eventfd */
};

static inline void subject_open(struct subject *subject)
{
    pthread_mutexattr_t checking;
    assert_int_equal(pthread_mutexattr_init(&checking), 0);
    assert_int_equal(pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK), 0);
    assert_int_equal(pthread_mutex_init(&subject->mutex, &checking), 0);
    pthread_mutexattr_destroy(&checking);
    assert_int_equal(pthread_cond_init(&subject->cond, NULL), 0);
    subject->posted = false;
    assert_int_equal(blocking_sem_init(&subject->sem, 0), 0);
    subject->fd = eventfd(0, EFD_CLOEXEC);
    assert_true(subject->fd >= 0);
}

static inline void subject_close(struct subject *subject)
{
    close(subject->fd);
    blocking_sem_destroy(&subject->sem);
    assert_int_equal(pthread_cond_destroy(&subject->cond), 0);
    assert_int_equal(pthread_mutex_destroy(&subject->mutex), 0);
}

typedef int (*wait_fn)(const canopy_ctx *ctx, struct subject *subject, int64_t until_ns);

/* The mutex finds out who leaves it held, or gives it back twice. */
static inline int wait_cond(const canopy_ctx *ctx, struct subject *subject, int64_t until_ns)
{
    int result = 0;
    assert_int_equal(pthread_mutex_lock(&subject->mutex), 0);
    while (!subject->posted && result == 0)
        result = blocking_cond_wait(ctx, &subject->cond, &subject->mutex, until_ns);
    assert_int_equal(pthread_mutex_unlock(&subject->mutex), 0);
    return result;
}

static inline int wait_sem(const canopy_ctx *ctx, struct subject *subject, int64_t until_ns)
{
    return blocking_sem_wait(ctx, &subject->sem, until_ns);
}

static inline int wait_poll(const canopy_ctx *ctx, struct subject *subject, int64_t until_ns)
{
    struct pollfd fds[] = {{0}, {.fd = subject->fd, .events = POLLIN}};
    int result = blocking_poll(ctx, fds, 2, until_ns);
    assert_int_equal(fds[1].revents, result > 0 ? POLLIN : 0);
    return result > 0 ? 0 : result;
}

static const wait_fn waits[] = {wait_cond, wait_sem, wait_poll};
enum { WAITS = sizeof waits / sizeof waits[0] };

#endif
