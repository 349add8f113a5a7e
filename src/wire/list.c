/*
 * list.c - lists of members, and the layer of a context that carries some.
 */
#include "wire/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool list_next(struct text list, size_t *at, struct text *item)
{
    if (!list.at || *at >= list.bytes)
        return false;
    const char *begin = list.at + *at;
    size_t left = list.bytes - *at;
    const char *comma = memchr(begin, ',', left);
    size_t bytes = comma ? (size_t)(comma - begin) : left;
    *item = text_trimmed(begin, bytes);
    *at += bytes + (comma != NULL);
    return true;
}

static const canopy_key carried_key = {.name = "canopy wire", .destroy = free};

const struct carried *carried_by(const canopy_ctx *ctx)
{
    return canopy_value(ctx, &carried_key);
}

struct carried *carried_new(const canopy_ctx *parent, size_t bytes)
{
    struct carried *carried = malloc(sizeof *carried + bytes);
    if (!carried) {
        errno = ENOMEM;
        return NULL;
    }
    const struct carried *above = carried_by(parent);
    *carried = (struct carried){0};
    if (above) {
        carried->trace = above->trace;
        carried->tracestate = above->tracestate;
        carried->baggage = above->baggage;
    }
    return carried;
}

canopy_ctx *carried_bind(const canopy_ctx *parent, struct carried *carried)
{
    canopy_ctx *layer = canopy_with_value(parent, &carried_key, carried);
    if (!layer) {
        int err = errno;
        free(carried);
        errno = err;
    }
    return layer;
}
