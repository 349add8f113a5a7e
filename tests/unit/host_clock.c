/*
 * host_clock.c - canopy_root_advance: a root whose time the host hands in, so
 * that hours pass in microseconds and every expiry is exact. Promise 18 again,
 * and what the interface says beyond it.
 */
#include "harness.h"

static int64_t advance(struct fixture *f, int64_t now)
{
    int64_t next_ns = INT64_MIN;
    assert_int_equal(canopy_root_advance(f->root, now, &next_ns), 0);
    assert_true(next_ns > now);
    return next_ns;
}

TEST(p18_host_clock_expires_each_context_at_its_very_moment)
{
    enum { CONTEXTS = 500 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *all[CONTEXTS];
    int64_t deadlines_ns[CONTEXTS];
    size_t order[CONTEXTS];
    uint64_t seed = 18;
    int64_t last_ns = 0;
    for (size_t i = 0; i < CONTEXTS; i++) {
        last_ns += 2 + (int64_t)(random_next(&seed) % SECONDS(200));
        deadlines_ns[i] = last_ns;
    }
    random_order(&seed, order, CONTEXTS);
    for (size_t i = 0; i < CONTEXTS; i++)
        all[order[i]] = canopy_with_timeout(f.root, deadlines_ns[order[i]]);
    for (size_t due = 0; due < CONTEXTS; due++) {
        advance(&f, deadlines_ns[due] - 1);
        for (size_t i = 0; i < CONTEXTS; i++)
            assert_int_equal(canopy_done(all[i]), i < due);
        advance(&f, deadlines_ns[due]);
        for (size_t i = 0; i < CONTEXTS; i++)
            assert_int_equal(canopy_done(all[i]), i <= due);
    }
    for (size_t i = 0; i < CONTEXTS; i++)
        canopy_release(all[i]);
    fixture_close(&f);
}

TEST(p18_host_clock_follows_next_through_hours)
{
    enum { CONTEXTS = 200 };
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *all[CONTEXTS];
    for (size_t i = 0; i < CONTEXTS; i++)
        all[i] = canopy_with_timeout(f.root, HOURS(CONTEXTS - i));
    /* A host that sleeps until `next` and does nothing else misses no deadline. */
    int64_t now = 0;
    size_t expired = 0;
    for (int calls = 0; now != CANOPY_NEVER; calls++) {
        assert_true(calls < 100 * CONTEXTS);
        int64_t next_ns = advance(&f, now);
        for (size_t i = 0; i < CONTEXTS; i++) {
            bool due = HOURS(CONTEXTS - i) <= now;
            assert_int_equal(canopy_done(all[i]), due);
            if (!due)
                assert_true(next_ns <= HOURS(CONTEXTS - i));
        }
        now = next_ns;
    }
    for (size_t i = 0; i < CONTEXTS; i++) {
        expired += canopy_err(all[i]) == -ETIMEDOUT;
        canopy_release(all[i]);
    }
    assert_int_equal(expired, CONTEXTS);
    fixture_close(&f);
}

TEST(p19_cancelled_contexts_leave_nothing_pending_on_a_host_clock)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *all[100];
    for (size_t i = 0; i < 100; i++)
        all[i] = canopy_with_timeout(f.root, SECONDS(i + 1));
    for (size_t i = 0; i < 100; i++)
        assert_true(canopy_cancel(all[i]));
    int64_t now = 1;
    for (int calls = 0; now != CANOPY_NEVER; calls++) {
        assert_true(calls < 1000);
        now = advance(&f, now);
    }
    for (size_t i = 0; i < 100; i++) {
        assert_ended(all[i], -ECANCELED, CANOPY_CANCELED);
        canopy_release(all[i]);
    }
    fixture_close(&f);
}

TEST(core_host_clock_starts_at_its_configured_time)
{
    struct memory memory = {0};
    canopy_config config = memory_config(&memory);
    config.clock = CANOPY_CLOCK_HOST;
    config.now_ns = HOURS(5);
    canopy_ctx *root = canopy_root_new(&config);
    canopy_ctx *past = canopy_with_deadline(root, HOURS(5));
    canopy_ctx *future = canopy_with_timeout(root, SECONDS(1));
    assert_ended(past, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_deadline(future, HOURS(5) + SECONDS(1));
    canopy_end(past);
    canopy_end(future);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(atomic_load(&memory.live_bytes), 0);
}

TEST(core_host_clock_counts_timeouts_from_the_last_advance)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, HOURS(1));
    canopy_ctx *ctx = canopy_with_timeout(f.root, HOURS(2));
    canopy_ctx *below = canopy_with_cancel(ctx);
    assert_deadline(below, HOURS(3));
    pause_ns(MILLISECONDS(5)); /* real time does not count */
    assert_live(ctx);
    canopy_end(below);
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(core_host_clock_stands_still_rather_than_go_back)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    advance(&f, 1000);
    assert_int_equal(canopy_root_advance(f.root, 10, NULL), 0);
    assert_int_equal(canopy_root_advance(f.root, INT64_MIN, NULL), 0);
    canopy_ctx *past = canopy_with_deadline(f.root, 500);
    canopy_ctx *future = canopy_with_timeout(f.root, 500);
    assert_ended(past, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_deadline(future, 1500);
    canopy_end(past);
    canopy_end(future);
    fixture_close(&f);
}

TEST(core_host_clock_advance_refuses_other_contexts)
{
    struct fixture hosted, library;
    fixture_open(&hosted, CANOPY_CLOCK_HOST);
    fixture_open(&library, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *child = canopy_with_cancel(hosted.root);
    assert_int_equal(canopy_root_advance(NULL, 1, NULL), -EINVAL);
    assert_int_equal(canopy_root_advance(child, 1, NULL), -EINVAL);
    assert_int_equal(canopy_root_advance(library.root, 1, NULL), -EINVAL);
    canopy_end(child);
    fixture_close(&library);
    fixture_close(&hosted);
}

struct ran_on {
    pthread_t thread;
    atomic_int runs;
};

static void note_thread(void *arg)
{
    struct ran_on *ran = arg;
    ran->thread = pthread_self();
    atomic_fetch_add(&ran->runs, 1);
}

TEST(core_host_clock_runs_callbacks_on_its_caller)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_timeout(f.root, HOURS(1));
    canopy_ctx *child = canopy_with_cancel(ctx);
    struct ran_on ran = {.runs = 0};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(child, &callback, note_thread, &ran), 0);
    advance(&f, HOURS(1) - 1);
    assert_int_equal(atomic_load(&ran.runs), 0);
    advance(&f, HOURS(1));
    assert_int_equal(atomic_load(&ran.runs), 1);
    assert_true(pthread_equal(ran.thread, pthread_self()));
    canopy_end(child);
    canopy_end(ctx);
    fixture_close(&f);
}

static void wait_for_expiry(void *arg)
{
    assert_true(canopy_wait(arg, now_ns() + SOON));
    assert_ended(arg, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
}

TEST(core_host_clock_wakes_waiters)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_timeout(f.root, HOURS(1));
    struct thread waiters[3];
    for (size_t i = 0; i < 3; i++)
        thread_start(&waiters[i], wait_for_expiry, ctx);
    pause_ns(MILLISECONDS(10));
    advance(&f, HOURS(1));
    for (size_t i = 0; i < 3; i++)
        thread_join(&waiters[i]);
    canopy_end(ctx);
    fixture_close(&f);
}

/* Contexts come and go on other threads while one thread drives the time. */
struct busy_host {
    struct fixture fixture;
    _Atomic int64_t now; /* the last time that the host has handed in, or is handing in */
    atomic_bool stop;
};

static void make_and_end(void *arg)
{
    struct busy_host *host = arg;
    uint64_t seed = (uintptr_t)&seed;
    while (!atomic_load(&host->stop)) {
        int64_t timeout_ns = 1 + (int64_t)(random_next(&seed) % 50);
        canopy_ctx *ctx = canopy_with_timeout(host->fixture.root, timeout_ns);
        int64_t deadline_ns;
        assert_true(canopy_deadline(ctx, &deadline_ns));
        for (volatile unsigned delay = random_next(&seed) % 2000; delay > 0; delay--)
            ;
        if (canopy_done(ctx)) {
            assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
            assert_true(atomic_load(&host->now) >= deadline_ns);
        }
        canopy_end(ctx);
    }
}

TEST(p18_host_clock_beside_busy_threads_is_never_early)
{
    static struct busy_host host;
    fixture_open(&host.fixture, CANOPY_CLOCK_HOST);
    struct thread threads[2];
    for (size_t i = 0; i < 2; i++)
        thread_start(&threads[i], make_and_end, &host);
    for (int64_t now = 1; now <= SCALED(100000, 10000); now++) {
        atomic_store(&host.now, now);
        assert_int_equal(canopy_root_advance(host.fixture.root, now, NULL), 0);
    }
    canopy_ctx *last = canopy_with_timeout(host.fixture.root, 10);
    atomic_store(&host.now, HOURS(1));
    assert_int_equal(canopy_root_advance(host.fixture.root, HOURS(1), NULL), 0);
    assert_ended(last, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    atomic_store(&host.stop, true);
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
    canopy_end(last);
    fixture_close(&host.fixture);
}

TEST(core_the_end_of_a_hosts_time_ends_what_has_a_deadline_and_nothing_else)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_cancel(f.root);
    canopy_ctx *children[20]; /* more than lie beside each other: rows of slots are made */
    for (size_t i = 0; i < 20; i++)
        children[i] = canopy_with_cancel(parent);
    canopy_ctx *due = canopy_with_timeout(parent, 5);
    for (size_t i = 0; i < 20; i += 3)
        canopy_release(children[i]);
    assert_int_equal(canopy_root_advance(f.root, CANOPY_NEVER, NULL), 0);
    assert_int_equal(canopy_err(due), -ETIMEDOUT);
    assert_live(parent);
    canopy_cancel(parent);
    for (size_t i = 0; i < 20; i++) {
        if (i % 3 == 0)
            continue;
        assert_true(canopy_done(children[i]));
        canopy_release(children[i]);
    }
    canopy_release(due);
    canopy_release(parent);
    fixture_close(&f);
}

TEST(core_a_hosts_clock_does_not_start_before_zero)
{
    canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = -1};
    errno = 0;
    assert_null(canopy_root_new(&config));
    assert_int_equal(errno, EINVAL);
}
