/*
 * go_errgroup.c - what the tests of Go's errgroup show of its groups, shown of these.
 * tests/README.md says which of its tests is which of these.
 */
#include "probes.h"

static int give(const canopy_ctx *ctx, void *result)
{
    (void)ctx;
    return *(const int *)result;
}

/* Results of members that run one after the other, and what the group makes of them. */
static const struct sequence {
    size_t members;
    int results[3];
    int expected;
} sequences[] = {
    {0, {0}, 0}, {1, {0}, 0}, {1, {-5}, -5}, {2, {-5, 0}, -5}, {3, {-5, 0, -6}, -5}, {2, {0, 7}, 7},
};
enum { SEQUENCES = sizeof sequences / sizeof *sequences };

/* Limit 1, so that they come one after the other. */
static int run_sequence(const struct sequence *sequence, const canopy_ctx **ctx)
{
    canopy_group group;
    int results[3];
    memcpy(results, sequence->results, sizeof results);
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    *ctx = canopy_retain(canopy_group_ctx(&group));
    for (size_t i = 0; i < sequence->members; i++)
        assert_int_equal(canopy_group_go(&group, give, &results[i]), 0);
    int result = canopy_group_wait(&group);
    assert_int_equal(canopy_group_wait(&group), -EINVAL); /* Go's may be used again */
    return result;
}

TEST(go_a_group_tells_the_first_failure_of_those_that_ran_in_turn)
{
    for (size_t i = 0; i < SEQUENCES; i++) {
        const canopy_ctx *ctx;
        assert_int_equal(run_sequence(&sequences[i], &ctx), sequences[i].expected);
        canopy_release(ctx);
    }
}

TEST(go_the_context_of_a_group_is_done_once_it_was_waited_for)
{
    for (size_t i = 0; i < SEQUENCES; i++) {
        const canopy_ctx *ctx;
        run_sequence(&sequences[i], &ctx);
        assert_int_equal(canopy_err(ctx), -ECANCELED);
        canopy_release(ctx);
    }
}

TEST(go_the_cause_of_a_group_is_its_failure_or_a_plain_cancel)
{
    for (size_t i = 0; i < SEQUENCES; i++) {
        const canopy_ctx *ctx;
        run_sequence(&sequences[i], &ctx);
        if (sequences[i].expected == 0)
            assert_ptr_equal(canopy_cause_of(ctx), CANOPY_CANCELED);
        else
            assert_int_equal(canopy_cause_of(ctx)->code, sequences[i].expected);
        canopy_release(ctx);
    }
}

static const canopy_cause doom = {-71, "doomed", __FILE__, __LINE__};

static int be_doomed(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return canopy_group_fail(&doom);
}

/* Go's is the error itself; here a number, or what a member says that it is. */
TEST(go_the_cause_of_a_group_is_what_its_member_failed_with)
{
    canopy_group group;
    int zero = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_go(&group, be_doomed, NULL), 0);
    assert_int_equal(canopy_group_go(&group, give, &zero), 0);
    assert_int_equal(canopy_group_wait(&group), -71);
    assert_ended(ctx, -ECANCELED, &doom);
    canopy_release(ctx);
}

static int stay(const canopy_ctx *ctx, void *gate)
{
    (void)ctx;
    pass_gate(gate);
    return 0;
}

TEST(go_a_full_group_takes_nobody_who_only_tries)
{
    enum { limit = 42 };
    canopy_group group;
    struct gate gate = {.open = false};
    assert_int_equal(canopy_group_init(&group, canopy_background(), limit), 0);
    for (unsigned i = 0; i < limit; i++)
        assert_int_equal(canopy_group_try_go(&group, stay, &gate), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(canopy_group_try_go(&group, stay, &gate), -EBUSY);
    atomic_store(&gate.open, true);
    assert_true(eventually(canopy_group_try_go(&group, stay, &gate) == 0, SOON));
    assert_int_equal(canopy_group_wait(&group), 0);
}

struct census {
    atomic_uint inside, total;
    unsigned limit;
};

static int be_counted(const canopy_ctx *ctx, void *arg)
{
    struct census *census = arg;
    (void)ctx;
    unsigned inside = atomic_fetch_add(&census->inside, 1) + 1;
    pause_ns(MICROSECONDS(1)); /* room for others to come in */
    atomic_fetch_add(&census->total, 1);
    atomic_fetch_sub(&census->inside, 1);
    return inside > census->limit;
}

TEST(go_no_more_members_run_at_once_than_the_limit)
{
    canopy_group group;
    struct census census = {.limit = 10};
    const unsigned members = SCALED(1000, 200);
    assert_int_equal(canopy_group_init(&group, canopy_background(), census.limit), 0);
    for (unsigned i = 0; i < members; i++)
        assert_int_equal(canopy_group_go(&group, be_counted, &census), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&census.total), members);
}

/* Searches in parallel: each member has a place of its own for what it finds. */
struct search {
    const char *kind;
    char found[32];
};

static int search(const canopy_ctx *ctx, void *arg)
{
    struct search *it = arg;
    snprintf(it->found, sizeof it->found, "%s result", it->kind);
    return canopy_err(ctx);
}

TEST(go_what_members_wrote_is_there_after_the_wait)
{
    canopy_group group;
    struct search searches[] = {{.kind = "web"}, {.kind = "image"}, {.kind = "video"}};
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(canopy_group_go(&group, search, &searches[i]), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_string_equal(searches[0].found, "web result");
    assert_string_equal(searches[1].found, "image result");
    assert_string_equal(searches[2].found, "video result");
}
