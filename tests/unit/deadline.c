/*
 * deadline.c - promises 16, 17 and 20 under a clock that the test drives, so
 * that each moment is exact: which deadline counts, and what it does.
 */
#include "harness.h"

static const canopy_key key = {.name = "key"};

#define OWN(text) CANOPY_CAUSE(-EPIPE, text)

static void advance(struct fixture *f, int64_t now)
{
    assert_int_equal(canopy_root_advance(f->root, now, NULL), 0);
}

/* ------------------------------------------------ 16: the earliest one counts */

TEST(p16_effective_deadline_is_the_minimum_of_itself_and_its_ancestors)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *top = canopy_with_deadline(f.root, 100);
    canopy_ctx *earlier = canopy_with_deadline(top, 50);
    canopy_ctx *later = canopy_with_deadline(earlier, 200);
    canopy_ctx *plain = canopy_with_cancel(later);
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *over_value = canopy_with_deadline(value, 150);
    assert_deadline(f.root, CANOPY_NEVER);
    assert_deadline(top, 100);
    assert_deadline(earlier, 50);
    assert_deadline(later, 50);
    assert_deadline(plain, 50);
    assert_deadline(value, 100);
    assert_deadline(over_value, 100);
    canopy_ctx *all[] = {over_value, value, plain, later, earlier, top};
    for (size_t i = 0; i < 6; i++)
        canopy_release(all[i]);
    fixture_close(&f);
}

TEST(p16_without_cancel_ends_the_search_for_deadlines)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *top = canopy_with_deadline(f.root, 100);
    canopy_ctx *detached = canopy_without_cancel(top);
    canopy_ctx *below = canopy_with_deadline(detached, 200);
    assert_deadline(detached, CANOPY_NEVER);
    assert_deadline(below, 200);
    advance(&f, 199);
    assert_ended(top, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(below);
    advance(&f, 200);
    assert_ended(below, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_live(detached);
    canopy_release(below);
    canopy_release(detached);
    canopy_release(top);
    fixture_close(&f);
}

/* Child at `child_ns` under a parent at 100; the clock goes to `now`, late or on time. */
static void check_parent_wins(int64_t child_ns, int64_t now, bool parent_set_last)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = OWN("the ancestor's");
    canopy_ctx *top =
        canopy_with_deadline_cause(f.root, parent_set_last ? CANOPY_NEVER : 100, cause);
    canopy_ctx *middle = canopy_with_value(top, &key, NULL);
    canopy_ctx *child = canopy_with_deadline_cause(middle, child_ns, OWN("the child's"));
    canopy_ctx *leaf = canopy_with_deadline_cause(child, child_ns, OWN("the leaf's"));
    if (parent_set_last)
        assert_true(canopy_set_deadline(top, 100));
    advance(&f, now);
    assert_ended(top, -ETIMEDOUT, cause);
    assert_ended(child, -ETIMEDOUT, cause);
    assert_ended(leaf, -ETIMEDOUT, cause);
    canopy_release(leaf);
    canopy_release(child);
    canopy_release(middle);
    canopy_release(top);
    fixture_close(&f);
}

TEST(p16_a_later_deadline_than_the_parents_never_fires)
{
    check_parent_wins(200, 100, false);
    check_parent_wins(200, 150, true);
}

TEST(p16_a_late_clock_that_finds_both_reports_the_ancestors_cause)
{
    check_parent_wins(101, 500, false);
    check_parent_wins(101, 500, true);
    check_parent_wins(200, HOURS(1), false);
}

TEST(p16_a_tie_reports_the_ancestors_cause)
{
    check_parent_wins(100, 100, false);
    check_parent_wins(100, 100, true);
    check_parent_wins(100, 5000, false);
}

TEST(p16_an_earlier_deadline_than_the_parents_fires_alone)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = OWN("the child's");
    canopy_ctx *parent = canopy_with_deadline(f.root, 100);
    canopy_ctx *child = canopy_with_deadline_cause(parent, 50, cause);
    canopy_ctx *sibling = canopy_with_cancel(parent);
    advance(&f, 50);
    assert_ended(child, -ETIMEDOUT, cause);
    assert_live(parent);
    assert_live(sibling);
    advance(&f, 100);
    assert_ended(child, -ETIMEDOUT, cause);
    assert_ended(sibling, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(sibling);
    canopy_release(child);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(p16_the_childs_own_counts_again_when_the_parents_moves_later_or_away)
{
    static const int64_t moved_to[] = {5000, CANOPY_NEVER};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        fixture_open(&f, CANOPY_CLOCK_HOST);
        const canopy_cause *cause = OWN("the child's");
        canopy_ctx *parent = canopy_with_deadline_cause(f.root, 100, OWN("the parent's"));
        canopy_ctx *child = canopy_with_deadline_cause(parent, 200, cause);
        advance(&f, 99);
        assert_true(canopy_set_deadline(parent, moved_to[i]));
        assert_deadline(child, 200);
        advance(&f, 199);
        assert_live(child);
        advance(&f, 200);
        assert_ended(child, -ETIMEDOUT, cause);
        assert_live(parent);
        canopy_release(child);
        canopy_release(parent);
        fixture_close(&f);
    }
}

TEST(p16_the_parents_counts_when_it_moves_earlier)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = OWN("the parent's");
    canopy_ctx *parent = canopy_with_deadline_cause(f.root, 300, cause);
    canopy_ctx *child = canopy_with_deadline_cause(parent, 200, OWN("the child's"));
    assert_deadline(child, 200);
    assert_true(canopy_set_deadline(parent, 100));
    assert_deadline(child, 100);
    advance(&f, 100);
    assert_ended(child, -ETIMEDOUT, cause);
    canopy_release(child);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(p16_deadline_answers_for_done_contexts_and_takes_a_null_out)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_deadline(f.root, 100);
    canopy_ctx *child = canopy_with_deadline(ctx, 200);
    canopy_ctx *plain = canopy_with_cancel(f.root);
    assert_true(canopy_deadline(ctx, NULL));
    assert_false(canopy_deadline(plain, NULL));
    assert_true(canopy_cancel(ctx));
    assert_true(canopy_cancel(plain));
    assert_deadline(ctx, 100);
    assert_deadline(child, 100);
    assert_deadline(plain, CANOPY_NEVER);
    canopy_ctx *born_done = canopy_with_deadline(ctx, 50);
    assert_deadline(born_done, 50);
    canopy_release(born_done);
    canopy_release(plain);
    canopy_release(child);
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(p16_never_and_what_saturates_to_it_is_no_deadline)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, 1000);
    canopy_ctx *all[] = {
        canopy_with_deadline(f.root, CANOPY_NEVER),
        canopy_with_timeout(f.root, CANOPY_NEVER),
        canopy_with_timeout(f.root, CANOPY_NEVER - 1),
        canopy_with_timeout(f.root, CANOPY_NEVER - 1000),
    };
    canopy_ctx *last_moment = canopy_with_timeout(f.root, CANOPY_NEVER - 1001);
    assert_deadline(last_moment, CANOPY_NEVER - 1);
    advance(&f, CANOPY_NEVER - 1);
    assert_ended(last_moment, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(last_moment);
    for (size_t i = 0; i < 4; i++) {
        assert_live(all[i]);
        assert_deadline(all[i], CANOPY_NEVER);
        canopy_release(all[i]);
    }
    fixture_close(&f);
}

/* On the library's clock, too, a sum may not wrap into the past. */
TEST(p16_timeouts_of_the_library_clock_saturate_to_never)
{
    static const int64_t timeouts[] = {CANOPY_NEVER, CANOPY_NEVER - 1, CANOPY_NEVER - 1000000};
    for (size_t i = 0; i < 3; i++) {
        canopy_ctx *ctx = canopy_with_timeout(canopy_background(), timeouts[i]);
        assert_live(ctx);
        assert_deadline(ctx, CANOPY_NEVER);
        canopy_release(ctx);
    }
}

static void count_run(void *arg)
{
    ++*(int *)arg;
}

TEST(p16_err_at_asks_and_marks_nothing)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_deadline(f.root, 100);
    canopy_ctx *child = canopy_with_deadline(parent, 200);
    int runs = 0;
    canopy_callback callback;
    assert_int_equal(canopy_after_func(child, &callback, count_run, &runs), 0);
    assert_int_equal(canopy_err_at(child, 99), 0);
    assert_int_equal(canopy_err_at(child, 100), -ETIMEDOUT);
    assert_int_equal(canopy_err_at(child, CANOPY_NEVER), -ETIMEDOUT);
    assert_int_equal(canopy_err_at(child, INT64_MIN), 0);
    assert_live(child);
    assert_live(parent);
    assert_int_equal(runs, 0);

    assert_true(canopy_cancel(parent));
    assert_int_equal(runs, 1);
    assert_int_equal(canopy_err_at(child, 0), -ECANCELED);
    assert_int_equal(canopy_err_at(child, 100), -ECANCELED);
    canopy_release(child);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(p16_err_at_of_what_has_no_deadline_is_its_err)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_err_at(ctx, CANOPY_NEVER), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(canopy_err_at(ctx, INT64_MIN), -ECANCELED);
    canopy_release(ctx);
}

/* ----------------------------------------------------------- 17: past ones */

TEST(p17_zero_negative_and_past_deadlines_are_born_done)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, 1000);
    const canopy_cause *cause = OWN("past");
    canopy_ctx *defaults[] = {
        canopy_with_deadline(f.root, 0),    canopy_with_deadline(f.root, -1),
        canopy_with_deadline(f.root, 999),  canopy_with_deadline(f.root, INT64_MIN),
        canopy_with_deadline(f.root, 1000), canopy_with_timeout(f.root, 0),
        canopy_with_timeout(f.root, -1),    canopy_with_timeout(f.root, INT64_MIN),
        canopy_with_timeout(f.root, -1000), canopy_with_deadline_cause(f.root, 999, NULL),
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        assert_ended(defaults[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        canopy_release(defaults[i]);
    }
    canopy_ctx *with_cause[] = {
        canopy_with_deadline_cause(f.root, 1000, cause),
        canopy_with_timeout_cause(f.root, -5, cause),
    };
    for (size_t i = 0; i < 2; i++) {
        assert_ended(with_cause[i], -ETIMEDOUT, cause);
        canopy_release(with_cause[i]);
    }
    fixture_close(&f);
}

TEST(p17_past_deadlines_of_the_library_clock_are_born_done)
{
    canopy_ctx *all[] = {
        canopy_with_deadline(canopy_background(), now_ns()),
        canopy_with_deadline(canopy_background(), now_ns() - HOURS(1)),
        canopy_with_deadline(canopy_todo(), 0),
        canopy_with_deadline(canopy_background(), INT64_MIN),
        canopy_with_timeout(canopy_todo(), 0),
        canopy_with_timeout(canopy_background(), INT64_MIN),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_ended(all[i], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        assert_false(canopy_cancel(all[i]));
        canopy_release(all[i]);
    }
}

TEST(p17_under_a_done_parent_the_parents_error_wins)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, 1000);
    const canopy_cause *cause = OWN("the parent's");
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *layer = canopy_with_value(parent, &key, NULL);
    assert_true(canopy_cancel_cause(parent, cause));
    canopy_ctx *children[] = {
        canopy_with_deadline(parent, 0),
        canopy_with_timeout(layer, -1),
        canopy_with_deadline_cause(layer, 1, OWN("the child's")),
    };
    for (size_t i = 0; i < 3; i++) {
        assert_ended(children[i], -ECANCELED, cause);
        canopy_release(children[i]);
    }
    canopy_release(layer);
    canopy_release(parent);
    fixture_close(&f);
}

/* ---------------------------------------------------------- 20: downwards */

TEST(p20_expiry_gives_descendants_the_parents_cause)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = OWN("expired above");
    canopy_ctx *top = canopy_with_timeout_cause(f.root, HOURS(2), cause);
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *plain = canopy_with_cancel(value);
    canopy_ctx *later = canopy_with_timeout_cause(plain, HOURS(3), OWN("later"));
    canopy_ctx *leaf = canopy_with_value(later, &key, NULL);
    canopy_ctx *all[] = {top, value, plain, later, leaf};
    advance(&f, HOURS(2) - 1);
    for (size_t i = 0; i < 5; i++)
        assert_live(all[i]);
    advance(&f, HOURS(2));
    for (size_t i = 0; i < 5; i++) {
        assert_ended(all[i], -ETIMEDOUT, cause);
        canopy_release(all[i]);
    }
    fixture_close(&f);
}

/* Which of two lines of memory the clock comes upon first must not decide. */
TEST(p16_a_late_clock_reports_the_ancestors_cause_whichever_it_meets_first)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *above = CANOPY_CAUSE(1, "above");
    const canopy_cause *below = CANOPY_CAUSE(2, "below");
    for (int64_t now = 100; now < 10000; now += 100) {
        canopy_ctx *places[3];
        for (size_t i = 0; i < 3; i++)
            places[i] = canopy_with_cancel(f.root);
        canopy_release(places[now / 100 % 3]); /* the parent's place in memory varies */
        canopy_ctx *parent = canopy_with_deadline_cause(f.root, now + 20, above);
        canopy_release(places[(now / 100 + 1) % 3]);
        canopy_ctx *child = canopy_with_deadline_cause(parent, now + 10, below);
        assert_int_equal(canopy_root_advance(f.root, now + 50, NULL), 0);
        assert_ended(parent, -ETIMEDOUT, above);
        assert_ended(child, -ETIMEDOUT, above);
        canopy_release(child);
        canopy_release(parent);
        canopy_release(places[(now / 100 + 2) % 3]);
    }
    fixture_close(&f);
}
