/*
 * inspect_scenarios.c - looks at contexts with notes, beside births, deaths, ends, hand-over and
 * slabs that go: see tree/note.h.
 */
#include "explore.h"
#include "memory/pool.h"

#include <canopy/inspect.h>

static canopy_ctx *root, *a, *b;
static uint64_t id_a;
static int result;

/* By the fiber that is to make and end, mostly: so what it ends it makes again in that line. */
static void open_root(void)
{
    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    root = canopy_root_new(&config);
    a = canopy_with_cancel(root);
    canopy_name(a, "a");
    id_a = canopy_id(a);
}

static void close_root(void)
{
    canopy_end(b);
    canopy_end(a);
    CHECK(canopy_wait_idle(root, CANOPY_NEVER) == 0);
    CHECK(canopy_root_free(root) == 0);
    scenario_close();
}

/* What is told is of one life. */
static void looks_at_a(void)
{
    canopy_info info;
    if (canopy_inspect(id_a, &info, sizeof info) != 0)
        return;
    CHECK(info.id == id_a);
    CHECK(info.name && info.name[0] == 'a');
    CHECK(info.parent_id == canopy_id(root));
    CHECK(info.kind == CANOPY_KIND_CANCEL);
    CHECK(!info.err == !info.cause.text);
}

static void looks_at_all(void)
{
    canopy_info infos[4];
    canopy_walk walk = {.info_bytes = sizeof *infos};
    unsigned roots = 0;
    for (int n; (n = canopy_walk_next(&walk, infos, 4)) > 0;)
        for (int i = 0; i < n; i++) {
            bool is_named = infos[i].name != NULL;
            roots += infos[i].id == canopy_id(root);
            CHECK(infos[i].id != id_a || is_named);
            CHECK(!is_named || infos[i].kind == CANOPY_KIND_CANCEL);
        }
    CHECK(roots == 1);
}

static void releases_a(void)
{
    canopy_release(a);
    a = NULL;
}

static const canopy_key key = {.name = "key"};

/* Its line has another life, of another kind. */
static void ends_a_and_makes_another(void)
{
    canopy_end(a);
    a = NULL;
    b = canopy_with_value(root, &key, NULL);
}

static void makes_another(void)
{
    b = canopy_with_value(root, &key, NULL);
}

static void cancels_a(void)
{
    canopy_cancel(a);
}

static void cancels_a_by_id(void)
{
    result = canopy_cancel_id(id_a, NULL);
}

SCENARIO(look_beside_an_end_and_another_life)
{
    before(open_root);
    beside(ends_a_and_makes_another, looks_at_a, NULL);
    close_root();
}

SCENARIO(walk_beside_an_end_and_another_life)
{
    before(open_root);
    beside(ends_a_and_makes_another, looks_at_all, NULL);
    close_root();
}

SCENARIO(walk_beside_a_birth)
{
    before(open_root);
    beside(makes_another, looks_at_all, NULL);
    close_root();
}

SCENARIO(look_beside_cancel)
{
    before(open_root);
    beside(cancels_a, looks_at_a, NULL);
    CHECK(canopy_done(a));
    close_root();
}

SCENARIO(cancel_by_id_beside_the_last_release)
{
    before(open_root);
    beside(releases_a, cancels_a_by_id, NULL);
    CHECK(result == 0 || result == -ESRCH);
    CHECK(canopy_cancel_id(id_a, NULL) == -ESRCH);
    close_root();
}

SCENARIO(cancel_by_id_beside_an_end_and_another_life)
{
    before(open_root);
    beside(ends_a_and_makes_another, cancels_a_by_id, NULL);
    CHECK(result == 0 || result == -EALREADY || result == -ESRCH);
    CHECK(!canopy_done(b));
    close_root();
}

SCENARIO(cancel_by_id_beside_cancel)
{
    before(open_root);
    beside(cancels_a, cancels_a_by_id, NULL);
    CHECK(result == 0 || result == -EALREADY);
    CHECK(canopy_done(a));
    close_root();
}

/* Of two ends with one cause each may be the context's own, and its place is told with its own. */
static void cancels_b(void)
{
    canopy_cancel(b);
}

SCENARIO(look_beside_cancel_of_a_merged_one_and_its_input)
{
    open_root();
    b = canopy_with_any((const canopy_ctx *const[]){a}, 1);
    canopy_info info;
    canopy_ctx *below = canopy_with_cancel(b);
    beside(cancels_a, cancels_b, NULL);
    CHECK(canopy_inspect(canopy_id(below), &info, sizeof info) == 0);
    CHECK(info.ended_by == id_a || info.ended_by == canopy_id(b));
    canopy_end(below);
    close_root();
}

/* What kept two goes, and so both: until they are gone nobody has a handle. */
static uint64_t id_b;

static void looks_at_handles(void)
{
    canopy_info info;
    uint64_t ids[] = {id_a, id_b};
    for (int i = 0; i < 2; i++)
        CHECK(canopy_inspect(ids[i], &info, sizeof info) != 0 || info.handles == 0);
}

static canopy_ctx *merged;

static void ends_merged(void)
{
    canopy_end(merged);
}

SCENARIO(look_beside_the_death_of_two_inputs)
{
    open_root();
    b = canopy_with_cancel(root);
    id_b = canopy_id(b);
    merged = canopy_with_any((const canopy_ctx *const[]){a, b}, 2);
    canopy_release(a);
    canopy_release(b);
    beside(ends_merged, looks_at_handles, NULL);
    a = b = NULL;
    close_root();
}

/* One root goes, while another is looked at by the same numbers. */
static void frees_the_root(void)
{
    releases_a();
    if (canopy_root_free(root) == 0)
        root = NULL;
}

static void looks_around(void)
{
    canopy_info infos[2];
    canopy_walk walk = {.info_bytes = sizeof *infos};
    while (canopy_walk_next(&walk, infos, 2) > 0)
        continue;
    canopy_cancel_id(id_a, NULL);
}

SCENARIO(walk_beside_a_root_that_goes)
{
    before(open_root);
    beside(frees_the_root, looks_around, NULL);
    if (root) /* who looked kept the context for a moment */
        close_root();
    else
        scenario_close();
}

/* Two make and end at once: what one ends the other's heap had made. */
static void ends_b(void)
{
    canopy_end(b);
    b = NULL;
}

SCENARIO(walk_beside_a_hand_over)
{
    open_root();
    b = canopy_with_cancel(a);
    beside(ends_b, looks_at_all, NULL);
    close_root();
}
