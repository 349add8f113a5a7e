/*
 * cancel_scenarios.c - what may happen beside a cancel: derive, release, another
 * cancel, a reset. Promises 2 to 8, 11, 12, 15, 24, 26.
 */
#include "explore.h"

#include <errno.h>

static canopy_ctx *top, *middle, *leaf;
static int wins;

static void cancels_top(void)
{
    wins += canopy_cancel(top);
    CHECK(canopy_done(top));
}

static void make_chain(void)
{
    top = canopy_with_cancel(scenario_base());
    middle = canopy_with_cancel(top);
    leaf = canopy_with_cancel(middle);
}

static void end_all(void)
{
    canopy_end(leaf);
    canopy_end(middle);
    canopy_end(top);
    scenario_close();
}

static void check_done(const canopy_ctx *ctx, const canopy_cause *cause)
{
    CHECK(canopy_err(ctx) == -ECANCELED);
    CHECK(canopy_cause_of(ctx) == cause);
}

/* ---------------------------------------------------------------------- derive */

static canopy_ctx *made[3];

static void derives(void)
{
    made[0] = canopy_with_cancel(top);
}

static void derives_another(void)
{
    made[1] = canopy_with_cancel(top);
}

static void derives_through_a_value(void)
{
    static const canopy_key key = {.name = "key"};
    made[1] = canopy_with_value(top, &key, &wins);
    made[2] = canopy_with_cancel(made[1]);
}

static void end_made(void)
{
    for (unsigned i = 0; i < 3; i++) {
        if (made[i])
            check_done(made[i], CANOPY_CANCELED);
        canopy_end(made[i]);
    }
    canopy_end(top);
    scenario_close();
}

SCENARIO(derive_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    beside(derives, cancels_top, NULL);
    CHECK(wins == 1);
    end_made();
}

SCENARIO(derive_through_a_value_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    beside(derives_through_a_value, cancels_top, NULL);
    end_made();
}

SCENARIO(two_derivations_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    beside(derives, derives_another, cancels_top, NULL);
    end_made();
}

static void fill_first_line(canopy_ctx *fill[8])
{
    for (unsigned i = 0; i < 8; i++)
        fill[i] = canopy_with_cancel(top);
}

SCENARIO(two_derivations_making_stripes_beside_cancel)
{
    canopy_ctx *fill[8];
    top = canopy_with_cancel(scenario_base());
    fill_first_line(fill);
    beside(derives, derives_another, cancels_top, NULL);
    for (unsigned i = 0; i < 8; i++)
        canopy_end(fill[i]);
    end_made();
}

/* --------------------------------------------------------------------- release */

static void releases_leaf(void)
{
    canopy_release(leaf);
    leaf = NULL;
}

static void releases_middle(void)
{
    canopy_release(middle);
    middle = NULL;
}

static void releases_top(void)
{
    canopy_release(top);
    top = NULL;
}

static void cancels_leaf(void)
{
    wins += canopy_cancel(leaf);
    CHECK(canopy_done(leaf));
}

static void cancels_middle(void)
{
    wins += canopy_cancel(middle);
    CHECK(canopy_done(middle));
    CHECK(canopy_done(leaf));
}

SCENARIO(release_of_child_beside_cancel)
{
    make_chain();
    beside(releases_leaf, cancels_top, NULL);
    check_done(middle, CANOPY_CANCELED);
    end_all();
}

SCENARIO(release_of_middle_beside_cancel)
{
    make_chain();
    beside(releases_middle, cancels_top, NULL);
    check_done(leaf, CANOPY_CANCELED);
    end_all();
}

SCENARIO(release_of_both_beside_cancel)
{
    make_chain();
    beside(releases_leaf, releases_middle, cancels_top, NULL);
    check_done(top, CANOPY_CANCELED);
    end_all();
}

SCENARIO(release_of_parent_beside_release_of_child)
{
    make_chain();
    beside(releases_middle, releases_leaf, NULL);
    end_all();
}

SCENARIO(release_of_a_whole_chain)
{
    make_chain();
    beside(releases_top, releases_middle, releases_leaf, NULL);
    end_all();
}

static void ends_leaf(void)
{
    canopy_end(leaf);
    leaf = NULL;
}

SCENARIO(release_of_parent_beside_end_of_child)
{
    make_chain();
    beside(releases_middle, ends_leaf, NULL);
    CHECK(!canopy_done(top));
    end_all();
}

static const canopy_ctx *retained;

static void derives_from_retained_view(void)
{
    made[0] = canopy_with_cancel(retained);
}

/* `middle` lives by its children alone, of which one stays until the end. */
SCENARIO(derive_under_released_parent)
{
    make_chain();
    made[1] = canopy_with_cancel(middle);
    retained = middle;
    canopy_release(middle);
    middle = NULL;
    beside(derives_from_retained_view, releases_leaf, cancels_top, NULL);
    canopy_end(made[1]);
    made[1] = NULL;
    end_made();
}

static void derives_from_retained(void)
{
    derives_from_retained_view();
    canopy_release(retained);
}

SCENARIO(derive_beside_other_release_beside_cancel)
{
    make_chain();
    canopy_release(leaf);
    retained = canopy_retain(middle);
    leaf = NULL;
    beside(derives_from_retained, releases_middle, cancels_top, NULL);
    check_done(made[0], CANOPY_CANCELED);
    canopy_end(made[0]);
    canopy_end(top);
    scenario_close();
}

/* --------------------------------------------------------------- cancel and cancel */

static const canopy_cause first_cause = {.code = 1, .text = "first"};
static const canopy_cause second_cause = {.code = 2, .text = "second"};
static bool first_won, second_won;

static void cancels_top_first(void)
{
    first_won = canopy_cancel_cause(top, &first_cause);
    CHECK(canopy_done(top) && canopy_done(middle) && canopy_done(leaf));
}

static void cancels_top_second(void)
{
    second_won = canopy_cancel_cause(top, &second_cause);
    CHECK(canopy_done(top) && canopy_done(middle) && canopy_done(leaf));
}

static void cancels_middle_second(void)
{
    second_won = canopy_cancel_cause(middle, &second_cause);
    CHECK(canopy_done(middle) && canopy_done(leaf));
}

SCENARIO(cancel_beside_cancel_of_the_same)
{
    make_chain();
    beside(cancels_top_first, cancels_top_second, NULL);
    CHECK(first_won != second_won);
    check_done(leaf, first_won ? &first_cause : &second_cause);
    check_done(middle, first_won ? &first_cause : &second_cause);
    end_all();
}

SCENARIO(cancel_beside_cancel_of_the_child)
{
    make_chain();
    beside(cancels_top_first, cancels_middle_second, NULL);
    CHECK(first_won);
    check_done(top, &first_cause);
    check_done(middle, second_won ? &second_cause : &first_cause);
    CHECK(canopy_err(leaf) == -ECANCELED);
    end_all();
}

SCENARIO(cancel_beside_cancel_beside_cancel)
{
    make_chain();
    beside(cancels_top, cancels_middle, cancels_leaf, NULL);
    CHECK(wins >= 1);
    end_all();
}

static void observes_leaf(void)
{
    int err = canopy_err(leaf);
    const canopy_cause *cause = canopy_cause_of(leaf);
    CHECK(err == 0 || (err == -ECANCELED && cause == &first_cause));
    CHECK(!cause || (cause == &first_cause && canopy_err(leaf) == -ECANCELED));
    /* Parents are marked before their children. */
    if (cause)
        CHECK(canopy_done(middle) && canopy_done(top));
}

SCENARIO(observe_beside_cancel)
{
    make_chain();
    beside(observes_leaf, cancels_top_first, NULL);
    end_all();
}

/* ------------------------------------------------------------- layers in between */

static canopy_ctx *layer;
static int destroyed;

static void destroys(void *value)
{
    CHECK(value == &wins);
    destroyed++;
}

static const canopy_key destroyed_key = {.name = "destroyed", .destroy = destroys};

/* top - value layer - leaf */
static void make_layered(void)
{
    top = canopy_with_cancel(scenario_base());
    layer = canopy_with_value(top, &destroyed_key, &wins);
    leaf = canopy_with_cancel(layer);
}

static void releases_layer(void)
{
    canopy_release(layer);
}

static void cancels_top_below_layer(void)
{
    CHECK(canopy_cancel(top));
    CHECK(canopy_done(leaf));
    CHECK(canopy_value(leaf, &destroyed_key) == &wins);
}

static void end_layered(void)
{
    canopy_end(leaf);
    canopy_end(top);
    scenario_close();
    CHECK(destroyed == 1);
}

SCENARIO(release_of_a_value_layer_beside_cancel)
{
    make_layered();
    beside(releases_layer, cancels_top_below_layer, NULL);
    end_layered();
}

/* The value goes with the last of the two, whoever is later. */
SCENARIO(release_of_a_value_layer_beside_release_of_its_child_beside_cancel)
{
    make_layered();
    beside(releases_layer, releases_leaf, cancels_top, NULL);
    end_layered();
}

static void derives_below_layer(void)
{
    made[0] = canopy_with_cancel(layer);
    canopy_release(layer);
}

SCENARIO(derive_under_a_value_layer_beside_cancel)
{
    make_layered();
    beside(derives_below_layer, cancels_top, NULL);
    check_done(made[0], CANOPY_CANCELED);
    canopy_end(made[0]);
    end_layered();
}

static void derives_detached(void)
{
    made[0] = canopy_without_cancel(middle);
    made[1] = canopy_with_cancel(made[0]);
}

SCENARIO(derive_detached_beside_cancel)
{
    make_chain();
    beside(derives_detached, cancels_top, NULL);
    CHECK(!canopy_done(made[0]) && !canopy_done(made[1]));
    canopy_end(made[0]);
    canopy_end(made[1]);
    end_all();
}

/* ----------------------------------------------------------------------- reset */

static void resets_leaf(void)
{
    bool live = canopy_try_reset(leaf);
    CHECK(live || canopy_done(leaf));
}

SCENARIO(reset_beside_cancel)
{
    make_chain();
    beside(resets_leaf, cancels_top, NULL);
    check_done(leaf, CANOPY_CANCELED);
    end_all();
}

static void cycles_leaf(void)
{
    resets_leaf();
    made[0] = canopy_with_cancel(leaf);
    CHECK(!canopy_try_reset(leaf)); /* not childless any more */
}

SCENARIO(reset_and_derive_beside_cancel)
{
    make_chain();
    beside(cycles_leaf, cancels_top, NULL);
    check_done(made[0], CANOPY_CANCELED);
    canopy_end(made[0]);
    end_all();
}
