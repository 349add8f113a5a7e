/*
 * clock.c - for `run clock`: roots with the library's clock, in one of which something comes
 * due now and then. Under callgrind, which is told to leave this thread out, so that what
 * it collects is the clock's.
 *
 * Usage: counted_clock ROOTS
 */
#include "counted.h"

#include <time.h>

#include <valgrind/callgrind.h>

#define TURNS      40
#define TIMEOUT_MS 2

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * (SECOND_NS / 1000)}, NULL);
}

/* Ended by the clock alone: nobody waits. */
static canopy_ctx *come_due(const canopy_ctx *root)
{
    canopy_ctx *ctx = must(canopy_with_timeout(root, TIMEOUT_MS * (SECOND_NS / 1000)));
    while (!canopy_done(ctx))
        pause_ms(TIMEOUT_MS);
    return ctx;
}

int main(int argc, char **argv)
{
    size_t n = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    canopy_ctx **roots = must(n ? calloc(n, sizeof *roots) : NULL);
    canopy_ctx *due[TURNS];

    for (size_t i = 0; i < n; i++)
        roots[i] = must(canopy_root_new(NULL));
    canopy_end(come_due(roots[n / 2]));
    await_quiet();
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_TOGGLE_COLLECT;
    for (unsigned i = 0; i < TURNS; i++)
        due[i] = come_due(roots[n / 2]);
    CALLGRIND_STOP_INSTRUMENTATION;
    for (unsigned i = 0; i < TURNS; i++)
        canopy_end(due[i]);
    printf("%d\n", TURNS);
    return EXIT_SUCCESS;
}
