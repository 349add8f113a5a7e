/*
 * cancel.c - the state word and the walk.
 *
 * State word of a context that can be cancelled:
 *
 *     LIVE (0) ──first waiter──► WAITED (1)
 *        └───────┬───────────────────┘
 *               C1 compare-and-swap, once
 *                ▼
 *     cause | CANCELED or TIMEDOUT ──walk complete──► the same | SWEPT
 *
 *   The compare-and-swap publishes done, err and cause in one word, so nobody
 *   sees one without the others, and decides between all cancellers: it is the
 *   linearization point of a cancel. WAITED is set by a waiter before it sleeps;
 *   missing, the canceller would save a wake that is needed; wrong, it makes one
 *   that is not. SWEPT is stored by any walker that has seen the whole subtree
 *   done; all writers of it write the same word, so a plain store does. Missing
 *   it costs a walk; wrong, a cancel would return with live contexts below. In a value
 *   layer it says nothing, but to the clock (deadline.c).
 *
 * Ordering pairs:
 *   C1/C2  C1 is a release, every reading of the state an acquire (node.h): who
 *         sees done sees what the canceller wrote before. Without it who sees done
 *         reads a cause that is not written yet.
 *   C1,C3/S3,C4  against register (children.c): C1 then load slots here, publish then
 *         load the state there; all four seq_cst, or with children_open's heavy
 *         fence between the first two, so one sees the other. Without it the cancel is
 *         lost: C3 reads 0, and C4, which ran ahead of S3, finds the parent live.
 *   C1/C5  against a waiter: WAITED is set in the same word, so either C1 is over it or
 *         C5 fails, and the kernel looks at the word once more before the sleep.
 *         Without it the waiter sleeps on, and nobody wakes it.
 *   C1,C6c/C6a,C6b  against a wait for several: C1, over WAITED, then load the bucket
 *         here; put a record there, then set WAITED and load the state there (park.h);
 *         store-then-load, hence seq_cst. Without it a canceller that finds the bucket
 *         empty passes by a waiter that falls asleep.
 *   C1,C7/C7a,C7b  against done_fd: C1 then load aux, and the fd there, here; publish the
 *         fd then load the state there (extension.c); store-then-load, hence seq_cst.
 *         Without it the fd of a context that has ended is never readable.
 *   C1,C8/C8a,C4  against after_func: C1 then load the flag RECORDS here; set the flag,
 *         publish the record (S3), load the state there: store-then-load, hence
 *         seq_cst. Without it the callback is lost; without the flag every cancel would
 *         read its slots twice.
 *   C9/C9  SWEPT is stored after all below was seen done, a release; who finds it goes
 *         not below. Without it a cancel returns with live contexts below.
 *
 * The walk goes depth first without a stack: into a child, and at the end of
 * its slots back up through `parent` and on behind the child's own slot. It
 * keeps nothing in the nodes, so any number of walks may cross. Everything it
 * steps on is LOOKED first, by its slot's tag or its block's mode, inside one read
 * section, so nothing goes away under it: a looked-at child retires through RCU and holds its
 * parent's memory until its own grace period is over, so the way back up exists.
 *
 * Who does what: the winner of a context's compare-and-swap, and nobody else,
 * delivers to that context's records, waiters and fd. But every walk marks all
 * contexts it meets, and goes below those that somebody else has marked unless
 * they are SWEPT. So a cancel that lost, or that meets another one in its
 * subtree, still returns only when everything below is done (promise 2).
 *
 * A merged context is met through an INPUT in the list of each of its inputs. There are
 * many ways in, and a walk, which keeps nothing, must know the one way back. So the
 * first INPUT by which a walk goes in becomes the merged context's ENTRY, for good:
 *
 *     E1  compare-and-swap of the state word of INPUT 0, from 0 to the INPUT
 *
 * Ordering pairs:
 *   E1/E1  it is acq_rel: who reads the ENTRY goes on to read that INPUT, which whoever
 *         stored it had come upon. Without it the way back begins at an INPUT not yet written.
 *
 *   Who meets the ENTRY goes in and comes back by it, as with any other child: all that
 *   one cancel ends is one walk. Were it to change, the walks that are inside would come
 *   back into a list that they did not come from, and miss the rest of theirs. It says
 *   nothing of what is done.
 *
 * Who meets another INPUT, and something below is not done, has come upon the path of
 * another walk. It goes in all the same, and notes the INPUT to come back by: a detour.
 * There is room for some, one inside the other. Where that runs out the merged context
 * is left for later: from there on the walk does not say SWEPT, since what hangs below
 * is not done; it is followed by one that begins at that merged context, and at last by
 * one from the first top again. Each round completes a merged context at least, the
 * innermost. So a cancel, also one that loses, takes time in proportion to what is below
 * it, unless more than so many others have stopped half-way across its path.
 *
 * Progress: lock-free; a step is repeated only when another thread's succeeded. Where
 * somebody waits for several contexts, this one among them, for a bucket's lock.
 * Tests: p02, p06, p13, p15, p27 and the stress tests of the same names.
 */
#include "tree/cancel.h"

#include "base/park.h"
#include "base/probe.h"
#include "tree/note.h"
#include "tree/record.h"

static inline __attribute__((always_inline)) void claim_all(struct canopy_ctx *ctx,
                                                            struct pass *pass, bool is_noted)
{
    rcu_read_begin(); /* blocks may be trimmed under us */
    children_open(ctx, BLOCK_LOOKED);
    for (atomic_word *slot = &ctx->slot0; slot;) {
        uintptr_t word = word_load_seq_cst(slot); /* C3: pairs with S3 */
        if (slot_is_callback(word) && record_claim(slot, NULL, pass) && is_noted)
            note_callback(ctx, slot_record(word));
        slot = slot_is_link(word) ? link_target(word) : slot + 1;
    }
    rcu_read_end();
}

/*
 * Of a context that is not as others: true where there is nothing more to deliver. One with
 * a note says in any case that it has records.
 */
static __attribute__((noinline)) bool tell_oddly(struct canopy_ctx *ctx, struct pass *pass)
{
    /* Records of before a fork are the parent process's to run. */
    if (slab_is_inherited(slab_of(ctx)))
        return true;
    if (!(ctx->parent & PARENT_NOTED))
        return false;
    note_ended(ctx);
    if (ctx_may_have_children(ctx))
        claim_all(ctx, pass, true);
    return true;
}

/* The winner's deliveries to one context. */
static void claim_records(struct canopy_ctx *ctx, struct pass *pass)
{
    if (unlikely(u32_load_relaxed(&odd_contexts)) && tell_oddly(ctx, pass))
        return;
    claim_all(ctx, pass, false);
}

/* C1. True: won. */
static bool state_set(struct canopy_ctx *ctx, uintptr_t word)
{
    /* Acquire: who loses goes on to look at the slots, which must not come before. */
    uintptr_t state = word_load_acquire(&ctx->state); /* C2 */
    while (state_is_live(state)) {
        if (!word_cas_seq_cst(&ctx->state, &state, word)) /* C1: pairs with C2, C4, C6b, C7b */
            continue;
        if (state == STATE_WAITED) {
            futex_wake_all(futex_low_half(&ctx->state));
            park_wake((uintptr_t)ctx); /* C6c */
        }
        return true;
    }
    return false;
}

/* What the winner of C1 has to deliver beside the wakes: the fd at once, records later. */
static void tell(struct canopy_ctx *ctx, struct pass *pass)
{
    uintptr_t aux = word_load_seq_cst(&ctx->aux); /* C7: pairs with C7a */
    if (unlikely(aux & AUX_EXTENSION))
        extension_fire(aux_extension(aux));
    if (unlikely(u64_load_seq_cst(&ctx->refs) & REFS_RECORDS)) /* C8: pairs with C8a */
        claim_records(ctx, pass);
}

/* Marks one context. True: won. */
static bool mark(struct canopy_ctx *ctx, uintptr_t word, struct pass *pass)
{
    if (!state_set(ctx, word))
        return false;
    tell(ctx, pass);
    return true;
}

/* Of one that is done: everything below as well. What has no children needs no sweep to say so. */
static inline bool is_swept(const struct canopy_ctx *ctx, uintptr_t state)
{
    return (state & STATE_SWEPT) || !ctx_may_have_children(ctx);
}

static bool is_settled(const struct canopy_ctx *ctx)
{
    /* C2, C9: before the slots, as C1 before C3. */
    uintptr_t state = word_load_seq_cst(&ctx->state);
    return !state_is_live(state) && is_swept(ctx, state);
}

/*
 * Marks a child: true when it is settled. That of a live one on which nothing hangs
 * is one compare-and-swap.
 */
static inline bool mark_child(struct canopy_ctx *child, uintptr_t word, struct pass *pass)
{
    uintptr_t live = STATE_LIVE;
    if (unlikely(!word_cas_seq_cst(&child->state, &live, word))) { /* C1, as in state_set */
        mark(child, word, pass);
        return is_settled(child);
    }
    if (unlikely((word_load_seq_cst(&child->aux) & AUX_EXTENSION) | /* C7 */
                 (u64_load_seq_cst(&child->refs) & REFS_RECORDS)))  /* C8 */
        tell(child, pass);
    return (word_load_seq_cst(&child->slot0) | /* C3 */
            (word_load_seq_cst(&child->link) ^ SLOT_END)) == 0;
}

/* Room for detours, one inside the other; tests use less of it. */
#define DETOURS 16
#ifndef CANOPY_DETOURS
#define CANOPY_DETOURS DETOURS
#endif

struct detours {
    struct canopy_ctx *beyond; /* a merged context that is left for later, or NULL */
    unsigned count;
    struct canopy_ctx *inputs[DETOURS]; /* what to come back by, the innermost last */
};

static struct canopy_ctx *input_merged(const struct canopy_ctx *input)
{
    return (struct canopy_ctx *)word_load_relaxed(&input->aux);
}

/* Meets an INPUT: what it stands for, if the walk is to go in there, or NULL. */
static __attribute__((noinline)) struct canopy_ctx *
enter(struct canopy_ctx *input, uintptr_t word, struct pass *pass, struct detours *detours)
{
    struct canopy_ctx *merged = input_merged(input);
    uintptr_t entry = 0;
    if (mark_child(merged, word, pass))
        return NULL;
    if (word_cas_acq_rel(&ctx_parent(merged)->state, &entry, (uintptr_t)input) || /* E1 */
        likely(entry == (uintptr_t)input))
        return merged;
    if (unlikely(detours->count == CANOPY_DETOURS)) {
        detours->beyond = merged;
        return NULL;
    }
    detours->inputs[detours->count++] = input;
    return merged;
}

/* At the end of the list of `ctx`: says that all below is done. What to go on behind. */
static struct canopy_ctx *leave_other(struct canopy_ctx *ctx, uintptr_t word,
                                      struct detours *detours)
{
    if (ctx_kind(ctx) == KIND_VALUE)
        return ctx;
    if (!detours->beyond)
        word_store_release(&ctx->state, word | STATE_SWEPT); /* C9 */
    if (detours->count > 0 && input_merged(detours->inputs[detours->count - 1]) == ctx)
        return detours->inputs[--detours->count];
    return (struct canopy_ctx *)word_load_acquire(&ctx_parent(ctx)->state); /* E1 */
}

static inline struct canopy_ctx *leave(struct canopy_ctx *ctx, uintptr_t word,
                                       struct detours *detours)
{
    if (unlikely(ctx_kind(ctx) > KIND_ROOT)) /* merged, or a value layer */
        return leave_other(ctx, word, detours);
    if (likely(!detours->beyond))
        word_store_release(&ctx->state, word | STATE_SWEPT); /* C9 */
    return ctx;
}

/* The context that a slot holds, or NULL. */
static struct canopy_ctx *slot_child(uintptr_t word)
{
    return word == 0 || slot_is_callback(word) ? NULL : slot_ctx(word);
}

/* Tags the context in `slot`, so that it stays: its address, or NULL if it went or is none. */
static struct canopy_ctx *look(atomic_word *slot, uintptr_t word)
{
    while (word != 0 && !slot_is_callback(word) && !(word & SLOT_LOOKED))
        if (word_cas_acq_rel(slot, &word, word | SLOT_LOOKED)) /* S9 */
            break;
    return slot_child(word);
}

/*
 * In a block the next children are known before they are needed, and each is a
 * line that some other thread has written: ask for them ahead, in the next block
 * where this one ends. So is that block, from this one's begin.
 */
#define AHEAD 24

static inline void ask_for_child(const atomic_word *slot)
{
    __builtin_prefetch(slot_ctx(word_load_relaxed(slot)), 1);
}

static inline void look_ahead(const atomic_word *slot)
{
    const atomic_word *ahead = slot + AHEAD;
    const atomic_word *end = &block_of(slot)->link;
    if (ahead >= end) {
        const atomic_word *next = link_target(word_load_acquire(end)); /* acquire: its slots */
        if (!next || !slot_is_in_block(next))
            return;
        ahead = next + (ahead - end);
    }
    ask_for_child(ahead);
}

static void look_ahead_in_row(const atomic_word *row, bool first)
{
    for (unsigned i = 0; first && i < AHEAD; i++)
        ask_for_child(&row[i]);
    const char *next = (const char *)link_target(word_load_relaxed(&block_of(row)->link));
    for (unsigned i = 0; i < BLOCK_BYTES; i += CACHE_LINE)
        __builtin_prefetch(next + i);
}

/* What the children of `ctx` end with. */
static uintptr_t word_below(const struct canopy_ctx *ctx)
{
    return ctx_state(ctx) & ~STATE_SWEPT;
}

/* Where a walk stands, and what it knows of the row. */
struct position {
    atomic_word *slot;
    bool in_block;
    uintptr_t leaving; /* in a block, the slot that its owner may be emptying */
};

static struct position position_at(atomic_word *slot, bool in_block)
{
    return (struct position){slot, in_block, in_block ? children_leaving(slot) : 0};
}

/* Where the parent's list holds `ctx`. */
static inline struct position position_of(const struct canopy_ctx *ctx)
{
    uintptr_t where = word_load_relaxed(&ctx->slot);
    return position_at((atomic_word *)(where & ~SLOT_STRIPED), where & SLOT_STRIPED);
}

/* The first position in the row that `link`, found in the list of `ctx`, leads to. */
static struct position next_row(struct canopy_ctx *ctx, uintptr_t link)
{
    atomic_word *row = link_target(link);
    bool in_block = row && slot_is_in_block(row);
    /* At the list's begin, and where blocks were added since. */
    if (in_block && ((link & SLOT_HOT) || !children_is_looked(row)))
        children_open(ctx, BLOCK_LOOKED);
    if (in_block)
        look_ahead_in_row(row, link & SLOT_HOT);
    return position_at(row, in_block);
}

/*
 * Marks the leaves of a block from `at` on, which are most of what blocks hold, and
 * stops before what the walk has to decide about: links, records, other kinds, what has
 * children, what is being left.
 */
static atomic_word *mark_leaves(struct position at, uintptr_t word, struct pass *pass)
{
    for (; at.leaving != (uintptr_t)at.slot; at.slot++) {
        uintptr_t held = word_load_seq_cst(at.slot); /* C3: pairs with S3 */
        if (held & (SLOT_LINK | SLOT_CALLBACK))
            break;
        look_ahead(at.slot);
        struct canopy_ctx *child = slot_ctx(held);
        if (!child)
            continue;
        if (unlikely(((child->parent & PARENT_KIND_MASK) ^ KIND_CANCEL) |
                     word_load_relaxed(&child->slot0) |
                     (word_load_relaxed(&child->link) ^ SLOT_END)))
            break;
        /* If it has got children by now the walk meets it once more, done already. */
        if (unlikely(!mark_child(child, word, pass)))
            break;
    }
    return at.slot;
}

/* Meets a child: what the walk is to go on in, or NULL. */
static inline struct canopy_ctx *meet(struct canopy_ctx *child, uintptr_t word, struct pass *pass,
                                      struct detours *detours)
{
    switch (ctx_kind(child)) {
    case KIND_DETACHED:
        return NULL;
    case KIND_INPUT:
        return enter(child, word, pass, detours);
    case KIND_VALUE:
        return ctx_may_have_children(child) ? child : NULL;
    default:
        return likely(mark_child(child, word, pass)) ? NULL : child;
    }
}

/*
 * Everything below `top`, which is marked. Inside a read section. NULL: all of it is
 * done; else the merged context at which to go on, and then here once more.
 */
static struct canopy_ctx *walk(struct canopy_ctx *top, struct pass *pass)
{
    struct canopy_ctx *ctx = top;
    struct position at = position_at(&ctx->slot0, false);
    uintptr_t word = word_below(ctx);
    struct detours detours;
    detours.beyond = NULL;
    detours.count = 0;
    for (;;) {
        if (at.in_block)
            at.slot = mark_leaves(at, word, pass);
        /* A leaf that its owner lets go of just now; nobody can tell whether it was done. */
        if (unlikely(at.leaving == (uintptr_t)at.slot) &&
            children_leaving(at.slot) == (uintptr_t)at.slot) {
            at.slot++;
            continue;
        }
        uintptr_t held = word_load_seq_cst(at.slot); /* C3: pairs with S3 */
        if (slot_is_link(held)) {
            at = next_row(ctx, held);
            if (at.slot)
                continue;
            struct canopy_ctx *from = leave(ctx, word, &detours);
            if (ctx == top)
                return detours.beyond;
            at = position_of(from);
            at.slot++;
            ctx = ctx_parent(from);
            word = word_below(ctx);
            continue;
        }
        struct canopy_ctx *child =
            at.in_block ? slot_child(held) : look(at.slot, held); /* a block is LOOKED as a whole */
        at.slot++;
        if (!child)
            continue;
        child = meet(child, word, pass, &detours);
        if (likely(!child))
            continue;
        ctx = child;
        at = position_at(&ctx->slot0, false);
        word = word_below(ctx);
    }
}

/* The rest of a cancel, won or lost, of a context that the caller keeps, and is marked. */
static void cancel_below(struct canopy_ctx *ctx, struct pass *pass)
{
    /* No section until here: nothing was looked at but what the caller keeps. */
    uintptr_t word = word_load_seq_cst(&ctx->state); /* C2, C9: before the slots */
    if (likely(is_swept(ctx, word)))
        return;
    PROBE2(walk, ctx, word);
    rcu_read_begin();
    struct canopy_ctx *beyond = walk(ctx, pass);
    while (unlikely(beyond != NULL)) {
        do
            beyond = walk(beyond, pass);
        while (beyond);
        beyond = walk(ctx, pass);
    }
    rcu_read_end();
}

bool cancel_tree(struct canopy_ctx *ctx, uintptr_t word, struct pass *pass)
{
    bool won = mark(ctx, word, pass);
    cancel_below(ctx, pass);
    return won;
}

void cancel_rest(struct canopy_ctx *ctx, struct pass *pass)
{
    tell(ctx, pass);
    cancel_below(ctx, pass);
}

void cancel_born(struct canopy_ctx *ctx, uintptr_t word)
{
    state_set(ctx, word & ~STATE_SWEPT);
}
