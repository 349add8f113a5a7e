/*
 * scavenge.c - memory comes back after a burst, whoever ended what it was for, and
 * whether or not their thread does anything more.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BURST = SCALED(200000, 20000) };

/* What may stay of one: what threads have at hand, and a slab here and there. */
#define REST_BYTES ((size_t)1 << 20)

static size_t bytes_of(const canopy_ctx *root)
{
    canopy_usage usage = {.size = sizeof usage};
    assert_int_equal(canopy_root_usage(root, &usage), 0);
    return usage.bytes;
}

static void count_run(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

struct burst {
    const canopy_ctx *parent;
    canopy_ctx **all;
    size_t count;
};

static void make(void *arg)
{
    struct burst *burst = arg;
    for (size_t i = 0; i < burst->count; i++)
        burst->all[i] = canopy_with_cancel(burst->parent);
}

static void end(void *arg)
{
    struct burst *burst = arg;
    for (size_t i = 0; i < burst->count; i++)
        canopy_release(burst->all[i]);
}

static void on_another_thread(void (*body)(void *arg), void *arg)
{
    struct thread thread;
    thread_start(&thread, body, arg);
    thread_join(&thread);
}

struct bursting {
    struct fixture f;
    canopy_ctx *top;
    struct burst burst;
};

static void bursting_open(struct bursting *b)
{
    memset(b, 0, sizeof *b);
    fixture_open(&b->f, CANOPY_CLOCK_HOST);
    b->top = canopy_with_cancel(b->f.root);
    b->burst = (struct burst){b->top, calloc(BURST, sizeof(canopy_ctx *)), BURST};
    assert_non_null(b->burst.all);
}

/* While the parent lives, the slots of what it had as well. */
static void bursting_close_at(struct bursting *b, size_t rest_bytes)
{
    assert_true(eventually(bytes_of(b->f.root) < rest_bytes, SOON));
    canopy_end(b->top);
    free(b->burst.all);
    fixture_close(&b->f);
}

static void bursting_close(struct bursting *b)
{
    bursting_close_at(b, REST_BYTES);
}

TEST(core_memory_comes_back_that_another_thread_freed)
{
    struct bursting b;
    bursting_open(&b);
    make(&b.burst);
    assert_true(bytes_of(b.f.root) > (size_t)BURST * 64);
    on_another_thread(end, &b.burst);
    bursting_close(&b);
}

TEST(core_memory_comes_back_whose_maker_has_ended)
{
    struct bursting b;
    bursting_open(&b);
    on_another_thread(make, &b.burst);
    end(&b.burst);
    bursting_close(&b);
}

TEST(core_memory_comes_back_after_a_cancel)
{
    struct bursting b;
    bursting_open(&b);
    make(&b.burst);
    assert_true(canopy_cancel(b.top));
    end(&b.burst);
    bursting_close(&b);
}

TEST(core_slots_come_back_that_callbacks_had)
{
    struct bursting b;
    bursting_open(&b);
    canopy_callback *all = calloc(BURST, sizeof *all);
    atomic_uint runs = 0;
    for (size_t i = 0; i < BURST; i++)
        assert_int_equal(canopy_after_func(b.top, &all[i], count_run, &runs), 0);
    assert_true(bytes_of(b.f.root) > (size_t)BURST * 8);
    for (size_t i = 0; i < BURST; i++)
        assert_true(canopy_callback_stop(&all[i]));
    assert_true(eventually(bytes_of(b.f.root) < REST_BYTES, SOON));
    assert_int_equal(canopy_after_func(b.top, &all[0], count_run, &runs), 0);
    assert_true(canopy_cancel(b.top));
    assert_int_equal(atomic_load(&runs), 1);
    free(all);
    bursting_close(&b);
}

/* Some of what was there stays, and is found by who comes through the blocks that stay. */
TEST(core_slots_come_back_around_those_in_use)
{
    enum { EVERY = 1000 };
    struct bursting b;
    bursting_open(&b);
    make(&b.burst);
    for (size_t i = 0; i < BURST; i++)
        if (i % EVERY)
            canopy_release(b.burst.all[i]);
    assert_true(eventually(bytes_of(b.f.root) < (size_t)BURST * 64, SOON));
    pause_ns(SECONDS(1));
    canopy_ctx *late = canopy_with_cancel(b.top);
    assert_true(canopy_cancel(b.top));
    for (size_t i = 0; i < BURST; i += EVERY) {
        assert_ended(b.burst.all[i], -ECANCELED, CANOPY_CANCELED);
        canopy_release(b.burst.all[i]);
    }
    assert_ended(late, -ECANCELED, CANOPY_CANCELED);
    canopy_release(late);
    bursting_close(&b);
}

/* Each ends what it made, and ends; or another thread does so for all of them. */
enum { DEAD = SCALED(40, 10), EACH = 4000 };

/* Of each thread that lived beside the others: a heap, and a slab of each class at most. */
#define DEAD_BYTES ((size_t)104 << 10)

static struct meeting all_alive = {.parties = DEAD};

static void make_beside_others(void *burst)
{
    meet(&all_alive);
    make(burst);
    meet(&all_alive);
}

static void check_dead_threads(bool end_their_own)
{
    struct bursting b;
    bursting_open(&b);
    canopy_ctx **all = calloc((size_t)DEAD * EACH, sizeof *all);
    struct burst bursts[DEAD];
    struct thread threads[DEAD];
    for (size_t i = 0; i < DEAD; i++) {
        bursts[i] = (struct burst){b.top, all + i * EACH, EACH};
        thread_start(&threads[i], make_beside_others, &bursts[i]);
    }
    for (size_t i = 0; i < DEAD; i++)
        thread_join(&threads[i]);
    for (size_t i = 0; i < DEAD; i++)
        if (end_their_own)
            on_another_thread(end, &bursts[i]); /* a heap that is taken over */
        else
            end(&bursts[i]);
    free(all);
    bursting_close_at(&b, REST_BYTES + DEAD * DEAD_BYTES);
}

TEST(core_memory_of_dead_threads_comes_back)
{
    check_dead_threads(false);
}

TEST(core_memory_of_dead_threads_comes_back_that_others_ended)
{
    check_dead_threads(true);
}

/* A root's allocator that is ours gives pages back to the system. */
TEST(core_pages_go_back_to_the_system)
{
    if (UNDER_SANITIZER)
        skip();
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    struct burst burst = {top, calloc(BURST, sizeof(canopy_ctx *)), BURST};
    make(&burst);
    size_t most = resident_bytes();
    on_another_thread(end, &burst);
    canopy_end(top);
    assert_true(eventually(resident_bytes() < most - (size_t)BURST * 60, SOON));
    free(burst.all);
}

/* --------------------------------------------------------- beside the owner */

struct passing {
    struct meeting meeting;
    canopy_ctx *top;
    canopy_ctx *box[4096];
    atomic_uint full; /* so many of the box */
    int64_t until_ns;
};

static void makes_and_ends(void *arg)
{
    struct passing *p = arg;
    while (now_ns() < p->until_ns) {
        canopy_ctx *own[300];
        for (size_t i = 0; i < 300; i++)
            own[i] = canopy_with_cancel(p->top);
        for (size_t i = 0; i < 300; i++)
            canopy_release(own[i]);
        if (atomic_load(&p->full) != 0)
            continue;
        for (size_t i = 0; i < 4096; i++)
            p->box[i] = canopy_with_cancel(p->top);
        atomic_store(&p->full, 4096);
    }
}

/* For as long as the scavenger takes some looks. */
TEST(core_memory_goes_back_beside_its_owner)
{
    static struct passing p;
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    p.top = canopy_with_cancel(f.root);
    p.until_ns = now_ns() + SECONDS(3);
    struct thread maker;
    thread_start(&maker, makes_and_ends, &p);
    while (now_ns() < p.until_ns || atomic_load(&p.full)) {
        for (unsigned i = atomic_load(&p.full); i-- > 0;)
            canopy_release(p.box[i]);
        atomic_store(&p.full, 0);
        if (now_ns() >= p.until_ns)
            break;
        pause_ns(MILLISECONDS(1));
    }
    thread_join(&maker);
    for (unsigned i = atomic_load(&p.full); i-- > 0;)
        canopy_release(p.box[i]);
    canopy_end(p.top);
    assert_true(eventually(bytes_of(f.root) < REST_BYTES, SOON));
    fixture_close(&f);
}

/* ------------------------------------------------------------- at rest */

static unsigned long long wake_ups_of(long tid)
{
    char path[64], line[128];
    unsigned long long n = 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", tid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "voluntary_ctxt_switches: %llu", &n);
    fclose(file);
    return n;
}

static bool sleeps_for_two_seconds(long tid)
{
    unsigned long long before = wake_ups_of(tid);
    pause_ns(SECONDS(2));
    return wake_ups_of(tid) == before;
}

TEST(core_nothing_is_looked_at_in_a_process_at_rest)
{
    if (UNDER_SANITIZER) /* with ThreadSanitizer no sleep is long, see src/base/base.h */
        skip();
    struct bursting b;
    bursting_open(&b);
    make(&b.burst);
    on_another_thread(end, &b.burst);
    long tids[THREADS_LISTED];
    assert_int_equal(count_threads("canopy-reclaim", tids), 1);
    assert_true(eventually(sleeps_for_two_seconds(tids[0]), SOON));
    bursting_close(&b);
}
