/*
 * wait.c - threads that go to sleep while their context ends (promise 33): in
 * every way there is, with signal handlers that run in the middle of it; and
 * again and again in quick succession, to meet the few instructions between
 * check and sleep.
 */
#include "stress.h"
#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { P33_WOKEN = 1, P33_TIMED_OUT, P33_SIGNALS, P33_WAIT, P33_WAIT_ANY, P33_SLEEP, P33_FD };

#define P33_MANY   80 /* more than wait_any has records for */
#define P33_SIGNAL SIGUSR1

static struct {
    canopy_ctx *above, *ctx, *layer; /* a wait is for ctx or layer, the cancel of above or ctx */
    canopy_ctx *cancelled;           /* or NULL: nothing ends in this round, and waits run out */
    canopy_ctx *others[P33_MANY];
    unsigned others_count;
    int payload; /* plain: done must publish it */
    int expected;
    pthread_t ids[STRESS_MAX_THREADS];
    atomic_uint arrived; /* threads whose id is known */
    atomic_uint waiting; /* waiters that have not returned */
} p33;

/* One wait: its end is certain where only the cancel can bring it. */
typedef struct p33_case {
    const canopy_ctx *ctx;
    int64_t until_ns;
    bool certain;
} p33_case;

static _Thread_local volatile sig_atomic_t p33_inside, p33_handled;

/* All that a handler may call. */
static void p33_handle(int number)
{
    int saved = errno;

    (void)number;
    if (p33_inside) {
        p33_handled++;
        bool done = canopy_done(p33.layer);
        int err = canopy_err(p33.layer);
        const canopy_cause *cause = canopy_cause_of(p33.layer);
        CHECK(!done || (err && cause), "a handler saw done with err %d", err);
        CHECK(canopy_value(p33.layer, &stress_key) == &p33, "a handler missed a value");
    }
    errno = saved;
}

static void p33_open(void)
{
    /* Without SA_RESTART, so that system calls do end early. */
    struct sigaction action = {.sa_handler = p33_handle};
    sigaction(P33_SIGNAL, &action, NULL);
}

static void p33_begin(stress_thread *t)
{
    p33.above = stress_made(t, canopy_with_cancel(stress.top));
    p33.ctx = stress_made(t, canopy_with_cancel(p33.above));
    p33.layer = stress_bind(t, p33.ctx, &p33);
    p33.cancelled = stress_once_in(t, 2) ? p33.ctx : p33.above;
    if (stress_once_in(t, 16))
        p33.cancelled = NULL;
    p33.others_count = stress_once_in(t, 32) ? P33_MANY : stress_below(t, 6);
    for (unsigned i = 0; i < p33.others_count; i++)
        p33.others[i] = stress_made(t, canopy_with_cancel(stress.top));
    p33.expected = (int)stress_random(t);
    p33.payload = ~p33.expected;
    atomic_store(&p33.arrived, 0);
    atomic_store(&p33.waiting, stress.threads - 1);
}

static void p33_woken(stress_thread *t, const p33_case *wait)
{
    CHECK(tree_look(wait->ctx).err, "woken, and the context is live");
    CHECK(p33.payload == p33.expected, "what was written before the cancel is missing");
    stress_count(t, P33_WOKEN);
}

static void p33_timed_out(stress_thread *t, const p33_case *wait)
{
    int64_t early_ns = wait->until_ns - stress_now_ns();
    CHECK(early_ns <= 0, "a wait ended %lld ns early", (long long)early_ns);
    CHECK(!wait->certain, "a lost wake-up");
    stress_count(t, P33_TIMED_OUT);
}

static void p33_wait(stress_thread *t, const p33_case *wait)
{
    stress_count(t, P33_WAIT);
    if (canopy_wait(wait->ctx, wait->until_ns))
        p33_woken(t, wait);
    else
        p33_timed_out(t, wait);
}

static void p33_sleep(stress_thread *t, const p33_case *wait)
{
    bool for_ever = wait->until_ns == CANOPY_NEVER;

    stress_count(t, P33_SLEEP);
    if (canopy_sleep(wait->ctx, for_ever ? CANOPY_NEVER : wait->until_ns - stress_now_ns()) != 0)
        p33_woken(t, wait);
    else
        p33_timed_out(t, wait);
}

static void p33_wait_any(stress_thread *t, const p33_case *wait)
{
    const canopy_ctx *list[P33_MANY + 1];
    unsigned n = p33.others_count;
    unsigned place = stress_below(t, n + 1);

    for (unsigned i = 0; i < n; i++)
        list[i] = p33.others[i];
    list[n] = wait->ctx;
    if (place < n) {
        list[n] = list[place];
        list[place] = wait->ctx;
    }
    stress_count(t, P33_WAIT_ANY);
    int result = canopy_wait_any(list, n + 1, wait->until_ns);
    CHECK(result == (int)place || result == -ETIME, "wait_any returned %d, not %u", result, place);
    if (result >= 0)
        p33_woken(t, wait);
    else
        p33_timed_out(t, wait);
}

static void p33_poll(stress_thread *t, const p33_case *wait)
{
    struct pollfd waited = {.fd = canopy_done_fd(wait->ctx), .events = POLLIN};
    int ready;

    CHECK(waited.fd >= 0, "no fd: %d", waited.fd);
    stress_count(t, P33_FD);
    do {
        int64_t left_ns = wait->until_ns - stress_now_ns();
        int left_ms = left_ns < 0 ? 0 : (int)(left_ns / 1000000 + 1);
        ready = poll(&waited, 1, wait->until_ns == CANOPY_NEVER ? -1 : left_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready > 0)
        p33_woken(t, wait);
    else
        p33_timed_out(t, wait);
}

/* Sends signals into the waits, and ends the context in between. */
static void p33_disturb(stress_thread *t)
{
    unsigned before = stress_below(t, 4);
    bool cancels = p33.cancelled != NULL;

    while (atomic_load(&p33.arrived) < stress.threads - 1)
        sched_yield();
    for (unsigned sent = 0; cancels || atomic_load(&p33.waiting) > 0; sent++) {
        stress_jitter(t);
        if (sent < 2 * before)
            pthread_kill(p33.ids[1 + stress_below(t, stress.threads - 1)], P33_SIGNAL);
        if (cancels && sent >= before) {
            p33.payload = p33.expected;
            CHECK(canopy_cancel(p33.cancelled), "lost without a rival");
            cancels = false;
        }
    }
}

static void p33_race(stress_thread *t)
{
    static void (*const ways[])(stress_thread *, const p33_case *) = {
        p33_wait, p33_wait, p33_sleep, p33_wait_any, p33_wait_any, p33_poll};

    if (t->who == 0) {
        p33_disturb(t);
        return;
    }
    p33_case wait = {.ctx = stress_once_in(t, 2) ? p33.layer : p33.ctx};
    wait.certain = p33.cancelled && !stress_once_in(t, 8);
    if (!wait.certain)
        wait.until_ns = stress_now_ns() + stress_below(t, 200000);
    else
        wait.until_ns = stress_once_in(t, 2) ? CANOPY_NEVER : stress_limit_ns();

    p33.ids[t->who] = pthread_self();
    atomic_fetch_add(&p33.arrived, 1);
    stress_jitter(t);
    p33_inside = 1;
    ways[stress_below(t, 6)](t, &wait);
    p33_inside = 0;
    t->counts[P33_SIGNALS] += (uint64_t)p33_handled;
    p33_handled = 0;
    atomic_fetch_sub(&p33.waiting, 1);
}

static void p33_end(stress_thread *t)
{
    (void)t;
    CHECK(canopy_done(p33.ctx) == (p33.cancelled != NULL), "the wrong context is done");
    for (unsigned i = 0; i < p33.others_count; i++) {
        CHECK(!canopy_done(p33.others[i]), "a waited for context has ended with another");
        canopy_end(p33.others[i]);
    }
    canopy_end(p33.layer);
    canopy_end(p33.ctx);
    canopy_end(p33.above);
}

STRESS_SCENARIO(p33_no_lost_wake_up_under_signals, .threads = 3, .threads_min = 2, .open = p33_open,
                .begin = p33_begin, .race = p33_race, .end = p33_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P33_WOKEN] = {"woken", true},
                             [P33_TIMED_OUT] = {"run out of time", true},
                             [P33_SIGNALS] = {"signals inside a wait", true},
                             [P33_WAIT] = {"by wait", true},
                             [P33_WAIT_ANY] = {"by wait_any", true},
                             [P33_SLEEP] = {"by sleep", true},
                             [P33_FD] = {"by fd", true}});

/* ---------------------------------------------------------------- pursuit */

enum { CHASE_WAITED = 1, CHASE_FOUND_DONE };

#define CHASE_LENGTH 64

/* The waiters go from context to context, and the canceller follows at their heels. */
static struct {
    canopy_ctx *ctxs[CHASE_LENGTH], *bystander;
    atomic_uint reached; /* contexts that thread 1 has come to */
} chase;

static void chase_begin(stress_thread *t)
{
    chase.bystander = stress_made(t, canopy_with_cancel(stress.top));
    for (unsigned i = 0; i < CHASE_LENGTH; i++)
        chase.ctxs[i] = stress_made(t, canopy_with_cancel(stress.top));
    atomic_store(&chase.reached, 0);
}

static void chase_race(stress_thread *t)
{
    for (unsigned i = 0; i < CHASE_LENGTH; i++) {
        canopy_ctx *ctx = chase.ctxs[i];
        const canopy_ctx *both[] = {chase.bystander, ctx};
        bool woken;

        if (t->who == 0) {
            while (atomic_load(&chase.reached) <= i)
                continue; /* anything slower would come too late */
            stress_jitter(t);
            CHECK(canopy_cancel(ctx), "lost without a rival");
            continue;
        }
        if (t->who == 1)
            atomic_store(&chase.reached, i + 1);
        if (stress_once_in(t, 2))
            stress_jitter(t);
        stress_count(t, canopy_done(ctx) ? CHASE_FOUND_DONE : CHASE_WAITED);
        if (stress_once_in(t, 4))
            woken = canopy_wait_any(both, 2, stress_limit_ns()) == 1;
        else
            woken = canopy_wait(ctx, stress_once_in(t, 2) ? CANOPY_NEVER : stress_limit_ns());
        CHECK(woken, "a lost wake-up");
        CHECK(canopy_done(ctx), "woken, and the context is live");
    }
}

static void chase_end(stress_thread *t)
{
    (void)t;
    for (unsigned i = 0; i < CHASE_LENGTH; i++) {
        CHECK(canopy_done(chase.ctxs[i]), "a context came back to life");
        canopy_end(chase.ctxs[i]);
    }
    canopy_end(chase.bystander);
}

STRESS_SCENARIO(p33_waits_chased_by_cancels, .threads = 2, .threads_min = 2, .begin = chase_begin,
                .race = chase_race, .end = chase_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [CHASE_WAITED] = {"waited for", true},
                             [CHASE_FOUND_DONE] = {"found done", true}});
