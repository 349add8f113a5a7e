/*
 * refused.c - promise 39, and its like for threads, fds and handlers: of a use of
 * the whole interface each call that canopy makes of the C library fails in turn,
 * the 1st, the 2nd ... the last; once, and from there on. What is refused says so
 * with its errno and changes nothing.
 */
#include "scene.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { played = 0, not_reached = 1 };

struct trial {
    enum fault fault;
    enum scene_memory memory;
    size_t n;
    size_t count; /* of calls that fail; 0: all from the n-th on */
    const int *allowed;
};

/* In a process of its own, so that the first use of the library is part of it. */
static int play_trial(void *arg)
{
    const struct trial *trial = arg;
    struct memory hooked = {0};
    bool hook = trial->fault == FAULT_MEMORY && trial->memory == SCENE_HOOKED_ROOT;
    if (hook) {
        hooked.fail_from = trial->n;
        hooked.fail_count = 1; /* hooks are not lifted: they fail once */
    } else {
        fault_plan(trial->fault, trial->n, trial->count);
    }
    unsigned refused = scene_play(trial->memory, &hooked, trial->allowed);
    size_t calls = hook ? atomic_load(&hooked.allocations) : fault_calls(trial->fault);
    fault_lift_all();
    assert_true(calls >= trial->n || refused == 0);
    return calls >= trial->n ? played : not_reached;
}

/* `least`: so many of the fault's calls are made at least. */
static void refuse_in_turn(enum fault fault, const int allowed[], size_t least)
{
    for (enum scene_memory memory = 0; memory < SCENE_MEMORIES; memory++) {
        for (size_t count = 0; count <= 1; count++) {
            struct trial trial = {fault, memory, 1, count, allowed};
            int result;
            while ((result = in_child(play_trial, &trial)) == played)
                trial.n++;
            if (result != not_reached)
                print_error("call %zu, %zu of them, memory %d\n", trial.n, count, (int)memory);
            assert_int_equal(result, not_reached);
            assert_true(trial.n > least);
        }
    }
}

TEST(memory_refused_at_each_allocation)
{
    refuse_in_turn(FAULT_MEMORY, (const int[]){ENOMEM, 0}, 5);
}

/* A thread's first read section needs memory that is not malloc's to give, and liburcu takes no no.
 */
static int make_without_address_space(void *unused)
{
    struct rlimit before, none = {0, RLIM_INFINITY};
    (void)unused;
    /* Let malloc have more than enough. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    free(malloc(8 << 20));
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    errno = 0;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    int err = errno;
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_null(ctx);
    assert_int_equal(err, ENOMEM);

    ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_non_null(child);
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    assert_true(canopy_cancel(ctx)); /* a walk, in a read section */
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_end(child);
    canopy_end(ctx);
    return 0;
}

TEST(memory_refused_for_a_first_read_section)
{
    if (UNDER_SANITIZER) /* their own memory would be refused as well */
        skip();
    assert_int_equal(in_child(make_without_address_space, NULL), 0);
}

TEST(threads_refused_at_each_start)
{
    /* The reclaimer, the worker, the clock, three members. */
    refuse_in_turn(FAULT_THREAD, (const int[]){EAGAIN, 0}, 6);
}

static int add_without_threads(void *unused)
{
    (void)unused;
    canopy_callback callback;
    atomic_uint runs = 0;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    fault_plan(FAULT_THREAD, 1, 0);
    assert_int_equal(canopy_after_func_async(ctx, &callback, count_call, &runs), -EAGAIN);
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_cancel(ctx);
    assert_int_equal(canopy_after_func_async(ctx, &callback, count_call, &runs), -EAGAIN);
    fault_lift_all();
    assert_int_equal(atomic_load(&runs), 0);
    assert_int_equal(canopy_after_func_async(ctx, &callback, count_call, &runs), 0);
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(ctx);
    return 0;
}

TEST(thread_refused_for_async_callbacks)
{
    assert_int_equal(in_child(add_without_threads, NULL), 0);
}

TEST(thread_attributes_refused_at_each_start)
{
    refuse_in_turn(FAULT_ATTRIBUTES, (const int[]){EAGAIN, 0}, 3); /* those of the library */
}

TEST(eventfd_refused)
{
    refuse_in_turn(FAULT_EVENTFD, (const int[]){EMFILE, 0}, 1);
}

/* Only the first: the later ones put the handler back, and nothing could be done instead. */
TEST(sigaction_refused)
{
    for (enum scene_memory memory = 0; memory < SCENE_MEMORIES; memory++) {
        struct trial trial = {FAULT_SIGACTION, memory, 1, 1, (const int[]){ENOMEM, 0}};
        assert_int_equal(in_child(play_trial, &trial), played);
    }
}

TEST(first_use_refused)
{
    refuse_in_turn(FAULT_ATFORK, (const int[]){ENOMEM, EAGAIN, 0}, 1);
}

TEST(no_thread_local_key_to_be_had)
{
    refuse_in_turn(FAULT_KEY, (const int[]){0}, 1);
}
