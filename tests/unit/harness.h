/*
 * harness.h - what the unit tests share: registration of test cases, time,
 * threads, races, an allocator that counts and fails, a root that shows leaks,
 * and checks on contexts.
 *
 * A test is TEST(p05_second_cancel_returns_false) { ... }, on a line of its
 * own, named after the promise it checks. It runs in a process of its own: a
 * failed assertion, on whatever thread, prints and aborts that process. SIGALRM
 * belongs to the harness: it ends a test that hangs.
 */
#ifndef CANOPY_TESTS_HARNESS_H
#define CANOPY_TESTS_HARNESS_H

#include <canopy/canopy.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#include <atomic>
using std::atomic_fetch_add, std::atomic_load, std::atomic_size_t, std::atomic_store,
    std::atomic_uint;
extern "C" {
#else
#include <stdatomic.h>
#endif

/* cmocka wants the four standard headers above it. */
#include <cmocka.h>

/* Our ranges are of signed numbers. cmocka 2 has an assertion for them, and a warning for
 * the one that cmocka 1 has; its stop() would stand for each function of that name. */
#ifdef assert_int_in_range
#undef assert_in_range
#define assert_in_range assert_int_in_range
#endif
#undef stop

/* ------------------------------------------------------------------- cases */

struct test_case {
    const char *name;
    void (*body)(void **state);
    struct test_case *next;
};

void test_register(struct test_case *test);

/* How many of them ctest knows in this program, which each of its sources is told. */
extern unsigned tests_known;
#ifdef UNIT_TEST_COUNT
__attribute__((weak)) unsigned tests_known = UNIT_TEST_COUNT;
#endif

#define TEST(name)                                                                                 \
    static void name(void **state);                                                                \
    static struct test_case name##_case = {#name, name, NULL};                                     \
    __attribute__((constructor)) static void name##_register(void)                                 \
    {                                                                                              \
        test_register(&name##_case);                                                               \
    }                                                                                              \
    static void name(void **state __attribute__((unused)))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* A count for a plain build, and a smaller one for builds with sanitizers. */
#define SCALED(plain, sanitized) (UNDER_SANITIZER ? (sanitized) : (plain))

/* -------------------------------------------------------------------- time */

#define MICROSECONDS(n) ((int64_t)(n)*1000)
#define MILLISECONDS(n) ((int64_t)(n)*1000000)
#define SECONDS(n)      ((int64_t)(n)*1000000000)
#define HOURS(n)        SECONDS((int64_t)(n)*3600)

/*
 * How long a test waits for what must happen soon. No verdict hangs on a machine being
 * quiet: a bound on time only says "not never", and what must come first is made to.
 */
#define SOON SECONDS(60)

/* For alarm() in a process that a test has forked, which hangs: less than the test's own. */
#define CHILD_TIMEOUT_S 500

int64_t now_ns(void);
void pause_ns(int64_t duration_ns);

/* True as soon as `condition` holds, false if it still does not after `timeout_ns`. */
#define eventually(condition, timeout_ns)                                                          \
    (__extension__({                                                                               \
        int64_t eventually_until_ns = now_ns() + (timeout_ns);                                     \
        bool eventually_holds;                                                                     \
        while (!(eventually_holds = (condition)) && now_ns() < eventually_until_ns)                \
            pause_ns(MICROSECONDS(200));                                                           \
        eventually_holds;                                                                          \
    }))

/* ----------------------------------------------------------------- threads */

struct thread {
    pthread_t id;
    void (*body)(void *arg);
    void *arg;
};

/* Starts a thread that is filled in already; 0 bytes: a stack of the usual size. */
void thread_launch(struct thread *thread, size_t stack_bytes);
void thread_join(struct thread *thread);

static inline void thread_start(struct thread *thread, void (*body)(void *arg), void *arg)
{
    thread->body = body;
    thread->arg = arg;
    thread_launch(thread, 0);
}

/* Runs body(arg) on a thread with 256 KiB of stack, to its end. */
void run_on_small_stack(void (*body)(void *arg), void *arg);

/*
 * A barrier that spins, so that the parties leave it within nanoseconds, and sleeps where
 * the others do not come to run; it serves any number of rounds. Initialise with
 * {.parties = n}.
 */
struct meeting {
    unsigned parties;
    atomic_uint arrived, sleepers;
};

void meet(struct meeting *meeting);

/*
 * The same at the end of a round, for the thread that sets the rounds up, while the others
 * look at `*rounds` after it alone: the round is the last one where the test has gone on for
 * long, as on a machine so busy that each meeting waits for the turns of others.
 */
void meet_at_end(struct meeting *meeting, int *rounds, int round);

/* The state of a splitmix64 generator is its seed. */
uint64_t random_next(uint64_t *seed);
/* Fills `order` with 0..n-1, shuffled. */
void random_order(uint64_t *seed, size_t order[], size_t n);

/* ------------------------------------------------------- the process, seen */

size_t resident_bytes(void);

/*
 * Counts the threads of this process whose name starts with `prefix` ("": all);
 * `tids`, unless NULL, receives the ids of the first ones.
 */
#define THREADS_LISTED 16
size_t count_threads(const char *prefix, long tids[THREADS_LISTED]);

/* ------------------------------------------------------------------ memory */

/*
 * An allocator for canopy_config. It fills what it hands out and takes back
 * with garbage, aborts on a release whose numbers differ from the allocation's
 * or whose block was overrun, and fails when it is told to.
 */
struct memory {
    atomic_size_t live_bytes;
    atomic_size_t live_blocks;
    atomic_size_t allocations; /* calls so far, the failed ones included */
    atomic_size_t fail_from;   /* calls from this number (1: the first) fail; 0: none */
    atomic_size_t fail_count;  /* how many of them; 0: all */
};

/* A config that takes its memory from `memory`; everything else is the default. */
canopy_config memory_config(struct memory *memory);

/* ------------------------------------------------------------------- roots */

/* A root of a test's own, whose memory is counted. */
struct fixture {
    struct memory memory;
    canopy_ctx *root;
};

void fixture_open(struct fixture *fixture, canopy_clock clock);
/* Asserts that everything under the root has gone and that all memory is back. */
#define fixture_close(fixture) fixture_close_at((fixture), __FILE__, __LINE__)
void fixture_close_at(struct fixture *fixture, const char *file, int line);

/* ------------------------------------------------------------------ checks */

#define assert_live(ctx)              check_live((ctx), __FILE__, __LINE__)
#define assert_ended(ctx, err, cause) check_ended((ctx), (err), (cause), __FILE__, __LINE__)
/* The effective deadline, CANOPY_NEVER for none. */
#define assert_deadline(ctx, deadline_ns) check_deadline((ctx), (deadline_ns), __FILE__, __LINE__)

void check_live(const canopy_ctx *ctx, const char *file, int line);
void check_ended(const canopy_ctx *ctx, int err, const canopy_cause *cause, const char *file,
                 int line);
void check_deadline(const canopy_ctx *ctx, int64_t deadline_ns, const char *file, int line);

#ifdef __cplusplus
}
#endif

#endif
