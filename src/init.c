/*
 * init.c - wires the layers together on first use, and takes them over a fork.
 *
 * After a fork the child has one thread. The locks are held by the forking thread
 * around the fork, so they are free afterwards; threads of the library are gone,
 * and start again when needed; inherited memory is told by its generation and
 * never armed, written to an fd, or reused.
 */
#include "clock.h"
#include "merge.h"
#include "park.h"
#include "signals.h"
#include "ticks.h"
#include "worker.h"

static void fork_prepare(void)
{
    /* First, since it waits for grace periods, and read sections may wait for our locks. */
    rcu_fork_prepare();
    pthread_mutex_lock(&signals_lock);
    pthread_mutex_lock(&merge_lock);
    pthread_mutex_lock(&library_lock);
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
}

static void fork_child(void)
{
    rcu_fork_child();
    u32_fetch_add_relaxed(&fork_generation, 1);
    fence_init();
    pool_fork_child();
    park_fork_child();
    worker_fork_child();
    clock_fork_child();
    signals_fork_child();
    fork_release();
}

int library_init(void)
{
    static atomic_u32 initialised;
    if (likely(u32_load_acquire(&initialised)))
        return 0;
    int err = 0;
    pthread_mutex_lock(&library_lock);
    if (!u32_load_relaxed(&initialised)) {
        err = pthread_atfork(fork_prepare, fork_parent, fork_child);
        if (!err) {
            fence_init();
            ticks_init();
            pool_init();
            ctx_init();
            merge_init();
            worker_init();
            signals_init();
            u32_store_release(&initialised, 1);
        }
    }
    pthread_mutex_unlock(&library_lock);
    return err;
}
