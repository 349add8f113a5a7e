/*
 * support.h - what several cases share: time, randomness, a root to work under,
 * and rows of cache lines for the floors.
 */
#ifndef CANOPY_BENCH_SUPPORT_H
#define CANOPY_BENCH_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_COUNT(array) (sizeof(array) / sizeof(array)[0])

#define BENCH_SECOND_NS INT64_C(1000000000)

/* Far enough away never to fire while a benchmark runs, as a server's timeout is. */
#define BENCH_TIMEOUT_NS (30 * BENCH_SECOND_NS)

/* CLOCK_MONOTONIC. */
int64_t bench_now_ns(void);

/* Returns `pointer`; ends the process, with errno's text, if it is NULL. */
void *bench_must(void *pointer);

/* Ends the process unless `result`, a pthread function's, is 0. */
void bench_check(int result);

/* Ties the calling thread to the CPU of that number, modulo those we may use. */
void bench_pin(int index);

/* Lets it run anywhere again. */
void bench_unpin(void);

/* How many CPUs we may use. */
int bench_cpus(void);

/* Stops the compiler from leaving out the work whose result `pointer` is. */
static inline void bench_keep(const void *pointer)
{
    __asm__ volatile("" : : "g"(pointer) : "memory");
}

/* xorshift64: cheap against the work it directs; the seed must not be 0. */
static inline uint64_t bench_random(uint64_t *seed)
{
    uint64_t x = *seed;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *seed = x;
    return x;
}

/*
 * Setup and teardown for all that works under one shared context, as the
 * requests of a server do. Its clock is running already, so that no benchmark
 * times the start of a thread.
 */
void *bench_setup_root(int64_t arg, int threads);
void bench_teardown_root(void *root);

/*
 * The size of a live context with a deadline, as the library's own requests for
 * memory show it, rounded up to what malloc deals in. Found out on the first
 * call (bench_memory.c).
 */
size_t bench_context_bytes(void);

/*
 * Lines that were allocated one by one, as contexts are, and a list of their
 * addresses: the least that a walk over children has to touch.
 */
typedef struct bench_line {
    uintptr_t word;
    struct bench_line *next;
} bench_line;

typedef struct bench_lines {
    size_t n;
    bench_line **at;
} bench_lines;

/* What any cancel has to do to a context at the least: one exchange. */
static inline void bench_line_mark(bench_line *line)
{
    bench_keep((void *)__atomic_exchange_n(&line->word, (uintptr_t)1, __ATOMIC_SEQ_CST));
}

/* `n` lines of `line_bytes`, aligned to that; each linked to the one after it. */
bench_lines bench_lines_new(size_t n, size_t line_bytes);
void bench_lines_free(bench_lines *lines);

/* Setup and teardown for floors that give each thread a line of its own. */
void *bench_setup_lines(int64_t arg, int threads);
void bench_teardown_lines(void *lines);

#ifdef __cplusplus
}
#endif

#endif
