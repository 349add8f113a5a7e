/*
 * borrowed_view.c - everything that a function may do with the context it was
 * handed: observe, wait, look up, derive, register. Must compile, in C and C++.
 */
#include <canopy/canopy.h>

int callee(const canopy_ctx *ctx, const canopy_key *key, canopy_callback *callback,
           canopy_group *group, void (*fn)(void *arg));

int callee(const canopy_ctx *ctx, const canopy_key *key, canopy_callback *callback,
           canopy_group *group, void (*fn)(void *arg))
{
    const canopy_ctx *const inputs[] = {ctx, canopy_background()};
    canopy_ctx *const children[] = {
        canopy_with_cancel(ctx),      canopy_with_timeout(ctx, 1),
        canopy_with_deadline(ctx, 1), canopy_with_value(ctx, key, NULL),
        canopy_without_cancel(ctx),   canopy_with_any(inputs, 2),
    };
    int64_t deadline_ns;
    void *value;

    canopy_release(canopy_retain(ctx));
    if (canopy_done(ctx) || canopy_err_at(ctx, 0) != 0 || canopy_cause_of(ctx) != NULL)
        return canopy_err(ctx);
    if (canopy_deadline(ctx, &deadline_ns) || canopy_lookup(ctx, key, &value))
        return canopy_done_fd(ctx);
    if (canopy_wait(ctx, 0) || canopy_wait_any(inputs, 2, 0) >= 0 || canopy_sleep(ctx, 0) != 0)
        return canopy_wait_idle(ctx, 0);
    canopy_cancel(children[0]);
    return canopy_after_func(ctx, callback, fn, canopy_value(ctx, key)) +
           canopy_group_init(group, ctx, 0);
}
