/*
 * bench_request.c - the contexts of one request to a server: a connection, the
 * request with its timeout, two values, two calls upstream; all ended in the
 * order in which a server gets to it. The floor is as many blocks from malloc,
 * and one reading of the coarse clock.
 */
#include <stdlib.h>
#include <time.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

enum { REQUEST_CONTEXTS = 6 };

static const canopy_key user_key = {.name = "user"};
static const canopy_key trace_key = {.name = "trace"};

static void loop_request(void *root, int thread, uint64_t operations)
{
    (void)thread;
    for (; operations > 0; operations--) {
        canopy_ctx *connection = bench_must(canopy_with_cancel(root));
        canopy_ctx *request = bench_must(canopy_with_timeout(connection, BENCH_TIMEOUT_NS));
        canopy_ctx *user = bench_must(canopy_with_value(request, &user_key, root));
        canopy_ctx *trace = bench_must(canopy_with_value(user, &trace_key, root));
        canopy_ctx *first = bench_must(canopy_with_cancel(trace));
        canopy_ctx *second = bench_must(canopy_with_cancel(trace));

        canopy_end(first);
        canopy_end(second);
        canopy_release(trace);
        canopy_release(user);
        canopy_end(request);
        canopy_end(connection);
    }
}

static void *setup_nothing(int64_t arg, int threads)
{
    (void)arg;
    (void)threads;
    return NULL;
}

static void loop_malloc(void *state, int thread, uint64_t operations)
{
    (void)state;
    (void)thread;
    for (; operations > 0; operations--) {
        void *blocks[REQUEST_CONTEXTS];
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        bench_keep(&now);
        for (int i = 0; i < REQUEST_CONTEXTS; i++) {
            blocks[i] = malloc(128);
            bench_keep(blocks[i]);
        }
        for (int i = REQUEST_CONTEXTS; i-- > 0;)
            free(blocks[i]);
    }
}

void bench_add_request(void)
{
    static const int threads[] = {1, 2, 0};
    static const bench_case cases[] = {
        {.workload = "request",
         .side = "canopy",
         .threads = threads,
         .setup = bench_setup_root,
         .loop = loop_request,
         .teardown = bench_teardown_root},
        {.workload = "request",
         .side = "malloc_128x6_clock",
         .threads = threads,
         .setup = setup_nothing,
         .loop = loop_malloc,
         .teardown = free},
    };
    bench_add(cases, BENCH_COUNT(cases));
}
