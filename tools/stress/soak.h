/*
 * soak.h - what the parts of the soak runner share.
 *
 * The runner makes and ends contexts of all kinds from several threads for as
 * long as it is told to, checks each of them, and reports how rate, memory and
 * latency went on the way. It needs the public interface, pthread and glibc's
 * argp, nothing else, so it goes into anybody's build, under any sanitizer:
 *
 *   cc -std=c11 -D_GNU_SOURCE -O2 -pthread *.c -lcanopy -o canopy-stress
 *   ./canopy-stress --contexts 1e9 | ./curve
 *
 *   main.c     options, the run, the verdict
 *   work.c     what a thread does: the operations and what each must see
 *   report.c   samples, the progress line, the JSON at the end
 */
#ifndef SOAK_H
#define SOAK_H

#include <canopy/canopy.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* How late a thing that must happen may be on a machine that is busy. */
#define PATIENCE_NS (60 * NS_PER_SECOND)

#define EXIT_VIOLATION   1
#define EXIT_NO_PROGRESS 2

enum operation {
    OP_CREATE,   /* make, cancel, release */
    OP_TREE,     /* a small tree, cancelled from its top */
    OP_TIMEOUT,  /* a deadline that is cancelled, or one that expires */
    OP_VALUE,    /* two bindings, looked up */
    OP_CALLBACK, /* a callback that is stopped, or one that runs */
    OP_ANY,      /* a merge, ended by an input or by itself */
    OP_HANDOVER, /* made here, ended by another thread, its parent gone before */
    OP_GUEST,    /* work below a context that another thread may end meanwhile */
    OP_RESET,    /* one context that serves several times */
    OP_WAIT,     /* a thread that sleeps until a deadline wakes it */
    OP_COUNT
};

extern const char *const operation_names[OP_COUNT];

struct options {
    unsigned threads;
    double seconds;    /* 0: no limit */
    uint64_t contexts; /* 0: no limit */
    uint64_t seed;
    uint64_t shift; /* operations after which a thread makes room for a new one; 0: never */
    unsigned points;
    double flat_percent; /* how much memory and latency may grow; 0: not judged */
    bool background;     /* below background, not below a root whose memory is counted */
    bool quiet;
    double mix[OP_COUNT];
};

/* ------------------------------------------------------------------ statistics */

enum total {
    TOTAL_MADE,
    TOTAL_ENDED,
    TOTAL_EXPIRED,
    TOTAL_RAN,
    TOTAL_STOPPED,
    TOTAL_HANDED_OVER,
    TOTAL_OVERTAKEN,
    TOTAL_BOUND,
    TOTAL_SHIFTS,
    TOTAL_COUNT
};

/* Times in buckets whose width is an eighth of their octave: 12 % off at most. */
#define LATENCY_STEPS   8
#define LATENCY_BUCKETS ((size_t)64 * LATENCY_STEPS)

/* Written by one thread, read by the reporting one at any time. */
struct statistics {
    atomic_uint_fast64_t totals[TOTAL_COUNT];
    atomic_uint_fast64_t operations[OP_COUNT];
    atomic_uint_fast64_t latency[LATENCY_BUCKETS];
};

/* No read-modify-write: each counter has one writer. */
static inline void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* ------------------------------------------------------------------------ seats */

struct shelf;

/* What outlives the threads that work on it, one after the other. */
struct seat {
    _Alignas(128) unsigned index;
    uint64_t random;
    struct run *run;
    struct statistics statistics;
    _Alignas(128) atomic_uint_fast64_t destroyed; /* of the values bound here, by any thread */
};

struct run {
    struct options options;
    canopy_ctx *root;    /* NULL below background */
    canopy_ctx *session; /* the parent that all threads share */
    struct shelf *shelf;
    struct seat *seats;
    uint32_t choice[OP_COUNT]; /* the mix, cumulated: the last reaches UINT32_MAX */
    int64_t start_ns;
    atomic_bool stop;
    atomic_uint_fast64_t made; /* brought up to date a batch at a time */
    atomic_uint_fast64_t violations;
    atomic_size_t held_bytes; /* of the root's memory */
};

/* work.c */
int64_t now_ns(void);
struct shelf *shelf_new(void);
/* Ends what lies there, on the account of `seat`, whose thread is gone. */
void shelf_clear(struct seat *seat, struct shelf *shelf);
/* One thread's time on a seat: until the end of its shift, or of the run. */
void work(struct seat *seat);

/* Says what broke, and ends the run. */
void violation(struct run *run, const struct seat *seat, const char *file, int line,
               const char *what);

#define EXPECT(seat, condition, what)                                                              \
    do {                                                                                           \
        if (!(condition))                                                                          \
            violation((seat)->run, seat, __FILE__, __LINE__, what);                                \
    } while (0)

/* report.c */
struct report;
struct report *report_new(struct run *run);
/* Looks at the statistics: a sample when one is due, and the progress line. */
void report_tick(struct report *report);
/* The last sample, when all threads are through. */
void report_finish(struct report *report);
bool report_is_flat(const struct report *report);
void report_json(const struct report *report, bool ok, FILE *out);
void report_free(struct report *report);
uint64_t total_of(const struct run *run, enum total total);

#endif
