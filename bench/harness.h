/*
 * harness.h - what a benchmark is, in C, and how it is handed to the harness.
 *
 * A workload is something to be done, such as making and ending a context. Each
 * workload has several sides: "canopy" does it with the library, the others are
 * floors, which do the least that any library would have to do. A case is one
 * side of one workload. All that is known about timing, repetition and output
 * is in harness.cc; a case knows only its own work, so the same workload can be
 * given further sides without touching what is here.
 *
 * A case is measured in one of two ways:
 *
 *  - `loop` does so many operations, on each of its threads at once. The
 *    harness chooses the number and times the whole. The result is wall time
 *    over the operations of all threads: perfect scaling from one thread to two
 *    halves it.
 *  - `sample` does something that has untimed parts, or whose result is no
 *    time, measures it itself, and reports one or many values with
 *    bench_record. It has one thread of the harness.
 */
#ifndef CANOPY_BENCH_HARNESS_H
#define CANOPY_BENCH_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One run of a `sample`; the harness's own. */
typedef struct bench_run bench_run;

/* A size at which a workload is run, and how often `sample` is called there. */
typedef struct bench_arg {
    int64_t value;
    unsigned samples;
} bench_arg;

typedef struct bench_case {
    const char *workload;
    const char *side;
    const char *unit;      /* of the values: "ns" or "bytes"; NULL: "ns" */
    const bench_arg *args; /* up to one whose value is 0; NULL: no sizes, arg is 0 */
    const int *threads;    /* up to a 0; NULL: one thread */

    /* Run once for all threads, not timed; what setup returns is handed to the others. */
    void *(*setup)(int64_t arg, int threads);
    void (*teardown)(void *state);

    /* One of the two. */
    void (*loop)(void *state, int thread, uint64_t operations);
    void (*sample)(void *state, bench_run *run);
} bench_case;

/* Adds one value in the case's unit to `run`. */
void bench_record(bench_run *run, double value);

/* Says that `run` is not valid; `reason` is static. */
void bench_fail(bench_run *run, const char *reason);

/* Makes `n` cases known; they must stay in place. */
void bench_add(const bench_case *cases, size_t n);

/* Runs what the command line, which is Google Benchmark's, selects. */
int bench_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
