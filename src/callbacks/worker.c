/*
 * worker.c - the library's worker: a list of callbacks, a hand-over stack of contexts,
 * and a thread.
 *
 * Ordering pairs:
 *   J1/J2  J1: add, then advance the word and wake; J2: read the word, look, sleep while the
 *         word is what was read. The advance is a read-modify-write after what was added, so
 *         the worker either sees that or does not sleep. Without it a callback waits for
 *         the next one.
 *   J3/J3  `started` is set by a release, once the thread is made. Without it what the thread
 *         was given is nobody's.
 */
#include "callbacks/worker.h"

#include <errno.h>

#include "base/probe.h"
#include "callbacks/run_list.h"

static struct run_list callbacks;
static struct handoff endings;
static atomic_u32 advance;
static atomic_u32 started; /* set under library_lock */

/* Of the endings, what the worker has taken; oldest first. */
static struct handoff_node *taken;

static struct canopy_ctx *next_ending(void)
{
    if (!taken)
        taken = handoff_reverse(handoff_take_all(&endings));
    struct handoff_node *node = taken;
    if (!node)
        return NULL;
    taken = handoff_next(node);
    return node_ctx(node);
}

/* Apart: the loop around it is one that a clean-up goes on with. */
static void run_callback(struct canopy_callback *record)
{
    void (*fn)(void *) = record->canopy_fn;
    PROBE3(callback_begin, record, fn, record->canopy_arg);
    callback_run(record);
    PROBE2(callback_end, record, fn);
}

/*
 * A callback that ends its thread, by pthread_exit or by cancellation, must not end
 * the worker: it goes on from the clean-up, as the same thread, because records name
 * it as the one that will run them, and because no other thread may be to be had.
 * Each such death costs a frame of stack.
 */
static void work(void *unused)
{
    pthread_cleanup_push(work, unused);
    for (;;) {
        uint32_t seen = u32_load_acquire(&advance); /* J2 */
        struct canopy_callback *record = run_list_pop(&callbacks);
        struct canopy_ctx *ending = record ? NULL : next_ending();
        if (record)
            run_callback(record);
        else if (ending)
            ctx_end_now(ending);
        else
            futex_wait(&advance.value, seen, CANOPY_NEVER);
    }
    pthread_cleanup_pop(0);
}

static void worker_main(const struct thread_role *self)
{
    (void)self;
    work(NULL);
}

int worker_start_locked(void)
{
    static const struct thread_role role = {
        .name = "canopy-worker", .run = worker_main, .runs_user_code = true, .is_worker = true};
    if (worker_is_started())
        return 0;
    int err = thread_start(&role);
    if (!err)
        u32_store_release(&started, 1); /* J3 */
    return err;
}

bool worker_is_started(void)
{
    return u32_load_acquire(&started); /* J3 */
}

int worker_start(void)
{
    if (worker_is_started())
        return 0;
    if (library_init() != 0)
        return EAGAIN;
    pthread_mutex_lock(&library_lock);
    int err = worker_start_locked();
    pthread_mutex_unlock(&library_lock);
    return err;
}

static void wake(void)
{
    u32_fetch_add_acq_rel(&advance, 1); /* J1 */
    futex_wake_all(&advance);
}

void worker_run(struct canopy_callback *records)
{
    run_list_add(&callbacks, records);
    wake();
}

bool worker_end(struct canopy_ctx *ctx)
{
    if (worker_start() != 0)
        return false;
    handoff_push(&endings, ctx_node(ctx));
    wake();
    return true;
}

void worker_init(void)
{
    run_list_open(&callbacks, RUNNER_WORKER);
}

void worker_fork_child(void)
{
    run_list_fork_child();
    run_list_open(&callbacks, RUNNER_WORKER);
    endings = (struct handoff){0};
    taken = NULL;
    u32_store_relaxed(&started, 0);
}
