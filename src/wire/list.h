/*
 * list.h - lists of members between commas, and what contexts carry of them.
 *
 * A context carries by a value layer. What came above it and is not replaced is pointed
 * to there: the layer keeps all that is above it in memory.
 */
#ifndef CANOPY_WIRE_LIST_H
#define CANOPY_WIRE_LIST_H

#include <canopy/wire.h>

#include "wire/text.h"

/* The next item between commas, without space around it; false: there is none. */
bool list_next(struct text list, size_t *at, struct text *item);

/* Whether an item is a member of a baggage; NULL: that is all. baggage.c. */
bool baggage_member_read(struct text item, canopy_baggage_member *member);

struct carried {
    const canopy_traceparent *trace; /* NULL: none */
    struct text tracestate, baggage; /* without malformed or empty members */
    canopy_traceparent own_trace;
    char bytes[]; /* of own lists */
};

/* What the nearest layer carries, or NULL. */
const struct carried *carried_by(const canopy_ctx *ctx);

/* Carries what is carried above, with room for lists; NULL: no memory, and errno. */
struct carried *carried_new(const canopy_ctx *parent, size_t bytes);

/* A layer that owns it; where that fails it has gone: NULL, and errno. */
canopy_ctx *carried_bind(const canopy_ctx *parent, struct carried *carried);

#endif
