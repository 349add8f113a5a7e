/*
 * callback_async.c - canopy_after_func_async: on the library's worker, never on the
 * caller, nor on who cancels.
 */
#include "probes.h"

struct asynchronous {
    canopy_callback callback;
    pthread_mutex_t mutex; /* held while it is added, and by fn */
    canopy_ctx *ctx;
    atomic_uint runs;
    struct thread_name name;
};

static void takes_the_mutex(void *arg)
{
    struct asynchronous *a = arg;
    pthread_mutex_lock(&a->mutex);
    assert_true(!a->ctx || canopy_done(a->ctx));
    a->name = own_thread_name();
    pthread_mutex_unlock(&a->mutex);
    atomic_fetch_add(&a->runs, 1);
}

static void add(struct asynchronous *a)
{
    assert_int_equal(canopy_after_func_async(a->ctx, &a->callback, takes_the_mutex, a), 0);
}

static void check_ran_once(struct asynchronous *a)
{
    assert_int_equal(canopy_callback_join(&a->callback), 0);
    assert_int_equal(atomic_load(&a->runs), 1);
    assert_string_equal(a->name.text, "canopy-worker");
    canopy_end(a->ctx);
}

TEST(p28_async_on_a_done_context_may_take_what_the_caller_holds)
{
    struct asynchronous a = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    a.ctx = canopy_with_timeout(canopy_background(), 0);
    pthread_mutex_lock(&a.mutex);
    add(&a);
    assert_int_equal(atomic_load(&a.runs), 0);
    pthread_mutex_unlock(&a.mutex);
    check_ran_once(&a);
}

TEST(p28_async_may_take_what_the_canceller_holds)
{
    struct asynchronous a = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    a.ctx = canopy_with_cancel(canopy_background());
    add(&a);
    assert_int_equal(canopy_callback_join(&a.callback), 0);
    pthread_mutex_lock(&a.mutex);
    assert_true(canopy_cancel(a.ctx));
    assert_int_equal(atomic_load(&a.runs), 0);
    pthread_mutex_unlock(&a.mutex);
    check_ran_once(&a);
}

TEST(p28_async_at_expiry_and_under_a_hosts_clock)
{
    struct asynchronous a = {.mutex = PTHREAD_MUTEX_INITIALIZER}, b = a;
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    a.ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(5));
    b.ctx = canopy_with_deadline(fixture.root, 100);
    add(&a);
    add(&b);
    assert_int_equal(canopy_root_advance(fixture.root, 100, NULL), 0);
    assert_true(eventually(atomic_load(&a.runs) == 1 && atomic_load(&b.runs) == 1, SOON));
    check_ran_once(&a);
    check_ran_once(&b);
    fixture_close(&fixture);
}

TEST(p28_async_keeps_its_context_alive)
{
    struct asynchronous a = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    a.ctx = canopy_with_cancel(fixture.root);
    add(&a);
    canopy_end(a.ctx);
    assert_int_equal(canopy_callback_join(&a.callback), 0);
    assert_int_equal(atomic_load(&a.runs), 1);
    fixture_close(&fixture);
}

TEST(p29_async_is_stopped_while_it_waits_for_the_worker)
{
    struct asynchronous a = {.mutex = PTHREAD_MUTEX_INITIALIZER}, b = a, c = a;
    struct gate gate = {0};
    canopy_callback holder;
    a.ctx = canopy_with_timeout(canopy_background(), 0);
    b.ctx = canopy_with_cancel(canopy_background());
    c.ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_after_func_async(a.ctx, &holder, pass_gate, &gate), 0);
    assert_true(eventually(atomic_load(&gate.entered), SOON));
    add(&a);
    add(&b);
    add(&c);
    canopy_cancel(b.ctx);
    assert_true(canopy_callback_stop(&a.callback));
    assert_true(canopy_callback_drop(&b.callback));
    assert_true(canopy_callback_stop(&c.callback)); /* it was still armed */
    memset(&a, 0xa5, offsetof(struct asynchronous, mutex));
    atomic_store(&gate.open, true);
    assert_int_equal(canopy_callback_join(&holder), 0);
    assert_int_equal(atomic_load(&a.runs) + atomic_load(&b.runs) + atomic_load(&c.runs), 0);
    canopy_end(a.ctx);
    canopy_end(b.ctx);
    canopy_end(c.ctx);
}

TEST(p28_async_with_bad_arguments_is_refused)
{
    canopy_callback callback;
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    atomic_uint runs = 0;
    assert_int_equal(canopy_after_func_async(ctx, NULL, count_call, &runs), -EINVAL);
    assert_int_equal(canopy_after_func_async(NULL, &callback, count_call, &runs), -EINVAL);
    assert_false(canopy_callback_stop(&callback));
    assert_int_equal(canopy_after_func_async(ctx, &callback, NULL, &runs), -EINVAL);
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_end(ctx);
}
