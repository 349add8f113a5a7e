/*
 * compare.c - what the library says beside what the model says. See run.h.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Bindings never change: it is enough to look at them now and then. */
#define CALLS_A_LOOK_AT_VALUES 8
/* Of a crowd so many are looked at after a call, others each time. */
#define CROWD_SAMPLE 24

static const char *cause_text(const canopy_cause *cause)
{
    return cause ? cause->text : "none";
}

/* The library makes a signal's cause: the model has one of its own in its place. */
static const canopy_cause *cause_of(const canopy_ctx *ctx)
{
    const canopy_cause *cause = canopy_cause_of(ctx);
    for (int i = 0; cause && i < RUN_SIGNALS; i++)
        if (cause->code == run_signal_causes[i].code)
            return &run_signal_causes[i];
    return cause;
}

static void compare_state(const struct run *run, int i, const canopy_ctx *ctx)
{
    const struct model *model = &run->model;
    int err = canopy_err(ctx);
    if (err != model_err(model, i) || canopy_done(ctx) != (err != 0))
        run_fail(run, "node %d: err is %d, done %d, and should be %d", i, err, canopy_done(ctx),
                 model_err(model, i));
    const canopy_cause *cause = cause_of(ctx);
    if (cause != model_cause(model, i))
        run_fail(run, "node %d: its cause is %s, and should be %s", i, cause_text(cause),
                 cause_text(model_cause(model, i)));
}

static void compare_deadline(const struct run *run, int i, int64_t expected_ns)
{
    int64_t deadline_ns = 0;
    bool has = canopy_deadline(run->ctx_of[i], &deadline_ns);
    if (has != (expected_ns != CANOPY_NEVER) || deadline_ns != expected_ns)
        run_fail(run, "node %d: its deadline is %lld (%d), and should be %lld", i,
                 (long long)deadline_ns, has, (long long)expected_ns);
}

static void compare_values(const struct run *run, int i)
{
    for (int key = 0; key < RUN_KEYS; key++) {
        int untouched;
        void *value = &untouched, *expected = &untouched;
        bool found = canopy_lookup(run->ctx_of[i], &run_keys[key], &value);
        bool should = model_lookup(&run->model, i, &run_keys[key], &expected);
        void *plain = canopy_value(run->ctx_of[i], &run_keys[key]);
        if (found != should || value != expected || plain != (found ? value : NULL))
            run_fail(run, "node %d: the value of key %d differs (found %d, should be %d)", i, key,
                     found, should);
    }
}

static void compare_fds(const struct run *run, const bool held[MODEL_NODES])
{
    struct pollfd pollers[MODEL_NODES];
    int nodes[MODEL_NODES], count = 0;
    for (int i = 0; i < run->model.count; i++) {
        if (!held[i] || run->fd_of[i] < 0)
            continue;
        nodes[count] = i;
        pollers[count++] = (struct pollfd){.fd = run->fd_of[i], .events = POLLIN};
    }
    if (count > 0)
        poll(pollers, (nfds_t)count, 0);
    for (int k = 0; k < count; k++) {
        bool done = model_err(&run->model, nodes[k]) != 0;
        if (pollers[k].revents != (done ? POLLIN : 0))
            run_fail(run, "node %d: its fd polls as %x, and it is %s", nodes[k],
                     (unsigned)pollers[k].revents, done ? "done" : "live");
    }
}

static void compare_crowd(const struct run *run, const struct crowd *crowd)
{
    unsigned stride = crowd->count / CROWD_SAMPLE + 1;
    for (unsigned k = run->calls % stride; k < crowd->count; k += stride)
        compare_state(run, crowd->node, crowd->members[k]);
}

void run_compare(struct run *run)
{
    bool held[MODEL_NODES];
    int64_t deadlines_ns[MODEL_NODES];
    run_settle(run);
    model_held(&run->model, held);
    model_deadlines(&run->model, deadlines_ns);
    for (int i = 0; i < run->model.count; i++) {
        if (!held[i])
            continue;
        compare_state(run, i, run->ctx_of[i]);
        compare_deadline(run, i, deadlines_ns[i]);
        if (i == run->model.count - 1 || run->calls % CALLS_A_LOOK_AT_VALUES == 0)
            compare_values(run, i);
    }
    compare_fds(run, held);
    run_inspect(run, held);
    for (int i = 0; i < RUN_CROWDS; i++)
        compare_crowd(run, &run->crowds[i]);
}

/* ------------------------------------------------------------------------- time */

/* What was seen of a node whose end the interface leaves open. */
static const canopy_cause *observed(void *arg, int node)
{
    const struct run *run = arg;
    return cause_of(run->ctx_of[node]);
}

void run_settle(struct run *run)
{
    if (!run->advancing)
        return;
    run->advancing = false;
    if (!model_advance(&run->model, run->advance_ns, observed, run))
        run_fail(run, "an expiry gave a cause that is neither a due parent's nor its own");
    run_foresee(run);
}

/* --------------------------------------------------------------------- callbacks */

void run_foresee(struct run *run)
{
    for (int i = 0; i < RUN_CALLBACKS; i++) {
        struct callback *callback = &run->callbacks[i];
        if (callback->state != CALLBACK_ARMED || !model_err(&run->model, callback->node))
            continue;
        callback->state = CALLBACK_BOUND;
        callback->bound_depth = run->depth;
        run->model.nodes[callback->node].armed--;
    }
    bool held[MODEL_NODES];
    model_held(&run->model, held);
    for (int i = 0; i < run->model.count; i++) {
        if (held[i])
            continue;
        run->fd_of[i] = -1;
        atomic_store(&run->bindings[i].may_go, true);
    }
}

void run_check_callbacks(const struct run *run)
{
    for (int i = 0; i < RUN_CALLBACKS; i++)
        if (run->callbacks[i].state == CALLBACK_BOUND &&
            run->callbacks[i].bound_depth >= run->depth)
            run_fail(run, "callback %d on node %d has not run", i, run->callbacks[i].node);
}

void run_callback(void *arg)
{
    struct callback *callback = arg;
    struct run *run = callback->run;
    run_settle(run);
    if (callback->state != CALLBACK_BOUND)
        run_fail(run, "the callback on node %d runs in state %d", callback->node,
                 (int)callback->state);
    callback->state = CALLBACK_RUNNING;
    run->depth++;
    run_compare(run);
    if (canopy_callback_join(&callback->record) != -EDEADLK)
        run_fail(run, "a callback could join itself");
    if (run->depth <= RUN_DEPTH)
        run_make(run, &callback->action);
    run->depth--;
    callback->state = CALLBACK_RAN;
    if (callback->elsewhere)
        sem_post(&run->ran_elsewhere);
}
