/*
 * value.c - layers that bind a key to a value. Key and value are fixed before anybody
 * has the layer in hand, so look-ups are plain loads up the tree.
 */
#include "tree/birth.h"

#include <errno.h>

canopy_ctx *canopy_with_value(const canopy_ctx *parent, const canopy_key *key, void *value)
{
    if (!key) {
        errno = EINVAL;
        return NULL;
    }
    struct canopy_ctx *ctx = ctx_derive(parent, KIND_VALUE);
    if (!ctx)
        return NULL;
    /* Whoever else sees the layer meanwhile walks through it, and looks at neither. */
    word_store_relaxed(&ctx->aux, (uintptr_t)value);
    i64_store_release(&ctx->deadline, key_word(key)); /* as D1: after the slot was taken */
    return ctx;
}

bool canopy_lookup(const canopy_ctx *ctx, const canopy_key *key, void **value)
{
    int64_t word = key_word(key);
    do {
        if (ctx_kind(ctx) != KIND_VALUE || i64_load_relaxed(&ctx->deadline) != word)
            continue;
        if (value)
            *value = (void *)word_load_relaxed(&ctx->aux);
        return true;
    } while ((ctx = ctx_parent(ctx)) != NULL);
    return false;
}

void *canopy_value(const canopy_ctx *ctx, const canopy_key *key)
{
    void *value = NULL;
    canopy_lookup(ctx, key, &value);
    return value;
}
