/*
 * calls.c - the calls of a program that own contexts and callbacks, and the table of all:
 * each is made on the model and on the library, and its result compared. Where a
 * call may run callbacks, the model goes first, so that they can compare too.
 */
#include "calls.h"

#include <canopy/inspect.h>
#include <errno.h>

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
    return INT64_C(4) * (arg % 16 - 3);
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

/* By its id, where it has one; not of one that watches signals, which stay watched then. */
static bool cancel_by_id(const struct run *run, struct handle handle, const canopy_cause *cause)
{
    int err = canopy_cancel_id(canopy_id(handle.ctx), cause);
    if (err != 0 && err != (model_can_end(&run->model, handle.node) ? -EALREADY : -EPERM))
        run_fail(run, "node %d: cancel_id said %d", handle.node, err);
    return err == 0;
}

static bool cancel_by(const struct run *run, struct handle handle, const canopy_cause *cause,
                      bool by_id)
{
    if (by_id && canopy_id(handle.ctx) && !run->model.nodes[handle.node].signals)
        return cancel_by_id(run, handle, cause);
    return cause ? canopy_cancel_cause(handle.ctx, cause) : canopy_cancel(handle.ctx);
}

static void cancel(struct run *run, const uint8_t *arg)
{
    int h = pick_to_end(run, arg);
    struct handle handle = run->handles[h];
    const canopy_cause *cause = call_cause(arg[1]);
    run_trace(run, "node %d", handle.node);
    bool wins = model_cancel(&run->model, handle.node, cause);
    run_foresee(run);
    if (cancel_by(run, handle, cause, arg[2] & 1) != wins)
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
    {"err_at", call_err_at},
    {"wait", call_wait},
    {"wait_any", call_wait_any},
    {"done_fd", call_done_fd},
    {"wait_idle", call_wait_idle},
    {"root_free", call_root_free},
    {"second_root", call_second_root},
    {"after_func", after_func},
    {"callback_stop", callback_stop},
    {"callback_join", callback_join},
    {"crowd", call_crowd},
    {"crowd_thin", call_crowd_thin},
    {"crowd_cancel", call_crowd_cancel},
    {"crowd_pick", call_crowd_pick},
    {"chain", call_chain},
    {"switch_thread", call_switch_thread},
    {"end_thread", call_end_thread},
    {"group", call_group},
    {"wake", call_wake},
    {"raise", call_raise},
    {"real_timeout", call_real_timeout},
    {"bad_input", call_bad_input},
    {"fail_allocation", fail_allocation},
};

#define CALLS_IN_GO 7

void call_make(struct run *run, const struct call *call)
{
    size_t count = run->options->script ? CALLS_IN_GO : sizeof calls / sizeof *calls;
    run->what = calls[call->code % count].name;
    calls[call->code % count].make(run, call->arg);
}
