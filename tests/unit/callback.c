/*
 * callback.c - promises 28 and 29: a callback runs exactly once, never before
 * done, or is stopped: never both, never neither.
 */
#include "probes.h"

#include <stdlib.h>

/* ------------------------------------------------------------- exactly once */

TEST(p28_it_runs_once_and_before_cancel_returns)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    assert_int_equal(atomic_load(&runs), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&runs), 1);
    assert_false(canopy_cancel(ctx));
    canopy_end(ctx);
    assert_int_equal(atomic_load(&runs), 1);
}

struct sighting {
    const canopy_ctx *ctx;
    const canopy_cause *cause;
    pthread_t thread;
    struct thread_name name;
    int err;
    int written_before;
    atomic_uint runs;
    int written; /* plain: what the canceller wrote must be visible */
};

static void look_around(void *arg)
{
    struct sighting *seen = arg;
    seen->err = canopy_err(seen->ctx);
    seen->cause = canopy_cause_of(seen->ctx);
    seen->thread = pthread_self();
    seen->name = own_thread_name();
    seen->written_before = seen->written;
    atomic_fetch_add(&seen->runs, 1);
}

static void cancel_after_write(void *arg)
{
    struct sighting *seen = arg;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_callback callback;
    seen->ctx = ctx;
    assert_int_equal(canopy_after_func(ctx, &callback, look_around, seen), 0);
    seen->written = 42;
    canopy_end(ctx);
}

TEST(p28_it_runs_on_the_canceller_and_sees_done_and_what_was_written)
{
    struct sighting seen = {0};
    struct thread thread;
    thread_start(&thread, cancel_after_write, &seen);
    pthread_t canceller = thread.id;
    thread_join(&thread);

    assert_int_equal(atomic_load(&seen.runs), 1);
    assert_int_equal(seen.err, -ECANCELED);
    assert_ptr_equal(seen.cause, CANOPY_CANCELED);
    assert_true(pthread_equal(seen.thread, canceller));
    assert_int_equal(seen.written_before, 42);
}

TEST(p28_on_a_done_context_it_runs_at_once_on_the_caller)
{
    const canopy_cause *cause = CANOPY_CAUSE(-9, "before");
    canopy_ctx *ctx = canopy_with_timeout_cause(canopy_background(), 0, cause);
    struct sighting seen = {.ctx = ctx};
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, look_around, &seen), 0);
    assert_int_equal(atomic_load(&seen.runs), 1);
    assert_true(pthread_equal(seen.thread, pthread_self()));
    assert_int_equal(seen.err, -ETIMEDOUT);
    assert_ptr_equal(seen.cause, cause);
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_end(ctx);
}

TEST(p28_the_record_serves_again_after_it_ran)
{
    atomic_uint runs = 0;
    canopy_callback callback;
    memset(&callback, 0xff, sizeof callback); /* it need not be initialised */
    for (unsigned i = 1; i <= 3; i++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
        canopy_end(ctx);
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_int_equal(atomic_load(&runs), i);
    }
}

TEST(p28_at_expiry_it_runs_on_a_library_thread)
{
    canopy_ctx *ctx;
    struct sighting seen;
    canopy_callback callback;
    for (int64_t lead_ns = MILLISECONDS(20);; lead_ns *= 2) {
        ctx = canopy_with_cancel(canopy_background());
        seen = (struct sighting){.ctx = ctx};
        assert_int_equal(canopy_after_func(ctx, &callback, look_around, &seen), 0);
        assert_true(canopy_set_deadline(ctx, now_ns() + lead_ns));
        assert_true(eventually(atomic_load(&seen.runs) == 1, SOON));
        assert_int_equal(canopy_callback_join(&callback), 0);
        if (!ran_here(seen.thread, lead_ns))
            break;
        canopy_end(ctx);
    }
    assert_int_equal(seen.err, -ETIMEDOUT);
    assert_memory_equal(seen.name.text, "canopy-", strlen("canopy-"));
    assert_string_not_equal(seen.name.text, "canopy-clock");
    canopy_end(ctx);
}

TEST(p28_a_hosts_clock_runs_it_on_the_host)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, 100);
    struct sighting seen = {.ctx = ctx};
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, look_around, &seen), 0);
    assert_int_equal(canopy_root_advance(fixture.root, 99, NULL), 0);
    assert_int_equal(atomic_load(&seen.runs), 0);
    assert_int_equal(canopy_root_advance(fixture.root, 100, NULL), 0);
    assert_int_equal(atomic_load(&seen.runs), 1);
    assert_true(pthread_equal(seen.thread, pthread_self()));
    canopy_end(ctx);
    fixture_close(&fixture);
}

TEST(p28_set_deadline_in_the_past_runs_it_on_the_caller)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct sighting seen = {.ctx = ctx};
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, look_around, &seen), 0);
    assert_true(canopy_set_deadline(ctx, now_ns() - 1));
    assert_int_equal(atomic_load(&seen.runs), 1);
    assert_true(pthread_equal(seen.thread, pthread_self()));
    assert_int_equal(seen.err, -ETIMEDOUT);
    canopy_end(ctx);
}

TEST(p28_on_layers_it_follows_the_context_that_ends_them)
{
    static const canopy_key key = {"key", NULL};
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(top, &key, NULL);
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){canopy_todo(), value}, 2);
    atomic_uint runs = 0, never = 0;
    canopy_callback on_value, on_merged, on_background;

    assert_int_equal(canopy_after_func(value, &on_value, count_call, &runs), 0);
    assert_int_equal(canopy_after_func(merged, &on_merged, count_call, &runs), 0);
    assert_int_equal(canopy_after_func(canopy_background(), &on_background, count_call, &never), 0);
    assert_true(canopy_cancel(top));
    assert_int_equal(atomic_load(&runs), 2);
    assert_int_equal(atomic_load(&never), 0);
    assert_true(canopy_callback_stop(&on_background));

    canopy_end(merged);
    canopy_end(value);
    canopy_end(top);
}

enum { many = SCALED(100000, 20000) };

/* Half of them are stopped, in random order; the rest run, on a small stack. */
static void run_many(void *arg)
{
    struct fixture *fixture = arg;
    canopy_ctx *ctx = canopy_with_cancel(fixture->root);
    canopy_callback *callbacks = calloc(many, sizeof *callbacks);
    atomic_uint *runs = calloc(many, sizeof *runs);
    size_t *order = calloc(many, sizeof *order);
    uint64_t seed = 28;
    assert_true(callbacks && runs && order);

    for (size_t i = 0; i < many; i++)
        assert_int_equal(canopy_after_func(ctx, &callbacks[i], count_call, &runs[i]), 0);
    random_order(&seed, order, many);
    for (size_t i = 0; i < many / 2; i++)
        assert_true(canopy_callback_stop(&callbacks[order[i]]));
    assert_true(canopy_cancel(ctx));
    for (size_t i = 0; i < many; i++)
        assert_int_equal(atomic_load(&runs[order[i]]), i < many / 2 ? 0 : 1);

    canopy_end(ctx);
    free(order);
    free(runs);
    free(callbacks);
}

TEST(p28_of_100000_on_one_context_each_runs_once_in_bounded_stack)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    run_on_small_stack(run_many, &fixture);
    fixture_close(&fixture);
}

TEST(p28_registering_beside_a_cancel_runs_it_exactly_once)
{
    for (unsigned round = 0; round < SCALED(5000, 500); round++) {
        struct race race = {.meeting.parties = 2};
        struct thread thread;
        atomic_uint runs = 0;
        canopy_callback callback;
        race.ctx = canopy_with_cancel(canopy_background());

        thread_start(&thread, race_cancel, &race);
        meet(&race.meeting);
        assert_int_equal(canopy_after_func(race.ctx, &callback, count_call, &runs), 0);
        thread_join(&thread);
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_int_equal(atomic_load(&runs), 1);
        canopy_end(race.ctx);
    }
}

TEST(p28_concurrent_cancels_run_each_callback_once)
{
    enum { callbacks = 16, cancellers = 3 };
    for (unsigned round = 0; round < SCALED(1500, 200); round++) {
        struct race race = {.meeting.parties = cancellers};
        struct thread threads[cancellers - 1];
        atomic_uint runs[callbacks] = {0};
        canopy_callback records[callbacks];
        race.ctx = canopy_with_cancel(canopy_background());
        for (size_t i = 0; i < callbacks; i++)
            assert_int_equal(canopy_after_func(race.ctx, &records[i], count_call, &runs[i]), 0);

        for (size_t i = 0; i < cancellers - 1; i++)
            thread_start(&threads[i], race_cancel, &race);
        race_cancel(&race);
        for (size_t i = 0; i < cancellers - 1; i++)
            thread_join(&threads[i]);
        for (size_t i = 0; i < callbacks; i++)
            assert_int_equal(atomic_load(&runs[i]), 1);
        canopy_end(race.ctx);
    }
}

/* --------------------------------------- where the last record of a thread was */

/* So busy that its records and children lie in blocks. */
#define BUSY 200

static canopy_ctx *busy_parent(canopy_callback *callback, atomic_uint *runs)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    for (int i = 0; i < BUSY; i++) {
        assert_int_equal(canopy_after_func(ctx, callback, count_call, runs), 0);
        assert_true(canopy_callback_stop(callback));
    }
    return ctx;
}

TEST(p28_a_callback_hears_of_its_own_parent_though_the_last_one_had_another)
{
    atomic_uint runs = 0;
    canopy_callback callback;
    canopy_ctx *busy = busy_parent(&callback, &runs);
    canopy_ctx *other = canopy_with_cancel(canopy_background());

    assert_int_equal(canopy_after_func(other, &callback, count_call, &runs), 0);
    assert_true(canopy_cancel(busy));
    assert_int_equal(atomic_load(&runs), 0);
    assert_true(canopy_cancel(other));
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(busy);
    canopy_end(other);
}

TEST(p28_a_callback_takes_no_slot_that_a_child_came_to_meanwhile)
{
    atomic_uint runs = 0;
    canopy_callback callback;
    canopy_ctx *children[BUSY];
    canopy_ctx *parent = busy_parent(&callback, &runs);

    for (int i = 0; i < BUSY; i++)
        children[i] = canopy_with_cancel(parent);
    assert_int_equal(canopy_after_func(parent, &callback, count_call, &runs), 0);
    assert_true(canopy_cancel(parent));
    assert_int_equal(atomic_load(&runs), 1);
    for (int i = 0; i < BUSY; i++) {
        assert_true(canopy_done(children[i]));
        canopy_end(children[i]);
    }
    canopy_end(parent);
}

TEST(p28_a_callback_hears_of_a_parent_made_where_the_last_one_was)
{
    for (int round = 0; round < 10; round++) {
        atomic_uint runs = 0;
        canopy_callback callback;

        canopy_end(busy_parent(&callback, &runs));
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        assert_int_equal(canopy_after_func(parent, &callback, count_call, &runs), 0);
        assert_true(canopy_cancel(parent));
        assert_int_equal(atomic_load(&runs), 1);
        canopy_end(parent);
    }
}

/* -------------------------------------------------------------------- stop */

TEST(p29_stop_returns_true_and_it_never_runs)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    assert_true(canopy_callback_stop(&callback));
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&runs), 0);
    canopy_end(ctx);
}

TEST(p29_stop_returns_false_after_it_ran)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    canopy_cancel(ctx);
    assert_false(canopy_callback_stop(&callback));
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(ctx);
}

TEST(p29_stop_returns_true_or_the_callback_ran)
{
    for (unsigned round = 0; round < SCALED(5000, 500); round++) {
        struct race race = {.meeting.parties = 2};
        struct thread thread;
        atomic_uint runs = 0;
        canopy_callback *callback = malloc(sizeof *callback);
        race.ctx = canopy_with_cancel(canopy_background());
        assert_non_null(callback);
        assert_int_equal(canopy_after_func(race.ctx, callback, count_call, &runs), 0);

        thread_start(&thread, race_cancel, &race);
        meet(&race.meeting);
        bool stopped = canopy_callback_stop(callback);
        if (!stopped)
            assert_int_equal(canopy_callback_join(callback), 0);
        free(callback); /* true: the record is free at once */
        assert_int_equal(atomic_load(&runs), stopped ? 0 : 1);
        thread_join(&thread);
        assert_int_equal(atomic_load(&runs), stopped ? 0 : 1);
        canopy_end(race.ctx);
    }
}

TEST(p29_stop_beside_expiry_returns_true_or_the_callback_ran)
{
    for (unsigned round = 0; round < SCALED(500, 100); round++) {
        atomic_uint runs = 0;
        canopy_callback *callback = malloc(sizeof *callback);
        int64_t deadline_ns = now_ns() + MICROSECONDS(300);
        canopy_ctx *ctx = canopy_with_deadline(canopy_background(), deadline_ns);
        assert_non_null(callback);
        assert_int_equal(canopy_after_func(ctx, callback, count_call, &runs), 0);

        while (now_ns() < deadline_ns + MICROSECONDS(round % 100))
            ;
        bool stopped = canopy_callback_stop(callback);
        if (!stopped)
            assert_int_equal(canopy_callback_join(callback), 0);
        free(callback);
        assert_int_equal(atomic_load(&runs), stopped ? 0 : 1);
        canopy_end(ctx);
        assert_int_equal(atomic_load(&runs), stopped ? 0 : 1);
    }
}

TEST(p29_stop_does_not_wait_for_a_running_callback)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct gate gate = {0};
    struct thread thread;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, pass_gate, &gate), 0);
    thread_start(&thread, cancel_context, ctx);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    assert_false(canopy_callback_stop(&callback));
    assert_false(canopy_callback_stop(&callback));
    assert_false(atomic_load(&gate.left));
    atomic_store(&gate.open, true);
    thread_join(&thread);
    canopy_end(ctx);
}
