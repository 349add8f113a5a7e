/*
 * init.c - wires the layers together on first use, and takes them over a fork.
 *
 * After a fork the child has one thread. The locks are held by the forking thread
 * around the fork, so they are free afterwards; threads of the library are gone,
 * and start again when needed; inherited memory is told by its generation and
 * never armed, written to an fd, or reused.
 *
 * Ordering pairs:
 *   IN1/IN1  `initialised` is set by a release, and loaded by an acquire where no lock is
 *         taken. Without it a thread works with layers that are not wired yet.
 */
#include <stdlib.h>

#include "base/park.h"
#include "callbacks/worker.h"
#include "host/signals.h"
#include "memory/rings.h"
#include "time/clock.h"
#include "time/ticks.h"
#include "tree/merge.h"

static void fork_prepare(void)
{
    rings_fork_prepare(); /* before all else: who has this lock waits for grace periods */
    /* Before other locks, since it waits for grace periods, and read sections may wait for our
     * locks. */
    rcu_fork_prepare();
    pthread_mutex_lock(&signals_lock);
    pthread_mutex_lock(&merge_lock);
    pthread_mutex_lock(&library_lock);
    threads_fork_prepare(); /* none is made without the lock */
}

static void fork_release(void)
{
    pthread_mutex_unlock(&library_lock);
    pthread_mutex_unlock(&merge_lock);
    pthread_mutex_unlock(&signals_lock);
}

static void fork_parent(void)
{
    fork_release();
    rcu_fork_parent();
    rings_fork_parent();
}

static atomic_u32 initialised;

static void fork_child(void)
{
    signals_fork_child(); /* while all signals are blocked, which rcu_fork_child ends */
    rcu_fork_child();
    threads_fork_child();
    listeners_fork_child();
    u32_fetch_add_relaxed(&fork_generation, 1);
    u32_store_relaxed(&odd_contexts, 1);
    ticks_fork_child();
    if (u32_load_relaxed(&initialised)) {
        fence_init();
        pool_fork_child();
        park_fork_child();
        worker_fork_child();
        clock_fork_child();
    }
    fork_release();
    rings_fork_child();
}

static bool fork_is_handled;

static int handle_fork(void)
{
    int err = fork_is_handled ? 0 : pthread_atfork(fork_prepare, fork_parent, fork_child);
    fork_is_handled = !err;
    return err;
}

/*
 * Handlers of a fork run before it in the reverse order of their registration, after it
 * in order. Ours take locks from one to the other, so whoever registered earlier and
 * uses canopy would meet them taken: we are first, ahead of what has no priority in a
 * program that has the library in it. The allocator alone is to be earlier: we allocate
 * with locks held (a thread's start), so its locks must be the last that are taken. What
 * registers with its first allocation does so now; a compiler does not see this one,
 * nor does who puts another function in malloc's place for this file.
 */
__attribute__((constructor(101))) static void load(void)
{
    void *(*volatile allocate)(size_t) = (malloc);
    (free)(allocate(1));
    threads_init();
    handle_fork(); /* or with the first use, which can say that it fails */
}

static int initialise(void)
{
    int err = handle_fork();
    if (err)
        return err;
    fence_init();
    ticks_init();
    pool_init();
    ctx_init();
    worker_init();
    u32_store_release(&initialised, 1); /* IN1 */
    return 0;
}

int library_init(void)
{
    if (likely(u32_load_acquire(&initialised))) /* IN1 */
        return 0;
    int cancelable = cancellation_hold(); /* files are read */
    pthread_mutex_lock(&library_lock);
    int err = u32_load_relaxed(&initialised) ? 0 : initialise();
    pthread_mutex_unlock(&library_lock);
    cancellation_restore(cancelable);
    return err;
}
