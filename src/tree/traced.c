/*
 * traced.c - events of contexts; see traced.h.
 */
#include "tree/traced.h"

#include "tree/note.h"

uint64_t trace_id(const struct canopy_ctx *ctx)
{
    uint64_t life = u64_load_relaxed(&note_beside(ctx)->life);
    return note_id(ctx, life - !(life & 1));
}

/* The same of one that may have none: 0. */
static uint64_t id_or_none(const struct canopy_ctx *ctx)
{
    bool has_note = ctx && ctx_kind(ctx) != KIND_STATIC && (ctx->parent & PARENT_NOTED);
    return has_note ? trace_id(ctx) : 0;
}

void trace_made(const struct canopy_ctx *ctx, const struct canopy_ctx *parent, const void *place)
{
    ring_add(ring_what(RING_MADE, ctx_kind(ctx), (uintptr_t)place), trace_id(ctx),
             id_or_none(parent), NULL);
}

void trace_ended(const struct canopy_ctx *ctx, const struct canopy_ctx *by)
{
    uint64_t life = u64_load_relaxed(&note_beside(ctx)->life);
    if (!(life & 1))
        return;
    uintptr_t state = ctx_state(ctx);
    const canopy_cause *cause = state_cause(state);
    uint64_t id = note_id(ctx, life);
    unsigned detail = (state & STATE_KIND_MASK) == STATE_TIMEDOUT;
    if (by)
        ring_add(ring_what(RING_ENDED, detail, 0), id, id_or_none(ctx_scope(by)), NULL);
    else
        ring_add(ring_what(RING_ENDED, detail, (uint32_t)cause->code), id, id, cause->text);
}

void trace_canceled(const struct canopy_ctx *ctx, const void *place)
{
    ring_add(ring_what(RING_CANCELED, 0, (uintptr_t)place), trace_id(ctx), 0, NULL);
}

void trace_gone(const struct canopy_ctx *ctx)
{
    const char *name = (const char *)word_load_acquire(&note_beside(ctx)->name); /* NT2 */
    ring_add(ring_what(RING_GONE, 0, 0), trace_id(ctx), 0, name);
}
