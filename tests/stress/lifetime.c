/*
 * lifetime.c - memory that goes while somebody looks: a child released beside
 * the end of its parent (promise 12), causes that the library made (promise
 * 23), and merges that end beside their inputs (promise 27).
 */
#include "stress.h"
#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* -------------------------------------------------------------- promise 12 */

enum { P12_CANCELLED = 1, P12_EXPIRED, P12_RELEASED_LIVE, P12_RELEASED_DONE, P12_REACHED };

#define P12_MOST 12

typedef struct p12_child {
    canopy_ctx *ctx;
    canopy_ctx *kept; /* below ctx, whose handle goes; or NULL: ctx goes altogether */
    bool ended;       /* by a cancel of its own, not by release alone */
} p12_child;

static struct {
    canopy_ctx *parent;
    bool expires;
    int64_t deadline_ns;
    const canopy_cause *cause; /* what the parent ends with */
    unsigned count[STRESS_MAX_THREADS];
    p12_child children[STRESS_MAX_THREADS][P12_MOST];
} p12;

static void p12_begin(stress_thread *t)
{
    p12.expires = stress_once_in(t, stress.host_clock ? 2 : 4);
    p12.deadline_ns = p12.expires ? stress_soon_ns(t) : stress_now_ns() + STRESS_HOUR_NS;
    p12.cause = p12.expires ? tree_expiry_cause(0) : tree_own_cause(0, 0);
    p12.parent = stress_made(
        t, canopy_with_deadline_cause(stress.top, p12.deadline_ns, tree_expiry_cause(0)));
    for (unsigned who = 1; who < stress.threads; who++) {
        p12.count[who] = 1 + stress_below(t, P12_MOST);
        for (unsigned i = 0; i < p12.count[who]; i++) {
            p12_child *child = &p12.children[who][i];
            *child = (p12_child){.ctx = stress_derive(t, p12.parent)};
            if (stress_once_in(t, 2))
                child->kept = stress_derive(t, child->ctx);
        }
    }
}

static void p12_race(stress_thread *t)
{
    if (t->who > 0) {
        for (unsigned i = 0; i < p12.count[t->who]; i++) {
            p12_child *child = &p12.children[t->who][i];
            bool done = canopy_done(child->ctx);
            stress_count(t, done ? P12_RELEASED_DONE : P12_RELEASED_LIVE);
            child->ended = stress_once_in(t, 4);
            if (child->ended)
                canopy_end(child->ctx);
            else
                canopy_release(child->ctx);
        }
        return;
    }
    stress_jitter(t);
    if (p12.expires)
        stress_pass_soon(p12.deadline_ns);
    else
        CHECK(canopy_cancel_cause(p12.parent, p12.cause), "lost without a rival");
    stress_count(t, p12.expires ? P12_EXPIRED : P12_CANCELLED);
    /* Perhaps the last reference, while its children go. */
    canopy_release(p12.parent);
}

static void p12_end(stress_thread *t)
{
    for (unsigned who = 1; who < stress.threads; who++) {
        for (unsigned i = 0; i < p12.count[who]; i++) {
            const p12_child *child = &p12.children[who][i];
            if (!child->kept)
                continue;
            if (!p12.expires)
                CHECK(canopy_done(child->kept), "a lost cancel");
            CHECK(canopy_wait(child->kept, stress_limit_ns()), "a lost end");
            tree_sight sight = tree_look(child->kept);
            if (!child->ended || sight.cause != CANOPY_CANCELED) {
                CHECK(sight.cause == p12.cause, "another cause: %d \"%s\"", sight.cause->code,
                      sight.cause->text);
                CHECK(sight.err == (p12.expires ? -ETIMEDOUT : -ECANCELED), "another err: %d",
                      sight.err);
                stress_count(t, P12_REACHED);
            }
            canopy_end(child->kept);
        }
    }
}

STRESS_SCENARIO(p12_release_beside_cancel_of_parent, .threads = 2, .threads_min = 2,
                .host_clock = true, .begin = p12_begin, .race = p12_race, .end = p12_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P12_CANCELLED] = {"parents cancelled", true},
                             [P12_EXPIRED] = {"parents expired", true},
                             [P12_RELEASED_LIVE] = {"released live", true},
                             [P12_RELEASED_DONE] = {"released done", true},
                             [P12_REACHED] = {"reached through a released one", true}});

/* -------------------------------------------------------------- promise 23 */

enum { P23_OF_GROUPS = 1, P23_OF_SIGNALS, P23_READS, P23_READ_AFTER };

#define P23_MOST       8
#define P23_TEXT_BYTES 128

static struct {
    bool signals; /* else a group */
    canopy_group group;
    canopy_ctx *signal_ctx;
    int code;
    atomic_bool gone; /* the group, or the signal context */
    unsigned count[STRESS_MAX_THREADS];
    canopy_ctx *holders[STRESS_MAX_THREADS][P23_MOST];
} p23;

static int p23_fail(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    return *(const int *)arg;
}

/* A context that will report the cause: close by, or with nothing between but what was released. */
static canopy_ctx *p23_hold(stress_thread *t, const canopy_ctx *source)
{
    canopy_ctx *holder = stress_derive(t, source);
    while (stress_once_in(t, 2)) {
        canopy_ctx *below = stress_derive(t, holder);
        canopy_release(holder);
        holder = below;
    }
    return holder;
}

static void p23_begin(stress_thread *t)
{
    const canopy_ctx *source;

    p23.signals = stress_once_in(t, 8);
    atomic_store(&p23.gone, false);
    if (p23.signals) {
        p23.code = SIGUSR2;
        p23.signal_ctx = stress_made(t, canopy_with_signals(stress.top, (int[]){SIGUSR2}, 1));
        source = p23.signal_ctx;
    } else {
        p23.code = 1 + (int)stress_below(t, 1000000);
        int result = canopy_group_init(&p23.group, stress.top, stress_below(t, 3));
        CHECK(result == 0, "group_init returned %d", result);
        source = canopy_group_ctx(&p23.group);
    }
    for (unsigned who = 0; who < stress.threads; who++) {
        p23.count[who] = 1 + stress_below(t, P23_MOST);
        for (unsigned i = 0; i < p23.count[who]; i++)
            p23.holders[who][i] = p23_hold(t, source);
    }
}

static void p23_strike(stress_thread *t)
{
    if (p23.signals) {
        kill(getpid(), SIGUSR2);
        CHECK(canopy_wait(p23.signal_ctx, stress_limit_ns()), "a signal was lost");
        stress_jitter(t);
        canopy_end(p23.signal_ctx);
        stress_count(t, P23_OF_SIGNALS);
    } else {
        unsigned members = 1 + stress_below(t, 2);
        for (unsigned i = 0; i < members; i++) {
            int result = canopy_group_go(&p23.group, p23_fail, &p23.code);
            CHECK(result == 0, "group_go returned %d", result);
        }
        int result = canopy_group_wait(&p23.group);
        CHECK(result == p23.code, "group_wait returned %d, not %d", result, p23.code);
        stress_count(t, P23_OF_GROUPS);
    }
    atomic_store(&p23.gone, true);
}

/* Reads the cause to its last byte; `first` keeps the text for a second reading. */
static void p23_read(stress_thread *t, const canopy_ctx *holder, char first[P23_TEXT_BYTES])
{
    bool gone = atomic_load(&p23.gone);
    const canopy_cause *cause = canopy_cause_of(holder);

    CHECK(cause && cause->code == p23.code, "code %d, not %d", cause ? cause->code : 0, p23.code);
    CHECK(cause->text, "a cause without a text");
    size_t bytes = strnlen(cause->text, P23_TEXT_BYTES);
    CHECK(bytes > 0 && bytes < P23_TEXT_BYTES, "a text of %zu bytes", bytes);
    CHECK(first[0] == '\0' || strcmp(first, cause->text) == 0, "the text was \"%s\", is \"%.99s\"",
          first, cause->text);
    memcpy(first, cause->text, bytes + 1);
    stress_count(t, gone ? P23_READ_AFTER : P23_READS);
}

static void p23_race(stress_thread *t)
{
    char texts[P23_MOST][P23_TEXT_BYTES] = {{0}};
    unsigned order[P23_MOST];

    if (t->who == 0)
        p23_strike(t);
    for (unsigned i = 0; i < p23.count[t->who]; i++) {
        CHECK(canopy_wait(p23.holders[t->who][i], stress_limit_ns()), "a holder stays live");
        p23_read(t, p23.holders[t->who][i], texts[i]);
    }
    stress_shuffle(t, order, p23.count[t->who]);
    for (unsigned i = 0; i < p23.count[t->who]; i++) {
        stress_jitter(t);
        p23_read(t, p23.holders[t->who][order[i]], texts[order[i]]);
        canopy_release(p23.holders[t->who][order[i]]);
    }
}

static void p23_end(stress_thread *t)
{
    (void)t;
}

STRESS_SCENARIO(p23_causes_outlive_what_made_them, .threads = 3, .threads_min = 2,
                .begin = p23_begin, .race = p23_race, .end = p23_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P23_OF_GROUPS] = {"causes of groups", true},
                             [P23_OF_SIGNALS] = {"causes of signals", true},
                             [P23_READS] = {"read", true},
                             [P23_READ_AFTER] = {"read when the maker was gone", true}});

/* -------------------------------------------------------------- promise 27 */

enum { P27_OWN = 1, P27_BY_INPUT, P27_BORN_DONE, P27_BORN_LIVE, P27_LEFT_LIVE };

#define P27_INPUTS 4
#define P27_LONG   48
#define P27_LATE   6

static struct {
    canopy_ctx *inputs[P27_INPUTS]; /* 0 is cancelled, 1 perhaps, the others never */
    bool second;                    /* 1 is cancelled too */
    canopy_ctx *merge, *child;
    bool ends_itself, won;
    canopy_ctx *late[STRESS_MAX_THREADS][P27_LATE];
    unsigned late_count[STRESS_MAX_THREADS];
} p27;

/* Merges any of the inputs, with duplicates and what is never done; 0 among them, not always first.
 */
static canopy_ctx *p27_merge(stress_thread *t)
{
    const canopy_ctx *list[P27_LONG];
    unsigned n = 1 + stress_below(t, stress_once_in(t, 8) ? P27_LONG : P27_INPUTS);

    for (unsigned i = 0; i < n; i++)
        list[i] =
            stress_once_in(t, 8) ? canopy_background() : p27.inputs[stress_below(t, P27_INPUTS)];
    list[stress_below(t, n)] = p27.inputs[0];
    return stress_made(t, canopy_with_any(list, n));
}

static void p27_begin(stress_thread *t)
{
    for (unsigned i = 0; i < P27_INPUTS; i++)
        p27.inputs[i] = stress_made(t, canopy_with_cancel(stress.top));
    p27.second = stress_once_in(t, 2);
    p27.merge = p27_merge(t);
    p27.child = stress_made(t, canopy_with_cancel(p27.merge));
    for (unsigned who = 0; who < stress.threads; who++)
        p27.late_count[who] = who == 0 ? 0 : stress_below(t, P27_LATE + 1);
}

static void p27_end_merge(stress_thread *t)
{
    p27.won = false;
    p27.ends_itself = stress_once_in(t, 2);
    if (p27.ends_itself) {
        p27.won = canopy_cancel_cause(p27.merge, tree_own_cause(2, 0));
        CHECK(canopy_done(p27.child), "the child of a cancelled merge is live");
    }
    canopy_release(p27.merge);
}

static void p27_race(stress_thread *t)
{
    if (t->who == 0) {
        CHECK(canopy_cancel_cause(p27.inputs[0], tree_own_cause(0, 0)), "lost without a rival");
        return;
    }
    if (t->who == 1)
        p27_end_merge(t);
    if (t->who == 2 && p27.second)
        CHECK(canopy_cancel_cause(p27.inputs[1], tree_own_cause(1, 0)), "lost without a rival");
    for (unsigned i = 0; i < p27.late_count[t->who]; i++) {
        canopy_ctx *late = p27_merge(t);
        stress_count(t, canopy_done(late) ? P27_BORN_DONE : P27_BORN_LIVE);
        p27.late[t->who][i] = NULL;
        if (stress_once_in(t, 4))
            canopy_end(late);
        else if (stress_once_in(t, 4))
            canopy_release(late);
        else
            p27.late[t->who][i] = late;
    }
}

static bool p27_from_input(const canopy_ctx *ctx)
{
    const canopy_cause *cause = tree_look(ctx).cause;
    return cause == tree_own_cause(0, 0) || cause == tree_own_cause(1, 0);
}

static void p27_end(stress_thread *t)
{
    /* The child reports for the merge, whose handle is gone. */
    CHECK(canopy_done(p27.child), "a merge of a done input is live");
    if (p27.won)
        CHECK(canopy_cause_of(p27.child) == tree_own_cause(2, 0), "a merge lost its own cause");
    else
        CHECK(p27_from_input(p27.child), "a merge has a cause that no input has");
    stress_count(t, p27.won ? P27_OWN : P27_BY_INPUT);
    canopy_end(p27.child);
    for (unsigned who = 1; who < stress.threads; who++) {
        for (unsigned i = 0; i < p27.late_count[who]; i++) {
            if (!p27.late[who][i])
                continue;
            CHECK(p27_from_input(p27.late[who][i]), "a merge made beside a cancel is live");
            canopy_end(p27.late[who][i]);
        }
    }
    for (unsigned i = 0; i < P27_INPUTS; i++) {
        if (i > 0 && canopy_done(p27.inputs[i]))
            CHECK(i == 1 && p27.second, "a merge ended its input %u", i);
        else if (i > 0)
            stress_count(t, P27_LEFT_LIVE);
        if (stress_once_in(t, 16)) {
            int result = canopy_wait_idle(p27.inputs[i], stress_limit_ns());
            CHECK(result == 0, "input %u keeps something: %d", i, result);
        }
        canopy_end(p27.inputs[i]);
    }
}

STRESS_SCENARIO(p27_merge_ended_beside_cancel_of_input, .threads = 3, .threads_min = 2,
                .begin = p27_begin, .race = p27_race, .end = p27_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P27_OWN] = {"merges won by their own cancel", true},
                             [P27_BY_INPUT] = {"ended by an input", true},
                             [P27_BORN_DONE] = {"born done", true},
                             [P27_BORN_LIVE] = {"born live", true},
                             [P27_LEFT_LIVE] = {"inputs left live", true}});
