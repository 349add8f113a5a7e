/*
 * ctx.c - the life of a context: derive, retain, release.
 *
 * A context dies when it has neither handles nor counted children; an occupied
 * slot that is not counted yet is found (and counted) by the last release, see
 * children.c. Its death is a loop, not a recursion: it may have been what kept
 * its parent.
 *
 * Where memory goes: a context that nobody ever looked at is reused at once, hot
 * in cache. One whose slot was tagged LOOKED is retired, and so will be its
 * parent, and all above it that die of it, in the same grace period.
 */
#include "ctx.h"

#include <errno.h>

#include "extension.h"

struct ctx_hooks ctx_hooks;

/* ------------------------------------------------------------------- statics */

#define STATIC_CONTEXT                                                                             \
    {                                                                                              \
        .refs = {REFS_HANDLE}, .parent = KIND_STATIC, .deadline = {CANOPY_NEVER}, .link = {        \
            SLOT_END                                                                               \
        }                                                                                          \
    }

static struct canopy_ctx background __attribute__((aligned(CACHE_LINE))) = STATIC_CONTEXT;
static struct canopy_ctx todo __attribute__((aligned(CACHE_LINE))) = STATIC_CONTEXT;

const canopy_ctx *canopy_background(void)
{
    return &background;
}

const canopy_ctx *canopy_todo(void)
{
    return &todo;
}

/* ---------------------------------------------------------------- allocation */

static void construct(void *memory)
{
    struct canopy_ctx *ctx = memory;
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
    word_store_relaxed(&ctx->link, SLOT_END);
}

static void forget(void *memory)
{
    struct canopy_ctx *ctx = memory;
    u64_store_relaxed(&ctx->refs, 0);
}

bool limit_take(struct domain *domain)
{
    if (likely(domain->max_live == 0))
        return true;
    if (u64_fetch_add_relaxed(&domain->live, 1) < domain->max_live)
        return true;
    u64_fetch_add_relaxed(&domain->live, (uint64_t)-1);
    return false;
}

void limit_give(struct domain *domain)
{
    if (unlikely(domain->max_live != 0))
        u64_fetch_add_relaxed(&domain->live, (uint64_t)-1);
}

/* An object made a context of `kind`; what it remembers of its last slot is kept. */
static struct canopy_ctx *take(struct domain *domain, struct heap **heap)
{
    *heap = heap_get(domain);
    struct canopy_ctx *ctx = likely(*heap != NULL) ? pool_alloc(*heap, CLASS_CTX) : NULL;
    if (unlikely(!ctx))
        errno = ENOMEM;
    return ctx;
}

static uintptr_t domain_flag(const struct domain *domain)
{
    return domain == &default_domain ? 0 : PARENT_DOMAIN;
}

struct canopy_ctx *ctx_alloc(struct domain *domain, enum kind kind)
{
    struct heap *heap;
    struct canopy_ctx *ctx = take(domain, &heap);
    if (!ctx)
        return NULL;
    ctx->parent = (uintptr_t)kind | domain_flag(domain);
    word_store_relaxed(&ctx->state, STATE_LIVE);
    word_store_relaxed(&ctx->slot, 0);
    u64_store_relaxed(&ctx->refs, REFS_HANDLE);
    return ctx;
}

/*
 * What a free context remembers: its slot, in `slot` and `parent`, and in `refs`
 * the epoch at which that slot was its heap's to claim; 0: nothing.
 */
static void give(struct heap *heap, struct canopy_ctx *ctx, uint64_t epoch)
{
    u64_store_relaxed(&ctx->refs, epoch);
    if (likely(heap != NULL))
        pool_free(heap, CLASS_CTX, ctx);
    else
        pool_free_any(ctx);
}

void ctx_free(struct canopy_ctx *ctx)
{
    uintptr_t aux = word_load_relaxed(&ctx->aux);
    if (ctx_kind(ctx) == KIND_VALUE)
        word_store_relaxed(&ctx->slot0, 0);
    else if (aux & AUX_EXTENSION)
        pool_free_any(aux_extension(aux));
    word_store_relaxed(&ctx->aux, 0);
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
    if (word_load_relaxed(&ctx->link) != SLOT_END)
        children_free(ctx);
    give(NULL, ctx, 0);
}

/* -------------------------------------------------------------------- derive */

uintptr_t ctx_registered(struct canopy_ctx *parent, atomic_word *slot, bool record)
{
    /* S4: pairs with S1. Seldom true: the parent's owner has let go of it already. */
    uint64_t refs = u64_load_seq_cst(&parent->refs);
    if (unlikely(refs_handles(refs) == 0 || (refs & REFS_WATCHED)))
        if (!record || refs_handles(refs) == 0)
            children_count_slot(parent, slot, record);
    uintptr_t state = word_load_seq_cst(&parent->state); /* C4: pairs with C1 */
    if (unlikely((state & STATE_KIND_MASK) == STATE_FORWARD))
        state = word_load_seq_cst(&((struct canopy_ctx *)(state & ~STATE_BITS))->state);
    return state;
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
    uintptr_t state = ctx_registered(parent, ctx_slot(ctx), false);
    if (unlikely(!state_is_live(state)) && kind_is_cancellable(ctx_kind(ctx)))
        cancel_born(ctx, state);
    return true;
}

struct canopy_ctx *ctx_derive(const canopy_ctx *parent_view, enum kind kind)
{
    if (unlikely(!parent_view)) {
        errno = EINVAL;
        return NULL;
    }
    struct canopy_ctx *parent = ctx_mutable(parent_view);
    struct domain *domain = ctx_domain(parent);
    if (unlikely(!limit_take(domain))) {
        errno = EAGAIN;
        return NULL;
    }
    struct heap *heap;
    struct canopy_ctx *ctx = take(domain, &heap);
    if (unlikely(!ctx))
        goto no_memory;
    /* A walk that is to come up through us must find its way in every order: set before S3. */
    uint64_t epoch = u64_load_relaxed(&ctx->refs);
    bool same_parent = ctx_parent(ctx) == parent;
    ctx->parent = (uintptr_t)parent | (uintptr_t)kind | (parent->parent & PARENT_DOMAIN);
    word_store_relaxed(&ctx->state, kind == KIND_VALUE
                                        ? (uintptr_t)ctx_scope(parent) | STATE_FORWARD
                                        : STATE_LIVE);
    u64_store_relaxed(&ctx->refs, REFS_HANDLE);
    uintptr_t empty = 0;
    if (likely(same_parent && epoch == u64_load_relaxed(&stripe_epoch)) &&
        likely(word_cas_seq_cst(ctx_slot(ctx), &empty, (uintptr_t)ctx))) /* S3 */
        ;
    else if (unlikely(!children_add(heap, parent, (uintptr_t)ctx, &ctx->slot)))
        goto no_slot;
    else if (ctx_kind(parent) != KIND_STATIC)
        rcu_ready(); /* so that a release, which must not fail, need not start it */
    uintptr_t state = ctx_registered(parent, ctx_slot(ctx), false);
    if (unlikely(!state_is_live(state)) && kind_is_cancellable(kind))
        cancel_born(ctx, state);
    return ctx;

no_slot:
    give(heap, ctx, 0);
    errno = ENOMEM;
no_memory:
    limit_give(domain);
    return NULL;
}

canopy_ctx *canopy_with_cancel(const canopy_ctx *parent)
{
    return ctx_derive(parent, KIND_CANCEL);
}

canopy_ctx *canopy_without_cancel(const canopy_ctx *parent)
{
    return ctx_derive(parent, KIND_DETACHED);
}

/* ------------------------------------------------------------------- release */

const canopy_ctx *canopy_retain(const canopy_ctx *ctx)
{
    /* Relaxed: whoever retains has it in hand already. */
    if (ctx && ctx_kind(ctx) != KIND_STATIC)
        u64_fetch_add_relaxed(&ctx_mutable(ctx)->refs, REFS_HANDLE);
    return ctx;
}

/* What ends with the last reference, not a grace period later. */
static void finish(struct canopy_ctx *ctx)
{
    uintptr_t aux = word_load_acquire(&ctx->aux);
    if (ctx_kind(ctx) == KIND_VALUE) {
        const canopy_key *key = (const canopy_key *)word_load_relaxed(&ctx->slot0);
        if (key->destroy)
            key->destroy((void *)aux);
    } else if (aux & AUX_EXTENSION) {
        struct extension *extension = aux_extension(aux);
        extension_close(extension);
        if (extension->signals)
            ctx_hooks.signals_end(extension->signals);
    }
}

/* True where user code must not run: on the clock's and the reclaimer's thread. */
static bool must_end_elsewhere(const struct canopy_ctx *ctx)
{
    return thread_is_library && ctx_kind(ctx) == KIND_VALUE &&
           ((const canopy_key *)word_load_relaxed(&ctx->slot0))->destroy;
}

void count_drop(struct canopy_ctx *ctx, struct handoff_node **dead)
{
    /* Pairs with every other drop: what all of them did comes before the end. */
    uint64_t refs = u64_fetch_add_acq_rel(&ctx->refs, -REFS_COUNT) - REFS_COUNT;
    if ((refs & REFS_WATCHED) && !(refs & REFS_COUNTED))
        futex_wake_all(futex_low_half(&ctx->refs)); /* wait_idle; only the address is used */
    if ((refs & ~REFS_FLAGS) == 0) {
        handoff_link(ctx_node(ctx), *dead);
        *dead = ctx_node(ctx);
    }
}

/* Takes a dead context out of the tree; the parent joins `dead` if that was all that kept it. */
static void detach(struct canopy_ctx *ctx, struct handoff_node **dead)
{
    struct canopy_ctx *parent = ctx_parent(ctx);
    /* A root may go as soon as our slot is clear: its domain stays while we are in a section. */
    bool own_domain = ctx->parent & PARENT_DOMAIN;
    if (own_domain)
        rcu_read_begin();
    limit_give(ctx_domain(ctx));
    /* Before the slot is let go: the clock looks at what is armed (deadline.c, D4). */
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
    struct removal removal = children_remove(parent, ctx_slot(ctx), (uintptr_t)ctx);
    if (removal.looked)
        ctx_retire(ctx);
    else
        ctx_free(ctx);
    if (own_domain)
        rcu_read_end();
    if (removal.counted)
        count_drop(parent, dead);
}

/* Takes the first of `dead`, which is finished, out of the tree; what dies of that joins. */
static void leave(struct handoff_node **dead)
{
    struct canopy_ctx *ctx = node_ctx(*dead);
    *dead = handoff_next(*dead);
    if (ctx_kind(ctx) != KIND_MERGED) {
        detach(ctx, dead);
    } else {
        limit_give(ctx_domain(ctx));
        ctx_hooks.merged_end(ctx, dead);
    }
}

static void end_all(struct handoff_node **dead);

/* A destructor may end its thread: what was to die with its context does so on the way out. */
static void end_rest(void *list)
{
    struct handoff_node **dead = list;
    leave(dead);
    end_all(dead);
}

static void end_first(struct handoff_node **dead)
{
    pthread_cleanup_push(end_rest, dead);
    finish(node_ctx(*dead));
    pthread_cleanup_pop(0);
    leave(dead);
}

static void end_all(struct handoff_node **dead)
{
    while (*dead) {
        struct canopy_ctx *ctx = node_ctx(*dead);
        struct handoff_node *next = handoff_next(*dead);
        if (must_end_elsewhere(ctx) && ctx_hooks.end_elsewhere(ctx))
            *dead = next;
        else
            end_first(dead);
    }
}

void ctx_end_now(struct canopy_ctx *ctx)
{
    struct handoff_node *dead = ctx_node(ctx);
    handoff_link(dead, NULL);
    end_all(&dead);
}

void refs_drop(struct canopy_ctx *ctx, uint64_t unit)
{
    if (unit == REFS_HANDLE) {
        uint64_t refs = u64_load_relaxed(&ctx->refs);
        bool last;
        do {
            last = refs_handles(refs) == 1;
            if (last && ctx_kind(ctx) == KIND_ROOT)
                return; /* the root's own, which canopy_root_free takes */
            /* S1: the last handle becomes a guard; pairs with S4. */
        } while (!u64_cas_seq_cst(&ctx->refs, &refs, refs - REFS_HANDLE + (last ? REFS_COUNT : 0)));
        if (!last)
            return;
        children_count_all(ctx, true); /* S2 */
    }
    struct handoff_node *dead = NULL;
    count_drop(ctx, &dead);
    end_all(&dead);
}

/*
 * The everyday end: one handle, no children ever counted, nothing hung on. What
 * is left to do is one compare-and-swap, and the context goes back to the top of
 * the magazine together with its slot.
 */
static bool release_leaf(struct canopy_ctx *ctx)
{
    struct heap *heap = tls_heap;
    /* Acquire: earlier releases of other handles come before our reuse. */
    if ((u64_load_acquire(&ctx->refs) & ~REFS_RECORDS) != REFS_HANDLE ||
        word_load_acquire(&ctx->slot0) != 0 || word_load_acquire(&ctx->link) != SLOT_END ||
        word_load_acquire(&ctx->aux) != 0 || (ctx->parent & PARENT_FLAGS) != KIND_CANCEL || !heap)
        return false;
    uintptr_t slot = word_load_relaxed(&ctx->slot);
    uint64_t epoch = 0;
    if ((slot & SLOT_STRIPED) && children_slot_owner(slot) == heap) {
        epoch = u64_load_relaxed(&stripe_epoch);
        if (unlikely(pool_is_full(heap, CLASS_CTX)))
            children_trim(slot);
    }
    if (i64_load_relaxed(&ctx->deadline) != CANOPY_NEVER)
        i64_store_relaxed(&ctx->deadline, CANOPY_NEVER); /* D4, see detach */
    uintptr_t word = (uintptr_t)ctx;
    if (!word_cas_acq_rel((atomic_word *)(slot & ~SLOT_STRIPED), &word, 0))
        return false;
    give(heap, ctx, epoch);
    return true;
}

void canopy_release(const canopy_ctx *view)
{
    struct canopy_ctx *ctx = ctx_mutable(view);
    if (unlikely(!ctx))
        return;
    if (likely(release_leaf(ctx)) || ctx_kind(ctx) == KIND_STATIC)
        return;
    refs_drop(ctx, REFS_HANDLE);
}

/* ------------------------------------------------------------------- retired */

static void reclaim(struct handoff_node *node)
{
    struct canopy_ctx *ctx = node_ctx(node);
    struct domain *domain = ctx_domain(ctx);
    if (ctx_kind(ctx) == KIND_MERGED)
        ctx_hooks.merged_reclaim(ctx);
    else
        ctx_free(ctx);
    domain_let_go(domain);
}

static struct retire_queue ctx_queue = {.reclaim = reclaim};

void ctx_retire(struct canopy_ctx *ctx)
{
    domain_hold(ctx_domain(ctx));
    rcu_retire(&ctx_queue, ctx_node(ctx));
}

void ctx_init(void)
{
    pool_construct_ctx = construct;
    pool_forget_ctx = forget;
    rcu_queue_register(&ctx_queue);
    children_init();
}
