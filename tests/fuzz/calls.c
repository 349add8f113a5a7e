/*
 * calls.c - the calls of a program that do not make contexts, and the table of all:
 * each is made on the model and on the library, and its result compared. Where a
 * call may run callbacks, the model goes first, so that they can compare too.
 */
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define FAR_NS (INT64_C(1) << 50)

/* --------------------------------------------------------------------- arguments */

int call_pick(const struct run *run, uint8_t arg)
{
    return arg % run->handles_count;
}

const canopy_cause *call_cause(uint8_t arg)
{
    return arg % 2 ? &run_causes[arg / 2 % RUN_CAUSES] : NULL;
}

/* On a coarse grid, so that deadlines often coincide, and time often stops right at one. */
int64_t call_near_ns(uint8_t arg)
{
    return 4 * (arg % 16 - 3);
}

/* Moments around now, and the odd ones; under background only the odd ones. */
int64_t call_time(const struct run *run, uint8_t arg, int node)
{
    if (!run->model.nodes[node].in_root && arg > 4)
        return arg % 2 ? 0 : CANOPY_NEVER - 1;
    switch (arg) {
    case 0:
        return CANOPY_NEVER;
    case 1:
        return INT64_MIN;
    case 2:
        return -1;
    case 3:
        return 0;
    case 4:
        return run->options->script ? FAR_NS : CANOPY_NEVER - 1;
    default:
        return run->model.now_ns + call_near_ns(arg);
    }
}

static int64_t soon_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec + 10) * INT64_C(1000000000);
}

/* ----------------------------------------------------------------------- handles */

void call_add_handle(struct run *run, canopy_ctx *ctx, int node)
{
    run->handles[run->handles_count++] = (struct handle){ctx, node};
}

/* A handle to end; seldom the root, for nothing much happens after that. */
static int pick_to_end(const struct run *run, const uint8_t *arg)
{
    int h = call_pick(run, arg[0]);
    return h == HANDLE_ROOT && arg[2] % 32 ? run->handles_count - 1 : h;
}

/* Takes a handle out of the table before it is let go, so that callbacks leave it alone. */
static struct handle take_handle(struct run *run, int h)
{
    struct handle taken = run->handles[h];
    run->handles[h] = run->handles[--run->handles_count];
    run->model.nodes[taken.node].handles--;
    return taken;
}

/* --------------------------------------------------------------------------- own */

static void cancel(struct run *run, const uint8_t *arg)
{
    int h = pick_to_end(run, arg);
    struct handle handle = run->handles[h];
    const canopy_cause *cause = call_cause(arg[1]);
    run_trace(run, "node %d", handle.node);
    bool wins = model_cancel(&run->model, handle.node, cause);
    run_foresee(run);
    if ((cause ? canopy_cancel_cause(handle.ctx, cause) : canopy_cancel(handle.ctx)) != wins)
        run_fail(run, "node %d: cancel should have said %d", handle.node, wins);
    run_script(run, "cancel %d\n", h);
}

static void end(struct run *run, const uint8_t *arg)
{
    int h = pick_to_end(run, arg);
    struct handle handle = run->handles[h];
    if (h < HANDLES_FIXED && run->model.nodes[handle.node].handles > 1)
        return; /* it would let go of another handle of the root */
    run_trace(run, "node %d", handle.node);
    model_cancel(&run->model, handle.node, NULL);
    run_script(run, h < HANDLES_FIXED ? "cancel %d\n" : "end %d\n", h);
    if (h >= HANDLES_FIXED)
        take_handle(run, h);
    run_foresee(run);
    canopy_end(handle.ctx);
}

static void release(struct run *run, const uint8_t *arg)
{
    int h = call_pick(run, arg[0]);
    struct handle handle = run->handles[h];
    if (h < HANDLES_FIXED && run->model.nodes[handle.node].handles > 1)
        return;
    run_trace(run, "node %d", handle.node);
    if (h >= HANDLES_FIXED) {
        take_handle(run, h);
        run_script(run, "drop %d\n", h);
    }
    run_foresee(run);
    canopy_release(handle.ctx);
}

static void retain(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    if (run->handles_count == RUN_HANDLES)
        return;
    if (canopy_retain(handle.ctx) != handle.ctx)
        run_fail(run, "retain gave another context");
    run->model.nodes[handle.node].handles++;
    call_add_handle(run, handle.ctx, handle.node);
    run_trace(run, "node %d", handle.node);
}

static void set_deadline(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[pick_to_end(run, arg)];
    int64_t deadline_ns = call_time(run, arg[1], handle.node);
    run_trace(run, "node %d to %lld", handle.node, (long long)deadline_ns);
    bool moves = model_set_deadline(&run->model, handle.node, deadline_ns);
    run_foresee(run);
    if (canopy_set_deadline(handle.ctx, deadline_ns) != moves)
        run_fail(run, "node %d: set_deadline should have said %d", handle.node, moves);
}

static void try_reset(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    if (run->depth > 0)
        return; /* what is on its way out, and what is not, is no longer the model's to say */
    run_trace(run, "node %d", handle.node);
    bool resets = model_try_reset(&run->model, handle.node);
    if (canopy_try_reset(handle.ctx) != resets)
        run_fail(run, "node %d: try_reset should have said %d", handle.node, resets);
}

static void advance(struct run *run, const uint8_t *arg)
{
    canopy_ctx *root = run->handles[HANDLE_ROOT].ctx;
    int64_t next_ns = 0;
    if (run->depth > 0)
        return; /* one caller at a time */
    run->advance_ns = run->model.now_ns + call_near_ns(arg[0]) - arg[1] % 8 / 7;
    run->advancing = true;
    run_trace(run, "to %lld", (long long)run->advance_ns);
    if (canopy_root_advance(root, run->advance_ns, &next_ns) != 0)
        run_fail(run, "advance failed");
    run_compare(run);
    int64_t expected_ns = model_next(&run->model);
    if (next_ns > expected_ns || next_ns <= run->model.now_ns)
        run_fail(run, "now is %lld, the next deadline %lld, and advance says %lld",
                 (long long)run->model.now_ns, (long long)expected_ns, (long long)next_ns);
}

/* ----------------------------------------------------------------- observe, wait */

static void err_at(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    int64_t now_ns = call_time(run, arg[1], handle.node);
    int expected = model_err_at(&run->model, handle.node, now_ns);
    int err = canopy_err_at(handle.ctx, now_ns);
    if (err != expected)
        run_fail(run, "node %d: err_at %lld is %d, and should be %d", handle.node,
                 (long long)now_ns, err, expected);
}

static void wait_for(struct run *run, const uint8_t *arg)
{
    const canopy_ctx *all[RUN_HANDLES];
    struct handle handle = run->handles[call_pick(run, arg[0])];
    int done = model_err(&run->model, handle.node);
    if (canopy_wait(handle.ctx, done ? CANOPY_NEVER : 0) != (done != 0))
        run_fail(run, "node %d: wait should have said %d", handle.node, done != 0);
    if (canopy_sleep(handle.ctx, arg[1] % 16 ? 0 : 1) != done)
        run_fail(run, "node %d: sleep should have said %d", handle.node, done);
    int lowest = -ETIME;
    for (int h = run->handles_count - 1; h >= 0; h--) {
        all[h] = run->handles[h].ctx;
        if (model_err(&run->model, run->handles[h].node))
            lowest = h;
    }
    int first = canopy_wait_any(all, (size_t)run->handles_count, 0);
    if (first != lowest)
        run_fail(run, "wait_any said %d, and should have said %d", first, lowest);
}

static void done_fd(struct run *run, const uint8_t *arg)
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

static void wait_idle(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    if (run->depth > 0)
        return; /* the caller itself may hold something that is on its way out */
    if (run->model.nodes[handle.node].kind == NODE_ROOT) {
        if (arg[1] % 8)
            return; /* a root that was waited for is not kept for the next program */
        run->watched = true;
    }
    run_trace(run, "node %d", handle.node);
    bool derived = model_has_derived(&run->model, handle.node);
    int expected = run->model.nodes[handle.node].kind == NODE_STATIC ? -EINVAL
                   : derived                                         ? -ETIME
                                                                     : 0;
    int err = canopy_wait_idle(handle.ctx, derived ? 0 : soon_ns());
    if (err != expected)
        run_fail(run, "node %d: wait_idle said %d, and should have said %d", handle.node, err,
                 expected);
}

/* A root that something is left of does not go. */
static void root_free(struct run *run, const uint8_t *arg)
{
    struct handle root = run->handles[HANDLE_ROOT];
    bool busy = model_has_derived(&run->model, root.node) ||
                model_has_armed(&run->model, root.node) || run->model.nodes[root.node].handles > 1;
    if (run->depth > 0 || !busy || arg[0] % 16)
        return;
    run->watched = true;
    if (canopy_root_free(root.ctx) != -EBUSY)
        run_fail(run, "the root went while something was left");
}

/* --------------------------------------------------------------------- callbacks */

static void after_func(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    struct callback *callback = &run->callbacks[arg[1] % RUN_CALLBACKS];
    struct call action;
    if (!run_next(run, &action) ||
        (callback->state != CALLBACK_IDLE && callback->state != CALLBACK_RAN))
        return;
    run_trace(run, "callback %d on node %d", arg[1] % RUN_CALLBACKS, handle.node);
    callback->action = action;
    callback->node = handle.node;
    callback->state = CALLBACK_ARMED;
    run->model.nodes[handle.node].armed++;
    run_foresee(run);
    int err = canopy_after_func(handle.ctx, &callback->record, run_callback, callback);
    if (err == -ENOMEM && run_allocation_failed() && callback->state == CALLBACK_ARMED) {
        callback->state = CALLBACK_IDLE;
        run->model.nodes[handle.node].armed--;
        run_foresee(run);
    } else if (err) {
        run_fail(run, "after_func said %d", err);
    }
}

static void callback_stop(struct run *run, const uint8_t *arg)
{
    struct callback *callback = &run->callbacks[arg[0] % RUN_CALLBACKS];
    bool stops = callback->state == CALLBACK_ARMED;
    run_trace(run, "callback %d", arg[0] % RUN_CALLBACKS);
    if (stops) {
        callback->state = CALLBACK_IDLE;
        run->model.nodes[callback->node].armed--;
        run_foresee(run);
    }
    if (canopy_callback_stop(&callback->record) != stops)
        run_fail(run, "stop should have said %d", stops);
}

static void callback_join(struct run *run, const uint8_t *arg)
{
    struct callback *callback = &run->callbacks[arg[0] % RUN_CALLBACKS];
    bool mine = callback->state == CALLBACK_BOUND || callback->state == CALLBACK_RUNNING;
    int err = canopy_callback_join(&callback->record);
    if (err != (mine ? -EDEADLK : 0))
        run_fail(run, "join said %d of a callback in state %d", err, (int)callback->state);
}

/* ------------------------------------------------------------------------- group */

static int member(const canopy_ctx *ctx, void *arg)
{
    canopy_err(ctx);
    return *(const int *)arg;
}

/* A whole group at once, seldom, for its threads cost more than all else here. */
static void group(struct run *run, const uint8_t *arg)
{
    struct handle parent = run->handles[call_pick(run, arg[0])];
    int codes[] = {arg[1] % 3, arg[1] / 3 % 3};
    canopy_group together;
    if (run->depth > 0 || arg[2] % 16)
        return;
    bool full = model_is_full(&run->model, parent.node);
    int err = canopy_group_init(&together, parent.ctx, 1);
    if (err == (full ? -EAGAIN : -ENOMEM) && (full || run_allocation_failed()))
        return;
    if (err || full)
        run_fail(run, "group_init said %d", err);
    if (canopy_err(canopy_group_ctx(&together)) != model_err(&run->model, parent.node))
        run_fail(run, "a group does not begin as its parent is");
    for (int i = 0; i < 2; i++)
        if (canopy_group_go(&together, member, &codes[i]) != 0)
            run_fail(run, "group_go failed");
    err = canopy_group_wait(&together);
    if (err != (codes[0] ? codes[0] : codes[1]))
        run_fail(run, "group_wait said %d", err);
}

/* --------------------------------------------------------------------- bad input */

static void expect_refused(const struct run *run, const canopy_ctx *ctx)
{
    if (ctx || errno != EINVAL)
        run_fail(run, "bad input was not refused: errno %d", errno);
    errno = 0;
}

static void bad_input(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    struct callback *callback = &run->callbacks[arg[1] % RUN_CALLBACKS];
    const canopy_ctx *with_null[] = {handle.ctx, NULL};
    const int signals[] = {SIGUSR1, arg[1] % 2 ? SIGKILL : 65 + arg[1]};
    expect_refused(run, canopy_with_cancel(NULL));
    expect_refused(run, canopy_with_deadline(NULL, 1));
    expect_refused(run, canopy_with_timeout(NULL, 1));
    expect_refused(run, canopy_with_value(handle.ctx, NULL, NULL));
    expect_refused(run, canopy_with_value(NULL, &run_keys[0], NULL));
    expect_refused(run, canopy_without_cancel(NULL));
    expect_refused(run, canopy_with_any(NULL, 1));
    expect_refused(run, canopy_with_any(with_null, 0));
    expect_refused(run, canopy_with_any(with_null, 2));
    expect_refused(run, canopy_with_signals(NULL, signals, 1));
    expect_refused(run, canopy_with_signals(handle.ctx, signals, 0));
    expect_refused(run, canopy_with_signals(handle.ctx, signals, 2));
    canopy_group refused;
    int handle_kind = run->model.nodes[handle.node].kind;
    bool good = !canopy_cancel(NULL) && !canopy_set_deadline(NULL, 1) && !canopy_try_reset(NULL) &&
                !canopy_retain(NULL) && canopy_wait_any(NULL, 1, 0) == -EINVAL &&
                canopy_wait_any(with_null, 0, 0) == -EINVAL &&
                canopy_wait_any(with_null, 2, 0) == -EINVAL &&
                canopy_wait_idle(NULL, 0) == -EINVAL && canopy_root_free(NULL) == -EINVAL &&
                canopy_root_advance(NULL, 1, NULL) == -EINVAL && !canopy_callback_stop(NULL) &&
                canopy_callback_join(NULL) == -EINVAL &&
                canopy_group_init(&refused, NULL, 0) == -EINVAL &&
                canopy_after_func(handle.ctx, NULL, run_callback, NULL) == -EINVAL;
    if (good && handle_kind != NODE_ROOT)
        good = canopy_root_free(handle.ctx) == -EINVAL &&
               canopy_root_advance(handle.ctx, CANOPY_NEVER, NULL) == -EINVAL;
    if (good && (callback->state == CALLBACK_IDLE || callback->state == CALLBACK_RAN))
        good = canopy_after_func(handle.ctx, &callback->record, NULL, NULL) == -EINVAL &&
               canopy_after_func(NULL, &callback->record, run_callback, NULL) == -EINVAL;
    if (!good)
        run_fail(run, "bad input was not refused");
    canopy_release(NULL);
    canopy_end(NULL);
}

static void fail_allocation(struct run *run, const uint8_t *arg)
{
    run_trace(run, "number %u", arg[0] % 4);
    run_fail_allocation(arg[0] % 4);
}

/* -------------------------------------------------------------------------- all */

static const struct {
    const char *name;
    void (*make)(struct run *run, const uint8_t *arg);
} calls[] = {
    {"with_cancel", call_with_cancel},
    {"with_deadline", call_with_deadline},
    {"with_timeout", call_with_timeout},
    {"with_value", call_with_value},
    {"cancel", cancel},
    {"end", end},
    {"release", release},
    /* These are not in Go's context, or not in the version that Debian has. */
    {"without_cancel", call_without_cancel},
    {"with_any", call_with_any},
    {"with_signals", call_with_signals},
    {"retain", retain},
    {"set_deadline", set_deadline},
    {"try_reset", try_reset},
    {"advance", advance},
    {"err_at", err_at},
    {"wait", wait_for},
    {"done_fd", done_fd},
    {"wait_idle", wait_idle},
    {"root_free", root_free},
    {"after_func", after_func},
    {"callback_stop", callback_stop},
    {"callback_join", callback_join},
    {"group", group},
    {"bad_input", bad_input},
    {"fail_allocation", fail_allocation},
};

#define CALLS_IN_GO 7

void call_make(struct run *run, const struct call *call)
{
    size_t count = run->options->script ? CALLS_IN_GO : sizeof calls / sizeof *calls;
    run->what = calls[call->code % count].name;
    calls[call->code % count].make(run, call->arg);
}
