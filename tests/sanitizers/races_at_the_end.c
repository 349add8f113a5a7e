/*
 * races_at_the_end.c - what ThreadSanitizer must report of callbacks, last
 * references and groups, and what it must not; as races.c.
 */
#include "beside.h"

/* ------------------------------------------------------------------ callbacks */

struct registration {
    canopy_ctx *ctx;
    canopy_callback record;
};

static void writes_and_registers(void *arg)
{
    struct registration *it = arg;
    datum = 1;
    assert_int_equal(canopy_after_func(it->ctx, &it->record, reads_in_callback, NULL), 0);
    reach(1);
}

static void registers_and_writes(void *arg)
{
    struct registration *it = arg;
    assert_int_equal(canopy_after_func(it->ctx, &it->record, reads_in_callback, NULL), 0);
    datum = 1;
    reach(1);
}

static void cancels_registered(void *arg)
{
    struct registration *it = arg;
    await(1);
    assert_true(canopy_cancel(it->ctx));
}

static void registered(void (*registrar)(void *arg))
{
    struct registration it = {.ctx = canopy_with_cancel(canopy_background())};
    beside(registrar, &it, cancels_registered, &it);
    canopy_release(it.ctx);
}

TEST(ordered_by_registration)
{
    registered(writes_and_registers);
}

TEST(planted_write_after_registration)
{
    registered(registers_and_writes);
}

static void writes_in_callback(void *arg)
{
    (void)arg;
    writes(NULL);
}

static void writes_and_stays_in_callback(void *arg)
{
    writes_in_callback(arg);
    await(2);
}

static void cancels_it(void *arg)
{
    struct registration *it = arg;
    canopy_cancel(it->ctx);
}

static void stops_and_joins(void *arg)
{
    struct registration *it = arg;
    await(1);
    assert_false(canopy_callback_stop(&it->record));
    assert_int_equal(canopy_callback_join(&it->record), 0);
    read_datum();
}

static void stops_and_does_not_join(void *arg)
{
    struct registration *it = arg;
    await(1);
    assert_false(canopy_callback_stop(&it->record));
    read_datum();
    reach(2);
}

static void stopped_too_late(void (*callback)(void *arg), void (*stopper)(void *arg))
{
    struct registration it = {.ctx = canopy_with_cancel(canopy_background())};
    assert_int_equal(canopy_after_func(it.ctx, &it.record, callback, NULL), 0);
    beside(cancels_it, &it, stopper, &it);
    canopy_release(it.ctx);
}

TEST(ordered_by_a_join)
{
    stopped_too_late(writes_in_callback, stops_and_joins);
}

TEST(planted_stop_without_a_join)
{
    stopped_too_late(writes_and_stays_in_callback, stops_and_does_not_join);
}

/* The callback runs on a thread of the library's: the deadline is far enough for that. */
static void expired(void (*callback)(void *arg), void (*stopper)(void *arg))
{
    struct registration it = {.ctx = canopy_with_timeout(canopy_background(), SECONDS(1))};
    datum = 0;
    reach(0);
    assert_int_equal(canopy_after_func(it.ctx, &it.record, callback, NULL), 0);
    stopper(&it);
    assert_int_equal(canopy_callback_join(&it.record), 0);
    canopy_release(it.ctx);
}

TEST(ordered_by_a_join_at_expiry)
{
    expired(writes_in_callback, stops_and_joins);
}

TEST(planted_stop_without_a_join_at_expiry)
{
    expired(writes_and_stays_in_callback, stops_and_does_not_join);
}

/* ------------------------------------------------- the ends of values and trees */

static void destroys(void *value)
{
    int *halves = value;
    assert_int_equal(halves[0] + halves[1], 2);
    reach(2);
}

static const canopy_key halves_key = {"halves", destroys};

struct half {
    const canopy_ctx *layer;
    int *value;
};

static void writes_and_releases(void *arg)
{
    struct half *half = arg;
    *half->value = 1;
    canopy_release(half->layer);
    reach(1);
}

static void releases_and_writes(void *arg)
{
    struct half *half = arg;
    canopy_release(half->layer);
    *half->value = 1;
    reach(1);
}

static void writes_and_releases_last(void *arg)
{
    struct half *half = arg;
    await(1);
    *half->value = 1;
    canopy_release(half->layer);
    await(2);
}

static void two_references(void (*first)(void *arg))
{
    int value[2] = {0, 0};
    const canopy_ctx *layer = canopy_with_value(canopy_background(), &halves_key, value);
    struct half halves[] = {{layer, &value[0]}, {canopy_retain(layer), &value[1]}};
    beside(first, &halves[0], writes_and_releases_last, &halves[1]);
}

TEST(ordered_by_the_last_release)
{
    two_references(writes_and_releases);
}

TEST(planted_write_after_a_release)
{
    two_references(releases_and_writes);
}

struct family {
    canopy_ctx *parent, *child;
};

static void writes_and_ends(void *arg)
{
    struct family *family = arg;
    datum = 1;
    canopy_end(family->child);
    reach(1);
}

static void ends_and_writes(void *arg)
{
    struct family *family = arg;
    canopy_end(family->child);
    datum = 1;
    reach(1);
}

static void waits_for_idle(void *arg)
{
    struct family *family = arg;
    assert_int_equal(canopy_wait_idle(family->parent, CANOPY_NEVER), 0);
    await(1);
    read_datum();
}

static void until_idle(void (*writer)(void *arg))
{
    struct family family = {.parent = canopy_with_cancel(canopy_background())};
    family.child = canopy_with_cancel(family.parent);
    beside(writer, &family, waits_for_idle, &family);
    canopy_end(family.parent);
}

TEST(ordered_by_a_wait_for_idle)
{
    until_idle(writes_and_ends);
}

TEST(planted_write_after_the_end_of_a_child)
{
    until_idle(ends_and_writes);
}

/* --------------------------------------------------------------------- groups */

static int member_writes_and_stays(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    datum = 1;
    await(1);
    return 0;
}

static int member_writes(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    writes(arg);
    return 0;
}

TEST(ordered_by_a_wait_for_the_group)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    assert_int_equal(canopy_group_go(&group, member_writes, NULL), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    read_datum();
}

TEST(planted_writes_of_two_members)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    assert_int_equal(canopy_group_go(&group, member_writes_and_stays, NULL), 0);
    assert_int_equal(canopy_group_go(&group, member_writes, NULL), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
}
