/*
 * expire.c - what a clock does: finds what is due through the bounds, and ends it. The
 * other half of deadline.c, where the protocol is described (D3 to D5).
 */
#include "base/due.h"
#include "base/probe.h"
#include "time/deadline.h"
#include "tree/extension.h"
#include "tree/merge.h"

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
        bool fired = i64_cas_acq_rel(&top.owner->deadline, &armed, ~armed); /* D5 */
        if (fired)
            PROBE3(deadline, top.owner, top.deadline_ns, now_ns);
        if (fired || armed == ~top.deadline_ns) {
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
    if (i64_load_acquire(&ctx->deadline) > now_ns) /* D4 */
        return;
    uintptr_t state = word_load_acquire(&ctx->state); /* C2 */
    if (state_is_live(state)) {
        expire_one(ctx, now_ns, pass);
        return;
    }
    pass->due_ns = deadline_of(ctx);
    cancel_tree(ctx, state, pass); /* somebody else's, which may not be through: we help */
}

/*
 * Lines that are due and tagged, to be ended in the order of their deadlines. Some are in
 * stripes' slots, which their owners may be emptying by plain stores. After a fence each
 * such slot is named by its heap, or the tag is still there and will be seen; one fence
 * does for many. There is room for a sector beyond so many that are ended in order.
 */
#define BATCH (TURN_LINES + 64)

struct line {
    struct due due;
    struct canopy_ctx *ctx;
    uintptr_t where; /* as in ctx.slot */
};

struct batch {
    const struct domain *domain; /* of all lines; NULL: of several */
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
    /* S9: the tag is there as long as the context is, unless O4 names it. */
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

/* For one domain, or for all. */
static void fence_for(const struct domain *domain)
{
    if (domain)
        domain_fence(domain);
    else if (fence_is_asymmetric)
        fence_heavy();
}

static void batch_expire(struct batch *batch)
{
    if (batch->flags & SLOT_STRIPED)
        fence_for(batch->domain); /* between the tags and O4; against L1's light one */
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
static inline bool is_through(const struct canopy_ctx *ctx)
{
    /* C2, C9: before the slots, as C1 before C3. */
    uintptr_t state = word_load_seq_cst(&ctx->state);
    /* C3, S8: the slots of a context that may be free are empty. */
    return !state_is_live(state) &&
           ((state & STATE_SWEPT) ||
            (word_load_seq_cst(&ctx->link) == SLOT_END && word_load_seq_cst(&ctx->slot0) == 0));
}

/* A line whose deadline is due, or has fired and needs help. */
static inline __attribute__((always_inline)) void due_line(struct canopy_ctx *ctx, int64_t due_ns,
                                                           struct batch *batch)
{
    uintptr_t where = word_load_relaxed(&ctx->slot);
    atomic_word *slot = (atomic_word *)(where & ~SLOT_STRIPED);
    if (slot) { /* a root has none, and stays while it is the clock's to look at */
        uintptr_t word = word_load_acquire(slot); /* S9 */
        do {
            if ((word & ~SLOT_TAGS) != (uintptr_t)ctx)
                return; /* freed meanwhile; a next life announces itself */
        } while (!(word & SLOT_LOOKED) &&
                 !word_cas_seq_cst(slot, &word, word | SLOT_LOOKED)); /* S9 */
    }
    batch_add(batch, ctx, due_ns < 0 ? ~due_ns : due_ns, where);
}

/* So many lines are looked at together: mostly none of them is due. */
#define ROW 4

static inline int64_t line_due_ns(const struct canopy_ctx *line)
{
    return i64_load_seq_cst(&line->deadline); /* D4: pairs with D1 */
}

static inline int64_t row_due_ns(const struct canopy_ctx *row)
{
    return least_ns(least_ns(line_due_ns(&row[0]), line_due_ns(&row[1])),
                    least_ns(line_due_ns(&row[2]), line_due_ns(&row[3])));
}

/* On to the next row with something due, or what is left; `next_ns` is lowered to the others. */
static inline struct canopy_ctx *skip_rows(struct canopy_ctx *row, const struct canopy_ctx *end,
                                           int64_t now_ns, int64_t *next_ns)
{
    for (; end - row >= ROW; row += ROW) {
        int64_t due_ns = row_due_ns(row);
        if (due_ns <= now_ns)
            break;
        *next_ns = least_ns(*next_ns, due_ns);
    }
    return row;
}

/* Looks at some lines: the time by which to look again, unless the batch will tell. */
static int64_t look_at_lines(struct canopy_ctx *line, const struct canopy_ctx *end,
                             struct batch *batch)
{
    int64_t next_ns = CANOPY_NEVER;
    while ((line = skip_rows(line, end, batch->now_ns, &next_ns)) < end) {
        /* What is due, or has been, often stands together: on to the end of that. */
        for (bool was_due = false; line < end; line++) {
            int64_t due_ns = line_due_ns(line);
            if (due_ns > batch->now_ns) {
                next_ns = least_ns(next_ns, due_ns);
                if (was_due)
                    break;
                continue;
            }
            was_due = true;
            if (due_ns >= 0 || !is_through(line))
                due_line(line, due_ns, batch);
        }
    }
    return next_ns;
}

/* ------------------------------------------------------------------------- turns */

/*
 * A turn at one domain, or at all those of the library's clock: first D3 from above, by
 * which the sectors that are due are noted as owed a look, then one fence, then the looks.
 * What of them there is no time for stays owed to the next turns: only the clock knows of
 * it, as the bounds are reset, but for the domain's, which is due as long as something is.
 * So what comes due meanwhile is found as if nothing else were, and looked at first. Of
 * what comes due in the same moment, what stands alone comes before what stands in crowds,
 * and so do sectors in which something was due a moment ago: more will be soon, and is not
 * known of before the look.
 *
 * What comes due in the next moments is looked at in any case, and so is not much.
 */
#define AHEAD 64

struct ahead {
    struct slab *slab;
    unsigned sector;
};

struct turn {
    const struct limit *limit;
    struct slab *fresh; /* in which this turn has noted something; those with one sector first */
    struct slab **fresh_end;
    struct domain *domains; /* in which something is owed, the longest left alone first */
    unsigned ahead_count;
    struct ahead ahead[AHEAD];
    struct batch batch;
};

static void turn_open(struct turn *turn, const struct domain *domain, int64_t now_ns,
                      const struct limit *limit, struct pass *pass)
{
    turn->limit = limit;
    turn->fresh = NULL;
    turn->fresh_end = &turn->fresh;
    turn->domains = NULL;
    turn->ahead_count = 0;
    turn->batch.domain = domain;
    turn->batch.now_ns = now_ns;
    turn->batch.pass = pass;
    batch_clear(&turn->batch);
}

/* The levels above a domain, which a host's has none of. */
static void domain_lower(struct domain *domain, int64_t due_ns)
{
    if (bound_lower(&domain->place->due_ns, due_ns) && !domain->host_clock &&
        bound_lower(&shelf_of(domain->place)->due_ns, due_ns))
        clock_lower(due_ns);
}

static unsigned char *owed_sectors(const struct shelf_place *place)
{
    struct shelf *shelf = shelf_of(place);
    return &shelf->owed_sectors[place - shelf->places];
}

static void owe(struct domain *domain, const struct shelf_place *place, unsigned sectors)
{
    unsigned char *owed = owed_sectors(place);
    if (!*owed) {
        shelf_of(place)->owed++;
        domain->owed++;
    }
    *owed = (unsigned char)(*owed | sectors);
}

static void settle(struct domain *domain, const struct shelf_place *place, unsigned sectors)
{
    unsigned char *owed = owed_sectors(place);
    *owed = (unsigned char)(*owed & ~sectors);
    if (!*owed) {
        shelf_of(place)->owed--;
        domain->owed--;
    }
}

/* What the clock leaves to slabs that threads with a fork between them own. */
static bool is_clocked(const struct slab *slab)
{
    return slab->class == CLASS_CTX && !slab_is_inherited(slab);
}

static void note_due(struct slab *slab, unsigned sectors, struct turn *turn)
{
    bool is_one = (sectors & (sectors - 1)) == 0;
    bool is_recent = slab->due_ns > turn->batch.now_ns - HORIZON_NS;
    slab->steady_sectors = is_recent ? (unsigned char)(slab->due_sectors & sectors) : 0;
    slab->due_sectors = (unsigned char)sectors;
    slab->due_ns = turn->batch.now_ns;
    struct slab **at = is_one || slab->steady_sectors ? &turn->fresh : turn->fresh_end;
    owe(slab->domain, slab->place, sectors);
    slab->fresh_next = *at;
    *at = slab;
    if (at == turn->fresh_end)
        turn->fresh_end = &slab->fresh_next;
}

/* D3 in a slab of which something is due. A time by which to look at the rest of it. */
static int64_t reset_slab(struct slab *slab, int64_t horizon_ns, struct turn *turn)
{
    int64_t next_ns = CANOPY_NEVER;
    unsigned sectors = 0;
    for (unsigned sector = 0; sector < SLAB_SECTORS; sector++) {
        int64_t due_ns = i64_load_seq_cst(&slab->sector_due_ns[sector]); /* D4, one level up */
        bool is_due = due_ns <= turn->batch.now_ns;
        if (!is_due && (due_ns > horizon_ns || turn->ahead_count == AHEAD)) {
            next_ns = least_ns(next_ns, due_ns);
            continue;
        }
        i64_exchange_seq_cst(&slab->sector_due_ns[sector], CANOPY_NEVER); /* D3: pairs with D2 */
        if (is_due)
            sectors |= 1U << sector;
        else
            turn->ahead[turn->ahead_count++] = (struct ahead){slab, sector};
    }
    if (sectors)
        note_due(slab, sectors, turn);
    bound_lower(&slab->place->due_ns, next_ns);
    return next_ns;
}

/* D3 on a shelf of which something is due. A time by which to look at the rest of it. */
static int64_t reset_shelf(struct shelf *shelf, int64_t horizon_ns, struct turn *turn)
{
    int64_t next_ns = CANOPY_NEVER;
    i64_exchange_seq_cst(&shelf->due_ns, CANOPY_NEVER); /* D3, two levels up */
    uint32_t opened = u32_load_seq_cst(&shelf->opened); /* P3 */
    for (struct shelf_place *place = shelf->places; place < shelf->places + opened; place++) {
        int64_t due_ns = i64_load_seq_cst(&place->due_ns); /* D4, two levels up */
        if (due_ns <= horizon_ns) {
            i64_exchange_seq_cst(&place->due_ns, CANOPY_NEVER); /* D3, one level up */
            struct slab *slab = shelf_item(place);              /* P3 */
            due_ns = slab && is_clocked(slab) ? reset_slab(slab, horizon_ns, turn) : CANOPY_NEVER;
        }
        next_ns = least_ns(next_ns, due_ns);
    }
    bound_lower(&shelf->due_ns, next_ns);
    return next_ns;
}

/* Who has been left alone for longest comes first. */
static void turn_add(struct turn *turn, struct domain *domain)
{
    struct domain **at = &turn->domains;
    if (*at && (*at)->served_ns <= domain->served_ns)
        at = &(*at)->turn_next;
    domain->turn_next = *at;
    *at = domain;
}

/* D3 in a domain whose own bound is reset. A time by which to look at the rest of it. */
static int64_t reset_domain(struct domain *domain, struct turn *turn)
{
    int64_t next_ns = CANOPY_NEVER, horizon_ns = turn->batch.now_ns;
    if (horizon_ns - domain->looked_ahead_ns >= HORIZON_NS) {
        domain->looked_ahead_ns = horizon_ns;
        horizon_ns = saturating_add(horizon_ns, HORIZON_NS);
    }
    for (struct shelf *shelf = shelf_first(&domain->slabs); shelf; shelf = shelf_next(shelf)) {
        int64_t due_ns = i64_load_seq_cst(&shelf->due_ns); /* D4, three levels up */
        if (due_ns <= horizon_ns)
            due_ns = reset_shelf(shelf, horizon_ns, turn);
        next_ns = least_ns(next_ns, due_ns);
    }
    bound_lower(&domain->place->due_ns, next_ns);
    if (domain->owed)
        turn_add(turn, domain);
    return next_ns;
}

static void expire_sector(struct slab *slab, unsigned sector, struct batch *batch)
{
    uintptr_t from = (uintptr_t)sector * 64 * CACHE_LINE;
    uintptr_t end = from + (uintptr_t)64 * CACHE_LINE;
    uint32_t fresh = u32_load_acquire(&slab->fresh_bytes); /* V2: pairs with V1 */
    if (from < SLAB_HEADER_BYTES)
        from = SLAB_HEADER_BYTES;
    if (end > fresh)
        end = fresh;
    char *base = (char *)slab;
    int64_t next_ns =
        look_at_lines((struct canopy_ctx *)(base + from), (struct canopy_ctx *)(base + end), batch);
    if (bound_lower(&slab->sector_due_ns[sector], next_ns) &&
        bound_lower(&slab->place->due_ns, next_ns) &&
        bound_lower(&shelf_of(slab->place)->due_ns, next_ns))
        domain_lower(slab->domain, next_ns);
}

static bool has_room(const struct turn *turn)
{
    return turn->batch.count < turn->limit->lines;
}

static bool has_time(const struct turn *turn)
{
    return turn->limit->until_ns == CANOPY_NEVER || clock_now_ns() < turn->limit->until_ns;
}

/* The looks that are owed in a place, one at least: in another slab by now, perhaps, or in none. */
static void expire_place(struct domain *domain, const struct shelf_place *place, struct turn *turn)
{
    struct slab *slab = shelf_item(place);
    unsigned owed = *owed_sectors(place);
    if (!slab || !is_clocked(slab)) {
        settle(domain, place, owed);
        return;
    }
    do {
        unsigned first = owed & slab->steady_sectors;
        unsigned sector = (unsigned)__builtin_ctz(first ? first : owed);
        settle(domain, place, 1U << sector);
        expire_sector(slab, sector, &turn->batch);
        owed &= ~(1U << sector);
    } while (owed && has_room(turn));
}

/* A place of a domain in which something is owed, on behind the last one. */
static const struct shelf_place *owed_place(struct domain *domain)
{
    const struct shelf_place *hand = domain->hand;
    const struct shelf *shelf = hand ? shelf_of(hand) : shelf_first(&domain->slabs);
    for (unsigned i = hand ? (unsigned)(hand - shelf->places) + 1 : 0;; i = 0) {
        for (; shelf->owed && i < SHELF_PLACES; i++)
            if (shelf->owed_sectors[i])
                return &shelf->places[i];
        shelf = shelf_next(shelf);
        if (!shelf)
            shelf = shelf_first(&domain->slabs);
    }
}

/* What is owed in a domain, one place at least. */
static void expire_owed(struct domain *domain, struct turn *turn)
{
    domain->served_ns = turn->batch.now_ns;
    do {
        domain->hand = owed_place(domain);
        expire_place(domain, domain->hand, turn);
    } while (domain->owed && has_room(turn) && has_time(turn));
}

/* After D3: what came due last first, but each turn also a place of what is owed for longest. */
static void turn_look(struct turn *turn)
{
    if (turn->fresh || turn->ahead_count)
        fence_for(turn->batch.domain); /* between D3 and D4 */
    for (unsigned i = 0; i < turn->ahead_count; i++)
        expire_sector(turn->ahead[i].slab, turn->ahead[i].sector, &turn->batch);
    bool in_time = true;
    for (struct slab *slab = turn->fresh; slab && in_time; slab = slab->fresh_next) {
        if (*owed_sectors(slab->place))
            expire_place(slab->domain, slab->place, turn);
        in_time = has_room(turn) && has_time(turn);
    }
    struct domain *first = turn->domains;
    for (struct domain *domain = first; domain; domain = domain->turn_next) {
        if (domain->owed && (domain == first || in_time)) {
            expire_owed(domain, turn);
            in_time = has_room(turn) && has_time(turn);
        }
        if (domain->owed)
            domain_lower(domain, turn->batch.now_ns);
    }
    batch_expire(&turn->batch);
}

void expire_domain(struct domain *domain, int64_t now_ns, const struct limit *limit,
                   struct pass *pass)
{
    struct turn turn;
    turn_open(&turn, domain, now_ns, limit, pass);
    i64_exchange_seq_cst(&domain->place->due_ns, CANOPY_NEVER); /* D3, three levels up */
    reset_domain(domain, &turn);
    turn_look(&turn);
}

/* D3 on a shelf of domains of which something is due. A time by which to look at the rest. */
static int64_t reset_domains(struct shelf *shelf, struct turn *turn)
{
    int64_t next_ns = CANOPY_NEVER;
    i64_exchange_seq_cst(&shelf->due_ns, CANOPY_NEVER); /* D3, four levels up */
    uint32_t opened = u32_load_seq_cst(&shelf->opened); /* P3 */
    for (struct shelf_place *place = shelf->places; place < shelf->places + opened; place++) {
        int64_t due_ns = i64_load_seq_cst(&place->due_ns); /* D4, four levels up */
        if (due_ns <= turn->batch.now_ns) {
            i64_exchange_seq_cst(&place->due_ns, CANOPY_NEVER); /* D3, three levels up */
            struct domain *domain = shelf_item(place);          /* P3 */
            due_ns = domain ? reset_domain(domain, turn) : CANOPY_NEVER;
        }
        next_ns = least_ns(next_ns, due_ns);
    }
    bound_lower(&shelf->due_ns, next_ns);
    return next_ns;
}

void expire_clocked(int64_t now_ns, const struct limit *limit, struct pass *pass)
{
    struct turn turn;
    int64_t next_ns = CANOPY_NEVER;
    turn_open(&turn, NULL, now_ns, limit, pass);
    struct shelf *shelf = shelf_first(&clocked_domains);
    for (; shelf; shelf = shelf_next(shelf)) {
        int64_t due_ns = i64_load_seq_cst(&shelf->due_ns); /* D4, five levels up */
        if (due_ns <= now_ns)
            due_ns = reset_domains(shelf, &turn);
        next_ns = least_ns(next_ns, due_ns);
    }
    clock_lower(next_ns);
    turn_look(&turn);
}
