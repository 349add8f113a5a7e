/*
 * inspect_stats.c - what a root with notes counts: contexts, ends, lateness, causes.
 */
#include "inspected.h"

static const canopy_cause stopped = {.code = -EINTR, .text = "stopped"};
static const canopy_cause shed = {.code = -EBUSY, .text = "shed"};

static canopy_stats stats_of(const canopy_ctx *root)
{
    canopy_stats stats = {.size = sizeof stats};
    assert_int_equal(canopy_stats_read(root, &stats), 0);
    return stats;
}

static void count_run(void *arg)
{
    ++*(unsigned *)arg;
}

TEST(inspect_stats_count_contexts_and_ends)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root), *b = canopy_with_cancel(a);
    canopy_ctx *c = canopy_with_cancel(b), *other = canopy_with_cancel(f.root);
    canopy_callback callback;
    unsigned runs = 0;
    assert_int_equal(canopy_after_func(c, &callback, count_run, &runs), 0);
    assert_true(canopy_cancel_cause(a, &stopped));
    assert_true(canopy_cancel_cause(other, &shed));
    assert_false(canopy_cancel(b));
    canopy_ctx *born = canopy_with_cancel(b);
    canopy_stats stats = stats_of(c);
    assert_int_equal(stats.made, 6);
    assert_int_equal(stats.gone, 0);
    assert_int_equal(stats.live, 6);
    assert_int_equal(stats.cancels, 2);
    assert_int_equal(stats.ended, 4);
    assert_int_equal(stats.born_done, 1);
    assert_int_equal(stats.callbacks, 1);
    assert_int_equal(stats.expired, 0);
    assert_int_equal(stats.memory_bytes, atomic_load(&f.memory.live_bytes));
    canopy_cause_count causes[3];
    assert_int_equal(canopy_stats_causes(f.root, causes, 3), 2);
    assert_ptr_equal(causes[0].cause, &stopped);
    assert_int_equal(causes[0].cancels, 1);
    assert_int_equal(causes[0].ended, 3);
    assert_ptr_equal(causes[1].cause, &shed);
    assert_int_equal(causes[1].ended, 1);
    assert_int_equal(canopy_stats_causes(f.root, causes, 0), 2);
    canopy_ctx *all[] = {born, other, c, b, a};
    for (size_t i = 0; i < 5; i++)
        canopy_end(all[i]);
    assert_true(eventually(stats_of(f.root).gone == 5, SOON));
    assert_int_equal(stats_of(f.root).live, 1);
    fixture_close(&f);
}

struct handing {
    canopy_ctx *root;
    _Atomic(canopy_ctx *) at;
    atomic_uint is_ready, stop;
};

/* Its counts are read last, as its heap is the first that there was. */
static void end_what_comes(void *arg)
{
    struct handing *self = arg;
    canopy_end(canopy_with_cancel(self->root));
    atomic_store(&self->is_ready, 1);
    while (!atomic_load(&self->stop))
        canopy_end(atomic_exchange(&self->at, NULL));
    canopy_end(atomic_exchange(&self->at, NULL));
}

static void make_and_hand_on(void *arg)
{
    struct handing *self = arg;
    while (!atomic_load(&self->stop)) {
        canopy_ctx *none = NULL, *ctx = canopy_with_cancel(self->root);
        if (!atomic_compare_exchange_strong(&self->at, &none, ctx))
            canopy_end(ctx);
    }
}

TEST(inspect_stats_never_tell_that_more_went_than_were_made)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    struct handing handing = {.root = f.root};
    struct thread maker, ender;
    thread_start(&ender, end_what_comes, &handing);
    assert_true(eventually(atomic_load(&handing.is_ready), SOON));
    thread_start(&maker, make_and_hand_on, &handing);
    int64_t until_ns = now_ns() + SECONDS(1);
    while (now_ns() < until_ns)
        for (int i = 0; i < 100; i++) {
            canopy_stats stats = stats_of(f.root);
            assert_true(stats.gone < stats.made); /* the root is there */
        }
    atomic_store(&handing.stop, 1);
    thread_join(&maker);
    thread_join(&ender);
    canopy_end(atomic_load(&handing.at));
    assert_true(eventually(stats_of(f.root).live == 1, SOON));
    fixture_close(&f);
}

TEST(inspect_stats_tell_how_late_deadlines_fire)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *a = canopy_with_timeout(f.root, 1000), *b = canopy_with_timeout(f.root, 4001);
    assert_int_equal(canopy_root_advance(f.root, 9001, NULL), 0);
    canopy_stats stats = stats_of(f.root);
    assert_int_equal(stats.expired, 2);
    assert_true(stats.late_max_ns == 8001);
    assert_int_equal(stats.late[4], 1); /* 8.001 us: up to 16 */
    assert_int_equal(stats.late[3], 1); /* 5 us: up to 8 */
    assert_int_equal(stats.ended, 2);
    canopy_end(a);
    canopy_end(b);
    fixture_close(&f);
}

TEST(inspect_stats_tell_all_causes_of_many_or_sum_them_up)
{
    enum { CAUSES = 40 };
    static canopy_cause causes[CAUSES];
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    for (size_t i = 0; i < CAUSES; i++) {
        canopy_ctx *ctx = canopy_with_cancel(f.root);
        assert_true(canopy_cancel_cause(ctx, &causes[i]));
        canopy_end(ctx);
    }
    canopy_cause_count counts[CAUSES];
    assert_int_equal(canopy_stats_causes(f.root, counts, CAUSES), 32);
    assert_null(counts[0].cause);
    assert_int_equal(counts[0].ended, CAUSES - 31);
    fixture_close(&f);
}

static int fail_with(const canopy_ctx *ctx, void *result)
{
    (void)ctx;
    return *(int *)result;
}

/* Their causes are in memory that goes with them, and is a line of something else then. */
TEST(inspect_stats_tell_the_causes_of_groups_that_are_gone)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int result = -3; result < 0; result++) {
        canopy_group group;
        assert_int_equal(canopy_group_init(&group, f.root, 0), 0);
        assert_int_equal(canopy_group_go(&group, fail_with, &result), 0);
        assert_int_equal(canopy_group_wait(&group), result);
    }
    canopy_cause_count counts[3];
    assert_int_equal(canopy_stats_causes(f.root, counts, 3), 1);
    assert_int_equal(counts[0].cancels, 3);
    assert_int_equal(counts[0].cause->code, 0);
    assert_string_equal(counts[0].cause->text, "group member failed");
    fixture_close(&f);
}

TEST(inspect_stats_of_other_roots_tell_what_they_have)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    canopy_stats stats = stats_of(ctx);
    assert_int_equal(stats.live, 2);
    assert_int_equal(stats.made, 0);
    assert_int_equal(stats.memory_bytes, atomic_load(&f.memory.live_bytes));
    assert_int_equal(canopy_stats_causes(f.root, NULL, 0), 0);
    canopy_end(ctx);
    assert_int_equal(stats_of(canopy_background()).made, 0);
    fixture_close(&f);
}

TEST(inspect_stats_refuse_bad_input)
{
    canopy_stats stats = {.size = sizeof stats - 1};
    assert_int_equal(canopy_stats_read(NULL, &stats), -EINVAL);
    assert_int_equal(canopy_stats_read(canopy_background(), NULL), -EINVAL);
    assert_int_equal(canopy_stats_read(canopy_background(), &stats), -EINVAL);
    stats.size = 4097;
    assert_int_equal(canopy_stats_read(canopy_background(), &stats), -EINVAL);
    assert_int_equal(canopy_stats_causes(NULL, NULL, 0), -EINVAL);
    assert_int_equal(canopy_stats_causes(canopy_background(), NULL, 1), -EINVAL);
}
