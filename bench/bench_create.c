/*
 * bench_create.c - a context's shortest life: made under one root that all
 * threads share, cancelled, released; without and with a timeout. The floors
 * are malloc and free of a block of 128 bytes and of a context's size; three atomic
 * operations, as a child costs that is registered, ended and taken out again
 * without locks; and for the timeout a reading of the coarse clock as well.
 */
#include <stdlib.h>
#include <time.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

static void loop_create(void *root, int thread, uint64_t operations)
{
    (void)thread;
    for (; operations > 0; operations--)
        canopy_end(bench_must(canopy_with_cancel(root)));
}

static void loop_create_timeout(void *root, int thread, uint64_t operations)
{
    (void)thread;
    for (; operations > 0; operations--)
        canopy_end(bench_must(canopy_with_timeout(root, BENCH_TIMEOUT_NS)));
}

/* The floors' state is the size of a block. */

static void *setup_size(size_t size_bytes)
{
    size_t *size = bench_must(malloc(sizeof *size));

    *size = size_bytes;
    return size;
}

static void *setup_128(int64_t arg, int threads)
{
    (void)arg;
    (void)threads;
    return setup_size(128);
}

static void *setup_same(int64_t arg, int threads)
{
    (void)arg;
    (void)threads;
    return setup_size(bench_context_bytes());
}

static inline void malloc_free(size_t size_bytes)
{
    void *block = malloc(size_bytes);

    bench_keep(block);
    free(block);
}

static void loop_malloc(void *size, int thread, uint64_t operations)
{
    (void)thread;
    for (const size_t size_bytes = *(size_t *)size; operations > 0; operations--)
        malloc_free(size_bytes);
}

static void loop_three_exchanges(void *lines, int thread, uint64_t operations)
{
    for (bench_line *line = ((bench_lines *)lines)->at[thread]; operations > 0; operations--) {
        bench_line_mark(line);
        bench_line_mark(line);
        bench_line_mark(line);
    }
}

static void loop_malloc_clock(void *size, int thread, uint64_t operations)
{
    (void)thread;
    for (const size_t size_bytes = *(size_t *)size; operations > 0; operations--) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        bench_keep(&now);
        malloc_free(size_bytes);
    }
}

void bench_add_create(void)
{
    static const int threads[] = {1, 2, 4, 0};
#define CREATE_CASE(what, who, prepare, work, cleanup)                                             \
    {                                                                                              \
        .workload = (what), .side = (who), .threads = threads, .setup = (prepare), .loop = (work), \
        .teardown = (cleanup)                                                                      \
    }
    static const bench_case cases[] = {
        CREATE_CASE("create", "canopy", bench_setup_root, loop_create, bench_teardown_root),
        CREATE_CASE("create", "malloc_128", setup_128, loop_malloc, free),
        CREATE_CASE("create", "malloc_same", setup_same, loop_malloc, free),
        CREATE_CASE("create", "three_exchanges", bench_setup_lines, loop_three_exchanges,
                    bench_teardown_lines),
        CREATE_CASE("create_timeout", "canopy", bench_setup_root, loop_create_timeout,
                    bench_teardown_root),
        CREATE_CASE("create_timeout", "malloc_128", setup_128, loop_malloc, free),
        CREATE_CASE("create_timeout", "malloc_128_clock", setup_128, loop_malloc_clock, free),
    };
#undef CREATE_CASE
    bench_add(cases, BENCH_COUNT(cases));
}
