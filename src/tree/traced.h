/*
 * traced.h - what contexts with notes come to, told to the rings of a trace
 * (memory/rings.h), while one is on. Each by who has the context in hand at that moment.
 */
#ifndef CANOPY_TRACED_H
#define CANOPY_TRACED_H

#include "memory/rings.h"
#include "tree/node.h"

/* Of one that was made: after its life has begun. */
void trace_made(const struct canopy_ctx *ctx, const struct canopy_ctx *parent, const void *place);

/*
 * Of one that has ended, with `by` or (NULL) by an end of its own. Nothing of one whose life
 * is not to be told yet, or no more: who makes it tells that it was born done.
 */
void trace_ended(const struct canopy_ctx *ctx, const struct canopy_ctx *by);

/* A cancel of it is through with what is below; before its callbacks run. */
void trace_canceled(const struct canopy_ctx *ctx, const void *place);

/* Before its life ends. */
void trace_gone(const struct canopy_ctx *ctx);

/* The id of a context that has a note, and lives, or has just gone. */
uint64_t trace_id(const struct canopy_ctx *ctx);

#endif
