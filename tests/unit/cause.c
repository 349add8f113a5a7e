/*
 * cause.c - promises 22 and 23: which cause a context reports, and for how long
 * it can be read.
 */
#include "harness.h"

#include <stdlib.h>

static const canopy_key key = {.name = "key"};

/* ---------------------------------------------------------------- the macro */

static const canopy_cause *cause_of_this_line(void)
{
    return CANOPY_CAUSE(-EPIPE, "pipe broken");
}

TEST(p22_a_cause_is_its_address_and_knows_its_place)
{
    const canopy_cause *cause = cause_of_this_line();
    assert_ptr_equal(cause, cause_of_this_line());
    assert_int_equal(cause->code, -EPIPE);
    assert_string_equal(cause->text, "pipe broken");
    assert_string_equal(cause->file, __FILE__);
    assert_in_range(cause->line, 1, __LINE__);
    const canopy_cause *same_words = CANOPY_CAUSE(-EPIPE, "pipe broken");
    assert_ptr_not_equal(cause, same_words);
}

TEST(p22_the_default_causes_carry_their_codes)
{
    assert_ptr_equal(CANOPY_CANCELED, &canopy_cause_canceled);
    assert_ptr_equal(CANOPY_DEADLINE_EXCEEDED, &canopy_cause_deadline_exceeded);
    assert_int_equal(CANOPY_CANCELED->code, -ECANCELED);
    assert_int_equal(CANOPY_DEADLINE_EXCEEDED->code, -ETIMEDOUT);
    assert_non_null(CANOPY_CANCELED->text);
    assert_non_null(CANOPY_DEADLINE_EXCEEDED->text);
}

/* ------------------------------------------------------------- 22: which one */

TEST(p22_without_a_cause_it_is_the_default_of_the_err)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *cancelled = canopy_with_cancel(f.root);
    canopy_ctx *with_null = canopy_with_cancel(f.root);
    canopy_ctx *expired = canopy_with_deadline(f.root, 10);
    canopy_ctx *expired_null = canopy_with_deadline_cause(f.root, 10, NULL);
    canopy_ctx *timeout_null = canopy_with_timeout_cause(f.root, 10, NULL);
    assert_true(canopy_cancel(cancelled));
    assert_true(canopy_cancel_cause(with_null, NULL));
    assert_int_equal(canopy_root_advance(f.root, 10, NULL), 0);
    assert_ended(cancelled, -ECANCELED, CANOPY_CANCELED);
    assert_ended(with_null, -ECANCELED, CANOPY_CANCELED);
    assert_ended(expired, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(expired_null, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(timeout_null, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_ctx *all[] = {cancelled, with_null, expired, expired_null, timeout_null};
    for (size_t i = 0; i < 5; i++)
        canopy_release(all[i]);
    fixture_close(&f);
}

TEST(p22_err_says_how_it_ended_whatever_the_causes_code)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    static const int codes[] = {0, 1, -EPIPE, -ETIMEDOUT, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        canopy_cause cause = {.code = codes[i]};
        canopy_ctx *cancelled = canopy_with_cancel(f.root);
        canopy_ctx *expired = canopy_with_deadline_cause(f.root, 0, &cause);
        assert_true(canopy_cancel_cause(cancelled, &cause));
        assert_ended(cancelled, -ECANCELED, &cause);
        assert_ended(expired, -ETIMEDOUT, &cause);
        canopy_release(expired);
        canopy_release(cancelled);
    }
    canopy_ctx *crossed = canopy_with_cancel(f.root);
    assert_true(canopy_cancel_cause(crossed, CANOPY_DEADLINE_EXCEEDED));
    assert_ended(crossed, -ECANCELED, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(crossed);
    fixture_close(&f);
}

TEST(p22_the_cause_for_expiry_is_not_reported_by_cancel)
{
    canopy_ctx *ctx = canopy_with_timeout_cause(canopy_background(), HOURS(1),
                                                CANOPY_CAUSE(-EPIPE, "for expiry"));
    assert_true(canopy_cancel(ctx));
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_release(ctx);
}

TEST(p22_parent_first_both_report_the_parents)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "the parent's");
    assert_true(canopy_cancel_cause(parent, cause));
    assert_false(canopy_cancel_cause(child, CANOPY_CAUSE(-EIO, "the child's")));
    assert_ended(parent, -ECANCELED, cause);
    assert_ended(child, -ECANCELED, cause);
    canopy_release(child);
    canopy_release(parent);
}

TEST(p22_child_first_each_keeps_its_own)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    canopy_ctx *grandchild = canopy_with_cancel(child);
    canopy_ctx *sibling = canopy_with_cancel(parent);
    const canopy_cause *parents = CANOPY_CAUSE(-EPIPE, "the parent's");
    const canopy_cause *childs = CANOPY_CAUSE(-EIO, "the child's");
    assert_true(canopy_cancel_cause(child, childs));
    assert_true(canopy_cancel_cause(parent, parents));
    assert_ended(parent, -ECANCELED, parents);
    assert_ended(sibling, -ECANCELED, parents);
    assert_ended(child, -ECANCELED, childs);
    assert_ended(grandchild, -ECANCELED, childs);
    canopy_release(sibling);
    canopy_release(grandchild);
    canopy_release(child);
    canopy_release(parent);
}

TEST(p22_expiry_first_keeps_its_err_and_cause_when_the_parent_is_cancelled)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "expired");
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *child = canopy_with_deadline_cause(parent, 10, cause);
    assert_int_equal(canopy_root_advance(f.root, 10, NULL), 0);
    assert_true(canopy_cancel(parent));
    assert_ended(child, -ETIMEDOUT, cause);
    canopy_release(child);
    canopy_release(parent);
    fixture_close(&f);
}

#define LAYERS 60

TEST(p22_a_cause_passes_through_every_kind_of_layer)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *top = canopy_with_cancel(f.root);
    canopy_ctx *layers[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        /* cppcheck-suppress uninitvar ; all before this one are set */
        const canopy_ctx *below = i == 0 ? top : layers[i - 1];
        const canopy_ctx *inputs[] = {f.root, below};
        layers[i] = i % 5 == 0 ? canopy_with_value(below, &key, NULL)
                    : i % 5 == 1
                        ? canopy_with_timeout_cause(below, HOURS(1), CANOPY_CAUSE(-EIO, "not this"))
                    : i % 5 == 2 ? canopy_with_any(inputs, 2)
                    : i % 5 == 3 ? canopy_with_deadline(below, CANOPY_NEVER)
                                 : canopy_with_cancel(below);
    }
    const canopy_cause *cause = CANOPY_CAUSE(-EPIPE, "from the top");
    assert_true(canopy_cancel_cause(top, cause));
    for (size_t i = 0; i < LAYERS; i++)
        assert_ended(layers[i], -ECANCELED, cause);
    for (size_t i = 0; i < LAYERS; i++)
        canopy_release(layers[i]);
    canopy_release(top);
    fixture_close(&f);
}

/* ----------------------------------------------------------- 23: how long */

/* The caller's own cause is not copied, and not read once nobody reports it. */
TEST(p23_a_callers_cause_may_go_with_the_last_context_that_reports_it)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int round = 0; round < 100; round++) {
        canopy_cause *cause = malloc(sizeof *cause);
        assert_non_null(cause);
        *cause = (canopy_cause){.code = -round, .text = "on the heap"};
        canopy_ctx *parent = canopy_with_cancel(f.root);
        canopy_ctx *child = canopy_with_cancel(parent);
        canopy_ctx *unused = canopy_with_timeout_cause(f.root, HOURS(1), cause);
        assert_true(canopy_cancel_cause(parent, cause));
        canopy_release(parent);
        assert_ended(child, -ECANCELED, cause);
        assert_int_equal(canopy_cause_of(child)->code, -round);
        canopy_end(unused);
        canopy_release(child);
        memset(cause, 0xff, sizeof *cause);
        free(cause);
    }
    fixture_close(&f);
}

/* What a failed group leaves behind: contexts that outlive it and report its cause. */
struct survivors {
    canopy_ctx *child;
    canopy_ctx *value;
    canopy_ctx *merged;
    canopy_ctx *made_after; /* derived when the group had failed already */
};

static int fail_and_leave(const canopy_ctx *ctx, void *arg)
{
    struct survivors *survivors = arg;
    const canopy_ctx *inputs[] = {canopy_background(), ctx};
    survivors->child = canopy_with_cancel(ctx);
    survivors->value = canopy_with_value(survivors->child, &key, NULL);
    survivors->merged = canopy_with_any(inputs, 2);
    return -EIO;
}

static void check_group_cause(const canopy_ctx *ctx)
{
    assert_int_equal(canopy_err(ctx), -ECANCELED);
    const canopy_cause *cause = canopy_cause_of(ctx);
    assert_non_null(cause);
    assert_int_equal(cause->code, -EIO);
    assert_non_null(cause->text);
    assert_true(strlen(cause->text) < 1000);
}

static void fail_a_group(struct fixture *f, struct survivors *survivors)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, f->root, 0), 0);
    assert_int_equal(canopy_group_go(&group, fail_and_leave, survivors), 0);
    assert_true(canopy_wait(canopy_group_ctx(&group), now_ns() + SOON));
    survivors->made_after = canopy_with_cancel(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_wait(&group), -EIO);
    memset(&group, 0xff, sizeof group);
}

TEST(p23_a_groups_cause_outlives_the_group)
{
    /* Whichever context is the last one, it can still be asked. */
    for (size_t last = 0; last < 4; last++) {
        struct fixture f;
        fixture_open(&f, CANOPY_CLOCK_LIBRARY);
        struct survivors survivors;
        fail_a_group(&f, &survivors);
        canopy_ctx *all[] = {survivors.child, survivors.value, survivors.merged,
                             survivors.made_after};
        for (size_t i = 0; i < 4; i++)
            check_group_cause(all[i]);
        for (size_t i = 0; i < 4; i++)
            if (i != last)
                canopy_release(all[i]);
        pause_ns(MILLISECONDS(20)); /* long enough for what is freed late */
        check_group_cause(all[last]);
        canopy_ctx *born = canopy_with_cancel(all[last]);
        canopy_release(all[last]);
        check_group_cause(born);
        canopy_release(born);
        fixture_close(&f);
    }
}

TEST(p23_a_cause_handed_down_a_chain_outlives_every_ancestor)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct survivors survivors;
    fail_a_group(&f, &survivors);
    canopy_release(survivors.child);
    canopy_release(survivors.value);
    canopy_release(survivors.made_after);
    canopy_ctx *ctx = survivors.merged;
    for (int i = 0; i < 1000; i++) {
        const canopy_ctx *inputs[] = {canopy_background(), ctx};
        canopy_ctx *next = i % 3 == 0   ? canopy_with_any(inputs, 2)
                           : i % 3 == 1 ? canopy_with_value(ctx, &key, NULL)
                                        : canopy_with_timeout(ctx, HOURS(1));
        canopy_release(ctx);
        ctx = next;
        check_group_cause(ctx);
    }
    canopy_release(ctx);
    fixture_close(&f);
}
