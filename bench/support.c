/*
 * support.c - what several cases share; see support.h.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <canopy/canopy.h>

/* Where the process was allowed to run before anything was pinned. */
static cpu_set_t allowed;

__attribute__((constructor)) static void note_allowed(void)
{
    sched_getaffinity(0, sizeof allowed, &allowed);
}

int64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * BENCH_SECOND_NS + now.tv_nsec;
}

void bench_check(int result)
{
    if (result != 0) {
        fprintf(stderr, "canopy_bench: %s\n", strerror(result));
        exit(1);
    }
}

void *bench_must(void *pointer)
{
    if (!pointer)
        bench_check(errno ? errno : ENOMEM);
    return pointer;
}

int bench_cpus(void)
{
    return CPU_COUNT(&allowed);
}

void bench_pin(int index)
{
    int skip = index % bench_cpus();
    cpu_set_t one;

    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && skip-- == 0) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    bench_check(pthread_setaffinity_np(pthread_self(), sizeof one, &one));
}

void bench_unpin(void)
{
    bench_check(pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed));
}

void *bench_setup_root(int64_t arg, int threads)
{
    (void)arg;
    (void)threads;
    canopy_ctx *root = bench_must(canopy_with_cancel(canopy_background()));

    canopy_end(bench_must(canopy_with_timeout(root, BENCH_TIMEOUT_NS)));
    return root;
}

void bench_teardown_root(void *root)
{
    canopy_end(root);
}

bench_lines bench_lines_new(size_t n, size_t line_bytes)
{
    bench_lines lines = {.n = n, .at = bench_must(malloc(n * sizeof *lines.at))};

    for (size_t i = n; i-- > 0;)
        lines.at[i] = NULL; /* the list's own pages are there before the lines */
    for (size_t i = 0; i < n; i++) {
        bench_line *line = bench_must(aligned_alloc(line_bytes, line_bytes));

        *line = (bench_line){.word = 0, .next = NULL};
        if (i > 0)
            lines.at[i - 1]->next = line;
        lines.at[i] = line;
    }
    return lines;
}

void bench_lines_free(bench_lines *lines)
{
    for (size_t i = 0; i < lines->n; i++)
        free(lines->at[i]);
    free(lines->at);
}

void *bench_setup_lines(int64_t arg, int threads)
{
    bench_lines *lines = bench_must(malloc(sizeof *lines));

    (void)arg;
    *lines = bench_lines_new((size_t)threads, 128); /* 64 would share the prefetcher's pairs */
    return lines;
}

void bench_teardown_lines(void *lines)
{
    bench_lines_free(lines);
    free(lines);
}
