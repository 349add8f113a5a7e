/*
 * callback_order.c - promises 31 and 32: everything is marked and woken before
 * the first callback runs, and a callback may do nearly anything itself.
 */
#include "probes.h"

#include <stdlib.h>

/* ------------------------------------------------------------ marked first */

enum { family_size = 7 };

/* A root, two children, four grandchildren, one of them through a value layer. */
struct family {
    canopy_ctx *member[family_size];
    canopy_callback callbacks[family_size];
    atomic_uint runs, found_live;
};

static void look_at_family(void *arg)
{
    struct family *family = arg;
    atomic_fetch_add(&family->runs, 1);
    for (size_t i = 0; i < family_size; i++)
        if (!canopy_done(family->member[i]) || !canopy_cause_of(family->member[i]))
            atomic_fetch_add(&family->found_live, 1);
}

static void family_make(struct family *family, const canopy_ctx *parent)
{
    static const canopy_key key = {"key", NULL};
    memset(family, 0, sizeof *family);
    family->member[0] = canopy_with_cancel(parent);
    for (size_t i = 1; i < family_size; i++) {
        const canopy_ctx *above = family->member[(i - 1) / 2];
        family->member[i] =
            i == 5 ? canopy_with_value(above, &key, NULL) : canopy_with_cancel(above);
    }
    for (size_t i = 0; i < family_size; i++)
        assert_int_equal(
            canopy_after_func(family->member[i], &family->callbacks[i], look_at_family, family), 0);
}

static void family_end(struct family *family)
{
    assert_int_equal(atomic_load(&family->runs), family_size);
    assert_int_equal(atomic_load(&family->found_live), 0);
    for (size_t i = 0; i < family_size; i++)
        canopy_end(family->member[i]);
}

TEST(p31_every_callback_of_a_cancel_finds_the_whole_subtree_done)
{
    struct family family;
    family_make(&family, canopy_background());
    assert_true(canopy_cancel(family.member[0]));
    family_end(&family);
}

TEST(p31_every_callback_of_an_expiry_finds_the_whole_subtree_done)
{
    struct family family;
    family_make(&family, canopy_background());
    assert_true(canopy_set_deadline(family.member[0], now_ns() + MILLISECONDS(20)));
    assert_true(eventually(atomic_load(&family.runs) == family_size, SOON));
    for (size_t i = 0; i < family_size; i++)
        assert_int_equal(canopy_callback_join(&family.callbacks[i]), 0);
    family_end(&family);
}

struct waiter {
    const canopy_ctx *ctx;
    atomic_bool woken;
};

static void wait_for_context(void *arg)
{
    struct waiter *waiter = arg;
    assert_true(canopy_wait(waiter->ctx, now_ns() + SOON));
    atomic_store(&waiter->woken, true);
}

TEST(p31_a_slow_callback_delays_no_waiter_and_no_fd)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *leaf = canopy_with_cancel(top);
    struct waiter waiter = {.ctx = leaf};
    struct gate gate = {0};
    struct thread waiting, canceller;
    canopy_callback callback;
    int fd = canopy_done_fd(leaf);

    assert_int_equal(canopy_after_func(top, &callback, pass_gate, &gate), 0);
    thread_start(&waiting, wait_for_context, &waiter);
    pause_ns(MILLISECONDS(5));
    thread_start(&canceller, cancel_context, top);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    assert_true(canopy_done(leaf));
    assert_true(fd_readable(fd, 20000));
    assert_true(eventually(atomic_load(&waiter.woken), SOON));
    assert_false(atomic_load(&gate.left));

    atomic_store(&gate.open, true);
    thread_join(&canceller);
    thread_join(&waiting);
    canopy_end(leaf);
    canopy_end(top);
}

TEST(p31_a_losing_cancel_does_not_wait_for_the_winners_callbacks)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *leaf = canopy_with_cancel(top);
    struct gate gate = {0};
    struct thread canceller;
    canopy_callback callback;

    assert_int_equal(canopy_after_func(top, &callback, pass_gate, &gate), 0);
    thread_start(&canceller, cancel_context, top);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    assert_false(canopy_cancel(top));
    assert_false(canopy_cancel(leaf));
    assert_true(canopy_done(leaf));
    assert_false(atomic_load(&gate.left));

    atomic_store(&gate.open, true);
    thread_join(&canceller);
    canopy_end(leaf);
    canopy_end(top);
}

/* A gate that does not hold up the one who opens it. */
struct gate_elsewhere {
    struct gate gate;
    pthread_t opener, thread;
};

static void pass_gate_elsewhere(void *arg)
{
    struct gate_elsewhere *elsewhere = arg;
    elsewhere->thread = pthread_self();
    if (pthread_equal(elsewhere->opener, elsewhere->thread))
        atomic_store(&elsewhere->gate.entered, true);
    else
        pass_gate(&elsewhere->gate);
}

TEST(p31_a_slow_callback_at_expiry_delays_no_other_expiry)
{
    struct gate_elsewhere elsewhere;
    struct gate *gate = &elsewhere.gate;
    canopy_callback callback;
    canopy_ctx *slow;
    for (int64_t lead_ns = MILLISECONDS(20);; lead_ns *= 2) {
        elsewhere = (struct gate_elsewhere){.opener = pthread_self()};
        slow = canopy_with_cancel(canopy_background());
        assert_int_equal(canopy_after_func(slow, &callback, pass_gate_elsewhere, &elsewhere), 0);
        canopy_set_deadline(slow, now_ns() + lead_ns);
        assert_true(eventually(atomic_load(&gate->entered), SOON));
        if (!ran_here(elsewhere.thread, lead_ns))
            break;
        canopy_end(slow);
    }

    for (unsigned round = 0; round < 5; round++) {
        canopy_ctx *other = canopy_with_timeout(canopy_background(), MILLISECONDS(10));
        canopy_ctx *below = canopy_with_cancel(other);
        assert_true(canopy_wait(below, now_ns() + SOON));
        assert_ended(other, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        canopy_end(below);
        canopy_end(other);
    }
    assert_false(atomic_load(&gate->left));
    atomic_store(&gate->open, true);
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_true(atomic_load(&gate->left));
    canopy_end(slow);
}

/* ---------------------------------------------------- the last reference */

struct keeper {
    const canopy_ctx *ctx;
    atomic_uint runs;
    int err;
};

static void note_err(void *arg)
{
    struct keeper *keeper = arg;
    keeper->err = canopy_err(keeper->ctx);
    atomic_fetch_add(&keeper->runs, 1);
}

TEST(p28_an_armed_callback_keeps_its_context_after_the_last_handle)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_cancel(fixture.root);
    canopy_ctx *cancelled = canopy_with_cancel(parent);
    canopy_ctx *expired = canopy_with_deadline(fixture.root, 100);
    canopy_ctx *stopped = canopy_with_deadline(fixture.root, 100);
    struct keeper on_cancel = {.ctx = cancelled}, on_expiry = {.ctx = expired}, none = {0};
    canopy_callback callbacks[3];
    assert_int_equal(canopy_after_func(cancelled, &callbacks[0], note_err, &on_cancel), 0);
    assert_int_equal(canopy_after_func(expired, &callbacks[1], note_err, &on_expiry), 0);
    assert_int_equal(canopy_after_func(stopped, &callbacks[2], note_err, &none), 0);

    canopy_release(cancelled);
    canopy_release(expired);
    canopy_release(stopped);
    assert_int_equal(canopy_wait_idle(fixture.root, 0), -ETIME);
    assert_true(canopy_callback_stop(&callbacks[2]));
    assert_true(canopy_cancel(parent));
    assert_int_equal(atomic_load(&on_cancel.runs), 1);
    assert_int_equal(on_cancel.err, -ECANCELED);
    assert_int_equal(canopy_root_advance(fixture.root, 100, NULL), 0);
    assert_int_equal(atomic_load(&on_expiry.runs), 1);
    assert_int_equal(on_expiry.err, -ETIMEDOUT);
    assert_int_equal(atomic_load(&none.runs), 0);

    canopy_end(parent);
    fixture_close(&fixture);
}

TEST(p28_an_armed_callback_of_a_dropped_context_runs_at_expiry)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_timeout(fixture.root, MILLISECONDS(20));
    struct keeper keeper = {.ctx = ctx};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(ctx, &callback, note_err, &keeper), 0);
    canopy_release(ctx);

    assert_true(eventually(atomic_load(&keeper.runs) == 1, SOON));
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(keeper.err, -ETIMEDOUT);
    fixture_close(&fixture);
}

static void end_context(void *arg)
{
    canopy_end(arg);
}

TEST(p32_a_callback_may_drop_the_last_reference)
{
    for (unsigned round = 0; round < SCALED(500, 100); round++) {
        struct fixture fixture;
        fixture_open(&fixture, CANOPY_CLOCK_HOST);
        canopy_ctx *parent = canopy_with_cancel(fixture.root);
        canopy_ctx *child = canopy_with_cancel(parent);
        canopy_ctx *expiring = canopy_with_deadline(fixture.root, 100);
        canopy_callback on_child, on_parent, on_expiry;
        assert_int_equal(canopy_after_func(child, &on_child, end_context, child), 0);
        assert_int_equal(canopy_after_func(parent, &on_parent, end_context, parent), 0);
        assert_int_equal(canopy_after_func(expiring, &on_expiry, end_context, expiring), 0);
        assert_true(canopy_cancel(parent));
        assert_int_equal(canopy_root_advance(fixture.root, 100, NULL), 0);
        fixture_close(&fixture);
    }
}

TEST(p32_a_callback_may_drop_the_last_reference_at_expiry)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    enum { contexts = 100 };
    canopy_callback callbacks[contexts];
    for (size_t i = 0; i < contexts; i++) {
        canopy_ctx *ctx = canopy_with_timeout(fixture.root, MILLISECONDS(1 + i % 20));
        assert_int_equal(canopy_after_func(ctx, &callbacks[i], end_context, ctx), 0);
    }
    fixture_close(&fixture);
    for (size_t i = 0; i < contexts; i++)
        assert_int_equal(canopy_callback_join(&callbacks[i]), 0);
}

/* ------------------------------------------------------ what it may do */

/* What a callback finds when it calls the library from inside. */
struct inside {
    canopy_ctx *own;
    canopy_ctx *other;
    canopy_callback armed;   /* on `other_armed_on`, to be stopped from inside */
    canopy_callback at_once; /* registered from inside on `own` */
    canopy_callback later;   /* registered from inside on `live` */
    canopy_ctx *live;
    atomic_uint armed_runs, at_once_runs, later_runs, other_runs, runs;
    bool cancelled_self, cancelled_other, stopped, set_deadline;
    unsigned at_once_seen;
    int child_err, sleep_result, wait_result;
    bool waited, other_done;
    const canopy_cause *child_cause;
};

static void do_everything(void *arg)
{
    struct inside *in = arg;
    const canopy_ctx *both[2] = {in->live, in->own};
    atomic_fetch_add(&in->runs, 1);

    in->cancelled_self = canopy_cancel(in->own);
    in->set_deadline = canopy_set_deadline(in->own, CANOPY_NEVER);
    in->cancelled_other = canopy_cancel(in->other);
    in->other_done = canopy_done(in->other) && atomic_load(&in->other_runs) == 1;
    in->stopped = canopy_callback_stop(&in->armed);
    assert_int_equal(canopy_after_func(in->own, &in->at_once, count_call, &in->at_once_runs), 0);
    in->at_once_seen = atomic_load(&in->at_once_runs);
    assert_int_equal(canopy_after_func(in->live, &in->later, count_call, &in->later_runs), 0);
    in->waited = canopy_wait(in->own, CANOPY_NEVER);
    in->wait_result = canopy_wait_any(both, 2, CANOPY_NEVER);
    in->sleep_result = canopy_sleep(in->own, SECONDS(1));

    canopy_ctx *child = canopy_with_timeout(in->own, SECONDS(1));
    in->child_err = canopy_err(child);
    in->child_cause = canopy_cause_of(child);
    canopy_end(child);
    canopy_end(in->own);
}

static void check_everything(struct inside *in, int err, const canopy_cause *cause)
{
    assert_int_equal(atomic_load(&in->runs), 1);
    assert_false(in->cancelled_self);
    assert_false(in->set_deadline);
    assert_true(in->cancelled_other);
    assert_true(in->other_done);
    assert_true(in->stopped);
    assert_int_equal(in->at_once_seen, 1);
    assert_true(in->waited);
    assert_int_equal(in->wait_result, 1);
    assert_int_equal(in->sleep_result, err);
    assert_int_equal(in->child_err, err);
    assert_ptr_equal(in->child_cause, cause);

    assert_int_equal(atomic_load(&in->later_runs), 0);
    canopy_end(in->live);
    assert_int_equal(atomic_load(&in->later_runs), 1);
    assert_int_equal(atomic_load(&in->armed_runs), 0);
    canopy_end(in->other);
}

static void open_everything(struct inside *in, const canopy_ctx *parent, canopy_callback *on_other)
{
    in->other = canopy_with_cancel(parent);
    in->live = canopy_with_cancel(parent);
    assert_int_equal(canopy_after_func(in->live, &in->armed, count_call, &in->armed_runs), 0);
    assert_int_equal(canopy_after_func(in->other, on_other, count_call, &in->other_runs), 0);
}

TEST(p32_a_callback_of_a_cancel_may_call_everything)
{
    const canopy_cause *cause = CANOPY_CAUSE(-32, "reason");
    struct fixture fixture;
    struct inside in = {0};
    canopy_callback callback, on_other;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    open_everything(&in, fixture.root, &on_other);
    in.own = canopy_with_cancel(fixture.root);
    const canopy_ctx *held = canopy_retain(in.own);

    canopy_ctx *own = in.own;
    assert_int_equal(canopy_after_func(own, &callback, do_everything, &in), 0);
    assert_true(canopy_cancel_cause(own, cause));
    check_everything(&in, -ECANCELED, cause);
    canopy_release(held);
    fixture_close(&fixture);
}

TEST(p32_a_callback_at_expiry_may_call_everything)
{
    struct fixture fixture;
    struct inside in = {0};
    canopy_callback callback, on_other;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    open_everything(&in, fixture.root, &on_other);
    in.own = canopy_with_timeout(fixture.root, MILLISECONDS(50));

    assert_int_equal(canopy_after_func(in.own, &callback, do_everything, &in), 0);
    assert_true(eventually(atomic_load(&in.runs) == 1, SOON));
    assert_int_equal(canopy_callback_join(&callback), 0);
    check_everything(&in, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    fixture_close(&fixture);
}

struct pair {
    canopy_callback callbacks[2];
    atomic_uint runs, stopped;
};

/* Whichever runs first stops its twin, which is bound to run: false. */
static void stop_both(void *arg)
{
    struct pair *pair = arg;
    atomic_fetch_add(&pair->runs, 1);
    for (size_t i = 0; i < 2; i++)
        if (canopy_callback_stop(&pair->callbacks[i]))
            atomic_fetch_add(&pair->stopped, 1);
}

TEST(p32_two_callbacks_that_stop_each_other)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct pair pair = {.runs = 0};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(canopy_after_func(ctx, &pair.callbacks[i], stop_both, &pair), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(atomic_load(&pair.runs) + atomic_load(&pair.stopped), 2);
    assert_int_not_equal(atomic_load(&pair.runs), 0);
    canopy_end(ctx);
}

struct link {
    canopy_callback callback;
    canopy_ctx *ctx;
    struct link *next;
    atomic_uint runs;
};

static void cancel_next(void *arg)
{
    struct link *link = arg;
    atomic_fetch_add(&link->runs, 1);
    if (link->next)
        assert_true(canopy_cancel(link->next->ctx));
}

TEST(p32_callbacks_may_cancel_one_another_in_a_row)
{
    enum { links = 200 };
    struct link *chain = calloc(links, sizeof *chain);
    assert_non_null(chain);
    for (size_t i = 0; i < links; i++) {
        chain[i].ctx = canopy_with_cancel(canopy_background());
        chain[i].next = i + 1 < links ? &chain[i + 1] : NULL;
        assert_int_equal(
            canopy_after_func(chain[i].ctx, &chain[i].callback, cancel_next, &chain[i]), 0);
    }
    assert_true(canopy_cancel(chain[0].ctx));
    for (size_t i = 0; i < links; i++) {
        assert_int_equal(atomic_load(&chain[i].runs), 1);
        canopy_end(chain[i].ctx);
    }
    free(chain);
}
