/*
 * loop_uv.h - canopy in a libuv loop. Before libuv sleeps a prepare handle asks
 * canopy how long it may, and sets a timer to that; a poll handle wakes it for other
 * threads; after the sleep a check handle runs what is due.
 *
 *     struct loop_uv adapter;
 *     loop_uv_open(&adapter, uv_default_loop(), root);
 *     ... canopy_loop_after_func(ctx, &adapter.loop, ...) ...
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *
 * On the thread that calls uv_run. None of the handles keeps uv_run going: it ends
 * when nothing else is left to do, though callbacks are armed. Who wants them waited
 * for calls uv_ref((uv_handle_t *)&adapter.poll).
 *
 * libuv's order within a turn has two consequences:
 *
 *  - Callbacks of I/O run between the sleep and the check, where canopy has been told
 *    the time of before the sleep. A timeout that is made there counts from then, and
 *    ends early, unless canopy is told first:
 *    canopy_loop_tell_time(&adapter.loop, canopy_now_ns()).
 *    canopy_loop_awake beside it spares a write to the fd, by which the loop would wake itself.
 *  - The prepare handle that was started last runs first. One that ends contexts is best
 *    started after this is opened; else the fd is written to end a sleep not yet begun.
 */
#ifndef CANOPY_ADAPTERS_LOOP_UV_H
#define CANOPY_ADAPTERS_LOOP_UV_H

#include <canopy/loop.h>

#include <uv.h>

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

struct loop_uv {
    canopy_loop loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uv_poll_t poll;
    void (*closed)(struct loop_uv *adapter);
    int handles; /* not closed yet */
};

/* The timer and the fd only end the sleep; what is due runs in the check. */
static inline void loop_uv_timer_fired(uv_timer_t *timer)
{
    (void)timer;
}

static inline void loop_uv_fd_ready(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
}

static inline void loop_uv_before_sleep(uv_prepare_t *prepare)
{
    struct loop_uv *adapter = (struct loop_uv *)prepare->data;
    int64_t sleep_ns = canopy_loop_timeout_ns(&adapter->loop, (int64_t)uv_hrtime());
    /* Negative in a child after fork, which has no use for the loop. */
    if (sleep_ns < 0 || sleep_ns == CANOPY_NEVER)
        uv_timer_stop(&adapter->timer);
    else
        uv_timer_start(&adapter->timer, loop_uv_timer_fired,
                       (uint64_t)canopy_loop_timeout_ms(sleep_ns), 0);
}

static inline void loop_uv_after_sleep(uv_check_t *check)
{
    struct loop_uv *adapter = (struct loop_uv *)check->data;
    canopy_loop_run(&adapter->loop, (int64_t)uv_hrtime());
}

static inline void loop_uv_handle_closed(uv_handle_t *handle)
{
    struct loop_uv *adapter = (struct loop_uv *)handle->data;
    if (--adapter->handles == 0 && adapter->closed)
        adapter->closed(adapter);
}

/*
 * 0, or the negative errno of canopy_loop_init or libuv; `adapter` then is unused.
 * Ownership: loop_uv_close.
 */
static inline int loop_uv_open(struct loop_uv *adapter, uv_loop_t *uv, canopy_ctx *root)
{
    int err = canopy_loop_init(&adapter->loop, root);
    if (err != 0)
        return err;
    err = uv_poll_init(uv, &adapter->poll, canopy_loop_fd(&adapter->loop));
    if (err != 0) {
        canopy_loop_close(&adapter->loop);
        return err;
    }
    uv_prepare_init(uv, &adapter->prepare);
    uv_check_init(uv, &adapter->check);
    uv_timer_init(uv, &adapter->timer);
    adapter->poll.data = adapter->prepare.data = adapter->check.data = adapter->timer.data =
        adapter;
    uv_poll_start(&adapter->poll, UV_READABLE, loop_uv_fd_ready);
    uv_prepare_start(&adapter->prepare, loop_uv_before_sleep);
    uv_check_start(&adapter->check, loop_uv_after_sleep);
    uv_unref((uv_handle_t *)&adapter->poll);
    uv_unref((uv_handle_t *)&adapter->prepare);
    uv_unref((uv_handle_t *)&adapter->check);
    uv_unref((uv_handle_t *)&adapter->timer);
    return 0;
}

/*
 * As canopy_loop_close: 0, -EBUSY while callbacks are armed, and nothing has changed,
 * or -EINVAL when it is closed already. After 0, `closed` (unless NULL) is called in a
 * later turn of uv_run; `adapter` stays in place until then.
 */
static inline int loop_uv_close(struct loop_uv *adapter, void (*closed)(struct loop_uv *adapter))
{
    if (uv_is_closing((uv_handle_t *)&adapter->poll))
        return -EINVAL;
    /* libuv lets go of an fd before that is closed. */
    uv_poll_stop(&adapter->poll);
    int err = canopy_loop_close(&adapter->loop);
    if (err != 0) {
        uv_poll_start(&adapter->poll, UV_READABLE, loop_uv_fd_ready);
        return err;
    }
    adapter->closed = closed;
    adapter->handles = 4;
    uv_close((uv_handle_t *)&adapter->poll, loop_uv_handle_closed);
    uv_close((uv_handle_t *)&adapter->prepare, loop_uv_handle_closed);
    uv_close((uv_handle_t *)&adapter->check, loop_uv_handle_closed);
    uv_close((uv_handle_t *)&adapter->timer, loop_uv_handle_closed);
    return 0;
}

#pragma GCC diagnostic pop
#ifdef __cplusplus
}
#endif

#endif
