/*
 * system.c - what the library asks of the system, answered by the explorer: the
 * futex, locks, time, thread ids, the ends of threads, signals, eventfds.
 */
#include "fiber.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <string.h>
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

/* Of three threads two share a CPU. None moves. */
int explore_getcpu(void)
{
    return (int)explorer->current % 2;
}

static void futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *until,
                       const void *site)
{
    explore_point(ACCESS_READ, word, site);
    stores_drain();
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
    stores_drain();
    for (unsigned i = 0; i < explorer->fiber_count; i++)
        if (explorer->fibers[i].wait == WAIT_FUTEX && explorer->fibers[i].on == word)
            explorer->fibers[i].wait = WAIT_NONE;
}

/* A number is never given out twice, so who writes to an fd after its end is found. */
#define FIRST_FD 1000
#define FDS      16

static struct {
    uint64_t count;
    bool is_closed;
} fds[FDS];
static unsigned fd_count;

int explore_eventfd(void)
{
    if (fd_count == FDS)
        explore_fail("more fds than there is room for");
    return FIRST_FD + (int)fd_count++;
}

static unsigned fd_touch(int fd, unsigned access, const void *site)
{
    unsigned i = (unsigned)(fd - FIRST_FD);
    if (i >= fd_count)
        explore_fail("%d is no fd", fd);
    explore_point(access, &fds[i], site);
    stores_drain();
    if (fds[i].is_closed)
        explore_fail("touch of fd %d, which is closed", fd);
    return i;
}

bool scenario_fd_is_readable(int fd)
{
    return fds[fd_touch(fd, ACCESS_READ, __builtin_return_address(0))].count > 0;
}

void scenario_await_fd(int fd)
{
    unsigned i = fd_touch(fd, ACCESS_READ, __builtin_return_address(0));
    if (fds[i].count > 0)
        return;
    fiber_current()->on = &fds[i].count;
    fiber_wait(WAIT_FD);
}

unsigned system_open_fds(void)
{
    unsigned open = 0;
    for (unsigned i = 0; i < fd_count; i++)
        open += !fds[i].is_closed;
    return open;
}

/* A fence for every fiber, wherever it stands. */
static long membarrier(int command, const void *site)
{
    const int fences =
        MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED;
    const int registrations =
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    if (command == MEMBARRIER_CMD_QUERY)
        return fences | registrations;
    if (command & fences) {
        explore_fence_point(site);
        stores_write_all();
    }
    return 0;
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
    } else if (number == SYS_write) {
        result = sizeof(uint64_t);
        fds[fd_touch(va_arg(args, int), ACCESS_WRITE, __builtin_return_address(0))].count++;
    } else if (number == SYS_read) {
        unsigned i = fd_touch(va_arg(args, int), ACCESS_WRITE, __builtin_return_address(0));
        result = fds[i].count ? (long)sizeof(uint64_t) : -1;
        if (fds[i].count)
            memcpy(va_arg(args, uint64_t *), &fds[i].count, sizeof fds[i].count);
        fds[i].count = 0;
    } else if (number == SYS_close) {
        int fd = va_arg(args, int);
        fds[fd_touch(fd, ACCESS_WRITE, __builtin_return_address(0))].is_closed = true;
    } else if (number == SYS_membarrier) {
        result = membarrier(va_arg(args, int), __builtin_return_address(0));
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
    stores_drain();
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
    stores_drain();
    if (*word != explorer->current + 1)
        explore_fail("a mutex was unlocked that this thread does not hold");
    *word = 0;
    return 0;
}

int explore_key_create(pthread_key_t *key, void (*end)(void *))
{
    if (explorer->key_count == KEYS)
        return EAGAIN;
    *key = explorer->key_count;
    explorer->key_ends[explorer->key_count++] = end;
    return 0;
}

int explore_setspecific(pthread_key_t key, const void *value)
{
    fiber_current()->specific[key] = value;
    return 0;
}

void *explore_getspecific(pthread_key_t key)
{
    return (void *)(uintptr_t)fiber_current()->specific[key];
}

/* ------------------------------------------------------------------------ signals */

static struct sigaction actions[NSIG];

int explore_sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    explore_point(action ? ACCESS_WRITE : ACCESS_READ, &actions[number],
                  __builtin_return_address(0));
    stores_drain();
    if (before)
        *before = actions[number];
    if (action)
        actions[number] = *action;
    return 0;
}

void scenario_raise(int number)
{
    explore_point(ACCESS_READ, &actions[number], __builtin_return_address(0));
    stores_drain();
    if (actions[number].sa_handler == SIG_DFL)
        explore_fail("signal %d would end the process", number);
    if (actions[number].sa_handler == SIG_IGN)
        return;
    if (actions[number].sa_flags & SA_SIGINFO)
        actions[number].sa_sigaction(number, NULL, NULL);
    else
        actions[number].sa_handler(number);
}
