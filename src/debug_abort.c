/*
 * debug_abort.c - the ready-made hook, for hosts that ask for it.
 */
#include <canopy/debug.h>
#include <stdio.h>
#include <stdlib.h>

void canopy_debug_abort(const canopy_debug_report *report, void *user)
{
    (void)user;
    fprintf(stderr, "canopy: %s\n", report->text);
    abort();
}
