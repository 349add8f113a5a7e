/*
 * ctx.c - the life of a context: derive, retain, release.
 *
 * A context dies when it has neither handles nor counted children; an occupied
 * slot that is not counted yet is found (and counted) by the last release, see
 * children.c. Its death is a loop, not a recursion: it may have been what kept
 * its parent.
 *
 * The everyday life: under a parent that is busy a context takes the slot again
 * that it had in its last life, and a leaf that is its owner's alone leaves it
 * again, both by plain stores (children.h). It remembers the slot while it is free.
 *
 * The life of a request: under a parent of one or two children, as a connection, its request
 * and its values are, a context takes its parent's own slot and leaves it again by one
 * compare-and-swap each (enter_bare, release_sole). Plain stores would save a tenth of a
 * request's time at most, and owe a fence to whoever comes to any such parent.
 *
 * Where memory goes: a context that nobody ever looked at is reused at once, hot
 * in cache. One whose slot was tagged LOOKED, or lay in a block that was, is retired.
 * The tag is handed on to its parent before, so that the parent will be retired as well,
 * and later; who has opened a block has looked at the parent already.
 */
#include "tree/ctx.h"

#include <errno.h>

#include "tree/extension.h"
#include "tree/merge.h"

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

void ctx_construct(void *memory)
{
    struct canopy_ctx *ctx = memory;
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
    word_store_relaxed(&ctx->link, SLOT_END);
}

void ctx_forget(void *memory)
{
    struct canopy_ctx *ctx = memory;
    u64_store_relaxed(&ctx->refs, 0);
}

bool limit_take(struct domain *domain, size_t n)
{
    if (likely(domain->max_live == 0))
        return true;
    /* Never over the limit, not even for a moment: else others would be refused what fits. */
    uint64_t live = u64_load_relaxed(&domain->live);
    do {
        if (n > domain->max_live - live)
            return false;
    } while (!u64_cas_acq_rel(&domain->live, &live, live + n)); /* a count, and no more */
    return true;
}

static uintptr_t domain_flags(const struct domain *domain)
{
    return (domain == &default_domain ? 0 : PARENT_DOMAIN) |
           (domain->max_live == 0 ? 0 : PARENT_LIMITED);
}

struct canopy_ctx *ctx_alloc(struct domain *domain, enum kind kind)
{
    struct heap *heap = heap_get(domain);
    struct canopy_ctx *ctx = heap ? pool_alloc(heap, CLASS_CTX) : NULL;
    if (!ctx) {
        errno = ENOMEM;
        return NULL;
    }
    invariant(ctx_is_blank(ctx));
    ctx->parent = (uintptr_t)kind | domain_flags(domain);
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
    if (ctx_kind(ctx) != KIND_VALUE && (aux & AUX_EXTENSION))
        pool_free_any(aux_extension(aux));
    word_store_relaxed(&ctx->aux, 0);
    i64_store_relaxed(&ctx->deadline, CANOPY_NEVER);
    if (word_load_relaxed(&ctx->link) != SLOT_END)
        children_free(ctx);
    give(NULL, ctx, 0);
}

/* -------------------------------------------------------------------- derive */

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
    give(heap, ctx, 0);
    return NULL;
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
    return ctx_is_settled(parent) ? ctx : ctx_settle(ctx, parent);

no_slot:
    give(heap, ctx, 0);
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

/* Under a parent that is small, mostly. */
static __attribute__((noinline)) struct canopy_ctx *derive_small(struct canopy_ctx *parent,
                                                                 struct heap *heap, enum kind kind)
{
    struct canopy_ctx *ctx = enter_bare(parent, heap, kind);
    if (!ctx)
        return derive_slowly(parent, heap, kind);
    return ctx_is_settled(parent) ? ctx : ctx_settle(ctx, parent);
}

/* Where the heap takes a search, or contexts are counted. */
static __attribute__((noinline)) struct canopy_ctx *derive_in_domain(struct canopy_ctx *parent,
                                                                     enum kind kind)
{
    if (unlikely(!parent)) {
        errno = EINVAL;
        return NULL;
    }
    bool is_limited = parent->parent & PARENT_LIMITED;
    if (unlikely(is_limited) && !limit_take(ctx_domain(parent), 1)) {
        errno = EAGAIN;
        return NULL;
    }
    struct heap *heap = search_heap(parent);
    struct canopy_ctx *ctx = NULL;
    if (likely(heap != NULL))
        ctx = ctx_derive_anew(parent, heap, kind);
    else
        errno = ENOMEM;
    if (unlikely(!ctx) && is_limited)
        limit_give(ctx_domain(parent), 1);
    return ctx;
}

__attribute__((noinline)) struct canopy_ctx *ctx_derive_anew(struct canopy_ctx *parent,
                                                             struct heap *heap, enum kind kind)
{
    if (unlikely(!heap))
        return derive_in_domain(parent, kind);
    struct canopy_ctx *ctx = enter_last(parent, heap, kind);
    if (!ctx)
        return derive_small(parent, heap, kind);
    return ctx_is_settled(parent) ? ctx : ctx_settle(ctx, parent);
}

static inline struct canopy_ctx *derive(const canopy_ctx *view, enum kind kind)
{
    struct canopy_ctx *parent = ctx_mutable(view);
    struct heap *heap = likely(parent != NULL) ? ctx_heap_at_hand(parent) : NULL;
    struct canopy_ctx *ctx = ctx_enter(parent, heap, kind);
    if (unlikely(!ctx))
        return ctx_derive_anew(parent, heap, kind);
    return ctx_is_settled(parent) ? ctx : ctx_settle(ctx, parent);
}

struct canopy_ctx *ctx_derive(const canopy_ctx *parent, enum kind kind)
{
    return derive(parent, kind);
}

canopy_ctx *canopy_with_cancel(const canopy_ctx *parent)
{
    return derive(parent, KIND_CANCEL);
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
    uintptr_t aux = word_load_acquire(&ctx->aux); /* Q2 */
    if (ctx_kind(ctx) == KIND_VALUE) {
        const canopy_key *key = ctx_key(ctx);
        if (key->destroy)
            key->destroy((void *)aux);
    } else if (aux & AUX_EXTENSION) {
        struct extension *extension = aux_extension(aux);
        extension_close(extension);
        if (u64_load_relaxed(&extension->signals))
            signals_end(ctx);
    }
}

/* True where user code must not run: on the clock's and the reclaimer's thread. */
static bool must_end_elsewhere(const struct canopy_ctx *ctx)
{
    return thread_is_library && ctx_kind(ctx) == KIND_VALUE && ctx_key(ctx)->destroy;
}

void count_drop(struct canopy_ctx *ctx, struct handoff_node **dead)
{
    /* S5, S6: what all who drop one did comes before the end. */
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
    limit_give(ctx_domain(ctx), 1);
    ctx_disarm(ctx);
    struct removal removal = children_remove(parent, word_load_relaxed(&ctx->slot), (uintptr_t)ctx);
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
        limit_give(ctx_domain(ctx), 1);
        merged_end(ctx, dead);
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
        if (must_end_elsewhere(ctx) && worker_end(ctx))
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
            /* S1, S5: pairs with S4; the last handle becomes a guard. */
        } while (!u64_cas_seq_cst(&ctx->refs, &refs, refs - REFS_HANDLE + (last ? REFS_COUNT : 0)));
        if (!last)
            return;
        children_count_all(ctx, true); /* S2 */
    }
    struct handoff_node *dead = NULL;
    count_drop(ctx, &dead);
    end_all(&dead);
}

__attribute__((noinline)) bool ctx_leave_counted(struct canopy_ctx *ctx, struct heap *heap,
                                                 atomic_word *slot)
{
    struct canopy_ctx *parent = ctx_parent(ctx);
    uintptr_t counted = (uintptr_t)ctx | SLOT_COUNTED;
    if (word_load_relaxed(slot) != counted || !ctx_leave_leaf(ctx, heap, slot, counted))
        return false;
    struct handoff_node *dead = NULL;
    count_drop(parent, &dead); /* which was what kept the parent */
    if (unlikely(dead != NULL))
        end_all(&dead);
    return true;
}

/* Whether everything about `ctx` is its only handle's: no child, no hook, nobody to tell. */
static inline bool is_sole(const struct canopy_ctx *ctx)
{
    /* S6: releases of other handles come before our reuse. */
    if (unlikely((u64_load_acquire(&ctx->refs) & ~REFS_RECORDS) != REFS_HANDLE) ||
        unlikely(word_load_acquire(&ctx->slot0) != 0)) /* S8: pairs with S7 */
        return false;
    switch (ctx_kind(ctx)) {
    case KIND_VALUE:
        if (ctx_key(ctx)->destroy)
            return false;
        break;
    case KIND_CANCEL:
    case KIND_DETACHED:
        if (word_load_acquire(&ctx->aux) & AUX_EXTENSION) /* Q2 */
            return false;
        break;
    default:
        return false;
    }
    return word_load_acquire(&ctx->link) == SLOT_END || children_small_and_gone(ctx); /* S0 */
}

/* Room for what release_sole gives back, so that it is some instructions from L1 to L4. */
static __attribute__((noinline)) void make_room(struct heap *heap)
{
    if (pool_is_full(heap, CLASS_CTX))
        pool_overflow(heap, CLASS_CTX);
    if (pool_is_full(heap, CLASS_LINE))
        pool_overflow(heap, CLASS_LINE);
}

/*
 * Takes `ctx` out of its slot if nobody has looked at it or counted it. A root may go as
 * soon as the slot is clear, but for L1, which its end waits for: L4 is to follow. `*epoch`
 * is what the context may remember of the slot.
 */
static inline bool leave_slot(struct canopy_ctx *ctx, struct heap *heap, uint64_t *epoch)
{
    uintptr_t where = word_load_relaxed(&ctx->slot), word = (uintptr_t)ctx;
    atomic_word *slot = (atomic_word *)(where & ~SLOT_STRIPED);
    if (where & SLOT_STRIPED) {
        struct heap *owner;
        *epoch = u64_load_acquire(&leave_epoch); /* B5: pairs with B5a */
        return children_is_own(slot, &owner) && owner == heap && children_leave(heap, slot, word);
    }
    word_store_relaxed(&heap->leaving, (uintptr_t)slot); /* L1 */
    if (likely(word_cas_acq_rel(slot, &word, 0)))        /* S7, S9 */
        return true;
    word_store_release(&heap->leaving, 0); /* L4 */
    return false;
}

bool release_sole(struct canopy_ctx *ctx)
{
    struct heap *heap = heap_at_hand(ctx_domain(ctx));
    /* What was inherited over a fork is let go of, never used again. */
    if (unlikely(!heap) || unlikely(!is_sole(ctx)) ||
        (unlikely(u32_load_relaxed(&fork_generation)) && slab_is_inherited(slab_of(ctx))))
        return false;
    if (unlikely(pool_is_full(heap, CLASS_CTX)) || unlikely(pool_is_full(heap, CLASS_LINE)))
        make_room(heap);
    if (ctx_kind(ctx) != KIND_VALUE)
        ctx_disarm(ctx);
    uint64_t epoch = 0;
    if (unlikely(!leave_slot(ctx, heap, &epoch)))
        return false;
    ctx_disarm(ctx); /* a value layer's key, which was asked for until here */
    if (unlikely(ctx->parent & PARENT_LIMITED))
        limit_give(heap->domain, 1);
    word_store_relaxed(&ctx->aux, 0);
    if (word_load_relaxed(&ctx->link) != SLOT_END)
        children_put_small(heap, ctx);
    u64_store_relaxed(&ctx->refs, epoch);
    invariant(ctx_is_blank(ctx));
    pool_put(heap, CLASS_CTX, ctx);
    word_store_release(&heap->leaving, 0); /* L4 */
    return true;
}

static __attribute__((noinline)) void release_slowly(struct canopy_ctx *ctx)
{
    if (!ctx || ctx_kind(ctx) == KIND_STATIC || release_sole(ctx))
        return;
    if (!is_sole(ctx)) {
        refs_drop(ctx, REFS_HANDLE);
        return;
    }
    /* Somebody looked at it or counted it, or it is of another thread's: it goes all the same. */
    struct handoff_node *dead = NULL;
    detach(ctx, &dead);
    end_all(&dead);
}

void canopy_release(const canopy_ctx *view)
{
    struct canopy_ctx *ctx = ctx_mutable(view);
    invariant(!ctx || ctx_is_valid(ctx));
    if (unlikely(!ctx) || unlikely(!ctx_release_leaf(ctx)))
        release_slowly(ctx);
}

/* ------------------------------------------------------------------- retired */

static void reclaim(struct handoff_node *node)
{
    struct canopy_ctx *ctx = node_ctx(node);
    struct domain *domain = ctx_domain(ctx);
    if (ctx_kind(ctx) == KIND_MERGED)
        merged_reclaim(ctx);
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
    rcu_queue_register(&ctx_queue);
    children_init();
}
