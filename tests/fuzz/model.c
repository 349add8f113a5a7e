/*
 * model.c - the plain model of a tree of contexts: see model.h. Everything here
 * follows the sentences of the interface, in their order.
 */
#include "model.h"

#include <errno.h>
#include <string.h>

void model_init(struct model *model, int64_t now_ns, size_t max_live)
{
    memset(model, 0, sizeof *model);
    model->now_ns = now_ns;
    model->max_live = max_live;
}

/* ---------------------------------------------------------------------- observe */

int model_scope(const struct model *model, int node)
{
    while (model->nodes[node].kind == NODE_VALUE)
        node = model->nodes[node].parents[0];
    return node;
}

static bool kind_can_end(enum node_kind kind)
{
    return kind == NODE_ROOT || kind == NODE_CANCEL || kind == NODE_ANY;
}

bool model_can_end(const struct model *model, int node)
{
    return kind_can_end(model->nodes[node].kind);
}

int model_err(const struct model *model, int node)
{
    return model->nodes[model_scope(model, node)].err;
}

const canopy_cause *model_cause(const struct model *model, int node)
{
    return model->nodes[model_scope(model, node)].cause;
}

void model_deadlines(const struct model *model, int64_t deadlines_ns[MODEL_NODES])
{
    for (int i = 0; i < model->count; i++) {
        const struct node *node = &model->nodes[i];
        deadlines_ns[i] = node->deadline_ns;
        if (node->kind == NODE_DETACHED)
            continue;
        for (int p = 0; p < node->parents_count; p++)
            if (deadlines_ns[node->parents[p]] < deadlines_ns[i])
                deadlines_ns[i] = deadlines_ns[node->parents[p]];
    }
}

int model_err_at(const struct model *model, int node, int64_t now_ns)
{
    int err = model_err(model, node);
    if (err)
        return err;
    int64_t deadlines_ns[MODEL_NODES];
    model_deadlines(model, deadlines_ns);
    return deadlines_ns[node] != CANOPY_NEVER && deadlines_ns[node] <= now_ns ? -ETIMEDOUT : 0;
}

bool model_lookup(const struct model *model, int node, const canopy_key *key, void **value)
{
    for (;;) {
        const struct node *at = &model->nodes[node];
        if (at->kind == NODE_VALUE && at->key == key) {
            *value = at->value;
            return true;
        }
        if (at->parents_count == 0)
            return false;
        node = at->parents[0];
    }
}

/* --------------------------------------------------------------------- lifetime */

void model_held(const struct model *model, bool held[MODEL_NODES])
{
    memset(held, 0, sizeof(bool) * MODEL_NODES);
    for (int i = model->count - 1; i >= 0; i--) {
        const struct node *node = &model->nodes[i];
        if (node->handles > 0 || node->armed > 0 || node->kind == NODE_STATIC)
            held[i] = true;
        for (int p = 0; held[i] && p < node->parents_count; p++)
            held[node->parents[p]] = true;
    }
}

bool model_has_derived(const struct model *model, int node)
{
    bool held[MODEL_NODES];
    model_held(model, held);
    for (int i = node + 1; i < model->count; i++)
        for (int p = 0; held[i] && p < model->nodes[i].parents_count; p++)
            if (model->nodes[i].parents[p] == node)
                return true;
    return false;
}

bool model_has_armed(const struct model *model, int node)
{
    for (int i = node; i < model->count; i++)
        if (model->nodes[i].armed > 0 && model_scope(model, i) == node)
            return true;
    return false;
}

/* What a node counts against the root's limit: itself, and each input of a merge. */
static size_t cost(const struct model *model, enum node_kind kind, const int parents[], int count)
{
    size_t sum = model->nodes[parents[0]].in_root;
    for (int p = 0; kind == NODE_ANY && p < count; p++)
        sum += model->nodes[parents[p]].in_root;
    return sum;
}

bool model_is_full(const struct model *model, enum node_kind kind, const int parents[], int count)
{
    bool held[MODEL_NODES];
    size_t live = 0, more = cost(model, kind, parents, count);
    if (model->max_live == 0 || more == 0)
        return false;
    model_held(model, held);
    for (int i = 0; i < model->count; i++) {
        const struct node *node = &model->nodes[i];
        if (held[i] && node->parents_count > 0)
            live += cost(model, node->kind, node->parents, node->parents_count);
    }
    return live + more > model->max_live;
}

/* ---------------------------------------------------------------------- the end */

static void end_node(struct node *node, int err, const canopy_cause *cause)
{
    node->err = err;
    node->cause = cause;
}

/* A live node below one that is done takes over its end; the lowest parent decides. */
static void inherit(struct model *model, int i)
{
    struct node *node = &model->nodes[i];
    for (int p = 0; kind_can_end(node->kind) && p < node->parents_count && !node->err; p++)
        end_node(node, model_err(model, node->parents[p]), model_cause(model, node->parents[p]));
}

static void end_tree(struct model *model, int top, int err, const canopy_cause *cause)
{
    end_node(&model->nodes[top], err, cause);
    for (int i = top + 1; i < model->count; i++)
        inherit(model, i);
}

bool model_cancel(struct model *model, int node, const canopy_cause *cause)
{
    if (!model_can_end(model, node) || model->nodes[node].err)
        return false;
    end_tree(model, node, -ECANCELED, cause ? cause : CANOPY_CANCELED);
    return true;
}

/* Below a context that a signal ends, one that it ends too has the same end either way. */
void model_raise(struct model *model, unsigned signals, const canopy_cause *cause)
{
    bool held[MODEL_NODES];
    model_held(model, held);
    for (int i = 0; i < model->count; i++)
        if (held[i] && (model->nodes[i].signals & signals) && !model->nodes[i].err)
            end_tree(model, i, -ECANCELED, cause);
}

bool model_watches(const struct model *model, unsigned signals)
{
    bool held[MODEL_NODES];
    model_held(model, held);
    for (int i = 0; i < model->count; i++)
        if (held[i] && (model->nodes[i].signals & signals))
            return true;
    return false;
}

static int64_t reported(int64_t deadline_ns)
{
    return deadline_ns < 0 ? 0 : deadline_ns; /* moments before zero are told as zero */
}

static bool has_passed(const struct model *model, int node, int64_t deadline_ns)
{
    /* Under background programs use no deadline but those long past and far ahead. */
    return deadline_ns <= (model->nodes[node].in_root ? model->now_ns : 0);
}

bool model_set_deadline(struct model *model, int i, int64_t deadline_ns)
{
    struct node *node = &model->nodes[i];
    if (!model_can_end(model, i) || node->err)
        return false;
    node->deadline_ns = reported(deadline_ns);
    if (has_passed(model, i, deadline_ns))
        end_tree(model, i, -ETIMEDOUT, node->deadline_cause);
    return true;
}

bool model_try_reset(struct model *model, int i)
{
    struct node *node = &model->nodes[i];
    if (node->kind != NODE_CANCEL || node->err || node->handles != 1 || node->has_fd ||
        model_has_derived(model, i) || model_has_armed(model, i))
        return false;
    node->deadline_ns = CANOPY_NEVER;
    node->deadline_cause = CANOPY_DEADLINE_EXCEEDED;
    return true;
}

/*
 * One node, whose parents have been settled. `above_ns` is the effective deadline
 * of its parents. Their end is its end. Its own deadline counts if it is earlier;
 * a clock that is late, and finds both due, may report either.
 */
static bool expire_node(struct model *model, int i, int64_t above_ns, const canopy_cause *seen)
{
    struct node *node = &model->nodes[i];
    bool own = node->deadline_ns <= model->now_ns && node->deadline_ns < above_ns;
    int allowed = own;
    if (own)
        end_node(node, -ETIMEDOUT, node->deadline_cause);
    for (int p = 0; p < node->parents_count; p++) {
        int err = model_err(model, node->parents[p]);
        const canopy_cause *cause = model_cause(model, node->parents[p]);
        if (!err)
            continue;
        if (allowed++ == 0 || cause == seen)
            end_node(node, err, cause);
    }
    /* With one outcome the comparison of all nodes decides; with more, `seen` has to be one. */
    return allowed < 2 || node->cause == seen;
}

bool model_advance(struct model *model, int64_t now_ns, model_observe observe, void *arg)
{
    int64_t deadlines_ns[MODEL_NODES];
    bool held[MODEL_NODES];
    if (now_ns > model->now_ns)
        model->now_ns = now_ns;
    model_deadlines(model, deadlines_ns);
    model_held(model, held);
    for (int i = 0; i < model->count; i++) {
        const struct node *node = &model->nodes[i];
        if (!held[i] || !kind_can_end(node->kind) || node->err)
            continue;
        int64_t above_ns = CANOPY_NEVER;
        for (int p = 0; p < node->parents_count; p++)
            if (deadlines_ns[node->parents[p]] < above_ns)
                above_ns = deadlines_ns[node->parents[p]];
        if (!expire_node(model, i, above_ns, observe(arg, i)))
            return false;
    }
    return true;
}

int64_t model_next(const struct model *model)
{
    bool held[MODEL_NODES];
    model_held(model, held);
    int64_t next_ns = CANOPY_NEVER;
    for (int i = 0; i < model->count; i++)
        if (held[i] && !model->nodes[i].err && model->nodes[i].in_root &&
            model->nodes[i].deadline_ns < next_ns)
            next_ns = model->nodes[i].deadline_ns;
    return next_ns;
}

/* ----------------------------------------------------------------------- derive */

static int add(struct model *model, enum node_kind kind)
{
    model->nodes[model->count] = (struct node){.kind = kind,
                                               .handles = 1,
                                               .deadline_ns = CANOPY_NEVER,
                                               .deadline_cause = CANOPY_DEADLINE_EXCEEDED};
    return model->count++;
}

int model_static(struct model *model)
{
    return add(model, NODE_STATIC);
}

int model_root(struct model *model)
{
    int node = add(model, NODE_ROOT);
    model->nodes[node].in_root = true;
    return node;
}

int model_derive(struct model *model, enum node_kind kind, const int parents[], int count)
{
    int i = add(model, kind);
    struct node *node = &model->nodes[i];
    memcpy(node->parents, parents, (size_t)count * sizeof *parents);
    node->parents_count = count;
    node->in_root = model->nodes[parents[0]].in_root;
    inherit(model, i);
    return i;
}

int model_with_deadline(struct model *model, int parent, int64_t deadline_ns, bool passed,
                        const canopy_cause *cause)
{
    int i = model_derive(model, NODE_CANCEL, &parent, 1);
    struct node *node = &model->nodes[i];
    node->deadline_ns = reported(deadline_ns);
    if (cause)
        node->deadline_cause = cause;
    if (!node->err && (passed || has_passed(model, parent, deadline_ns)))
        end_node(node, -ETIMEDOUT, node->deadline_cause);
    return i;
}

int model_with_value(struct model *model, int parent, const canopy_key *key, void *value)
{
    int i = model_derive(model, NODE_VALUE, &parent, 1);
    model->nodes[i].key = key;
    model->nodes[i].value = value;
    return i;
}

int model_copy(struct model *model, int node)
{
    int i = model->count++;
    model->nodes[i] = model->nodes[node];
    model->nodes[i].handles = 1;
    model->nodes[i].armed = 0;
    model->nodes[i].has_fd = false;
    return i;
}
