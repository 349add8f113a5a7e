/*
 * cancel.c - cancels that meet: above each other (promise 2), on one context
 * (promise 5), with a derivation (promise 7), and all at once (promise 15).
 */
#include "stress.h"
#include "tree.h"

#include <errno.h>

/* --------------------------------------------------------------- promise 2 */

enum { P02_WON_OUTER = 1, P02_WON_INNER, P02_LOST, P02_MADE_LIVE, P02_MADE_DONE, P02_SEEN };

typedef enum p02_role { P02_CANCEL_OUTER, P02_CANCEL_INNER, P02_DERIVE } p02_role;

static struct {
    stress_tree tree;
    atomic_uint published; /* nodes whose constructors have returned */
    unsigned grown;        /* of these, made before the race */
    unsigned inner;        /* node 0 is the outer one */
    bool below_outer[TREE_MAX], below_inner[TREE_MAX];
    int winners[TREE_MAX];
    p02_role roles[STRESS_MAX_THREADS];
    canopy_ctx *sibling;
} p02;

static void p02_begin(stress_thread *t)
{
    p02.sibling = stress_made(t, canopy_with_cancel(stress.top));
    tree_grow(t, &p02.tree, 2 + stress_below(t, stress_once_in(t, 8) ? 200 : 24), false);
    p02.grown = p02.tree.count;
    tree_reach(&p02.tree, 0, p02.below_outer);
    do {
        p02.inner = stress_below(t, p02.tree.count);
    } while (!tree_can_end(&p02.tree.nodes[p02.inner]) || !p02.below_outer[p02.inner]);
    tree_reach(&p02.tree, p02.inner, p02.below_inner);
    for (unsigned i = 0; i < TREE_MAX; i++)
        p02.winners[i] = -1;
    atomic_store(&p02.published, p02.tree.count);

    /* One cancels at the top, and one at most derives, as a tree has one grower. */
    unsigned order[STRESS_MAX_THREADS];
    stress_shuffle(t, order, stress.threads);
    for (unsigned i = 0; i < stress.threads; i++)
        p02.roles[order[i]] = stress_below(t, 2) ? P02_CANCEL_INNER : P02_CANCEL_OUTER;
    p02.roles[order[0]] = P02_CANCEL_OUTER;
    if (stress_once_in(t, 2))
        p02.roles[order[1]] = P02_DERIVE;
}

static void p02_cancel(stress_thread *t, unsigned index, const bool below[])
{
    bool won = canopy_cancel_cause(p02.tree.nodes[index].ctx, tree_own_cause(t->who, index));
    unsigned published = atomic_load_explicit(&p02.published, memory_order_acquire);

    for (unsigned i = 0; i < published; i++) {
        /* What is made in the race is made below both. */
        if (i < p02.grown && !below[i])
            continue;
        CHECK(canopy_done(p02.tree.nodes[i].ctx),
              "cancel of node %u %s and returned, node %u of %u (kind %d, %s) is live", index,
              won ? "won" : "lost", i, published, p02.tree.nodes[i].kind,
              i < p02.grown ? "older" : "made beside it");
        stress_count(t, P02_SEEN);
    }
    if (won)
        p02.winners[index] = (int)t->who;
    stress_count(t, won ? (index == 0 ? P02_WON_OUTER : P02_WON_INNER) : P02_LOST);
}

static void p02_derive(stress_thread *t)
{
    unsigned more = stress_below(t, 24);
    unsigned parent = p02.inner;

    for (unsigned i = 0; i < more; i++) {
        tree_kind kind = stress_below(t, TREE_DETACHED);
        unsigned made = tree_add(t, &p02.tree, (int)parent, kind, false);
        stress_count(t, canopy_done(p02.tree.nodes[made].ctx) ? P02_MADE_DONE : P02_MADE_LIVE);
        atomic_store_explicit(&p02.published, made + 1, memory_order_release);
        if (stress_once_in(t, 2))
            parent = made;
    }
}

static void p02_race(stress_thread *t)
{
    if (p02.roles[t->who] == P02_DERIVE)
        p02_derive(t);
    else if (p02.roles[t->who] == P02_CANCEL_INNER)
        p02_cancel(t, p02.inner, p02.below_inner);
    else
        p02_cancel(t, 0, p02.below_outer);
}

static void p02_end(stress_thread *t)
{
    tree_sight sights[TREE_MAX];

    CHECK(!canopy_done(p02.sibling), "a cancel ended a sibling");
    for (unsigned i = 0; i < p02.tree.count; i++) {
        sights[i] = tree_look(p02.tree.nodes[i].ctx);
        if (i < p02.grown && !p02.below_outer[i])
            CHECK(!sights[i].err, "a cancel ended node %u, which is not below it", i);
        else
            CHECK(sights[i].err, "node %u is live", i);
    }
    tree_judge(&p02.tree, sights, p02.winners);
    tree_end(t, &p02.tree);
    canopy_end(p02.sibling);
}

STRESS_SCENARIO(p02_cancel_returns_when_all_below_is_done, .threads = 3, .threads_min = 2,
                .begin = p02_begin, .race = p02_race, .end = p02_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P02_WON_OUTER] = {"won above", true},
                             [P02_WON_INNER] = {"won below", true},
                             [P02_LOST] = {"lost", true},
                             [P02_MADE_LIVE] = {"made live", true},
                             [P02_MADE_DONE] = {"born done", true},
                             [P02_SEEN] = {"descendants checked", true}});

/* --------------------------------------------------------------- promise 5 */

enum { P05_WON_FIRST = 1, P05_WON_OTHER, P05_EXPIRED, P05_MOVED };

static struct {
    canopy_ctx *parent, *ctx, *child;
    int64_t deadline_ns; /* of ctx, or NEVER */
    bool moves;          /* thread 0 moves the deadline into the past instead of cancelling */
    bool won[STRESS_MAX_THREADS];
    tree_sight sights[STRESS_MAX_THREADS];
} p05;

static void p05_begin(stress_thread *t)
{
    p05.moves = stress_once_in(t, 4);
    p05.deadline_ns = stress_once_in(t, 4) ? stress_soon_ns(t) : CANOPY_NEVER;
    p05.parent = stress_made(t, canopy_with_cancel(stress.top));
    p05.ctx = stress_made(
        t, canopy_with_deadline_cause(p05.parent, p05.deadline_ns, tree_expiry_cause(0)));
    p05.child = stress_made(t, canopy_with_cancel(p05.ctx));
}

static void p05_race(stress_thread *t)
{
    if (stress_once_in(t, 2))
        tree_look(p05.ctx);
    p05.won[t->who] = false;
    if (t->who > 0) {
        p05.won[t->who] = canopy_cancel_cause(p05.ctx, tree_own_cause(t->who, 0));
    } else if (p05.moves) {
        if (canopy_set_deadline(p05.ctx, 1))
            stress_count(t, P05_MOVED);
    } else if (p05.deadline_ns != CANOPY_NEVER) {
        stress_pass_soon(p05.deadline_ns);
        if (!stress.host_clock)
            canopy_wait(p05.ctx, CANOPY_NEVER);
    } else {
        p05.won[0] = canopy_cancel_cause(p05.ctx, tree_own_cause(0, 0));
    }

    tree_sight first = tree_look(p05.ctx);
    CHECK(first.err, "live after a cancel of it returned");
    CHECK(!canopy_cancel(p05.ctx), "a second cancel returned true");
    CHECK(canopy_done(p05.child), "the child is live after a cancel returned");
    CHECK(!canopy_set_deadline(p05.ctx, CANOPY_NEVER), "a deadline moved after the end");
    tree_sight second = tree_look(p05.ctx);
    CHECK(first.err == second.err && first.cause == second.cause, "err or cause has changed");
    p05.sights[t->who] = first;
}

static void p05_end(stress_thread *t)
{
    const canopy_cause *expected = tree_expiry_cause(0);
    unsigned winners = 0;

    for (unsigned i = 0; i < stress.threads; i++) {
        CHECK(p05.sights[i].cause == p05.sights[0].cause && p05.sights[i].err == p05.sights[0].err,
              "threads 0 and %u saw different ends", i);
        if (p05.won[i]) {
            winners++;
            expected = tree_own_cause(i, 0);
            stress_count(t, i == 0 ? P05_WON_FIRST : P05_WON_OTHER);
        }
    }
    CHECK(p05.sights[0].cause == expected, "the cause is not the winner's: %d \"%s\"",
          p05.sights[0].cause->code, p05.sights[0].cause->text);
    if (winners == 0) {
        CHECK(p05.moves || p05.deadline_ns != CANOPY_NEVER, "no cancel returned true");
        CHECK(p05.sights[0].err == -ETIMEDOUT, "expired with err %d", p05.sights[0].err);
        stress_count(t, P05_EXPIRED);
    } else {
        CHECK(winners == 1, "%u cancels returned true", winners);
        CHECK(p05.sights[0].err == -ECANCELED, "cancelled with err %d", p05.sights[0].err);
    }
    CHECK(canopy_cause_of(p05.child) == expected, "the child reports another cause");
    CHECK(!canopy_done(p05.parent), "the parent has ended");
    canopy_release(p05.ctx);
    canopy_release(p05.child);
    canopy_end(p05.parent);
}

STRESS_SCENARIO(p05_one_of_many_cancels_wins, .threads = 3, .threads_min = 2, .host_clock = true,
                .begin = p05_begin, .race = p05_race, .end = p05_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P05_WON_FIRST] = {"won by thread 0", true},
                             [P05_WON_OTHER] = {"won by others", true},
                             [P05_EXPIRED] = {"expired first", true},
                             [P05_MOVED] = {"deadlines moved into the past", true}});

/* --------------------------------------------------------------- promise 7 */

enum { P07_BORN_LIVE = 1, P07_BORN_DONE, P07_AFTER_CANCEL };

#define P07_MOST 24

static struct {
    canopy_ctx *above, *layer, *parent; /* the cancel is of `above` or of `parent` */
    canopy_ctx *cancelled;
    atomic_bool returned;
    canopy_ctx *children[STRESS_MAX_THREADS][P07_MOST];
    unsigned count[STRESS_MAX_THREADS];
} p07;

static void p07_begin(stress_thread *t)
{
    p07.above = stress_made(t, canopy_with_cancel(stress.top));
    p07.layer = stress_bind(t, p07.above, NULL);
    p07.parent = stress_made(t, canopy_with_cancel(p07.layer));
    p07.cancelled = stress_once_in(t, 2) ? p07.above : p07.parent;
    atomic_store(&p07.returned, false);
    for (unsigned i = 0; i < stress.threads; i++)
        p07.count[i] = stress_below(t, P07_MOST + 1);
}

static void p07_race(stress_thread *t)
{
    if (t->who == 0) {
        stress_jitter(t);
        CHECK(canopy_cancel_cause(p07.cancelled, tree_own_cause(0, 0)), "lost without a rival");
        atomic_store(&p07.returned, true);
        return;
    }
    const canopy_ctx *parent = p07.parent;
    for (unsigned i = 0; i < p07.count[t->who]; i++) {
        bool late = canopy_done(parent);
        canopy_ctx *child = stress_derive(t, parent);
        bool returned = atomic_load(&p07.returned);
        bool done = canopy_done(child);
        CHECK(done || !late, "a child of a done parent was born live");
        CHECK(done || !returned, "a child is live, and the cancel has returned");
        stress_count(t, late ? P07_AFTER_CANCEL : done ? P07_BORN_DONE : P07_BORN_LIVE);
        p07.children[t->who][i] = child;
        if (stress_once_in(t, 4))
            parent = child;
    }
}

static void p07_end(stress_thread *t)
{
    for (unsigned who = 1; who < stress.threads; who++) {
        for (unsigned i = 0; i < p07.count[who]; i++) {
            tree_sight sight = tree_look(p07.children[who][i]);
            CHECK(sight.err == -ECANCELED, "child %u of thread %u: err %d", i, who, sight.err);
            CHECK(sight.cause == tree_own_cause(0, 0), "child %u of thread %u: another cause", i,
                  who);
            canopy_end(p07.children[who][i]);
        }
    }
    CHECK(canopy_done(p07.above) == (p07.cancelled == p07.above), "the cancel went upwards");
    canopy_end(p07.parent);
    canopy_end(p07.layer);
    canopy_end(p07.above);
    (void)t;
}

STRESS_SCENARIO(p07_child_made_beside_cancel_ends_done, .threads = 2, .threads_min = 2,
                .begin = p07_begin, .race = p07_race, .end = p07_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P07_BORN_LIVE] = {"born live and reached", true},
                             [P07_BORN_DONE] = {"done while they were made", true},
                             [P07_AFTER_CANCEL] = {"made after the cancel", true}});

/* -------------------------------------------------------------- promise 15 */

enum { P15_WON = 1, P15_INHERITED, P15_EXPIRED, P15_LAST_WORD };

static struct {
    stress_tree tree;
    bool expires; /* some deadlines pass by themselves */
    bool won[STRESS_MAX_THREADS][TREE_MAX];
    tree_sight sights[STRESS_MAX_THREADS][TREE_MAX];
} p15;

static void p15_begin(stress_thread *t)
{
    p15.expires = stress_once_in(t, 2);
    tree_grow(t, &p15.tree, 1 + stress_below(t, stress_once_in(t, 8) ? TREE_MAX : 32), p15.expires);
    /* A reference for each, so that the last one falls anywhere. */
    for (unsigned i = 0; i < p15.tree.count; i++)
        for (unsigned k = 1; k < stress.threads; k++)
            canopy_retain(p15.tree.nodes[i].ctx);
}

static void p15_cancel(stress_thread *t, unsigned i)
{
    const tree_node *node = &p15.tree.nodes[i];

    if (!tree_can_end(node)) {
        CHECK(!canopy_cancel(node->ctx), "cancel of a layer returned true");
        return;
    }
    p15.won[t->who][i] = false;
    if (node->kind != TREE_DEADLINE || stress_once_in(t, 2))
        p15.won[t->who][i] = canopy_cancel_cause(node->ctx, tree_own_cause(t->who, i));
    else
        canopy_set_deadline(node->ctx, 1);
    p15.sights[t->who][i] = tree_look(node->ctx);
    CHECK(p15.sights[t->who][i].err, "node %u (kind %d) is live after its end", i, node->kind);
}

static void p15_race(stress_thread *t)
{
    unsigned order[TREE_MAX];
    unsigned later[TREE_MAX], later_count = 0;

    stress_shuffle(t, order, p15.tree.count);
    for (unsigned i = 0; i < p15.tree.count; i++) {
        p15_cancel(t, order[i]);
        if (stress_once_in(t, 2))
            canopy_release(p15.tree.nodes[order[i]].ctx);
        else
            later[later_count++] = order[i];
    }
    while (later_count > 0)
        canopy_release(p15.tree.nodes[later[--later_count]].ctx);
}

static void p15_end(stress_thread *t)
{
    int winners[TREE_MAX];

    for (unsigned i = 0; i < p15.tree.count; i++) {
        winners[i] = -1;
        if (!tree_can_end(&p15.tree.nodes[i]))
            continue;
        tree_sight sight = p15.sights[0][i];
        for (unsigned who = 0; who < stress.threads; who++) {
            CHECK(p15.sights[who][i].cause == sight.cause && p15.sights[who][i].err == sight.err,
                  "threads 0 and %u saw different ends of node %u", who, i);
            if (p15.won[who][i]) {
                CHECK(winners[i] < 0, "threads %d and %u both won node %u", winners[i], who, i);
                winners[i] = (int)who;
            }
        }
        if (winners[i] >= 0)
            stress_count(t, P15_WON);
        else
            stress_count(t, sight.cause == tree_expiry_cause(i) ? P15_EXPIRED : P15_INHERITED);
    }
    tree_judge(&p15.tree, p15.sights[0], winners);
}

STRESS_SCENARIO(p15_all_cancelled_from_all_sides, .threads = 3, .threads_min = 2,
                .begin = p15_begin, .race = p15_race, .end = p15_end,
                .counters = {[STRESS_CONTEXTS] = {"contexts", true},
                             [P15_WON] = {"won by their own cancel", true},
                             [P15_INHERITED] = {"ended from above", true},
                             [P15_EXPIRED] = {"expired", true}});
