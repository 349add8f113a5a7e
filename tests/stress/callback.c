/*
 * callback.c - callbacks that are added (promise 28) and stopped (promise 29)
 * while their context ends.
 */
#include "stress.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How a context that carries callbacks ends in a round. */
typedef enum ending { BY_CANCEL, BY_CANCEL_ABOVE, BY_MOVE, BY_EXPIRY, ENDINGS } ending;

typedef struct ending_plan {
    ending how;
    canopy_ctx *above, *ctx, *below;
    int64_t deadline_ns;
} ending_plan;

static void plan_ending(stress_thread *t, ending_plan *plan)
{
    plan->how = stress_below(t, ENDINGS);
    if (plan->how == BY_EXPIRY && !stress.host_clock && !stress_once_in(t, 4))
        plan->how = BY_CANCEL; /* a real expiry takes long */
    plan->deadline_ns =
        plan->how == BY_EXPIRY ? stress_soon_ns(t) : stress_now_ns() + STRESS_HOUR_NS;
    plan->above = stress_made(t, canopy_with_cancel(stress.top));
    plan->ctx = stress_made(t, canopy_with_deadline(plan->above, plan->deadline_ns));
    plan->below = stress_made(t, canopy_with_cancel(plan->ctx));
}

static void carry_out(const ending_plan *plan)
{
    switch (plan->how) {
    case BY_CANCEL:
        CHECK(canopy_cancel(plan->ctx), "lost without a rival");
        break;
    case BY_CANCEL_ABOVE:
        CHECK(canopy_cancel(plan->above), "lost without a rival");
        break;
    case BY_MOVE:
        CHECK(canopy_set_deadline(plan->ctx, 1), "a live context's deadline does not move");
        break;
    default:
        stress_pass_soon(plan->deadline_ns);
        break;
    }
}

/* What ends on the clock's time is waited for; all else has ended by now. */
static bool is_late(const ending_plan *plan)
{
    return plan->how == BY_EXPIRY && !stress.host_clock;
}

static void drop_plan(const ending_plan *plan)
{
    canopy_end(plan->below);
    canopy_end(plan->ctx);
    canopy_end(plan->above);
}

/* ------------------------------------------------------------- promise 28 */

enum { P28_ADDED = 1, P28_BY_CANCELLER, P28_BY_ADDER, P28_BY_LIBRARY };

#define P28_MOST 12

typedef struct p28_entry {
    canopy_callback record;
    const canopy_ctx *on;
    int adder;
    atomic_uint runs;
    int runner; /* its stress_self */
} p28_entry;

static struct {
    ending_plan plan;
    canopy_ctx *layer;
    unsigned count[STRESS_MAX_THREADS];
    p28_entry entries[STRESS_MAX_THREADS][P28_MOST];
} p28;

static void p28_run(void *arg)
{
    p28_entry *entry = arg;

    CHECK(tree_look(entry->on).err, "a callback ran before its context was done");
    /* Only who adds to a done context may run ahead of the marking of what is below. */
    if (stress_self != entry->adder)
        CHECK(canopy_done(p28.plan.below), "a callback ran before the subtree was marked");
    CHECK(canopy_callback_join(&entry->record) == -EDEADLK, "joined from inside");
    CHECK(!canopy_callback_stop(&entry->record), "stopped from inside");
    entry->runner = stress_self;
    unsigned before = atomic_fetch_add(&entry->runs, 1);
    CHECK(before == 0, "a callback ran %u times", before + 1);
}

static void p28_begin(stress_thread *t)
{
    plan_ending(t, &p28.plan);
    p28.layer = stress_bind(t, p28.plan.ctx, NULL);
    for (unsigned who = 1; who < stress.threads; who++) {
        p28.count[who] = 1 + stress_below(t, P28_MOST);
        for (unsigned i = 0; i < p28.count[who]; i++)
            atomic_store(&p28.entries[who][i].runs, 0);
    }
}

static void p28_race(stress_thread *t)
{
    const canopy_ctx *targets[] = {p28.plan.ctx, p28.plan.ctx, p28.layer, p28.plan.below};

    if (t->who == 0) {
        stress_jitter(t);
        carry_out(&p28.plan);
        return;
    }
    for (unsigned i = 0; i < p28.count[t->who]; i++) {
        p28_entry *entry = &p28.entries[t->who][i];
        entry->on = targets[stress_below(t, 4)];
        entry->adder = (int)t->who;
        bool late = canopy_done(entry->on);
        int result = canopy_after_func(entry->on, &entry->record, p28_run, entry);
        CHECK(result == 0, "after_func returned %d", result);
        CHECK(!late || atomic_load(&entry->runs) == 1, "it did not run at once on a done context");
        stress_count(t, P28_ADDED);
    }
}

static void p28_end(stress_thread *t)
{
    for (unsigned who = 1; who < stress.threads; who++) {
        for (unsigned i = 0; i < p28.count[who]; i++) {
            p28_entry *entry = &p28.entries[who][i];
            if (is_late(&p28.plan))
                stress_await(&entry->runs, 1, "runs of a callback after expiry");
            CHECK(canopy_callback_join(&entry->record) == 0, "join failed");
            CHECK(atomic_load(&entry->runs) == 1, "a callback ran %u times",
                  atomic_load(&entry->runs));
            CHECK(entry->runner == 0 || entry->runner == (int)who || is_late(&p28.plan),
                  "thread %d ran a callback", entry->runner);
            stress_count(t, entry->runner == (int)who ? P28_BY_ADDER
                            : entry->runner == 0      ? P28_BY_CANCELLER
                                                      : P28_BY_LIBRARY);
        }
    }
    canopy_end(p28.layer);
    drop_plan(&p28.plan);
}

STRESS_SCENARIO(p28_callback_added_beside_cancel_runs_once, .threads = 2, .threads_min = 2,
                .host_clock = true, .begin = p28_begin, .race = p28_race, .end = p28_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P28_ADDED] = {"callbacks", true},
                             [P28_BY_CANCELLER] = {"run by the canceller", true},
                             [P28_BY_ADDER] = {"run by who added them", true},
                             [P28_BY_LIBRARY] = {"run by the library", true}});

/* ------------------------------------------------------------- promise 29 */

enum { P29_STOPPED = 1, P29_RAN, P29_STOPPED_INSIDE, P29_KEPT_ALIVE };

#define P29_MOST 10
#define P29_FREE 0xAA /* what a record that is free is filled with */

/* What is known of a callback outside its record, whose memory goes early. */
typedef struct p29_entry {
    canopy_callback *record;
    bool shared;    /* others may stop it as well, so that its record stays until the end */
    bool scribbled; /* the record is free and must stay as it is */
    unsigned spin;  /* how long it runs */
    struct p29_entry *victim; /* a shared one that it stops from inside, or NULL */
    atomic_uint runs, stops;
} p29_entry;

static struct {
    ending_plan plan;
    unsigned count[STRESS_MAX_THREADS];
    p29_entry entries[STRESS_MAX_THREADS][P29_MOST];
    atomic_uint stopped_inside;
} p29;

static bool p29_stop(p29_entry *entry)
{
    if (!canopy_callback_stop(entry->record))
        return false;
    CHECK(atomic_load(&entry->runs) == 0, "stop returned true, and the callback ran");
    unsigned before = atomic_fetch_add(&entry->stops, 1);
    CHECK(before == 0, "%u stops returned true", before + 1);
    return true;
}

static void p29_run(void *arg)
{
    p29_entry *entry = arg;

    CHECK(atomic_load(&entry->stops) == 0, "it runs, and stop returned true");
    if (entry->victim && p29_stop(entry->victim))
        atomic_fetch_add(&p29.stopped_inside, 1);
    for (volatile unsigned i = 0; i < entry->spin; i++)
        continue;
    CHECK(canopy_callback_join(entry->record) == -EDEADLK, "joined from inside");
    unsigned before = atomic_fetch_add(&entry->runs, 1);
    CHECK(before == 0, "a callback ran %u times", before + 1);
}

static void p29_arm(stress_thread *t, p29_entry *entry)
{
    canopy_ctx *own = NULL;
    const canopy_ctx *on = p29.plan.ctx;

    if (stress_once_in(t, 4))
        on = stress_once_in(t, 2) ? p29.plan.below : p29.plan.above;
    else if (stress_once_in(t, 3))
        on = own = stress_made(t, canopy_with_cancel(p29.plan.ctx));
    entry->record = malloc(sizeof *entry->record);
    CHECK(entry->record, "no memory");
    memset(entry->record, 0x55, sizeof *entry->record); /* it need not be initialised */
    int result = canopy_after_func(on, entry->record, p29_run, entry);
    CHECK(result == 0, "after_func returned %d", result);
    if (own) {
        canopy_release(own);
        stress_count(t, P29_KEPT_ALIVE);
    }
}

static void p29_begin(stress_thread *t)
{
    p29_entry *shared = NULL;

    plan_ending(t, &p29.plan);
    for (unsigned who = 1; who < stress.threads; who++) {
        p29.count[who] = 1 + stress_below(t, P29_MOST);
        for (unsigned i = 0; i < p29.count[who]; i++) {
            p29_entry *entry = &p29.entries[who][i];
            entry->shared = stress_once_in(t, 3);
            entry->scribbled = false;
            entry->spin = stress_once_in(t, 8) ? stress_below(t, 4000) : 0;
            entry->victim = stress_once_in(t, 2) ? shared : NULL;
            atomic_store(&entry->runs, 0);
            atomic_store(&entry->stops, 0);
            /* A deadline may pass at any time from here on: victims are armed already. */
            p29_arm(t, entry);
            if (entry->shared)
                shared = entry;
        }
    }
}

/* The record is the caller's again: the library may neither write nor read it any more. */
static void p29_reuse(stress_thread *t, p29_entry *entry)
{
    memset(entry->record, P29_FREE, sizeof *entry->record);
    if (stress_once_in(t, 2)) {
        free(entry->record);
        entry->record = NULL;
    } else {
        entry->scribbled = true;
    }
}

static void p29_race(stress_thread *t)
{
    unsigned order[P29_MOST];
    unsigned rival = (t->who + stress.threads - 1) % stress.threads;

    for (unsigned i = 0; rival > 0 && i < p29.count[rival]; i++)
        if (p29.entries[rival][i].shared && stress_once_in(t, 2))
            p29_stop(&p29.entries[rival][i]);
    if (t->who == 0) {
        carry_out(&p29.plan);
        return;
    }
    stress_shuffle(t, order, p29.count[t->who]);
    for (unsigned i = 0; i < p29.count[t->who]; i++) {
        p29_entry *entry = &p29.entries[t->who][order[i]];
        if (!p29_stop(entry)) {
            CHECK(canopy_callback_join(entry->record) == 0, "join failed");
            CHECK(entry->shared || atomic_load(&entry->runs) == 1,
                  "stop returned false, and after the join it has not run");
        }
        CHECK(!canopy_callback_stop(entry->record), "a second stop returned true");
        if (!entry->shared)
            p29_reuse(t, entry);
    }
}

static void p29_end(stress_thread *t)
{
    for (unsigned who = 1; who < stress.threads; who++) {
        for (unsigned i = 0; i < p29.count[who]; i++) {
            p29_entry *entry = &p29.entries[who][i];
            unsigned runs = atomic_load(&entry->runs);
            unsigned stops = atomic_load(&entry->stops);
            CHECK(runs + stops == 1, "%u runs, %u stops", runs, stops);
            stress_count(t, runs ? P29_RAN : P29_STOPPED);
            const unsigned char *bytes = (const unsigned char *)entry->record;
            for (size_t k = 0; entry->scribbled && k < sizeof *entry->record; k++)
                CHECK(bytes[k] == P29_FREE, "byte %zu of a record that is free changed", k);
            free(entry->record);
        }
    }
    t->counts[P29_STOPPED_INSIDE] += atomic_exchange(&p29.stopped_inside, 0);
    drop_plan(&p29.plan);
}

STRESS_SCENARIO(p29_stop_beside_cancel, .threads = 3, .threads_min = 2, .host_clock = true,
                .begin = p29_begin, .race = p29_race, .end = p29_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P29_STOPPED] = {"stopped", true},
                             [P29_RAN] = {"ran", true},
                             [P29_STOPPED_INSIDE] = {"stopped by another callback", true},
                             [P29_KEPT_ALIVE] = {"contexts kept by a callback alone", true}});
