/*
 * bench_cancel.c - one cancel that ends many: a parent with up to a million
 * children, and a chain of a hundred thousand. Only the cancel is timed; the
 * result is for each context. The floors change one line for each, once, with
 * an exchange: through a list of addresses, or each line leading to the next.
 */
#include <stdlib.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

struct tree {
    canopy_ctx *root;
    int64_t n;
    canopy_ctx **nodes; /* parents before children */
};

static void *setup_tree(int64_t arg, int threads)
{
    struct tree *tree = bench_must(malloc(sizeof *tree));

    *tree = (struct tree){.root = bench_setup_root(arg, threads),
                          .n = arg,
                          .nodes = bench_must(calloc((size_t)arg, sizeof *tree->nodes))};
    return tree;
}

static void teardown_tree(void *state)
{
    struct tree *tree = state;

    bench_teardown_root(tree->root);
    free(tree->nodes);
    free(tree);
}

/* Cancels `top`, which has been given tree->n descendants, and takes all down. */
static void cancel_and_end(struct tree *tree, canopy_ctx *top, bench_run *run)
{
    const int64_t start_ns = bench_now_ns();
    canopy_cancel(top);
    const int64_t end_ns = bench_now_ns();

    if (!canopy_done(tree->nodes[tree->n - 1]))
        bench_fail(run, "a descendant is not done after the cancel");
    bench_record(run, (double)(end_ns - start_ns) / (double)tree->n);
    for (int64_t i = tree->n; i-- > 0;)
        canopy_end(tree->nodes[i]);
    canopy_end(top);
}

static void sample_wide(void *state, bench_run *run)
{
    struct tree *tree = state;
    canopy_ctx *parent = bench_must(canopy_with_cancel(tree->root));

    for (int64_t i = 0; i < tree->n; i++)
        tree->nodes[i] = bench_must(canopy_with_cancel(parent));
    cancel_and_end(tree, parent, run);
}

static void sample_deep(void *state, bench_run *run)
{
    struct tree *tree = state;
    canopy_ctx *top = bench_must(canopy_with_cancel(tree->root));

    for (int64_t i = 0; i < tree->n; i++)
        tree->nodes[i] = bench_must(canopy_with_cancel(i == 0 ? top : tree->nodes[i - 1]));
    cancel_and_end(tree, top, run);
}

/* The floors: lines made anew for each walk, as the contexts above are. */

struct walk {
    size_t n;
    size_t line_bytes;
};

static void *setup_walk(int64_t n, size_t line_bytes)
{
    struct walk *walk = bench_must(malloc(sizeof *walk));

    *walk = (struct walk){.n = (size_t)n, .line_bytes = line_bytes};
    return walk;
}

static void *setup_walk_64(int64_t arg, int threads)
{
    (void)threads;
    return setup_walk(arg, 64);
}

static void *setup_walk_128(int64_t arg, int threads)
{
    (void)threads;
    return setup_walk(arg, 128);
}

static void sample_walk_wide(void *state, bench_run *run)
{
    const struct walk *walk = state;
    bench_lines lines = bench_lines_new(walk->n, walk->line_bytes);

    const int64_t start_ns = bench_now_ns();
    for (size_t i = 0; i < lines.n; i++)
        bench_line_mark(lines.at[i]);
    const int64_t end_ns = bench_now_ns();

    bench_record(run, (double)(end_ns - start_ns) / (double)lines.n);
    bench_lines_free(&lines);
}

static void sample_walk_deep(void *state, bench_run *run)
{
    const struct walk *walk = state;
    bench_lines lines = bench_lines_new(walk->n, walk->line_bytes);

    const int64_t start_ns = bench_now_ns();
    for (bench_line *line = lines.at[0]; line; line = line->next)
        bench_line_mark(line);
    const int64_t end_ns = bench_now_ns();

    bench_record(run, (double)(end_ns - start_ns) / (double)lines.n);
    bench_lines_free(&lines);
}

void bench_add_cancel(void)
{
    static const bench_arg widths[] = {{1000, 300}, {100000, 5}, {1000000, 1}, {0, 0}};
    static const bench_arg depths[] = {{100000, 5}, {0, 0}};
#define CANCEL_CASE(what, who, sizes, prepare, work, cleanup)                                      \
    {                                                                                              \
        .workload = (what), .side = (who), .args = (sizes), .setup = (prepare), .sample = (work),  \
        .teardown = (cleanup)                                                                      \
    }
    static const bench_case cases[] = {
        CANCEL_CASE("cancel_wide", "canopy", widths, setup_tree, sample_wide, teardown_tree),
        CANCEL_CASE("cancel_wide", "walk_64", widths, setup_walk_64, sample_walk_wide, free),
        CANCEL_CASE("cancel_wide", "walk_128", widths, setup_walk_128, sample_walk_wide, free),
        CANCEL_CASE("cancel_deep", "canopy", depths, setup_tree, sample_deep, teardown_tree),
        CANCEL_CASE("cancel_deep", "walk_64", depths, setup_walk_64, sample_walk_deep, free),
        CANCEL_CASE("cancel_deep", "walk_128", depths, setup_walk_128, sample_walk_deep, free),
    };
#undef CANCEL_CASE
    bench_add(cases, BENCH_COUNT(cases));
}
