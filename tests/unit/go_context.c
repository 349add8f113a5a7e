/*
 * go_context.c - what the tests of Go's package context show of its contexts, shown of
 * these. tests/README.md says which of its tests is which of these.
 *
 * Deadlines are those of a host's clock, so nothing here depends on how time passes.
 */
#include "probes.h"

#include <sched.h>

static canopy_key key_one = {"key", NULL}, key_two = {"key", NULL}, key_three = {"three", NULL};

static canopy_ctx *with_cancel(const canopy_ctx *parent)
{
    canopy_ctx *ctx = canopy_with_cancel(parent);
    assert_non_null(ctx);
    return ctx;
}

static canopy_ctx *with_value(const canopy_ctx *parent, const canopy_key *key, void *value)
{
    canopy_ctx *ctx = canopy_with_value(parent, key, value);
    assert_non_null(ctx);
    return ctx;
}

static void advance(const struct fixture *fixture, int64_t now_ns)
{
    assert_int_equal(canopy_root_advance(fixture->root, now_ns, NULL), 0);
}

/* ------------------------------------------------------------------- the tree */

TEST(go_background_and_todo_are_live_and_have_nothing)
{
    const canopy_ctx *const both[] = {canopy_background(), canopy_todo()};
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(both[i]);
        assert_live(both[i]);
        assert_deadline(both[i], CANOPY_NEVER);
        assert_null(canopy_value(both[i], &key_one));
        assert_false(canopy_wait(both[i], 0));
    }
}

TEST(go_a_cancel_reaches_the_layers_and_children_of_its_context)
{
    canopy_ctx *ctx = with_cancel(canopy_background());
    canopy_ctx *layer = with_value(ctx, &key_one, ctx);
    canopy_ctx *child = with_cancel(layer);
    const canopy_ctx *const all[] = {ctx, layer, child};
    for (size_t i = 0; i < 3; i++) {
        assert_live(all[i]);
        assert_false(fd_readable(canopy_done_fd(all[i]), 0));
    }
    assert_true(canopy_cancel(ctx));
    for (size_t i = 0; i < 3; i++) {
        assert_ended(all[i], -ECANCELED, CANOPY_CANCELED);
        assert_true(fd_readable(canopy_done_fd(all[i]), 0));
    }
    canopy_end(child);
    canopy_end(layer);
    canopy_end(ctx);
}

TEST(go_a_parent_ends_children_of_every_kind_and_those_that_come_later)
{
    canopy_ctx *parent = with_cancel(canopy_background());
    canopy_ctx *child = with_cancel(parent);
    canopy_ctx *layer = with_value(parent, &key_one, parent);
    canopy_ctx *timed = canopy_with_timeout(layer, HOURS(10000));
    assert_non_null(timed);
    const canopy_ctx *const all[] = {parent, child, layer, timed};
    for (size_t i = 0; i < 4; i++)
        assert_live(all[i]);
    assert_true(canopy_cancel(parent));
    for (size_t i = 0; i < 4; i++)
        assert_ended(all[i], -ECANCELED, CANOPY_CANCELED);
    canopy_ctx *late = with_value(parent, &key_one, parent);
    assert_ended(late, -ECANCELED, CANOPY_CANCELED);
    canopy_end(late);
    canopy_end(timed);
    canopy_end(layer);
    canopy_end(child);
    canopy_end(parent);
}

TEST(go_a_child_that_ends_first_leaves_its_parent_alone)
{
    canopy_ctx *cancelable = with_cancel(canopy_background());
    const canopy_ctx *const parents[] = {canopy_background(), cancelable};
    for (size_t i = 0; i < 2; i++) {
        canopy_ctx *child = with_cancel(parents[i]);
        assert_live(child);
        assert_true(canopy_cancel(child));
        assert_ended(child, -ECANCELED, CANOPY_CANCELED);
        assert_live(parents[i]);
        canopy_end(child);
    }
    canopy_end(cancelable);
}

/* Go's parents let go of a child when it is cancelled; these when its last reference goes. */
TEST(go_a_child_that_has_gone_leaves_nothing_at_its_parent)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = with_cancel(fixture.root);
    assert_int_equal(canopy_wait_idle(parent, 0), 0);
    for (int timed = 0; timed < 2; timed++) {
        canopy_ctx *child =
            timed ? canopy_with_timeout(parent, HOURS(1)) : canopy_with_cancel(parent);
        assert_non_null(child);
        assert_true(canopy_cancel(child));
        assert_int_equal(canopy_wait_idle(parent, 0), -ETIME);
        canopy_end(child);
        assert_int_equal(canopy_wait_idle(parent, now_ns() + SOON), 0);
    }
    canopy_end(parent);
    fixture_close(&fixture);
}

TEST(go_a_child_of_a_cancelled_parent_is_done_as_it_is_made)
{
    const canopy_cause *cause = CANOPY_CAUSE(1, "because");
    canopy_ctx *parent = with_cancel(canopy_background());
    assert_true(canopy_cancel_cause(parent, cause));
    canopy_ctx *child = with_cancel(parent);
    assert_ended(child, -ECANCELED, cause);
    canopy_end(child);
    canopy_end(parent);
}

TEST(go_bad_parents_and_keys_are_answered)
{
    canopy_ctx *none[] = {canopy_with_cancel(NULL), canopy_with_deadline(NULL, 1),
                          canopy_with_value(NULL, &key_one, NULL),
                          canopy_with_value(canopy_background(), NULL, NULL)};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(none[i]);
    errno = 0;
    assert_null(canopy_with_value(canopy_background(), NULL, NULL));
    assert_int_equal(errno, EINVAL);
}

/* ------------------------------------------------------------------ deadlines */

TEST(go_a_deadline_ends_its_context_and_what_lies_on_it)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    advance(&fixture, 1000);
    canopy_ctx *timed = canopy_with_deadline(fixture.root, 1050);
    canopy_ctx *layer = with_value(timed, &key_one, timed);
    canopy_ctx *longer = canopy_with_deadline(layer, 4000);
    canopy_ctx *past = canopy_with_deadline(fixture.root, 999);
    canopy_ctx *now = canopy_with_deadline(fixture.root, 1000);
    assert_ended(past, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(now, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_deadline(longer, 1050);
    advance(&fixture, 1049);
    assert_live(longer);
    advance(&fixture, 1050);
    assert_ended(timed, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(layer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(longer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(now);
    canopy_end(past);
    canopy_end(longer);
    canopy_end(layer);
    canopy_end(timed);
    fixture_close(&fixture);
}

TEST(go_a_timeout_ends_its_context_and_what_lies_on_it)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    advance(&fixture, 1000);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, 50);
    canopy_ctx *layer = with_value(timed, &key_one, timed);
    canopy_ctx *longer = canopy_with_timeout(layer, 3000);
    assert_deadline(longer, 1050);
    advance(&fixture, 1049);
    assert_live(longer);
    advance(&fixture, 1050);
    assert_ended(layer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(longer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(longer);
    canopy_end(layer);
    canopy_end(timed);
    fixture_close(&fixture);
}

TEST(go_a_timeout_that_is_cancelled_first_stays_cancelled)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_timeout(fixture.root, 100);
    canopy_ctx *child = canopy_with_timeout(parent, 200);
    assert_true(canopy_cancel(child));
    assert_live(parent);
    advance(&fixture, 300);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    assert_ended(parent, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(child);
    canopy_end(parent);
    fixture_close(&fixture);
}

TEST(go_an_expiry_is_known_by_its_number)
{
    canopy_ctx *expired = canopy_with_timeout(canopy_background(), 0);
    assert_int_equal(canopy_err(expired), -ETIMEDOUT);
    assert_int_equal(canopy_cause_of(expired)->code, -ETIMEDOUT);
    assert_int_equal(CANOPY_CANCELED->code, -ECANCELED);
    canopy_end(expired);
}

/* --------------------------------------------------------------------- values */

static void check_values(const canopy_ctx *ctx, const char *one, const char *two, const char *three)
{
    assert_ptr_equal(canopy_value(ctx, &key_one), one);
    assert_ptr_equal(canopy_value(ctx, &key_two), two);
    assert_ptr_equal(canopy_value(ctx, &key_three), three);
}

TEST(go_values_are_found_through_all_layers_and_hidden_by_nearer_ones)
{
    char one[] = "1", two[] = "2", three[] = "3";
    check_values(canopy_background(), NULL, NULL, NULL);
    canopy_ctx *c1 = with_value(canopy_background(), &key_one, one);
    check_values(c1, one, NULL, NULL);
    canopy_ctx *c2 = with_value(c1, &key_two, two); /* of the same name: another key */
    check_values(c2, one, two, NULL);
    canopy_ctx *c3 = with_value(c2, &key_three, three);
    check_values(c3, one, two, three);
    canopy_ctx *c4 = with_value(c3, &key_one, NULL);
    check_values(c4, NULL, two, three);
    void *value = one;
    assert_true(canopy_lookup(c4, &key_one, &value)); /* bound, and to NULL */
    assert_null(value);
    canopy_ctx *below = with_cancel(c4);
    canopy_ctx *c5 = with_value(below, &key_three, NULL);
    check_values(c5, NULL, two, NULL);
    check_values(c3, one, two, three);
    canopy_ctx *const all[] = {c5, below, c4, c3, c2, c1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
}

TEST(go_without_cancel_keeps_values_and_neither_deadline_nor_end)
{
    struct fixture fixture;
    char one[] = "1";
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, 10);
    canopy_ctx *layer = with_value(timed, &key_one, one);
    canopy_ctx *detached = canopy_without_cancel(layer);
    canopy_ctx *below = with_cancel(detached);
    check_values(below, one, NULL, NULL);
    assert_deadline(below, CANOPY_NEVER);
    advance(&fixture, 10);
    assert_ended(layer, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(detached);
    assert_live(below);
    assert_false(canopy_cancel(detached));
    assert_live(detached);
    canopy_end(below);
    canopy_end(detached);
    canopy_end(layer);
    canopy_end(timed);
    fixture_close(&fixture);
}

/* --------------------------------------------------------------------- causes */

static const canopy_cause parent_cause = {1, "parent", __FILE__, __LINE__};
static const canopy_cause child_cause = {2, "child", __FILE__, __LINE__};
static const canopy_cause too_slow = {3, "too slow", __FILE__, __LINE__};

/* Parent and child are cancelled in this order, with these causes: what the child reports. */
static void check_order(bool parent_first, const canopy_cause *of_parent,
                        const canopy_cause *of_child, const canopy_cause *reported)
{
    canopy_ctx *parent = with_cancel(canopy_background());
    canopy_ctx *child = with_cancel(parent);
    if (parent_first) {
        assert_true(canopy_cancel_cause(parent, of_parent));
        assert_false(canopy_cancel_cause(child, of_child));
    } else {
        assert_true(canopy_cancel_cause(child, of_child));
        assert_true(canopy_cancel_cause(parent, of_parent));
    }
    assert_ended(child, -ECANCELED, reported);
    canopy_end(child);
    canopy_end(parent);
}

TEST(go_the_first_cause_stays_whoever_gave_it)
{
    check_order(true, &parent_cause, &child_cause, &parent_cause);
    check_order(false, &parent_cause, &child_cause, &child_cause);
    check_order(true, &parent_cause, NULL, &parent_cause);
    check_order(false, &parent_cause, NULL, CANOPY_CANCELED);
    check_order(true, NULL, &child_cause, CANOPY_CANCELED);
    check_order(false, NULL, &child_cause, &child_cause);
}

TEST(go_the_cause_of_a_timeout_is_reported_by_an_expiry_alone)
{
    struct {
        int64_t timeout_ns;
        const canopy_cause *of_timeout, *of_parent, *reported;
        int err;
    } cases[] = {
        {0, NULL, NULL, CANOPY_DEADLINE_EXCEEDED, -ETIMEDOUT},
        {HOURS(1), NULL, NULL, CANOPY_CANCELED, -ECANCELED},
        {0, &too_slow, NULL, &too_slow, -ETIMEDOUT},
        {HOURS(1), &too_slow, NULL, CANOPY_CANCELED, -ECANCELED},
        {0, &too_slow, &parent_cause, &too_slow, -ETIMEDOUT},
        {HOURS(1), &too_slow, &parent_cause, &parent_cause, -ECANCELED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        canopy_ctx *parent = with_cancel(canopy_background());
        canopy_ctx *timed =
            canopy_with_timeout_cause(parent, cases[i].timeout_ns, cases[i].of_timeout);
        assert_non_null(timed);
        canopy_ctx *detached = canopy_without_cancel(timed);
        canopy_cancel_cause(parent, cases[i].of_parent);
        canopy_cancel(timed);
        assert_ended(timed, cases[i].err, cases[i].reported);
        assert_live(detached);
        canopy_end(detached);
        canopy_end(timed);
        canopy_end(parent);
    }
}

static void cancels_with_cause(void *arg)
{
    struct race *race = arg;
    meet(&race->meeting);
    assert_true(canopy_cancel_cause(race->ctx, &parent_cause));
}

TEST(go_a_cause_that_is_polled_for_is_seen_whole)
{
    struct race race = {.meeting = {.parties = 2}, .ctx = with_cancel(canopy_background())};
    struct thread canceller;
    const canopy_cause *seen;
    thread_start(&canceller, cancels_with_cause, &race);
    meet(&race.meeting);
    while (!(seen = canopy_cause_of(race.ctx)))
        sched_yield();
    assert_ptr_equal(seen, &parent_cause);
    thread_join(&canceller);
    canopy_end(race.ctx);
}

/* ------------------------------------------------------------------ at once */

TEST(go_a_child_made_beside_the_cancel_of_its_parent_ends_with_the_cause)
{
    for (unsigned round = 0; round < SCALED(500, 100); round++) {
        struct race race = {.meeting = {.parties = 2}, .ctx = with_cancel(canopy_background())};
        struct thread canceller;
        thread_start(&canceller, cancels_with_cause, &race);
        meet(&race.meeting);
        canopy_ctx *child = with_cancel(race.ctx);
        assert_true(canopy_wait(child, CANOPY_NEVER));
        assert_ended(child, -ECANCELED, &parent_cause);
        thread_join(&canceller);
        canopy_end(child);
        canopy_end(race.ctx);
    }
}

TEST(go_a_child_cancelled_beside_its_parent_is_no_deadlock)
{
    for (unsigned round = 0; round < SCALED(500, 100); round++) {
        canopy_ctx *parent = with_cancel(canopy_background());
        struct race race = {.meeting = {.parties = 2}, .ctx = with_cancel(parent)};
        struct thread canceller;
        thread_start(&canceller, race_cancel, &race);
        meet(&race.meeting);
        canopy_cancel(parent);
        assert_ended(race.ctx, -ECANCELED, CANOPY_CANCELED);
        thread_join(&canceller);
        canopy_end(race.ctx);
        canopy_end(parent);
    }
}

TEST(go_a_tree_that_is_cancelled_everywhere_at_once_ends_everywhere)
{
    enum { degree = 4, contexts = 1 + degree + degree * degree };
    canopy_ctx *tree[contexts];
    struct thread threads[contexts];
    size_t order[contexts];
    uint64_t seed = 1;
    tree[0] = with_cancel(canopy_background());
    for (size_t i = 1; i < contexts; i++)
        tree[i] = with_cancel(tree[(i - 1) / degree]);
    random_order(&seed, order, contexts);
    for (size_t i = 0; i < contexts; i++)
        thread_start(&threads[i], cancel_context, tree[order[i]]);
    random_order(&seed, order, contexts);
    for (size_t i = 0; i < contexts; i++)
        assert_true(canopy_wait(tree[order[i]], CANOPY_NEVER));
    for (size_t i = 0; i < contexts; i++)
        thread_join(&threads[i]);
    for (size_t i = contexts; i-- > 0;) {
        assert_ended(tree[i], -ECANCELED, CANOPY_CANCELED);
        canopy_end(tree[i]);
    }
}

/* --------------------------------------------------------------- many layers */

enum { LAYERS = 40 };

/* A stack of layers of random kinds, and the values that were bound on the way. */
struct stack {
    canopy_ctx *layers[LAYERS];
    canopy_key keys[LAYERS];
    bool bound[LAYERS];
};

static void stack_open(struct stack *stack, const canopy_ctx *at, uint64_t *seed)
{
    for (size_t i = 0; i < LAYERS; i++) {
        uint64_t kind = i < 3 ? i : random_next(seed) % 3; /* each at least once */
        stack->bound[i] = kind == 0;
        stack->keys[i] = key_one;
        stack->layers[i] = kind == 0   ? canopy_with_value(at, &stack->keys[i], &stack->keys[i])
                           : kind == 1 ? canopy_with_cancel(at)
                                       : canopy_with_timeout(at, 200);
        assert_non_null(stack->layers[i]);
        at = stack->layers[i];
    }
}

static void stack_check_values(const struct stack *stack)
{
    for (size_t i = 0; i < LAYERS; i++)
        assert_ptr_equal(canopy_value(stack->layers[LAYERS - 1], &stack->keys[i]),
                         stack->bound[i] ? &stack->keys[i] : NULL);
}

static void stack_close(struct stack *stack)
{
    for (size_t i = LAYERS; i-- > 0;)
        canopy_end(stack->layers[i]);
}

TEST(go_the_top_of_many_layers_ends_with_any_of_them_and_keeps_its_values)
{
    for (uint64_t round = 1; round <= 50; round++) {
        struct fixture fixture;
        struct stack stack;
        uint64_t seed = round;
        fixture_open(&fixture, CANOPY_CLOCK_HOST);
        stack_open(&stack, fixture.root, &seed);
        assert_live(stack.layers[LAYERS - 1]);
        stack_check_values(&stack);
        size_t which = random_next(&seed) % LAYERS;
        while (!canopy_cancel(stack.layers[which])) /* a layer of values cannot be */
            which = (which + 1) % LAYERS;
        assert_ended(stack.layers[LAYERS - 1], -ECANCELED, CANOPY_CANCELED);
        stack_check_values(&stack);
        stack_close(&stack);
        fixture_close(&fixture);
    }
}

TEST(go_the_top_of_many_layers_expires_with_them_and_keeps_its_values)
{
    for (uint64_t round = 1; round <= 50; round++) {
        struct fixture fixture;
        struct stack stack;
        uint64_t seed = round;
        fixture_open(&fixture, CANOPY_CLOCK_HOST);
        stack_open(&stack, fixture.root, &seed);
        advance(&fixture, 199);
        assert_live(stack.layers[LAYERS - 1]);
        advance(&fixture, 200);
        assert_ended(stack.layers[LAYERS - 1], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        stack_check_values(&stack);
        stack_close(&stack);
        fixture_close(&fixture);
    }
}
