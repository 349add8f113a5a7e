/*
 * blocking_races.c - what comes beside a cancel: no cancel is slept through, no signal
 * leaves with a waiter that gives up, no token is lost or added.
 */
#include "subject.h"

#include <sched.h>
#include <stdlib.h>

static void spin(unsigned steps)
{
    for (; steps > 0; steps--)
        atomic_signal_fence(memory_order_seq_cst);
}

/*
 * One item and one signal, for a consumer whose context is just being cancelled, and
 * for one that stays and came to wait later. Who leaves must not take the signal along.
 */
struct market {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned waiting, items;
    bool closed;
};

struct consumer {
    struct thread thread;
    struct market *market;
    const canopy_ctx *ctx;
};

static void consume_one(void *arg)
{
    struct consumer *consumer = arg;
    struct market *market = consumer->market;
    int result = 0;
    pthread_mutex_lock(&market->mutex);
    market->waiting++;
    while (market->items == 0 && !market->closed && result == 0)
        result = blocking_cond_wait(consumer->ctx, &market->cond, &market->mutex, CANOPY_NEVER);
    if (result == 0 && market->items > 0)
        market->items--;
    pthread_mutex_unlock(&market->mutex);
}

static void consumer_start(struct consumer *consumer, unsigned waiting)
{
    thread_start(&consumer->thread, consume_one, consumer);
    bool waits_now = false;
    while (!waits_now) { /* in the sleep: only there the mutex is free */
        pthread_mutex_lock(&consumer->market->mutex);
        waits_now = consumer->market->waiting == waiting;
        pthread_mutex_unlock(&consumer->market->mutex);
        sched_yield();
    }
}

static unsigned items_left(struct market *market)
{
    pthread_mutex_lock(&market->mutex);
    unsigned items = market->items;
    pthread_mutex_unlock(&market->mutex);
    return items;
}

static void market_close(struct market *market)
{
    pthread_mutex_lock(&market->mutex);
    market->closed = true;
    pthread_cond_broadcast(&market->cond);
    pthread_mutex_unlock(&market->mutex);
}

TEST(the_end_of_a_context_wakes_its_waiter_among_others)
{
    struct market market = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct consumer stayer = {.market = &market, .ctx = canopy_background()};
    struct consumer leaver = {.market = &market, .ctx = ctx};
    consumer_start(&stayer, 1);
    consumer_start(&leaver, 2);
    canopy_cancel(ctx);
    thread_join(&leaver.thread);
    market_close(&market);
    thread_join(&stayer.thread);
    canopy_end(ctx);
    pthread_cond_destroy(&market.cond);
}

/* Children on both sides of the waiter's record: between the mark of the context and the call of
 * its callbacks then lies the walk over half of them, whichever way it goes. */
static void derive(const canopy_ctx *parent, canopy_ctx **children, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        children[i] = canopy_with_cancel(parent);
        assert_non_null(children[i]);
    }
}

static void sell_beside_cancel(size_t children_each_side, unsigned delay)
{
    struct market market = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct race race = {.meeting = {.parties = 2}, .ctx = canopy_with_cancel(canopy_background())};
    struct consumer leaver = {.market = &market, .ctx = race.ctx};
    struct consumer stayer = {.market = &market, .ctx = canopy_background()};
    canopy_ctx **children = calloc(2 * children_each_side, sizeof *children);
    struct thread canceller;
    assert_non_null(children);

    derive(race.ctx, children, children_each_side);
    consumer_start(&leaver, 1);
    derive(race.ctx, children + children_each_side, children_each_side);
    consumer_start(&stayer, 2);
    thread_start(&canceller, race_cancel, &race);
    meet(&race.meeting);
    while (children_each_side > 0 && !canopy_done(race.ctx))
        ;
    spin(delay);
    pthread_mutex_lock(&market.mutex);
    market.items = 1;
    pthread_cond_signal(&market.cond);
    pthread_mutex_unlock(&market.mutex);
    assert_true(eventually(items_left(&market) == 0, SOON));

    market_close(&market);
    thread_join(&canceller);
    thread_join(&stayer.thread);
    thread_join(&leaver.thread);
    for (size_t i = 0; i < 2 * children_each_side; i++)
        canopy_release(children[i]);
    free(children);
    canopy_end(race.ctx);
    pthread_cond_destroy(&market.cond);
}

TEST(a_signal_beside_a_cancel_reaches_who_still_waits)
{
    for (unsigned round = 0; round < SCALED(300, 100); round++)
        sell_beside_cancel(0, (round * 37) % 1024);
}

TEST(a_signal_while_a_cancel_is_under_way_reaches_who_still_waits)
{
    for (unsigned round = 0; round < SCALED(20, 5); round++)
        sell_beside_cancel(SCALED(100000, 20000), 0);
}

/* Each thread waits again and again under contexts that another one cancels; what is posted
 * is at the end with them or in the semaphore. */
struct turnstile {
    struct blocking_sem sem;
    _Atomic(canopy_ctx *) ctx; /* of the waiter, for its canceller */
    atomic_uint taken, refused;
    unsigned rounds;
};

static void pass_turnstile(void *arg)
{
    struct turnstile *turnstile = arg;
    for (unsigned round = 0; round < turnstile->rounds; round++) {
        canopy_ctx *ctx = canopy_with_cancel(canopy_background());
        canopy_retain(ctx); /* the canceller's */
        canopy_ctx *none = NULL;
        while (!atomic_compare_exchange_weak(&turnstile->ctx, &none, ctx)) {
            none = NULL;
            sched_yield();
        }
        int result = blocking_sem_wait(ctx, &turnstile->sem, now_ns() + SOON);
        assert_true(result == 0 || result == -ECANCELED);
        atomic_fetch_add(result == 0 ? &turnstile->taken : &turnstile->refused, 1);
        canopy_release(ctx);
    }
}

static void cancel_at_turnstile(void *arg)
{
    struct turnstile *turnstile = arg;
    uint64_t seed = 7;
    for (unsigned round = 0; round < 2 * turnstile->rounds; round++) {
        canopy_ctx *ctx;
        while (!(ctx = atomic_exchange(&turnstile->ctx, NULL)))
            sched_yield();
        if (random_next(&seed) % 4 == 0)
            sched_yield();
        canopy_end(ctx);
    }
}

TEST(a_token_is_neither_lost_nor_added_beside_a_cancel)
{
    struct turnstile turnstile = {.rounds = SCALED(5000, 1000)};
    struct thread waiters[2], canceller;
    assert_int_equal(blocking_sem_init(&turnstile.sem, 0), 0);
    thread_start(&canceller, cancel_at_turnstile, &turnstile);
    for (int i = 0; i < 2; i++)
        thread_start(&waiters[i], pass_turnstile, &turnstile);
    for (unsigned post = 0; post < turnstile.rounds; post++) {
        assert_int_equal(blocking_sem_post(&turnstile.sem), 0);
        if (post % 8 == 0)
            pause_ns(MICROSECONDS(20));
    }
    for (int i = 0; i < 2; i++)
        thread_join(&waiters[i]);
    thread_join(&canceller);
    unsigned taken = atomic_load(&turnstile.taken);
    assert_int_equal(taken + turnstile.sem.tokens, turnstile.rounds);
    assert_int_equal(taken + atomic_load(&turnstile.refused), 2 * turnstile.rounds);
    blocking_sem_destroy(&turnstile.sem);
}

/* Between a waiter's look and its sleep: what a test wants to happen there, or nothing. */
static void (*before_sleep)(void *arg);
static void *before_sleep_arg;

/* The linker's names: what the adapter calls, and the C library's. */
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until);
int __real_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until);

int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until)
{
    if (before_sleep)
        before_sleep(before_sleep_arg);
    return __real_pthread_cond_clockwait(cond, mutex, clock, until);
}

static void assert_ended_in_time(wait_fn wait, const canopy_ctx *ctx, struct subject *subject)
{
    int64_t until_ns = now_ns() + SOON;
    assert_int_equal(wait(ctx, subject, until_ns), -ECANCELED);
    assert_true(now_ns() < until_ns);
}

/* Lets the canceller come as far as it can while the waiter does not sleep yet. */
static void let_cancel(void *race)
{
    meet(&((struct race *)race)->meeting);
    pause_ns(MILLISECONDS(20));
}

TEST(a_cancel_just_before_the_sleep_is_not_slept_through)
{
    struct race race = {.meeting = {.parties = 2}};
    struct subject subject;
    subject_open(&subject);
    for (int i = 0; i < 2; i++) { /* poll sleeps elsewhere, on what stays readable */
        struct thread canceller;
        race.ctx = canopy_with_cancel(canopy_background());
        before_sleep = let_cancel;
        before_sleep_arg = &race;
        thread_start(&canceller, race_cancel, &race);
        assert_ended_in_time(waits[i], race.ctx, &subject);
        before_sleep = NULL;
        thread_join(&canceller);
        canopy_end(race.ctx);
    }
    subject_close(&subject);
}

/* Rounds of a wait beside a cancel. */
struct gap {
    struct meeting meeting;
    struct subject subject;
    canopy_ctx *ctx;
    wait_fn wait;
    unsigned rounds;
};

static void wait_each_round(void *arg)
{
    struct gap *gap = arg;
    for (unsigned round = 0; round < gap->rounds; round++) {
        meet(&gap->meeting);
        assert_ended_in_time(gap->wait, gap->ctx, &gap->subject);
        meet(&gap->meeting);
    }
}

TEST(no_cancel_is_slept_through)
{
    struct gap gap = {.meeting = {.parties = 2}, .rounds = SCALED(2000, 500)};
    subject_open(&gap.subject);
    for (int i = 0; i < WAITS; i++) {
        struct thread waiter;
        gap.wait = waits[i];
        thread_start(&waiter, wait_each_round, &gap);
        for (unsigned round = 0; round < gap.rounds; round++) {
            gap.ctx = canopy_with_cancel(canopy_background());
            assert_non_null(gap.ctx);
            meet(&gap.meeting);
            spin((round * 37) % 512);
            canopy_cancel(gap.ctx);
            meet(&gap.meeting);
            canopy_end(gap.ctx);
        }
        thread_join(&waiter);
    }
    subject_close(&gap.subject);
}
