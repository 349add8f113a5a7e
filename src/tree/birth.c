/*
 * birth.c - the ways in which a child comes to be, the most frequent first; birth.h says
 * what is common to them.
 *
 * The everyday life: under a parent that is busy a context takes the slot again
 * that it had in its last life, and a leaf that is its owner's alone leaves it
 * again, both by plain stores (children.h). It remembers the slot while it is free.
 *
 * The life of a request: under a parent of one or two children, as a connection, its request
 * and its values are, a context takes its parent's own slot and leaves it again by one
 * compare-and-swap each (enter_bare, release_sole). Plain stores would save
 * little, and owe a fence to whoever comes to any such parent.
 */
#include "tree/birth.h"

#include <errno.h>

#include "tree/note.h"

canopy_ctx *canopy_with_cancel(const canopy_ctx *parent)
{
    return ctx_derive(parent, KIND_CANCEL);
}

canopy_ctx *canopy_without_cancel(const canopy_ctx *parent)
{
    return ctx_derive(parent, KIND_DETACHED);
}

/* ------------------------------------------------ where nothing was remembered */

static struct canopy_ctx *derive_small(struct canopy_ctx *parent, struct heap *heap,
                                       enum kind kind);
static struct canopy_ctx *derive_slowly(struct canopy_ctx *parent, struct heap *heap,
                                        enum kind kind);

/*
 * Another context than the one that remembers it, in the slot that this thread had last
 * under a parent that is busy: as ctx_enter, for a thread that works under several in turn.
 */
static inline struct canopy_ctx *enter_last(struct canopy_ctx *parent, struct heap *heap,
                                            enum kind kind)
{
    if (!(word_load_relaxed(&parent->link) & SLOT_HOT))
        return NULL;
    atomic_word *slot = children_last_slot(heap, parent);
    if (!slot || !pool_has(heap, CLASS_CTX))
        return NULL;
    struct canopy_ctx *ctx = pool_take(heap, CLASS_CTX);
    ctx_be_born(ctx, heap, parent, kind);
    word_store_relaxed(&ctx->slot, (uintptr_t)slot | SLOT_STRIPED);
    children_enter(slot, (uintptr_t)ctx); /* S3 */
    return ctx;
}

__attribute__((noinline)) struct canopy_ctx *ctx_derive_anew(struct canopy_ctx *parent,
                                                             struct heap *heap, enum kind kind)
{
    struct canopy_ctx *ctx = enter_last(parent, heap, kind);
    if (!ctx)
        return derive_small(parent, heap, kind);
    return ctx_settled(ctx, parent);
}

/*
 * The first child of a parent that has none, and few in all: in the parent's own slot. NULL,
 * and nothing done, where it is not that simple.
 */
static inline struct canopy_ctx *enter_bare(struct canopy_ctx *parent, struct heap *heap,
                                            enum kind kind)
{
    if (((word_load_relaxed(&parent->link) ^ SLOT_END) | word_load_relaxed(&parent->slot0)) != 0 ||
        unlikely(ctx_kind(parent) == KIND_STATIC) || unlikely(!pool_has(heap, CLASS_CTX)) ||
        unlikely(!rcu_is_at_work()) || unlikely(children_becomes_busy(heap, parent)))
        return NULL;
    struct canopy_ctx *ctx = pool_take(heap, CLASS_CTX);
    ctx_be_born(ctx, heap, parent, kind);
    if (likely(children_claim(&parent->slot0, (uintptr_t)ctx, &ctx->slot)))
        return ctx;
    ctx_give(heap, ctx, 0);
    return NULL;
}

/* Under a parent that is small, mostly. */
static __attribute__((noinline)) struct canopy_ctx *derive_small(struct canopy_ctx *parent,
                                                                 struct heap *heap, enum kind kind)
{
    struct canopy_ctx *ctx = enter_bare(parent, heap, kind);
    if (!ctx)
        return derive_slowly(parent, heap, kind);
    return ctx_settled(ctx, parent);
}

static __attribute__((noinline)) struct canopy_ctx *derive_slowly(struct canopy_ctx *parent,
                                                                  struct heap *heap, enum kind kind)
{
    struct canopy_ctx *ctx = pool_alloc(heap, CLASS_CTX);
    if (unlikely(!ctx))
        goto no_memory;
    ctx_be_born(ctx, heap, parent, kind);
    if (unlikely(!children_add(heap, parent, (uintptr_t)ctx, &ctx->slot)))
        goto no_slot;
    if (ctx_kind(parent) != KIND_STATIC)
        rcu_ready(); /* so that a release, which must not fail, need not start it */
    return ctx_settled(ctx, parent);

no_slot:
    ctx_give(heap, ctx, 0);
no_memory:
    errno = ENOMEM;
    return NULL;
}

/* The domain is not looked at where it need not be: who has many roots has it in no cache. */
static struct heap *search_heap(const struct canopy_ctx *parent)
{
    bool is_looked_up = (parent->parent & PARENT_INHERITED) == PARENT_DOMAIN;
    struct heap *heap = is_looked_up ? heap_peek_slow(slab_of(parent)->domain_id) : NULL;
    return likely(heap != NULL) ? heap : heap_get(ctx_domain(parent));
}

/* In a domain whose contexts are counted or noted: in any case. */
static __attribute__((noinline)) struct canopy_ctx *
derive_told_anew(struct canopy_ctx *parent, enum kind kind, const void *place)
{
    struct domain *domain = ctx_domain(parent);
    if (!limit_take(domain, 1)) {
        errno = EAGAIN;
        return NULL;
    }
    struct heap *heap = heap_get(domain);
    struct canopy_ctx *ctx = NULL;
    if (likely(heap != NULL))
        ctx = ctx_derive_by(parent, heap, kind);
    else
        errno = ENOMEM;
    if (unlikely(!ctx))
        limit_give(domain, 1);
    else if (ctx->parent & PARENT_NOTED)
        note_born(ctx, parent, heap, place);
    return ctx;
}

/* The everyday way of those that are noted. */
static __attribute__((noinline)) struct canopy_ctx *derive_told(struct canopy_ctx *parent,
                                                                enum kind kind, const void *place)
{
    struct heap *heap =
        parent->parent & PARENT_DOMAIN ? heap_recent(slab_of(parent)->domain_id) : tls_heap;
    struct canopy_ctx *ctx = NULL;
    if (likely(!(parent->parent & PARENT_LIMITED)) && likely(heap != NULL))
        ctx = ctx_enter(parent, heap, kind);
    if (unlikely(!ctx))
        return derive_told_anew(parent, kind, place);
    ctx_settled(ctx, parent);
    return note_born(ctx, parent, heap, place);
}

static __attribute__((noinline)) struct canopy_ctx *derive_by_search(struct canopy_ctx *parent,
                                                                     enum kind kind)
{
    struct heap *heap = search_heap(parent);
    if (likely(heap != NULL))
        return ctx_derive_anew(parent, heap, kind);
    errno = ENOMEM;
    return NULL;
}

__attribute__((noinline)) struct canopy_ctx *ctx_derive_in_domain(struct canopy_ctx *parent,
                                                                  enum kind kind, const void *place)
{
    if (unlikely(!parent)) {
        errno = EINVAL;
        return NULL;
    }
    if (parent->parent & (PARENT_LIMITED | PARENT_NOTED))
        return derive_told(parent, kind, place);
    return derive_by_search(parent, kind);
}

/* --------------------------------------------- where the parent is not as it was */

__attribute__((noinline)) struct canopy_ctx *ctx_settle(struct canopy_ctx *ctx,
                                                        struct canopy_ctx *parent)
{
    uintptr_t state = ctx_registered(parent, ctx_slot(ctx), false);
    if (unlikely(!state_is_live(state)) && kind_is_cancellable(ctx_kind(ctx)))
        cancel_born(ctx, state);
    return ctx;
}

bool ctx_register(struct canopy_ctx *ctx, const canopy_ctx *parent_view)
{
    struct canopy_ctx *parent = ctx_mutable(parent_view);
    struct heap *heap = heap_get(ctx_domain(ctx));
    ctx->parent = (uintptr_t)parent | (ctx->parent & PARENT_FLAGS);
    if (!heap || !children_add(heap, parent, (uintptr_t)ctx, &ctx->slot)) {
        word_store_relaxed(&ctx->slot, 0);
        return false;
    }
    ctx_settle(ctx, parent);
    return true;
}
