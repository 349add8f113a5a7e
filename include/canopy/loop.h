/*
 * loop.h - event loops: callbacks delivered on the thread of the loop that owns
 * them, and deadlines driven by the clock that the loop reads anyway.
 *
 * A loop asks how long it may sleep, sleeps with the loop's fd among those that it
 * polls, reads its clock once, and lets canopy work:
 *
 *     canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST,
 *                             .now_ns = canopy_now_ns()};
 *     canopy_ctx *root = canopy_root_new(&config);
 *     canopy_loop loop;
 *     canopy_loop_init(&loop, root);
 *     ... add canopy_loop_fd(&loop) to what epoll watches for reading ...
 *     for (;;) {
 *         int64_t sleep_ns = canopy_loop_timeout_ns(&loop, canopy_now_ns());
 *         n = epoll_wait(epoll, events, N, canopy_loop_timeout_ms(sleep_ns));
 *         canopy_loop_run(&loop, canopy_now_ns());
 *         ... handle the n events; those on the loop's fd mean nothing more ...
 *         ... free what callbacks have closed: an event may still have named it ...
 *     }
 *
 * Timeouts under that root count from the time that the loop was last told. Where
 * every root is driven so, the process has no thread of canopy's for the clock, and
 * canopy never reads one.
 *
 * A virtual clock, for tests, is the same with invented times. Hours pass in
 * microseconds, and nothing is ever late:
 *
 *     config.now_ns = 0;
 *     ... root and loop as above ...
 *     canopy_ctx *ctx = canopy_with_timeout(root, INT64_C(3600) * 1000000000);
 *     canopy_loop_run(&loop, INT64_C(3599) * 1000000000);
 *     assert(!canopy_done(ctx));
 *     canopy_loop_run(&loop, INT64_C(3600) * 1000000000);
 *     assert(canopy_err(ctx) == -ETIMEDOUT);
 *
 * The conventions are those of canopy.h. Calls answer -EINVAL for a loop that is
 * NULL or closed or was inherited over a fork (which can be closed, no more), and
 * -EPERM on another thread than the loop's where they belong to that. A canopy_loop
 * that was zeroed counts as closed.
 */
#ifndef CANOPY_LOOP_H
#define CANOPY_LOOP_H

#include <canopy/canopy.h>
#include <limits.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loop, placed by the caller. Its field is canopy's. */
typedef struct canopy_loop {
    struct canopy_loop_state *canopy_state;
} canopy_loop;

/*
 * The record of a callback that is bound to a loop, placed by the caller, zeroed
 * before its first use, and kept in place until stop returned true, join returned
 * 0, drop returned, or fn has. Its fields are canopy's.
 */
typedef struct canopy_loop_callback {
    canopy_callback canopy_record;
    void (*canopy_fn)(void *arg);
    void *canopy_arg;
    struct canopy_loop_callback *canopy_next;
    struct canopy_loop_callback *canopy_previous;
} canopy_loop_callback;

/*
 * Makes `loop` ready; it belongs to the calling thread from now on. `root`, unless
 * NULL, is one with CANOPY_CLOCK_HOST: the loop drives its deadlines, and nobody
 * else may advance it; it must be freed after the loop is closed (canopy_root_free
 * answers -EBUSY before). 0; -EINVAL (a NULL loop, a root that is none or has the
 * library's clock); -EBUSY (another loop drives the root); -ENOMEM; -EMFILE and
 * -ENFILE as eventfd gives them. Ownership: canopy_loop_close.
 */
CANOPY_API CANOPY_MUST_USE int canopy_loop_init(canopy_loop *loop, canopy_ctx *root);

/*
 * Closes a loop; its fd is closed with it. 0; -EBUSY while a callback is armed on it
 * or waits to run, and nothing has changed: stop them, or end their contexts and run
 * the loop, or abandon it. May be called from a callback of the loop, which then runs
 * no further.
 * On the loop's thread; blocks for a grace period.
 */
CANOPY_API int canopy_loop_close(canopy_loop *loop);

/*
 * Closes a loop that still has callbacks: for who leaves with work in flight, at the end
 * of a process or of a thread. None of them runs any more. Those that wait to run count
 * as stopped: their records are free when this returns, or, where another thread is just
 * handing one over, when stop, join or drop has. Armed ones stay armed, keep their
 * contexts, and can be stopped from any thread; when such a context ends they count as
 * stopped as well. So stop, join and drop go on to work on all of them, and no record's
 * memory may go before one of them has said so. Everything else answers -EINVAL as for
 * a closed loop. Its root goes back to canopy_root_free, or, with contexts that nobody
 * will release, is left to the end of the process: its time stands still, and its memory
 * is touched by nobody who does not call. 0. On the loop's thread, also in a callback of
 * the loop, which then runs no further; blocks for a grace period. Some hundred bytes stay
 * until the process ends if anything was armed.
 */
CANOPY_API int canopy_loop_abandon(canopy_loop *loop);

/*
 * An eventfd that becomes readable when there is something to run while the loop
 * sleeps: poll it, never read it; canopy_loop_run does. It is written only then, and
 * once for any number of callbacks. Owned by the loop. From any thread; wait-free.
 */
CANOPY_API int canopy_loop_fd(const canopy_loop *loop);

/*
 * How long the loop may sleep from `now_ns` on: nanoseconds, 0 when there is
 * something to run, CANOPY_NEVER when nothing is pending. Ask before each sleep:
 * unless the answer is 0 the loop counts as asleep until its next run, or until it says
 * that it is awake, and a callback or an earlier deadline makes its fd readable, also
 * one that comes of what its own thread does, which may have asked and not begun to
 * sleep (see canopy_loop_awake). It may be shorter than needed, never longer. Or a
 * negative errno. On the loop's thread; wait-free.
 */
CANOPY_API int64_t canopy_loop_timeout_ns(canopy_loop *loop, int64_t now_ns);

/*
 * What canopy_loop_timeout_ns answered as poll, epoll_wait and their like take it:
 * milliseconds, rounded up, or -1.
 */
static inline int canopy_loop_timeout_ms(int64_t timeout_ns)
{
    int64_t ms;
    if (timeout_ns == CANOPY_NEVER)
        return -1;
    if (timeout_ns <= 0)
        return 0;
    ms = (timeout_ns - 1) / 1000000 + 1;
    /* NOLINTNEXTLINE(bugprone-narrowing-conversions): C++ would warn of a cast */
    return ms < INT_MAX ? ms & INT_MAX : INT_MAX;
}

/*
 * Tells the loop the time and runs what is to be run: ends the contexts under its root
 * that are due at `now_ns` (see canopy_root_advance: time that goes backwards stands
 * still), then runs the callbacks that are due on the loop, oldest first: of contexts
 * that one run ends, in the order of the deadlines that ended them. Those that become
 * due by these callbacks wait for the next run, so a run always ends. How many
 * callbacks of the loop ran, or -EDEADLK from a callback of the loop. On the loop's
 * thread.
 */
CANOPY_API int canopy_loop_run(canopy_loop *loop, int64_t now_ns);

/*
 * The same for about `most_ns`, measured by CLOCK_MONOTONIC: for hosts that have other
 * work than a million timeouts at once. Contexts end, and what they have called runs,
 * portion by portion, up to 256 contexts in the order of their deadlines; when the time
 * is up nothing more begins. What was left is next, behind what has come due since then
 * (and as long as anything is, canopy_loop_timeout_ns answers 0). Something is done each
 * time, also where `most_ns` is 0 or less. One portion is not divided: what a context ends
 * below it, and callbacks that were added by canopy_after_func, take the time that they
 * take. CANOPY_NEVER: as canopy_loop_run, which reads no clock.
 */
CANOPY_API int canopy_loop_run_for(canopy_loop *loop, int64_t now_ns, int64_t most_ns);

/*
 * Says that the loop does not sleep, so that its fd need not be written: for handlers
 * that run between canopy_loop_timeout_ns and canopy_loop_run, where what they cancel
 * and which deadlines they make would each time wake the very thread that does so. Ask
 * canopy_loop_timeout_ns anew before the next sleep. So in a host without a hook for
 * that moment: awake as a handler begins, timeout_ns as it ends, and its timer moved
 * if that is sooner. 0, also when it counts as awake. On the loop's thread; wait-free.
 */
CANOPY_API int canopy_loop_awake(canopy_loop *loop);

/*
 * Tells the loop the time and runs nothing: timeouts count from it. For loops whose
 * callbacks run after the sleep and before canopy_loop_run (libuv's, libevent's), and
 * after long work. Time that goes backwards stands still. 0. On the loop's thread;
 * wait-free.
 */
CANOPY_API int canopy_loop_tell_time(canopy_loop *loop, int64_t now_ns);

/*
 * Runs fn(arg) once on the loop's thread, in canopy_loop_run, after `ctx` is done;
 * also when it is done already. Everything derived is marked before fn runs. fn may
 * cancel, add, stop, derive, release, and close the loop; it may free its own record,
 * or add it again, only after canopy_loop_callback_drop. An armed callback keeps its
 * context alive until it ran or was stopped. 0; -EINVAL (also a NULL); -EBUSY (the
 * record is armed or waits to run: nothing has changed); -ENOMEM. From any thread.
 */
CANOPY_API CANOPY_MUST_USE int canopy_loop_after_func(const canopy_ctx *ctx, canopy_loop *loop,
                                                      canopy_loop_callback *cb,
                                                      void (*fn)(void *arg), void *arg);

/*
 * True: fn has not run and never will, and the record is free. False: it ran, is
 * running, or was stopped before. On the loop's thread that is all there is: what
 * has not begun to run is always stopped, and where a canceller is just handing the
 * callback over, stop waits for that (none of your code runs in it, but a walk
 * below the context that was cancelled may). What is claimed is the loop's: on other
 * threads false may also mean that fn is bound to run, and nothing is waited for but
 * that the canceller says so. On NULL false.
 */
CANOPY_API bool canopy_loop_callback_stop(canopy_loop_callback *cb);

/*
 * As canopy_callback_join: 0 when fn is not running and not bound to run, so on
 * other threads it waits for the loop to run it, once the context is done. -EDEADLK on
 * the loop's thread while fn runs or waits to run there; -EINVAL on NULL. May block.
 */
CANOPY_API int canopy_loop_callback_join(canopy_loop_callback *cb);

/*
 * As canopy_callback_drop: when it returns the record is free in any case, also to fn
 * itself. True: fn has not run and never will. On the loop's thread it blocks no
 * longer than stop does; on others it may wait for the loop to run fn. On NULL false.
 */
CANOPY_API bool canopy_loop_callback_drop(canopy_loop_callback *cb);

#ifdef __cplusplus
}
#endif

#endif
