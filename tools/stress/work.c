/*
 * work.c - what a thread of the soak does: operations drawn from the mix, each of
 * which checks what the interface promises about the contexts it made.
 *
 * Half of the contexts hang below the session, which all threads share, half
 * below a request of the thread's own, which is cancelled and replaced after
 * some hundred operations, with what is still alive below it.
 */
#include "soak.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH           1024 /* operations between two looks at what the threads share */
#define REQUEST_STEPS   512  /* operations that a request lives for */
#define PENDING         256  /* deadlines that a thread has running */
#define SHELF           8    /* contexts on their way to another thread */
#define TREE_BREADTH    3    /* children of the top; each has one of its own */
#define LATENCY_EVERY   64   /* of so many creations one is timed */
#define EXPIRE_EVERY    16   /* of so many deadlines one may expire */
#define LONG_NS         (3600 * NS_PER_SECOND)
#define SHORT_OCTAVES   14 /* a deadline that may expire: 1 us to 16 ms */
#define SHORTEST_NS     INT64_C(1000)
#define WAIT_TIMEOUT_NS INT64_C(20000)

const char *const operation_names[OP_COUNT] = {
    [OP_CREATE] = "create",     [OP_TREE] = "tree",         [OP_TIMEOUT] = "timeout",
    [OP_VALUE] = "value",       [OP_CALLBACK] = "callback", [OP_ANY] = "any",
    [OP_HANDOVER] = "handover", [OP_GUEST] = "guest",       [OP_RESET] = "reset",
    [OP_WAIT] = "wait",
};

/* A context with a deadline that may expire. */
struct pending {
    canopy_ctx *ctx;
    int64_t not_before_ns; /* the deadline is at or after this */
    int64_t at_latest_ns;  /* by then it has been noticed */
    bool in_request;
};

struct shelf {
    _Atomic(canopy_ctx *) places[SHELF];
};

/* A thread's own, for the time of a shift. */
struct worker {
    struct seat *seat;
    struct statistics *statistics;
    canopy_ctx *session;
    canopy_ctx *request;
    struct pending pending[PENDING];
};

/* A binding's value is the seat that made it. */
static void value_destroy(void *value)
{
    struct seat *seat = value;
    atomic_fetch_add_explicit(&seat->destroyed, 1, memory_order_relaxed);
}

static const canopy_key outer_key = {"outer", value_destroy};
static const canopy_key inner_key = {"inner", value_destroy};

static const canopy_cause request_over = {1, "the request is over", __FILE__, __LINE__};
static const canopy_cause tree_felled = {2, "the tree was felled", __FILE__, __LINE__};

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

/* xorshift64*: the top bits are the good ones. */
static uint32_t draw(struct seat *seat)
{
    uint64_t x = seat->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    seat->random = x;
    return (uint32_t)((x * UINT64_C(0x2545F4914F6CDD1D)) >> 32);
}

static bool one_in(struct seat *seat, uint32_t n)
{
    return draw(seat) % n == 0;
}

/* ------------------------------------------------------------------- make and end */

static canopy_ctx *made(struct worker *w, canopy_ctx *ctx)
{
    if (!ctx) {
        violation(w->seat->run, w->seat, __FILE__, __LINE__, "a constructor failed");
        _exit(EXIT_VIOLATION); /* nothing that follows would mean anything */
    }
    count(&w->statistics->totals[TOTAL_MADE], 1);
    return ctx;
}

static void released(struct worker *w, canopy_ctx *ctx)
{
    canopy_release(ctx);
    count(&w->statistics->totals[TOTAL_ENDED], 1);
}

static const canopy_ctx *some_parent(struct worker *w)
{
    return draw(w->seat) & 1 ? w->session : w->request;
}

static void expect_live(struct worker *w, const canopy_ctx *ctx)
{
    EXPECT(w->seat, canopy_err(ctx) == 0 && !canopy_cause_of(ctx), "done before anybody ended it");
}

static void expect_end(struct worker *w, const canopy_ctx *ctx, int err, const canopy_cause *cause)
{
    EXPECT(w->seat, canopy_done(ctx), "not done after its end");
    EXPECT(w->seat, canopy_err(ctx) == err, "not the err that it ended with");
    EXPECT(w->seat, canopy_cause_of(ctx) == cause, "not the cause that it ended with");
}

/* Cancels what nobody else ends. */
static void cancel(struct worker *w, canopy_ctx *ctx)
{
    expect_live(w, ctx);
    EXPECT(w->seat, canopy_cancel(ctx), "the only cancel did not win");
    expect_end(w, ctx, -ECANCELED, CANOPY_CANCELED);
}

/* --------------------------------------------------------------------- operations */

static size_t latency_bucket(uint64_t ns)
{
    if (ns < LATENCY_STEPS)
        return (size_t)ns;
    unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
    return (size_t)(octave - 2) * LATENCY_STEPS + ((ns >> (octave - 3)) & (LATENCY_STEPS - 1));
}

static void op_create(struct worker *w)
{
    const canopy_ctx *parent = some_parent(w);
    if (!one_in(w->seat, LATENCY_EVERY)) {
        canopy_ctx *ctx = made(w, canopy_with_cancel(parent));
        cancel(w, ctx);
        released(w, ctx);
        return;
    }
    int64_t begin_ns = now_ns();
    canopy_ctx *ctx = made(w, canopy_with_cancel(parent));
    canopy_cancel(ctx);
    released(w, ctx);
    uint64_t took_ns = (uint64_t)(now_ns() - begin_ns);
    count(&w->statistics->latency[latency_bucket(took_ns)], 1);
}

static void op_tree(struct worker *w)
{
    canopy_ctx *top = made(w, canopy_with_cancel(some_parent(w)));
    canopy_ctx *children[TREE_BREADTH], *grandchildren[TREE_BREADTH];
    canopy_ctx *late[TREE_BREADTH] = {NULL}; /* derived when nobody has its parent any more */
    bool early = one_in(w->seat, 2);
    for (size_t i = 0; i < TREE_BREADTH; i++) {
        children[i] = made(w, canopy_with_cancel(top));
        grandchildren[i] = made(w, canopy_with_cancel(children[i]));
        if (early) {
            released(w, children[i]);
            late[i] = made(w, canopy_with_cancel(children[i])); /* the grandchild keeps it */
        }
    }
    expect_live(w, grandchildren[0]);
    EXPECT(w->seat, canopy_cancel_cause(top, &tree_felled), "the only cancel did not win");
    for (size_t i = 0; i < TREE_BREADTH; i++) {
        expect_end(w, grandchildren[i], -ECANCELED, &tree_felled);
        if (!early) {
            expect_end(w, children[i], -ECANCELED, &tree_felled);
            released(w, children[i]);
        }
        released(w, grandchildren[i]);
        if (early) {
            expect_end(w, late[i], -ECANCELED, &tree_felled);
            released(w, late[i]);
        }
    }
    released(w, top);
}

/* Ends what may have expired, or been ended with the request, and tells which. */
static void settle(struct worker *w, struct pending *pending)
{
    canopy_ctx *ctx = pending->ctx;
    if (!ctx)
        return;
    bool done = canopy_done(ctx);
    bool won = canopy_cancel(ctx);
    int64_t seen_ns = now_ns();
    if (won) {
        EXPECT(w->seat, !done, "a cancel won after the end");
        EXPECT(w->seat, seen_ns < pending->at_latest_ns, "a deadline was not noticed");
        expect_end(w, ctx, -ECANCELED, CANOPY_CANCELED);
    } else if (canopy_err(ctx) == -ETIMEDOUT) {
        EXPECT(w->seat, seen_ns >= pending->not_before_ns, "done before its deadline");
        expect_end(w, ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        count(&w->statistics->totals[TOTAL_EXPIRED], 1);
    } else {
        EXPECT(w->seat, pending->in_request, "ended by nobody");
        expect_end(w, ctx, -ECANCELED, &request_over);
    }
    released(w, ctx);
    pending->ctx = NULL;
}

static void op_timeout(struct worker *w)
{
    const canopy_ctx *parent = some_parent(w);
    if (!one_in(w->seat, EXPIRE_EVERY)) {
        canopy_ctx *ctx = made(w, canopy_with_timeout(parent, LONG_NS));
        cancel(w, ctx);
        released(w, ctx);
        return;
    }
    struct pending *pending = &w->pending[draw(w->seat) % PENDING];
    settle(w, pending);
    int64_t timeout_ns = SHORTEST_NS << (draw(w->seat) % SHORT_OCTAVES);
    pending->not_before_ns = now_ns() + timeout_ns;
    pending->ctx = made(w, canopy_with_timeout(parent, timeout_ns));
    pending->at_latest_ns = now_ns() + timeout_ns + PATIENCE_NS;
    pending->in_request = parent == w->request;
}

static void op_value(struct worker *w)
{
    struct seat *seat = w->seat;
    canopy_ctx *outer = made(w, canopy_with_value(some_parent(w), &outer_key, seat));
    canopy_ctx *inner = made(w, canopy_with_value(outer, &inner_key, seat));
    canopy_ctx *ctx = made(w, canopy_with_cancel(inner));
    void *value = NULL;
    count(&w->statistics->totals[TOTAL_BOUND], 2);
    released(w, outer);
    EXPECT(seat, canopy_value(ctx, &outer_key) == seat, "a value was not found");
    cancel(w, ctx);
    expect_live(w, inner);
    EXPECT(seat, canopy_lookup(ctx, &inner_key, &value) && value == seat,
           "a value was not found after cancel");
    released(w, inner);
    released(w, ctx);
}

static void callback_ran(void *arg)
{
    unsigned *runs = arg;
    ++*runs;
}

static void op_callback(struct worker *w)
{
    canopy_ctx *ctx = made(w, canopy_with_cancel(some_parent(w)));
    canopy_callback callback;
    unsigned runs = 0;
    EXPECT(w->seat, canopy_after_func(ctx, &callback, callback_ran, &runs) == 0,
           "a callback was refused");
    bool stop = one_in(w->seat, 2);
    if (stop)
        EXPECT(w->seat, canopy_callback_stop(&callback), "stop lost against nobody");
    EXPECT(w->seat, runs == 0, "a callback ran early");
    cancel(w, ctx);
    EXPECT(w->seat, runs == (stop ? 0 : 1), "a callback did not run as often as it should");
    EXPECT(w->seat, !canopy_callback_stop(&callback), "a second stop won");
    EXPECT(w->seat, canopy_callback_join(&callback) == 0, "join failed");
    count(&w->statistics->totals[stop ? TOTAL_STOPPED : TOTAL_RAN], 1);
    released(w, ctx);
}

static void op_any(struct worker *w)
{
    canopy_ctx *first = made(w, canopy_with_cancel(some_parent(w)));
    canopy_ctx *second = made(w, canopy_with_cancel(some_parent(w)));
    const canopy_ctx *inputs[] = {first, second};
    canopy_ctx *merged = made(w, canopy_with_any(inputs, 2));
    if (one_in(w->seat, 2)) {
        cancel(w, second);
        expect_end(w, merged, -ECANCELED, CANOPY_CANCELED);
    } else {
        cancel(w, merged);
        expect_live(w, second);
    }
    expect_live(w, first);
    released(w, first);
    released(w, merged);
    released(w, second);
}

/* Done by whichever of those that may end what lies on the shelf. */
static void expect_ended(struct worker *w, const canopy_ctx *ctx)
{
    const canopy_cause *cause = canopy_cause_of(ctx);
    EXPECT(w->seat, canopy_done(ctx), "not done after its end");
    if (canopy_err(ctx) == -ETIMEDOUT)
        EXPECT(w->seat, cause == CANOPY_DEADLINE_EXCEEDED, "err and cause of different ends");
    else
        EXPECT(w->seat, cause == CANOPY_CANCELED || cause == &request_over,
               "err and cause of different ends");
}

/* Ends a context that another thread may have made. */
static void receive(struct worker *w, canopy_ctx *ctx)
{
    if (!ctx)
        return;
    canopy_cancel(ctx);
    expect_ended(w, ctx);
    released(w, ctx);
    count(&w->statistics->totals[TOTAL_HANDED_OVER], 1);
}

static _Atomic(canopy_ctx *) *some_place(struct worker *w)
{
    return &w->seat->run->shelf->places[draw(w->seat) % SHELF];
}

static void op_handover(struct worker *w)
{
    canopy_ctx *parent = made(w, canopy_with_cancel(some_parent(w)));
    int64_t timeout_ns = SHORTEST_NS << (draw(w->seat) % SHORT_OCTAVES);
    canopy_ctx *ctx =
        made(w, one_in(w->seat, EXPIRE_EVERY) ? canopy_with_timeout(parent, timeout_ns)
                                              : canopy_with_cancel(parent));
    released(w, parent);
    receive(w, atomic_exchange(some_place(w), ctx));
}

/*
 * Works below a context that goes back to the shelf, so that another thread, the
 * clock, or the end of its request may end it under our hands.
 */
static void op_guest(struct worker *w)
{
    _Atomic(canopy_ctx *) *place = some_place(w);
    canopy_ctx *ctx = atomic_exchange(place, NULL);
    if (!ctx)
        return;
    canopy_retain(ctx);
    receive(w, atomic_exchange(place, ctx));
    canopy_callback callback;
    unsigned runs = 0;
    canopy_ctx *child = made(w, canopy_with_cancel(ctx));
    EXPECT(w->seat, canopy_after_func(ctx, &callback, callback_ran, &runs) == 0,
           "a callback was refused");
    bool from_above = one_in(w->seat, 2);
    bool won = canopy_cancel(from_above ? ctx : child);
    expect_ended(w, child);
    if (from_above)
        EXPECT(w->seat, canopy_cause_of(child) == canopy_cause_of(ctx),
               "not the cause of what it hangs below");
    if (!won)
        count(&w->statistics->totals[TOTAL_OVERTAKEN], 1);
    bool stopped = canopy_callback_stop(&callback);
    EXPECT(w->seat, canopy_callback_join(&callback) == 0, "join failed");
    EXPECT(w->seat, runs == (stopped ? 0 : 1), "a callback did not run as often as it should");
    released(w, child);
    canopy_release(ctx);
}

static void op_reset(struct worker *w)
{
    canopy_ctx *ctx = made(w, canopy_with_timeout(some_parent(w), LONG_NS));
    EXPECT(w->seat, canopy_deadline(ctx, NULL), "no deadline where one was given");
    EXPECT(w->seat, canopy_try_reset(ctx), "a reset was refused");
    EXPECT(w->seat, !canopy_deadline(ctx, NULL), "a deadline outlived a reset");
    cancel(w, ctx);
    EXPECT(w->seat, !canopy_try_reset(ctx), "a reset revived what was done");
    released(w, ctx);
}

static void op_wait(struct worker *w)
{
    int64_t begin_ns = now_ns();
    canopy_ctx *ctx = made(w, canopy_with_timeout(some_parent(w), WAIT_TIMEOUT_NS));
    EXPECT(w->seat, canopy_wait(ctx, begin_ns + PATIENCE_NS), "a sleeper was not woken");
    EXPECT(w->seat, now_ns() - begin_ns >= WAIT_TIMEOUT_NS, "done before its deadline");
    expect_end(w, ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    count(&w->statistics->totals[TOTAL_EXPIRED], 1);
    released(w, ctx);
}

static void (*const operations[OP_COUNT])(struct worker *w) = {
    [OP_CREATE] = op_create,     [OP_TREE] = op_tree,         [OP_TIMEOUT] = op_timeout,
    [OP_VALUE] = op_value,       [OP_CALLBACK] = op_callback, [OP_ANY] = op_any,
    [OP_HANDOVER] = op_handover, [OP_GUEST] = op_guest,       [OP_RESET] = op_reset,
    [OP_WAIT] = op_wait,
};

/* ---------------------------------------------------------------------- the thread */

static void request_begin(struct worker *w)
{
    w->request = made(w, canopy_with_cancel(w->session));
}

static void request_end(struct worker *w)
{
    EXPECT(w->seat, canopy_cancel_cause(w->request, &request_over), "the only cancel did not win");
    for (size_t i = 0; i < PENDING; i++) {
        struct pending *pending = &w->pending[i];
        if (!pending->ctx || !pending->in_request)
            continue;
        EXPECT(w->seat, canopy_done(pending->ctx), "live below a context that is done");
        settle(w, pending);
    }
    released(w, w->request);
}

static void operate(struct worker *w)
{
    const struct run *run = w->seat->run;
    uint32_t drawn = draw(w->seat);
    unsigned op = 0;
    while (drawn > run->choice[op])
        op++;
    operations[op](w);
    count(&w->statistics->operations[op], 1);
}

void work(struct seat *seat)
{
    struct run *run = seat->run;
    struct worker w = {.seat = seat, .statistics = &seat->statistics, .session = run->session};
    const struct options *options = &run->options;
    atomic_uint_fast64_t *made_here = &w.statistics->totals[TOTAL_MADE];
    uint64_t told = atomic_load_explicit(made_here, memory_order_relaxed);
    uint64_t left = options->shift ? options->shift : UINT64_MAX;
    request_begin(&w);
    while (left > 0 && !atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        uint64_t batch = left < BATCH ? left : BATCH;
        for (uint64_t i = 1; i <= batch; i++) {
            operate(&w);
            if (i % REQUEST_STEPS == 0) {
                request_end(&w);
                request_begin(&w);
            }
        }
        left -= batch;
        uint64_t now_made = atomic_load_explicit(made_here, memory_order_relaxed);
        uint64_t all = atomic_fetch_add(&run->made, now_made - told) + (now_made - told);
        told = now_made;
        if (options->contexts && all >= options->contexts)
            atomic_store(&run->stop, true);
    }
    request_end(&w);
    for (size_t i = 0; i < PENDING; i++)
        settle(&w, &w.pending[i]);
    count(&w.statistics->totals[TOTAL_SHIFTS], 1);
}

struct shelf *shelf_new(void)
{
    return calloc(1, sizeof(struct shelf));
}

void shelf_clear(struct seat *seat, struct shelf *shelf)
{
    struct worker w = {.seat = seat, .statistics = &seat->statistics};
    for (size_t i = 0; i < SHELF; i++)
        receive(&w, atomic_exchange(&shelf->places[i], NULL));
    free(shelf);
}
