/*
 * pairs_in_c.c - what is counted in both languages, in C: errors looked at, everything
 * given back.
 */
#include "pairs.h"

#include <canopy/loop.h>

#define REPEAT for (unsigned i = 0; i < BATCH; i++)

static const canopy_key key = {"key", NULL};
static const canopy_cause closed = {-EPIPE, "closed", NULL, 0};
static canopy_loop loop;

#define FAR_AWAY_NS (CANOPY_NEVER - TIMEOUT_NS)

void pair_enter(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    if (canopy_loop_init(&loop, NULL) != 0)
        pair_fail();
}

void pair_leave(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    canopy_loop_close(&loop);
}

void pair_create(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *ctx = canopy_with_cancel(scene->parent);
        if (!ctx)
            pair_fail();
        canopy_end(ctx);
    }
}

void pair_cancel(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *ctx = canopy_with_cancel(scene->parent);
        if (!ctx || !canopy_cancel_cause(ctx, &closed))
            pair_fail();
        canopy_end(ctx);
    }
}

void pair_timeout(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *ctx = canopy_with_timeout(scene->parent, TIMEOUT_NS);
        if (!ctx)
            pair_fail();
        canopy_end(ctx);
    }
}

void pair_deadline(struct scene *scene, struct part *part)
{
    canopy_ctx *ctx = canopy_with_cancel(scene->parent);
    (void)part;
    if (!ctx)
        pair_fail();
    REPEAT
    {
        int64_t deadline_ns;
        if (!canopy_set_deadline(ctx, FAR_AWAY_NS) || !canopy_deadline(ctx, &deadline_ns))
            pair_fail();
        pair_keep((uintptr_t)deadline_ns);
        if (!canopy_set_deadline(ctx, CANOPY_NEVER))
            pair_fail();
    }
    canopy_end(ctx);
}

void pair_moved(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *made = canopy_with_cancel(scene->parent);
        if (!made)
            pair_fail();
        canopy_ctx *child = canopy_with_cancel(made);
        if (!child)
            pair_fail();
        canopy_end(child);
        canopy_end(made);
    }
}

static __attribute__((noinline)) canopy_ctx *make(const canopy_ctx *parent)
{
    return canopy_with_cancel(parent);
}

void pair_returned(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *ctx = make(scene->parent);
        if (!ctx)
            pair_fail();
        canopy_end(ctx);
    }
}

void pair_value(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_ctx *ctx = canopy_with_value(scene->parent, &key, part);
        if (!ctx)
            pair_fail();
        pair_keep((uintptr_t)canopy_value(ctx, &key));
        canopy_end(ctx);
    }
}

static __attribute__((noinline)) int look(const canopy_ctx *ctx)
{
    if (canopy_done(ctx))
        return canopy_cause_of(ctx)->code;
    return canopy_err(ctx);
}

void pair_observe(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT pair_keep((uintptr_t)look(scene->parent));
}

static void count(void *arg)
{
    struct part *part = arg;
    part->random++;
}

void pair_callback(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_callback callback;
        if (canopy_after_func(scene->parent, &callback, count, part) != 0)
            pair_fail();
        if (!canopy_callback_stop(&callback))
            canopy_callback_drop(&callback);
    }
}

void pair_callback_run(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_callback callback;
        canopy_ctx *ctx = canopy_with_cancel(scene->parent);
        if (!ctx || canopy_after_func(ctx, &callback, count, part) != 0)
            pair_fail();
        canopy_cancel(ctx);
        if (!canopy_callback_stop(&callback))
            canopy_callback_drop(&callback);
        canopy_end(ctx);
    }
}

void pair_loop_callback(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_loop_callback callback = {0};
        if (canopy_loop_after_func(scene->parent, &loop, &callback, count, part) != 0)
            pair_fail();
        if (!canopy_loop_callback_stop(&callback))
            canopy_loop_callback_drop(&callback);
    }
}

void pair_planted(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT pair_keep((uintptr_t)scene->parent);
}
