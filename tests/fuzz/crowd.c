/*
 * crowd.c - the calls of a program that make many contexts at once: crowds, which
 * are wide, and chains, which are deep. Either is one node to the model. They
 * fill and empty magazines, slabs and the blocks of children lists.
 */
#include "calls.h"

#include <errno.h>
#include <stdlib.h>

/* What one program may make: it bounds its time. */
#define CROWDED_MAX 8000

/* Coprime to every count below it: an order that jumps about. */
#define JUMP 7919

static const unsigned crowd_sizes[] = {3, 5, 9, 20, 70, 130, 300, 700};
/* Seldom: more than the slabs that are kept when they are empty. */
#define CROWD_LARGEST 6000
static const unsigned chain_depths[] = {3, 20, 70, 200};

/* Whether a constructor may fail now, because memory was made to. */
static void check_refusal(const struct run *run, int parent)
{
    if (errno != ENOMEM || !run_allocation_failed())
        run_fail(run, "no context under node %d: errno %d", parent, errno);
}

/* Where single contexts are counted, these would only be refused. */
static bool may_make(const struct run *run, int parent, unsigned count)
{
    return run->model.count < MODEL_NODES && run->crowded + count <= CROWDED_MAX &&
           (run->model.max_live == 0 || !run->model.nodes[parent].in_root);
}

/* ------------------------------------------------------------------------- wide */

void call_crowd(struct run *run, const uint8_t *arg)
{
    struct handle parent = run->handles[call_pick(run, arg[0])];
    struct crowd *crowd = run->crowds;
    unsigned size = arg[1] == UINT8_MAX ? CROWD_LARGEST : crowd_sizes[arg[1] % 8];
    int64_t deadline_ns = arg[2] % 4 ? CANOPY_NEVER : call_time(run, arg[2] / 4, parent.node);
    while (crowd < run->crowds + RUN_CROWDS && crowd->count > 0)
        crowd++;
    if (crowd == run->crowds + RUN_CROWDS || !may_make(run, parent.node, size))
        return;
    crowd->members = malloc(size * sizeof *crowd->members);
    if (!crowd->members)
        run_fail(run, "no memory for the fuzzer itself");
    for (; crowd->count < size; crowd->count++) {
        canopy_ctx *ctx = deadline_ns == CANOPY_NEVER
                              ? canopy_with_cancel(parent.ctx)
                              : canopy_with_deadline(parent.ctx, deadline_ns);
        if (!ctx) {
            check_refusal(run, parent.node);
            break;
        }
        crowd->members[crowd->count] = ctx;
    }
    run->crowded += crowd->count;
    run_trace(run, "%u under node %d, until %lld", crowd->count, parent.node,
              (long long)deadline_ns);
    if (crowd->count == 0) {
        free(crowd->members);
        return;
    }
    crowd->node = model_with_deadline(&run->model, parent.node, deadline_ns, false, NULL);
    run->ctx_of[crowd->node] = crowd->members[0];
}

/* Those behind the first `keep`, in steps of `step` around. */
static void release_behind(struct crowd *crowd, unsigned keep, unsigned step, bool end)
{
    unsigned gone = crowd->count - keep;
    crowd->count = keep;
    for (unsigned k = 0; k < gone; k++) {
        canopy_ctx *ctx = crowd->members[keep + (unsigned)((uint64_t)k * step % gone)];
        if (end)
            canopy_end(ctx);
        else
            canopy_release(ctx);
    }
}

static void thin(struct run *run, struct crowd *crowd, unsigned keep, unsigned step, bool end)
{
    struct crowd old = *crowd;
    if (keep == 0) {
        run->model.nodes[crowd->node].handles--;
        run_foresee(run);
    } else {
        run->ctx_of[crowd->node] = crowd->members[0];
    }
    crowd->count = keep; /* before anything runs that looks */
    release_behind(&old, keep, step, end);
    if (keep == 0)
        free(old.members);
}

void crowd_end(struct run *run, struct crowd *crowd)
{
    if (crowd->count > 0)
        thin(run, crowd, 0, 1, false);
}

static void swap_members(struct crowd *crowd, unsigned a, unsigned b)
{
    canopy_ctx *member = crowd->members[a];
    crowd->members[a] = crowd->members[b];
    crowd->members[b] = member;
}

void call_crowd_thin(struct run *run, const uint8_t *arg)
{
    struct crowd *crowd = &run->crowds[arg[0] % RUN_CROWDS];
    unsigned count = crowd->count;
    if (count == 0)
        return;
    unsigned keep = arg[1] % 4 == 0 ? 0 : arg[1] % 4 == 1 ? 1 : count / (arg[1] % 4);
    const unsigned steps[] = {1, count - keep > 1 ? count - keep - 1 : 1, JUMP};
    /* Which ones stay: the first, the last, or ones from all over. */
    for (unsigned k = 0; k < keep && arg[2] % 4 > 0; k++)
        swap_members(crowd, k, arg[2] % 4 == 1 ? count - 1 - k : k * (count / keep));
    run_trace(run, "%u of %u under node %d stay", keep, count, crowd->node);
    thin(run, crowd, keep, steps[arg[2] / 4 % 3], arg[2] & 128);
}

void call_crowd_cancel(struct run *run, const uint8_t *arg)
{
    struct crowd *crowd = &run->crowds[arg[0] % RUN_CROWDS];
    const canopy_cause *cause = call_cause(arg[1]);
    if (crowd->count == 0)
        return;
    run_trace(run, "node %d", crowd->node);
    bool wins = model_cancel(&run->model, crowd->node, cause);
    run_foresee(run);
    for (unsigned k = 0; k < crowd->count; k++)
        if (canopy_cancel_cause(crowd->members[k], cause) != wins)
            run_fail(run, "node %d: cancel of member %u should have said %d", crowd->node, k, wins);
}

/* One of a crowd becomes a context like any other. */
void call_crowd_pick(struct run *run, const uint8_t *arg)
{
    struct crowd *crowd = &run->crowds[arg[0] % RUN_CROWDS];
    if (crowd->count < 2 || run->handles_count == RUN_HANDLES || run->model.count == MODEL_NODES)
        return;
    unsigned last = --crowd->count;
    swap_members(crowd, arg[1] % (last + 1), last);
    run->ctx_of[crowd->node] = crowd->members[0];
    int node = model_copy(&run->model, crowd->node);
    run_trace(run, "node %d -> node %d", crowd->node, node);
    run->ctx_of[node] = crowd->members[last];
    call_add_handle(run, crowd->members[last], node);
}

/* ------------------------------------------------------------------------- deep */

/* Who has a handle of the lowest alone cannot tell it from a child of the parent. */
void call_chain(struct run *run, const uint8_t *arg)
{
    static const canopy_key between = {"between", NULL};
    struct handle parent = run->handles[call_pick(run, arg[0])];
    unsigned depth = chain_depths[arg[1] % 4];
    if (run->handles_count == RUN_HANDLES || !may_make(run, parent.node, depth))
        return;
    canopy_ctx *lowest = NULL;
    for (unsigned i = 0; i < depth; i++) {
        const canopy_ctx *above = lowest ? lowest : parent.ctx;
        bool value = i + 1 < depth && arg[2] % 4 == 1 && i % 3 == 1;
        canopy_ctx *ctx =
            value ? canopy_with_value(above, &between, NULL) : canopy_with_cancel(above);
        canopy_release(lowest);
        lowest = ctx;
        if (!ctx) {
            check_refusal(run, parent.node);
            return;
        }
    }
    run->crowded += depth;
    int node = model_derive(&run->model, NODE_CANCEL, &parent.node, 1);
    run_trace(run, "%u under node %d -> node %d", depth, parent.node, node);
    run->ctx_of[node] = lowest;
    call_add_handle(run, lowest, node);
}
