/*
 * base.c - the library's lock and the start of its threads.
 */
#include "base.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>

pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
__thread char thread_marker __attribute__((tls_model("initial-exec")));
__thread bool thread_is_library __attribute__((tls_model("initial-exec")));
atomic_u32 fork_generation;

bool fence_is_asymmetric;

void fence_init(void)
{
    fence_is_asymmetric =
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void fence_heavy(void)
{
    /* Where there is no memory for the quick one just now, the slow one needs none. */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
        syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* By syscall, since write, read and close would be points at which a thread is cancelled. */
void eventfd_raise(int fd)
{
    int saved_errno = errno;
    uint64_t one = 1;
    syscall(SYS_write, fd, &one, sizeof one);
    errno = saved_errno;
}

uint64_t eventfd_clear(int fd)
{
    int saved_errno = errno;
    uint64_t count = 0;
    syscall(SYS_read, fd, &count, sizeof count);
    errno = saved_errno;
    return count;
}

/* Not by syscall: sanitizers keep account of fds. */
void fd_close(int fd)
{
    int saved_errno = errno, cancelable;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    close(fd);
    pthread_setcancelstate(cancelable, NULL);
    errno = saved_errno;
}

struct start {
    void *(*run)(void *);
    const char *name;
    uint64_t self;
    atomic_u32 taken;
};

static void *thread_main(void *arg)
{
    struct start *start = arg;
    void *(*run)(void *) = start->run;
    pthread_setname_np(pthread_self(), start->name);
    thread_is_library = true;
    start->self = thread_self();
    /* Pairs with thread_start's wait: after this, `start` is gone. */
    u32_exchange_acq_rel(&start->taken, 1);
    futex_wake_all(&start->taken);
    return run(NULL);
}

int thread_start(void *(*run)(void *), const char *name, uint64_t *self)
{
    /* On the stack of the starter, who waits until it was read: no allocation to fail. */
    struct start start = {.run = run, .name = name};
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    int err = pthread_attr_init(&attr);
    if (err)
        return err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* A thread inherits the mask of its creator; the creator gets its own back. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&thread, &attr, thread_main, &start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    while (!err && !u32_load_acquire(&start.taken))
        futex_wait(&start.taken.value, 0, CANOPY_NEVER);
    if (self)
        *self = start.self;
    return err;
}
