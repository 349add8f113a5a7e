/*
 * wait_scenarios.c - threads that sleep, and fds: beside cancel, time-out, release.
 * Promises 4, 33 to 35, wait_idle and root_free.
 */
#include "explore.h"

#include <errno.h>

#define LATER_NS INT64_C(2000000000000)

static canopy_ctx *top, *middle, *leaf;
static int written;
static int64_t until_ns;

static void make_chain(void)
{
    top = canopy_with_cancel(scenario_base());
    middle = canopy_with_cancel(top);
    leaf = canopy_with_cancel(middle);
    until_ns = CANOPY_NEVER;
}

static void end_all(void)
{
    canopy_end(leaf);
    canopy_end(middle);
    canopy_end(top);
    scenario_close();
}

/* ------------------------------------------------------------------------ wait */

static void writes_and_cancels(void)
{
    written = 1;
    canopy_cancel(top);
}

static void cancels_top(void)
{
    CHECK(canopy_cancel(top));
}

static void waits_for_leaf(void)
{
    bool done = canopy_wait(leaf, until_ns);
    CHECK(done || until_ns != CANOPY_NEVER);
    CHECK(!done || (written == 1 && canopy_done(leaf)));
}

static void waits_for_middle(void)
{
    CHECK(canopy_wait(middle, CANOPY_NEVER));
    CHECK(written == 1);
}

SCENARIO(wait_beside_cancel)
{
    make_chain();
    beside(waits_for_leaf, writes_and_cancels, NULL);
    end_all();
}

SCENARIO(two_waits_beside_cancel)
{
    make_chain();
    beside(waits_for_leaf, waits_for_middle, writes_and_cancels, NULL);
    end_all();
}

SCENARIO(two_waits_for_the_same_beside_cancel)
{
    make_chain();
    beside(waits_for_middle, waits_for_middle, writes_and_cancels, NULL);
    end_all();
}

SCENARIO(wait_with_timeout_beside_cancel)
{
    make_chain();
    until_ns = LATER_NS;
    beside(waits_for_leaf, writes_and_cancels, NULL);
    end_all();
}

static const canopy_key key = {.name = "key"};

/* A value layer's waiter sleeps on what it shares its state with. */
SCENARIO(wait_through_a_value_beside_cancel)
{
    make_chain();
    canopy_release(leaf);
    leaf = canopy_with_value(middle, &key, NULL);
    beside(waits_for_leaf, waits_for_middle, writes_and_cancels, NULL);
    end_all();
}

/* ---------------------------------------------------------------- wait for several */

static int waited_index;

static void waits_for_any(void)
{
    const canopy_ctx *both[] = {leaf, middle};
    waited_index = canopy_wait_any(both, 2, until_ns);
    CHECK(waited_index >= 0 || until_ns != CANOPY_NEVER);
    CHECK(waited_index < 0 || canopy_done(both[waited_index]));
}

static void waits_for_parent_and_child(void)
{
    const canopy_ctx *both[] = {middle, leaf};
    waited_index = canopy_wait_any(both, 2, CANOPY_NEVER);
}

/* The parent is done first: there is no moment at which the child would be the lowest. */
SCENARIO(wait_any_of_parent_and_child_beside_cancel)
{
    make_chain();
    beside(waits_for_parent_and_child, writes_and_cancels, NULL);
    CHECK(waited_index == 0);
    end_all();
}

static void cancels_leaf(void)
{
    canopy_cancel(leaf);
}

static void cancels_middle(void)
{
    canopy_cancel(middle);
}

SCENARIO(wait_any_beside_cancel)
{
    make_chain();
    beside(waits_for_any, cancels_top, NULL);
    end_all();
}

SCENARIO(wait_any_with_timeout_beside_cancel)
{
    make_chain();
    until_ns = LATER_NS;
    beside(waits_for_any, cancels_top, NULL);
    end_all();
}

SCENARIO(wait_any_beside_cancels_of_two)
{
    make_chain();
    beside(waits_for_any, cancels_leaf, cancels_middle, NULL);
    CHECK(waited_index == 0 || waited_index == 1);
    end_all();
}

static void waits_for_any_till_later(void)
{
    const canopy_ctx *both[] = {middle, leaf};
    canopy_wait_any(both, 2, LATER_NS);
}

/* One may leave while the other is told. */
SCENARIO(two_waits_for_any_beside_cancel)
{
    make_chain();
    beside(waits_for_any, waits_for_any_till_later, cancels_middle, NULL);
    CHECK(waited_index >= 0);
    end_all();
}

/* More than there are records for: one stands for all. */
#define MANY 65

static void waits_for_many(void)
{
    const canopy_ctx *many[MANY];
    for (unsigned i = 0; i < MANY; i++)
        many[i] = i == MANY / 2 ? leaf : middle;
    waited_index = canopy_wait_any(many, MANY, CANOPY_NEVER);
    CHECK(canopy_done(many[waited_index]));
}

SCENARIO(wait_for_many_beside_cancel)
{
    make_chain();
    beside(waits_for_many, cancels_leaf, NULL);
    CHECK(waited_index == MANY / 2);
    end_all();
}

static void waits_for_leaf_alone(void)
{
    CHECK(canopy_wait(leaf, CANOPY_NEVER));
}

/* It is woken for what others wait for as well, and then sleeps on. */
SCENARIO(wait_for_many_beside_cancels_of_two)
{
    make_chain();
    canopy_ctx *other = canopy_with_cancel(scenario_base());
    canopy_end(leaf);
    leaf = other;
    beside(waits_for_many, waits_for_leaf_alone, cancels_leaf, NULL);
    end_all();
}

/* ---------------------------------------------------------------------- wait idle */

static void waits_for_idle(void)
{
    CHECK(canopy_wait_idle(top, CANOPY_NEVER) == 0);
}

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

SCENARIO(wait_idle_beside_release)
{
    top = canopy_with_cancel(scenario_base());
    leaf = canopy_with_cancel(top);
    beside(waits_for_idle, releases_leaf, NULL);
    end_all();
}

SCENARIO(wait_idle_beside_releases_of_two)
{
    make_chain();
    beside(waits_for_idle, releases_leaf, releases_middle, NULL);
    end_all();
}

static void derives_and_releases(void)
{
    canopy_release(canopy_with_cancel(top));
}

SCENARIO(wait_idle_beside_derive_and_release)
{
    top = canopy_with_cancel(scenario_base());
    beside(waits_for_idle, derives_and_releases, NULL);
    end_all();
}

SCENARIO(wait_idle_beside_release_beside_cancel)
{
    top = canopy_with_cancel(scenario_base());
    leaf = canopy_with_cancel(top);
    beside(waits_for_idle, releases_leaf, cancels_top, NULL);
    end_all();
}

static void waits_for_idle_in_vain(void)
{
    int waited = canopy_wait_idle(top, 0);
    CHECK(waited == 0 || waited == -ETIME);
}

/* Who gives up leaves the other one what wakes it. */
SCENARIO(wait_idle_beside_another_beside_release)
{
    top = canopy_with_cancel(scenario_base());
    leaf = canopy_with_cancel(top);
    beside(waits_for_idle, waits_for_idle_in_vain, releases_leaf, NULL);
    end_all();
}

/* ---------------------------------------------------------------------- root_free */

static canopy_ctx *root;
static int refused;

static void frees_root(void)
{
    refused = canopy_root_free(root);
    CHECK(refused == 0 || refused == -EBUSY);
}

static void end_root(void)
{
    if (refused)
        CHECK(canopy_root_free(root) == 0);
    scenario_close();
}

SCENARIO(root_free_beside_release)
{
    root = canopy_root_new(NULL);
    leaf = canopy_with_cancel(root);
    beside(frees_root, releases_leaf, NULL);
    end_root();
}

static void ends_leaf(void)
{
    canopy_end(leaf);
    leaf = NULL;
}

/* A refusal changes nothing for what still lives. */
SCENARIO(root_free_beside_ends_of_two)
{
    root = canopy_root_new(NULL);
    middle = canopy_with_cancel(root);
    leaf = canopy_with_cancel(middle);
    beside(frees_root, releases_middle, ends_leaf, NULL);
    end_root();
}

/* --------------------------------------------------------------------------- fds */

static int fd, second_fd;

static int fd_of_leaf(void)
{
    int got = canopy_done_fd(leaf);
    CHECK(got >= 0);
    if (canopy_done(leaf))
        CHECK(scenario_fd_is_readable(canopy_done_fd(leaf)));
    return got;
}

static void asks_for_fd(void)
{
    fd = fd_of_leaf();
}

static void asks_for_second_fd(void)
{
    second_fd = fd_of_leaf();
}

static void end_with_fd(void)
{
    CHECK(scenario_fd_is_readable(fd));
    end_all();
}

SCENARIO(done_fd_beside_cancel)
{
    make_chain();
    beside(asks_for_fd, cancels_top, NULL);
    end_with_fd();
}

SCENARIO(done_fd_beside_two_cancels)
{
    make_chain();
    beside(asks_for_fd, cancels_top, cancels_leaf, NULL);
    end_with_fd();
}

SCENARIO(two_done_fds_beside_cancel)
{
    make_chain();
    beside(asks_for_fd, asks_for_second_fd, cancels_top, NULL);
    CHECK(fd == second_fd);
    end_with_fd();
}

SCENARIO(done_fd_through_a_value_beside_cancel)
{
    make_chain();
    canopy_release(leaf);
    leaf = canopy_with_value(middle, &key, NULL);
    beside(asks_for_fd, cancels_top, NULL);
    CHECK(canopy_done_fd(middle) == fd);
    end_with_fd();
}

/* The fd goes with the last reference, also while its context is being cancelled. */
SCENARIO(release_with_done_fd_beside_cancel)
{
    make_chain();
    asks_for_fd();
    beside(releases_leaf, cancels_top, NULL);
    end_all();
}

static void asks_and_releases(void)
{
    asks_for_fd();
    releases_leaf();
}

SCENARIO(done_fd_beside_cancel_beside_release)
{
    make_chain();
    const canopy_ctx *retained = canopy_retain(leaf);
    beside(asks_and_releases, cancels_top, NULL);
    CHECK(canopy_done_fd(retained) == fd && scenario_fd_is_readable(fd));
    canopy_release(retained);
    end_all();
}
