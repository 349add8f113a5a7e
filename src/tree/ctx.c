/*
 * ctx.c - the life of a context: retain, release, and what becomes of it.
 *
 * A context dies when it has neither handles nor counted children; an occupied
 * slot that is not counted yet is found (and counted) by the last release, see
 * children.c. Its death is a loop, not a recursion: it may have been what kept
 * its parent.
 *
 * Where memory goes: a context that nobody ever looked at is reused at once, hot
 * in cache. One whose slot was tagged LOOKED, or lay in a block that was, is retired.
 * The tag is handed on to its parent before, so that the parent will be retired as well,
 * and later; who has opened a block has looked at the parent already.
 */
#include "tree/ctx.h"

#include <errno.h>
#include <string.h>

#include "base/probe.h"
#include "tree/extension.h"
#include "tree/merge.h"
#include "tree/note.h"

/* ------------------------------------------------------------------- statics */

#define STATIC_CONTEXT                                                                             \
    {                                                                                              \
        .refs = {REFS_HANDLE}, .parent = KIND_STATIC, .deadline = {CANOPY_NEVER}, .link = {        \
            SLOT_END                                                                               \
        }                                                                                          \
    }

struct canopy_ctx ctx_background __attribute__((aligned(CACHE_LINE))) = STATIC_CONTEXT;
struct canopy_ctx ctx_todo __attribute__((aligned(CACHE_LINE))) = STATIC_CONTEXT;

const canopy_ctx *canopy_background(void)
{
    return &ctx_background;
}

const canopy_ctx *canopy_todo(void)
{
    return &ctx_todo;
}

int statics_keep_notes(void)
{
    struct counts *counts = domain_allocate(&default_domain, CACHE_LINE, sizeof *counts);
    if (!counts)
        return -ENOMEM;
    memset(counts, 0, sizeof *counts);
    pthread_mutex_lock(&library_lock);
    bool is_on = default_domain.counts,
         is_used = default_domain.heaps || default_domain.inherited_heaps;
    if (!is_on && !is_used) {
        default_domain.counts = counts;
        default_domain.is_told = true;
        ctx_background.parent |= PARENT_NOTED;
        ctx_todo.parent |= PARENT_NOTED;
        u32_store_relaxed(&odd_contexts, 1);
        counts = NULL;
    }
    pthread_mutex_unlock(&library_lock);
    if (counts)
        domain_release(&default_domain, counts, CACHE_LINE, sizeof *counts);
    return !is_on && is_used ? -EBUSY : 0;
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
        if (n > domain->max_live - live) {
            PROBE3(refused, domain->root, EAGAIN, domain->max_live);
            return false;
        }
    } while (!u64_cas_acq_rel(&domain->live, &live, live + n)); /* a count, and no more */
    return true;
}

static uintptr_t domain_flags(const struct domain *domain)
{
    return (domain == &default_domain ? 0 : PARENT_DOMAIN) |
           (domain->max_live == 0 ? 0 : PARENT_LIMITED) | (domain->counts ? PARENT_NOTED : 0);
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

void ctx_give(struct heap *heap, struct canopy_ctx *ctx, uint64_t epoch)
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
    ctx_give(NULL, ctx, 0);
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

/* Inlined where it is on a way that is counted: see create_beside_idle in tests/counted. */
static inline __attribute__((always_inline)) void drop(struct canopy_ctx *ctx,
                                                       struct handoff_node **dead)
{
    if ((children_uncount(ctx) & ~REFS_FLAGS) == 0) {
        if (unlikely(ctx_domain(ctx)->is_told))
            ctx_tell_gone(ctx);
        handoff_link(ctx_node(ctx), *dead);
        *dead = ctx_node(ctx);
    }
}

void count_drop(struct canopy_ctx *ctx, struct handoff_node **dead)
{
    drop(ctx, dead);
}

__attribute__((noinline)) void ctx_tell_gone(struct canopy_ctx *ctx)
{
    limit_give(ctx_domain(ctx), 1);
    if (ctx->parent & PARENT_NOTED)
        note_gone(ctx);
}

static inline void tell_left(struct canopy_ctx *ctx, struct heap *heap, uint64_t epoch)
{
    limit_give(heap->domain, 1);
    if (ctx->parent & PARENT_NOTED)
        note_left(ctx, heap);
    ctx_left_told(ctx, heap, epoch);
}

static __attribute__((noinline)) void tell_left_traced(struct canopy_ctx *ctx, struct heap *heap,
                                                       uint64_t epoch)
{
    if (ctx->parent & PARENT_NOTED)
        trace_gone(ctx);
    tell_left(ctx, heap, epoch);
}

/* Two ways, as a call on the one would cost the other. */
__attribute__((noinline)) void ctx_tell_left(struct canopy_ctx *ctx, struct heap *heap,
                                             uint64_t epoch)
{
    if (likely(!trace_is_on()))
        tell_left(ctx, heap, epoch);
    else
        tell_left_traced(ctx, heap, epoch);
}

/* Takes a dead context out of the tree; the parent joins `dead` if that was all that kept it. */
static void detach(struct canopy_ctx *ctx, struct handoff_node **dead)
{
    struct canopy_ctx *parent = ctx_parent(ctx);
    /* A root may go as soon as our slot is clear: its domain stays while we are in a section. */
    bool own_domain = ctx->parent & PARENT_DOMAIN;
    if (own_domain)
        rcu_read_begin();
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
        uintptr_t link = word_load_relaxed(&ctx->link);
        word_store_relaxed(&ctx->link, link & ~SLOT_HOT); /* K8: pairs with K1 */
        detach(ctx, dead);
    } else {
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
    drop(parent, &dead); /* which was what kept the parent */
    if (unlikely(dead != NULL))
        end_all(&dead);
    return true;
}

/*
 * Whether everything about `ctx` is its only handle's: no child, no hook, nobody to tell. Of
 * its flags NOTED does not count where `flags` say so.
 */
static inline bool is_sole_if(const struct canopy_ctx *ctx, uintptr_t flags)
{
    /* S6: releases of other handles come before our reuse. */
    if (unlikely((u64_load_acquire(&ctx->refs) & ~REFS_RECORDS) != REFS_HANDLE) ||
        unlikely(word_load_acquire(&ctx->slot0) != 0)) /* S8: pairs with S7 */
        return false;
    switch (ctx_kind_unless_noted(ctx) & ~flags) {
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

static inline bool is_sole(const struct canopy_ctx *ctx)
{
    return is_sole_if(ctx, 0);
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

static inline __attribute__((always_inline)) bool release_sole_if(struct canopy_ctx *ctx,
                                                                  uintptr_t flags)
{
    struct heap *heap = heap_at_hand(ctx_domain(ctx));
    /* What was inherited over a fork is let go of, never used again. */
    if (unlikely(!heap) || unlikely(!is_sole_if(ctx, flags)) ||
        (unlikely(u32_load_relaxed(&fork_generation)) && slab_is_inherited(slab_of(ctx))))
        return false;
    if (unlikely(pool_is_full(heap, CLASS_CTX)) || unlikely(pool_is_full(heap, CLASS_LINE)))
        make_room(heap);
    int64_t word = i64_load_relaxed(&ctx->deadline);
    ctx_disarm(ctx);
    uint64_t epoch = 0;
    if (unlikely(!leave_slot(ctx, heap, &epoch))) {
        if (ctx_kind(ctx) == KIND_VALUE)
            i64_store_relaxed(&ctx->deadline, word); /* the key, for who ends it in another way */
        return false;
    }
    word_store_relaxed(&ctx->aux, 0);
    if (word_load_relaxed(&ctx->link) != SLOT_END)
        children_put_small(heap, ctx);
    ctx_left(ctx, heap, epoch);
    return true;
}

bool release_sole(struct canopy_ctx *ctx)
{
    return release_sole_if(ctx, 0);
}

bool ctx_release_noted(struct canopy_ctx *ctx)
{
    return ctx_release_leaf_if(ctx, PARENT_INHERITED) || release_sole_if(ctx, PARENT_NOTED);
}

static __attribute__((noinline)) void release_oddly(struct canopy_ctx *ctx)
{
    if (ctx_kind(ctx) != KIND_STATIC && !ctx_release_noted(ctx))
        refs_drop(ctx, REFS_HANDLE);
}

static __attribute__((noinline)) void release_slowly(struct canopy_ctx *ctx)
{
    if (!ctx)
        return;
    if (ctx_kind_unless_noted(ctx) > KIND_DETACHED) {
        release_oddly(ctx);
        return;
    }
    if (release_sole(ctx))
        return;
    if (!is_sole(ctx)) {
        refs_drop(ctx, REFS_HANDLE);
        return;
    }
    /* Somebody looked at it or counted it, or it is of another thread's: it goes all the same. */
    if (unlikely(ctx_domain(ctx)->is_told))
        ctx_tell_gone(ctx);
    struct handoff_node *dead = NULL;
    detach(ctx, &dead);
    if (unlikely(dead != NULL))
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
