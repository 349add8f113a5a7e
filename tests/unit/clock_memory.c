/*
 * clock_memory.c - promise 18 where memory comes and goes under the clock, which
 * looks through all of it, whatever it is in use for.
 */
#include "harness.h"

#include <stdlib.h>

/* A host's clock that never rests. */
struct busy_clock {
    struct thread thread;
    canopy_ctx *root;
    atomic_llong now_ns;
    atomic_bool over;
};

static void advance_until_over(void *arg)
{
    struct busy_clock *clock = arg;
    while (!atomic_load(&clock->over))
        assert_int_equal(canopy_root_advance(clock->root, atomic_load(&clock->now_ns), NULL), 0);
}

static canopy_ctx *due_at_once(struct busy_clock *clock)
{
    int64_t due_ns = atomic_load(&clock->now_ns) + 1;
    canopy_ctx *ctx = canopy_with_deadline(clock->root, due_ns);
    atomic_store(&clock->now_ns, due_ns);
    return ctx;
}

static void busy_clock_stop(struct busy_clock *clock)
{
    atomic_store(&clock->over, true);
    thread_join(&clock->thread);
}

/* ------------------------------------------------------------- made anew */

/* Read as a deadline it has passed, read as an address it leads nowhere. */
#define GARBAGE    1
#define GARBAGE_NS INT64_C(0x0101010101010101)

static void *allocate_garbage(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    void *memory = NULL;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    return memset(memory, GARBAGE, size_bytes);
}

static void release_garbage(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    (void)size_bytes;
    free(memory);
}

/* Each is due at once, so the clock looks around it while the next ones are made. */
TEST(p18_the_clock_never_looks_at_memory_that_is_not_yet_a_context)
{
    enum { n = 20000 };
    static canopy_ctx *contexts[n];
    canopy_config config = {.size = sizeof config,
                            .allocate = allocate_garbage,
                            .release = release_garbage,
                            .clock = CANOPY_CLOCK_HOST,
                            .now_ns = GARBAGE_NS};
    for (int round = 0; round < SCALED(20, 2); round++) {
        struct busy_clock clock = {.root = canopy_root_new(&config), .now_ns = GARBAGE_NS};
        assert_non_null(clock.root);
        thread_start(&clock.thread, advance_until_over, &clock);
        for (int i = 0; i < n; i++)
            contexts[i] = due_at_once(&clock);
        busy_clock_stop(&clock);
        assert_int_equal(canopy_root_advance(clock.root, GARBAGE_NS + n, NULL), 0);
        for (int i = 0; i < n; i++) {
            assert_ended(contexts[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
            canopy_release(contexts[i]);
        }
        assert_true(eventually(canopy_root_free(clock.root) == 0, SOON));
    }
}

/* ------------------------------------------------------------- given back */

/* More than fit into the memory that stays for the next ones. */
TEST(p18_the_clock_beside_memory_that_is_given_back)
{
    enum { n = 12000 };
    static canopy_ctx *contexts[n];
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    struct busy_clock clock = {.root = f.root};
    thread_start(&clock.thread, advance_until_over, &clock);
    for (int round = 0; round < SCALED(50, 30); round++) {
        for (int i = 0; i < n; i++)
            contexts[i] = canopy_with_cancel(f.root);
        for (int i = 0; i < n; i++) {
            canopy_release(contexts[i]);
            canopy_release(due_at_once(&clock)); /* so that the clock goes on looking */
        }
    }
    busy_clock_stop(&clock);
    fixture_close(&f);
}
