/*
 * system.c - what the library asks of the system, answered by the explorer: the
 * futex, locks, time, thread ids, the ends of threads.
 */
#include "fiber.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t explore_thread_self(void)
{
    return (uint64_t)(uintptr_t)fiber_current();
}

int explore_gettid(void)
{
    return (int)explorer->current + 1;
}

static void futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *until,
                       const void *site)
{
    explore_point(ACCESS_READ, word, site);
    if (*word != expected)
        return;
    struct fiber *fiber = fiber_current();
    fiber->on = word;
    fiber->timed_out = false;
    fiber->until_ns = until ? (int64_t)until->tv_sec * 1000000000 + until->tv_nsec : CANOPY_NEVER;
    fiber_wait(WAIT_FUTEX);
}

static void futex_wake(const uint32_t *word, const void *site)
{
    explore_point(ACCESS_WRITE | ACCESS_ADDRESS, word, site);
    for (unsigned i = 0; i < explorer->fiber_count; i++)
        if (explorer->fibers[i].wait == WAIT_FUTEX && explorer->fibers[i].on == word)
            explorer->fibers[i].wait = WAIT_NONE;
}

long explore_syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    long result = 0;
    if (number == SYS_futex) {
        const uint32_t *word = va_arg(args, const uint32_t *);
        int operation = va_arg(args, int) & FUTEX_CMD_MASK;
        uint32_t value = va_arg(args, uint32_t);
        const struct timespec *until = va_arg(args, const struct timespec *);
        if (operation == FUTEX_WAIT_BITSET)
            futex_wait(word, value, until, __builtin_return_address(0));
        else
            futex_wake(word, __builtin_return_address(0));
    } else if (number == SYS_tgkill) {
        (void)va_arg(args, pid_t);
        unsigned id = (unsigned)va_arg(args, pid_t) - 1;
        if (explorer->fibers[id].wait == WAIT_FINISHED) {
            errno = ESRCH;
            result = -1;
        }
    } else if (number == SYS_nanosleep) {
        fiber_wait(WAIT_OTHERS);
    } else {
        explore_fail("a system call that the explorer does not know: %ld", number);
    }
    va_end(args);
    return result;
}

int explore_nanosleep(const struct timespec *duration, struct timespec *rest)
{
    (void)duration;
    (void)rest;
    fiber_wait(WAIT_OTHERS);
    return 0;
}

int explore_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    now->tv_sec = explorer->now_ns / 1000000000;
    now->tv_nsec = explorer->now_ns % 1000000000;
    return 0;
}

/* A mutex that is zero is free, as PTHREAD_MUTEX_INITIALIZER makes it. */
int explore_mutex_lock(pthread_mutex_t *mutex)
{
    uint32_t *word = (uint32_t *)(void *)mutex;
    explore_point(ACCESS_WRITE, word, __builtin_return_address(0));
    while (*word != 0) {
        fiber_current()->on = word;
        fiber_wait(WAIT_MUTEX);
    }
    *word = explorer->current + 1;
    return 0;
}

int explore_mutex_unlock(pthread_mutex_t *mutex)
{
    uint32_t *word = (uint32_t *)(void *)mutex;
    explore_point(ACCESS_WRITE, word, __builtin_return_address(0));
    if (*word != explorer->current + 1)
        explore_fail("a mutex was unlocked that this thread does not hold");
    *word = 0;
    return 0;
}

int explore_key_create(pthread_key_t *key, void (*end)(void *))
{
    *key = 0;
    explorer->key_end = end;
    return 0;
}

int explore_setspecific(pthread_key_t key, const void *value)
{
    (void)key;
    fiber_current()->specific = value;
    return 0;
}
