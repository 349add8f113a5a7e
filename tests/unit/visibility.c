/*
 * visibility.c - promises 3 and 4: what whoever sees done also sees, in a signal
 * handler too.
 */
#include "harness.h"

#include <poll.h>
#include <signal.h>

static const canopy_key key = {.name = "key"};

/* --------------------------------------- 3 and 4: what a reader of done sees */

/* One context a round; a reader watches it while the main thread cancels it. */
struct watch {
    struct meeting start, end;
    canopy_ctx *ctx;
    const canopy_ctx *seen; /* what the reader watches: ctx, or a layer over it */
    const canopy_cause *cause;
    void (*read)(const struct watch *watch);
    int rounds;
    int payload; /* plain on purpose: only the context orders it */
};

static void watch_rounds(void *arg)
{
    struct watch *watch = arg;
    for (int round = 0; round < watch->rounds; round++) {
        meet(&watch->start);
        watch->read(watch);
        assert_int_equal(watch->payload, round);
        meet(&watch->end);
    }
}

static void watch_run(void (*read)(const struct watch *watch), int rounds)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    static const canopy_cause causes[] = {{-1, "one", NULL, 0}, {-2, "two", NULL, 0}};
    struct watch watch = {
        .start = {.parties = 2}, .end = {.parties = 2}, .read = read, .rounds = rounds};
    struct thread reader;
    thread_start(&reader, watch_rounds, &watch);
    for (int round = 0; round < watch.rounds; round++) {
        watch.ctx = canopy_with_cancel(f.root);
        canopy_ctx *layer = canopy_with_value(watch.ctx, &key, NULL);
        canopy_ctx *child = canopy_with_cancel(layer);
        const canopy_ctx *choices[] = {watch.ctx, layer, child};
        watch.seen = choices[round % 3];
        watch.cause = &causes[round % 2];
        watch.payload = -1;
        meet(&watch.start);
        watch.payload = round;
        assert_true(canopy_cancel_cause(watch.ctx, watch.cause));
        meet_at_end(&watch.end, &watch.rounds, round);
        canopy_release(child);
        canopy_release(layer);
        canopy_release(watch.ctx);
    }
    thread_join(&reader);
    fixture_close(&f);
}

static void read_done_first(const struct watch *watch)
{
    while (!canopy_done(watch->seen))
        ;
    assert_int_equal(canopy_err(watch->seen), -ECANCELED);
    assert_ptr_equal(canopy_cause_of(watch->seen), watch->cause);
}

static void read_err_first(const struct watch *watch)
{
    int err;
    while ((err = canopy_err(watch->seen)) == 0)
        ;
    assert_int_equal(err, -ECANCELED);
    assert_ptr_equal(canopy_cause_of(watch->seen), watch->cause);
    assert_true(canopy_done(watch->seen));
}

static void read_cause_first(const struct watch *watch)
{
    const canopy_cause *cause;
    while (!(cause = canopy_cause_of(watch->seen)))
        ;
    assert_ptr_equal(cause, watch->cause);
    assert_int_equal(canopy_err(watch->seen), -ECANCELED);
    assert_true(canopy_done(watch->seen));
}

#define WATCH_ROUNDS SCALED(20000, 2000)
/* Rounds in which a thread really sleeps and is woken. */
#define WAKE_ROUNDS SCALED(2000, 500)

TEST(p03_done_comes_with_err_and_the_winners_cause)
{
    watch_run(read_done_first, WATCH_ROUNDS);
}

TEST(p03_err_comes_with_the_winners_cause)
{
    watch_run(read_err_first, WATCH_ROUNDS);
}

TEST(p03_cause_is_never_a_placeholder)
{
    watch_run(read_cause_first, WATCH_ROUNDS);
}

TEST(p04_writes_before_cancel_reach_a_poller)
{
    watch_run(read_done_first, WATCH_ROUNDS);
    watch_run(read_err_first, WATCH_ROUNDS);
    watch_run(read_cause_first, WATCH_ROUNDS);
}

static void read_by_wait(const struct watch *watch)
{
    assert_true(canopy_wait(watch->seen, CANOPY_NEVER));
}

TEST(p04_writes_before_cancel_reach_a_waiter)
{
    watch_run(read_by_wait, WAKE_ROUNDS);
}

static void read_by_wait_any(const struct watch *watch)
{
    const canopy_ctx *both[] = {canopy_background(), watch->seen};
    assert_int_equal(canopy_wait_any(both, 2, CANOPY_NEVER), 1);
}

TEST(p04_writes_before_cancel_reach_a_waiter_on_several)
{
    watch_run(read_by_wait_any, WAKE_ROUNDS);
}

static void read_by_sleep(const struct watch *watch)
{
    assert_int_equal(canopy_sleep(watch->seen, HOURS(1)), -ECANCELED);
}

TEST(p04_writes_before_cancel_reach_a_sleeper)
{
    watch_run(read_by_sleep, WAKE_ROUNDS);
}

static void read_by_fd(const struct watch *watch)
{
    struct pollfd fd = {.fd = canopy_done_fd(watch->seen), .events = POLLIN};
    assert_true(fd.fd >= 0);
    assert_int_equal(poll(&fd, 1, -1), 1);
    assert_true(fd.revents & POLLIN);
    /* The system call orders nothing in the C model; the context does. */
    assert_true(canopy_done(watch->seen));
}

TEST(p04_writes_before_cancel_reach_an_fd_reader)
{
    watch_run(read_by_fd, WAKE_ROUNDS);
}

struct seen_payload {
    const struct watch *watch;
    atomic_int payload;
};

static void note_payload(void *arg)
{
    struct seen_payload *seen = arg;
    atomic_store(&seen->payload, seen->watch->payload);
}

static void read_by_callback(const struct watch *watch)
{
    struct seen_payload seen = {.watch = watch, .payload = -2};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(watch->seen, &callback, note_payload, &seen), 0);
    /* Done may be seen before the callback runs, but run it does. */
    assert_true(eventually(atomic_load(&seen.payload) != -2, SOON));
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(atomic_load(&seen.payload), watch->payload);
}

TEST(p04_writes_before_cancel_reach_a_callback)
{
    watch_run(read_by_callback, WAKE_ROUNDS);
}

/* ------------------------------------------- what a signal handler may look at */

static _Atomic(const canopy_ctx *) looked_at;
static atomic_uint looks_at_live, looks_at_done;
static atomic_bool handler_saw_nonsense;

static void look(int signal_number)
{
    (void)signal_number;
    const canopy_ctx *ctx = atomic_load(&looked_at);
    int saved_errno = errno;
    if (ctx) {
        bool done = canopy_done(ctx);
        int err = canopy_err(ctx);
        const canopy_cause *cause = canopy_cause_of(ctx);
        if ((done && (err != -ECANCELED || cause != CANOPY_CANCELED)) ||
            canopy_value(ctx, &key) != &looked_at)
            atomic_store(&handler_saw_nonsense, true);
        atomic_fetch_add(done ? &looks_at_done : &looks_at_live, 1);
    }
    errno = saved_errno;
}

struct signaller {
    pthread_t target;
    atomic_bool stop;
};

static void send_signals(void *arg)
{
    struct signaller *signaller = arg;
    while (!atomic_load(&signaller->stop)) {
        pthread_kill(signaller->target, SIGUSR1);
        pause_ns(MICROSECONDS(20));
    }
}

static bool was_seen_both_ways(void)
{
    return atomic_load(&looks_at_live) > 0 && atomic_load(&looks_at_done) > 0;
}

TEST(core_a_signal_handler_may_observe_in_the_middle_of_any_call)
{
    struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct signaller signaller = {.target = pthread_self()};
    struct thread thread;
    thread_start(&thread, send_signals, &signaller);
    int64_t until_ns = now_ns() + MILLISECONDS(500);
    while (now_ns() < until_ns || (now_ns() < until_ns + SOON && !was_seen_both_ways())) {
        canopy_ctx *ctx = canopy_with_timeout(f.root, HOURS(1));
        canopy_ctx *value = canopy_with_value(ctx, &key, &looked_at);
        canopy_ctx *leaf = canopy_with_cancel(value);
        atomic_store(&looked_at, leaf);
        for (int i = 0; i < 50; i++)
            canopy_end(canopy_with_cancel(leaf));
        assert_true(canopy_cancel(ctx));
        for (int i = 0; i < 50; i++)
            canopy_end(canopy_with_cancel(leaf));
        atomic_store(&looked_at, NULL);
        canopy_release(leaf);
        canopy_release(value);
        canopy_release(ctx);
    }
    atomic_store(&signaller.stop, true);
    thread_join(&thread);
    assert_false(atomic_load(&handler_saw_nonsense));
    assert_true(was_seen_both_ways());
    fixture_close(&f);
}
