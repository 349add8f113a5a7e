/*
 * merge.h - merged contexts, and the way up through them.
 */
#ifndef CANOPY_MERGE_H
#define CANOPY_MERGE_H

#include "tree/birth.h"

/* ------------------------------------------------------------------ the way up */

typedef void (*visit_fn)(struct canopy_ctx *ctx, void *arg);

/* Visits upwards to the next merged context, which it returns unvisited, or to the end. */
static inline __attribute__((always_inline)) struct canopy_ctx *
ancestors_visit_chain(struct canopy_ctx *ctx, visit_fn visit, void *arg)
{
    for (; ctx; ctx = ctx_parent(ctx)) {
        enum kind kind = ctx_kind(ctx);
        if (kind <= KIND_ROOT)
            visit(ctx, arg);
        else if (kind == KIND_MERGED)
            return ctx;
        else if (kind == KIND_DETACHED || kind == KIND_STATIC)
            return NULL;
    }
    return NULL;
}

/* The rest of the way, from a merged context on. */
void ancestors_visit_above(struct canopy_ctx *merged, visit_fn visit, void *arg);

/*
 * Calls visit(ctx), then for everything above `ctx` up to where cancellation
 * stops, once or more for each, all inputs of merged contexts included. Costs
 * O(depth), and blocks briefly below a merged context, whatever the shape.
 */
static inline __attribute__((always_inline)) void ancestors_visit(struct canopy_ctx *ctx,
                                                                  visit_fn visit, void *arg)
{
    struct canopy_ctx *merged = ancestors_visit_chain(ctx, visit, arg);
    if (unlikely(merged != NULL))
        ancestors_visit_above(merged, visit, arg);
}

/* The INPUTs of a merged context are linked; its parent is the first. */
static inline struct canopy_ctx *input_next(const struct canopy_ctx *input)
{
    return (struct canopy_ctx *)(uintptr_t)u64_load_relaxed(&input->refs);
}

/* canopy_with_any for who calls at `place`. */
struct canopy_ctx *merged_new(const canopy_ctx *const inputs[], size_t n, const void *place);

/* Held by fork around itself. */
extern pthread_mutex_t merge_lock;

/*
 * A merged context's last reference: its inputs end, and what dies of that joins `dead`.
 * Its memory goes now or, where somebody may look at it, by merged_reclaim after a grace
 * period.
 */
void merged_end(struct canopy_ctx *merged, struct handoff_node **dead);
void merged_reclaim(struct canopy_ctx *merged);

#endif
