/*
 * quiet.c - linked into the unit tests as they run with a debug build: ends the
 * process with what was reported. So what the promises allow is no mistake, and no
 * test that passes makes one; but for those that see canopy_root_free refuse, which
 * must be told of a leak (LEAKS=must in the environment), and one that may see it (LEAKS=may).
 */
#include <canopy/debug.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_uint leaks;

static void note_leak(const canopy_debug_report *report, void *user)
{
    if (report->kind != CANOPY_DEBUG_LEAK)
        canopy_debug_abort(report, user);
    atomic_fetch_add(&leaks, 1);
}

static void expect_leaks(void)
{
    if (atomic_load(&leaks) == 0)
        _exit(EXIT_FAILURE);
}

__attribute__((constructor)) static void listen(void)
{
    const char *expected = getenv("LEAKS");
    canopy_debug_set_hook(expected ? note_leak : canopy_debug_abort, NULL);
    if (expected && strcmp(expected, "must") == 0)
        atexit(expect_leaks);
}
