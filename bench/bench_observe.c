/*
 * bench_observe.c - what is done to a context while it is live, many times over:
 * asking whether it has ended, adding and stopping a callback, looking up a
 * value. The floors are one load; two exchanges on a line of the thread's own;
 * the same number of steps along a linked list.
 */
#include <stdint.h>
#include <stdlib.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

/* ------------------------------------------------------------------- err */

static void loop_err(void *root, int thread, uint64_t operations)
{
    (void)thread;
    for (; operations > 0; operations--)
        bench_keep((void *)(intptr_t)canopy_err(root));
}

static void loop_load(void *state, int thread, uint64_t operations)
{
    const bench_line *line = ((bench_lines *)state)->at[thread];

    for (; operations > 0; operations--)
        bench_keep((void *)__atomic_load_n(&line->word, __ATOMIC_ACQUIRE));
}

/* -------------------------------------------------------------- callback */

static void do_nothing(void *arg)
{
    (void)arg;
}

static void loop_callback(void *root, int thread, uint64_t operations)
{
    (void)thread;
    for (; operations > 0; operations--) {
        canopy_callback callback;

        bench_check(-canopy_after_func(root, &callback, do_nothing, NULL));
        canopy_callback_stop(&callback);
    }
}

static void loop_two_exchanges(void *state, int thread, uint64_t operations)
{
    bench_line *line = ((bench_lines *)state)->at[thread];

    for (; operations > 0; operations--) {
        bench_line_mark(line);
        bench_line_mark(line);
    }
}

/* ----------------------------------------------------------------- value */

struct values {
    canopy_ctx *root;
    int64_t n;
    canopy_key *keys;
    canopy_ctx **layers; /* the outermost first; each binds a key of its own */
};

static void *setup_values(int64_t arg, int threads)
{
    struct values *values = bench_must(malloc(sizeof *values));

    *values = (struct values){.root = bench_setup_root(arg, threads),
                              .n = arg,
                              .keys = bench_must(calloc((size_t)arg, sizeof *values->keys)),
                              .layers = bench_must(calloc((size_t)arg, sizeof *values->layers))};
    for (int64_t i = 0; i < arg; i++) {
        const canopy_ctx *parent = i == 0 ? values->root : values->layers[i - 1];

        values->layers[i] = bench_must(canopy_with_value(parent, &values->keys[i], values));
    }
    return values;
}

static void teardown_values(void *state)
{
    struct values *values = state;

    for (int64_t i = values->n; i-- > 0;)
        canopy_release(values->layers[i]);
    bench_teardown_root(values->root);
    free(values->layers);
    free(values->keys);
    free(values);
}

static void loop_value(void *state, int thread, uint64_t operations)
{
    const struct values *values = state;
    const canopy_ctx *ctx = values->layers[values->n - 1];

    (void)thread;
    for (; operations > 0; operations--)
        bench_keep(canopy_value(ctx, &values->keys[0]));
}

static void *setup_list(int64_t arg, int threads)
{
    bench_lines *lines = bench_setup_lines(arg, (int)arg);

    (void)threads;
    lines->at[lines->n - 1]->word = 1;
    return lines;
}

static void loop_list(void *state, int thread, uint64_t operations)
{
    const bench_lines *lines = state;

    (void)thread;
    for (; operations > 0; operations--) {
        const bench_line *line = lines->at[0];

        while (line->word != 1)
            line = line->next;
        bench_keep(line);
    }
}

void bench_add_observe(void)
{
    static const int threads[] = {1, 2, 0};
    static const bench_arg layers[] = {{32, 1}, {0, 0}};
    static const bench_case cases[] = {
        {.workload = "err",
         .side = "canopy",
         .setup = bench_setup_root,
         .loop = loop_err,
         .teardown = bench_teardown_root},
        {.workload = "err",
         .side = "load",
         .setup = bench_setup_lines,
         .loop = loop_load,
         .teardown = bench_teardown_lines},
        {.workload = "callback",
         .side = "canopy",
         .threads = threads,
         .setup = bench_setup_root,
         .loop = loop_callback,
         .teardown = bench_teardown_root},
        {.workload = "callback",
         .side = "two_exchanges",
         .threads = threads,
         .setup = bench_setup_lines,
         .loop = loop_two_exchanges,
         .teardown = bench_teardown_lines},
        {.workload = "value",
         .side = "canopy",
         .args = layers,
         .setup = setup_values,
         .loop = loop_value,
         .teardown = teardown_values},
        {.workload = "value",
         .side = "list",
         .args = layers,
         .setup = setup_list,
         .loop = loop_list,
         .teardown = bench_teardown_lines},
    };
    bench_add(cases, BENCH_COUNT(cases));
}
