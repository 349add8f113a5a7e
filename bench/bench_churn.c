/*
 * bench_churn.c - many live contexts under one root, of which a random one ends
 * and a new one takes its place: memory that is neither hot nor in order. The
 * live ones are shared out among the threads. The floor does the same with
 * blocks from malloc.
 */
#include <stdlib.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

struct churn {
    canopy_ctx *root; /* NULL for the floor */
    size_t n;         /* live things in all */
    size_t share;     /* of each thread */
    void **live;
};

static struct churn *churn_new(canopy_ctx *root, int64_t arg, int threads)
{
    struct churn *churn = bench_must(malloc(sizeof *churn));

    *churn = (struct churn){.root = root, .share = (size_t)arg / (size_t)threads};
    churn->n = churn->share * (size_t)threads;
    churn->live = bench_must(calloc(churn->n, sizeof *churn->live));
    return churn;
}

static void churn_free(struct churn *churn)
{
    free(churn->live);
    free(churn);
}

/* The next place of `thread` that is to be emptied and filled again. */
static inline void **churn_pick(const struct churn *churn, int thread, uint64_t *seed)
{
    return &churn->live[(size_t)thread * churn->share + bench_random(seed) % churn->share];
}

static void *setup_contexts(int64_t arg, int threads)
{
    struct churn *churn = churn_new(bench_setup_root(arg, threads), arg, threads);

    for (size_t i = 0; i < churn->n; i++)
        churn->live[i] = bench_must(canopy_with_cancel(churn->root));
    return churn;
}

static void loop_contexts(void *state, int thread, uint64_t operations)
{
    const struct churn *churn = state;

    for (uint64_t seed = (uint64_t)thread + 1; operations > 0; operations--) {
        void **place = churn_pick(churn, thread, &seed);

        canopy_end(*place);
        *place = bench_must(canopy_with_cancel(churn->root));
    }
}

static void teardown_contexts(void *state)
{
    struct churn *churn = state;

    for (size_t i = 0; i < churn->n; i++)
        canopy_end(churn->live[i]);
    bench_teardown_root(churn->root);
    churn_free(churn);
}

static inline void *filled_block(void)
{
    size_t *block = bench_must(malloc(128));

    *block = 1;
    bench_keep(block);
    return block;
}

static void *setup_blocks(int64_t arg, int threads)
{
    struct churn *churn = churn_new(NULL, arg, threads);

    for (size_t i = 0; i < churn->n; i++)
        churn->live[i] = filled_block();
    return churn;
}

static void loop_blocks(void *state, int thread, uint64_t operations)
{
    const struct churn *churn = state;

    for (uint64_t seed = (uint64_t)thread + 1; operations > 0; operations--) {
        void **place = churn_pick(churn, thread, &seed);

        free(*place);
        *place = filled_block();
    }
}

static void teardown_blocks(void *state)
{
    struct churn *churn = state;

    for (size_t i = 0; i < churn->n; i++)
        free(churn->live[i]);
    churn_free(churn);
}

void bench_add_churn(void)
{
    static const int threads[] = {1, 2, 0};
    static const bench_arg live[] = {{100000, 1}, {0, 0}};
    static const bench_case cases[] = {
        {.workload = "churn",
         .side = "canopy",
         .args = live,
         .threads = threads,
         .setup = setup_contexts,
         .loop = loop_contexts,
         .teardown = teardown_contexts},
        {.workload = "churn",
         .side = "malloc_128",
         .args = live,
         .threads = threads,
         .setup = setup_blocks,
         .loop = loop_blocks,
         .teardown = teardown_blocks},
    };
    bench_add(cases, BENCH_COUNT(cases));
}
