/*
 * join.c - promises 29 and 30: what has not begun to run is stopped, by any thread;
 * canopy_callback_join returns only when the callback is not running, and says so where
 * that would be a hang; canopy_callback_drop gets the record back there as well.
 */
#include "probes.h"

#include <canopy/loop.h>
#include <stdlib.h>

TEST(p30_join_of_an_armed_callback_returns_at_once)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(atomic_load(&runs), 0);
    canopy_cancel(ctx);
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(ctx);
}

TEST(p30_join_waits_for_a_running_callback)
{
    for (unsigned round = 0; round < 5; round++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        struct gate gate = {0};
        struct thread canceller, opener;
        canopy_callback callback;

        assert_int_equal(canopy_after_func(ctx, &callback, pass_gate, &gate), 0);
        thread_start(&canceller, cancel_context, ctx);
        assert_true(eventually(atomic_load(&gate.entered), SOON));
        thread_start(&opener, open_gate_later, &gate);
        assert_int_equal(canopy_callback_join(&callback), 0);
        assert_true(atomic_load(&gate.left));
        thread_join(&opener);
        thread_join(&canceller);
        canopy_end(ctx);
    }
}

TEST(p30_join_waits_for_a_callback_that_is_still_bound_to_run_elsewhere)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct gate gates[2] = {0};
    struct thread canceller, opener;
    canopy_callback callbacks[2];

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &callbacks[i], pass_gate, &gates[i]), 0);
    thread_start(&canceller, cancel_context, ctx);
    assert_true(eventually(atomic_load(&gates[0].entered) || atomic_load(&gates[1].entered), SOON));
    size_t running = atomic_load(&gates[0].entered) ? 0 : 1;
    atomic_store(&gates[!running].open, true);
    thread_start(&opener, open_gate_later, &gates[running]);
    assert_int_equal(canopy_callback_join(&callbacks[!running]), 0);
    assert_true(atomic_load(&gates[!running].left));
    thread_join(&opener);
    thread_join(&canceller);
    canopy_end(ctx);
}

struct long_callback {
    atomic_bool begun, over;
    canopy_callback record;
    canopy_ctx *ctx;
};

static void run_long(void *arg)
{
    struct long_callback *callback = arg;
    atomic_store(&callback->begun, true);
    pause_ns(MILLISECONDS(30));
    atomic_store(&callback->over, true);
}

static void cancel_it(void *arg)
{
    struct long_callback *callback = arg;
    canopy_cancel(callback->ctx);
}

static void join_it(void *arg)
{
    struct long_callback *callback = arg;
    assert_int_equal(canopy_callback_join(&callback->record), 0);
    assert_true(atomic_load(&callback->over));
}

TEST(p30_several_threads_may_join_one_callback)
{
    struct long_callback callback = {.ctx = canopy_with_cancel(canopy_background())};
    struct thread canceller, joiners[3];
    assert_int_equal(canopy_after_func(callback.ctx, &callback.record, run_long, &callback), 0);
    thread_start(&canceller, cancel_it, &callback);
    assert_true(eventually(atomic_load(&callback.begun), SOON));
    for (size_t i = 0; i < 3; i++)
        thread_start(&joiners[i], join_it, &callback);
    for (size_t i = 0; i < 3; i++)
        thread_join(&joiners[i]);
    thread_join(&canceller);
    canopy_release(callback.ctx);
}

/* A context with so many children that the one who ends it has much to look at. */
enum { crowd_size = 20000 };
struct crowd {
    canopy_ctx *ctx;
    canopy_ctx *children[crowd_size];
};

static struct crowd *crowd_new(void)
{
    struct crowd *crowd = malloc(sizeof *crowd);
    assert_non_null(crowd);
    crowd->ctx = canopy_with_cancel(canopy_background());
    for (size_t i = 0; i < crowd_size; i++)
        crowd->children[i] = canopy_with_cancel(crowd->ctx);
    return crowd;
}

static void crowd_end(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd_size; i++)
        canopy_end(crowd->children[i]);
    canopy_end(crowd->ctx);
    free(crowd);
}

/* Between a context's end and the claim of its callbacks join must not take them for armed. */
static void join_once_it_is_done(struct crowd *crowd, canopy_callback *callback,
                                 const atomic_uint *runs)
{
    assert_true(canopy_wait(crowd->ctx, now_ns() + SOON));
    assert_int_equal(canopy_callback_join(callback), 0);
    assert_int_equal(atomic_load(runs), 1);
}

TEST(p30_join_waits_as_soon_as_the_context_is_done)
{
    for (unsigned round = 0; round < 5; round++) {
        struct crowd *crowd = crowd_new();
        struct thread canceller;
        canopy_callback callback;
        atomic_uint runs = 0;

        assert_int_equal(canopy_after_func(crowd->ctx, &callback, count_call, &runs), 0);
        thread_start(&canceller, cancel_context, crowd->ctx);
        join_once_it_is_done(crowd, &callback, &runs);
        thread_join(&canceller);
        crowd_end(crowd);
    }
}

TEST(p30_join_waits_as_soon_as_the_context_has_expired)
{
    for (unsigned round = 0; round < 5; round++) {
        struct crowd *crowd = crowd_new();
        canopy_callback callback;
        atomic_uint runs = 0;

        assert_int_equal(canopy_after_func(crowd->ctx, &callback, count_call, &runs), 0);
        canopy_set_deadline(crowd->ctx, now_ns() + MILLISECONDS(5));
        join_once_it_is_done(crowd, &callback, &runs);
        crowd_end(crowd);
    }
}

struct looper {
    canopy_loop loop;
    canopy_ctx *ctx;
    canopy_loop_callback callback;
    atomic_uint runs;
    atomic_bool added;
};

static void run_loop(void *arg)
{
    struct looper *looper = arg;
    assert_int_equal(canopy_loop_init(&looper->loop, NULL), 0);
    assert_int_equal(canopy_loop_after_func(looper->ctx, &looper->loop, &looper->callback,
                                            count_call, &looper->runs),
                     0);
    atomic_store(&looper->added, true);
    while (atomic_load(&looper->runs) == 0) {
        assert_true(canopy_loop_run(&looper->loop, now_ns()) >= 0);
        pause_ns(MICROSECONDS(10));
    }
    assert_int_equal(canopy_loop_close(&looper->loop), 0);
}

TEST(p30_join_waits_for_a_loop_as_soon_as_the_context_is_done)
{
    for (unsigned round = 0; round < 5; round++) {
        struct crowd *crowd = crowd_new();
        struct looper looper = {.ctx = crowd->ctx};
        struct thread canceller, loop;

        thread_start(&loop, run_loop, &looper);
        assert_true(eventually(atomic_load(&looper.added), SOON));
        thread_start(&canceller, cancel_context, crowd->ctx);
        assert_true(canopy_wait(crowd->ctx, now_ns() + SOON));
        assert_int_equal(canopy_loop_callback_join(&looper.callback), 0);
        assert_int_equal(atomic_load(&looper.runs), 1);
        thread_join(&canceller);
        thread_join(&loop);
        crowd_end(crowd);
    }
}

struct joiner {
    canopy_callback own;
    canopy_callback *other;
    canopy_ctx *next; /* cancelled from inside, or NULL */
    atomic_uint *runs;
    unsigned turn; /* this one ran as the first, second, ... */
    int own_result, other_result;
    bool own_stopped;
};

static void join_from_inside(void *arg)
{
    struct joiner *joiner = arg;
    joiner->turn = atomic_fetch_add(joiner->runs, 1);
    joiner->own_result = canopy_callback_join(&joiner->own);
    joiner->own_stopped = canopy_callback_stop(&joiner->own);
    if (joiner->next)
        assert_true(canopy_cancel(joiner->next));
    if (joiner->other)
        joiner->other_result = canopy_callback_join(joiner->other);
}

TEST(p30_join_and_stop_from_inside_itself_do_not_hang)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiner = {.runs = &runs};

    assert_int_equal(canopy_after_func(ctx, &joiner.own, join_from_inside, &joiner), 0);
    canopy_cancel(ctx);
    assert_int_equal(joiner.own_result, -EDEADLK);
    assert_false(joiner.own_stopped);
    assert_int_equal(canopy_callback_join(&joiner.own), 0);
    canopy_end(ctx);
}

TEST(p30_join_at_once_on_a_done_context_from_inside_itself)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), 0);
    atomic_uint runs = 0;
    struct joiner joiner = {.runs = &runs};

    assert_int_equal(canopy_after_func(ctx, &joiner.own, join_from_inside, &joiner), 0);
    assert_int_equal(atomic_load(&runs), 1);
    assert_int_equal(joiner.own_result, -EDEADLK);
    assert_int_equal(canopy_callback_join(&joiner.own), 0);
    canopy_end(ctx);
}

TEST(p30_join_of_what_this_thread_still_has_to_run_is_edeadlk)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiners[2] = {{.runs = &runs}, {.runs = &runs}};
    joiners[0].other = &joiners[1].own;
    joiners[1].other = &joiners[0].own;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &joiners[i].own, join_from_inside, &joiners[i]), 0);

    canopy_cancel(ctx);
    assert_int_equal(atomic_load(&runs), 2);
    size_t first = joiners[0].turn == 0 ? 0 : 1;
    assert_int_equal(joiners[first].other_result, -EDEADLK);
    assert_int_equal(joiners[!first].other_result, 0);
    canopy_end(ctx);
}

TEST(p30_join_of_what_a_library_thread_still_has_to_run_is_edeadlk_there)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner joiners[2] = {{.runs = &runs}, {.runs = &runs}};
    joiners[0].other = &joiners[1].own;
    joiners[1].other = &joiners[0].own;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &joiners[i].own, join_from_inside, &joiners[i]), 0);
    /* Not past, or it ran here. */
    canopy_set_deadline(ctx, now_ns() + MILLISECONDS(SCALED(100, 1000)));

    assert_true(eventually(atomic_load(&runs) == 2, SOON));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_callback_join(&joiners[i].own), 0);
    size_t first = joiners[0].turn == 0 ? 0 : 1;
    assert_int_equal(joiners[first].other_result, -EDEADLK);
    assert_int_equal(joiners[!first].other_result, 0);
    canopy_end(ctx);
}

TEST(p30_join_of_an_outer_callback_from_a_nested_one_is_edeadlk)
{
    canopy_ctx *outer_ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *inner_ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    struct joiner outer = {.runs = &runs, .next = inner_ctx};
    struct joiner inner = {.runs = &runs, .other = &outer.own};
    outer.other = &inner.own;

    assert_int_equal(canopy_after_func(outer_ctx, &outer.own, join_from_inside, &outer), 0);
    assert_int_equal(canopy_after_func(inner_ctx, &inner.own, join_from_inside, &inner), 0);
    canopy_cancel(outer_ctx);
    assert_int_equal(inner.other_result, -EDEADLK);
    assert_int_equal(outer.other_result, 0);
    assert_int_equal(atomic_load(&runs), 2);
    canopy_end(inner_ctx);
    canopy_end(outer_ctx);
}

TEST(p30_drop_stops_or_waits_for_the_end)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct gate gate = {0};
    struct thread canceller, opener;
    atomic_uint runs = 0;
    canopy_callback stopped, running;

    assert_false(canopy_callback_drop(NULL));
    assert_int_equal(canopy_after_func(ctx, &stopped, count_call, &runs), 0);
    assert_true(canopy_callback_drop(&stopped));
    assert_false(canopy_callback_drop(&stopped));
    assert_int_equal(canopy_after_func(ctx, &running, pass_gate, &gate), 0);
    thread_start(&canceller, cancel_context, ctx);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    thread_start(&opener, open_gate_later, &gate);
    assert_false(canopy_callback_drop(&running));
    assert_true(atomic_load(&gate.left));
    assert_false(canopy_callback_drop(&running));
    thread_join(&opener);
    thread_join(&canceller);
    assert_int_equal(atomic_load(&runs), 0);
    canopy_end(ctx);
}

/* Two callbacks of one cancel: the first that runs waits until the other was taken back. */
struct pair {
    canopy_callback callbacks[2];
    canopy_ctx *contexts[2];
    atomic_uint runs;
    atomic_int running; /* 1 + its index */
    atomic_bool back;   /* the other's memory is the taker's again */
    bool drop;          /* it is dropped, or stopped */
    bool taken;
};

static void wait_until_the_other_is_back(struct pair *pair, int index)
{
    atomic_fetch_add(&pair->runs, 1);
    atomic_store(&pair->running, 1 + index);
    assert_true(eventually(atomic_load(&pair->back), SOON));
}

static void run_first_of_pair(void *pair)
{
    wait_until_the_other_is_back(pair, 0);
}

static void run_second_of_pair(void *pair)
{
    wait_until_the_other_is_back(pair, 1);
}

static void take_the_other_back(void *arg)
{
    struct pair *pair = arg;
    assert_true(eventually(atomic_load(&pair->running) != 0, SOON));
    canopy_callback *other = &pair->callbacks[2 - atomic_load(&pair->running)];
    pair->taken = pair->drop ? canopy_callback_drop(other) : canopy_callback_stop(other);
    if (pair->taken)
        memset(other, 0xa5, sizeof *other);
    atomic_store(&pair->back, true);
}

/* On one context, or on a context and its child; ended by a cancel or by a clock. */
static void check_pair(bool on_child, bool drop, bool expires)
{
    struct pair pair = {.drop = drop};
    struct thread taker;
    pair.contexts[0] = canopy_with_cancel(canopy_background());
    pair.contexts[1] = on_child ? canopy_with_cancel(pair.contexts[0]) : pair.contexts[0];
    assert_int_equal(
        canopy_after_func(pair.contexts[0], &pair.callbacks[0], run_first_of_pair, &pair), 0);
    assert_int_equal(
        canopy_after_func(pair.contexts[1], &pair.callbacks[1], run_second_of_pair, &pair), 0);
    thread_start(&taker, take_the_other_back, &pair);
    if (expires)
        canopy_set_deadline(pair.contexts[0], now_ns() + MILLISECONDS(SCALED(100, 1000)));
    else
        canopy_cancel(pair.contexts[0]);
    thread_join(&taker);
    assert_true(pair.taken);
    assert_int_equal(canopy_callback_join(&pair.callbacks[atomic_load(&pair.running) - 1]), 0);
    assert_int_equal(atomic_load(&pair.runs), 1);
    if (on_child)
        canopy_end(pair.contexts[1]);
    canopy_end(pair.contexts[0]);
}

TEST(p29_what_has_not_begun_is_stopped_by_any_thread)
{
    check_pair(false, false, false);
    check_pair(true, false, false);
}

TEST(p29_what_has_not_begun_at_expiry_is_stopped_by_any_thread)
{
    check_pair(false, false, true);
    check_pair(true, false, true);
}

TEST(p30_drop_waits_for_its_own_callback_alone)
{
    check_pair(false, true, false);
    check_pair(true, true, false);
    check_pair(false, true, true);
    check_pair(true, true, true);
}

/* All of many, by several threads, while the canceller runs them. */
#define MANY 200
struct many {
    canopy_callback callbacks[MANY];
    struct meeting meeting;
    canopy_ctx *ctx;
    atomic_uint runs[MANY], stops[MANY];
};

static void run_one_of_many(void *runs)
{
    count_call(runs);
    pause_ns(1);
}

static void cancel_many(void *arg)
{
    struct many *many = arg;
    meet(&many->meeting);
    canopy_cancel(many->ctx);
}

static void stop_many(struct many *many, size_t from)
{
    meet(&many->meeting);
    for (size_t i = from; i < MANY; i += 2) {
        size_t last_first = MANY - 1 - i;
        atomic_fetch_add(&many->stops[last_first],
                         canopy_callback_drop(&many->callbacks[last_first]));
        memset(&many->callbacks[last_first], 0xa5, sizeof many->callbacks[last_first]);
    }
}

static void stop_odd(void *many)
{
    stop_many(many, 1);
}

TEST(p29_of_many_each_is_stopped_or_runs_whoever_stops_it)
{
    for (unsigned round = 0; round < 20; round++) {
        struct many *many = calloc(1, sizeof *many);
        struct thread canceller, other;
        assert_non_null(many);
        many->ctx = canopy_with_cancel(canopy_background());
        many->meeting.parties = 3;
        for (size_t i = 0; i < MANY; i++)
            assert_int_equal(
                canopy_after_func(many->ctx, &many->callbacks[i], run_one_of_many, &many->runs[i]),
                0);
        thread_start(&canceller, cancel_many, many);
        thread_start(&other, stop_odd, many);
        stop_many(many, 0);
        thread_join(&canceller);
        thread_join(&other);
        for (size_t i = 0; i < MANY; i++)
            assert_int_equal(atomic_load(&many->runs[i]) + atomic_load(&many->stops[i]), 1);
        canopy_end(many->ctx);
        free(many);
    }
}

/* Several callbacks in memory that goes with the first of them that runs. */
#define TOGETHER 3
struct together {
    canopy_callback callbacks[TOGETHER];
    atomic_uint *ends;
    unsigned never_run;
    canopy_ctx *next; /* cancelled from inside, or NULL */
};

static void end_together(void *arg)
{
    struct together *together = arg;
    canopy_ctx *next = together->next;
    if (next) {
        together->next = NULL;
        canopy_cancel(next);
        return;
    }
    for (size_t i = 0; i < TOGETHER; i++)
        together->never_run += canopy_callback_drop(&together->callbacks[i]);
    unsigned never_run = together->never_run;
    atomic_uint *ends = together->ends;
    memset(together, 0xa5, sizeof *together);
    free(together);
    atomic_fetch_add(ends, never_run);
}

static struct together *together_new(atomic_uint *ends)
{
    struct together *together = calloc(1, sizeof *together);
    assert_non_null(together);
    together->ends = ends;
    return together;
}

static void add_together(struct together *together, const canopy_ctx *ctx)
{
    for (size_t i = 0; i < TOGETHER; i++)
        assert_int_equal(canopy_after_func(ctx, &together->callbacks[i], end_together, together),
                         0);
}

TEST(p30_drop_frees_what_its_thread_runs_and_has_still_to_run)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    canopy_ctx *layer = canopy_without_cancel(ctx), *below = canopy_with_cancel(ctx);
    atomic_uint never_run = 0;

    add_together(together_new(&never_run), ctx);
    add_together(together_new(&never_run), below);
    canopy_end(ctx);
    assert_int_equal(atomic_load(&never_run), 2 * (TOGETHER - 1));
    canopy_end(below);
    canopy_end(layer);
    fixture_close(&f);
}

TEST(p30_drop_frees_what_a_library_thread_runs_and_has_still_to_run)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint never_run = 0;

    for (size_t i = 0; i < 3; i++)
        add_together(together_new(&never_run), ctx);
    /* Not past, or it ran here. */
    canopy_set_deadline(ctx, now_ns() + MILLISECONDS(SCALED(100, 1000)));
    assert_true(eventually(atomic_load(&never_run) == 3 * (TOGETHER - 1), SOON));
    canopy_end(ctx);
}

TEST(p30_drop_frees_what_an_outer_callback_runs)
{
    canopy_ctx *outer = canopy_with_cancel(canopy_background());
    canopy_ctx *inner = canopy_with_cancel(canopy_background());
    atomic_uint never_run = 0;
    struct together *together = together_new(&never_run);

    together->next = inner;
    for (size_t i = 0; i < TOGETHER; i++)
        assert_int_equal(canopy_after_func(i < TOGETHER - 1 ? outer : inner,
                                           &together->callbacks[i], end_together, together),
                         0);
    canopy_cancel(outer);
    assert_int_equal(atomic_load(&never_run), 1);
    canopy_end(inner);
    canopy_end(outer);
}

static void end_alone(void *arg)
{
    canopy_callback *callback = arg;
    assert_false(canopy_callback_drop(callback));
    memset(callback, 0xa5, sizeof *callback);
    free(callback);
}

TEST(p30_drop_frees_what_runs_at_once_on_a_done_context)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), 0);
    canopy_callback *callback = malloc(sizeof *callback);
    assert_non_null(callback);
    assert_int_equal(canopy_after_func(ctx, callback, end_alone, callback), 0);
    canopy_end(ctx);
}

struct late_drop {
    canopy_ctx *ctx;
    canopy_callback due, late;
    int64_t lead_ns;
    pthread_t thread;  /* that ran `due` */
    bool is_setting;   /* there: what runs now runs in set_deadline */
    bool was_too_late; /* the deadline had passed by then */
    atomic_uint runs, result;
};

static void count_late(void *arg)
{
    struct late_drop *drop = arg;
    atomic_fetch_add(&drop->runs, 1);
    if (drop->is_setting)
        drop->was_too_late = true;
}

static void drop_what_is_on_its_way(void *arg)
{
    struct late_drop *drop = arg;
    drop->thread = pthread_self();
    drop->is_setting = true;
    canopy_set_deadline(drop->ctx, now_ns() + drop->lead_ns);
    drop->is_setting = false;
    while (!canopy_done(drop->ctx))
        pause_ns(MICROSECONDS(1));
    atomic_store(&drop->result, 1 + canopy_callback_drop(&drop->late));
}

/* The clock's thread claims it while the worker runs this, and hands it over meanwhile. */
TEST(p30_drop_waits_for_what_is_being_handed_to_the_library_thread)
{
    int64_t lead_ns = MILLISECONDS(5);
    for (unsigned round = 0; round < 5;) {
        canopy_ctx *first = canopy_with_cancel(canopy_background());
        struct late_drop drop = {.ctx = canopy_with_cancel(canopy_background()),
                                 .lead_ns = lead_ns};
        assert_int_equal(canopy_after_func(first, &drop.due, drop_what_is_on_its_way, &drop), 0);
        assert_int_equal(canopy_after_func(drop.ctx, &drop.late, count_late, &drop), 0);
        /* All is set up; from here on it is the deadlines that must be ahead when they are set. */
        canopy_set_deadline(first, now_ns() + lead_ns);
        assert_true(eventually(atomic_load(&drop.result) != 0, SOON));
        assert_int_equal(canopy_callback_join(&drop.due), 0);
        if (ran_here(drop.thread, lead_ns) || drop.was_too_late) {
            lead_ns *= 2;
        } else {
            assert_int_equal(atomic_load(&drop.result), 2);
            assert_int_equal(atomic_load(&drop.runs), 0);
            round++;
        }
        canopy_end(first);
        canopy_end(drop.ctx);
    }
}
