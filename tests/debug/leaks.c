/*
 * leaks.c - what a root still has when it is to be freed is told, each context once
 * and with the place that made it; what is merely on its way out is not.
 */
#include "told.h"

static const canopy_key key = {.name = "key"};

static void do_nothing(void *arg)
{
    (void)arg;
}

struct leaks {
    size_t count;
    canopy_debug_report reports[16];
};

static void collect(const canopy_debug_report *report, void *user)
{
    struct leaks *leaks = user;
    assert_int_equal(report->kind, CANOPY_DEBUG_LEAK);
    assert_true(leaks->count < 16);
    leaks->reports[leaks->count++] = *report;
}

static const canopy_debug_report *leak_of(const struct leaks *leaks, const canopy_ctx *ctx)
{
    for (size_t i = 0; i < leaks->count; i++)
        if (leaks->reports[i].ctx == ctx)
            return &leaks->reports[i];
    return NULL;
}

TEST(missing_releases_are_told_by_where_the_contexts_were_made)
{
    struct leaks leaks = {0};
    assert_int_equal(canopy_debug_set_hook(collect, &leaks), 0);
    canopy_ctx *root = canopy_root_new(NULL), *other_root = canopy_root_new(NULL);
    canopy_ctx *elsewhere = canopy_with_cancel(other_root);
    canopy_ctx *parent = canopy_with_cancel(root);
    canopy_ctx *child = canopy_with_value(parent, &key, NULL);
    int child_line = __LINE__ - 1;
    canopy_ctx *timed = canopy_with_timeout(parent, HOURS(1));
    int timed_line = __LINE__ - 1;
    canopy_release(parent); /* its children keep it: those are the leaks */
    canopy_retain(timed);
    canopy_release(timed);
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 2);
    const canopy_debug_report *leak = leak_of(&leaks, child);
    assert_non_null(leak);
    assert_place(leak->here, "canopy_root_free", 0);
    assert_place(leak->made, "canopy_with_value", child_line);
    assert_null(leak->released.call);
    leak = leak_of(&leaks, timed);
    assert_non_null(leak);
    assert_place(leak->made, "canopy_with_timeout", timed_line);
    assert_place(leak->released, "canopy_release", 0);

    /* Once is enough; what comes later is told of then. */
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 2);
    canopy_ctx *later = canopy_without_cancel(root);
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 3);
    assert_non_null(leak_of(&leaks, later));

    canopy_release(later);
    canopy_release(child);
    canopy_release(timed);
    canopy_release(elsewhere);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_true(eventually(canopy_root_free(other_root) == 0, SOON));
    assert_int_equal(leaks.count, 3);
}

TEST(handles_of_the_root_callbacks_and_groups_are_leaks_too)
{
    struct leaks leaks = {0};
    assert_int_equal(canopy_debug_set_hook(collect, &leaks), 0);
    canopy_ctx *root = canopy_root_new(NULL);
    int root_line = __LINE__ - 1;
    canopy_retain(root);
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 1);
    assert_place(leak_of(&leaks, root)->made, "canopy_root_new", root_line);
    canopy_release(root);

    canopy_callback callback;
    canopy_group group;
    canopy_ctx *ctx = canopy_with_cancel(root);
    assert_int_equal(canopy_after_func(ctx, &callback, do_nothing, NULL), 0);
    canopy_release(ctx); /* the callback keeps it */
    assert_int_equal(canopy_group_init(&group, root, 0), 0);
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 3);
    assert_place(leak_of(&leaks, ctx)->made, "canopy_after_func", 0);
    assert_place(leak_of(&leaks, canopy_group_ctx(&group))->made, "canopy_group_init", 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_true(canopy_callback_stop(&callback));
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_int_equal(leaks.count, 3);
}

TEST(leaks_in_other_roots_that_reach_over_are_told)
{
    struct leaks leaks = {0};
    assert_int_equal(canopy_debug_set_hook(collect, &leaks), 0);
    canopy_ctx *root = canopy_root_new(NULL), *other_root = canopy_root_new(NULL);
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){other_root, root}, 2);
    canopy_ctx *child = canopy_with_cancel(merged), *own = canopy_with_cancel(other_root);
    canopy_release(merged);
    assert_int_equal(canopy_root_free(root), -EBUSY);
    assert_int_equal(leaks.count, 1);
    assert_non_null(leak_of(&leaks, child));
    canopy_release(child);
    canopy_release(own);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
    assert_true(eventually(canopy_root_free(other_root) == 0, SOON));
    assert_int_equal(leaks.count, 1);
}

static void churn(void *root)
{
    for (int i = 0; i < SCALED(2000, 200); i++) {
        canopy_ctx *parent = canopy_with_timeout(root, HOURS(1));
        canopy_ctx *child = canopy_with_cancel(parent);
        canopy_end(parent);
        canopy_end(child);
    }
}

TEST(what_is_only_on_its_way_out_is_no_leak)
{
    struct leaks leaks = {0};
    assert_int_equal(canopy_debug_set_hook(collect, &leaks), 0);
    for (int i = 0; i < 10; i++) {
        canopy_ctx *root = canopy_root_new(NULL);
        struct thread threads[3];
        for (size_t j = 0; j < 3; j++)
            thread_start(&threads[j], churn, root);
        canopy_ctx *looked_at = canopy_with_cancel(root);
        canopy_cancel(root);
        canopy_release(looked_at); /* retired: memory of it stays for a grace period */
        for (size_t j = 0; j < 3; j++)
            thread_join(&threads[j]);
        assert_true(eventually(canopy_root_free(root) == 0, SOON));
    }
    assert_int_equal(leaks.count, 0);
}
