/*
 * tree.c - grows random trees, and judges the causes found in them.
 */
#include "tree.h"

#include <errno.h>

static canopy_cause own_causes[STRESS_MAX_THREADS][TREE_MAX];
static canopy_cause expiry_causes[TREE_MAX];

__attribute__((constructor)) static void name_causes(void)
{
    for (unsigned i = 0; i < TREE_MAX; i++) {
        for (unsigned who = 0; who < STRESS_MAX_THREADS; who++)
            own_causes[who][i] = (canopy_cause){(int)who, "cancelled by a thread", NULL, 0};
        expiry_causes[i] = (canopy_cause){-ETIMEDOUT, "a node's own deadline", NULL, 0};
    }
}

const canopy_cause *tree_own_cause(unsigned who, unsigned i)
{
    return &own_causes[who][i];
}

const canopy_cause *tree_expiry_cause(unsigned i)
{
    return &expiry_causes[i];
}

/* ---------------------------------------------------------------- growing */

static const canopy_ctx *handle_of(const stress_tree *tree, int index)
{
    return index == TREE_NONE ? stress.top : tree->nodes[index].ctx;
}

/* A merge of its parent with up to two others of the tree, the same one perhaps. */
static canopy_ctx *merge(stress_thread *t, const stress_tree *tree, tree_node *node)
{
    const canopy_ctx *inputs[TREE_PARENTS] = {handle_of(tree, node->parents[0])};
    unsigned more = stress_below(t, TREE_PARENTS);

    for (unsigned i = 1; i <= more; i++) {
        int other = (int)stress_below(t, tree->count + 1) - 1;
        node->parents[node->parents_count++] = other;
        inputs[i] = other == TREE_NONE ? canopy_todo() : handle_of(tree, other);
    }
    return stress_made(t, canopy_with_any(inputs, node->parents_count));
}

unsigned tree_add(stress_thread *t, stress_tree *tree, int parent, tree_kind kind, bool soon)
{
    unsigned index = tree->count;
    tree_node *node = &tree->nodes[index];
    const canopy_ctx *above = handle_of(tree, parent);
    int64_t deadline_ns;

    CHECK(index < TREE_MAX, "the tree is full");
    *node = (tree_node){.kind = kind, .parents_count = 1, .parents = {parent}};
    switch (kind) {
    case TREE_DEADLINE:
        deadline_ns = soon ? stress_soon_ns(t) : stress_now_ns() + STRESS_HOUR_NS;
        node->ctx = stress_made(
            t, canopy_with_deadline_cause(above, deadline_ns, tree_expiry_cause(index)));
        break;
    case TREE_MERGE:
        node->ctx = merge(t, tree, node);
        break;
    case TREE_VALUE:
        node->ctx = stress_bind(t, above, NULL);
        break;
    case TREE_DETACHED:
        node->ctx = stress_made(t, canopy_without_cancel(above));
        break;
    default:
        node->ctx = stress_made(t, canopy_with_cancel(above));
        break;
    }
    tree->count = index + 1;
    return index;
}

void tree_grow(stress_thread *t, stress_tree *tree, unsigned n, bool soon)
{
    unsigned shape = stress_below(t, 3);

    tree->count = 0;
    tree_add(t, tree, TREE_NONE, TREE_CANCEL, false);
    while (tree->count < n) {
        unsigned parent = 0; /* wide */
        if (shape == 1)
            parent = tree->count - 1; /* deep */
        else if (shape == 2)
            parent = stress_below(t, tree->count);
        tree_kind kind = stress_once_in(t, 3) ? TREE_CANCEL : stress_below(t, TREE_KINDS);
        /* A detached layer in a chain would cut all the rest off. */
        if (shape == 1 && kind == TREE_DETACHED)
            kind = TREE_VALUE;
        tree_add(t, tree, (int)parent, kind, soon && stress_once_in(t, 2));
    }
}

bool tree_can_end(const tree_node *node)
{
    return node->kind != TREE_VALUE && node->kind != TREE_DETACHED;
}

void tree_end(stress_thread *t, stress_tree *tree)
{
    unsigned order[TREE_MAX];

    stress_shuffle(t, order, tree->count);
    for (unsigned i = 0; i < tree->count; i++)
        canopy_end(tree->nodes[order[i]].ctx);
}

/* --------------------------------------------------------------- judgment */

void tree_reach(const stress_tree *tree, unsigned from, bool reached[])
{
    for (unsigned i = 0; i < tree->count; i++) {
        const tree_node *node = &tree->nodes[i];
        reached[i] = i == from;
        for (unsigned k = 0; k < node->parents_count; k++)
            if (node->kind != TREE_DETACHED && node->parents[k] != TREE_NONE)
                reached[i] |= reached[node->parents[k]];
    }
}

tree_sight tree_look(const canopy_ctx *ctx)
{
    /* In this order: cause and err are set by the time that done is seen. */
    bool done = canopy_done(ctx);
    tree_sight sight = {canopy_err(ctx), canopy_cause_of(ctx)};

    CHECK(!done || (sight.err && sight.cause), "done with err %d, cause %p", sight.err,
          (const void *)sight.cause);
    if (!sight.err)
        sight.cause = NULL; /* it may have ended since */
    else
        CHECK(sight.cause, "err %d without a cause", sight.err);
    return sight;
}

/* The node that decides over `index`: itself, or what its value layers hang from. */
static int deciding(const stress_tree *tree, int index)
{
    while (index != TREE_NONE && tree->nodes[index].kind == TREE_VALUE)
        index = tree->nodes[index].parents[0];
    if (index != TREE_NONE && tree->nodes[index].kind == TREE_DETACHED)
        return TREE_NONE;
    return index;
}

static bool inherited(const stress_tree *tree, const tree_sight sights[], unsigned i)
{
    const tree_node *node = &tree->nodes[i];

    for (unsigned k = 0; k < node->parents_count; k++) {
        int above = deciding(tree, node->parents[k]);
        if (above != TREE_NONE && sights[above].cause == sights[i].cause &&
            sights[above].err == sights[i].err)
            return true;
    }
    return false;
}

void tree_judge(const stress_tree *tree, const tree_sight sights[], const int winners[])
{
    for (unsigned i = 0; i < tree->count; i++) {
        const tree_node *node = &tree->nodes[i];
        const tree_sight *sight = &sights[i];

        if (!tree_can_end(node))
            continue;
        if (winners[i] >= 0) {
            CHECK(sight->err == -ECANCELED && sight->cause == tree_own_cause(winners[i], i),
                  "thread %d won node %u, which reports %d, cause %d \"%s\"", winners[i], i,
                  sight->err, sight->cause ? sight->cause->code : 0,
                  sight->cause ? sight->cause->text : "");
        } else if (sight->err) {
            bool expired = node->kind == TREE_DEADLINE && sight->err == -ETIMEDOUT &&
                           sight->cause == tree_expiry_cause(i);
            CHECK(expired || inherited(tree, sights, i),
                  "node %u reports %d, cause %d \"%s\", which nobody above it does", i, sight->err,
                  sight->cause->code, sight->cause->text);
        }
    }
}
