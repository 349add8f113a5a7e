/*
 * heaps.c - what a thread keeps of roots and others' memory: where there is none for that,
 * and how many threads are asked for when another one comes.
 */
#include "scene.h"

/* ------------------------------------------------------------------- no memory */

enum { roots_n = 20 };

/* Call `refused` of the allocator fails, while a thread meets root after root. */
static void meet_roots(size_t refused)
{
    struct fixture roots[roots_n];
    size_t made = 0;
    for (unsigned i = 0; i < roots_n; i++)
        fixture_open(&roots[i], CANOPY_CLOCK_HOST);
    fault_plan(FAULT_MEMORY, refused, 1);
    for (unsigned i = 0; i < roots_n; i++) {
        canopy_ctx *ctx = canopy_with_cancel(roots[i].root);
        made += ctx != NULL;
        assert_true(ctx || errno == ENOMEM);
        canopy_end(ctx);
    }
    assert_true(made >= roots_n - 1);
    fault_lift_all();
    for (unsigned i = 0; i < roots_n; i++) {
        canopy_ctx *ctx = canopy_with_cancel(roots[i].root);
        assert_non_null(ctx);
        canopy_end(ctx);
        fixture_close(&roots[i]);
    }
}

static void meet_roots_on_a_thread(void *arg)
{
    meet_roots(*(size_t *)arg);
}

TEST(memory_refused_to_a_thread_that_meets_roots)
{
    for (size_t refused = 1; refused <= 3 * (size_t)roots_n; refused++) {
        struct thread thread;
        thread_start(&thread, meet_roots_on_a_thread, &refused);
        thread_join(&thread);
    }
}

/* ------------------------------------------------------------------ who is asked for */

struct crowd {
    struct fixture fixture;
    struct meeting made, over;
};

static void make_and_stay(void *arg)
{
    struct crowd *crowd = arg;
    canopy_end(canopy_with_cancel(crowd->fixture.root));
    meet(&crowd->made);
    meet(&crowd->over);
}

static void make_one(void *arg)
{
    struct crowd *crowd = arg;
    canopy_end(canopy_with_cancel(crowd->fixture.root));
}

/* The calls by which a thread's first context asks for others, beside `n` of them. */
static size_t asked_beside(unsigned n)
{
    static struct thread threads[SCALED(300, 50)];
    struct crowd crowd = {.made = {.parties = n + 1}, .over = {.parties = n + 1}};
    struct thread last;
    fixture_open(&crowd.fixture, CANOPY_CLOCK_HOST);
    for (unsigned i = 0; i < n; i++) {
        threads[i] = (struct thread){.body = make_and_stay, .arg = &crowd};
        thread_launch(&threads[i], (size_t)256 * 1024);
    }
    meet(&crowd.made);
    fault_plan(FAULT_TGKILL, SIZE_MAX, 1);
    thread_start(&last, make_one, &crowd);
    thread_join(&last);
    size_t calls = fault_calls(FAULT_TGKILL);
    meet(&crowd.over);
    for (unsigned i = 0; i < n; i++)
        thread_join(&threads[i]);
    fixture_close(&crowd.fixture);
    return calls;
}

TEST(thread_ids_of_few_are_asked_for_among_many_threads)
{
    assert_in_range(asked_beside(10), 1, 4);
    assert_in_range(asked_beside(SCALED(300, 50)), 1, 4);
}
