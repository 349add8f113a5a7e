/*
 * set_deadline.c - promise 21: a deadline moves either way, is taken away, and
 * never brings a context back.
 */
#include "harness.h"

#define OWN(text) CANOPY_CAUSE(-EPIPE, text)

static void advance(struct fixture *f, int64_t now)
{
    assert_int_equal(canopy_root_advance(f->root, now, NULL), 0);
}

/* ------------------------------------------------------- 21: moving a deadline */

TEST(p21_set_deadline_moves_it_either_way)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *earlier = canopy_with_deadline(f.root, 100);
    canopy_ctx *later = canopy_with_deadline(f.root, 100);
    canopy_ctx *plain = canopy_with_cancel(f.root);
    assert_true(canopy_set_deadline(earlier, 50));
    assert_true(canopy_set_deadline(later, 150));
    assert_true(canopy_set_deadline(plain, 120));
    assert_deadline(earlier, 50);
    assert_deadline(later, 150);
    assert_deadline(plain, 120);
    advance(&f, 49);
    assert_live(earlier);
    advance(&f, 50);
    assert_ended(earlier, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    advance(&f, 119);
    assert_live(plain);
    advance(&f, 120);
    assert_ended(plain, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    advance(&f, 149);
    assert_live(later);
    advance(&f, 150);
    assert_ended(later, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(plain);
    canopy_release(later);
    canopy_release(earlier);
    fixture_close(&f);
}

TEST(p21_set_timeout_counts_from_the_clock_of_the_root)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_deadline(f.root, SECONDS(10));
    canopy_ctx *layer = canopy_without_cancel(ctx);
    advance(&f, SECONDS(9));
    assert_true(canopy_set_timeout(ctx, SECONDS(5)));
    assert_deadline(ctx, SECONDS(14));
    assert_true(canopy_set_timeout(ctx, CANOPY_NEVER - SECONDS(1)));
    assert_deadline(ctx, CANOPY_NEVER);
    assert_true(canopy_set_timeout(ctx, 1));
    assert_deadline(ctx, SECONDS(9) + 1);
    assert_live(ctx);
    assert_true(canopy_set_timeout(ctx, INT64_MIN)); /* ends it at once */
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_deadline(ctx, SECONDS(9));
    assert_false(canopy_set_timeout(ctx, SECONDS(1)));
    assert_false(canopy_set_timeout(layer, SECONDS(1)));
    assert_false(canopy_set_timeout(NULL, SECONDS(1)));
    canopy_release(layer);
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(p21_set_timeout_counts_from_now_where_the_library_has_the_clock)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    int64_t before_ns = canopy_now_ns(), deadline_ns;
    assert_true(canopy_set_timeout(ctx, HOURS(1)));
    assert_true(canopy_deadline(ctx, &deadline_ns));
    assert_true(deadline_ns >= before_ns + HOURS(1));
    assert_true(deadline_ns <= canopy_now_ns() + HOURS(1));
    assert_true(canopy_set_timeout(ctx, MILLISECONDS(1)));
    assert_true(canopy_wait(ctx, CANOPY_NEVER));
    assert_int_equal(canopy_err(ctx), -ETIMEDOUT);
    canopy_release(ctx);
}

TEST(p21_never_disarms)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_deadline(f.root, 100);
    assert_true(canopy_set_deadline(ctx, CANOPY_NEVER));
    assert_deadline(ctx, CANOPY_NEVER);
    advance(&f, HOURS(1000));
    assert_live(ctx);
    assert_true(canopy_set_deadline(ctx, HOURS(1001)));
    advance(&f, HOURS(1001));
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
    fixture_close(&f);
}

TEST(p21_set_deadline_never_revives)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *expired = canopy_with_deadline(f.root, 100);
    canopy_ctx *cancelled = canopy_with_deadline(f.root, 200);
    advance(&f, 100);
    assert_true(canopy_cancel(cancelled));
    static const int64_t deadlines[] = {CANOPY_NEVER, 5000, 100, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_false(canopy_set_deadline(expired, deadlines[i]));
        assert_ended(expired, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        assert_false(canopy_set_deadline(cancelled, deadlines[i]));
        assert_ended(cancelled, -ECANCELED, CANOPY_CANCELED);
    }
    canopy_release(cancelled);
    canopy_release(expired);
    fixture_close(&f);
}

struct ran_on {
    pthread_t thread;
    int runs;
};

static void note_thread(void *arg)
{
    struct ran_on *ran = arg;
    ran->thread = pthread_self();
    ran->runs++;
}

static void check_set_in_the_past(const canopy_ctx *root, int64_t past_ns)
{
    const canopy_cause *cause = OWN("given at construction");
    canopy_ctx *ctx = canopy_with_deadline_cause(root, CANOPY_NEVER, cause);
    canopy_ctx *child = canopy_with_cancel(ctx);
    struct ran_on ran = {.runs = 0};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(child, &callback, note_thread, &ran), 0);
    assert_true(canopy_set_deadline(ctx, past_ns));
    assert_ended(ctx, -ETIMEDOUT, cause);
    assert_ended(child, -ETIMEDOUT, cause);
    assert_int_equal(ran.runs, 1);
    assert_true(pthread_equal(ran.thread, pthread_self()));
    assert_false(canopy_set_deadline(ctx, past_ns));
    canopy_release(child);
    canopy_release(ctx);
}

TEST(p21_set_deadline_in_the_past_ends_the_context_before_it_returns)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, 1000);
    check_set_in_the_past(f.root, 1000);
    check_set_in_the_past(f.root, 999);
    check_set_in_the_past(f.root, 0);
    check_set_in_the_past(f.root, INT64_MIN);
    fixture_close(&f);
    check_set_in_the_past(canopy_background(), now_ns());
    check_set_in_the_past(canopy_background(), -1);
}

TEST(p21_the_cause_given_at_construction_stays_for_later_deadlines)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    const canopy_cause *cause = OWN("given at construction");
    canopy_ctx *ctx = canopy_with_deadline_cause(f.root, 100, cause);
    assert_true(canopy_set_deadline(ctx, CANOPY_NEVER));
    assert_true(canopy_set_deadline(ctx, 300));
    advance(&f, 299);
    assert_live(ctx);
    advance(&f, 300);
    assert_ended(ctx, -ETIMEDOUT, cause);
    canopy_release(ctx);
    fixture_close(&f);
}

/* Threads move one deadline about; when they have done, the last one set counts. */
static void move_about(void *arg)
{
    canopy_ctx *ctx = arg;
    uint64_t seed = 21;
    for (int i = 0; i < SCALED(50000, 5000); i++)
        assert_true(canopy_set_deadline(ctx, 1000 + (int64_t)(random_next(&seed) % 1000)));
}

TEST(p21_concurrent_moves_lose_no_deadline)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *shared = canopy_with_cancel(f.root);
    canopy_ctx *own = canopy_with_cancel(f.root);
    struct thread movers[3];
    thread_start(&movers[0], move_about, shared);
    thread_start(&movers[1], move_about, shared);
    thread_start(&movers[2], move_about, own);
    for (int64_t now = 1; now < 1000; now++)
        advance(&f, now);
    for (size_t i = 0; i < 3; i++)
        thread_join(&movers[i]);
    canopy_ctx *both[] = {shared, own};
    for (size_t i = 0; i < 2; i++) {
        int64_t deadline_ns;
        assert_true(canopy_deadline(both[i], &deadline_ns));
        assert_in_range(deadline_ns, 1000, 1999);
        assert_live(both[i]);
    }
    assert_true(canopy_set_deadline(shared, 5000));
    assert_true(canopy_set_deadline(own, 5000));
    advance(&f, 4999);
    assert_live(shared);
    assert_live(own);
    advance(&f, 5000);
    assert_ended(shared, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(own, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(own);
    canopy_release(shared);
    fixture_close(&f);
}

static void release_it(void *ctx)
{
    canopy_release(ctx);
}

TEST(p21_a_past_deadline_ends_it_also_when_a_callback_drops_the_last_reference)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    for (int i = 0; i < 100; i++) {
        canopy_ctx *ctx = canopy_with_cancel(f.root);
        canopy_callback callback;
        assert_int_equal(canopy_after_func(ctx, &callback, release_it, ctx), 0);
        assert_true(canopy_set_deadline(ctx, 0));
    }
    fixture_close(&f);
}

/* ------------------------------------------- 21: moved away beside its expiry */

#define MOVED 32

struct move_race {
    struct meeting start, end;
    canopy_ctx *root;
    int64_t due_ns;
    int rounds;
};

static void advance_rounds(void *arg)
{
    struct move_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        assert_int_equal(canopy_root_advance(race->root, race->due_ns, NULL), 0);
        meet(&race->end);
    }
}

/* The clock and the mover come from both ends, so that they meet in between. */
TEST(p21_a_deadline_moved_away_beside_its_expiry_has_ended_or_is_moved)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    struct move_race race = {.start = {.parties = 2},
                             .end = {.parties = 2},
                             .root = f.root,
                             .due_ns = SECONDS(1),
                             .rounds = SCALED(10000, 500)};
    struct thread clock;
    thread_start(&clock, advance_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        canopy_ctx *contexts[MOVED];
        bool moved[MOVED];
        race.due_ns++;
        for (size_t i = 0; i < MOVED; i++)
            contexts[i] = canopy_with_deadline(f.root, race.due_ns);
        meet(&race.start);
        for (size_t k = 0; k < MOVED; k++) {
            size_t i = round % 2 ? k : MOVED - 1 - k;
            moved[i] = canopy_set_deadline(contexts[i], CANOPY_NEVER);
            if (!moved[i])
                assert_true(canopy_done(contexts[i]));
        }
        meet_at_end(&race.end, &race.rounds, round);
        for (size_t i = 0; i < MOVED; i++) {
            assert_int_equal(canopy_err(contexts[i]), moved[i] ? 0 : -ETIMEDOUT);
            canopy_release(contexts[i]);
        }
    }
    thread_join(&clock);
    fixture_close(&f);
}
