/*
 * waits.c - the calls of a program that ask and wait without another thread's help.
 */
#include "calls.h"

#include <errno.h>
#include <time.h>

#define WAIT_MAX 130 /* contexts in a wait: far more than there are records for */

/* Long enough to fall asleep, and no longer. */
#define SHORT_NS INT64_C(2000)
/* Where only a bug makes it pass. */
#define LONG_NS INT64_C(60000000000)

static int64_t real_in(int64_t delay_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + delay_ns;
}

int64_t call_soon_ns(void)
{
    return real_in(LONG_NS);
}

void call_err_at(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    int64_t now_ns = call_time(run, arg[1], handle.node);
    int expected = model_err_at(&run->model, handle.node, now_ns);
    int err = canopy_err_at(handle.ctx, now_ns);
    if (err != expected)
        run_fail(run, "node %d: err_at %lld is %d, and should be %d", handle.node,
                 (long long)now_ns, err, expected);
}

/* One in eight sleeps for a moment, which costs more than all else here. */
static int64_t wait_until(uint8_t arg)
{
    return arg % 8 == 0 ? real_in(SHORT_NS) : 0;
}

void call_wait(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    int done = model_err(&run->model, handle.node);
    if (canopy_wait(handle.ctx, done ? CANOPY_NEVER : wait_until(arg[1])) != (done != 0))
        run_fail(run, "node %d: wait should have said %d", handle.node, done != 0);
    if (canopy_sleep(handle.ctx, arg[1] % 16 ? 0 : 1) != done)
        run_fail(run, "node %d: sleep should have said %d", handle.node, done);
}

void call_wait_any(struct run *run, const uint8_t *arg)
{
    const canopy_ctx *all[WAIT_MAX];
    int count = 1 + arg[0] % WAIT_MAX, lowest = -ETIME;
    for (int i = count - 1; i >= 0; i--) {
        struct handle handle = run->handles[call_pick(run, (uint8_t)(arg[1] + i))];
        all[i] = handle.ctx;
        if (model_err(&run->model, handle.node))
            lowest = i;
    }
    int first = canopy_wait_any(all, (size_t)count, wait_until(arg[2]));
    if (first != lowest)
        run_fail(run, "wait_any said %d, and should have said %d", first, lowest);
}

void call_done_fd(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    int scope = model_scope(&run->model, handle.node);
    int fd = canopy_done_fd(handle.ctx);
    run_trace(run, "node %d: %d", handle.node, fd);
    if (fd == -ENOMEM && run_allocation_failed())
        return;
    if (fd < 0 || (run->fd_of[scope] >= 0 && fd != run->fd_of[scope]))
        run_fail(run, "node %d: its fd is %d, and was %d", handle.node, fd, run->fd_of[scope]);
    run->fd_of[scope] = fd;
    run->model.nodes[scope].has_fd = true;
}

void call_wait_idle(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    bool derived = model_has_derived(&run->model, handle.node);
    bool has_memory = run->model.nodes[handle.node].kind != NODE_STATIC;
    if (run->depth > 0)
        return; /* the caller itself may hold something that is on its way out */
    if (run->model.nodes[handle.node].kind == NODE_ROOT) {
        if (arg[2] % 8)
            return; /* a root that was waited for is not kept for the next program */
        run->watched = true;
    }
    run_trace(run, "node %d", handle.node);
    int expected = !has_memory ? -EINVAL : derived ? -ETIME : 0;
    bool patient = arg[1] % 32 == 0 && !derived; /* a grace period for each */
    int err = canopy_wait_idle(handle.ctx, patient ? call_soon_ns() : wait_until(arg[1]));
    bool too_soon = !patient && expected == 0 && err == -ETIME;
    if (err != expected && !too_soon)
        run_fail(run, "node %d: wait_idle said %d, and should have said %d", handle.node, err,
                 expected);
}

/* A root that something is left of does not go. */
void call_root_free(struct run *run, const uint8_t *arg)
{
    struct handle root = run->handles[HANDLE_ROOT];
    bool busy = model_has_derived(&run->model, root.node) ||
                model_has_armed(&run->model, root.node) || run->model.nodes[root.node].handles > 1;
    if (run->depth > 0 || !busy || arg[0] % 64)
        return;
    run->watched = true;
    if (canopy_root_free(root.ctx) != -EBUSY)
        run_fail(run, "the root went while something was left");
}
