/*
 * plugin.c - what another program loads, uses for a while and unloads: it leaves the
 * library's threads at work, and a context that ends afterwards.
 */
#include <canopy/canopy.h>

#include <stdlib.h>

void *plugin_run(void (*ended)(void *));

/* Returns the record of a callback that is still to run: it stays where it is. */
void *plugin_run(void (*ended)(void *))
{
    canopy_callback *callback = malloc(sizeof *callback);
    for (int i = 0; i < 1000; i++) {
        canopy_ctx *ctx = canopy_with_timeout(canopy_background(), INT64_C(1000000) * i);
        canopy_done_fd(ctx);
        canopy_end(ctx);
    }
    canopy_ctx *last = canopy_with_timeout(canopy_background(), INT64_C(20) * 1000 * 1000);
    if (!callback || canopy_after_func(last, callback, ended, NULL) != 0)
        abort();
    canopy_release(last);
    return callback;
}
