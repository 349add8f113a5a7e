/*
 * loop_epoll.h - canopy in a loop over epoll: a set of file descriptors with the
 * canopy_loop's among them, and one turn of it.
 *
 *     struct loop_epoll loop;
 *     loop_epoll_open(&loop, root);
 *     ... epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, ...) ...
 *     ... canopy_loop_after_func(ctx, &loop.loop, ...) ...
 *     for (;;) {
 *         int n = loop_epoll_turn(&loop, events, EVENTS);
 *         ... handle the n events ...
 *     }
 */
#ifndef CANOPY_ADAPTERS_LOOP_EPOLL_H
#define CANOPY_ADAPTERS_LOOP_EPOLL_H

#include <canopy/loop.h>

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Others' warnings of how a header of theirs is written are not for this one. */
#pragma GCC diagnostic push
#ifdef __cplusplus
#pragma GCC diagnostic ignored "-Wold-style-cast"
#else
#pragma GCC diagnostic ignored "-Wdeclaration-after-statement"
#endif

struct loop_epoll {
    canopy_loop loop;
    int epoll_fd;
};

/* 0, or the negative errno of canopy_loop_init or epoll. Ownership: loop_epoll_close. */
static inline int loop_epoll_open(struct loop_epoll *adapter, canopy_ctx *root)
{
    int err = canopy_loop_init(&adapter->loop, root);
    if (err != 0)
        return err;
    struct epoll_event event;
    event.events = EPOLLIN;
    event.data.ptr = adapter;
    adapter->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (adapter->epoll_fd >= 0 &&
        epoll_ctl(adapter->epoll_fd, EPOLL_CTL_ADD, canopy_loop_fd(&adapter->loop), &event) == 0)
        return 0;
    err = -errno;
    if (adapter->epoll_fd >= 0)
        close(adapter->epoll_fd);
    canopy_loop_close(&adapter->loop);
    return err;
}

/*
 * Sleeps until there is something to do, runs the callbacks that are due, and gives
 * the caller its events: how many (0 also when only canopy had something, or a signal
 * came), or a negative errno. Not from a callback of the loop.
 *
 * The callbacks have run when it returns. What one of them closes may still be named
 * by an event, so free such things after the events of the turn.
 */
static inline int loop_epoll_turn(struct loop_epoll *adapter, struct epoll_event *events,
                                  int capacity)
{
    if (capacity < 1)
        return -EINVAL;
    int64_t sleep_ns = canopy_loop_timeout_ns(&adapter->loop, canopy_now_ns());
    if (sleep_ns < 0)
        return (int)sleep_ns;
    int count = epoll_wait(adapter->epoll_fd, events, capacity, canopy_loop_timeout_ms(sleep_ns));
    if (count < 0 && errno != EINTR)
        return -errno;
    int ran = canopy_loop_run(&adapter->loop, canopy_now_ns());
    if (ran < 0)
        return ran;
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == adapter) {
            events[i] = events[--count];
            break;
        }
    }
    return count > 0 ? count : 0;
}

/* As canopy_loop_close, -EBUSY included; the set of file descriptors is closed with it. */
static inline int loop_epoll_close(struct loop_epoll *adapter)
{
    int err = canopy_loop_close(&adapter->loop);
    if (err == 0)
        close(adapter->epoll_fd);
    return err;
}

#pragma GCC diagnostic pop
#ifdef __cplusplus
}
#endif

#endif
