/*
 * counted.h - what is counted, and by what means.
 *
 * A case is an operation of the interface, done many times over by one call of
 * `work`, on one thread or on several in turn. A means counts what happens
 * between count_begin and count_end: instructions (under callgrind), calls of
 * the allocator, system calls, or the lines written by each thread (under
 * lackey). Each means is linked with all cases into a program of its own.
 *
 * Threads take turns, each asleep while another works: so a count is the same
 * in each run, and what a line is written by is known, though the threads stand
 * for ones that run at the same time.
 */
#ifndef CANOPY_TESTS_COUNTED_H
#define CANOPY_TESTS_COUNTED_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <canopy/canopy.h>
#include <canopy/loop.h>

#define SECOND_NS INT64_C(1000000000)

/* Far enough away never to fire while we count, as a server's timeout is. */
#define TIMEOUT_NS (30 * SECOND_NS)

/* What one call of `work` does, most often. */
#define BATCH 256

/* Operations that have to be many at once: the children of one cancel. */
#define CROWD 1000

/* And as many of those as show whether what a cancel costs grows faster than they do. */
#define CROWDS 4

/* Roots that one thread works under in turn. */
#define ROOTS 64

/* What everybody works under. */
enum parent {
    UNDER_BACKGROUND,
    UNDER_SHARED,    /* a context under background, as a server's root is */
    UNDER_TWO,       /* two of them in turn */
    UNDER_MIDDLE,    /* one in the middle of a tree */
    UNDER_ROOT,      /* a root of its own */
    UNDER_HOST_ROOT, /* the same, driven by the host's clock */
    UNDER_NOTED_ROOT /* one that keeps notes */
};

/* What one thread works on; on lines that no other thread touches. */
struct part {
    canopy_ctx **standing; /* contexts that live all the while: scene.live of them */
    canopy_ctx *nodes[CROWD];
    canopy_ctx *roots[ROOTS];
    canopy_ctx *ctx;
    canopy_callback callback;
    canopy_loop loop;
    canopy_loop_callback loop_callback;
    uint64_t random;
    int64_t now_ns; /* of a clock of its own */
    struct sleeper *sleeper;
    struct maker *maker;
} __attribute__((aligned(128)));

struct scene {
    unsigned threads;
    size_t live;
    canopy_ctx *top;    /* unless it is background */
    canopy_ctx *middle; /* likewise */
    canopy_ctx *second; /* where there are two */
    const canopy_ctx *parent;
    bool has_root;
    bool has_host_clock;
    int64_t now_ns; /* of that clock */
    struct part *parts;
};

struct counted_case {
    const char *name;
    enum parent parent;
    unsigned operations; /* of one call of `work` */
    unsigned threads;    /* unless told otherwise; 0: one */
    size_t live;         /* likewise */
    unsigned wakes;      /* system calls by which one call of `work` may wake others */
    void (*enter)(struct scene *scene, struct part *part);
    void (*before)(struct scene *scene, struct part *part); /* each call of `work` */
    void (*work)(struct scene *scene, struct part *part);
    void (*after)(struct scene *scene, struct part *part);
    void (*leave)(struct scene *scene, struct part *part);
};

/* Ends with one whose name is NULL. */
extern const struct counted_case counted_cases[];

/* Returns `pointer`; ends the process if it is NULL. */
static inline void *must(void *pointer)
{
    if (__builtin_expect(!pointer, 0)) {
        perror("counted");
        exit(EXIT_FAILURE);
    }
    return pointer;
}

/* Waits for a semaphore, whatever signals come. */
static inline void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* ------------------------------------------------------------------- scene.c */

struct scene *scene_open(const struct counted_case *of, unsigned threads, size_t live);
/* On each thread, at its beginning and end: its contexts that live all the while. */
void scene_enter(struct scene *scene, struct part *part);
void scene_leave(struct scene *scene, struct part *part);
void scene_close(struct scene *scene);

/*
 * Returns once all other threads sleep, those of the library as well: what is
 * counted from here on is the caller's.
 */
void await_quiet(void);

/* A thread that can be put to sleep on a context. */
struct sleeper *sleeper_new(void);
void sleeper_sleep(struct sleeper *sleeper, const canopy_ctx *ctx); /* returns once it sleeps */
void sleeper_sleep_until_idle(struct sleeper *sleeper, const canopy_ctx *ctx);
void sleeper_await(struct sleeper *sleeper); /* returns once it woke */
void sleeper_free(struct sleeper *sleeper);

/* ----------------------------------------------------- a means, each in its file */

/* Around each call of `work`, on its thread; the first time, the means gets ready. */
void count_begin(unsigned thread);
void count_end(void);

/* Says what was counted; the process's exit status. */
int count_report(const struct counted_case *of, uint64_t operations, uint64_t calls);

#endif
