/*
 * value.c - promises 25 and 26: bindings are found from the nearest layer
 * outwards, and each binding is destroyed exactly once, after its last
 * reference.
 */
#include "probes.h"

#include <stdlib.h>

static const canopy_key color = {"color", NULL};
static const canopy_key same_name = {"color", NULL};
static const canopy_key shape = {"shape", NULL};
static const canopy_key counted = {"counted", count_call};
static int red, blue, round_;

/* ----------------------------------------------------------------- lookups */

TEST(p25_the_nearest_binding_wins)
{
    canopy_ctx *outer = canopy_with_value(canopy_background(), &color, &red);
    canopy_ctx *middle = canopy_with_cancel(outer);
    canopy_ctx *inner = canopy_with_value(middle, &color, &blue);
    canopy_ctx *leaf = canopy_with_timeout(inner, HOURS(1));

    assert_ptr_equal(canopy_value(outer, &color), &red);
    assert_ptr_equal(canopy_value(middle, &color), &red);
    assert_ptr_equal(canopy_value(inner, &color), &blue);
    assert_ptr_equal(canopy_value(leaf, &color), &blue);

    canopy_end(leaf);
    canopy_end(inner);
    canopy_end(middle);
    canopy_end(outer);
}

TEST(p25_a_binding_to_null_hides_the_outer_one)
{
    canopy_ctx *outer = canopy_with_value(canopy_background(), &color, &red);
    canopy_ctx *inner = canopy_with_value(outer, &color, NULL);
    void *value = &blue;

    assert_null(canopy_value(inner, &color));
    assert_true(canopy_lookup(inner, &color, &value));
    assert_null(value);
    assert_ptr_equal(canopy_value(outer, &color), &red);

    canopy_end(inner);
    canopy_end(outer);
}

TEST(p25_a_lookup_that_finds_nothing_leaves_the_out_alone)
{
    canopy_ctx *ctx = canopy_with_value(canopy_background(), &color, &red);
    void *value = &round_;

    assert_false(canopy_lookup(ctx, &shape, &value));
    assert_ptr_equal(value, &round_);
    assert_false(canopy_lookup(canopy_background(), &color, &value));
    assert_false(canopy_lookup(canopy_todo(), &color, &value));
    assert_ptr_equal(value, &round_);
    assert_null(canopy_value(ctx, &shape));
    assert_true(canopy_lookup(ctx, &color, &value));
    assert_ptr_equal(value, &red);

    canopy_end(ctx);
}

TEST(p25_keys_are_told_apart_by_address)
{
    canopy_ctx *first = canopy_with_value(canopy_background(), &color, &red);
    canopy_ctx *second = canopy_with_value(first, &same_name, &blue);

    assert_ptr_equal(canopy_value(second, &color), &red);
    assert_ptr_equal(canopy_value(second, &same_name), &blue);
    assert_null(canopy_value(first, &same_name));

    canopy_end(second);
    canopy_end(first);
}

TEST(p25_a_key_may_do_without_a_name)
{
    static const canopy_key nameless = {NULL, NULL};
    canopy_ctx *ctx = canopy_with_value(canopy_background(), &nameless, &red);

    assert_ptr_equal(canopy_value(ctx, &nameless), &red);
    canopy_end(ctx);
}

TEST(p25_siblings_and_parents_do_not_see_a_binding)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *left = canopy_with_value(parent, &color, &red);
    canopy_ctx *right = canopy_with_value(parent, &color, &blue);

    assert_ptr_equal(canopy_value(left, &color), &red);
    assert_ptr_equal(canopy_value(right, &color), &blue);
    assert_null(canopy_value(parent, &color));

    canopy_end(right);
    canopy_end(left);
    canopy_end(parent);
}

TEST(p25_values_are_readable_after_cancel)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(top, &color, &red);
    canopy_ctx *leaf = canopy_with_cancel(value);

    assert_true(canopy_cancel(top));
    assert_ptr_equal(canopy_value(leaf, &color), &red);
    canopy_ctx *late = canopy_with_value(leaf, &shape, &round_);
    assert_ended(late, -ECANCELED, CANOPY_CANCELED);
    assert_ptr_equal(canopy_value(late, &shape), &round_);
    assert_ptr_equal(canopy_value(late, &color), &red);

    canopy_end(late);
    canopy_end(leaf);
    canopy_end(value);
    canopy_end(top);
}

TEST(p25_a_value_handle_cannot_cancel_and_its_end_is_a_release)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(parent, &color, &red);
    canopy_ctx *child = canopy_with_cancel(value);

    assert_false(canopy_cancel(value));
    assert_false(canopy_cancel_cause(value, CANOPY_CANCELED));
    assert_false(canopy_set_deadline(value, 0));
    assert_false(canopy_try_reset(value));
    canopy_end(value);
    assert_live(parent);
    assert_live(child);
    assert_ptr_equal(canopy_value(child, &color), &red);

    canopy_end(child);
    canopy_end(parent);
}

/* Each layer binds a key of its own: the outermost is as far away as can be. */
static void look_through_a_deep_chain(void *arg)
{
    enum { depth = 10000 };
    canopy_key *keys = calloc(depth, sizeof *keys);
    canopy_ctx **layers = calloc(depth, sizeof(canopy_ctx *));
    const canopy_ctx *parent = canopy_background();
    (void)arg;
    assert_true(keys && layers);

    for (size_t i = 0; i < depth; i++) {
        layers[i] = canopy_with_value(parent, &keys[i], &layers[i]);
        assert_non_null(layers[i]);
        parent = layers[i];
    }
    void *value = NULL;
    assert_ptr_equal(canopy_value(parent, &keys[0]), &layers[0]);
    assert_ptr_equal(canopy_value(parent, &keys[depth / 2]), &layers[depth / 2]);
    assert_ptr_equal(canopy_value(parent, &keys[depth - 1]), &layers[depth - 1]);
    assert_false(canopy_lookup(parent, &color, &value));

    for (size_t i = 0; i < depth; i++)
        canopy_end(layers[i]);
    free(layers);
    free(keys);
}

TEST(p25_lookup_10000_bindings_up_does_not_recurse)
{
    run_on_small_stack(look_through_a_deep_chain, NULL);
}

/* ----------------------------------------------------------------- destroy */

TEST(p26_destroy_runs_once_after_the_last_reference)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    atomic_uint destroyed = 0;
    canopy_ctx *value = canopy_with_value(fixture.root, &counted, &destroyed);
    const canopy_ctx *second = canopy_retain(value);

    canopy_end(value);
    assert_int_equal(atomic_load(&destroyed), 0);
    assert_ptr_equal(canopy_value(second, &counted), &destroyed);
    canopy_release(second);
    fixture_close(&fixture);
    assert_int_equal(atomic_load(&destroyed), 1);
}

TEST(p26_whatever_is_derived_keeps_the_value)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    atomic_uint destroyed = 0, runs = 0;
    canopy_callback callback;
    canopy_ctx *value = canopy_with_value(fixture.root, &counted, &destroyed);
    canopy_ctx *child = canopy_with_cancel(value);
    canopy_ctx *grandchild = canopy_without_cancel(child);
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){fixture.root, grandchild}, 2);
    assert_int_equal(canopy_after_func(merged, &callback, count_call, &runs), 0);

    canopy_end(value);
    canopy_end(child);
    canopy_end(grandchild);
    canopy_release(merged);
    pause_ns(MILLISECONDS(10));
    assert_int_equal(atomic_load(&destroyed), 0);
    assert_true(canopy_callback_stop(&callback));
    fixture_close(&fixture);
    assert_int_equal(atomic_load(&destroyed), 1);
    assert_int_equal(atomic_load(&runs), 0);
}

static atomic_uint null_destroyed, null_given;

static void count_null(void *value)
{
    atomic_fetch_add(&null_destroyed, 1);
    if (!value)
        atomic_fetch_add(&null_given, 1);
}

TEST(p26_destroy_runs_for_null_values_too)
{
    static const canopy_key key = {"null", count_null};
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_end(canopy_with_value(fixture.root, &key, NULL));
    fixture_close(&fixture);
    assert_int_equal(atomic_load(&null_destroyed), 1);
    assert_int_equal(atomic_load(&null_given), 1);
}

TEST(p26_destroy_runs_once_for_each_binding_of_the_same_value)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    atomic_uint destroyed = 0;
    canopy_ctx *outer = canopy_with_value(fixture.root, &counted, &destroyed);
    canopy_ctx *inner = canopy_with_value(outer, &counted, &destroyed);
    canopy_ctx *beside = canopy_with_value(fixture.root, &counted, &destroyed);

    canopy_end(outer);
    canopy_end(inner);
    canopy_end(beside);
    fixture_close(&fixture);
    assert_int_equal(atomic_load(&destroyed), 3);
}

TEST(p26_destroy_does_not_run_when_with_value_failed)
{
    struct memory memory = {0};
    canopy_config config = memory_config(&memory);
    config.max_live = 1;
    canopy_ctx *root = canopy_root_new(&config);
    atomic_uint destroyed = 0;

    assert_null(canopy_with_value(NULL, &counted, &destroyed));
    assert_int_equal(errno, EINVAL);
    canopy_ctx *child = canopy_with_cancel(root);
    assert_non_null(child);
    assert_null(canopy_with_value(root, &counted, &destroyed));
    assert_int_equal(errno, EAGAIN);

    canopy_end(child);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(atomic_load(&destroyed), 0);
}

TEST(p26_destroy_has_run_when_wait_idle_says_0)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    for (unsigned round = 0; round < SCALED(2000, 300); round++) {
        atomic_uint destroyed = 0;
        canopy_ctx *scope = canopy_with_cancel(fixture.root);
        canopy_ctx *value = canopy_with_value(scope, &counted, &destroyed);
        canopy_ctx *child = canopy_with_cancel(value);
        if (round % 2) /* seen by a walk: the child may be retired the slow way */
            canopy_cancel(scope);
        canopy_end(value);
        canopy_end(child);
        assert_int_equal(canopy_wait_idle(scope, now_ns() + SOON), 0);
        assert_int_equal(atomic_load(&destroyed), 1);
        canopy_end(scope);
    }
    fixture_close(&fixture);
}

TEST(p26_destroy_has_run_when_root_free_says_0)
{
    for (unsigned round = 0; round < SCALED(200, 50); round++) {
        atomic_uint destroyed = 0;
        canopy_ctx *root = canopy_root_new(NULL);
        canopy_ctx *value = canopy_with_value(root, &counted, &destroyed);
        canopy_ctx *child = canopy_with_cancel(value);
        canopy_cancel(root);
        canopy_end(child);
        canopy_end(value);
        assert_true(eventually(canopy_root_free(root) == 0, SOON));
        assert_int_equal(atomic_load(&destroyed), 1);
    }
}

/* A value that is itself a context: its destroy calls the library. */
static void end_value(void *value)
{
    canopy_end(value);
}

TEST(p26_destroy_may_end_another_context)
{
    static const canopy_key holder = {"holder", end_value};
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    atomic_uint runs = 0;
    canopy_callback callback;
    canopy_ctx *held = canopy_with_cancel(fixture.root);
    const canopy_ctx *view = canopy_retain(held);
    assert_int_equal(canopy_after_func(held, &callback, count_call, &runs), 0);
    canopy_ctx *value = canopy_with_value(fixture.root, &holder, held);

    canopy_end(value);
    assert_true(canopy_wait(view, now_ns() + SOON));
    canopy_release(view);
    fixture_close(&fixture);
    assert_int_equal(atomic_load(&runs), 1);
}

struct last_reference {
    struct meeting meeting;
    const canopy_ctx *value;
    canopy_ctx *parent;
};

static void drop_reference(void *arg)
{
    struct last_reference *shared = arg;
    meet(&shared->meeting);
    canopy_release(shared->value);
}

static void cancel_parent(void *arg)
{
    struct last_reference *shared = arg;
    meet(&shared->meeting);
    canopy_cancel(shared->parent);
}

TEST(p26_destroy_runs_once_when_threads_drop_the_last_references_beside_a_cancel)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    for (unsigned round = 0; round < SCALED(1500, 300); round++) {
        atomic_uint destroyed = 0;
        struct last_reference shared = {.meeting.parties = 3};
        struct thread threads[3];
        shared.parent = canopy_with_cancel(fixture.root);
        canopy_ctx *value = canopy_with_value(shared.parent, &counted, &destroyed);
        shared.value = value;
        (void)canopy_retain(value);

        thread_start(&threads[0], drop_reference, &shared);
        thread_start(&threads[1], drop_reference, &shared);
        thread_start(&threads[2], cancel_parent, &shared);
        for (size_t i = 0; i < 3; i++)
            thread_join(&threads[i]);
        assert_int_equal(canopy_wait_idle(shared.parent, now_ns() + SOON), 0);
        assert_int_equal(atomic_load(&destroyed), 1);
        canopy_end(shared.parent);
    }
    fixture_close(&fixture);
}

/* Only the leaf is held: dropping it takes the whole chain with it. */
static void drop_a_deep_chain(void *arg)
{
    enum { depth = SCALED(100000, 20000) };
    atomic_uint destroyed = 0;
    struct fixture *fixture = arg;
    canopy_ctx *leaf = canopy_with_cancel(fixture->root);
    for (size_t i = 0; i < depth; i++) {
        canopy_ctx *next = canopy_with_value(leaf, &counted, &destroyed);
        assert_non_null(next);
        canopy_release(leaf);
        leaf = next;
    }
    assert_int_equal(atomic_load(&destroyed), 0);
    canopy_release(leaf);
    assert_int_equal(canopy_wait_idle(fixture->root, now_ns() + SOON), 0);
    assert_int_equal(atomic_load(&destroyed), depth);
}

TEST(p26_a_chain_of_100000_bindings_goes_in_bounded_stack)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    run_on_small_stack(drop_a_deep_chain, &fixture);
    fixture_close(&fixture);
}
