/*
 * worker.c - the library's worker: two hand-over stacks and a thread.
 *
 * K1: push, then advance the word and wake; K2: read the word, take, sleep while
 * the word is what was read. The advance is a read-modify-write after the push,
 * so the worker either sees the push or does not sleep.
 */
#include "worker.h"

static struct handoff callbacks;
static struct handoff endings;
static atomic_u32 advance;
static bool is_started; /* under library_lock */

/* What the worker has taken, oldest first. */
static struct backlog {
    struct canopy_callback *callbacks;
    struct handoff_node *endings;
} backlog;

static struct handoff_node *next_of(struct handoff_node **list)
{
    struct handoff_node *node = *list;
    *list = handoff_next(node);
    return node;
}

/* Takes what callbacks were pushed to the end of the backlog, which `at` is. */
static void callbacks_take(struct canopy_callback **at)
{
    struct handoff_node *node = handoff_reverse(handoff_take_all(&callbacks));
    for (struct handoff_node *next; node; node = next) {
        struct canopy_callback *record = node_record(node);
        next = handoff_next(node);
        record->canopy_next = NULL;
        record->canopy_at = at;
        *at = record;
        at = &record->canopy_next;
    }
}

/* For a callback that wants one back which is still to come. */
static void await_callbacks(void)
{
    uint32_t seen = u32_load_acquire(&advance); /* K2 */
    struct canopy_callback **at = &backlog.callbacks;
    while (*at)
        at = &(*at)->canopy_next;
    callbacks_take(at);
    if (!*at)
        futex_wait(&advance.value, seen, CANOPY_NEVER);
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
        uint32_t seen = u32_load_acquire(&advance); /* K2 */
        if (!backlog.callbacks && !backlog.endings) {
            callbacks_take(&backlog.callbacks);
            backlog.endings = handoff_reverse(handoff_take_all(&endings));
        }
        if (!backlog.callbacks && !backlog.endings)
            futex_wait(&advance.value, seen, CANOPY_NEVER);
        while (backlog.callbacks)
            callback_run(record_pop(&backlog.callbacks));
        while (backlog.endings)
            ctx_end_now(node_ctx(next_of(&backlog.endings)));
    }
    pthread_cleanup_pop(0);
}

static void worker_main(void)
{
    work(NULL);
}

int worker_start_locked(void)
{
    static const struct thread_role role = {
        .name = "canopy-worker", .run = worker_main, .runs_user_code = true};
    int err = is_started ? 0 : thread_start(&role);
    is_started = !err;
    return err;
}

static void wake(void)
{
    u32_fetch_add_acq_rel(&advance, 1); /* K1 */
    futex_wake_all(&advance);
}

static bool pushed; /* since the last worker_wake; the clock's */

void worker_push(struct canopy_callback *record)
{
    handoff_push(&callbacks, record_node(record));
    pushed = true;
}

void worker_wake(void)
{
    if (!pushed)
        return;
    pushed = false;
    wake();
}

/* For a context that dies on a thread where its value's destructor must not run. */
static bool end_elsewhere(struct canopy_ctx *ctx)
{
    pthread_mutex_lock(&library_lock);
    int err = worker_start_locked();
    pthread_mutex_unlock(&library_lock);
    if (err)
        return false;
    handoff_push(&endings, ctx_node(ctx));
    wake();
    return true;
}

void worker_init(void)
{
    ctx_hooks.end_elsewhere = end_elsewhere;
    callbacks_await = await_callbacks;
}

void worker_fork_child(void)
{
    callbacks = (struct handoff){0};
    endings = (struct handoff){0};
    backlog = (struct backlog){0};
    is_started = false;
}
