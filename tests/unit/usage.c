/*
 * usage.c - canopy_root_usage: the contexts and the bytes of a root.
 */
#include "harness.h"

#include <stdlib.h>

static canopy_usage usage_of(const canopy_ctx *root)
{
    canopy_usage usage = {.size = sizeof usage};
    assert_int_equal(canopy_root_usage(root, &usage), 0);
    assert_int_equal(usage.size, sizeof usage);
    return usage;
}

TEST(core_usage_of_a_root_is_what_it_took_from_its_allocator)
{
    enum { CONTEXTS = 100000 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    assert_int_equal(usage_of(f.root).bytes, atomic_load(&f.memory.live_bytes));
    for (int i = 0; i < CONTEXTS; i++)
        all[i] = canopy_with_cancel(f.root);
    size_t most = usage_of(f.root).bytes;
    assert_int_equal(most, atomic_load(&f.memory.live_bytes));
    assert_true(most > (size_t)CONTEXTS * 64);
    for (int i = 0; i < CONTEXTS; i++)
        canopy_end(all[i]);
    assert_int_equal(canopy_wait_idle(f.root, now_ns() + SOON), 0);
    /* Slabs go back a grace period later, on another thread: until they have. */
    assert_true(eventually(usage_of(f.root).bytes < most, SOON));
    assert_true(eventually(usage_of(f.root).bytes == atomic_load(&f.memory.live_bytes), SOON));
    free(all);
    fixture_close(&f);
}

TEST(core_usage_of_a_root_that_one_thread_works_under_is_exact)
{
    enum { CONTEXTS = 3000 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *all[CONTEXTS];
    assert_int_equal(usage_of(f.root).contexts, 0);
    for (size_t i = 0; i < CONTEXTS; i++) {
        all[i] = i % 3 ? canopy_with_cancel(all[i - 1]) : canopy_with_timeout(f.root, HOURS(1));
        assert_int_equal(usage_of(f.root).contexts, i + 1);
    }
    for (size_t i = CONTEXTS; i-- > 0;) {
        canopy_release(all[i]);
        assert_int_equal(usage_of(f.root).contexts, i);
    }
    fixture_close(&f);
}

TEST(core_usage_of_a_root_with_a_limit_counts_what_the_limit_counts)
{
    struct fixture f = {0};
    canopy_config config = memory_config(&f.memory);
    config.max_live = 10;
    f.root = canopy_root_new(&config);
    canopy_ctx *one = canopy_with_cancel(f.root), *two = canopy_with_cancel(one);
    assert_int_equal(usage_of(f.root).contexts, 2);
    canopy_end(two);
    canopy_end(one);
    assert_int_equal(usage_of(f.root).contexts, 0);
    fixture_close(&f);
}

/* A thread that makes contexts, and leaves every other one. */
struct maker {
    canopy_ctx *root;
    canopy_ctx *left[500];
    struct meeting *made;
};

static void make(void *arg)
{
    struct maker *maker = arg;
    for (size_t i = 0; i < 500; i++) {
        maker->left[i] = canopy_with_cancel(maker->root);
        canopy_end(canopy_with_cancel(maker->root));
    }
    meet(maker->made); /* makers have a heap each */
}

TEST(core_usage_of_a_root_that_others_work_under_is_not_too_low_and_hardly_too_high)
{
    enum { MAKERS = 4 };
    struct fixture f;
    struct thread threads[MAKERS];
    struct maker makers[MAKERS];
    struct meeting made = {.parties = MAKERS};
    fixture_open(&f, CANOPY_CLOCK_HOST);
    for (int i = 0; i < MAKERS; i++) {
        makers[i] = (struct maker){.root = f.root, .made = &made};
        thread_start(&threads[i], make, &makers[i]);
    }
    for (int i = 0; i < MAKERS; i++)
        thread_join(&threads[i]);
    size_t contexts = usage_of(f.root).contexts;
    assert_true(contexts >= (size_t)MAKERS * 500);
    assert_true(contexts <= (size_t)MAKERS * (500 + 128));
    for (int i = 0; i < MAKERS; i++) /* here, where none of them was made */
        for (int j = 0; j < 500; j++)
            canopy_end(makers[i].left[j]);
    contexts = usage_of(f.root).contexts;
    assert_true(contexts <= (size_t)MAKERS * 128);
    fixture_close(&f);
}

TEST(core_usage_refuses_bad_input_and_changes_nothing)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    struct {
        canopy_usage known;
        uint64_t more[2];
    } grown = {.known = {.size = sizeof grown}, .more = {1, 2}};
    assert_int_equal(canopy_root_usage(f.root, &grown.known), 0);
    assert_int_equal(grown.known.size, sizeof grown);
    assert_int_equal(grown.known.contexts, 1);
    assert_int_equal(grown.more[0] | grown.more[1], 0); /* what this version does not know */
    canopy_usage usage = {.size = sizeof usage - 1, .contexts = 77, .bytes = 78};
    assert_int_equal(canopy_root_usage(f.root, &usage), -EINVAL);
    usage.size = 5000;
    assert_int_equal(canopy_root_usage(f.root, &usage), -EINVAL);
    usage.size = sizeof usage;
    assert_int_equal(canopy_root_usage(f.root, NULL), -EINVAL);
    assert_int_equal(canopy_root_usage(NULL, &usage), -EINVAL);
    assert_int_equal(canopy_root_usage(ctx, &usage), -EINVAL);
    assert_int_equal(canopy_root_usage(canopy_background(), &usage), -EINVAL);
    assert_int_equal(usage.contexts, 77);
    assert_int_equal(usage.bytes, 78);
    canopy_end(ctx);
    fixture_close(&f);
}
