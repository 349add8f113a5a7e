/*
 * told.c - in a debug build of canopy (canopy/debug.h) that nginx finds in the place of the
 * release build, so that a process of nginx's that makes a mistake says which, and dies.
 */
#include <canopy/debug.h>

__attribute__((constructor)) static void be_told(void)
{
    (void)canopy_debug_set_hook(canopy_debug_abort, NULL);
}
