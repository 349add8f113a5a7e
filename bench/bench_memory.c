/*
 * bench_memory.c - what a live context costs in memory, without and with a
 * deadline: the growth of the process's resident memory, and beside it what the
 * library asked the allocator for, and blocks of 128 bytes from malloc. Each
 * sample is taken in a child process, so that none finds the memory that an
 * earlier one has left behind; for the same reason the process that runs these
 * should run nothing else.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

/* --------------------------------------------------- requested by a root */

static void *counted_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    void *memory;

    if (align_bytes < sizeof(void *))
        align_bytes = sizeof(void *);
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    atomic_fetch_add((atomic_size_t *)user, size_bytes);
    return memory;
}

static void counted_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)align_bytes;
    atomic_fetch_sub((atomic_size_t *)user, size_bytes);
    free(memory);
}

/* ------------------------------------------------------- ways to measure */

/* One of `n` things that live: with its number, and what all are made under. */
typedef void *(*make_fn)(canopy_ctx *root, int64_t i);

static void *make_plain(canopy_ctx *root, int64_t i)
{
    (void)i;
    return canopy_with_cancel(root);
}

static void *make_deadline(canopy_ctx *root, int64_t i)
{
    /* Different and far: what a server's requests have. */
    static int64_t base_ns;

    if (i == 0)
        base_ns = bench_now_ns() + 3600 * BENCH_SECOND_NS;
    return canopy_with_deadline(root, base_ns + i * 1000);
}

static void *make_block(canopy_ctx *root, int64_t i)
{
    int64_t *block = malloc(128);

    (void)root;
    if (block)
        *block = i;
    return block;
}

static double resident_bytes(void)
{
    FILE *file = bench_must(fopen("/proc/self/statm", "r"));
    long pages = 0;

    if (fscanf(file, "%*s %ld", &pages) != 1)
        bench_must(NULL);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The bytes that each of `n` adds to the process. What it makes is left to exit. */
static double resident_each(make_fn make, int64_t n)
{
    canopy_ctx *root = bench_setup_root(0, 1);
    double before;

    bench_keep(bench_must(make(root, 0)));
    before = resident_bytes();
    for (int64_t i = 1; i < n; i++)
        bench_keep(bench_must(make(root, i)));
    return (resident_bytes() - before) / (double)(n - 1);
}

/* The bytes that each of `n` contexts makes the library ask for. */
static double requested_each(make_fn make, int64_t n)
{
    atomic_size_t bytes = 0;
    const canopy_config config = {.size = sizeof config,
                                  .allocate = counted_allocate,
                                  .release = counted_release,
                                  .user = &bytes};
    canopy_ctx *root = bench_must(canopy_root_new(&config));
    canopy_ctx **live = bench_must(calloc((size_t)n, sizeof *live));
    const size_t before = atomic_load(&bytes);
    double each;

    for (int64_t i = 0; i < n; i++)
        live[i] = bench_must(make(root, i));
    each = (double)(atomic_load(&bytes) - before) / (double)n;
    for (int64_t i = 0; i < n; i++)
        canopy_end(live[i]);
    bench_check(-canopy_wait_idle(root, bench_now_ns() + 10 * BENCH_SECOND_NS));
    while (canopy_root_free(root) != 0)
        usleep(1000); /* it may stay busy for a moment after the last end */
    free(live);
    return each;
}

size_t bench_context_bytes(void)
{
    static size_t size_bytes;

    if (size_bytes == 0)
        size_bytes = ((size_t)requested_each(make_deadline, 65536) + 15) / 16 * 16;
    return size_bytes;
}

/* ----------------------------------------------------------------- cases */

static void *setup_count(int64_t arg, int threads)
{
    int64_t *count = bench_must(malloc(sizeof *count));

    (void)threads;
    *count = arg;
    return count;
}

/* Measures in a child process, which hands the result back through a pipe. */
static void sample_in_child(bench_run *run, double (*measure)(make_fn make, int64_t n),
                            make_fn make, int64_t n)
{
    double each = 0;
    int ends[2];

    bench_check(pipe(ends) == 0 ? 0 : errno);
    const pid_t child = fork();
    if (child == 0) {
        each = measure(make, n);
        _exit(write(ends[1], &each, sizeof each) == (ssize_t)sizeof each ? 0 : 1);
    }
    close(ends[1]);
    if (child > 0 && read(ends[0], &each, sizeof each) == (ssize_t)sizeof each)
        bench_record(run, each);
    else
        bench_fail(run, "the child process gave no result");
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
}

static void sample_plain(void *count, bench_run *run)
{
    sample_in_child(run, resident_each, make_plain, *(int64_t *)count);
}

static void sample_deadline(void *count, bench_run *run)
{
    sample_in_child(run, resident_each, make_deadline, *(int64_t *)count);
}

static void sample_plain_requested(void *count, bench_run *run)
{
    sample_in_child(run, requested_each, make_plain, *(int64_t *)count);
}

static void sample_deadline_requested(void *count, bench_run *run)
{
    sample_in_child(run, requested_each, make_deadline, *(int64_t *)count);
}

static void sample_block(void *count, bench_run *run)
{
    sample_in_child(run, resident_each, make_block, *(int64_t *)count);
}

void bench_add_memory(void)
{
    static const bench_arg live[] = {{1000000, 1}, {0, 0}};
#define MEMORY_CASE(what, who, work)                                                               \
    {                                                                                              \
        .workload = (what), .side = (who), .unit = "bytes", .args = live, .setup = setup_count,    \
        .sample = (work), .teardown = free                                                         \
    }
    static const bench_case cases[] = {
        MEMORY_CASE("memory", "canopy", sample_plain),
        MEMORY_CASE("memory", "requested", sample_plain_requested),
        MEMORY_CASE("memory", "malloc_128", sample_block),
        MEMORY_CASE("memory_deadline", "canopy", sample_deadline),
        MEMORY_CASE("memory_deadline", "requested", sample_deadline_requested),
        MEMORY_CASE("memory_deadline", "malloc_128", sample_block),
    };
#undef MEMORY_CASE
    bench_add(cases, BENCH_COUNT(cases));
}
