/*
 * release.c - a program that knows debug.h, with a release build: it links, it is
 * told that nothing is looked at, and its contexts are what they are.
 */
#include "../unit/harness.h"

#include <canopy/debug.h>

static void never_called(const canopy_debug_report *report, void *user)
{
    (void)user;
    fail_msg("%s", report->text);
}

TEST(release_build_has_no_hook)
{
    assert_int_equal(canopy_debug_set_hook(never_called, NULL), -ENOTSUP);
    assert_int_equal(canopy_debug_set_hook(NULL, NULL), -ENOTSUP);
}

TEST(release_build_takes_notes_of_no_place)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background()); /* a macro, here */
    assert_ptr_equal(canopy_debug_made(ctx, __FILE__, __LINE__), ctx);
    assert_null(canopy_debug_made(NULL, __FILE__, __LINE__));
    assert_live(ctx);
    canopy_end(ctx);
}
