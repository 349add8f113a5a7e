/*
 * scale.c - promises 11 and 13 at size: trees a million deep and a million wide
 * on a small stack, ten million contexts in memory that stays flat.
 */
#include "harness.h"

#include <stdlib.h>

static const canopy_key key = {.name = "key"};

#define MANY ((size_t)SCALED(1000000, 100000))

/* Each body runs on 256 KiB of stack, so that anything recursive dies. */
struct big_tree {
    struct fixture fixture;
    canopy_ctx **nodes;
};

static void big_tree_open(struct big_tree *tree)
{
    fixture_open(&tree->fixture, CANOPY_CLOCK_HOST);
    tree->nodes = malloc(MANY * sizeof *tree->nodes);
    assert_non_null(tree->nodes);
}

static void big_tree_close(struct big_tree *tree)
{
    free(tree->nodes);
    fixture_close(&tree->fixture);
}

static void make_chain(struct big_tree *tree)
{
    for (size_t i = 0; i < MANY; i++) {
        const canopy_ctx *parent = i == 0 ? tree->fixture.root : tree->nodes[i - 1];
        tree->nodes[i] = canopy_with_cancel(parent);
        assert_non_null(tree->nodes[i]);
    }
}

static void make_wide(struct big_tree *tree)
{
    tree->nodes[0] = canopy_with_cancel(tree->fixture.root);
    for (size_t i = 1; i < MANY; i++) {
        tree->nodes[i] = i % 2 ? canopy_with_cancel(tree->nodes[0])
                               : canopy_with_timeout(tree->nodes[0], HOURS(1));
        assert_non_null(tree->nodes[i]);
    }
}

static void check_all_ended(const struct big_tree *tree, int err, const canopy_cause *cause)
{
    for (size_t i = 0; i < MANY; i++)
        assert_ended(tree->nodes[i], err, cause);
}

static void release_all(struct big_tree *tree)
{
    for (size_t i = 0; i < MANY; i++)
        canopy_release(tree->nodes[i]);
}

static void cancel_chain(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    make_chain(&tree);
    assert_true(canopy_cancel(tree.nodes[0]));
    check_all_ended(&tree, -ECANCELED, CANOPY_CANCELED);
    release_all(&tree); /* from the top: each but the last is kept by its child */
    big_tree_close(&tree);
}

TEST(p13_a_chain_a_million_deep_is_cancelled_and_released)
{
    run_on_small_stack(cancel_chain, NULL);
}

static void release_live_chain(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    make_chain(&tree);
    /* The last release takes the whole chain with it. */
    release_all(&tree);
    big_tree_close(&tree);
}

TEST(p13_a_chain_a_million_deep_goes_with_its_last_reference)
{
    run_on_small_stack(release_live_chain, NULL);
}

static void expire_chain(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    make_chain(&tree);
    assert_true(canopy_set_deadline(tree.nodes[0], 100));
    assert_deadline(tree.nodes[MANY - 1], 100);
    assert_int_equal(canopy_root_advance(tree.fixture.root, 100, NULL), 0);
    check_all_ended(&tree, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    for (size_t i = MANY; i > 0; i--)
        canopy_release(tree.nodes[i - 1]);
    big_tree_close(&tree);
}

TEST(p13_a_chain_a_million_deep_expires)
{
    run_on_small_stack(expire_chain, NULL);
}

static size_t destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    destroyed++;
}

static void release_value_chain(void *unused)
{
    (void)unused;
    static const canopy_key counted = {.name = "counted", .destroy = count_destroyed};
    struct big_tree tree;
    big_tree_open(&tree);
    canopy_ctx *top = canopy_with_cancel(tree.fixture.root);
    for (size_t i = 0; i < MANY; i++) {
        tree.nodes[i] = canopy_with_value(i == 0 ? top : tree.nodes[i - 1], &counted, NULL);
        assert_non_null(tree.nodes[i]);
    }
    assert_null(canopy_value(tree.nodes[MANY - 1], &key));
    canopy_ctx *leaf = canopy_with_cancel(tree.nodes[MANY - 1]);
    assert_true(canopy_cancel(top));
    assert_ended(leaf, -ECANCELED, CANOPY_CANCELED);
    canopy_release(leaf);
    canopy_release(top);
    destroyed = 0;
    release_all(&tree);
    big_tree_close(&tree);
    assert_int_equal(destroyed, MANY);
}

TEST(p13_a_chain_of_a_million_values_is_looked_through_and_released)
{
    run_on_small_stack(release_value_chain, NULL);
}

static void cancel_wide(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    make_wide(&tree);
    assert_true(canopy_cancel(tree.nodes[0]));
    check_all_ended(&tree, -ECANCELED, CANOPY_CANCELED);
    release_all(&tree);
    big_tree_close(&tree);
}

TEST(p13_a_parent_a_million_wide_is_cancelled_and_released)
{
    run_on_small_stack(cancel_wide, NULL);
}

static void expire_wide(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    make_wide(&tree);
    /* Half of the children carry this deadline themselves. */
    assert_int_equal(canopy_root_advance(tree.fixture.root, HOURS(1), NULL), 0);
    for (size_t i = 0; i < MANY; i++) {
        if (i > 0 && i % 2 == 0)
            assert_ended(tree.nodes[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        else
            assert_live(tree.nodes[i]);
    }
    release_all(&tree);
    big_tree_close(&tree);
}

TEST(p13_half_a_million_children_expire_at_once)
{
    run_on_small_stack(expire_wide, NULL);
}

/* A tree between the two shapes, whose nodes are let go of in random order. */
static void cancel_random_tree(void *unused)
{
    (void)unused;
    struct big_tree tree;
    big_tree_open(&tree);
    uint64_t seed = 13;
    tree.nodes[0] = canopy_with_cancel(tree.fixture.root);
    for (size_t i = 1; i < MANY; i++) {
        size_t nearby = i < 100 ? i : 100;
        tree.nodes[i] = canopy_with_cancel(tree.nodes[i - 1 - random_next(&seed) % nearby]);
        assert_non_null(tree.nodes[i]);
    }
    assert_true(canopy_cancel(tree.nodes[0]));
    check_all_ended(&tree, -ECANCELED, CANOPY_CANCELED);
    size_t *order = malloc(MANY * sizeof *order);
    assert_non_null(order);
    random_order(&seed, order, MANY);
    for (size_t i = 0; i < MANY; i++)
        canopy_release(tree.nodes[order[i]]);
    free(order);
    big_tree_close(&tree);
}

TEST(p13_a_random_tree_of_a_million_is_cancelled_and_released)
{
    run_on_small_stack(cancel_random_tree, NULL);
}

/* -------------------------------------------------------- 11: ten million */

#define WORKING_SET 10000
#define TEN_MILLION ((size_t)SCALED(10000000, 300000))

TEST(p11_ten_million_contexts_in_random_order_leave_memory_flat)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    static canopy_ctx *live[WORKING_SET];
    uint64_t seed = 11;
    size_t early_bytes = 0, early_resident_bytes = 0;
    for (size_t made = 0; made < TEN_MILLION; made++) {
        size_t place = random_next(&seed) % WORKING_SET;
        if (made % 2)
            canopy_end(live[place]);
        else
            canopy_release(live[place]);
        live[place] = made % 3 ? canopy_with_cancel(f.root) : canopy_with_timeout(f.root, HOURS(1));
        assert_non_null(live[place]);
        if (made == TEN_MILLION / 10) {
            early_bytes = atomic_load(&f.memory.live_bytes);
            early_resident_bytes = resident_bytes();
        }
    }
    size_t late_bytes = atomic_load(&f.memory.live_bytes);
    size_t late_resident_bytes = resident_bytes();
    print_message("%zu and %zu bytes in use, %zu and %zu resident\n", early_bytes, late_bytes,
                  early_resident_bytes, late_resident_bytes);
    assert_true(late_bytes <= early_bytes + early_bytes / 4);
    /* A sanitizer keeps what was freed; elsewhere a page or two may be anybody's. */
    if (!UNDER_SANITIZER)
        assert_true(late_resident_bytes <= early_resident_bytes + (size_t)1024 * 1024);
    for (size_t i = 0; i < WORKING_SET; i++)
        canopy_end(live[i]);
    fixture_close(&f);
}
