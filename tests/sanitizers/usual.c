/*
 * usual.c - a program as others write it, with a little of each: contexts in threads,
 * deadlines, callbacks, waits, a group, a signal, a loop. What it shares between its own
 * threads lies under a mutex, which every tool understands: so whatever one reports is
 * about canopy. With the argument "planted" there is a race to be reported.
 */
#include <canopy/canopy.h>
#include <canopy/loop.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)
#define HOUR        (INT64_C(3600) * 1000 * MILLISECOND)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int events;

static void count(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    events++;
    pthread_mutex_unlock(&mutex);
}

static int counted(void)
{
    pthread_mutex_lock(&mutex);
    int so_far = events;
    pthread_mutex_unlock(&mutex);
    return so_far;
}

/* On the heap of neither: a record that another thread has used is no place for others. */
static canopy_callback records[4];

static int derive_and_end(const canopy_ctx *ctx, void *record)
{
    for (int i = 0; i < 20; i++) {
        canopy_ctx *child = canopy_with_timeout(ctx, HOUR);
        if (!child || canopy_after_func(child, record, count, NULL) != 0)
            return -1;
        if (i % 2 == 0)
            canopy_callback_stop(record);
        canopy_end(child);
    }
    return 0;
}

static void *wait_until_done(void *ctx)
{
    canopy_wait(ctx, CANOPY_NEVER);
    count(NULL);
    return NULL;
}

static bool group_works(const canopy_ctx *root)
{
    canopy_group group;
    if (canopy_group_init(&group, root, 2) != 0)
        return false;
    bool started = true;
    for (int i = 0; i < 4; i++)
        started = canopy_group_go(&group, derive_and_end, &records[i]) == 0 && started;
    return canopy_group_wait(&group) == 0 && started && counted() == 40;
}

static bool wait_works(const canopy_ctx *root)
{
    pthread_t waiter;
    canopy_ctx *ctx = canopy_with_cancel(root);
    if (!ctx || pthread_create(&waiter, NULL, wait_until_done, ctx) != 0)
        return false;
    canopy_cancel(ctx);
    pthread_join(waiter, NULL);
    canopy_end(ctx);
    return counted() == 41;
}

/* On the library's threads. */
static bool expiry_and_signal_work(const canopy_ctx *root)
{
    const int number = SIGUSR1;
    canopy_ctx *timed = canopy_with_timeout(root, MILLISECOND);
    canopy_ctx *signalled = canopy_with_signals(root, &number, 1);
    if (!timed || !signalled || canopy_after_func(timed, &records[0], count, NULL) != 0 ||
        canopy_after_func(signalled, &records[1], count, NULL) != 0)
        return false;
    kill(getpid(), SIGUSR1);
    const canopy_ctx *const both[] = {timed, signalled};
    canopy_ctx *any = canopy_with_any(both, 2);
    canopy_wait_any(both, 2, CANOPY_NEVER);
    while (counted() < 43)
        canopy_sleep(root, MILLISECOND);
    canopy_callback_join(&records[0]);
    canopy_callback_join(&records[1]);
    canopy_end(any);
    canopy_end(signalled);
    canopy_end(timed);
    return any;
}

static bool loop_works(const canopy_ctx *root)
{
    static canopy_loop_callback record;
    canopy_loop loop;
    canopy_ctx *ctx = canopy_with_timeout(root, MILLISECOND);
    if (!ctx || canopy_loop_init(&loop, NULL) != 0 ||
        canopy_loop_after_func(ctx, &loop, &record, count, NULL) != 0)
        return false;
    while (canopy_loop_run(&loop, canopy_now_ns()) == 0)
        canopy_sleep(root, MILLISECOND);
    canopy_end(ctx);
    return canopy_loop_close(&loop) == 0 && counted() == 44;
}

static int datum;

static void *write_datum(void *unused)
{
    datum++;
    return unused;
}

static void race(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, write_datum, NULL) != 0)
        return;
    datum++;
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    canopy_ctx *root = canopy_with_cancel(canopy_background());
    if (!root || !group_works(root) || !wait_works(root) || !expiry_and_signal_work(root) ||
        !loop_works(root))
        return 1;
    if (argc > 1 && strcmp(argv[1], "planted") == 0)
        race();
    canopy_wait_idle(root, canopy_now_ns() + 1000 * MILLISECOND);
    canopy_end(root);
    puts("all of it works");
    return 0;
}
