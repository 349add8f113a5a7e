/*
 * expire.c - what a clock does: finds what is due through the bounds, and ends it. The
 * other half of deadline.c, where the protocol is described (D3 to D5).
 */
#include "deadline.h"
#include "due.h"
#include "extension.h"
#include "merge.h"

/* The topmost context on the way up that is due by some time of some clock. */
struct topmost {
    const struct domain *domain;
    int64_t now_ns;
    int64_t deadline_ns;
    struct canopy_ctx *owner;
};

/* Through a with_any the way up may lead to roots whose hosts tell another time. */
static bool same_clock(const struct domain *a, const struct domain *b)
{
    return a == b || (!a->host_clock && !b->host_clock);
}

static void due_up(struct canopy_ctx *ctx, void *arg)
{
    struct topmost *top = arg;
    int64_t deadline_ns = deadline_of(ctx);
    if (deadline_ns <= top->now_ns && same_clock(ctx_domain(ctx), top->domain)) {
        top->deadline_ns = deadline_ns;
        top->owner = ctx;
    }
}

void expire_one(struct canopy_ctx *ctx, int64_t now_ns, struct pass *pass)
{
    for (;;) {
        struct topmost top = {ctx_domain(ctx), now_ns, CANOPY_NEVER, NULL};
        ancestors_visit(ctx, due_up, &top);
        if (!top.owner)
            return;
        int64_t armed = top.deadline_ns;
        if (i64_cas_acq_rel(&top.owner->deadline, &armed, ~armed) || /* D5 */
            armed == ~top.deadline_ns) {
            /* Also where it had fired before: its end is on its way, and we help. */
            pass->due_ns = top.deadline_ns;
            cancel_tree(top.owner, state_word(extension_deadline_cause(top.owner), STATE_TIMEDOUT),
                        pass);
            return;
        }
    }
}

/* Ends what is due in a line whose context stays. A deadline that moved was announced. */
static void expire_kept(struct canopy_ctx *ctx, int64_t now_ns, struct pass *pass)
{
    if (i64_load_acquire(&ctx->deadline) > now_ns)
        return;
    uintptr_t state = word_load_acquire(&ctx->state);
    if (state_is_live(state)) {
        expire_one(ctx, now_ns, pass);
        return;
    }
    pass->due_ns = deadline_of(ctx);
    cancel_tree(ctx, state, pass); /* somebody else's, which may not be through: we help */
}

/*
 * Lines that are due and tagged, to be ended in the order of their deadlines. Some are in
 * stripes' slots, which their owners may be emptying by plain stores. After a fence_heavy
 * each such slot is named by its heap, or the tag is still there and will be seen; one
 * fence does for many.
 */
#define BATCH 256

struct line {
    struct due due;
    struct canopy_ctx *ctx;
    uintptr_t where; /* as in ctx.slot */
};

struct batch {
    const struct domain *domain;
    int64_t now_ns;
    struct pass *pass;
    unsigned count;
    bool is_unordered;
    int64_t latest_ns; /* of what came last */
    uintptr_t flags;   /* all that some `where` has */
    struct line lines[BATCH];
};

static int64_t least_ns(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void batch_clear(struct batch *batch)
{
    batch->count = 0;
    batch->is_unordered = false;
    batch->latest_ns = 0;
    batch->flags = 0;
}

static inline __attribute__((always_inline)) void line_expire(const struct line *line,
                                                              const struct batch *batch)
{
    const atomic_word *slot = (const atomic_word *)(line->where & ~SLOT_STRIPED);
    if (!(line->where & SLOT_STRIPED) ||
        (children_leaving(slot) != (uintptr_t)slot &&
         (word_load_acquire(slot) & ~SLOT_COUNTED) == ((uintptr_t)line->ctx | SLOT_LOOKED)))
        expire_kept(line->ctx, batch->now_ns, batch->pass);
}

static __attribute__((noinline)) void expire_in_order(struct batch *batch)
{
    struct line *lines = batch->lines;
    for (unsigned i = 0; i < batch->count; i++)
        word_store_relaxed(&lines[i].due.next, i + 1 < batch->count ? (uintptr_t)&lines[i + 1] : 0);
    struct line *line = due_sort(lines, offsetof(struct line, due));
    for (; line; line = (struct line *)word_load_relaxed(&line->due.next))
        line_expire(line, batch);
}

static void batch_expire(struct batch *batch)
{
    if (batch->flags & SLOT_STRIPED)
        domain_fence(batch->domain); /* pairs with children_leave */
    if (unlikely(batch->is_unordered)) {
        expire_in_order(batch);
    } else {
        for (unsigned i = 0; i < batch->count; i++)
            line_expire(&batch->lines[i], batch);
    }
    batch_clear(batch);
}

static void batch_add(struct batch *batch, struct canopy_ctx *ctx, int64_t due_ns, uintptr_t where)
{
    if (unlikely(batch->count == BATCH))
        batch_expire(batch);
    struct line *line = &batch->lines[batch->count++];
    i64_store_relaxed(&line->due.due_ns, due_ns);
    line->ctx = ctx;
    line->where = where;
    batch->is_unordered |= due_ns < batch->latest_ns;
    batch->latest_ns = due_ns;
    batch->flags |= where;
}

/*
 * Whether a deadline that has fired needs no help: its context and all below it are
 * done. For a line that may be free, so by its words alone.
 */
static bool is_through(const struct canopy_ctx *ctx)
{
    uintptr_t state = word_load_seq_cst(&ctx->state); /* before the slots, as C1 before C3 */
    return !state_is_live(state) &&
           ((state & STATE_SWEPT) ||
            (word_load_seq_cst(&ctx->link) == SLOT_END && word_load_seq_cst(&ctx->slot0) == 0));
}

/* Looks at one line: the time by which to look again, unless the batch will tell. */
static int64_t expire_line(struct canopy_ctx *ctx, struct batch *batch)
{
    int64_t due_ns = i64_load_seq_cst(&ctx->deadline); /* D4: pairs with D1 */
    if (due_ns < 0 && is_through(ctx))
        return CANOPY_NEVER;
    if (due_ns > batch->now_ns)
        return due_ns;
    uintptr_t where = word_load_relaxed(&ctx->slot);
    atomic_word *slot = (atomic_word *)(where & ~SLOT_STRIPED);
    if (slot) { /* a root has none, and stays while it is the clock's to look at */
        uintptr_t word = word_load_acquire(slot);
        do {
            if ((word & ~SLOT_TAGS) != (uintptr_t)ctx)
                return CANOPY_NEVER; /* freed meanwhile; a next life announces itself */
        } while (!(word & SLOT_LOOKED) && !word_cas_seq_cst(slot, &word, word | SLOT_LOOKED));
    }
    batch_add(batch, ctx, due_ns < 0 ? ~due_ns : due_ns, where);
    return CANOPY_NEVER;
}

static int64_t expire_group(struct slab *slab, unsigned group, struct batch *batch)
{
    uintptr_t from = (uintptr_t)group * 64 * CACHE_LINE;
    uintptr_t end = from + (uintptr_t)64 * CACHE_LINE;
    uint32_t fresh = u32_load_acquire(&slab->fresh_bytes); /* P2: pairs with pool_refill */
    if (from < SLAB_HEADER_BYTES)
        from = SLAB_HEADER_BYTES;
    if (end > fresh)
        end = fresh;
    int64_t next_ns = CANOPY_NEVER;
    for (; from < end; from += CACHE_LINE)
        next_ns = least_ns(next_ns, expire_line((struct canopy_ctx *)((char *)slab + from), batch));
    bound_lower(&slab->group_due_ns[group], next_ns);
    return next_ns;
}

/* What the clock leaves to slabs that threads with a fork between them own. */
static bool is_clocked(const struct slab *slab)
{
    return slab->class == CLASS_CTX && !slab_is_inherited(slab);
}

/* What a turn has yet to do: the groups that it may still look at, the slabs that it will. */
struct turn {
    int64_t horizon_ns;
    unsigned *groups;
    struct slab *reset;
};

static bool is_for(const struct turn *turn, int64_t due_ns)
{
    return due_ns <= turn->horizon_ns && *turn->groups > 0;
}

/* D3 in a slab of which something is due; its groups of which something is are noted. */
static void reset_slab(struct slab *slab, struct turn *turn)
{
    slab->reset_groups = 0;
    slab->reset_next = turn->reset;
    turn->reset = slab;
    for (unsigned group = 0; group < SLAB_GROUPS; group++) {
        if (!is_for(turn, i64_load_seq_cst(&slab->group_due_ns[group]))) /* D4, one level up */
            continue;
        --*turn->groups;
        i64_exchange_seq_cst(&slab->group_due_ns[group], CANOPY_NEVER); /* D3: pairs with D2 */
        slab->reset_groups |= 1U << group;
    }
}

/* D3 on a shelf of which something is due. A time by which to look at the rest of it. */
static int64_t reset_shelf(struct shelf *shelf, struct turn *turn)
{
    int64_t next_ns = CANOPY_NEVER;
    i64_exchange_seq_cst(&shelf->due_ns, CANOPY_NEVER); /* D3, two levels up */
    uint32_t opened = u32_load_seq_cst(&shelf->opened); /* P3: pairs with shelf_put */
    for (struct shelf_place *place = shelf->places; place < shelf->places + opened; place++) {
        int64_t due_ns = i64_load_seq_cst(&place->due_ns); /* D4, two levels up */
        if (!is_for(turn, due_ns)) {
            next_ns = least_ns(next_ns, due_ns);
            continue;
        }
        i64_exchange_seq_cst(&place->due_ns, CANOPY_NEVER); /* D3, one level up */
        struct slab *slab = shelf_item(place);
        if (slab && is_clocked(slab))
            reset_slab(slab, turn);
    }
    bound_lower(&shelf->due_ns, next_ns);
    return next_ns;
}

static int64_t expire_slab(struct slab *slab, struct batch *batch)
{
    int64_t next_ns = CANOPY_NEVER;
    for (unsigned group = 0; group < SLAB_GROUPS; group++) {
        if (slab->reset_groups & (1U << group))
            next_ns = least_ns(next_ns, expire_group(slab, group, batch));
        else
            next_ns = least_ns(next_ns, /* D4, one level up */
                               i64_load_seq_cst(&slab->group_due_ns[group]));
    }
    bound_lower(&slab->place->due_ns, next_ns);
    bound_lower(&shelf_of(slab->place)->due_ns, next_ns);
    return next_ns;
}

int64_t expire_domain(struct domain *domain, int64_t now_ns, unsigned *groups, struct pass *pass)
{
    struct batch batch;
    batch.domain = domain;
    batch.now_ns = now_ns;
    batch.pass = pass;
    batch_clear(&batch);
    struct turn turn = {.horizon_ns = now_ns, .groups = groups};
    int64_t next_ns = CANOPY_NEVER;
    if (now_ns - domain->looked_ahead_ns >= HORIZON_NS) {
        domain->looked_ahead_ns = now_ns;
        turn.horizon_ns = saturating_add(now_ns, HORIZON_NS);
    }
    i64_exchange_seq_cst(&domain->place->due_ns, CANOPY_NEVER); /* D3, three levels up */
    for (struct shelf *shelf = shelf_first(&domain->slabs); shelf; shelf = shelf_next(shelf)) {
        int64_t due_ns = i64_load_seq_cst(&shelf->due_ns); /* D4, three levels up */
        if (is_for(&turn, due_ns))
            due_ns = reset_shelf(shelf, &turn);
        next_ns = least_ns(next_ns, due_ns);
    }
    if (turn.reset)
        domain_fence(domain); /* between D3 and D4 */
    for (struct slab *slab = turn.reset; slab; slab = slab->reset_next)
        next_ns = least_ns(next_ns, expire_slab(slab, &batch));
    batch_expire(&batch);
    bound_lower(&domain->place->due_ns, next_ns);
    return next_ns;
}
