/*
 * base.c - the library's lock and the start of its threads.
 *
 * Ordering pairs:
 *   TB1/TB1  a thread says by a release that it has begun, and who forks reads so by an acquire.
 *         Without it the child may see a lock taken that the thread let go of as it began.
 */
#include "base/base.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
__thread char thread_marker __attribute__((tls_model("initial-exec")));
__thread bool thread_is_library __attribute__((tls_model("initial-exec")));
__thread bool thread_is_worker __attribute__((tls_model("initial-exec")));
static __thread bool thread_is_ours __attribute__((tls_model("initial-exec")));
atomic_u32 fork_generation;
atomic_u32 odd_contexts;

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
    int saved_errno = errno, cancelable = cancellation_hold();
    close(fd);
    cancellation_restore(cancelable);
    errno = saved_errno;
}

/* ------------------------------------------------------------------ our threads */

/* What a thread has that nobody has treated specially; read when the library is loaded. */
static struct {
    sigset_t mask;
    /* More CPUs than the kernel can be built for, which is more than a cpu_set_t has room for. */
    cpu_set_t cpus[8];
    bool has_cpus;
} ordinary;

/* The mask of our threads, as the kernel tells it. */
static sigset_t blocked;

void threads_init(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &ordinary.mask);
    pthread_sigmask(SIG_SETMASK, &ordinary.mask, &blocked);
    ordinary.has_cpus = sched_getaffinity(0, sizeof ordinary.cpus, ordinary.cpus) == 0;
}

/* How many of our threads have been made and have not begun. */
static atomic_u32 beginning;

static void *thread_main(void *arg)
{
    const struct thread_role *role = arg;
    u32_fetch_add_acq_rel(&beginning, -1U); /* TB1 */
    pthread_setname_np(pthread_self(), role->name);
    thread_is_library = !role->runs_user_code;
    thread_is_worker = role->is_worker;
    thread_is_ours = true;
    role->run(role);
    return NULL;
}

/* Unless `inherit` of the ordinary policy. */
static int create(pthread_t *thread, const struct thread_role *role, bool inherit)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return err;
    if (!inherit) {
        struct sched_param none = {0};
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
        pthread_attr_setschedparam(&attr, &none);
    }
    u32_fetch_add_relaxed(&beginning, 1);
    err = pthread_create(thread, &attr, thread_main, (void *)(uintptr_t)role);
    if (err)
        u32_fetch_add_relaxed(&beginning, -1U);
    pthread_attr_destroy(&attr);
    return err;
}

int thread_start_joinable(const struct thread_role *role, pthread_t *thread)
{
    sigset_t all, before;
    int cancelable = cancellation_hold();
    sigfillset(&all);
    /* A thread inherits the mask of its creator; the creator gets its own back. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = create(thread, role, false);
    /* From SCHED_IDLE nobody gets away without a privilege, and a sandbox may refuse any. */
    if (err == EPERM || err == EINVAL || err == ENOSYS)
        err = create(thread, role, true);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    /*
     * By the creator, since on the creator's CPU it might not come to run. The process may
     * have been confined since: then it stays where it is.
     */
    if (!err && ordinary.has_cpus)
        pthread_setaffinity_np(*thread, sizeof ordinary.cpus, ordinary.cpus);
    cancellation_restore(cancelable);
    return err;
}

int thread_start(const struct thread_role *role)
{
    pthread_t thread;
    int err = thread_start_joinable(role, &thread);
    if (!err)
        pthread_detach(thread);
    return err;
}

/*
 * A sanitizer allocates before it lets a thread begin, and not each of them sees to its
 * allocator's locks at a fork: the child would wait for one for ever. A thread that does not
 * come to run in a second, of those that a debugger holds, keeps no program from its fork.
 */
void threads_fork_prepare(void)
{
    for (int tries = 0; tries < 10000 && u32_load_acquire(&beginning) != 0; tries++) /* TB1 */
        pause_ns(NS_PER_SECOND / 10000);
}

void threads_fork_child(void)
{
    sigset_t now;
    u32_store_relaxed(&beginning, 0);
    if (!thread_is_ours)
        return;
    thread_is_library = thread_is_worker = thread_is_ours = false;
    /* The static one has zeros behind what the kernel writes. */
    memset(&now, 0, sizeof now);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    if (memcmp(&now, &blocked, sizeof now) == 0)
        pthread_sigmask(SIG_SETMASK, &ordinary.mask, NULL);
}
