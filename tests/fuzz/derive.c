/*
 * derive.c - the calls of a program that make contexts.
 */
#include "calls.h"

#include <canopy/inspect.h>
#include <errno.h>

/* A handle to derive from; in a script for Go not background, whose time is real. */
static int pick_parent(const struct run *run, uint8_t arg)
{
    int h = call_pick(run, arg);
    return run->options->script && h < HANDLES_FIXED ? HANDLE_ROOT : h;
}

static bool has_room(const struct run *run)
{
    return run->handles_count < RUN_HANDLES && run->model.count < MODEL_NODES;
}

/* Whether a constructor gave what it has to: a context, or NULL for a good reason. */
static bool made_under(const struct run *run, const canopy_ctx *ctx, enum node_kind kind,
                       const int parents[], int count)
{
    bool full = model_is_full(&run->model, kind, parents, count);
    if (ctx && full)
        run_fail(run, "a context beyond the limit");
    if (ctx)
        return true;
    /* Inside a callback something may be on its way out that the model has forgotten. */
    if (errno == EAGAIN && (full || (run->depth > 0 && run->model.max_live)))
        return false;
    if (errno == ENOMEM && run_allocation_failed())
        return false;
    run_fail(run, "no context under node %d: errno %d", parents[0], errno);
}

static bool made(const struct run *run, const canopy_ctx *ctx, int parent)
{
    return made_under(run, ctx, NODE_CANCEL, &parent, 1);
}

static void adopt(struct run *run, canopy_ctx *ctx, int node)
{
    run->ctx_of[node] = ctx;
    canopy_name(ctx, RUN_NAME);
    call_add_handle(run, ctx, node);
    run_trace(run, "-> node %d", node);
}

/* ------------------------------------------------------------------------ derive */

static void derive_plain(struct run *run, const uint8_t *arg, enum node_kind kind,
                         canopy_ctx *(*derive)(const canopy_ctx *))
{
    int h = pick_parent(run, arg[0]);
    struct handle parent = run->handles[h];
    if (!has_room(run))
        return;
    canopy_ctx *ctx = derive(parent.ctx);
    if (!made(run, ctx, parent.node))
        return;
    run_script(run, "derive %d\n", h);
    adopt(run, ctx, model_derive(&run->model, kind, &parent.node, 1));
}

void call_with_cancel(struct run *run, const uint8_t *arg)
{
    derive_plain(run, arg, NODE_CANCEL, canopy_with_cancel);
}

void call_without_cancel(struct run *run, const uint8_t *arg)
{
    derive_plain(run, arg, NODE_DETACHED, canopy_without_cancel);
}

/* What both ways to give a deadline have in common once the library has answered. */
static void adopt_deadline(struct run *run, int h, canopy_ctx *ctx, int64_t deadline_ns,
                           bool passed, const canopy_cause *cause)
{
    int parent = run->handles[h].node;
    if (!made(run, ctx, parent))
        return;
    if (deadline_ns == CANOPY_NEVER)
        run_script(run, "derive %d\n", h);
    else
        run_script(run, "deadline %d %lld\n", h, (long long)(deadline_ns < 0 ? 0 : deadline_ns));
    run_trace(run, "under node %d, until %lld", parent, (long long)deadline_ns);
    adopt(run, ctx, model_with_deadline(&run->model, parent, deadline_ns, passed, cause));
}

void call_with_deadline(struct run *run, const uint8_t *arg)
{
    int h = pick_parent(run, arg[0]);
    struct handle parent = run->handles[h];
    int64_t deadline_ns = call_time(run, arg[1], parent.node);
    const canopy_cause *cause = call_cause(arg[2]);
    if (has_room(run))
        adopt_deadline(run, h,
                       cause ? canopy_with_deadline_cause(parent.ctx, deadline_ns, cause)
                             : canopy_with_deadline(parent.ctx, deadline_ns),
                       deadline_ns, false, cause);
}

void call_with_timeout(struct run *run, const uint8_t *arg)
{
    int h = pick_parent(run, arg[0]);
    struct handle parent = run->handles[h];
    int64_t now_ns = run->model.now_ns;
    int64_t timeout_ns = arg[1] == 0   ? CANOPY_NEVER
                         : arg[1] == 1 ? INT64_MIN
                                       : call_near_ns(arg[1]);
    int64_t deadline_ns = timeout_ns > CANOPY_NEVER - now_ns ? CANOPY_NEVER : now_ns + timeout_ns;
    const canopy_cause *cause = call_cause(arg[2]);
    if (!has_room(run) || !run->model.nodes[parent.node].in_root)
        return;
    adopt_deadline(run, h,
                   cause ? canopy_with_timeout_cause(parent.ctx, timeout_ns, cause)
                         : canopy_with_timeout(parent.ctx, timeout_ns),
                   deadline_ns, timeout_ns <= 0, cause);
}

void call_with_value(struct run *run, const uint8_t *arg)
{
    int h = pick_parent(run, arg[0]), key = arg[1] % RUN_KEYS;
    struct handle parent = run->handles[h];
    if (!has_room(run))
        return;
    int node = run->model.count;
    struct binding *binding = arg[2] % 4 ? &run->bindings[node] : NULL;
    canopy_ctx *ctx = canopy_with_value(parent.ctx, &run_keys[key], binding);
    if (!made(run, ctx, parent.node))
        return;
    model_with_value(&run->model, parent.node, &run_keys[key], binding);
    if (binding)
        *binding = (struct binding){.node = node, .has_destroy = run_keys[key].destroy};
    else
        run->null_bindings[key]++;
    run_script(run, "value %d %d %d\n", h, key, binding ? node : -1);
    adopt(run, ctx, node);
}

void call_with_any(struct run *run, const uint8_t *arg)
{
    int picked[] = {call_pick(run, arg[0]), call_pick(run, arg[1]),
                    call_pick(run, (uint8_t)(arg[0] + arg[1] + 1)), call_pick(run, arg[2])};
    int count = 1 + arg[2] % MODEL_PARENTS, nodes[MODEL_PARENTS];
    const canopy_ctx *inputs[MODEL_PARENTS];
    if (!has_room(run))
        return;
    for (int i = 0; i < count; i++) {
        nodes[i] = run->handles[picked[i]].node;
        inputs[i] = run->handles[picked[i]].ctx;
        run_trace(run, "node %d", nodes[i]);
    }
    canopy_ctx *ctx = canopy_with_any(inputs, (size_t)count);
    if (made_under(run, ctx, NODE_ANY, nodes, count))
        adopt(run, ctx, model_derive(&run->model, NODE_ANY, nodes, count));
}

void call_with_signals(struct run *run, const uint8_t *arg)
{
    struct handle parent = run->handles[call_pick(run, arg[0])];
    int signals[RUN_SIGNALS];
    size_t count = 0;
    unsigned wanted = 1 + arg[1] % ((1U << RUN_SIGNALS) - 1);
    if (!has_room(run))
        return;
    for (int n = 0; n < RUN_SIGNALS; n++)
        if (wanted & (1U << n))
            signals[count++] = call_signal(n);
    canopy_ctx *ctx = canopy_with_signals(parent.ctx, signals, count);
    if (!made_under(run, ctx, NODE_ANY, &parent.node, 1))
        return;
    adopt(run, ctx, model_derive(&run->model, NODE_ANY, &parent.node, 1));
    run->model.nodes[run->model.count - 1].signals = wanted;
}
