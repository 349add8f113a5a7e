/*
 * threads.c - the threads of a program, and its calls that need help from another
 * one: a member of a group, a thread that waits, or the library's own, for signals
 * and for real time. What these do is known beforehand, in whatever order.
 */
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ----------------------------------------------------------------- whose turn it is */

static void (*turn_of)(struct run *run);

/* sem_wait returns early where a handler does not restart it: two threads would have the turn. */
static void await(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        ;
}

static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    for (;;) {
        await(&thread->go);
        if (thread->must_end)
            return NULL;
        turn_of(thread->run);
        sem_post(&thread->run->passed);
    }
}

static void thread_begin(struct run *run, int n)
{
    struct thread *thread = &run->threads[n];
    thread->run = run;
    thread->must_end = false;
    sem_init(&thread->go, 0, 0);
    if (pthread_create(&thread->id, NULL, thread_main, thread) != 0)
        run_fail(run, "no thread");
    thread->is_alive = true;
}

static void thread_end(struct run *run, int n)
{
    struct thread *thread = &run->threads[n];
    if (!thread->is_alive)
        return;
    thread->must_end = true;
    sem_post(&thread->go);
    pthread_join(thread->id, NULL);
    sem_destroy(&thread->go);
    thread->is_alive = false;
}

void threads_run(struct run *run, void (*turn)(struct run *run))
{
    turn_of = turn;
    sem_init(&run->passed, 0, 0);
    while (run->left >= PROGRAM_CALL_BYTES) {
        run->thread = run->thread_next;
        if (run->thread == 0) {
            turn(run);
            continue;
        }
        if (!run->threads[run->thread].is_alive)
            thread_begin(run, run->thread);
        sem_post(&run->threads[run->thread].go);
        await(&run->passed);
    }
}

void threads_close(struct run *run)
{
    for (int n = 1; n < RUN_THREADS; n++)
        thread_end(run, n);
    sem_destroy(&run->passed);
}

void call_switch_thread(struct run *run, const uint8_t *arg)
{
    if (run->depth > 0)
        return; /* what called back waits for this thread */
    run->thread_next = arg[0] % RUN_THREADS;
    run_trace(run, "to %d", run->thread_next);
}

/* Its memory is left to whoever comes next. */
void call_end_thread(struct run *run, const uint8_t *arg)
{
    int n = arg[0] % RUN_THREADS;
    if (run->depth > 0 || n == 0 || n == run->thread)
        return;
    run_trace(run, "%d", n);
    thread_end(run, n);
}

/* ------------------------------------------------------------------------- group */

struct membership {
    const struct run *run;
    canopy_group group;
    int code;
};

static int member(const canopy_ctx *ctx, void *arg)
{
    struct membership *membership = arg;
    if (canopy_group_wait(&membership->group) != -EDEADLK)
        run_fail(membership->run, "a member could wait for its own group");
    canopy_end(canopy_with_cancel(ctx)); /* perhaps with no room for it */
    return membership->code ? membership->code-- : 0;
}

/* A whole group at once, seldom, for its threads cost more than all else here. */
void call_group(struct run *run, const uint8_t *arg)
{
    struct handle parent = run->handles[call_pick(run, arg[0])];
    struct membership membership = {.run = run, .code = arg[1] % 4};
    int expected = membership.code;
    if (run->depth > 0 || arg[2] % 32)
        return;
    bool full = model_is_full(&run->model, NODE_CANCEL, &parent.node, 1);
    int err = canopy_group_init(&membership.group, parent.ctx, 1);
    if (err == (full ? -EAGAIN : -ENOMEM) && (full || run_allocation_failed()))
        return;
    if (err || full)
        run_fail(run, "group_init said %d", err);
    if (canopy_err(canopy_group_ctx(&membership.group)) != model_err(&run->model, parent.node))
        run_fail(run, "a group does not begin as its parent is");
    for (int i = 0; i < 3; i++) /* each waits for the one before: the limit is one */
        if (canopy_group_go(&membership.group, member, &membership) != 0)
            run_fail(run, "group_go failed");
    err = canopy_group_wait(&membership.group);
    if (err != expected || canopy_group_wait(&membership.group) != -EINVAL)
        run_fail(run, "group_wait said %d", err);
}

/* ------------------------------------------------------------------------ waiter */

enum waiting { WAIT_FOR_ONE, WAIT_SLEEPING, WAIT_FOR_TWO, WAIT_WIDE, WAITING_COUNT };

struct waiter {
    const canopy_ctx *ctx;
    const canopy_ctx *other; /* stays live */
    enum waiting way;
    bool woken;
};

static void *waiter_main(void *arg)
{
    struct waiter *waiter = arg;
    const canopy_ctx *all[70];
    int64_t until_ns = call_soon_ns();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        all[i] = waiter->other;
    all[1] = waiter->ctx;
    switch (waiter->way) {
    case WAIT_FOR_ONE:
        waiter->woken = canopy_wait(waiter->ctx, until_ns);
        break;
    case WAIT_SLEEPING:
        waiter->woken = canopy_sleep(waiter->ctx, INT64_C(60000000000)) == -ECANCELED;
        break;
    case WAIT_FOR_TWO:
        waiter->woken = canopy_wait_any(all, 2, until_ns) == 1;
        break;
    default:
        waiter->woken = canopy_wait_any(all, sizeof all / sizeof *all, until_ns) == 1;
        break;
    }
    return NULL;
}

/* A cancel beside a thread that waits for it, or is about to. */
void call_wake(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    struct waiter waiter = {.ctx = handle.ctx, .way = arg[1] % WAITING_COUNT};
    pthread_t thread;
    if (run->depth > 0 || arg[2] % 8 || handle.node == run->handles[HANDLE_ROOT].node ||
        !model_can_end(&run->model, handle.node) || model_err(&run->model, handle.node))
        return;
    run_trace(run, "node %d", handle.node);
    waiter.other = canopy_with_cancel(canopy_background());
    if (!waiter.other)
        run_fail(run, "no context under background");
    canopy_retain(handle.ctx); /* callbacks may let go of ours while it waits */
    if (pthread_create(&thread, NULL, waiter_main, &waiter) != 0)
        run_fail(run, "no thread");
    if (arg[2] & 128)
        usleep(10); /* it is likely to sleep by then */
    model_cancel(&run->model, handle.node, NULL);
    run_foresee(run);
    if (!canopy_cancel(handle.ctx))
        run_fail(run, "node %d: cancel should have won", handle.node);
    pthread_join(thread, NULL);
    canopy_release(handle.ctx);
    canopy_release(waiter.other);
    if (!waiter.woken)
        run_fail(run, "a thread that waited for node %d was not woken", handle.node);
}

/* ----------------------------------------------------------------------- signals */

canopy_cause run_signal_causes[RUN_SIGNALS];
static struct sigaction before[RUN_SIGNALS];

int call_signal(int n)
{
    const int numbers[RUN_SIGNALS] = {SIGUSR1, SIGUSR2, SIGRTMIN + 1};
    return numbers[n];
}

void signals_remember(void)
{
    static bool remembered;
    for (int n = 0; n < RUN_SIGNALS && !remembered; n++) {
        run_signal_causes[n] = (canopy_cause){.code = call_signal(n), .text = "a signal"};
        sigaction(call_signal(n), NULL, &before[n]);
    }
    remembered = true;
}

/* Waits until callbacks have run that a thread of the library's runs. */
static void await_callbacks(struct run *run, const struct callback *const bound[], int count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    for (int i = 0; i < count; i++) {
        while (sem_timedwait(&run->ran_elsewhere, &until) != 0)
            if (errno != EINTR)
                run_fail(run, "callbacks of a signal have not run");
    }
    for (int i = 0; i < count; i++) {
        struct callback *callback = &run->callbacks[bound[i] - run->callbacks];
        callback->elsewhere = false;
        if (canopy_callback_join(&callback->record) != 0)
            run_fail(run, "a callback that ran could not be joined");
    }
}

static int bind_elsewhere(struct run *run, const struct callback *bound[])
{
    int count = 0;
    for (int i = 0; i < RUN_CALLBACKS; i++) {
        if (run->callbacks[i].state != CALLBACK_BOUND)
            continue;
        run->callbacks[i].elsewhere = true;
        bound[count++] = &run->callbacks[i];
    }
    return count;
}

/* An fd is written a moment after its context is done, but readable for who asks for it then. */
static void ask_for_fds(const struct run *run)
{
    bool held[MODEL_NODES];
    model_held(&run->model, held);
    for (int i = 0; i < run->model.count; i++)
        if (held[i] && run->fd_of[i] >= 0 && model_err(&run->model, i) &&
            canopy_done_fd(run->ctx_of[i]) != run->fd_of[i])
            run_fail(run, "node %d has another fd", i);
}

/* A signal, where somebody watches it; and that nobody does where nobody should. */
void call_raise(struct run *run, const uint8_t *arg)
{
    int n = arg[0] % RUN_SIGNALS, number = call_signal(n), count = 0;
    unsigned bit = 1U << n;
    canopy_ctx *ended[MODEL_NODES + 1];
    const struct callback *bound[RUN_CALLBACKS];
    bool held[MODEL_NODES];
    if (run->depth > 0)
        return;
    struct sigaction now;
    sigaction(number, NULL, &now);
    bool watched = model_watches(&run->model, bit);
    if ((now.sa_handler != before[n].sa_handler) != watched)
        run_fail(run, "signal %d is %s handled", number, watched ? "not" : "still");
    if (!watched)
        return;
    /* There may be none that is live: this one tells that the signal has been dealt with. */
    ended[count++] = canopy_with_signals(canopy_background(), &number, 1);
    if (!ended[0])
        run_fail(run, "no context on signal %d", number);
    model_held(&run->model, held);
    for (int i = 0; i < run->model.count; i++)
        if (held[i] && (run->model.nodes[i].signals & bit) && !model_err(&run->model, i))
            canopy_retain(ended[count++] = run->ctx_of[i]);
    run_trace(run, "%d, for %d contexts", number, count - 1);
    model_raise(&run->model, bit, &run_signal_causes[n]);
    run_foresee(run);
    int callbacks = bind_elsewhere(run, bound);
    raise(number);
    await_callbacks(run, bound, callbacks);
    for (int i = 0; i < count; i++) {
        if (!canopy_wait(ended[i], call_soon_ns()))
            run_fail(run, "signal %d does not arrive", number);
        /* It has lost, and returns when everything below is done. No callback is left to it. */
        if (canopy_cancel(ended[i]))
            run_fail(run, "a context that a signal ended was not done");
    }
    ask_for_fds(run);
    for (int i = 0; i < count; i++)
        canopy_release(ended[i]);
}

/* --------------------------------------------------------------------- real time */

static void on_time(void *arg)
{
    sem_post(arg);
}

/* A deadline that the library's clock sees, with all that hears of it. */
void call_real_timeout(struct run *run, const uint8_t *arg)
{
    struct handle parent = run->handles[HANDLE_BACKGROUND + arg[0] % 2];
    canopy_callback record;
    sem_t rung;
    if (run->depth > 0 || arg[2] % 32)
        return;
    sem_init(&rung, 0, 0);
    canopy_ctx *ctx = canopy_with_timeout(parent.ctx, 1000 + 200 * arg[1]);
    const canopy_ctx *both[] = {parent.ctx, ctx};
    if (!ctx || canopy_after_func(ctx, &record, on_time, &rung) != 0)
        run_fail(run, "no timeout under background");
    bool late = arg[1] % 2 ? canopy_wait(ctx, call_soon_ns())
                           : canopy_wait_any(both, 2, call_soon_ns()) == 1;
    if (!late || canopy_err(ctx) != -ETIMEDOUT)
        run_fail(run, "a timeout does not come");
    await(&rung);
    canopy_callback_join(&record);
    canopy_release(ctx);
    sem_destroy(&rung);
}
