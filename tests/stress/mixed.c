/*
 * mixed.c - everything at once: contexts of all kinds that threads lay on a
 * shelf and take from it, threads that come for one context and go, and beside
 * them deadlines, callbacks, waits and groups. A cancel of the session that it
 * all hangs from ends each round, in the middle of it now and then.
 */
#include "stress.h"
#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    MIXED_TAKEN = 1,
    MIXED_ENDED,
    MIXED_EXPIRED,
    MIXED_RAN,
    MIXED_STOPPED,
    MIXED_GROUPS,
    MIXED_GUESTS,
    MIXED_RESET,
    MIXED_WOKEN
};

#define MIXED_SHELF       24
#define MIXED_STEPS       48
#define MIXED_DEPTH       12
#define MIXED_GUESTS_MOST 4

/* A context on its way from thread to thread, and what is known of it. */
typedef struct parcel {
    canopy_ctx *ctx;
    unsigned depth;
    bool layer;    /* has no end of its own */
    bool detached; /* the session's end need not reach it */
    void *value;   /* what stress_key is bound to */
} parcel;

/* A thread that comes for one parcel and goes. */
typedef struct mixed_guest {
    pthread_t id;
    stress_thread t;
    parcel *parcel;
} mixed_guest;

static struct {
    canopy_ctx *session;
    bool interrupted; /* one of the threads cancels the session before the round is over */
    _Atomic(parcel *) shelf[MIXED_SHELF];
} mixed;

/* -------------------------------------------------------------- the shelf */

static void finish(stress_thread *t, parcel *p)
{
    if (p && stress_once_in(t, 2))
        canopy_end(p->ctx);
    else if (p)
        canopy_release(p->ctx);
    free(p);
}

static void put(stress_thread *t, parcel *p)
{
    finish(t, atomic_exchange(&mixed.shelf[stress_below(t, MIXED_SHELF)], p));
}

static parcel *take(stress_thread *t)
{
    parcel *p = atomic_exchange(&mixed.shelf[stress_below(t, MIXED_SHELF)], NULL);
    if (p)
        stress_count(t, MIXED_TAKEN);
    return p;
}

/* Makes `p` a merge of `first` and what lies on the shelf. */
static void merge_from_shelf(stress_thread *t, parcel *p, const canopy_ctx *first)
{
    parcel *other = take(t);
    const canopy_ctx *inputs[] = {first, other ? other->ctx : canopy_background()};

    p->ctx = stress_made(t, canopy_with_any(inputs, 2));
    if (other) {
        p->detached &= other->detached;
        p->depth += other->depth;
        put(t, other);
    }
}

/* A new parcel below `from`, or below the session where that is NULL or deep enough. */
static parcel *derive(stress_thread *t, const parcel *from)
{
    const parcel session = {.ctx = mixed.session};
    parcel *p = malloc(sizeof *p);

    CHECK(p, "no memory");
    if (!from || from->depth > MIXED_DEPTH)
        from = &session;
    *p = (parcel){NULL, from->depth + 1, false, from->detached, from->value};
    switch (stress_below(t, 8)) {
    case 0:
        p->ctx = stress_made(t, canopy_without_cancel(from->ctx));
        p->layer = p->detached = true;
        break;
    case 1:
        p->value = (void *)(uintptr_t)stress_random(t);
        p->ctx = stress_bind(t, from->ctx, p->value);
        p->layer = true;
        break;
    case 2:
        p->ctx = stress_made(t, canopy_with_deadline(from->ctx, stress_soon_ns(t)));
        break;
    case 3:
        p->ctx = stress_made(t, canopy_with_timeout(from->ctx, STRESS_HOUR_NS));
        break;
    case 4:
        merge_from_shelf(t, p, from->ctx);
        break;
    default:
        p->ctx = stress_made(t, canopy_with_cancel(from->ctx));
        break;
    }
    return p;
}

/* ------------------------------------------------- what is done to a parcel */

static void look(stress_thread *t, const parcel *p)
{
    int64_t deadline_ns = 0;
    void *value = NULL;
    tree_sight sight = tree_look(p->ctx);

    CHECK(canopy_lookup(p->ctx, &stress_key, &value) == (p->value != NULL), "lookup is wrong");
    CHECK(value == p->value, "the value is %p, not %p", value, p->value);
    bool limited = canopy_deadline(p->ctx, &deadline_ns);
    CHECK(limited == (deadline_ns != CANOPY_NEVER), "deadline %lld", (long long)deadline_ns);
    int err = canopy_err_at(p->ctx, stress_now_ns());
    CHECK(!sight.err || err == sight.err, "err is %d, and %d now", sight.err, err);
    if (sight.err == -ETIMEDOUT)
        stress_count(t, MIXED_EXPIRED);
}

static void cancel(stress_thread *t, const parcel *p)
{
    bool won = canopy_cancel(p->ctx);
    CHECK(!won || !p->layer, "a layer was cancelled");
    CHECK(canopy_done(p->ctx) || p->layer, "live after a cancel");
    t->counts[MIXED_ENDED] += won;
}

static void move(stress_thread *t, const parcel *p)
{
    const int64_t choices_ns[] = {1, stress_soon_ns(t), stress_soon_ns(t),
                                  stress_now_ns() + STRESS_HOUR_NS, CANOPY_NEVER};
    int64_t deadline_ns = choices_ns[stress_below(t, 5)];

    bool moved = canopy_set_deadline(p->ctx, deadline_ns);
    CHECK(!moved || !p->layer, "the deadline of a layer was moved");
    CHECK(deadline_ns != 1 || p->layer || canopy_done(p->ctx), "live after a deadline in the past");
}

static void wait(stress_thread *t, const parcel *p)
{
    const canopy_ctx *both[] = {p->ctx, mixed.session};
    int64_t until_ns = stress_soon_ns(t);
    int index = canopy_wait_any(both, 2, until_ns);

    CHECK(index == -ETIME || canopy_done(both[index]), "wait_any woke for a live one");
    bool done = canopy_wait(p->ctx, until_ns);
    CHECK(done ? canopy_done(p->ctx) : stress_now_ns() >= until_ns, "wait returned %d", done);
    struct pollfd polled = {.fd = canopy_done_fd(p->ctx), .events = POLLIN};
    CHECK(polled.fd >= 0, "no fd: %d", polled.fd);
    int ready = poll(&polled, 1, 0);
    CHECK(ready <= 0 ? !done : canopy_done(p->ctx), "the fd says %d", ready);
    t->counts[MIXED_WOKEN] += done;
}

static void count_run(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void call_back(stress_thread *t, const parcel *p)
{
    atomic_uint runs = 0;
    canopy_callback record;

    CHECK(canopy_after_func(p->ctx, &record, count_run, &runs) == 0, "no callback");
    stress_jitter(t);
    bool stopped = canopy_callback_stop(&record);
    CHECK(canopy_callback_join(&record) == 0, "join failed");
    CHECK(atomic_load(&runs) == !stopped, "stopped is %d, and it ran %u times", stopped,
          atomic_load(&runs));
    stress_count(t, stopped ? MIXED_STOPPED : MIXED_RAN);
}

static int member_waits(const canopy_ctx *ctx, void *arg)
{
    (void)arg;
    CHECK(canopy_wait(ctx, stress_limit_ns()), "a group's member was forgotten");
    return 2;
}

static int member_fails(const canopy_ctx *ctx, void *arg)
{
    return canopy_sleep(ctx, *(const int64_t *)arg) == 0 ? 1 : 2;
}

static void gather(stress_thread *t, const parcel *p)
{
    int64_t pause_ns = stress_below(t, 50000);
    canopy_group group;

    CHECK(canopy_group_init(&group, p->ctx, 0) == 0, "no group");
    CHECK(canopy_group_go(&group, member_waits, NULL) == 0, "no member");
    CHECK(canopy_group_go(&group, member_fails, &pause_ns) == 0, "no member");
    int result = canopy_group_wait(&group);
    CHECK(result == 1 || result == 2, "the group's result is %d", result);
    stress_count(t, MIXED_GROUPS);
}

static void reset(stress_thread *t, const parcel *p)
{
    canopy_ctx *own = stress_made(t, canopy_with_deadline(p->ctx, stress_soon_ns(t)));

    while (canopy_try_reset(own) && !stress_once_in(t, 4)) {
        stress_count(t, MIXED_RESET);
        canopy_set_deadline(own, stress_soon_ns(t));
    }
    /* Refused while its deadline is firing, though it may not be done at that very moment. */
    CHECK(canopy_try_reset(own) || canopy_wait(own, stress_limit_ns()),
          "live, unshared, and yet not reset");
    canopy_end(own);
}

static void share(stress_thread *t, const parcel *p)
{
    put(t, derive(t, p));
}

static void step(stress_thread *t, parcel *p)
{
    static void (*const deeds[])(stress_thread *, const parcel *) = {
        share, share, share, share, share, share, cancel, move, wait, call_back, call_back, reset};

    look(t, p);
    if (stress_once_in(t, 64))
        gather(t, p);
    else
        deeds[stress_below(t, sizeof deeds / sizeof *deeds)](t, p);
    look(t, p);
    if (stress_once_in(t, 3))
        finish(t, p);
    else
        put(t, p);
}

/* ---------------------------------------------------------------- the round */

static void *visit(void *arg)
{
    mixed_guest *guest = arg;
    share(&guest->t, guest->parcel);
    step(&guest->t, guest->parcel);
    return NULL;
}

static void invite(stress_thread *t, mixed_guest *guest, parcel *p)
{
    guest->parcel = p;
    guest->t = (stress_thread){.who = t->who, .random = stress_random(t)};
    CHECK(pthread_create(&guest->id, NULL, visit, guest) == 0, "no thread");
    stress_count(t, MIXED_GUESTS);
}

static void see_off(stress_thread *t, mixed_guest *guest)
{
    pthread_join(guest->id, NULL);
    for (unsigned i = 0; i < STRESS_MAX_COUNTS; i++)
        t->counts[i] += guest->t.counts[i];
}

static void mixed_begin(stress_thread *t)
{
    mixed.session = stress_made(t, canopy_with_cancel(stress.top));
    mixed.interrupted = stress_once_in(t, 2);
}

static void mixed_race(stress_thread *t)
{
    mixed_guest guests[MIXED_GUESTS_MOST];
    unsigned guests_count = 0;
    unsigned last = stress_below(t, MIXED_STEPS);

    for (unsigned i = 0; i < MIXED_STEPS; i++) {
        parcel *p = take(t);
        if (!p)
            put(t, derive(t, NULL));
        else if (guests_count < MIXED_GUESTS_MOST && stress_once_in(t, 32))
            invite(t, &guests[guests_count++], p);
        else
            step(t, p);
        if (mixed.interrupted && t->who == 0 && i == last)
            CHECK(canopy_cancel(mixed.session), "the session ended by itself");
    }
    while (guests_count > 0)
        see_off(t, &guests[--guests_count]);
}

static void mixed_end(stress_thread *t)
{
    CHECK(canopy_cancel(mixed.session) != mixed.interrupted, "two cancels, and not one winner");
    for (unsigned i = 0; i < MIXED_SHELF; i++) {
        parcel *p = atomic_exchange(&mixed.shelf[i], NULL);
        if (!p)
            continue;
        CHECK(canopy_done(p->ctx) || p->detached, "the session's end did not reach a parcel");
        look(t, p);
        finish(t, p);
    }
    canopy_release(mixed.session);
}

STRESS_SCENARIO(mixed_everything_at_once, .threads = 4, .threads_min = 2, .begin = mixed_begin,
                .race = mixed_race, .end = mixed_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [MIXED_TAKEN] = {"handed over", true},
                             [MIXED_ENDED] = {"cancelled", true},
                             [MIXED_EXPIRED] = {"seen expired", true},
                             [MIXED_RAN] = {"callbacks run", true},
                             [MIXED_STOPPED] = {"stopped", true},
                             [MIXED_GROUPS] = {"groups", true},
                             [MIXED_GUESTS] = {"passing threads", true},
                             [MIXED_RESET] = {"reset", true},
                             [MIXED_WOKEN] = {"woken", true}});
