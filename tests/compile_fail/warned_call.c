/*
 * warned_call.c - one statement that is a mistake, or its twin that is none: the
 * compiler warns of the first and not of the second. C and C++ alike.
 */
#include <canopy/canopy.h>
#include <canopy/loop.h>

int caller(canopy_ctx *ctx, canopy_callback *callback, canopy_group *group, canopy_loop *loop,
           canopy_loop_callback *loop_callback, void (*fn)(void *arg),
           int (*member)(const canopy_ctx *ctx, void *arg));

int caller(canopy_ctx *ctx, canopy_callback *callback, canopy_group *group, canopy_loop *loop,
           canopy_loop_callback *loop_callback, void (*fn)(void *arg),
           int (*member)(const canopy_ctx *ctx, void *arg))
{
    STATEMENT;
    return !ctx || !callback || !group || !loop || !loop_callback || !fn || !member;
}
