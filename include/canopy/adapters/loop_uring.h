/*
 * loop_uring.h - an io_uring as an event loop, and requests under a context: when that
 * ends, the request is cancelled in the kernel.
 *
 *     struct loop_uring uring;
 *     loop_uring_open(&uring, 64, root);
 *     struct io_uring_sqe *sqe = loop_uring_sqe(&uring);
 *     io_uring_prep_recv(sqe, fd, buffer, sizeof buffer, 0);
 *     loop_uring_start(&uring, ctx, &request, sqe, received);
 *     while (uring.in_flight > 0)
 *         loop_uring_turn(&uring);
 *
 * Everything happens on the thread that opened it. Each request that was started is
 * completed exactly once, with what the kernel says: its result if that came first,
 * -ECANCELED if it was cancelled (-EINTR where it was interrupted half way). Until then
 * its memory and its buffers are the kernel's.
 *
 * A request is named to the kernel by its address, so it is not handed back while a
 * cancel of it is on its way: that could hit the next one there.
 */
#ifndef CANOPY_ADAPTERS_LOOP_URING_H
#define CANOPY_ADAPTERS_LOOP_URING_H

#include <canopy/loop.h>

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>

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

struct loop_uring_request;

struct loop_uring {
    canopy_loop loop;
    struct io_uring ring;
    struct loop_uring_request *to_cancel;
    unsigned in_flight; /* requests started and not completed */
    bool polled;        /* the kernel watches the loop's fd */
};

/* Placed by the caller, zeroed before its first use. Its fields are the adapter's. */
struct loop_uring_request {
    canopy_loop_callback callback;
    struct loop_uring *adapter;
    void (*completed)(struct loop_uring_request *request, int result);
    struct loop_uring_request *next; /* to be cancelled */
    int result;
    bool answered;    /* the kernel is done with it */
    unsigned awaited; /* the answer to it, and to its cancel */
};

/* Added to the address of a request: the answer to its cancel. */
#define LOOP_URING_CANCEL UINT64_C(1)

/*
 * `entries` as for io_uring_queue_init. 0, or a negative errno of that, or of
 * canopy_loop_init; -ENOSYS on a kernel before 5.11. Ownership: loop_uring_close.
 */
static inline int loop_uring_open(struct loop_uring *adapter, unsigned entries, canopy_ctx *root)
{
    memset(adapter, 0, sizeof *adapter);
    int err = io_uring_queue_init(entries, &adapter->ring, 0);
    if (err != 0)
        return err;
    err = adapter->ring.features & IORING_FEAT_EXT_ARG ? canopy_loop_init(&adapter->loop, root)
                                                       : -ENOSYS;
    if (err != 0)
        io_uring_queue_exit(&adapter->ring);
    return err;
}

/* As canopy_loop_close; also -EBUSY while requests are in flight. The ring goes with it. */
static inline int loop_uring_close(struct loop_uring *adapter)
{
    int err = adapter->in_flight > 0 ? -EBUSY : canopy_loop_close(&adapter->loop);
    if (err == 0)
        io_uring_queue_exit(&adapter->ring);
    return err;
}

/* An entry to be prepared; NULL where the kernel takes no more before a turn. */
static inline struct io_uring_sqe *loop_uring_sqe(struct loop_uring *adapter)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&adapter->ring);
    if (!sqe && io_uring_submit(&adapter->ring) >= 0)
        sqe = io_uring_get_sqe(&adapter->ring);
    return sqe;
}

/* Runs when the context has ended. The kernel is told at the end of the turn. */
static inline void loop_uring_cancel(void *arg)
{
    struct loop_uring_request *request = (struct loop_uring_request *)arg;
    request->awaited++;
    request->next = request->adapter->to_cancel;
    request->adapter->to_cancel = request;
}

/*
 * Starts what is prepared in `sqe` under `ctx`: 0, and `completed` is called once, in a
 * turn, and may start the request anew or free it. Otherwise a negative errno, nothing
 * is started, and `sqe` is void: the error of `ctx`, if that is done already, or those
 * of canopy_loop_after_func. For requests that the kernel answers once, which rules out
 * multishot ones.
 */
static inline int loop_uring_start(struct loop_uring *adapter, const canopy_ctx *ctx,
                                   struct loop_uring_request *request, struct io_uring_sqe *sqe,
                                   void (*completed)(struct loop_uring_request *request,
                                                     int result))
{
    int err = ctx && completed ? canopy_err(ctx) : -EINVAL;
    if (err == 0)
        err = canopy_loop_after_func(ctx, &adapter->loop, &request->callback, loop_uring_cancel,
                                     request);
    if (err != 0) {
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data64(sqe, 0);
        return err;
    }
    request->adapter = adapter;
    request->completed = completed;
    request->answered = false;
    request->awaited = 1;
    adapter->in_flight++;
    io_uring_sqe_set_data(sqe, request);
    return 0;
}

/* One answer less to wait for; how many requests that completes. */
static inline int loop_uring_settle(struct loop_uring_request *request)
{
    if (--request->awaited > 0)
        return 0;
    request->adapter->in_flight--;
    request->completed(request, request->result);
    return 1;
}

static inline int loop_uring_answer(struct loop_uring *adapter, uint64_t data, int result)
{
    struct loop_uring_request *request =
        (struct loop_uring_request *)(uintptr_t)(data & ~LOOP_URING_CANCEL);
    if (data == (uintptr_t)adapter)
        adapter->polled = false;
    if (data == 0 || data == (uintptr_t)adapter)
        return 0;
    if (!(data & LOOP_URING_CANCEL)) {
        request->result = result;
        request->answered = true;
        canopy_loop_callback_stop(&request->callback);
    }
    return loop_uring_settle(request);
}

static inline int loop_uring_answers(struct loop_uring *adapter)
{
    int completed = 0;
    struct io_uring_cqe *cqe;
    for (unsigned most = io_uring_cq_ready(&adapter->ring);
         most > 0 && io_uring_peek_cqe(&adapter->ring, &cqe) == 0; most--) {
        uint64_t data = cqe->user_data;
        int result = cqe->res;
        io_uring_cqe_seen(&adapter->ring, cqe);
        completed += loop_uring_answer(adapter, data, result);
    }
    return completed;
}

static inline int loop_uring_cancels(struct loop_uring *adapter)
{
    int completed = 0;
    while (adapter->to_cancel) {
        struct loop_uring_request *request = adapter->to_cancel;
        struct io_uring_sqe *sqe = request->answered ? NULL : loop_uring_sqe(adapter);
        if (!request->answered && !sqe)
            break; /* in the next turn */
        adapter->to_cancel = request->next;
        if (sqe) {
            io_uring_prep_cancel(sqe, request, 0);
            io_uring_sqe_set_data64(sqe, (uintptr_t)request | LOOP_URING_CANCEL);
        } else {
            completed += loop_uring_settle(request);
        }
    }
    return completed;
}

/* Asked for anew after each answer, it tells of every write, whenever that was. */
static inline bool loop_uring_poll(struct loop_uring *adapter)
{
    struct io_uring_sqe *sqe = adapter->polled ? NULL : loop_uring_sqe(adapter);
    if (sqe) {
        io_uring_prep_poll_add(sqe, canopy_loop_fd(&adapter->loop), POLLIN);
        io_uring_sqe_set_data(sqe, adapter);
        adapter->polled = true;
    }
    return adapter->polled;
}

/*
 * Submits, sleeps until there is something to do, runs the callbacks that are due and
 * completes requests: how many, or a negative errno. Not from a callback of the loop
 * nor from `completed`.
 */
static inline int loop_uring_turn(struct loop_uring *adapter)
{
    int64_t sleep_ns = canopy_loop_timeout_ns(&adapter->loop, canopy_now_ns());
    if (sleep_ns < 0)
        return (int)sleep_ns;
    if (!loop_uring_poll(adapter) || adapter->to_cancel)
        sleep_ns = 0;
    struct io_uring_cqe *cqe;
    struct __kernel_timespec timeout;
    timeout.tv_sec = sleep_ns / 1000000000;
    timeout.tv_nsec = sleep_ns % 1000000000;
    int err = io_uring_submit_and_wait_timeout(&adapter->ring, &cqe, 1,
                                               sleep_ns == CANOPY_NEVER ? NULL : &timeout, NULL);
    /* Busy is a kernel with more answers than there is room for: they are taken below. */
    if (err < 0 && err != -ETIME && err != -EINTR && err != -EAGAIN && err != -EBUSY)
        return err;
    int ran = canopy_loop_run(&adapter->loop, canopy_now_ns());
    if (ran < 0)
        return ran;
    int completed = loop_uring_answers(adapter);
    return completed + loop_uring_cancels(adapter);
}

#pragma GCC diagnostic pop
#ifdef __cplusplus
}
#endif

#endif
