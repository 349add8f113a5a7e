/*
 * interleave.c - random programs whose calls run at once: a small tree, and two or
 * three threads with a few calls each, under the explorer of interleavings, which
 * tries their orders. What has to hold in the end, whatever the order was, is asked
 * of the model, which is told what was ended after all calls have returned.
 *
 *     FUZZ_FIRST=100 FUZZ_COUNT=50 fuzz_interleave --preemptions=2 --executions=2000
 *
 * Each program is a scenario, made from its number alone; a report names it, and the
 * schedule with which it can be run again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fiber.h"
#include "model.h"
#include "random.h"

#define PREPARED 5 /* contexts that are there before the threads begin */
#define THREADS  3
#define CALLS    3 /* of a thread, at most */
#define NODES    (1 + PREPARED + THREADS * CALLS)
#define RECORDS  (1 + THREADS * CALLS)
#define TIMED    2 /* the node that has a deadline, under a root of our own */
#define DUE_NS   10

/* Which calls may have ended a context: a bit for each step, and two for defaults. */
#define BY_END    (1U << 30)
#define BY_EXPIRY (1U << 31)

enum action {
    CANCEL, /* the first three end something */
    END,
    EXPIRE,
    RELEASE,
    DERIVE,
    VALUE,
    MERGE,
    AFTER,
    STOP,
    ADVANCE,
    ASK,
    ACTIONS
};

struct step {
    enum action action;
    int node;   /* what it is done to */
    int second; /* MERGE: the other input */
    int made;   /* DERIVE, VALUE, MERGE: the node that comes of it */
};

struct thread {
    struct step steps[CALLS];
    int count;
    bool has[NODES]; /* it holds a reference */
};

struct record {
    canopy_callback callback;
    bool armed;
    int node;
    int runs, stops;
};

static struct thread threads[THREADS];
static int threads_count;
static struct model model;
static canopy_ctx *ctx_of[NODES];
static bool kept[NODES]; /* the scenario holds a reference of its own */
static struct record records[RECORDS];
static canopy_cause causes[THREADS * CALLS];
static uint32_t ended_by[NODES];
static bool won[THREADS * CALLS];
static int bound, destroyed;

static void destroy(void *value)
{
    (void)value;
    destroyed++;
}

static const canopy_key key = {"key", destroy};

/* ------------------------------------------------------------------------ random */

static uint64_t random_state;

static int random_below(int n)
{
    return (int)(random_next(&random_state) % (uint64_t)n);
}

/* ----------------------------------------------------------------- at the beginning */

static void set_node(int node, canopy_ctx *ctx)
{
    CHECK(ctx);
    ctx_of[node] = ctx;
}

static void prepare_node(int node)
{
    static const enum node_kind kinds[] = {NODE_CANCEL, NODE_CANCEL, NODE_CANCEL,
                                           NODE_VALUE,  NODE_ANY,    NODE_DETACHED};
    int parents[] = {random_below(node), random_below(node)};
    enum node_kind kind =
        node < 3 ? NODE_CANCEL : kinds[random_below(sizeof kinds / sizeof *kinds)];
    const canopy_ctx *above = ctx_of[parents[0]];
    const canopy_ctx *inputs[] = {above, ctx_of[parents[1]]};
    model_derive(&model, kind, parents, kind == NODE_ANY ? 2 : 1);
    bound += kind == NODE_VALUE;
    set_node(node, kind == NODE_VALUE                 ? canopy_with_value(above, &key, NULL)
                   : kind == NODE_ANY                 ? canopy_with_any(inputs, 2)
                   : kind == NODE_DETACHED            ? canopy_without_cancel(above)
                   : node == TIMED && scenario_root() ? canopy_with_deadline(above, DUE_NS)
                                                      : canopy_with_cancel(above));
}

/* One of what the thread holds, with what it has made; the lower of two, to meet others there. */
static int pick(const struct thread *thread)
{
    int held[NODES], count = 0;
    for (int i = 1; i < NODES; i++)
        if (thread->has[i])
            held[count++] = i;
    int one = random_below(count), another = random_below(count);
    /* cppcheck-suppress uninitvar ; a thread always has one */
    return held[one < another ? one : another];
}

/* Without a root of our own there is no time; and a root has one caller that drives its clock. */
static enum action pick_action(int t, int below)
{
    enum action action = (enum action)random_below(below);
    if (action == EXPIRE && !scenario_root())
        return CANCEL;
    if (action == ADVANCE && (t != 1 || !scenario_root()))
        return ASK;
    return action;
}

static bool makes(enum action action)
{
    return action == DERIVE || action == VALUE || action == MERGE;
}

/* What a step is going to make, so that the model knows it: a node for each, used or not. */
static void foresee_node(const struct step *step, bool used)
{
    static const enum node_kind kinds[ACTIONS] = {
        [DERIVE] = NODE_CANCEL, [VALUE] = NODE_VALUE, [MERGE] = NODE_ANY};
    int parents[] = {step->node, step->second};
    enum node_kind kind = used && makes(step->action) ? kinds[step->action] : NODE_DETACHED;
    model_derive(&model, kind, parents, kind == NODE_ANY ? 2 : 1);
}

static void prepare_thread(int t)
{
    struct thread *thread = &threads[t];
    bool has[NODES] = {false};
    for (int i = 1; i <= PREPARED; i++) {
        has[i] = true;
        canopy_retain(ctx_of[i]);
    }
    memcpy(thread->has, has, sizeof has);
    thread->count = 1 + random_below(CALLS);
    for (int k = 0; k < thread->count; k++) {
        struct step *step = &thread->steps[k];
        /* One that ends something comes first, or there would be little to disagree about. */
        bool ends = t == 0 && k == 0;
        *step = (struct step){.action = pick_action(t, ends ? RELEASE : ACTIONS),
                              .node = ends ? 1 + random_below(2) : pick(thread),
                              .second = pick(thread),
                              .made = 1 + PREPARED + t * CALLS + k};
        if (step->action == RELEASE || step->action == END)
            thread->has[step->node] = false;
        if (makes(step->action))
            thread->has[step->made] = true;
    }
    for (int k = 0; k < CALLS; k++)
        foresee_node(&thread->steps[k], k < thread->count);
    memcpy(thread->has, has, sizeof has); /* from here on as the steps are done */
}

/* ------------------------------------------------------------------------- threads */

static void on_done(void *arg)
{
    struct record *record = arg;
    CHECK(canopy_err(ctx_of[record->node]) != 0);
    record->runs++;
}

static void arm(struct record *record, int node)
{
    record->node = node;
    record->armed = true;
    CHECK(canopy_after_func(ctx_of[node], &record->callback, on_done, record) == 0);
}

static bool is_below(int node, int top)
{
    const struct node *at = &model.nodes[node];
    if (node == top)
        return true;
    for (int p = 0; node <= PREPARED && p < at->parents_count && at->kind != NODE_DETACHED; p++)
        if (is_below(at->parents[p], top))
            return true;
    return false;
}

/* When a cancel returns, whoever won it, all is done that was there. */
static void check_below(const struct thread *thread, int top)
{
    for (int i = 1; i <= PREPARED && top <= PREPARED; i++)
        if (thread->has[i] && is_below(i, top))
            CHECK(canopy_done(ctx_of[i]));
}

static void ask(int node)
{
    const canopy_ctx *ctx = ctx_of[node];
    int err = canopy_err(ctx);
    CHECK(!err || canopy_cause_of(ctx));
    CHECK(!err || canopy_wait_any(&ctx, 1, 0) == 0);
    CHECK(!err || canopy_err(ctx) == err);
}

static void let_go(struct thread *thread, int node)
{
    thread->has[node] = false;
    canopy_release(ctx_of[node]);
}

static void take_step(int t, int k)
{
    struct thread *thread = &threads[t];
    const struct step *step = &thread->steps[k];
    int id = t * CALLS + k;
    canopy_ctx *ctx = ctx_of[step->node];
    const canopy_ctx *inputs[] = {ctx, ctx_of[step->second]};
    bool can_end = model_can_end(&model, step->node);
    switch (step->action) {
    case CANCEL:
        won[id] = canopy_cancel_cause(ctx, &causes[id]);
        CHECK(can_end || !won[id]);
        if (can_end)
            check_below(thread, step->node);
        break;
    case END:
        thread->has[step->node] = false;
        canopy_end(ctx);
        break;
    case EXPIRE:
        CHECK(!canopy_set_deadline(ctx, 0) || canopy_done(ctx));
        break;
    case RELEASE:
        let_go(thread, step->node);
        break;
    case DERIVE:
        set_node(step->made, canopy_with_cancel(ctx));
        break;
    case VALUE:
        bound++;
        set_node(step->made, canopy_with_value(ctx, &key, NULL));
        break;
    case MERGE:
        set_node(step->made, canopy_with_any(inputs, 2));
        break;
    case AFTER:
        arm(&records[1 + id], step->node);
        break;
    case STOP:
        records[0].stops += canopy_callback_stop(&records[0].callback);
        break;
    case ADVANCE:
        CHECK(canopy_root_advance(scenario_root(), DUE_NS, NULL) == 0);
        CHECK(!thread->has[TIMED] || canopy_done(ctx_of[TIMED]));
        break;
    default:
        ask(step->node);
        break;
    }
    if (makes(step->action))
        thread->has[step->made] = true;
}

static void thread_run(int t)
{
    for (int k = 0; k < threads[t].count; k++)
        take_step(t, k);
}

static void thread_0(void)
{
    thread_run(0);
}

static void thread_1(void)
{
    thread_run(1);
}

static void thread_2(void)
{
    thread_run(2);
}

/* ---------------------------------------------------------------------- in the end */

static void tell_what_ended(const struct step *step, int id)
{
    int node = step->action == ADVANCE ? TIMED : step->node;
    uint32_t by = step->action == CANCEL                              ? 1U << id
                  : step->action == END                               ? BY_END
                  : step->action == EXPIRE || step->action == ADVANCE ? BY_EXPIRY
                                                                      : 0;
    if (!by || !model_can_end(&model, node))
        return;
    ended_by[node] |= by;
    model_cancel(&model, node, NULL);
}

static void tell_model(void)
{
    for (int t = 0; t < threads_count; t++)
        for (int k = 0; k < threads[t].count; k++)
            tell_what_ended(&threads[t].steps[k], t * CALLS + k);
    for (int i = 1; i < model.count; i++) {
        const struct node *node = &model.nodes[i];
        for (int p = 0; p < node->parents_count && node->kind != NODE_DETACHED; p++)
            ended_by[i] |= ended_by[node->parents[p]];
    }
}

/* The bit of what a context says has ended it. */
static uint32_t cause_bit(const canopy_ctx *ctx)
{
    const canopy_cause *cause = canopy_cause_of(ctx);
    bool late = cause == CANOPY_DEADLINE_EXCEEDED;
    CHECK(canopy_err(ctx) == (late ? -ETIMEDOUT : -ECANCELED));
    return late ? BY_EXPIRY : cause == CANOPY_CANCELED ? BY_END : 1U << (cause - causes);
}

static void check_node(int i)
{
    const canopy_ctx *ctx = ctx_of[i];
    CHECK(canopy_done(ctx) == (model_err(&model, i) != 0));
    CHECK(!canopy_done(ctx) || (cause_bit(ctx) & ended_by[i]));
    for (int id = 0; id < THREADS * CALLS; id++) {
        const struct step *step = &threads[id / CALLS].steps[id % CALLS];
        bool its_own = id % CALLS < threads[id / CALLS].count && step->node == i;
        if (its_own && step->action == CANCEL)
            CHECK(won[id] == (canopy_cause_of(ctx) == &causes[id]));
    }
}

static void check_record(struct record *record)
{
    if (!record->armed)
        return;
    bool done = model_err(&model, record->node) != 0;
    CHECK(record->runs + record->stops <= 1);
    CHECK(done || record->runs == 0);
    if (!done && record->stops == 0)
        record->stops += canopy_callback_stop(&record->callback);
    CHECK(record->runs + record->stops == 1);
    CHECK(canopy_callback_join(&record->callback) == 0);
}

static void check_all(void)
{
    for (int i = 1; i < model.count; i++) {
        bool held = kept[i];
        for (int t = 0; t < threads_count; t++)
            held |= threads[t].has[i];
        if (held)
            check_node(i);
    }
    for (int r = 0; r < RECORDS; r++)
        check_record(&records[r]);
}

static void run(void)
{
    random_state = strtoull(strrchr(explorer->scenario->name, '_') + 1, NULL, 10);
    random_state *= UINT64_C(0xd1342543de82ef95);
    /* The model says of the base only that it never ends. */
    union {
        const canopy_ctx *view;
        canopy_ctx *ctx;
    } base = {.view = scenario_base()};
    model_init(&model, 1, 0);
    ctx_of[model_static(&model)] = base.ctx;
    for (int i = 1; i <= PREPARED; i++)
        prepare_node(i);
    arm(&records[0], 1 + random_below(PREPARED));
    threads_count = 2 + random_below(4) / 3;
    for (int t = 0; t < threads_count; t++)
        prepare_thread(t);
    for (int id = 0; id < THREADS * CALLS; id++)
        causes[id] = (canopy_cause){.code = id, .text = "a step"};
    for (int i = 1; i <= PREPARED; i++) {
        kept[i] = random_below(2);
        if (!kept[i])
            canopy_release(ctx_of[i]);
    }
    if (threads_count == 2)
        beside(thread_0, thread_1, NULL);
    else
        beside(thread_0, thread_1, thread_2, NULL);
    tell_model();
    check_all();
    for (int i = 1; i < model.count; i++) {
        for (int t = 0; t < threads_count; t++)
            if (threads[t].has[i])
                let_go(&threads[t], i);
        if (kept[i])
            canopy_release(ctx_of[i]);
    }
    scenario_close();
    CHECK(destroyed == bound);
}

/* ----------------------------------------------------------------------- programs */

static unsigned long number_from(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void register_programs(void)
{
    unsigned long first = number_from("FUZZ_FIRST", 0), count = number_from("FUZZ_COUNT", 100);
    for (unsigned long i = 0; i < count; i++) {
        struct scenario *scenario = calloc(1, sizeof *scenario);
        char *name = NULL;
        if (!scenario || asprintf(&name, "program_%06lu", first + i) < 0)
            abort();
        scenario->name = name;
        scenario->run = run;
        scenario_register(scenario);
    }
}
