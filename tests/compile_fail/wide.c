/*
 * wide.c - all headers for C that need no library but canopy, and what in them is more than a
 * declaration, used: must compile without a warning under the strictest of flags.
 */
#include <canopy/adapters/blocking.h>
#include <canopy/adapters/loop_epoll.h>
#include <canopy/canopy.h>
#include <canopy/debug.h>
#include <canopy/loop.h>

int caller(const canopy_ctx *parent, canopy_loop *loop);

int caller(const canopy_ctx *parent, canopy_loop *loop)
{
    CANOPY_AUTO canopy_ctx *ctx = canopy_with_timeout(parent, 1);
    if (!ctx || !canopy_cancel_cause(ctx, CANOPY_CAUSE(1, "wide")))
        return -1;
    if (canopy_cause_of(ctx) == CANOPY_CANCELED || canopy_cause_of(ctx) == CANOPY_DEADLINE_EXCEEDED)
        return -2;
    return canopy_loop_timeout_ms(canopy_loop_timeout_ns(loop, CANOPY_NEVER));
}
