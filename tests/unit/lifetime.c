/*
 * lifetime.c - promises 10, 11 and 14: references, what release does and does
 * not do, and what is left behind.
 */
#include "harness.h"

#include <stdlib.h>

static const canopy_key key = {.name = "key"};

/* ------------------------------------------------ 10: release is not cancel */

TEST(p10_release_leaves_children_live_and_attached)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *top = canopy_with_cancel(f.root);
    canopy_ctx *middle = canopy_with_cancel(top);
    canopy_ctx *leaf = canopy_with_cancel(middle);
    canopy_release(middle);
    assert_live(leaf);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "through the released one");
    assert_true(canopy_cancel_cause(top, cause));
    assert_ended(leaf, -ECANCELED, cause);
    canopy_release(leaf);
    canopy_release(top);
    fixture_close(&f);
}

TEST(p10_an_ancestor_reaches_through_many_released_layers)
{
    enum { DEPTH = 200 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *chain[DEPTH];
    for (size_t i = 0; i < DEPTH; i++) {
        /* cppcheck-suppress uninitvar ; all before this one are set */
        const canopy_ctx *parent = i == 0 ? f.root : chain[i - 1];
        chain[i] = i % 3 == 1   ? canopy_with_value(parent, &key, NULL)
                   : i % 3 == 2 ? canopy_with_timeout(parent, HOURS(1))
                                : canopy_with_cancel(parent);
    }
    uint64_t seed = 10;
    size_t order[DEPTH];
    random_order(&seed, order, DEPTH);
    for (size_t i = 0; i < DEPTH; i++)
        if (order[i] != 0 && order[i] != DEPTH - 1)
            canopy_release(chain[order[i]]);
    assert_live(chain[DEPTH - 1]);
    assert_true(canopy_cancel(chain[0]));
    assert_ended(chain[DEPTH - 1], -ECANCELED, CANOPY_CANCELED);
    canopy_release(chain[0]);
    canopy_release(chain[DEPTH - 1]);
    fixture_close(&f);
}

TEST(p10_a_released_parent_that_a_child_keeps_alive_can_be_derived_from)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *top = canopy_with_cancel(f.root);
    canopy_ctx *middle = canopy_with_cancel(top);
    const canopy_ctx *borrowed = middle;
    canopy_ctx *first = canopy_with_cancel(middle);
    canopy_release(middle);
    canopy_ctx *second = canopy_with_value(borrowed, &key, NULL);
    canopy_release(first);
    /* Now it is the second child that keeps it. */
    canopy_ctx *third = canopy_with_cancel(borrowed);
    assert_live(third);
    assert_true(canopy_cancel(top));
    assert_ended(second, -ECANCELED, CANOPY_CANCELED);
    assert_ended(third, -ECANCELED, CANOPY_CANCELED);
    canopy_release(third);
    canopy_release(second);
    canopy_release(top);
    fixture_close(&f);
}

TEST(p10_a_released_parents_deadline_still_counts)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "of the released one");
    canopy_ctx *parent = canopy_with_deadline_cause(f.root, 100, cause);
    canopy_ctx *child = canopy_with_cancel(parent);
    canopy_release(parent);
    assert_deadline(child, 100);
    assert_int_equal(canopy_root_advance(f.root, 99, NULL), 0);
    assert_live(child);
    assert_int_equal(canopy_root_advance(f.root, 100, NULL), 0);
    assert_ended(child, -ETIMEDOUT, cause);
    canopy_release(child);
    fixture_close(&f);
}

TEST(p10_each_retain_takes_one_release)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(canopy_retain(ctx), ctx);
    for (int i = 0; i < 1000; i++) {
        canopy_release(ctx);
        assert_live(ctx);
    }
    assert_int_equal(canopy_wait_idle(f.root, now_ns()), -ETIME);
    assert_true(canopy_cancel(ctx));
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(p10_null_can_be_released_ended_and_retained)
{
    canopy_release(NULL);
    canopy_end(NULL);
    assert_null(canopy_retain(NULL));
}

TEST(p10_end_cancels_and_releases)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *child = canopy_with_cancel(parent);
    canopy_end(parent);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_end(child);
    fixture_close(&f);
}

TEST(p10_auto_ends_at_the_end_of_the_scope)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *child;
    {
        CANOPY_AUTO canopy_ctx *parent = canopy_with_cancel(f.root);
        CANOPY_AUTO canopy_ctx *none = NULL;
        child = canopy_with_cancel(parent);
        assert_null(none);
        assert_live(child);
    }
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_end(child);
    fixture_close(&f);
}

/* ------------------------- 10: derive beside the release of the last handle */

/* As many as sit beside the context itself: what is derived next takes the first place again. */
#define SIBLINGS 7

struct last_handle_race {
    struct meeting start, end;
    canopy_ctx *parent;
    int rounds;
};

static void release_last_handles(void *arg)
{
    struct last_handle_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        canopy_release(race->parent);
        meet(&race->end);
    }
}

TEST(p10_a_child_derived_beside_the_release_of_the_last_handle_keeps_its_parent)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct last_handle_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(100000, 1000)};
    struct thread releaser;
    thread_start(&releaser, release_last_handles, &race);
    for (int round = 0; round < race.rounds; round++) {
        canopy_ctx *top = canopy_with_cancel(f.root);
        race.parent = canopy_with_cancel(top);
        canopy_ctx *first = canopy_with_cancel(race.parent);
        canopy_ctx *siblings[SIBLINGS];
        for (size_t i = 0; i < SIBLINGS; i++)
            siblings[i] = canopy_with_cancel(race.parent);
        canopy_release(first);

        meet(&race.start);
        for (int i = round % 64; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        canopy_ctx *child = canopy_with_cancel(race.parent);
        meet_at_end(&race.end, &race.rounds, round);

        for (size_t i = 0; i < SIBLINGS; i++)
            canopy_release(siblings[i]);
        /* The child alone keeps the parent now, so it is still reached from above. */
        canopy_ctx *other = canopy_with_cancel(f.root);
        assert_true(canopy_cancel(top));
        assert_ended(child, -ECANCELED, CANOPY_CANCELED);
        canopy_release(child);
        canopy_release(other);
        canopy_release(top);
    }
    thread_join(&releaser);
    fixture_close(&f);
}

/* ------------------------------------------------------- 11: off its parent */

/* Makes and ends contexts under one parent, `live` of them at a time, in one of these orders. */
enum end_order { FIRST_IN_FIRST_OUT, LAST_IN_FIRST_OUT, RANDOM };

#define LIVE_AT_ONCE 1000

static void churn(const canopy_ctx *parent, enum end_order order, bool cancel, int rounds)
{
    canopy_ctx *children[LIVE_AT_ONCE];
    size_t shuffled[LIVE_AT_ONCE];
    uint64_t seed = 11;
    for (int round = 0; round < rounds; round++) {
        random_order(&seed, shuffled, LIVE_AT_ONCE);
        for (size_t i = 0; i < LIVE_AT_ONCE; i++)
            children[i] = i % 3 == 2   ? canopy_with_value(parent, &key, NULL)
                          : i % 3 == 1 ? canopy_with_timeout(parent, HOURS(1))
                                       : canopy_with_cancel(parent);
        for (size_t i = 0; i < LIVE_AT_ONCE; i++) {
            canopy_ctx *child = children[order == RANDOM              ? shuffled[i]
                                         : order == LAST_IN_FIRST_OUT ? LIVE_AT_ONCE - 1 - i
                                                                      : i];
            if (cancel)
                canopy_end(child);
            else
                canopy_release(child);
        }
    }
}

static void check_no_residue(enum end_order order, bool cancel)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    churn(parent, order, cancel, 5);
    size_t early_bytes = atomic_load(&f.memory.live_bytes);
    churn(parent, order, cancel, SCALED(200, 20));
    size_t late_bytes = atomic_load(&f.memory.live_bytes);
    /* Half as much again leaves room for memory on its way back, none for a leak. */
    if (late_bytes > early_bytes + early_bytes / 2)
        fail_msg("%zu bytes live after 5 rounds, %zu after many", early_bytes, late_bytes);
    assert_live(parent);
    canopy_end(parent);
    fixture_close(&f);
}

TEST(p11_cycles_in_order_leave_no_residue)
{
    check_no_residue(FIRST_IN_FIRST_OUT, false);
    check_no_residue(FIRST_IN_FIRST_OUT, true);
}

TEST(p11_cycles_in_reverse_order_leave_no_residue)
{
    check_no_residue(LAST_IN_FIRST_OUT, false);
    check_no_residue(LAST_IN_FIRST_OUT, true);
}

TEST(p11_cycles_in_random_order_leave_no_residue)
{
    check_no_residue(RANDOM, false);
    check_no_residue(RANDOM, true);
}

TEST(p11_release_frees_the_childs_place_at_once)
{
    struct memory memory = {0};
    canopy_config config = memory_config(&memory);
    config.max_live = 2;
    canopy_ctx *root = canopy_root_new(&config);
    canopy_ctx *keeper = canopy_with_cancel(root);
    for (int i = 0; i < SCALED(100000, 10000); i++) {
        canopy_ctx *child =
            i % 2 ? canopy_with_cancel(keeper) : canopy_with_timeout(root, HOURS(1));
        assert_non_null(child);
        canopy_release(child);
    }
    canopy_release(keeper);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

TEST(p11_memory_of_a_burst_is_used_again)
{
    enum { BURST = 20000 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **burst = malloc(BURST * sizeof *burst);
    assert_non_null(burst);
    size_t peak_bytes = 0;
    for (int round = 0; round < 10; round++) {
        canopy_ctx *parent = canopy_with_cancel(f.root);
        for (size_t i = 0; i < BURST; i++)
            burst[i] = canopy_with_cancel(parent);
        size_t bytes = atomic_load(&f.memory.live_bytes);
        if (round == 0)
            peak_bytes = bytes;
        else if (bytes > 4 * peak_bytes) /* the last burst's may still be on its way back */
            fail_msg("%zu bytes in the first burst, %zu in burst %d", peak_bytes, bytes, round);
        /* Cancelled children are the harder case: somebody has looked at them. */
        assert_true(canopy_cancel(parent));
        for (size_t i = 0; i < BURST; i++)
            canopy_release(burst[i]);
        canopy_release(parent);
        assert_int_equal(canopy_wait_idle(f.root, now_ns() + SOON), 0);
    }
    free(burst);
    fixture_close(&f);
}

TEST(p11_a_parent_made_where_another_one_was_reaches_its_own_children)
{
    enum { n = 100 };
    canopy_ctx *children[n];
    for (int round = 0; round < 20; round++) {
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        for (size_t i = 0; i < n; i++) {
            children[i] = canopy_with_cancel(parent);
            assert_non_null(children[i]);
        }
        if (round % 2) {
            assert_true(canopy_cancel(parent));
            for (size_t i = 0; i < n; i++)
                assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
        }
        for (size_t i = 0; i < n; i++)
            canopy_release(children[i]);
        canopy_release(parent);
    }
}

/* ---------------------------------------- 14: the last reference in a callback */

/* A context whose only handle the callback on it drops. */
struct last {
    canopy_ctx *ctx;
    canopy_ctx *also; /* dropped too, unless NULL */
    bool by_end;
    canopy_callback callback;
    atomic_int runs;
};

static void drop_last(void *arg)
{
    struct last *last = arg;
    assert_true(canopy_done(last->ctx));
    if (last->by_end)
        canopy_end(last->ctx);
    else
        canopy_release(last->ctx);
    canopy_release(last->also);
    atomic_fetch_add(&last->runs, 1);
}

static void arm_last(struct last *last, canopy_ctx *ctx)
{
    last->ctx = ctx;
    assert_non_null(ctx);
    assert_int_equal(canopy_after_func(ctx, &last->callback, drop_last, last), 0);
}

static void check_ran_once(struct last *last)
{
    assert_int_equal(atomic_load(&last->runs), 1);
    assert_false(canopy_callback_stop(&last->callback));
    assert_int_equal(canopy_callback_join(&last->callback), 0);
}

TEST(p14_last_reference_dropped_in_a_callback_of_its_own_cancel)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int by_end = 0; by_end < 2; by_end++) {
        struct last last = {.by_end = by_end};
        arm_last(&last, canopy_with_cancel(f.root));
        assert_true(canopy_cancel(last.ctx));
        check_ran_once(&last);
    }
    fixture_close(&f);
}

TEST(p14_last_reference_dropped_in_a_callback_of_the_parents_cancel)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    struct last lasts[50] = {0};
    for (size_t i = 0; i < 50; i++)
        arm_last(&lasts[i], canopy_with_cancel(i % 2 ? lasts[i - 1].ctx : parent));
    assert_true(canopy_cancel(parent));
    for (size_t i = 0; i < 50; i++)
        check_ran_once(&lasts[i]);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(p14_whole_branch_dropped_in_the_leafs_callback)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    struct last last = {.also = parent};
    arm_last(&last, canopy_with_cancel(parent));
    assert_true(canopy_cancel(parent));
    check_ran_once(&last);
    fixture_close(&f);
}

TEST(p14_last_reference_dropped_in_a_callback_at_expiry)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct last last = {0};
    arm_last(&last, canopy_with_timeout(f.root, MILLISECONDS(5)));
    assert_true(eventually(atomic_load(&last.runs) == 1, SOON));
    check_ran_once(&last);
    fixture_close(&f);

    struct fixture hosted;
    fixture_open(&hosted, CANOPY_CLOCK_HOST);
    struct last second = {.by_end = true};
    arm_last(&second, canopy_with_timeout(hosted.root, HOURS(1)));
    assert_int_equal(canopy_root_advance(hosted.root, HOURS(1), NULL), 0);
    check_ran_once(&second);
    fixture_close(&hosted);
}

TEST(p14_last_reference_dropped_in_a_callback_run_by_its_registration)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct last last = {0};
    arm_last(&last, canopy_with_timeout(f.root, 0));
    check_ran_once(&last);
    fixture_close(&f);
}

static atomic_int destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

TEST(p14_last_reference_to_a_value_layer_dropped_in_its_callback)
{
    static const canopy_key counted = {.name = "counted", .destroy = count_destroyed};
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    struct last last = {.also = parent};
    arm_last(&last, canopy_with_value(parent, &counted, NULL));
    assert_true(canopy_cancel(parent));
    check_ran_once(&last);
    assert_int_equal(canopy_wait_idle(f.root, now_ns() + SOON), 0);
    assert_int_equal(atomic_load(&destroyed), 1);
    fixture_close(&f);
}
