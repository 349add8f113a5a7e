/*
 * deadline.c - deadlines are data, not registrations.
 *
 * A deadline is a field of the context. Who must find the next one finds it
 * through lower bounds on four levels: for 64 lines of a slab (a sector), for a
 * slab, for a shelf of slabs (shelf.h), for a domain; the library's clock, which serves
 * many domains, has a fifth for a shelf of them and a sixth over all. To arm is to store
 * the deadline and to lower those bounds
 * that are above it, which for a timeout later than its neighbours' is none: a store
 * and a compare. To disarm is nothing: a bound may be too low, and costs a look.
 *
 *   arm     D1: store the deadline                          fence_light
 *           D2: load the bound above, lower it if need be; next level
 *   clock   D3: reset the bounds that are due to NEVER, from above; fence_heavy
 *           D4: load what is below them; lower each to the least of that
 *
 * Ordering pairs:
 *   D1,D2/D3,D4  store-then-load on both sides: either D2 sees the reset bound and lowers
 *         it, or D4 sees the deadline. Without it D2 sees the old low bound, and D4 no
 *         deadline: a context never expires.
 *   D5/D1  firing and moving a deadline are compare-and-swaps of one word, so one of the two
 *         is first. Without it a deadline that was moved away fires.
 *   D6/D6  the host's time is stored by a release and loaded by an acquire, so a timeout
 *         that is made because of what the host did counts from then. Without it the timeout
 *         is early.
 *
 *   The clock's fence is the heavy one, once for all that it looks at in a turn, and where
 *   other threads can arm by plain stores (domain_fence); where the kernel has none D1 is
 *   seq_cst. Each level above pairs with the one below in
 *   the same way, the lowering of a bound, seq_cst, taking the place of D1.
 *   A turn may be limited: a look that it has no time for is owed to the next ones. Only
 *   the clock knows of that, as D3 is behind it and the bounds are for what is armed since
 *   then; the domain's, and those above it, stay due as long as any look is owed.
 *
 * The clock looks at lines that may be free, or reborn. A free line's deadline is
 * NEVER; it is set to that before the slot is let go (ctx.c), and armed after the
 * slot was taken. So inside a read section a line with a deadline has, or had
 * within the section, the slot that its field names, and that memory is there. The
 * clock tags the slot LOOKED by a compare-and-swap from this line's address: it
 * succeeds only if the context is registered there now, and then it stays. In a
 * stripe that holds only if the owner is not just emptying the slot by a plain store
 * (children.c): so after one more such fence, for many, the clock goes on with what no
 * heap is leaving and what still has the tag. Only then are parent and kind read, and
 * the deadline again. What is gathered for that is ended in the order of deadlines, and
 * the records that a turn has claimed are sorted by them before they are told (due.h).
 *
 * A value layer has its key there, in the form of a deadline that has fired, and SWEPT in its
 * state: fired, done and all below it, so the clock passes it by. It comes and goes as a
 * deadline does, within the time in the slot: the line's next life may be what the state is of,
 * which sends the clock to the slot after all. It is nobody's to look at otherwise, as
 * deadlines are looked for on the way up, where value layers have none.
 *
 * Who fires. A deadline word is >= 0 while armed, and its complement (< 0) once it
 * has fired, so that canopy_deadline can still tell it. Firing is D5: a
 * compare-and-swap of the word from the armed to the fired form, which decides
 * between the clock and canopy_set_deadline. Then the context is cancelled like
 * any other; who moves a deadline and finds it fired helps with that before it
 * returns false, so "false" means done.
 *
 * What is due is not fired on its own account: of all that is due on the way up,
 * the topmost context is the one that is cancelled. So where parent and child are
 * due at once, also because the clock is late, the parent's cause is reported,
 * whichever the clock came upon first.
 *
 * Who waits (wait.c) needs no clock for it: it sleeps no longer than until the earliest
 * deadline on the way up, and fires that itself, as a constructor or canopy_set_deadline
 * does that comes too late. A deadline that is moved nearer while it sleeps is the clock's.
 */
#include "time/deadline.h"

#include <errno.h>

#include "time/ticks.h"
#include "tree/extension.h"
#include "tree/merge.h"

/* ---------------------------------------------------------------------- time */

/* More than the coarse clock ever lags. */
#define COARSE_LAG_NS NS_PER_SECOND

static inline int64_t host_now_ns(const struct domain *domain)
{
    return i64_load_acquire(&domain->now_ns); /* D6 */
}

/* What time it is for the contexts of a domain, exactly. */
static int64_t domain_now_ns(const struct domain *domain)
{
    return unlikely(domain->host_clock) ? host_now_ns(domain) : clock_now_ns();
}

int64_t domain_time_ns(const struct domain *domain)
{
    int64_t now_ns;
    if (domain->host_clock)
        return host_now_ns(domain);
    return likely(clock_at_hand(&now_ns)) ? now_ns : ticks_renew();
}

/*
 * Whether a deadline has passed. The coarse clock is cheap, but it lags: by its
 * step, and by more where a virtual CPU was not run when its tick was due. It may
 * only say that a deadline is far away.
 */
static bool has_passed(const struct domain *domain, int64_t deadline_ns)
{
    if (deadline_ns == CANOPY_NEVER)
        return false;
    if (deadline_ns <= 0)
        return true;
    if (!domain->host_clock && deadline_ns - clock_read_ns(CLOCK_MONOTONIC_COARSE) > COARSE_LAG_NS)
        return false;
    return deadline_ns <= domain_now_ns(domain);
}

/* ---------------------------------------------------------------------- bounds */

/* D2. True when the bound was above. */
bool bound_lower(atomic_i64 *bound, int64_t due_ns)
{
    int64_t seen = i64_load_seq_cst(bound); /* D2 */
    while (seen > due_ns)
        if (i64_cas_seq_cst(bound, &seen, due_ns)) /* D2: pairs with D3 */
            return true;
    return false;
}

static atomic_i64 *sector_bound(struct slab *slab, const struct canopy_ctx *ctx)
{
    return &slab->sector_due_ns[((uintptr_t)ctx - (uintptr_t)slab) / CACHE_LINE / 64];
}

/* The bound is lowered; a loop that sleeps until the old one is told (inbox.h). */
static void host_hasten(struct domain *domain)
{
    rcu_read_begin();
    /* N6: after the bound; a loop that is not seen here has yet to load that. */
    struct inbox *inbox = (struct inbox *)word_load_seq_cst(&domain->inbox);
    if (inbox)
        inbox_post(inbox);
    rcu_read_end();
}

/* After D1: makes sure that somebody will look by then. Returns `ctx`. */
static __attribute__((noinline)) struct canopy_ctx *announce_earlier(struct canopy_ctx *ctx,
                                                                     int64_t due_ns)
{
    struct slab *slab = slab_of(ctx);
    struct domain *domain = slab->domain;
    if (!bound_lower(sector_bound(slab, ctx), due_ns) ||
        !bound_lower(&slab->place->due_ns, due_ns) ||
        !bound_lower(&shelf_of(slab->place)->due_ns, due_ns) ||
        !bound_lower(&domain->place->due_ns, due_ns))
        return ctx;
    if (domain->host_clock)
        host_hasten(domain);
    else if (bound_lower(&shelf_of(domain->place)->due_ns, due_ns))
        clock_hasten(due_ns);
    return ctx;
}

static inline struct canopy_ctx *announce(struct canopy_ctx *ctx, int64_t due_ns)
{
    if (unlikely(i64_load_seq_cst(sector_bound(slab_of(ctx), ctx)) > due_ns)) /* D2 */
        return announce_earlier(ctx, due_ns);
    return ctx;
}

/* -------------------------------------------------------------------- look up */

/* The least deadline from `ctx` up to where deadlines stop, and whose it is. */
struct effective {
    int64_t deadline_ns;
    struct canopy_ctx *owner;
};

static void effective_up(struct canopy_ctx *ctx, void *arg)
{
    struct effective *least = arg;
    int64_t word = i64_load_acquire(&ctx->deadline); /* as deadline_of */
    if (likely(word > least->deadline_ns))
        return;
    int64_t deadline_ns = deadline_in(word);
    if (deadline_ns != CANOPY_NEVER && deadline_ns <= least->deadline_ns) {
        least->deadline_ns = deadline_ns;
        least->owner = ctx;
    }
}

static struct effective effective(const canopy_ctx *ctx)
{
    struct effective least = {CANOPY_NEVER, NULL};
    ancestors_visit(ctx_mutable(ctx), effective_up, &least);
    return least;
}

bool canopy_deadline(const canopy_ctx *ctx, int64_t *deadline_ns)
{
    struct effective least = effective(ctx);
    if (deadline_ns)
        *deadline_ns = least.deadline_ns;
    return least.owner != NULL;
}

static void awaited_up(struct canopy_ctx *ctx, void *arg)
{
    if (!ctx_domain(ctx)->host_clock)
        effective_up(ctx, arg);
}

struct canopy_ctx *deadline_awaited(const canopy_ctx *ctx, int64_t *deadline_ns)
{
    struct effective least = {CANOPY_NEVER, NULL};
    ancestors_visit(ctx_mutable(ctx), awaited_up, &least);
    *deadline_ns = least.deadline_ns;
    return least.owner;
}

int canopy_err_at(const canopy_ctx *ctx, int64_t now_ns)
{
    int err = canopy_err(ctx);
    if (err)
        return err;
    struct effective least = effective(ctx);
    return least.owner && least.deadline_ns <= now_ns ? -ETIMEDOUT : 0;
}

/* ------------------------------------------------------------------- construct */

/*
 * Ends `ctx`, whose deadline is past and marked fired, or the ancestor that is due
 * as well. True: by a deadline. A callback may let go of the last reference, so
 * nobody looks at `ctx` afterwards.
 */
static bool expire_now(struct canopy_ctx *ctx, int64_t deadline_ns)
{
    int64_t now_ns = domain_now_ns(ctx_domain(ctx));
    struct pass pass;
    pass_init(&pass);
    rcu_read_begin();
    expire_one(ctx, deadline_ns > now_ns ? deadline_ns : now_ns, &pass);
    bool expired = (ctx_state(ctx) & STATE_KIND_MASK) == STATE_TIMEDOUT;
    rcu_read_end();
    deliver(&pass, false);
    return expired;
}

static int64_t not_negative(int64_t ns)
{
    return ns < 0 ? 0 : ns;
}

/* D1 of a new context, where the fence is asymmetric: pairs with D4. */
static inline void arm_lightly(struct canopy_ctx *ctx, int64_t deadline_ns)
{
    i64_store_release(&ctx->deadline, deadline_ns); /* D1 */
    fence_light();
}

/* D1 of a new context: pairs with D4. */
static inline void arm(struct canopy_ctx *ctx, int64_t deadline_ns)
{
    if (likely(fence_is_asymmetric))
        arm_lightly(ctx, deadline_ns);
    else
        i64_store_seq_cst(&ctx->deadline, deadline_ns); /* D1 */
}

/* The rarer ends: no deadline at all, or one that has passed. */
static __attribute__((noinline)) canopy_ctx *derive_passed(const canopy_ctx *parent,
                                                           int64_t deadline_ns,
                                                           const canopy_cause *cause,
                                                           const void *place)
{
    canopy_ctx *ctx = ctx_derive_at(parent, KIND_CANCEL, place);
    if (!ctx)
        return NULL;
    if (cause)
        word_store_relaxed(&ctx->aux, (uintptr_t)cause);
    if (deadline_ns == CANOPY_NEVER)
        return ctx;
    i64_store_seq_cst(&ctx->deadline, ~not_negative(deadline_ns)); /* D5, at its birth */
    /* Nobody else has the handle, should a callback end this thread. */
    pthread_cleanup_push(release_handle, ctx);
    expire_now(ctx, not_negative(deadline_ns));
    pthread_cleanup_pop(0);
    return ctx;
}

/* D1 of one that is settled, or NULL: not made. */
static inline canopy_ctx *arm_settled(struct canopy_ctx *ctx, int64_t deadline_ns,
                                      const canopy_cause *cause)
{
    if (unlikely(!ctx))
        return NULL;
    if (cause)
        word_store_relaxed(&ctx->aux, (uintptr_t)cause); /* published by D1 */
    arm(ctx, deadline_ns);
    return announce(ctx, deadline_ns);
}

/* The general way; `ctx` is in its slot but not settled, or NULL: not made. */
static __attribute__((noinline)) canopy_ctx *derive_armed(struct canopy_ctx *parent,
                                                          struct canopy_ctx *ctx,
                                                          int64_t deadline_ns,
                                                          const canopy_cause *cause)
{
    ctx = ctx ? ctx_settle(ctx, parent)
              : ctx_derive_anew(parent, ctx_heap_at_hand(parent), KIND_CANCEL);
    return arm_settled(ctx, deadline_ns, cause);
}

/* The same where the heap takes a search. */
static __attribute__((noinline)) canopy_ctx *derive_armed_in_domain(struct canopy_ctx *parent,
                                                                    const void *place,
                                                                    int64_t deadline_ns,
                                                                    const canopy_cause *cause)
{
    return arm_settled(ctx_derive_in_domain(parent, KIND_CANCEL, place), deadline_ns, cause);
}

/* The same by a heap in hand. No call in most cases. */
static inline __attribute__((always_inline)) canopy_ctx *with_armed_by(struct canopy_ctx *parent,
                                                                       struct heap *heap,
                                                                       int64_t deadline_ns,
                                                                       const canopy_cause *cause)
{
    struct canopy_ctx *ctx = ctx_enter(parent, heap, KIND_CANCEL);
    if (unlikely(!ctx) || unlikely(!ctx_is_settled(parent)))
        return derive_armed(parent, ctx, deadline_ns, cause);
    if (cause)
        word_store_relaxed(&ctx->aux, (uintptr_t)cause); /* published by D1 */
    arm_lightly(ctx, deadline_ns);                       /* as ctx_enter published it */
    return announce(ctx, deadline_ns);
}

/* A child with a deadline that is to come, where the clock runs already. No call in most cases. */
static inline __attribute__((always_inline)) canopy_ctx *
with_armed(const canopy_ctx *view, int64_t deadline_ns, const canopy_cause *cause)
{
    struct canopy_ctx *parent = ctx_mutable(view);
    struct heap *heap = ctx_heap_at_hand(parent);
    if (unlikely(!heap))
        return derive_armed_in_domain(parent, PLACE_OF_CALL, deadline_ns, cause);
    return with_armed_by(parent, heap, deadline_ns, cause);
}

static inline __attribute__((always_inline)) canopy_ctx *
with_deadline(const canopy_ctx *parent, const struct domain *domain, int64_t deadline_ns,
              bool passed, const canopy_cause *cause)
{
    if (passed || deadline_ns == CANOPY_NEVER)
        return derive_passed(parent, deadline_ns, cause, PLACE_OF_CALL);
    int err = domain->host_clock ? 0 : clock_ready();
    if (unlikely(err)) {
        errno = err;
        return NULL;
    }
    return with_armed(parent, deadline_ns, cause);
}

static inline __attribute__((always_inline)) canopy_ctx *
with_deadline_at(const canopy_ctx *parent, int64_t deadline_ns, const canopy_cause *cause)
{
    if (unlikely(!parent)) {
        errno = EINVAL;
        return NULL;
    }
    const struct domain *domain = ctx_domain(parent);
    bool passed = has_passed(domain, deadline_ns);
    return with_deadline(parent, domain, deadline_ns, passed, cause);
}

/*
 * Any timeout, and where the clock must be started or asked. It is jumped to, so that it
 * returns to where the public function would.
 */
static __attribute__((noinline)) canopy_ctx *
with_timeout_slowly(const canopy_ctx *parent, int64_t timeout_ns, const canopy_cause *cause)
{
    if (unlikely(!parent)) {
        errno = EINVAL;
        return NULL;
    }
    const struct domain *domain = ctx_domain(parent);
    int64_t now_ns = domain->host_clock ? host_now_ns(domain) : ticks_renew();
    return with_deadline(parent, domain, saturating_add(now_ns, timeout_ns), timeout_ns <= 0,
                         cause);
}

/* What time it is for children of `parent`, or a moment later, where that takes no call. */
static inline bool timeout_base(const canopy_ctx *parent, int64_t *now_ns)
{
    if (unlikely(parent->parent & PARENT_DOMAIN)) {
        const struct domain *domain = slab_of(parent)->domain;
        if (domain->host_clock) {
            *now_ns = host_now_ns(domain);
            return true;
        }
    }
    return likely(u32_load_acquire(&clock_started)) && clock_at_hand(now_ns); /* Z3 */
}

static inline __attribute__((always_inline)) canopy_ctx *
with_timeout(const canopy_ctx *parent, int64_t timeout_ns, const canopy_cause *cause)
{
    int64_t now_ns;
    if (unlikely(!parent) || unlikely(timeout_ns <= 0) || !timeout_base(parent, &now_ns))
        return with_timeout_slowly(parent, timeout_ns, cause);
    uint64_t deadline_ns = (uint64_t)now_ns + (uint64_t)timeout_ns; /* of two that are positive */
    if (unlikely(deadline_ns >= CANOPY_NEVER))
        return with_timeout_slowly(parent, timeout_ns, cause);
    return with_armed(parent, (int64_t)deadline_ns, cause);
}

canopy_ctx *canopy_with_timeout_cause(const canopy_ctx *parent, int64_t timeout_ns,
                                      const canopy_cause *cause)
{
    return with_timeout(parent, timeout_ns, cause);
}

canopy_ctx *canopy_with_deadline_cause(const canopy_ctx *parent, int64_t deadline_ns,
                                       const canopy_cause *cause)
{
    return with_deadline_at(parent, deadline_ns, cause);
}

canopy_ctx *canopy_with_deadline(const canopy_ctx *parent, int64_t deadline_ns)
{
    return with_deadline_at(parent, deadline_ns, NULL);
}

canopy_ctx *canopy_with_timeout(const canopy_ctx *parent, int64_t timeout_ns)
{
    return with_timeout(parent, timeout_ns, NULL);
}

/* ------------------------------------------------------------------------ move */

bool canopy_set_deadline(canopy_ctx *ctx, int64_t deadline_ns)
{
    if (!ctx || !kind_is_cancellable(ctx_kind(ctx)) || canopy_done(ctx))
        return false;
    struct domain *domain = ctx_domain(ctx);
    bool passed = has_passed(domain, deadline_ns);
    int err = passed || deadline_ns == CANOPY_NEVER || domain->host_clock ? 0 : clock_ready();
    if (unlikely(err)) {
        errno = err;
        return false;
    }
    int64_t word = passed ? ~not_negative(deadline_ns) : deadline_ns;
    int64_t seen = i64_load_acquire(&ctx->deadline); /* whether D5 came first */
    do {
        if (seen < 0) {
            expire_now(ctx, ~seen); /* it has fired: done before we say so */
            return false;
        }
    } while (!i64_cas_seq_cst(&ctx->deadline, &seen, word)); /* D1: pairs with D4, D5 */
    if (passed) {
        return expire_now(ctx, not_negative(deadline_ns));
    }
    if (deadline_ns != CANOPY_NEVER)
        announce(ctx, deadline_ns);
    return !canopy_done(ctx);
}

bool canopy_set_timeout(canopy_ctx *ctx, int64_t timeout_ns)
{
    if (!ctx || !kind_is_cancellable(ctx_kind(ctx)))
        return false;
    int64_t now_ns = domain_now_ns(ctx_domain(ctx));
    return canopy_set_deadline(ctx, timeout_ns > 0 ? saturating_add(now_ns, timeout_ns) : now_ns);
}

bool canopy_try_reset(canopy_ctx *ctx)
{
    /* S6, Q2: what others did that had a reference or a child comes before the new life. */
    if (!ctx || ctx_kind(ctx) != KIND_CANCEL ||
        (u64_load_acquire(&ctx->refs) & ~REFS_FLAGS) != REFS_HANDLE || !children_empty(ctx) ||
        (word_load_acquire(&ctx->aux) & AUX_EXTENSION))
        return false;
    int64_t seen = i64_load_acquire(&ctx->deadline); /* whether D5 came first */
    do {
        if (seen < 0 || canopy_done(ctx))
            return false;
    } while (!i64_cas_seq_cst(&ctx->deadline, &seen, CANOPY_NEVER)); /* D1: pairs with D5 */
    word_store_relaxed(&ctx->aux, 0);
    u64_store_relaxed(&ctx->refs, REFS_HANDLE | (ctx->parent & PARENT_NOTED ? REFS_RECORDS : 0));
    return !canopy_done(ctx);
}
