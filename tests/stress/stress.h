/*
 * stress.h - what the stress scenarios share: a team of threads that meets,
 * races and meets again, thousands of times a second, under a root whose
 * memory is counted.
 *
 * A scenario is three functions. `begin` sets a round up on one thread; `race`
 * runs on all threads at once, each let go after a small random delay; `end`
 * checks what came out, again on one thread, and gives everything back. Rounds
 * are gathered into chapters. A chapter has threads and a root of its own, and
 * closes only when the root is idle, freed, and has returned every byte.
 */
#ifndef CANOPY_TESTS_STRESS_H
#define CANOPY_TESTS_STRESS_H

#include <canopy/canopy.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRESS_MAX_THREADS 8
#define STRESS_MAX_COUNTS  12

/* How long a thing that must happen may take on a machine that is busy. */
#define STRESS_PATIENCE_NS INT64_C(120000000000)
#define STRESS_HOUR_NS     INT64_C(3600000000000)

/* A line of the report. A required one that stays zero fails the scenario: the
 * race that it stands for was not run. */
typedef struct stress_counter {
    const char *label;
    bool required;
} stress_counter;

/* Every scenario counts the contexts it makes under index 0. */
#define STRESS_CONTEXTS 0

/* One of the team, on a cache line that no other thread writes. */
typedef struct stress_thread {
    _Alignas(128) unsigned who; /* 0 .. stress_run.threads - 1 */
    uint64_t random;            /* state of the generator */
    uint64_t counts[STRESS_MAX_COUNTS];
} stress_thread;

typedef struct stress_scenario {
    const char *name;
    unsigned threads, threads_min;
    bool host_clock;    /* every second chapter has a root that the host drives */
    void (*open)(void); /* once, before the first chapter */
    void (*begin)(stress_thread *t);
    void (*race)(stress_thread *t);
    void (*end)(stress_thread *t);
    stress_counter counters[STRESS_MAX_COUNTS];
    struct stress_scenario *next;
} stress_scenario;

/* What the team has in common; only `begin`, `end` and the expiring thread write it. */
typedef struct stress_run {
    const stress_scenario *scenario;
    uint64_t seed;
    unsigned threads;
    canopy_ctx *root;      /* the chapter's */
    const canopy_ctx *top; /* the round's: the root, or background now and then */
    bool host_clock;
    int64_t host_now_ns;
} stress_run;

extern stress_run stress;

/* The number of the calling thread, or -1 where a thread of the library calls. */
extern _Thread_local int stress_self;

void stress_register(stress_scenario *scenario);

/* STRESS_SCENARIO(p05_name, .race = ..., ...): the build finds scenarios by this line. */
#define STRESS_SCENARIO(name_, ...)                                                                \
    static stress_scenario name_##_scenario = {.name = #name_, __VA_ARGS__};                       \
    __attribute__((constructor)) static void name_##_enlist(void)                                  \
    {                                                                                              \
        stress_register(&name_##_scenario);                                                        \
    }                                                                                              \
    _Static_assert(sizeof(#name_) > 1, "a scenario has a name")

/* Ends the process with the seed and what went wrong. */
_Noreturn void stress_fail(const char *where, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define CHECK(condition_, ...)                                                                     \
    ((condition_) ? (void)0 : stress_fail(__func__, __LINE__, #condition_, __VA_ARGS__))

/* ------------------------------------------------------------- randomness */

uint64_t stress_random(stress_thread *t);

/* Uniform below `bound`, which is at least 1. */
static inline unsigned stress_below(stress_thread *t, unsigned bound)
{
    return (unsigned)(((stress_random(t) >> 32) * bound) >> 32);
}

/* True once in `times`. */
static inline bool stress_once_in(stress_thread *t, unsigned times)
{
    return stress_below(t, times) == 0;
}

/* Waits for a handful of cycles, of a random magnitude. */
void stress_jitter(stress_thread *t);

/* Fills `order` with 0 .. n - 1, shuffled. */
void stress_shuffle(stress_thread *t, unsigned order[], unsigned n);

/* --------------------------------------------------------------- counting */

static inline void stress_count(stress_thread *t, unsigned counter)
{
    t->counts[counter]++;
}

/* Counts a context that a constructor returned, and insists that it did. */
canopy_ctx *stress_made(stress_thread *t, canopy_ctx *ctx);

/* The key of the layers that stress_bind makes. Each chapter checks that its destroy ran as often
 * as something was bound. */
extern const canopy_key stress_key;

canopy_ctx *stress_bind(stress_thread *t, const canopy_ctx *parent, void *value);

/* A child of any kind, with no end of its own in sight, that an end of `parent` reaches. */
canopy_ctx *stress_derive(stress_thread *t, const canopy_ctx *parent);

/* ------------------------------------------------------------------- time */

int64_t stress_now_ns(void);

/* A moment after which nothing that had to happen can be excused. */
static inline int64_t stress_limit_ns(void)
{
    return stress_now_ns() + STRESS_PATIENCE_NS;
}

/* A deadline, on the clock of the chapter, that passes during this round. */
int64_t stress_soon_ns(stress_thread *t);

/* Returns when what stress_soon_ns gave has passed. One thread a round. */
void stress_pass_soon(int64_t soon_ns);

/* Waits until *counter reaches `value`, and fails as `what` when it does not. */
void stress_await(const atomic_uint *counter, unsigned value, const char *what);

#endif
