/*
 * team.c - a team of threads: where they meet, what drives them through the
 * rounds of a chapter, how a chapter closes, and who notices that they hang.
 *
 * The threads meet on a counter that they spin on, since only threads that are
 * running already can arrive in the same hundred nanoseconds; those that wait
 * long give the processor away.
 */
#include "team.h"
#include "memory.h"
#include "stress.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SPINS_BEFORE_YIELD 2000

/* Enough to run its paths: what is under background can be neither counted nor waited for. */
#define BACKGROUND_ONCE_IN 8

stress_run stress;
_Thread_local int stress_self = -1;

static struct {
    _Alignas(128) atomic_uint arrived;
    _Alignas(128) atomic_uint generation;
    _Alignas(128) atomic_ullong rounds; /* of the chapter */
    atomic_uint running;                /* threads that have not left the chapter */
    int64_t until_ns;
    bool over; /* set by the round's leader, read after the meeting */
} team;

_Noreturn void stress_fail(const char *where, int line, const char *what, const char *format, ...)
{
    static atomic_flag failed = ATOMIC_FLAG_INIT;
    va_list arguments;

    /* The first one to fail tells; the others would only blur it. */
    while (atomic_flag_test_and_set(&failed))
        sleep(1);
    fflush(stdout);
    fprintf(stderr,
            "stress: FAILED in %s, round %llu of the chapter, %s:%d: %s: ", stress.scenario->name,
            (unsigned long long)atomic_load(&team.rounds), where, line, what);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nstress: again: stress %s --seed %llu --threads %u\n", stress.scenario->name,
            (unsigned long long)stress.seed, stress.threads);
    _exit(1);
}

/* ------------------------------------------------------------- randomness */

/* splitmix64: any state is a good one, so a seed needs no warming up. */
uint64_t stress_random(stress_thread *t)
{
    uint64_t z = t->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

void stress_jitter(stress_thread *t)
{
    /* First the magnitude: most windows are a few instructions wide, but not all. */
    unsigned pauses = stress_below(t, 1U << stress_below(t, 9));
    while (pauses-- > 0)
        pause_cpu();
}

void stress_shuffle(stress_thread *t, unsigned order[], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned other = stress_below(t, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

/* --------------------------------------------------------------- contexts */

static atomic_uint values_bound, values_destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&values_destroyed, 1);
}

const canopy_key stress_key = {"stress", count_destroyed};

canopy_ctx *stress_made(stress_thread *t, canopy_ctx *ctx)
{
    CHECK(ctx, "a constructor failed with errno %d", errno);
    stress_count(t, STRESS_CONTEXTS);
    return ctx;
}

canopy_ctx *stress_bind(stress_thread *t, const canopy_ctx *parent, void *value)
{
    atomic_fetch_add(&values_bound, 1);
    return stress_made(t, canopy_with_value(parent, &stress_key, value));
}

canopy_ctx *stress_derive(stress_thread *t, const canopy_ctx *parent)
{
    const canopy_ctx *inputs[] = {stress.top, parent, parent};

    switch (stress_below(t, 6)) {
    case 0:
        return stress_made(t, canopy_with_timeout(parent, STRESS_HOUR_NS));
    case 1:
        return stress_bind(t, parent, NULL);
    case 2:
        return stress_made(t, canopy_with_any(inputs, 2 + stress_below(t, 2)));
    default:
        return stress_made(t, canopy_with_cancel(parent));
    }
}

/* ------------------------------------------------------------------- time */

int64_t stress_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t stress_soon_ns(stress_thread *t)
{
    if (stress.host_clock)
        return stress.host_now_ns + 1 + stress_below(t, 1000);
    return stress_now_ns() + stress_below(t, 100000);
}

void stress_pass_soon(int64_t soon_ns)
{
    if (!stress.host_clock) {
        while (stress_now_ns() < soon_ns)
            pause_cpu();
        return;
    }
    stress.host_now_ns = soon_ns;
    int result = canopy_root_advance(stress.root, soon_ns, NULL);
    CHECK(result == 0, "advance returned %d", result);
}

void stress_await(const atomic_uint *counter, unsigned value, const char *what)
{
    int64_t limit_ns = stress_limit_ns();
    while (atomic_load(counter) != value) {
        CHECK(stress_now_ns() < limit_ns, "%s: %u, not %u", what, atomic_load(counter), value);
        sched_yield();
    }
}

/* ----------------------------------------------------------------- rounds */

static void meet(void)
{
    unsigned generation = atomic_load_explicit(&team.generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&team.arrived, 1, memory_order_acq_rel) + 1 == stress.threads) {
        atomic_store_explicit(&team.arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team.generation, generation + 1, memory_order_release);
        return;
    }
    for (unsigned spins = 1;
         atomic_load_explicit(&team.generation, memory_order_acquire) == generation; spins++) {
        if (spins % SPINS_BEFORE_YIELD == 0)
            sched_yield();
        else
            pause_cpu();
    }
}

static void begin_round(stress_thread *t)
{
    team.over = stress_now_ns() >= team.until_ns;
    if (team.over)
        return;
    bool background = !stress.host_clock && stress_once_in(t, BACKGROUND_ONCE_IN);
    stress.top = background ? canopy_background() : stress.root;
    stress.scenario->begin(t);
}

static void end_round(stress_thread *t)
{
    stress.scenario->end(t);
    atomic_fetch_add(&team.rounds, 1);
}

static void *member(void *arg)
{
    stress_thread *t = arg;

    stress_self = (int)t->who;
    for (uint64_t round = 0;; round++) {
        /* Everybody leads in turn, so that each takes over what another has made. */
        if (round % stress.threads == t->who) {
            if (round > 0)
                end_round(t);
            begin_round(t);
        }
        meet();
        if (team.over)
            break;
        stress_jitter(t);
        stress.scenario->race(t);
        meet();
    }
    atomic_fetch_sub(&team.running, 1);
    return NULL;
}

/* --------------------------------------------------------------- chapters */

static void open_root(uint64_t chapter)
{
    canopy_config config = {
        .size = sizeof config, .allocate = memory_allocate, .release = memory_release};

    stress.host_clock = stress.scenario->host_clock && chapter % 2 == 1;
    stress.host_now_ns = 1;
    if (stress.host_clock) {
        config.clock = CANOPY_CLOCK_HOST;
        config.now_ns = stress.host_now_ns;
    }
    stress.root = canopy_root_new(&config);
    CHECK(stress.root, "no root, errno %d", errno);
}

static void close_root(void)
{
    int64_t limit_ns = stress_limit_ns();
    int result = canopy_wait_idle(stress.root, limit_ns);
    CHECK(result == 0, "something is left under the root (%d), %zu bytes live", result,
          memory_live_bytes());
    CHECK(!canopy_done(stress.root), "the root ended, and nobody cancelled it");
    while ((result = canopy_root_free(stress.root)) == -EBUSY) {
        CHECK(stress_now_ns() < limit_ns, "an idle root stays busy");
        sched_yield();
    }
    CHECK(result == 0, "root_free returned %d", result);
    CHECK(memory_live_bytes() == 0, "%zu bytes leaked", memory_live_bytes());
    /* Those under background may still be on their way. */
    stress_await(&values_destroyed, atomic_load(&values_bound), "values destroyed");
}

/* Returns when the team has left; a team that stands still has lost something. */
static void watch(void)
{
    const struct timespec nap = {.tv_nsec = 2000000};
    uint64_t seen = 0;
    int64_t limit_ns = stress_limit_ns() + STRESS_PATIENCE_NS;

    while (atomic_load(&team.running) > 0) {
        nanosleep(&nap, NULL);
        uint64_t rounds = atomic_load(&team.rounds);
        if (rounds != seen) {
            seen = rounds;
            limit_ns = stress_limit_ns() + STRESS_PATIENCE_NS;
        }
        CHECK(stress_now_ns() < limit_ns, "a round does not end: a lost wake-up or a deadlock");
    }
}

uint64_t team_chapter(uint64_t chapter, int64_t until_ns, uint64_t counts[])
{
    static stress_thread threads[STRESS_MAX_THREADS];
    pthread_t ids[STRESS_MAX_THREADS];
    const unsigned n = stress.threads;

    open_root(chapter);
    team.until_ns = until_ns;
    atomic_store(&team.rounds, 0);
    atomic_store(&team.running, n);
    for (unsigned i = 0; i < n; i++) {
        threads[i] = (stress_thread){.who = i, .random = stress.seed};
        /* The seed, drawn once, keeps chapters and threads on streams of their own. */
        threads[i].random = stress_random(&threads[i]) ^ (chapter << 8 | i);
        threads[i].random = stress_random(&threads[i]);
        int result = pthread_create(&ids[i], NULL, member, &threads[i]);
        CHECK(result == 0, "no thread: %d", result);
    }
    watch();
    for (unsigned i = 0; i < n; i++) {
        pthread_join(ids[i], NULL);
        for (unsigned k = 0; k < STRESS_MAX_COUNTS; k++)
            counts[k] += threads[i].counts[k];
    }
    close_root();
    return atomic_load(&team.rounds);
}
