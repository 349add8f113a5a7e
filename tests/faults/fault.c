/*
 * fault.c - the wrappers behind fault.h. Each asks whether its call is to fail
 * and otherwise passes it on.
 */
#include "fault.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

static struct {
    atomic_size_t calls;
    atomic_size_t from; /* 0: none */
    atomic_size_t count;
} plans[FAULT_COUNT] = {
    /* As the library is loaded: so the first use is what registers, and can be refused. */
    [FAULT_ATFORK] = {.from = 1, .count = 1},
};

static atomic_size_t live_blocks;

static struct {
    atomic_bool hold;
    atomic_bool held;
} stalls[FAULT_THREADS];

static const char *const thread_names[FAULT_THREADS] = {
    [FAULT_CLOCK] = "canopy-clock",
    [FAULT_RECLAIMER] = "canopy-reclaim",
    [FAULT_WORKER] = "canopy-worker",
};

static __thread enum fault_thread self = FAULT_NO_THREAD;
static atomic_llong clock_lag_ns;
static atomic_bool holds_starts;

void fault_plan(enum fault fault, size_t from, size_t count)
{
    atomic_store(&plans[fault].calls, 0);
    atomic_store(&plans[fault].count, count);
    atomic_store(&plans[fault].from, from);
}

void fault_lift_all(void)
{
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        atomic_store(&plans[i].from, 0);
}

size_t fault_calls(enum fault fault)
{
    return atomic_load(&plans[fault].calls);
}

size_t fault_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

static bool fails(enum fault fault)
{
    size_t call = atomic_fetch_add(&plans[fault].calls, 1) + 1;
    size_t from = atomic_load(&plans[fault].from), count = atomic_load(&plans[fault].count);
    return from != 0 && call >= from && (count == 0 || call < from + count);
}

/* ---------------------------------------------------------------------- memory */

void *__real_malloc(size_t size_bytes);
void *__wrap_malloc(size_t size_bytes);
void *__real_calloc(size_t n, size_t size_bytes);
void *__wrap_calloc(size_t n, size_t size_bytes);
int __real_posix_memalign(void **memory, size_t align_bytes, size_t size_bytes);
int __wrap_posix_memalign(void **memory, size_t align_bytes, size_t size_bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

static void *counted(void *memory)
{
    if (memory)
        atomic_fetch_add(&live_blocks, 1);
    else
        errno = ENOMEM;
    return memory;
}

void *__wrap_malloc(size_t size_bytes)
{
    return counted(fails(FAULT_MEMORY) ? NULL : __real_malloc(size_bytes));
}

void *__wrap_calloc(size_t n, size_t size_bytes)
{
    return counted(fails(FAULT_MEMORY) ? NULL : __real_calloc(n, size_bytes));
}

int __wrap_posix_memalign(void **memory, size_t align_bytes, size_t size_bytes)
{
    int err = fails(FAULT_MEMORY) ? ENOMEM : __real_posix_memalign(memory, align_bytes, size_bytes);
    if (!err)
        atomic_fetch_add(&live_blocks, 1);
    return err;
}

void __wrap_free(void *memory)
{
    if (memory)
        atomic_fetch_sub(&live_blocks, 1);
    __real_free(memory);
}

/* --------------------------------------------------------- what is rarely refused */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __real_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_init(pthread_attr_t *attributes);
int __real_pthread_key_create(pthread_key_t *key, void (*destroy)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *));
int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __real_eventfd(unsigned initial, int flags);
int __wrap_eventfd(unsigned initial, int flags);
int __real_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    return fails(FAULT_THREAD) ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

int __wrap_pthread_attr_init(pthread_attr_t *attributes)
{
    return fails(FAULT_ATTRIBUTES) ? ENOMEM : __real_pthread_attr_init(attributes);
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    return fails(FAULT_KEY) ? EAGAIN : __real_pthread_key_create(key, destroy);
}

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return fails(FAULT_ATFORK) ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

static int refuse(int err)
{
    errno = err;
    return -1;
}

int __wrap_eventfd(unsigned initial, int flags)
{
    return fails(FAULT_EVENTFD) ? refuse(EMFILE) : __real_eventfd(initial, flags);
}

int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    return fails(FAULT_SIGACTION) ? refuse(ENOMEM) : __real_sigaction(number, action, before);
}

/* ------------------------------------------------------------- sleep and the clock */

int __real_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __real_nanosleep(const struct timespec *duration, struct timespec *left);
int __wrap_nanosleep(const struct timespec *duration, struct timespec *left);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    for (unsigned i = 0; i < FAULT_THREADS; i++)
        if (pthread_equal(thread, pthread_self()) && strcmp(name, thread_names[i]) == 0)
            self = i;
    while (self != FAULT_NO_THREAD && atomic_load(&holds_starts))
        sched_yield();
    return __real_pthread_setname_np(thread, name);
}

void fault_hold_starts(bool hold)
{
    atomic_store(&holds_starts, hold);
}

void fault_hold(enum fault_thread thread)
{
    atomic_store(&stalls[thread].hold, true);
}

void fault_let_go(enum fault_thread thread)
{
    atomic_store(&stalls[thread].hold, false);
}

bool fault_is_held(enum fault_thread thread)
{
    return atomic_load(&stalls[thread].held);
}

void fault_clock_lag(int64_t lag_ns)
{
    atomic_store(&clock_lag_ns, lag_ns);
}

static void stand_still(bool looks_at_time)
{
    const struct timespec moment = {0, 100000};
    if (self == FAULT_NO_THREAD || looks_at_time != (self == FAULT_CLOCK))
        return;
    while (atomic_load(&stalls[self].hold)) {
        atomic_store(&stalls[self].held, true);
        __real_nanosleep(&moment, NULL);
    }
    atomic_store(&stalls[self].held, false);
}

int __wrap_nanosleep(const struct timespec *duration, struct timespec *left)
{
    if (!fails(FAULT_NANOSLEEP))
        return __real_nanosleep(duration, left);
    if (left)
        *left = *duration;
    /* A caller that sleeps again and again may be waiting for who needs this processor. */
    sched_yield();
    return refuse(EINTR);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    const int64_t second_ns = 1000000000;
    stand_still(true);
    int result = __real_clock_gettime(clock, now);
    if (result == 0 && self == FAULT_CLOCK) {
        int64_t seen_ns = now->tv_sec * second_ns + now->tv_nsec - atomic_load(&clock_lag_ns);
        *now = (struct timespec){seen_ns / second_ns, seen_ns % second_ns};
    }
    return result;
}

static long futex(va_list arguments)
{
    static const int errors[] = {EINTR, EAGAIN, ETIMEDOUT, ENOSYS, ENOMEM};
    static atomic_uint turn;
    void *word = va_arg(arguments, void *);
    int operation = va_arg(arguments, int);
    uint32_t value = va_arg(arguments, uint32_t);
    const struct timespec *until = va_arg(arguments, const struct timespec *);
    void *second = va_arg(arguments, void *);
    uint32_t bits = va_arg(arguments, uint32_t);
    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) {
        if (fails(FAULT_FUTEX_WAKE))
            return refuse(ENOSYS);
    } else if (fails(FAULT_FUTEX_WAIT)) {
        stand_still(false);
        sched_yield();
        return refuse(errors[atomic_fetch_add(&turn, 1) % (sizeof errors / sizeof *errors)]);
    }
    stand_still(false);
    long result = __real_syscall(SYS_futex, word, operation, value, until, second, bits);
    stand_still(false);
    return result;
}

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long result;
    va_start(arguments, number);
    if (number == SYS_futex) {
        result = futex(arguments);
    } else {
        long first = va_arg(arguments, long), second = va_arg(arguments, long);
        long third = va_arg(arguments, long);
        if (number == SYS_tgkill && fails(FAULT_TGKILL))
            result = refuse(EPERM);
        else if (number == SYS_nanosleep && fails(FAULT_NANOSLEEP))
            result = refuse(EINTR);
        else
            result = __real_syscall(number, first, second, third);
    }
    va_end(arguments);
    return result;
}
