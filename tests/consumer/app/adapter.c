/*
 * adapter.c - a program as a user of the installed adapters would write it: a loop over
 * epoll that a deadline of its root's wakes, and a semaphore that is not waited for
 * beyond it. Exits with 0 if everything behaved.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <canopy/adapters/blocking.h>
#include <canopy/adapters/loop_epoll.h>

#include <stdio.h>

static void count(void *runs)
{
    ++*(int *)runs;
}

int main(void)
{
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = canopy_now_ns()};
    canopy_ctx *root = canopy_root_new(&config);
    struct loop_epoll loop;
    if (!root || loop_epoll_open(&loop, root) != 0)
        return 1;

    int runs = 0;
    canopy_loop_callback on_end = {.canopy_fn = NULL};
    canopy_ctx *request = canopy_with_timeout(root, 10 * INT64_C(1000000));
    if (!request || canopy_loop_after_func(request, &loop.loop, &on_end, count, &runs) != 0)
        return 2;
    struct epoll_event event;
    while (runs == 0)
        if (loop_epoll_turn(&loop, &event, 1) != 0)
            return 3;

    struct blocking_sem sem;
    if (blocking_sem_init(&sem, 1) != 0 ||
        blocking_sem_wait(request, &sem, CANOPY_NEVER) != -ETIMEDOUT ||
        blocking_sem_wait(root, &sem, CANOPY_NEVER) != 0)
        return 4;
    printf("the request ended: %s\n", canopy_cause_of(request)->text);
    canopy_end(request);
    blocking_sem_destroy(&sem);
    return loop_epoll_close(&loop) == 0 ? 0 : 5;
}
