/*
 * bench_wake.c - from the cancel of a context to the moment at which the last of
 * its waiting threads runs again. The floor is a bare futex, waited for and
 * woken by the same threads. On each CPU a thread of the idle class spins, so
 * that the time to wake a halted CPU is no part of the result.
 */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <canopy/canopy.h>

#include "cases.h"
#include "harness.h"
#include "support.h"

/* How long the waiters are given to fall asleep, for each of them and in all. */
enum { SETTLE_EACH_NS = 10000, SETTLE_NS = 200000 };

struct team;

/* What is waited for. */
struct method {
    void (*arm)(struct team *team);
    void (*wait)(struct team *team);
    void (*wake)(struct team *team);
    void (*disarm)(struct team *team);
};

struct waiter {
    pthread_t thread;
    struct team *team;
    int64_t woken_ns;
};

struct spinner {
    pthread_t thread;
    const struct team *team;
    int cpu;
};

struct team {
    const struct method *method;
    canopy_ctx *root;
    canopy_ctx *ctx;
    _Atomic uint32_t futex;
    pthread_barrier_t start, end;
    atomic_int waiting; /* waiters that are about to sleep */
    atomic_bool over;
    int n;
    struct waiter *waiters;
    struct spinner *spinners;
};

/* --------------------------------------------------------------- methods */

static void arm_context(struct team *team)
{
    team->ctx = bench_must(canopy_with_cancel(team->root));
}

static void wait_context(struct team *team)
{
    canopy_wait(team->ctx, CANOPY_NEVER);
}

static void wake_context(struct team *team)
{
    canopy_cancel(team->ctx);
}

static void disarm_context(struct team *team)
{
    canopy_release(team->ctx);
}

static void arm_futex(struct team *team)
{
    atomic_store(&team->futex, 0);
}

static void wait_futex(struct team *team)
{
    while (atomic_load(&team->futex) == 0)
        syscall(SYS_futex, &team->futex, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void wake_futex(struct team *team)
{
    atomic_store(&team->futex, 1);
    syscall(SYS_futex, &team->futex, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void disarm_futex(struct team *team)
{
    (void)team;
}

static const struct method by_context = {arm_context, wait_context, wake_context, disarm_context};
static const struct method by_futex = {arm_futex, wait_futex, wake_futex, disarm_futex};

/* ------------------------------------------------------------------ team */

static void *waiter_main(void *arg)
{
    struct waiter *waiter = arg;
    struct team *team = waiter->team;

    for (;;) {
        pthread_barrier_wait(&team->start);
        if (atomic_load(&team->over))
            return NULL;
        atomic_fetch_add(&team->waiting, 1);
        team->method->wait(team);
        waiter->woken_ns = bench_now_ns();
        pthread_barrier_wait(&team->end);
    }
}

static void *spinner_main(void *arg)
{
    const struct spinner *spinner = arg;
    const struct sched_param none = {.sched_priority = 0};

    bench_pin(spinner->cpu);
    /* Should that be forbidden, no spinner is better than one that takes CPU time. */
    if (sched_setscheduler(0, SCHED_IDLE, &none) == 0) {
        while (!atomic_load_explicit(&spinner->team->over, memory_order_relaxed))
            continue;
    }
    return NULL;
}

static void *setup_team(const struct method *method, int64_t arg, int threads)
{
    struct team *team = bench_must(malloc(sizeof *team));

    *team = (struct team){
        .method = method,
        .root = bench_setup_root(arg, threads),
        .n = (int)arg,
        .waiters = bench_must(calloc((size_t)arg, sizeof *team->waiters)),
        .spinners = bench_must(calloc((size_t)bench_cpus(), sizeof *team->spinners)),
    };
    bench_check(pthread_barrier_init(&team->start, NULL, (unsigned)team->n + 1));
    bench_check(pthread_barrier_init(&team->end, NULL, (unsigned)team->n + 1));
    for (int i = 0; i < team->n; i++) {
        struct waiter *waiter = &team->waiters[i];

        waiter->team = team;
        bench_check(pthread_create(&waiter->thread, NULL, waiter_main, waiter));
    }
    for (int i = 0; i < bench_cpus(); i++) {
        struct spinner *spinner = &team->spinners[i];

        *spinner = (struct spinner){.team = team, .cpu = i};
        bench_check(pthread_create(&spinner->thread, NULL, spinner_main, spinner));
    }
    return team;
}

static void *setup_by_context(int64_t arg, int threads)
{
    return setup_team(&by_context, arg, threads);
}

static void *setup_by_futex(int64_t arg, int threads)
{
    return setup_team(&by_futex, arg, threads);
}

static void teardown_team(void *state)
{
    struct team *team = state;

    atomic_store(&team->over, true);
    pthread_barrier_wait(&team->start);
    for (int i = 0; i < team->n; i++)
        pthread_join(team->waiters[i].thread, NULL);
    for (int i = 0; i < bench_cpus(); i++)
        pthread_join(team->spinners[i].thread, NULL);
    pthread_barrier_destroy(&team->start);
    pthread_barrier_destroy(&team->end);
    bench_teardown_root(team->root);
    free(team->waiters);
    free(team->spinners);
    free(team);
}

static void sample_wake(void *state, bench_run *run)
{
    struct team *team = state;
    const struct timespec settle = {.tv_nsec = SETTLE_NS + SETTLE_EACH_NS * team->n};
    const struct timespec moment = {.tv_nsec = SETTLE_EACH_NS};
    int64_t last_ns = 0;

    team->method->arm(team);
    atomic_store(&team->waiting, 0);
    pthread_barrier_wait(&team->start);
    while (atomic_load(&team->waiting) < team->n)
        nanosleep(&moment, NULL);
    nanosleep(&settle, NULL);

    const int64_t start_ns = bench_now_ns();
    team->method->wake(team);
    pthread_barrier_wait(&team->end);

    for (int i = 0; i < team->n; i++) {
        if (last_ns < team->waiters[i].woken_ns)
            last_ns = team->waiters[i].woken_ns;
    }
    bench_record(run, (double)(last_ns - start_ns));
    team->method->disarm(team);
}

void bench_add_wake(void)
{
    static const bench_arg waiters[] = {{1, 100}, {64, 30}, {0, 0}};
    static const bench_case cases[] = {
        {.workload = "wake_last",
         .side = "canopy",
         .args = waiters,
         .setup = setup_by_context,
         .sample = sample_wake,
         .teardown = teardown_team},
        {.workload = "wake_last",
         .side = "futex",
         .args = waiters,
         .setup = setup_by_futex,
         .sample = sample_wake,
         .teardown = teardown_team},
    };
    bench_add(cases, BENCH_COUNT(cases));
}
