/*
 * storm.c - promises 12 and 15: releases and cancels that meet, from all sides.
 */
#include "harness.h"

#include <stdlib.h>

static const canopy_key key = {.name = "key"};

/* -------------------------------------- 12: release of a child beside cancel */

#define CHILDREN 16

struct release_race {
    struct meeting start, end;
    canopy_ctx *parent;
    canopy_ctx *children[CHILDREN];
    canopy_ctx *grandchildren[CHILDREN];
    bool end_them; /* cancel and release instead of release alone */
    int rounds;
};

/* Lets go of the children with even numbers; those with odd numbers must end done. */
static void release_rounds(void *arg)
{
    struct release_race *race = arg;
    size_t order[CHILDREN];
    uint64_t seed = 12;
    for (int round = 0; round < race->rounds; round++) {
        random_order(&seed, order, CHILDREN);
        meet(&race->start);
        for (size_t i = 0; i < CHILDREN; i++) {
            if (order[i] % 2)
                continue;
            if (race->end_them)
                canopy_end(race->children[order[i]]);
            else
                canopy_release(race->children[order[i]]);
        }
        meet(&race->end);
    }
}

static void run_release_race(bool with_grandchildren, bool end_them)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct release_race race = {.start = {.parties = 2},
                                .end = {.parties = 2},
                                .end_them = end_them,
                                .rounds = SCALED(5000, 500)};
    struct thread releaser;
    thread_start(&releaser, release_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        race.parent = canopy_with_cancel(f.root);
        for (size_t i = 0; i < CHILDREN; i++) {
            race.children[i] = i % 4 == 0 ? canopy_with_timeout(race.parent, HOURS(1))
                                          : canopy_with_cancel(race.parent);
            race.grandchildren[i] =
                with_grandchildren ? canopy_with_cancel(race.children[i]) : NULL;
        }
        meet(&race.start);
        assert_true(canopy_cancel(race.parent));
        for (size_t i = 1; i < CHILDREN; i += 2)
            assert_ended(race.children[i], -ECANCELED, CANOPY_CANCELED);
        for (size_t i = 0; with_grandchildren && i < CHILDREN; i++)
            assert_ended(race.grandchildren[i], -ECANCELED, CANOPY_CANCELED);
        meet(&race.end);
        for (size_t i = 0; i < CHILDREN; i++) {
            canopy_release(race.grandchildren[i]);
            if (i % 2)
                canopy_release(race.children[i]);
        }
        canopy_release(race.parent);
    }
    thread_join(&releaser);
    fixture_close(&f);
}

TEST(p12_release_of_childless_children_beside_cancel)
{
    run_release_race(false, false);
}

TEST(p12_release_of_children_with_children_beside_cancel)
{
    run_release_race(true, false);
}

TEST(p12_end_of_children_beside_cancel_of_the_parent)
{
    run_release_race(false, true);
    run_release_race(true, true);
}

/* The other way round: the canceller lets go of the parent while its children go elsewhere. */
TEST(p12_end_of_the_parent_beside_release_of_its_children)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct release_race race = {
        .start = {.parties = 2}, .end = {.parties = 2}, .rounds = SCALED(5000, 500)};
    struct thread releaser;
    thread_start(&releaser, release_rounds, &race);
    for (int round = 0; round < race.rounds; round++) {
        race.parent = canopy_with_cancel(f.root);
        for (size_t i = 0; i < CHILDREN; i++)
            race.children[i] = canopy_with_cancel(race.parent);
        meet(&race.start);
        canopy_end(race.parent);
        meet(&race.end);
        for (size_t i = 1; i < CHILDREN; i += 2) {
            assert_ended(race.children[i], -ECANCELED, CANOPY_CANCELED);
            canopy_release(race.children[i]);
        }
    }
    thread_join(&releaser);
    fixture_close(&f);
}

/* ------------------------------- 12: the last two children of a released parent */

struct last_children {
    struct meeting start, middle, end;
    canopy_ctx *parent;
    int rounds;
    int left_in[2]; /* by each: the round in which it left last; no atomics */
    int seen;
};

struct last_child {
    struct last_children *race;
    int *left_in;
};

static void come_and_go(void *arg)
{
    struct last_child *self = arg;
    struct last_children *race = self->race;
    for (int round = 0; round < race->rounds; round++) {
        meet(&race->start);
        canopy_ctx *child = canopy_with_cancel(race->parent);
        meet(&race->middle);
        meet(&race->end);
        *self->left_in = round;
        canopy_release(child);
    }
}

static void see_what_was_left(void *value)
{
    struct last_children *race = value;
    race->seen += race->left_in[0] == race->left_in[1];
}

static const canopy_key left_key = {.name = "left", .destroy = see_what_was_left};

/* Who goes last ends the parent, after all that the others did. */
TEST(p12_the_last_child_frees_its_parent_after_all_others_have_left_it)
{
    struct last_children race = {.start = {.parties = 3},
                                 .middle = {.parties = 3},
                                 .end = {.parties = 3},
                                 .rounds = SCALED(20000, 2000)};
    struct last_child children[2];
    struct thread threads[2];
    for (size_t i = 0; i < 2; i++) {
        children[i] = (struct last_child){&race, &race.left_in[i]};
        thread_start(&threads[i], come_and_go, &children[i]);
    }
    for (int round = 0; round < race.rounds; round++) {
        race.parent = canopy_with_value(canopy_background(), &left_key, &race);
        meet(&race.start);
        meet(&race.middle);
        canopy_release(race.parent); /* its children keep it, and are counted now */
        meet_at_end(&race.end, &race.rounds, round);
    }
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
    assert_int_equal(race.seen, race.rounds);
}

/* --------------------------------------------------- 15: all from all sides */

#define STORM_THREADS 4
#define STORM_NODES   3000

struct storm {
    struct meeting turn;
    canopy_ctx *nodes[STORM_NODES];
    atomic_uint wins[STORM_NODES]; /* cancels of this node that returned true */
    bool meet_before_release;
};

struct storm_thread {
    struct storm *storm;
    size_t number;
};

static void storm_body(void *arg)
{
    struct storm_thread *self = arg;
    struct storm *storm = self->storm;
    size_t *order = malloc(STORM_NODES * sizeof *order);
    assert_non_null(order);
    uint64_t seed = self->number;
    random_order(&seed, order, STORM_NODES);
    meet(&storm->turn);
    for (size_t i = 0; i < STORM_NODES; i++) {
        size_t node = order[i];
        /* Without a meeting only the owner of a handle may use it. */
        if (!storm->meet_before_release && node % STORM_THREADS != self->number)
            continue;
        if (canopy_cancel(storm->nodes[node]))
            atomic_fetch_add(&storm->wins[node], 1);
        if (!storm->meet_before_release)
            canopy_release(storm->nodes[node]);
    }
    meet(&storm->turn);
    if (storm->meet_before_release) {
        for (size_t i = 0; i < STORM_NODES; i++)
            assert_ended(storm->nodes[i], -ECANCELED, CANOPY_CANCELED);
        meet(&storm->turn);
        for (size_t i = 0; i < STORM_NODES; i++)
            if (order[i] % STORM_THREADS == self->number)
                canopy_release(storm->nodes[order[i]]);
    }
    free(order);
}

static void run_storm(bool meet_before_release)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    struct storm *storm = calloc(1, sizeof *storm);
    assert_non_null(storm);
    storm->meet_before_release = meet_before_release;
    storm->turn.parties = STORM_THREADS;
    uint64_t seed = 15;
    for (int round = 0; round < SCALED(20, 4); round++) {
        for (size_t i = 0; i < STORM_NODES; i++) {
            const canopy_ctx *parent = i ? storm->nodes[random_next(&seed) % i] : f.root;
            storm->nodes[i] = i % 5 == 1   ? canopy_with_value(parent, &key, NULL)
                              : i % 5 == 2 ? canopy_with_timeout(parent, HOURS(1))
                                           : canopy_with_cancel(parent);
            atomic_store(&storm->wins[i], 0);
        }
        struct thread threads[STORM_THREADS];
        struct storm_thread selves[STORM_THREADS];
        for (size_t i = 0; i < STORM_THREADS; i++) {
            selves[i] = (struct storm_thread){storm, i};
            thread_start(&threads[i], storm_body, &selves[i]);
        }
        for (size_t i = 0; i < STORM_THREADS; i++)
            thread_join(&threads[i]);
        for (size_t i = 0; i < STORM_NODES; i++)
            assert_true(atomic_load(&storm->wins[i]) <= (i % 5 == 1 ? 0 : 1));
        assert_int_equal(canopy_wait_idle(f.root, now_ns() + SOON), 0);
    }
    free(storm);
    fixture_close(&f);
}

TEST(p15_all_cancelled_at_once_from_all_sides_ends_done)
{
    run_storm(true);
}

TEST(p15_all_ended_at_once_from_all_sides_leaks_nothing)
{
    run_storm(false);
}
