/*
 * inspect.c - the public functions of a debug build that tell of contexts; those that take
 * an id are the library's own.
 */
#include <canopy/inspect.h>
#include <errno.h>

#include "debug/shadow.h"

CORE(id);
CORE(name);
CORE(dump);
CORE(leaks);
CORE(stats_causes);
CORE(stats_read);
CORE(walk_next);

uint64_t canopy_id(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_id(core) : 0;
}

void canopy_name(canopy_ctx *ctx, const char *name)
{
    core_name(shadow_core(ctx, HERE), name);
}

/* The same with the library's own context at the top. False: there is none. */
static bool top_open(canopy_walk *core, const canopy_walk *what, canopy_debug_place here)
{
    *core = *what;
    if (what->top)
        core->top = shadow_core(what->top, here);
    return !what->top == !core->top;
}

int canopy_walk_next(canopy_walk *walk, canopy_info infos[], size_t n)
{
    canopy_walk core;
    if (!walk || !top_open(&core, walk, HERE))
        return -EINVAL;
    const canopy_ctx *top = walk->top;
    int count = core_walk_next(&core, infos, n);
    *walk = core;
    walk->top = top;
    return count;
}

int canopy_leaks(const canopy_ctx *top, int64_t older_than_ns, canopy_leak leaks[], size_t n)
{
    const canopy_ctx *core = shadow_core(top, HERE);
    return top && !core ? -EINVAL : core_leaks(core, older_than_ns, leaks, n);
}

int canopy_dump(const canopy_walk *what, canopy_format format, canopy_sink_fn sink, void *user)
{
    canopy_walk core;
    if (what && !top_open(&core, what, HERE))
        return -EINVAL;
    return core_dump(what ? &core : NULL, format, sink, user);
}

int canopy_stats_read(const canopy_ctx *root, canopy_stats *stats)
{
    return core_stats_read(shadow_core(root, HERE), stats);
}

int canopy_stats_causes(const canopy_ctx *root, canopy_cause_count counts[], size_t n)
{
    return core_stats_causes(shadow_core(root, HERE), counts, n);
}
