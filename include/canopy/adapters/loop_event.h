/*
 * loop_event.h - canopy in a libevent loop. libevent 2.1 calls nobody before it
 * sleeps, so its loop is run a turn at a time, by loop_event_dispatch in the place of
 * event_base_dispatch. An event on canopy's fd and a timer end its sleep.
 *
 *     struct loop_event adapter;
 *     loop_event_open(&adapter, base, root);
 *     ... canopy_loop_after_func(ctx, &adapter.loop, ...) ...
 *     loop_event_dispatch(&adapter);
 *
 * libevent's callbacks run between the sleep and canopy's, where canopy has been told
 * the time of before the sleep. A timeout that is made there counts from then, and ends
 * early, unless canopy is told first:
 * canopy_loop_tell_time(&adapter.loop, canopy_now_ns()).
 * canopy_loop_awake beside it spares a write to the fd, by which the loop would wake itself.
 *
 * By default libevent reads a coarse clock: deadlines are some milliseconds late. A
 * base that is configured with EVENT_BASE_FLAG_PRECISE_TIMER has them within one.
 */
#ifndef CANOPY_ADAPTERS_LOOP_EVENT_H
#define CANOPY_ADAPTERS_LOOP_EVENT_H

#include <canopy/loop.h>

#include <errno.h>
#include <event2/event.h>

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

struct loop_event {
    canopy_loop loop;
    struct event_base *base;
    struct event *wake;  /* canopy's fd */
    struct event *timer; /* the longest sleep, if there is one */
};

/* Both events only end the sleep. */
static inline void loop_event_woken(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

static inline void loop_event_free_events(struct loop_event *adapter)
{
    if (adapter->wake)
        event_free(adapter->wake);
    if (adapter->timer)
        event_free(adapter->timer);
    adapter->wake = adapter->timer = NULL;
}

/* 0, -ENOMEM, or the negative errno of canopy_loop_init. Ownership: loop_event_close. */
static inline int loop_event_open(struct loop_event *adapter, struct event_base *base,
                                  canopy_ctx *root)
{
    int err = canopy_loop_init(&adapter->loop, root);
    if (err != 0)
        return err;
    adapter->base = base;
    adapter->wake = event_new(base, canopy_loop_fd(&adapter->loop), EV_READ | EV_PERSIST,
                              loop_event_woken, NULL);
    adapter->timer = evtimer_new(base, loop_event_woken, NULL);
    if (adapter->wake && adapter->timer && event_add(adapter->wake, NULL) == 0)
        return 0;
    loop_event_free_events(adapter);
    canopy_loop_close(&adapter->loop);
    return -ENOMEM;
}

static inline int loop_event_set_timer(struct loop_event *adapter, int64_t sleep_ns)
{
    if (sleep_ns == CANOPY_NEVER)
        return evtimer_del(adapter->timer);
    int64_t sleep_us = sleep_ns / 1000 + (sleep_ns % 1000 > 0);
    struct timeval timeout = {sleep_us / 1000000, sleep_us % 1000000};
    return evtimer_add(adapter->timer, &timeout);
}

/*
 * Sleeps until there is something to do, and does it, libevent's first: 0, or a
 * negative errno (-EIO: libevent failed). Not from a callback of either.
 */
static inline int loop_event_turn(struct loop_event *adapter)
{
    int64_t sleep_ns = canopy_loop_timeout_ns(&adapter->loop, canopy_now_ns());
    if (sleep_ns < 0)
        return (int)sleep_ns;
    if (loop_event_set_timer(adapter, sleep_ns) != 0 ||
        event_base_loop(adapter->base, EVLOOP_ONCE) < 0)
        return -EIO;
    int ran = canopy_loop_run(&adapter->loop, canopy_now_ns());
    return ran < 0 ? ran : 0;
}

static inline bool loop_event_is_alone(const struct loop_event *adapter)
{
    int own = 1 + (evtimer_pending(adapter->timer, NULL) != 0);
    return event_base_get_num_events(adapter->base,
                                     EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_VIRTUAL) == own;
}

/*
 * Takes turns, as event_base_dispatch does: 1 when no event but the adapter's is left,
 * though callbacks are armed; 0 after event_base_loopexit or event_base_loopbreak, which
 * may be called from callbacks of both; or a negative errno.
 */
static inline int loop_event_dispatch(struct loop_event *adapter)
{
    while (!loop_event_is_alone(adapter)) {
        int err = loop_event_turn(adapter);
        if (err != 0)
            return err;
        if (event_base_got_exit(adapter->base) || event_base_got_break(adapter->base))
            return 0;
    }
    return 1;
}

/* As canopy_loop_close, -EBUSY included; -EINVAL when it is closed already. The base stays. */
static inline int loop_event_close(struct loop_event *adapter)
{
    if (!adapter->wake)
        return -EINVAL;
    /* libevent lets go of an fd before that is closed. */
    event_del(adapter->wake);
    int err = canopy_loop_close(&adapter->loop);
    if (err != 0) {
        event_add(adapter->wake, NULL);
        return err;
    }
    loop_event_free_events(adapter);
    return 0;
}

#pragma GCC diagnostic pop
#ifdef __cplusplus
}
#endif

#endif
