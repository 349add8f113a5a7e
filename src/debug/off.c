/*
 * off.c - the calls of debug.h in a release build, which looks at nothing. A
 * debug build has shadow.c and what goes with it in its place.
 */
#include <canopy/debug.h>
#include <errno.h>

int canopy_debug_set_hook(canopy_debug_fn fn, void *user)
{
    (void)fn;
    (void)user;
    return -ENOTSUP;
}

canopy_ctx *canopy_debug_made(canopy_ctx *ctx, const char *file, int line)
{
    (void)file;
    (void)line;
    return ctx;
}
