/*
 * state.c - promises 1, 2, 5 and 6: which contexts end, when, and that they end
 * once.
 */
#include "harness.h"

static const canopy_key key = {.name = "key"};

/* ------------------------------------------------------------ 1: the roots */

static void check_never_done(const canopy_ctx *ctx)
{
    void *untouched = &untouched;
    assert_live(ctx);
    assert_deadline(ctx, CANOPY_NEVER);
    assert_int_equal(canopy_err_at(ctx, CANOPY_NEVER - 1), 0);
    assert_null(canopy_value(ctx, &key));
    assert_false(canopy_lookup(ctx, &key, &untouched));
    assert_ptr_equal(untouched, &untouched);
    assert_false(canopy_wait(ctx, now_ns() + MILLISECONDS(5)));

    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_true(canopy_cancel(child));
    assert_live(ctx);
    canopy_release(child);
}

TEST(p01_background_and_todo_are_never_done)
{
    check_never_done(canopy_background());
    check_never_done(canopy_todo());
    assert_ptr_equal(canopy_background(), canopy_background());
    assert_ptr_equal(canopy_todo(), canopy_todo());
}

TEST(p01_releasing_background_and_todo_does_nothing)
{
    for (int i = 0; i < 1000; i++) {
        canopy_release(canopy_background());
        canopy_release(canopy_todo());
    }
    assert_ptr_equal(canopy_retain(canopy_background()), canopy_background());
    check_never_done(canopy_background());
    check_never_done(canopy_todo());
}

/* ------------------------------------------- 2: done when cancel returns */

/* A tree of plain, value and deadline nodes, three levels of `TREE_WIDTH` below one node. */
#define TREE_WIDTH 6
#define TREE_NODES (1 + TREE_WIDTH + TREE_WIDTH * TREE_WIDTH + TREE_WIDTH * TREE_WIDTH * TREE_WIDTH)

static size_t tree_parent(size_t i)
{
    return (i - 1) / TREE_WIDTH;
}

static void tree_make(canopy_ctx *tree[TREE_NODES], const canopy_ctx *root)
{
    for (size_t i = 0; i < TREE_NODES; i++) {
        /* cppcheck-suppress uninitvar ; all before this one are set */
        const canopy_ctx *parent = i == 0 ? root : tree[tree_parent(i)];
        /* The top must be cancellable itself. */
        if (i % 3 == 1)
            tree[i] = canopy_with_value(parent, &key, NULL);
        else if (i % 3 == 2)
            tree[i] = canopy_with_timeout(parent, HOURS(1));
        else
            tree[i] = canopy_with_cancel(parent);
        assert_non_null(tree[i]);
    }
}

static void tree_release(canopy_ctx *tree[TREE_NODES])
{
    for (size_t i = 0; i < TREE_NODES; i++)
        canopy_release(tree[i]);
}

static bool tree_below(size_t i, size_t top)
{
    while (i > top)
        i = tree_parent(i);
    return i == top;
}

TEST(p02_cancel_marks_every_descendant_before_it_returns)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *tree[TREE_NODES];
    tree_make(tree, f.root);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "the whole tree");
    assert_true(canopy_cancel_cause(tree[0], cause));
    for (size_t i = 0; i < TREE_NODES; i++)
        assert_ended(tree[i], -ECANCELED, cause);
    tree_release(tree);
    fixture_close(&f);
}

TEST(p02_cancel_reaches_through_value_layers)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *top = canopy_with_cancel(f.root);
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *second_value = canopy_with_value(value, &key, NULL);
    canopy_ctx *middle = canopy_with_cancel(second_value);
    canopy_ctx *low_value = canopy_with_value(middle, &key, NULL);
    canopy_ctx *leaf = canopy_with_cancel(low_value);
    assert_true(canopy_cancel(top));
    canopy_ctx *all[] = {top, value, second_value, middle, low_value, leaf};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_ended(all[i], -ECANCELED, CANOPY_CANCELED);
        canopy_release(all[i]);
    }
    fixture_close(&f);
}

TEST(p02_cancel_of_a_root_reaches_all)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *tree[TREE_NODES];
    tree_make(tree, f.root);
    assert_true(canopy_cancel(f.root));
    assert_ended(f.root, -ECANCELED, CANOPY_CANCELED);
    for (size_t i = 0; i < TREE_NODES; i++)
        assert_ended(tree[i], -ECANCELED, CANOPY_CANCELED);
    tree_release(tree);
    fixture_close(&f);
}

/* Two threads cancel at two levels; each checks below its own node as soon as it is back. */
struct two_cancels {
    struct meeting start, end;
    canopy_ctx *tree[TREE_NODES];
    int rounds;
};

static void cancel_and_look(struct two_cancels *race, size_t top)
{
    canopy_cancel(race->tree[top]);
    for (size_t i = top; i < TREE_NODES; i++)
        if (tree_below(i, top))
            assert_true(canopy_done(race->tree[i]));
}

static void cancel_middle(void *arg)
{
    struct two_cancels *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        cancel_and_look(race, 3); /* a plain node of the second level */
        meet(&race->end);
    }
}

TEST(p02_losing_cancel_finds_its_descendants_done_too)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct two_cancels race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(3000, 300)};
    struct thread other;
    thread_start(&other, cancel_middle, &race);
    for (int round = 0; round < race.rounds; round++) {
        tree_make(race.tree, f.root);
        meet(&race.start);
        cancel_and_look(&race, 0);
        meet(&race.end);
        tree_release(race.tree);
    }
    thread_join(&other);
    fixture_close(&f);
}

/* The few that are left of many children. */
#define MANY 4000

static void make_children(const canopy_ctx *parent, canopy_ctx *children[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        children[i] = canopy_with_cancel(parent);
        assert_non_null(children[i]);
    }
}

TEST(p02_the_few_that_are_left_of_many_children_are_reached)
{
    static canopy_ctx *children[MANY], *passing[MANY];
    for (size_t kept = 3; kept < 60; kept += 7) {
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        make_children(parent, children, MANY);
        for (size_t i = 0; i < MANY; i++)
            if (i % 60 != kept)
                canopy_release(children[i]);
        /* Enough come and go now for the parent to shed what it does not need. */
        for (int i = 0; i < 2; i++) {
            make_children(parent, passing, MANY);
            for (size_t k = 0; k < MANY; k++)
                canopy_release(passing[k]);
        }
        assert_true(canopy_cancel(parent));
        for (size_t i = kept; i < MANY; i += 60) {
            assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
            canopy_release(children[i]);
        }
        canopy_release(parent);
    }
}

/* ------------------------------------------------------- 5: once and for all */

TEST(p05_second_cancel_changes_nothing_and_returns_false)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    const canopy_cause *first = CANOPY_CAUSE(-1, "first"), *second = CANOPY_CAUSE(-2, "second");
    assert_true(canopy_cancel_cause(ctx, first));
    assert_false(canopy_cancel_cause(ctx, second));
    assert_false(canopy_cancel_cause(ctx, NULL));
    assert_false(canopy_cancel(ctx));
    assert_ended(ctx, -ECANCELED, first);
    canopy_release(ctx);
}

TEST(p05_cancel_of_a_child_that_its_parent_ended_returns_false)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    const canopy_cause *cause = CANOPY_CAUSE(-1, "the parent's");
    assert_true(canopy_cancel_cause(parent, cause));
    assert_false(canopy_cancel_cause(child, CANOPY_CAUSE(-2, "too late")));
    assert_ended(child, -ECANCELED, cause);
    canopy_release(parent);
    /* What a child reports does not hang on its parent's handle. */
    assert_ended(child, -ECANCELED, cause);
    canopy_release(child);
}

#define CANCELLERS 4

struct many_cancels {
    struct meeting start, end;
    canopy_ctx *ctx;
    atomic_uint wins;
    _Atomic(const canopy_cause *) winner;
    int rounds;
};

struct canceller {
    struct many_cancels *race;
    canopy_cause cause;
};

static void cancel_rounds(void *arg)
{
    struct canceller *canceller = arg;
    struct many_cancels *race = canceller->race;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        if (canopy_cancel_cause(race->ctx, &canceller->cause)) {
            atomic_fetch_add(&race->wins, 1);
            atomic_store(&race->winner, &canceller->cause);
        }
        const canopy_cause *seen = canopy_cause_of(race->ctx);
        meet(&race->end);
        assert_ended(race->ctx, -ECANCELED, seen);
        assert_ptr_equal(seen, atomic_load(&race->winner));
        meet(&race->end);
    }
}

TEST(p05_of_concurrent_cancels_exactly_one_returns_true)
{
    struct many_cancels race = {.start = {.parties = CANCELLERS + 1},
                                .end = {.parties = CANCELLERS + 1},
                                .rounds = SCALED(3000, 300)};
    struct canceller cancellers[CANCELLERS];
    struct thread threads[CANCELLERS];
    for (int i = 0; i < CANCELLERS; i++) {
        cancellers[i] = (struct canceller){&race, {-i, "one of several", NULL, 0}};
        thread_start(&threads[i], cancel_rounds, &cancellers[i]);
    }
    for (int round = 0; round < race.rounds; round++) {
        race.ctx = canopy_with_cancel(canopy_background());
        atomic_store(&race.wins, 0);
        meet(&race.start);
        meet(&race.end);
        assert_int_equal(atomic_load(&race.wins), 1);
        meet(&race.end);
        canopy_release(race.ctx);
    }
    for (int i = 0; i < CANCELLERS; i++)
        thread_join(&threads[i]);
}

/* -------------------------------------------------- 6: downwards, and no more */

TEST(p06_cancel_leaves_parent_siblings_and_cousins_alone)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *tree[TREE_NODES];
    tree_make(tree, f.root);
    const size_t top = 3; /* a plain node of the second level */
    assert_true(canopy_cancel(tree[top]));
    assert_live(f.root);
    for (size_t i = 0; i < TREE_NODES; i++) {
        if (tree_below(i, top))
            assert_ended(tree[i], -ECANCELED, CANOPY_CANCELED);
        else
            assert_live(tree[i]);
    }
    tree_release(tree);
    fixture_close(&f);
}

struct order_watch {
    struct meeting start, end;
    canopy_ctx *tree[TREE_NODES];
    int rounds;
};

static void watch_order(void *arg)
{
    struct order_watch *watch = arg;
    for (int round = 0; round < watch->rounds; round++) {
        meet(&watch->start);
        bool whole;
        do {
            whole = true;
            for (size_t i = TREE_NODES - 1; i > 0; i--) {
                if (!canopy_done(watch->tree[i]))
                    whole = false;
                else
                    assert_true(canopy_done(watch->tree[tree_parent(i)]));
            }
        } while (!whole);
        meet(&watch->end);
    }
}

TEST(p06_parents_are_marked_before_their_children)
{
    struct order_watch watch = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(2000, 200)};
    struct thread observer;
    thread_start(&observer, watch_order, &watch);
    for (int round = 0; round < watch.rounds; round++) {
        tree_make(watch.tree, canopy_background());
        meet(&watch.start);
        assert_true(canopy_cancel(watch.tree[0]));
        meet(&watch.end);
        tree_release(watch.tree);
    }
    thread_join(&observer);
}

/* -------------------------------------------------------- 6: down a long chain */

#define DEPTH 1000

struct chain_watch {
    struct meeting start, end;
    canopy_ctx *chain[DEPTH];
    int rounds;
};

static void watch_chain(void *arg)
{
    struct chain_watch *watch = arg;
    for (int round = 0; round < watch->rounds; round++) {
        meet(&watch->start);
        while (!canopy_done(watch->chain[DEPTH - 1]))
            ;
        for (size_t i = 0; i < DEPTH; i++)
            assert_true(canopy_done(watch->chain[i]));
        meet(&watch->end);
    }
}

TEST(p06_the_last_of_a_long_chain_is_done_only_after_all_above)
{
    struct chain_watch watch = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(200, 50)};
    struct thread observer;
    thread_start(&observer, watch_chain, &watch);
    for (int round = 0; round < watch.rounds; round++) {
        const canopy_ctx *parent = canopy_background();
        for (size_t i = 0; i < DEPTH; i++)
            parent = watch.chain[i] = canopy_with_cancel(parent);
        meet(&watch.start);
        assert_true(canopy_cancel(watch.chain[0]));
        meet(&watch.end);
        for (size_t i = 0; i < DEPTH; i++)
            canopy_release(watch.chain[i]);
    }
    thread_join(&observer);
}
