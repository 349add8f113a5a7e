/*
 * inspected.c - what inspect.h tells beside what the model says: each context that has memory by
 * its id, and all of them by a walk. See run.h.
 */
#include "run.h"

#include <canopy/inspect.h>
#include <string.h>

/* A walk goes over the whole process: now and then is enough. */
#define CALLS_A_WALK 16
#define INFOS        16

static canopy_kind kind_of(const struct node *node)
{
    switch (node->kind) {
    case NODE_ROOT:
        return CANOPY_KIND_ROOT;
    case NODE_VALUE:
        return CANOPY_KIND_VALUE;
    case NODE_DETACHED:
        return CANOPY_KIND_WITHOUT_CANCEL;
    case NODE_ANY:
        return CANOPY_KIND_ANY;
    default:
        return CANOPY_KIND_CANCEL;
    }
}

/* Whether a node has a note: of one that has several parents that is the library's to choose. */
static bool is_noted(const struct run *run, int i, uint64_t id)
{
    const struct node *node = &run->model.nodes[i];
    bool should = run->is_noted && node->in_root;
    if (node->kind != NODE_ANY && should != (id != 0))
        run_fail(run, "node %d: its id is %llx", i, (unsigned long long)id);
    return id != 0;
}

static void compare_info(const struct run *run, int i)
{
    const canopy_ctx *ctx = run->ctx_of[i];
    const struct node *node = &run->model.nodes[i];
    canopy_info info;
    uint64_t id = canopy_id(ctx);
    if (!is_noted(run, i, id))
        return;
    int err = canopy_inspect(id, &info, sizeof info);
    if (err || info.id != id)
        run_fail(run, "node %d: inspect says %d", i, err);
    const canopy_cause *cause = canopy_cause_of(ctx);
    if (info.err != model_err(&run->model, i) || (info.cause.text != NULL) != (cause != NULL) ||
        (cause && info.cause.code != cause->code))
        run_fail(run, "node %d: inspect tells of err %d, cause %d", i, info.err, info.cause.code);
    if (info.kind != kind_of(node) || (info.ended_by != 0) != (info.err != 0) ||
        (info.name && strcmp(info.name, RUN_NAME) != 0))
        run_fail(run, "node %d: inspect tells of another one", i);
}

/* How often each node is told of. */
static void count_told(const struct run *run, unsigned told[MODEL_NODES])
{
    canopy_info infos[INFOS];
    canopy_walk walk = {.info_bytes = sizeof *infos};
    for (int n; (n = canopy_walk_next(&walk, infos, INFOS)) > 0;)
        for (int k = 0; k < n; k++)
            for (int i = 0; i < run->model.count; i++)
                told[i] += run->ctx_of[i] && infos[k].id == canopy_id(run->ctx_of[i]);
}

static void compare_walk(const struct run *run, const bool held[MODEL_NODES])
{
    unsigned told[MODEL_NODES] = {0};
    struct run looked_at = *run;
    for (int i = 0; i < run->model.count; i++)
        if (!held[i])
            looked_at.ctx_of[i] = NULL;
    count_told(&looked_at, told);
    for (int i = 0; i < run->model.count; i++)
        if (held[i] && told[i] != (canopy_id(run->ctx_of[i]) != 0))
            run_fail(run, "node %d: a walk tells of it %u times", i, told[i]);
}

void run_inspect(const struct run *run, const bool held[MODEL_NODES])
{
    for (int i = 0; i < run->model.count; i++)
        if (held[i])
            compare_info(run, i);
    if (run->is_noted && run->calls % CALLS_A_WALK == 0)
        compare_walk(run, held);
}
