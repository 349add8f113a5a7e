/*
 * wait.c - promises 33 and 34: waits miss no wake-up, end only when they should
 * and leave nothing behind. canopy_wait_idle is here too.
 */
#include "probes.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

/*
 * Waits that must be woken. A wake-up that was lost is made up for by the time-out,
 * which finds the context done as well: so it is the time that tells, and it is half a
 * minute, which no scheduler takes to run a thread that was woken.
 */
#define WOKEN_WITHIN (SOON / 2)

static bool wait_woken(const canopy_ctx *ctx)
{
    int64_t begin_ns = now_ns();
    return canopy_wait(ctx, begin_ns + SOON) && now_ns() - begin_ns < WOKEN_WITHIN;
}

static int wait_any_woken(const canopy_ctx *const ctxs[], size_t n)
{
    int64_t begin_ns = now_ns();
    int index = canopy_wait_any(ctxs, n, begin_ns + SOON);
    assert_true(now_ns() - begin_ns < WOKEN_WITHIN);
    return index;
}

/* -------------------------------------------------------------------- time */

TEST(core_now_is_between_two_readings_of_the_monotonic_clock)
{
    for (int i = 0; i < 1000; i++) {
        int64_t before_ns = now_ns(), ours_ns = canopy_now_ns(), after_ns = now_ns();
        assert_true(before_ns <= ours_ns && ours_ns <= after_ns);
    }
}

/* -------------------------------------------------------------------- wait */

TEST(p33_wait_on_a_done_context_returns_at_once_whatever_the_time)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_cancel(ctx);
    assert_true(canopy_wait(ctx, CANOPY_NEVER));
    assert_true(canopy_wait(ctx, 0));
    assert_true(canopy_wait(ctx, INT64_MIN));
    canopy_end(ctx);
}

TEST(p33_wait_gives_up_at_its_time_and_never_before)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_false(canopy_wait(ctx, INT64_MIN));
    assert_false(canopy_wait(ctx, 0));
    assert_false(canopy_wait(ctx, now_ns()));
    for (int64_t duration_ns = MICROSECONDS(50); duration_ns < SECONDS(1); duration_ns *= 8) {
        int64_t until_ns = now_ns() + duration_ns;
        assert_false(canopy_wait(ctx, until_ns));
        assert_true(now_ns() >= until_ns);
    }
    assert_false(canopy_wait(canopy_background(), now_ns() + MILLISECONDS(5)));
    canopy_end(ctx);
}

TEST(p33_no_wake_up_is_lost_between_check_and_sleep)
{
    for (unsigned round = 0; round < SCALED(8000, 1000); round++) {
        struct race race = {.meeting.parties = 2};
        struct thread thread;
        race.ctx = canopy_with_cancel(canopy_background());
        thread_start(&thread, race_cancel, &race);
        meet(&race.meeting);
        for (volatile unsigned spin = 0; spin < round % 256; spin++)
            ;
        assert_true(wait_woken(race.ctx));
        thread_join(&thread);
        canopy_end(race.ctx);
    }
}

struct waiter {
    const canopy_ctx *ctx;
    bool woken;
};

static void wait_for_context(void *arg)
{
    struct waiter *waiter = arg;
    waiter->woken = wait_woken(waiter->ctx);
}

TEST(p33_one_cancel_wakes_all_waiters_on_every_layer)
{
    static const canopy_key key = {"key", NULL};
    enum { waiters = 24 };
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *child = canopy_with_timeout(value, HOURS(1));
    canopy_ctx *merged = any2(canopy_background(), child);
    const canopy_ctx *const layers[] = {top, value, child, merged};
    struct waiter records[waiters];
    struct thread threads[waiters];

    for (size_t i = 0; i < waiters; i++) {
        records[i] = (struct waiter){.ctx = layers[i % 4]};
        thread_start(&threads[i], wait_for_context, &records[i]);
    }
    pause_ns(MILLISECONDS(30));
    assert_true(canopy_cancel(top));
    for (size_t i = 0; i < waiters; i++) {
        thread_join(&threads[i]);
        assert_true(records[i].woken);
    }
    canopy_end(merged);
    canopy_end(child);
    canopy_end(value);
    canopy_end(top);
}

TEST(p33_wait_ends_with_the_deadline_though_nobody_polls)
{
    int64_t deadline_ns = now_ns() + MILLISECONDS(40);
    canopy_ctx *ctx = canopy_with_deadline(canopy_background(), deadline_ns);
    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_true(canopy_wait(child, CANOPY_NEVER));
    assert_true(now_ns() >= deadline_ns);
    canopy_end(child);
    canopy_end(ctx);
}

TEST(p33_a_wait_ends_with_the_cancel_and_not_with_its_time)
{
    for (size_t n = 1; n <= 100; n += 33) { /* one, several, more than there are records for */
        const canopy_ctx *list[100];
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        for (size_t i = 0; i < n; i++)
            list[i] = ctx;
        struct thread canceller;
        int64_t begin_ns = now_ns();
        thread_start(&canceller, cancel_after_pause, ctx);
        if (n == 1)
            assert_true(canopy_wait(ctx, begin_ns + SOON));
        else
            assert_int_equal(canopy_wait_any(list, n, begin_ns + SOON), 0);
        assert_true(now_ns() < begin_ns + SOON / 2);
        thread_join(&canceller);
        canopy_release(ctx);
    }
}

/* ------------------------------------------------------------------- sleep */

struct delayed_cancel {
    canopy_ctx *ctx;
    int64_t delay_ns;
};

static void cancel_later(void *arg)
{
    struct delayed_cancel *later = arg;
    pause_ns(later->delay_ns);
    canopy_cancel(later->ctx);
}

TEST(p33_sleep_sleeps_it_all_or_returns_err)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    int64_t until_ns = now_ns() + MILLISECONDS(20);
    assert_int_equal(canopy_sleep(ctx, MILLISECONDS(20)), 0);
    assert_true(now_ns() >= until_ns);
    assert_int_equal(canopy_sleep(ctx, 0), 0);
    assert_int_equal(canopy_sleep(ctx, -5), 0);
    assert_int_equal(canopy_sleep(ctx, INT64_MIN), 0);

    struct delayed_cancel later = {ctx, MILLISECONDS(20)};
    struct thread thread;
    thread_start(&thread, cancel_later, &later);
    assert_int_equal(canopy_sleep(ctx, CANOPY_NEVER), -ECANCELED);
    thread_join(&thread);
    assert_int_equal(canopy_sleep(ctx, 0), -ECANCELED);
    assert_int_equal(canopy_sleep(ctx, -5), -ECANCELED);
    canopy_end(ctx);

    ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    assert_int_equal(canopy_sleep(ctx, SECONDS(30)), -ETIMEDOUT);
    canopy_end(ctx);
}

/* ---------------------------------------------------------- signal storms */

static atomic_uint handled;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

struct storm {
    pthread_t target;
    atomic_bool over;
};

static void send_signals(void *arg)
{
    struct storm *storm = arg;
    while (!atomic_load(&storm->over)) {
        pthread_kill(storm->target, SIGUSR1);
        pause_ns(MICROSECONDS(100));
    }
}

enum wait_kind { wait_one, wait_few, wait_many, sleep_kind, idle_kind, wait_kinds };

/* True if the wait ended with done rather than at its time. */
static bool wait_as(enum wait_kind kind, const canopy_ctx *ctx, int64_t until_ns)
{
    const canopy_ctx *list[100];
    for (size_t i = 0; i < 100; i++)
        list[i] = ctx;
    switch (kind) {
    case wait_one:
        return canopy_wait(ctx, until_ns);
    case wait_few:
        return canopy_wait_any(list, 3, until_ns) == 0;
    case wait_many:
        return canopy_wait_any(list, 100, until_ns) == 0;
    case sleep_kind:
        return canopy_sleep(ctx, until_ns - now_ns()) == -ECANCELED;
    default:
        return canopy_wait_idle(ctx, until_ns) == 0;
    }
}

/* Every kind of wait under fire: it gives up in time and not before, and it ends with done. */
static void wait_in_a_storm(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct storm storm = {.target = pthread_self()};
    struct thread sender;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    thread_start(&sender, send_signals, &storm);

    for (int kind = 0; kind < wait_kinds; kind++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        canopy_ctx *child = canopy_with_cancel(ctx);
        unsigned before = atomic_load(&handled);
        int64_t until_ns, latest_ns = now_ns() + SOON;
        do { /* again, if the sender did not come to it */
            until_ns = now_ns() + MILLISECONDS(100);
            assert_false(wait_as((enum wait_kind)kind, ctx, until_ns));
            assert_true(now_ns() >= until_ns);
        } while (atomic_load(&handled) == before && until_ns < latest_ns);
        assert_true(atomic_load(&handled) > before);
        if (kind != idle_kind) {
            struct delayed_cancel later = {ctx, MILLISECONDS(50)};
            struct thread thread;
            thread_start(&thread, cancel_later, &later);
            assert_true(wait_as((enum wait_kind)kind, ctx, now_ns() + SOON));
            thread_join(&thread);
        }
        canopy_end(child);
        canopy_end(ctx);
    }
    atomic_store(&storm.over, true);
    thread_join(&sender);
}

TEST(p33_a_storm_of_signals_neither_ends_nor_breaks_a_wait)
{
    wait_in_a_storm(0);
}

TEST(p33_a_storm_of_restarting_signals_neither_ends_nor_breaks_a_wait)
{
    wait_in_a_storm(SA_RESTART);
}

/* ---------------------------------------------------------------- wait_any */

static const size_t widths[] = {1, 2, 3, 63, 64, 65, 66, 1000};
enum { width_count = sizeof widths / sizeof *widths, widest = 1000 };

/* Contexts in a row, as owner's handles and as views. */
struct row {
    canopy_ctx *own[widest];
    const canopy_ctx *view[widest];
};

static void row_make(struct row *row, const canopy_ctx *parent, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        row->view[i] = row->own[i] = canopy_with_cancel(parent);
        assert_non_null(row->own[i]);
    }
}

static void row_end(struct row *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        canopy_end(row->own[i]);
}

TEST(p34_wait_any_gives_up_at_its_time_and_never_before)
{
    struct row row;
    row_make(&row, canopy_background(), widest);
    for (size_t i = 0; i < width_count; i++) {
        int64_t until_ns = now_ns() + MILLISECONDS(5);
        assert_int_equal(canopy_wait_any(row.view, widths[i], until_ns), -ETIME);
        assert_true(now_ns() >= until_ns);
        assert_int_equal(canopy_wait_any(row.view, widths[i], 0), -ETIME);
        assert_int_equal(canopy_wait_any(row.view, widths[i], INT64_MIN), -ETIME);
    }
    row_end(&row, widest);
}

TEST(p34_wait_any_reports_the_lowest_done_index)
{
    for (size_t i = 0; i < width_count; i++) {
        size_t n = widths[i];
        struct row row;
        row_make(&row, canopy_background(), n);
        for (size_t k = n; k-- > 0;) {
            canopy_cancel(row.own[k]);
            assert_int_equal(canopy_wait_any(row.view, n, CANOPY_NEVER), k);
            assert_int_equal(canopy_wait_any(row.view, n, 0), k);
        }
        row_end(&row, n);
    }
}

TEST(p34_wait_any_is_woken_by_each_of_its_contexts)
{
    for (size_t i = 0; i < width_count; i++) {
        size_t n = widths[i];
        const size_t which[] = {0, n / 2, n - 1};
        for (size_t k = 0; k < 3; k++) {
            struct row row;
            row_make(&row, canopy_background(), n);
            struct delayed_cancel later = {row.own[which[k]], MILLISECONDS(2)};
            struct thread thread;
            thread_start(&thread, cancel_later, &later);
            assert_int_equal(wait_any_woken(row.view, n), which[k]);
            thread_join(&thread);
            row_end(&row, n);
        }
    }
}

/* As late as it takes for the wait to be anywhere between its first look and its sleep. */
struct late_race {
    struct race race;
    unsigned delay;
};

static void race_cancel_late(void *arg)
{
    struct late_race *late = arg;
    meet(&late->race.meeting);
    for (unsigned i = 0; i < late->delay; i++)
        atomic_signal_fence(memory_order_seq_cst);
    canopy_cancel(late->race.ctx);
}

TEST(p34_wait_any_loses_no_wake_up)
{
    for (unsigned round = 0; round < SCALED(10000, 600); round++) {
        size_t n = round % 5 ? 1 + round % 7 : 80, which = round % n;
        struct late_race late = {.race.meeting.parties = 2, .delay = round * 61 % 8192};
        struct thread thread;
        struct row row;
        row_make(&row, canopy_background(), n);
        late.race.ctx = row.own[which];
        thread_start(&thread, race_cancel_late, &late);
        meet(&late.race.meeting);
        assert_int_equal(wait_any_woken(row.view, n), which);
        thread_join(&thread);
        row_end(&row, n);
    }
}

struct first_race {
    struct meeting start, end;
    canopy_ctx *first;
    int rounds;
};

static void cancel_first_rounds(void *arg)
{
    struct first_race *race = arg;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        for (int i = round * 7 % 5000; i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
        canopy_cancel(race->first);
        meet(&race->end);
    }
}

/* The wait has looked at the first one long before it has looked at all. */
TEST(p34_a_wait_on_many_is_woken_beside_a_cancel_of_the_first)
{
    struct row row;
    size_t n = widest / 2;
    row_make(&row, canopy_background(), n);
    struct first_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(10000, 300)};
    struct thread canceller;
    thread_start(&canceller, cancel_first_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        row.view[0] = race.first = canopy_with_cancel(canopy_background());
        meet(&race.start);
        int64_t begin_ns = now_ns();
        assert_int_equal(canopy_wait_any(row.view, n, begin_ns + SOON), 0);
        assert_true(now_ns() < begin_ns + SOON / 2);
        meet_at_end(&race.end, &race.rounds, round);
        canopy_release(race.first);
    }
    thread_join(&canceller);
    row_end(&row, n);
}

TEST(p34_wait_any_takes_layers_duplicates_and_what_is_never_done)
{
    static const canopy_key key = {"key", NULL};
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *merged = any2(top, canopy_todo());
    canopy_ctx *expiring = canopy_with_timeout(canopy_background(), MILLISECONDS(20));
    const canopy_ctx *const list[] = {canopy_background(), value, top, value, merged, expiring};

    assert_int_equal(canopy_wait_any(list, 6, now_ns() + SOON), 5);
    assert_true(canopy_cancel(top));
    assert_int_equal(canopy_wait_any(list, 6, now_ns() + SOON), 1);
    assert_int_equal(canopy_wait_any(list, 1, now_ns() + MILLISECONDS(2)), -ETIME);

    canopy_end(expiring);
    canopy_end(merged);
    canopy_end(value);
    canopy_end(top);
}

/* Its records lie on a stack that is used again at once. */
TEST(p34_wait_any_dequeues_everywhere)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    struct row row;
    row_make(&row, fixture.root, 200);
    canopy_ctx *ended = canopy_with_cancel(fixture.root);
    canopy_cancel(ended);
    row.view[199] = ended;
    size_t bytes = 0;
    for (unsigned round = 0; round < 2000; round++) {
        size_t n = round % 2 ? 64 : 199;
        assert_int_equal(canopy_wait_any(row.view, n, now_ns() + MICROSECONDS(20)), -ETIME);
        assert_int_equal(canopy_wait_any(row.view + 199 - n / 2, n / 2 + 1, 0), n / 2);
        if (round == 100)
            bytes = atomic_load(&fixture.memory.live_bytes);
    }
    assert_int_equal(atomic_load(&fixture.memory.live_bytes), bytes);
    row_end(&row, 200);
    canopy_end(ended);
    fixture_close(&fixture);
}

struct crowd {
    struct row row;
    struct meeting meeting;
    size_t n;
};

static void wait_in_the_crowd(void *arg)
{
    struct crowd *crowd = arg;
    meet(&crowd->meeting);
    int index = wait_any_woken(crowd->row.view, crowd->n);
    assert_true(index >= 0);
    assert_true(canopy_done(crowd->row.view[index]));
}

TEST(p34_many_waiters_share_overlapping_sets)
{
    enum { waiters = 4 };
    for (unsigned round = 0; round < SCALED(600, 100); round++) {
        struct crowd crowd = {.meeting.parties = waiters + 1, .n = round % 3 ? 8 : 100};
        struct thread threads[waiters];
        row_make(&crowd.row, canopy_background(), crowd.n);
        for (size_t i = 0; i < waiters; i++)
            thread_start(&threads[i], wait_in_the_crowd, &crowd);
        meet(&crowd.meeting);
        canopy_cancel(crowd.row.own[round % crowd.n]);
        canopy_cancel(crowd.row.own[round * 7ul % crowd.n]);
        for (size_t i = 0; i < waiters; i++)
            thread_join(&threads[i]);
        row_end(&crowd.row, crowd.n);
    }
}

/* A thread in a wait for several, and how often it slept until the wait was over. */
struct sleeper {
    const canopy_ctx *const *ctxs;
    size_t n;
    atomic_bool begun;
    long sleeps;
};

static long own_sleeps(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

static void sleep_on_all(void *arg)
{
    struct sleeper *sleeper = arg;
    long before = own_sleeps();
    atomic_store(&sleeper->begun, true);
    assert_true(canopy_wait_any(sleeper->ctxs, sleeper->n, CANOPY_NEVER) >= 0);
    sleeper->sleeps = own_sleeps() - before;
}

/*
 * Whatever it waits for: a parent of others, what is never done, what somebody else waits
 * for as well, more than it has records for. It would be woken in most of the rounds.
 */
TEST(p34_wait_any_is_not_woken_by_what_nobody_waits_for)
{
    enum { rounds = 400, waiters = 3 };
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(top);
    const canopy_ctx *many[100];
    for (size_t i = 0; i < 100; i++)
        many[i] = i % 2 ? top : canopy_background();
    struct sleeper sleepers[waiters] = {
        {.ctxs = many, .n = 2}, {.ctxs = many, .n = 64}, {.ctxs = many, .n = 100}};
    struct thread threads[waiters];
    for (size_t i = 0; i < waiters; i++) {
        thread_start(&threads[i], sleep_on_all, &sleepers[i]);
        while (!atomic_load(&sleepers[i].begun))
            pause_ns(MICROSECONDS(100));
    }
    for (int round = 0; round < rounds; round++) {
        canopy_ctx *unrelated = canopy_with_cancel(canopy_background());
        assert_true(canopy_cancel(unrelated));
        canopy_release(unrelated);
        pause_ns(MICROSECONDS(100));
    }
    canopy_cancel(top);
    for (size_t i = 0; i < waiters; i++) {
        thread_join(&threads[i]);
        /* Under ThreadSanitizer no sleep is long. */
        if (!UNDER_SANITIZER)
            assert_true(sleepers[i].sleeps < rounds / 4);
    }
    canopy_end(child);
    canopy_end(top);
}
