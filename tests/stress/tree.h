/*
 * tree.h - random trees of contexts that know what must become of them: who is
 * below whom, and whose cause each one may report.
 */
#ifndef CANOPY_TESTS_TREE_H
#define CANOPY_TESTS_TREE_H

#include "stress.h"

#define TREE_MAX     320
#define TREE_PARENTS 3
#define TREE_NONE    (-1) /* a parent outside the tree that is never done */

typedef enum tree_kind {
    TREE_CANCEL,
    TREE_DEADLINE,
    TREE_MERGE,
    TREE_VALUE,
    TREE_DETACHED,
    TREE_KINDS
} tree_kind;

typedef struct tree_node {
    canopy_ctx *ctx;
    tree_kind kind;
    unsigned parents_count;
    int parents[TREE_PARENTS]; /* of lower index, or TREE_NONE; more than one for a merge only */
} tree_node;

typedef struct stress_tree {
    unsigned count;
    tree_node nodes[TREE_MAX];
} stress_tree;

/* What a thread found out about a node: enough to judge it when it is gone. */
typedef struct tree_sight {
    int err;
    const canopy_cause *cause;
} tree_sight;

/* The cause with which thread `who` cancels node `i`, so that the cause names the winner. */
const canopy_cause *tree_own_cause(unsigned who, unsigned i);

/* The cause that node `i` was given for its expiry. */
const canopy_cause *tree_expiry_cause(unsigned i);

/* Appends a node below `parent` (TREE_NONE: below stress.top); returns its index. One thread at a
 * time; a deadline is an hour away, or with `soon` one that passes in this round. */
unsigned tree_add(stress_thread *t, stress_tree *tree, int parent, tree_kind kind, bool soon);

/* A new tree of `n` nodes of all kinds, node 0 a plain context under stress.top. */
void tree_grow(stress_thread *t, stress_tree *tree, unsigned n, bool soon);

/* Whether cancel of the node's handle can end it: not so for layers. */
bool tree_can_end(const tree_node *node);

/* reached[i]: a cancel of node `from` must reach node i. */
void tree_reach(const stress_tree *tree, unsigned from, bool reached[]);

/* What the context says, checked to be whole: err and cause both, or neither. */
tree_sight tree_look(const canopy_ctx *ctx);

/*
 * Checks sights taken when all calls were over: a node's cause is its own or
 * that of what it hangs from. `winners[i]` is the thread whose cancel returned
 * true, or -1.
 */
void tree_judge(const stress_tree *tree, const tree_sight sights[], const int winners[]);

/* Ends all nodes, in random order. */
void tree_end(stress_thread *t, stress_tree *tree);

#endif
