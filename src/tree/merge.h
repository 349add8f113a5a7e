/*
 * merge.h - merged contexts, and the way up through them.
 */
#ifndef CANOPY_MERGE_H
#define CANOPY_MERGE_H

#include "tree/ctx.h"

/*
 * Calls visit(ctx), then for everything above `ctx` up to where cancellation
 * stops, once or more for each, all inputs of merged contexts included. Costs
 * O(depth), and blocks briefly below a merged context, whatever the shape.
 */
void ancestors_visit(struct canopy_ctx *ctx, void (*visit)(struct canopy_ctx *ctx, void *arg),
                     void *arg);

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
