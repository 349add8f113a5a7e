/*
 * bench_clock.c - how late deadlines are: contexts with deadlines spread over
 * the next 50 ms, each with a callback that notes the time. The floor is one
 * thread that sleeps until each of the same deadlines in turn. A deadline that
 * fires early makes the run invalid.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

#define FIRST_NS (BENCH_SECOND_NS / 1000)
#define LAST_NS  (BENCH_SECOND_NS / 20)

struct alarm {
    struct clock_run *run;
    int64_t deadline_ns;
    int64_t fired_ns;
    canopy_ctx *ctx;
    canopy_callback callback;
};

struct clock_run {
    canopy_ctx *root;
    uint64_t seed;
    sem_t fired;
    int64_t n;
    struct alarm *alarms;
};

static void *setup_clock(int64_t arg, int threads)
{
    struct clock_run *run = bench_must(malloc(sizeof *run));

    *run = (struct clock_run){.root = bench_setup_root(arg, threads),
                              .seed = 1,
                              .n = arg,
                              .alarms = bench_must(calloc((size_t)arg, sizeof *run->alarms))};
    sem_init(&run->fired, 0, 0);
    return run;
}

static void teardown_clock(void *state)
{
    struct clock_run *run = state;

    sem_destroy(&run->fired);
    bench_teardown_root(run->root);
    free(run->alarms);
    free(run);
}

static void pick_deadlines(struct clock_run *run)
{
    const int64_t now_ns = bench_now_ns();

    for (int64_t i = 0; i < run->n; i++) {
        const int64_t offset_ns = (int64_t)(bench_random(&run->seed) % (LAST_NS - FIRST_NS));

        run->alarms[i] = (struct alarm){.run = run, .deadline_ns = now_ns + FIRST_NS + offset_ns};
    }
}

static void record_lateness(const struct clock_run *run, bench_run *result)
{
    for (int64_t i = 0; i < run->n; i++) {
        const int64_t late_ns = run->alarms[i].fired_ns - run->alarms[i].deadline_ns;

        if (late_ns < 0)
            bench_fail(result, "a deadline fired early");
        bench_record(result, (double)late_ns);
    }
}

static void on_expiry(void *arg)
{
    struct alarm *alarm = arg;

    alarm->fired_ns = bench_now_ns();
    sem_post(&alarm->run->fired);
}

/* False when no further deadline fired in a time that is long against all of them. */
static bool wait_for_expiry(struct clock_run *run)
{
    const int64_t until_ns = bench_now_ns() + 10 * BENCH_SECOND_NS;
    const struct timespec until = {.tv_sec = until_ns / BENCH_SECOND_NS,
                                   .tv_nsec = until_ns % BENCH_SECOND_NS};

    while (sem_clockwait(&run->fired, CLOCK_MONOTONIC, &until) != 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

static void sample_contexts(void *state, bench_run *result)
{
    struct clock_run *run = state;
    bool all_fired = true;

    pick_deadlines(run);
    for (int64_t i = 0; i < run->n; i++) {
        struct alarm *alarm = &run->alarms[i];

        alarm->ctx = bench_must(canopy_with_deadline(run->root, alarm->deadline_ns));
        bench_check(-canopy_after_func(alarm->ctx, &alarm->callback, on_expiry, alarm));
    }
    for (int64_t i = 0; all_fired && i < run->n; i++)
        all_fired = wait_for_expiry(run);
    for (int64_t i = 0; i < run->n; i++) {
        canopy_callback_stop(&run->alarms[i].callback);
        canopy_callback_join(&run->alarms[i].callback);
        canopy_end(run->alarms[i].ctx);
    }
    if (all_fired)
        record_lateness(run, result);
    else
        bench_fail(result, "a deadline did not fire");
}

static int by_deadline(const void *a, const void *b)
{
    const struct alarm *left = a, *right = b;

    return (left->deadline_ns > right->deadline_ns) - (left->deadline_ns < right->deadline_ns);
}

static void sample_sleep(void *state, bench_run *result)
{
    struct clock_run *run = state;

    pick_deadlines(run);
    qsort(run->alarms, (size_t)run->n, sizeof *run->alarms, by_deadline);
    for (int64_t i = 0; i < run->n; i++) {
        struct alarm *alarm = &run->alarms[i];
        const struct timespec until = {.tv_sec = alarm->deadline_ns / BENCH_SECOND_NS,
                                       .tv_nsec = alarm->deadline_ns % BENCH_SECOND_NS};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            continue;
        alarm->fired_ns = bench_now_ns();
    }
    record_lateness(run, result);
}

void bench_add_clock(void)
{
    static const bench_arg deadlines[] = {{200, 3}, {0, 0}};
    static const bench_case cases[] = {
        {.workload = "lateness",
         .side = "canopy",
         .args = deadlines,
         .setup = setup_clock,
         .sample = sample_contexts,
         .teardown = teardown_clock},
        {.workload = "lateness",
         .side = "clock_nanosleep",
         .args = deadlines,
         .setup = setup_clock,
         .sample = sample_sleep,
         .teardown = teardown_clock},
    };
    bench_add(cases, BENCH_COUNT(cases));
}
