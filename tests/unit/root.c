/*
 * root.c - what a root of one's own adds to the promises: configuration, limits,
 * waiting until it is idle, freeing it; and reuse of a context in place.
 */
#include "harness.h"

#include <signal.h>

static const canopy_key key = {.name = "key"};

/* ------------------------------------------------------------------- config */

TEST(core_root_with_defaults)
{
    canopy_ctx *root = canopy_root_new(NULL);
    assert_live(root);
    assert_deadline(root, CANOPY_NEVER);
    canopy_ctx *child = canopy_with_timeout(root, 0);
    assert_ended(child, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(child);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
}

static void check_config_refused(const canopy_config *config)
{
    errno = 0;
    assert_null(canopy_root_new(config));
    assert_int_equal(errno, EINVAL);
}

TEST(core_root_config_is_checked)
{
    struct memory memory = {0};
    canopy_config config = memory_config(&memory);
    config.size = 0;
    check_config_refused(&config);
    /* No version has had a shorter one than these: a hook would be cut off, or in half. */
    for (config.size = 1; config.size < sizeof config; config.size++)
        if (config.size != offsetof(canopy_config, inspect)) /* 1.0.0's */
            check_config_refused(&config);

    config = memory_config(&memory);
    config.allocate = NULL;
    check_config_refused(&config);
    config = memory_config(&memory);
    config.release = NULL;
    check_config_refused(&config);
    config = memory_config(&memory);
    config.clock = (canopy_clock)2;
    check_config_refused(&config);
    config = memory_config(&memory);
    config.inspect = 2;
    check_config_refused(&config);
    assert_int_equal(atomic_load(&memory.allocations), 0);
}

TEST(core_root_config_from_a_later_version_is_taken_if_its_tail_is_zero)
{
    struct memory memory = {0};
    struct {
        canopy_config known;
        unsigned char tail[64];
    } later = {.known = memory_config(&memory)};
    later.known.size = sizeof later;
    canopy_ctx *root = canopy_root_new(&later.known);
    assert_non_null(root);
    assert_int_equal(canopy_root_free(root), 0);
    later.tail[63] = 1;
    check_config_refused(&later.known);
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

TEST(core_root_takes_all_its_memory_from_its_hooks)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    size_t before = atomic_load(&f.memory.live_bytes);
    canopy_ctx *children[1000];
    for (size_t i = 0; i < 1000; i++)
        children[i] = canopy_with_cancel(f.root);
    assert_true(atomic_load(&f.memory.live_bytes) >= before + (size_t)1000 * 64);
    for (size_t i = 0; i < 1000; i++)
        canopy_end(children[i]);
    fixture_close(&f);
}

/* -------------------------------------------------------------- its lifetime */

TEST(core_root_free_is_busy_while_anything_lives)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *child = canopy_with_cancel(f.root);
    canopy_ctx *grandchild = canopy_with_value(child, &key, NULL);
    assert_int_equal(canopy_root_free(f.root), -EBUSY);
    canopy_release(child);
    assert_int_equal(canopy_root_free(f.root), -EBUSY);
    assert_live(grandchild);
    canopy_release(grandchild);
    fixture_close(&f);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

TEST(core_root_free_is_busy_while_a_callback_is_armed)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_callback callback;
    assert_int_equal(canopy_after_func(f.root, &callback, do_nothing, NULL), 0);
    assert_int_equal(canopy_root_free(f.root), -EBUSY);
    assert_true(canopy_callback_stop(&callback));
    fixture_close(&f);
}

TEST(core_root_free_refuses_what_is_no_root)
{
    canopy_ctx *root = canopy_root_new(NULL);
    canopy_ctx *child = canopy_with_cancel(root);
    canopy_ctx *under_background = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_root_free(NULL), -EINVAL);
    assert_int_equal(canopy_root_free(child), -EINVAL);
    assert_int_equal(canopy_root_free(under_background), -EINVAL);
    assert_live(child);
    canopy_end(under_background);
    canopy_end(child);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
}

TEST(core_root_outlives_release_and_end_of_its_handle)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_release(f.root);
    canopy_release(f.root);
    assert_live(f.root);
    canopy_end(f.root);
    assert_ended(f.root, -ECANCELED, CANOPY_CANCELED);
    canopy_ctx *child = canopy_with_cancel(f.root);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_release(child);
    fixture_close(&f);
}

TEST(core_roots_are_apart)
{
    struct fixture first, second;
    fixture_open(&first, CANOPY_CLOCK_LIBRARY);
    fixture_open(&second, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *one = canopy_with_cancel(first.root), *two = canopy_with_cancel(second.root);
    assert_true(canopy_cancel(first.root));
    assert_ended(one, -ECANCELED, CANOPY_CANCELED);
    assert_live(two);
    canopy_release(one);
    fixture_close(&first);
    assert_live(two);
    canopy_end(two);
    fixture_close(&second);
}

/* ----------------------------------------------------------------- wait_idle */

TEST(core_wait_idle_counts_what_still_has_memory)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *middle = canopy_with_cancel(f.root);
    canopy_ctx *leaf = canopy_with_value(middle, &key, NULL);
    /* Done is not gone. */
    assert_true(canopy_cancel(middle));
    assert_int_equal(canopy_wait_idle(f.root, now_ns() + MILLISECONDS(5)), -ETIME);
    assert_int_equal(canopy_wait_idle(middle, now_ns() + MILLISECONDS(5)), -ETIME);
    assert_int_equal(canopy_wait_idle(leaf, now_ns() + SOON), 0);
    canopy_release(leaf);
    assert_int_equal(canopy_wait_idle(middle, now_ns() + SOON), 0);
    assert_int_equal(canopy_wait_idle(f.root, now_ns()), -ETIME);
    canopy_release(middle);
    assert_int_equal(canopy_wait_idle(f.root, CANOPY_NEVER), 0);
    fixture_close(&f);
}

static void end_later(void *arg)
{
    pause_ns(MILLISECONDS(20));
    canopy_end(arg);
}

TEST(core_wait_idle_is_woken_by_the_last_release)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int round = 0; round < 5; round++) {
        canopy_ctx *parent = canopy_with_cancel(f.root);
        canopy_ctx *child = canopy_with_cancel(parent);
        struct thread ender;
        thread_start(&ender, end_later, child);
        assert_int_equal(canopy_wait_idle(parent, CANOPY_NEVER), 0);
        thread_join(&ender);
        canopy_end(parent);
    }
    fixture_close(&f);
}

TEST(core_wait_idle_counts_children_made_before_and_after_its_first_call)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *before = canopy_with_cancel(parent);
    assert_int_equal(canopy_wait_idle(parent, now_ns()), -ETIME);
    canopy_ctx *after = canopy_with_cancel(parent);
    canopy_release(before);
    assert_int_equal(canopy_wait_idle(parent, now_ns() + MILLISECONDS(20)), -ETIME);
    canopy_ctx *later = canopy_with_cancel(parent);
    canopy_release(after);
    assert_int_equal(canopy_wait_idle(parent, now_ns() + MILLISECONDS(20)), -ETIME);
    canopy_release(later);
    assert_int_equal(canopy_wait_idle(parent, now_ns() + SOON), 0);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(core_wait_idle_refuses_what_is_shared_by_all)
{
    assert_int_equal(canopy_wait_idle(NULL, 0), -EINVAL);
    assert_int_equal(canopy_wait_idle(canopy_background(), 0), -EINVAL);
    assert_int_equal(canopy_wait_idle(canopy_todo(), 0), -EINVAL);
}

/* ------------------------------------------------------------------ max_live */

#define LIMIT 20

static canopy_ctx *root_with_limit(struct memory *memory)
{
    canopy_config config = memory_config(memory);
    config.max_live = LIMIT;
    canopy_ctx *root = canopy_root_new(&config);
    assert_non_null(root);
    return root;
}

TEST(core_max_live_gives_eagain_beyond_it)
{
    struct memory memory = {0};
    canopy_ctx *root = root_with_limit(&memory);
    canopy_ctx *children[LIMIT];
    for (size_t i = 0; i < LIMIT; i++) {
        children[i] = i % 2 ? canopy_with_value(children[i - 1], &key, NULL)
                            : canopy_with_timeout(root, HOURS(1));
        assert_non_null(children[i]);
    }
    const canopy_ctx *inputs[] = {children[0], children[1]};
    const int signals[] = {SIGUSR1};
    for (int i = 0; i < 10; i++) {
        errno = 0;
        canopy_ctx *beyond = i % 6 == 0   ? canopy_with_cancel(children[i])
                             : i % 6 == 1 ? canopy_with_timeout(root, 0)
                             : i % 6 == 2 ? canopy_with_value(root, &key, NULL)
                             : i % 6 == 3 ? canopy_without_cancel(root)
                             : i % 6 == 4 ? canopy_with_any(inputs, 2)
                                          : canopy_with_signals(root, signals, 1);
        assert_null(beyond);
        assert_int_equal(errno, EAGAIN);
    }
    canopy_release(children[LIMIT - 1]);
    children[LIMIT - 1] = canopy_with_cancel(root);
    assert_non_null(children[LIMIT - 1]);
    for (size_t i = 0; i < LIMIT; i++) {
        assert_live(children[i]);
        canopy_release(children[i]);
    }
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

TEST(core_max_live_counts_the_inputs_of_a_merge)
{
    enum { inputs = 1000 };
    struct memory memory = {0};
    canopy_ctx *root = root_with_limit(&memory);
    canopy_ctx *child = canopy_with_cancel(root);
    const canopy_ctx *list[inputs];
    for (size_t i = 0; i < inputs; i++)
        list[i] = child;
    errno = 0;
    assert_null(canopy_with_any(list, inputs));
    assert_int_equal(errno, EAGAIN);
    for (int round = 0; round < 3; round++) {
        canopy_ctx *merged = canopy_with_any(list, LIMIT - 2);
        assert_non_null(merged);
        errno = 0;
        assert_null(canopy_with_cancel(root));
        assert_int_equal(errno, EAGAIN);
        round == 1 ? canopy_end(merged) : canopy_release(merged);
    }
    errno = 0;
    assert_null(canopy_with_any(list, LIMIT - 1));
    assert_int_equal(errno, EAGAIN);
    canopy_end(child);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

struct within {
    canopy_ctx *root;
    struct meeting meeting;
    atomic_size_t refused;
};

static void churn_within_the_limit(void *arg)
{
    struct within *within = arg;
    meet(&within->meeting);
    for (int round = 0; round < SCALED(200000, 20000); round++) {
        canopy_ctx *mine[LIMIT / 4];
        for (size_t i = 0; i < LIMIT / 4; i++) {
            mine[i] = canopy_with_cancel(within->root);
            if (!mine[i])
                atomic_fetch_add(&within->refused, 1);
        }
        for (size_t i = 0; i < LIMIT / 4; i++)
            canopy_release(mine[i]);
    }
}

/* Beside what never fits. */
TEST(core_max_live_refuses_nothing_that_fits)
{
    struct memory memory = {0};
    struct within within = {.root = root_with_limit(&memory), .meeting.parties = 4};
    struct thread threads[3];
    canopy_ctx *standing[LIMIT / 4];
    for (size_t i = 0; i < LIMIT / 4; i++)
        assert_non_null(standing[i] = canopy_with_cancel(within.root));
    for (int i = 0; i < 3; i++)
        thread_start(&threads[i], churn_within_the_limit, &within);
    meet(&within.meeting);
    const canopy_ctx *list[LIMIT];
    for (size_t i = 0; i < LIMIT; i++)
        list[i] = standing[0];
    for (int round = 0; round < SCALED(200000, 20000); round++)
        assert_null(canopy_with_any(list, LIMIT));
    for (int i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_int_equal(atomic_load(&within.refused), 0);
    for (size_t i = 0; i < LIMIT / 4; i++)
        canopy_release(standing[i]);
    assert_true(eventually(canopy_root_free(within.root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

struct limited {
    canopy_ctx *root;
    atomic_size_t live;
    atomic_size_t refused;
};

static void churn_at_the_limit(void *arg)
{
    struct limited *limited = arg;
    canopy_ctx *mine[LIMIT / 2];
    for (int round = 0; round < SCALED(2000, 300); round++) {
        size_t made = 0;
        for (; made < LIMIT / 2; made++) {
            mine[made] = canopy_with_cancel(limited->root);
            if (!mine[made]) {
                assert_int_equal(errno, EAGAIN);
                atomic_fetch_add(&limited->refused, 1);
                break;
            }
            assert_true(atomic_fetch_add(&limited->live, 1) < LIMIT);
        }
        for (size_t i = 0; i < made; i++) {
            atomic_fetch_sub(&limited->live, 1);
            canopy_release(mine[i]);
        }
    }
}

TEST(core_max_live_holds_between_threads)
{
    struct memory memory = {0};
    struct limited limited = {.root = root_with_limit(&memory)};
    struct thread threads[4];
    for (int i = 0; i < 4; i++)
        thread_start(&threads[i], churn_at_the_limit, &limited);
    for (int i = 0; i < 4; i++)
        thread_join(&threads[i]);
    /* What the threads left can all be used again. */
    canopy_ctx *all[LIMIT];
    for (size_t i = 0; i < LIMIT; i++)
        assert_true(eventually((all[i] = canopy_with_cancel(limited.root)) != NULL, SOON));
    for (size_t i = 0; i < LIMIT; i++)
        canopy_release(all[i]);
    assert_true(eventually(canopy_root_free(limited.root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}
