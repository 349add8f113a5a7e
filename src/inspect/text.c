/*
 * text.c - contexts as a tree, one a line. A walk gathers who is there, sorted by parents;
 * what there is to be said of each is asked for by its id as its line is written, so what
 * has gone by then has no line, and what was below it stands at the left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/dump.h"

#define INDENT_MOST 40

struct node {
    uint64_t parent;
    uint64_t id;
    size_t up; /* the node of the parent, while the walk is below it */
};

struct tree {
    struct node *nodes;
    size_t count, room;
};

static int compare(const void *a, const void *b)
{
    const struct node *left = a, *right = b;
    if (left->parent != right->parent)
        return left->parent < right->parent ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

static int compare_ids(const void *a, const void *b)
{
    const struct node *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static bool tree_grow(struct tree *tree)
{
    size_t room = tree->room ? tree->room * 2 : 256;
    struct node *nodes = realloc(tree->nodes, room * sizeof *nodes);
    if (!nodes)
        return false;
    tree->nodes = nodes;
    tree->room = room;
    return true;
}

static bool tree_gather(struct tree *tree, canopy_walk *walk)
{
    canopy_info infos[DUMP_INFOS];
    for (int count; (count = canopy_walk_next(walk, infos, DUMP_INFOS)) > 0;)
        for (int i = 0; i < count; i++) {
            if (tree->count == tree->room && !tree_grow(tree))
                return false;
            tree->nodes[tree->count++] =
                (struct node){.parent = infos[i].parent_id, .id = infos[i].id};
        }
    return true;
}

/* Whose parent is not among them stands at the top. */
static void tree_sort(struct tree *tree)
{
    if (tree->count == 0)
        return;
    qsort(tree->nodes, tree->count, sizeof *tree->nodes, compare_ids);
    for (size_t i = 0; i < tree->count; i++) {
        struct node key = {.id = tree->nodes[i].parent};
        if (!bsearch(&key, tree->nodes, tree->count, sizeof key, compare_ids))
            tree->nodes[i].parent = 0;
    }
    qsort(tree->nodes, tree->count, sizeof *tree->nodes, compare);
}

/* The first child of `parent`, or `count`. */
static size_t first_below(const struct tree *tree, uint64_t parent)
{
    size_t low = 0, high = tree->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tree->nodes[middle].parent < parent)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tree->count && tree->nodes[low].parent == parent ? low : tree->count;
}

/* ---------------------------------------------------------------------- a line */

static void write_end(struct sink *sink, const canopy_info *info)
{
    sink_text(sink, info->err == -ETIMEDOUT ? " timed out: " : " canceled: ");
    sink_quoted(sink, info->cause.text ? info->cause.text : "");
    if (info->ended_by && info->ended_by != info->id) {
        sink_text(sink, ", by ");
        sink_id(sink, info->ended_by);
    }
    if (info->ended_tid) {
        sink_text(sink, ", thread ");
        sink_number(sink, info->ended_tid);
    }
    if (info->ended_at) {
        sink_text(sink, ", at ");
        sink_place(sink, info->ended_at);
    }
}

static void write_context(struct sink *sink, const canopy_info *info, int64_t now_ns)
{
    if (info->name)
        sink_quoted(sink, info->name);
    else
        sink_text(sink, sink_kind_name(info->kind));
    sink_char(sink, ' ');
    sink_id(sink, info->id);
    sink_text(sink, " age ");
    sink_duration(sink, now_ns - info->made_ns);
    sink_text(sink, " made at ");
    sink_place(sink, info->made_at);
    if (info->err) {
        write_end(sink, info);
    } else if (info->deadline_ns != CANOPY_NEVER) {
        sink_text(sink, " due in ");
        sink_duration(sink, info->deadline_ns - now_ns);
    }
    if (info->handles == 0)
        sink_text(sink, " released");
    sink_char(sink, '\n');
}

static void write_node(struct sink *sink, const struct node *node, size_t depth, int64_t now_ns)
{
    canopy_info info;
    if (canopy_inspect(node->id, &info, sizeof info) != 0)
        return;
    for (size_t i = 0; i < depth && i < INDENT_MOST; i++)
        sink_text(sink, "  ");
    write_context(sink, &info, now_ns);
}

/* Depth first, without a stack: up again by `up`, on to the next with the same parent. */
static void tree_write(struct tree *tree, struct sink *sink, int64_t now_ns)
{
    struct node *nodes = tree->nodes;
    size_t depth = 0, at = first_below(tree, 0);
    size_t up = tree->count;
    while (at < tree->count && !sink->err) {
        nodes[at].up = up;
        write_node(sink, &nodes[at], depth, now_ns);
        size_t below = first_below(tree, nodes[at].id);
        if (below < tree->count) {
            up = at;
            at = below;
            depth++;
            continue;
        }
        while (at + 1 >= tree->count || nodes[at + 1].parent != nodes[at].parent) {
            if (depth == 0)
                return;
            depth--;
            at = nodes[at].up;
        }
        up = nodes[at].up;
        at++;
    }
}

int dump_text(canopy_walk *walk, struct sink *sink, int64_t now_ns)
{
    struct tree tree = {NULL, 0, 0};
    bool has_memory = tree_gather(&tree, walk);
    if (has_memory) {
        tree_sort(&tree);
        tree_write(&tree, sink, now_ns);
        sink_flush(sink);
    }
    free(tree.nodes);
    return has_memory ? sink->err : -ENOMEM;
}
