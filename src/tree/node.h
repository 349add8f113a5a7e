/*
 * node.h - what a context looks like in memory: one cache line.
 *
 *   state     0 live, 1 live and somebody sleeps on it; once done the cause's
 *             address with what kind of end it was and whether the walk below
 *             is complete; in a value layer, forever, the context it shares
 *             its state with, and SWEPT; in an INPUT see merge.c
 *   refs      handles (high half), flags, and references from children that were
 *             counted (low half); see children.c. Once it is dead the link to what
 *             ends or is reclaimed with it (ctx.h), and while it is free what it
 *             remembers of its slot (ctx.c); in an INPUT see merge.c
 *   parent    and, in its low bits, the kind of this context
 *   slot      where the parent's children list holds this context; while it is free
 *             where it was
 *   deadline  own deadline, see deadline.c; in a value layer the key
 *   aux       depends on the kind: cause of the deadline or extension, value, in an
 *             INPUT the merged context
 *   slot0     first slot of the children list, in INPUT 0 the merged context
 *   link      rest of the children list
 *
 * A free context keeps slot0 empty, link ended, aux zero and deadline NEVER, so
 * that making one writes only what differs.
 */
#ifndef CANOPY_NODE_H
#define CANOPY_NODE_H

#include "memory/pool.h"

struct canopy_ctx {
    atomic_word state;
    atomic_u64 refs;
    uintptr_t parent;
    atomic_word slot;
    atomic_i64 deadline;
    atomic_word aux;
    atomic_word slot0;
    atomic_word link;
};

_Static_assert(sizeof(struct canopy_ctx) == CACHE_LINE, "a context is one line");

/* ----------------------------------------------------------------- the state word */

#define STATE_LIVE      ((uintptr_t)0)
#define STATE_WAITED    ((uintptr_t)1) /* live; the canceller must wake */
#define STATE_SWEPT     ((uintptr_t)1) /* done; everything below is done as well */
#define STATE_CANCELED  ((uintptr_t)2)
#define STATE_TIMEDOUT  ((uintptr_t)4)
#define STATE_FORWARD   ((uintptr_t)6) /* the rest is the address of another context */
#define STATE_KIND_MASK ((uintptr_t)6)
#define STATE_BITS      ((uintptr_t)7)

/* With a cause's address eight bytes aligned, no done word has the low half of a live one. */
_Static_assert(_Alignof(canopy_cause) == 8, "the state word keeps flags below a cause");

static inline bool state_is_live(uintptr_t state)
{
    return state <= STATE_WAITED;
}

static inline const canopy_cause *state_cause(uintptr_t state)
{
    return (const canopy_cause *)(state & ~STATE_BITS);
}

/* --------------------------------------------------------------- kinds and parent */

enum kind {
    KIND_CANCEL,   /* can be cancelled, may have a deadline */
    KIND_ROOT,     /* the same, without a parent */
    KIND_MERGED,   /* the same, done when an input is; see merge.c */
    KIND_VALUE,    /* shares its state with an ancestor */
    KIND_DETACHED, /* never done */
    KIND_STATIC,   /* never done and never freed: background, todo */
    KIND_INPUT     /* internal: stands for a merged context in an input's list */
};

#define PARENT_KIND_MASK ((uintptr_t)7)
#define PARENT_DOMAIN    ((uintptr_t)8)  /* not of the default domain */
#define PARENT_LIMITED   ((uintptr_t)16) /* of a domain that counts its contexts */
#define PARENT_NOTED     ((uintptr_t)32) /* of a domain that keeps notes: see note.h */
#define PARENT_INHERITED (PARENT_DOMAIN | PARENT_LIMITED | PARENT_NOTED)
#define PARENT_FLAGS     ((uintptr_t)63)

static inline enum kind ctx_kind(const struct canopy_ctx *ctx)
{
    return (enum kind)(ctx->parent & PARENT_KIND_MASK);
}

/*
 * The same for where a context with a note goes another way, though it is of the kind that
 * is asked for: a number that no kind has.
 */
static inline uintptr_t ctx_kind_unless_noted(const struct canopy_ctx *ctx)
{
    return ctx->parent & (PARENT_KIND_MASK | PARENT_NOTED);
}

static inline struct canopy_ctx *ctx_parent(const struct canopy_ctx *ctx)
{
    return (struct canopy_ctx *)(ctx->parent & ~PARENT_FLAGS);
}

/* A state word of its own that can become done. */
static inline bool kind_is_cancellable(enum kind kind)
{
    return kind <= KIND_MERGED;
}

static inline struct domain *ctx_domain(const struct canopy_ctx *ctx)
{
    return likely(!(ctx->parent & PARENT_DOMAIN)) ? &default_domain : slab_of(ctx)->domain;
}

/* The borrowed view back into something that the library may write. */
static inline struct canopy_ctx *ctx_mutable(const canopy_ctx *ctx)
{
    return (struct canopy_ctx *)(uintptr_t)ctx;
}

/* The context whose state is this one's: itself, but for value layers. */
static inline struct canopy_ctx *ctx_scope(const struct canopy_ctx *ctx)
{
    if (ctx_kind(ctx) != KIND_VALUE)
        return ctx_mutable(ctx);
    return (struct canopy_ctx *)(word_load_relaxed(&ctx->state) & ~STATE_BITS);
}

/*
 * The state that counts, with everything that the canceller wrote before. A value layer's
 * own word never changes.
 */
static inline uintptr_t ctx_state(const struct canopy_ctx *ctx)
{
    uintptr_t state = word_load_acquire(&ctx->state); /* C2: pairs with C1 */
    if (unlikely((state & STATE_KIND_MASK) == STATE_FORWARD))
        state = word_load_acquire(&((struct canopy_ctx *)(state & ~STATE_BITS))->state); /* C2 */
    return state;
}

/* The same where a store of the caller's must come first (C4). */
static inline uintptr_t ctx_state_seq_cst(const struct canopy_ctx *ctx)
{
    uintptr_t state = word_load_seq_cst(&ctx->state); /* C4: pairs with C1 */
    if (unlikely((state & STATE_KIND_MASK) == STATE_FORWARD))
        state = word_load_seq_cst(&((struct canopy_ctx *)(state & ~STATE_BITS))->state); /* C4 */
    return state;
}

/* ------------------------------------------------------------------------- refs */

#define REFS_HANDLE   (UINT64_C(1) << 32)
#define REFS_WATCHED  (UINT64_C(1) << 31) /* somebody waits for idle: children are counted */
#define REFS_RECORDS  (UINT64_C(1) << 30) /* records were armed here: the winner looks for them */
#define REFS_COUNTING (UINT64_C(1) << 29) /* with WATCHED: those there are just being counted */
#define REFS_COUNT    (UINT64_C(1))
#define REFS_COUNTED  (REFS_COUNTING - 1) /* mask of the counted children */
#define REFS_FLAGS    (REFS_WATCHED | REFS_RECORDS | REFS_COUNTING)

static inline uint64_t refs_handles(uint64_t refs)
{
    return refs >> 32;
}

/* ------------------------------------------------------------ slots of the children list */

#define SLOT_LOOKED   ((uintptr_t)1)  /* somebody may be looking at it: retire through RCU */
#define SLOT_CLAIMED  SLOT_LOOKED     /* the same of a record: it is somebody's to run */
#define SLOT_COUNTED  ((uintptr_t)2)  /* the reference is in the parent's count */
#define SLOT_CALLBACK ((uintptr_t)4)  /* a record, not a context */
#define SLOT_LINK     ((uintptr_t)8)  /* no slot: the address of more slots, or the end */
#define SLOT_HOT      ((uintptr_t)16) /* with LINK in ctx.link: a stripe's block comes next */
#define SLOT_TAGS     (SLOT_LOOKED | SLOT_COUNTED)
#define SLOT_FLAGS    ((uintptr_t)31)

/* The end of a list; also what a context without further slots has in `link`. */
#define SLOT_END SLOT_LINK

/* In ctx.slot: the slot lies in a stripe's block. */
#define SLOT_STRIPED ((uintptr_t)1)

static inline bool slot_is_link(uintptr_t word)
{
    return (word & (SLOT_CALLBACK | SLOT_LINK)) == SLOT_LINK;
}

static inline bool slot_is_callback(uintptr_t word)
{
    return (word & SLOT_CALLBACK) != 0;
}

static inline struct canopy_ctx *slot_ctx(uintptr_t word)
{
    return (struct canopy_ctx *)(word & ~SLOT_FLAGS);
}

static inline atomic_word *link_target(uintptr_t link)
{
    return (atomic_word *)(link & ~SLOT_FLAGS);
}

/* Whether a row of slots is a block's: those begin behind a header, all others at a line's. */
static inline bool slot_is_in_block(const atomic_word *row)
{
    return ((uintptr_t)row & (CACHE_LINE - 1)) == CACHE_LINE / 2;
}

/*
 * The key of a value layer lies where others have a deadline: as that of one that has fired
 * and needs no help, which is all that the clock makes of it.
 */
static inline int64_t key_word(const canopy_key *key)
{
    return ~(int64_t)(uintptr_t)key;
}

static inline const canopy_key *ctx_key(const struct canopy_ctx *ctx)
{
    return (const canopy_key *)(uintptr_t)~i64_load_relaxed(&ctx->deadline);
}

/* A quick no: false when the list surely has nothing in it. */
static inline bool ctx_may_have_children(const struct canopy_ctx *ctx)
{
    return word_load_seq_cst(&ctx->link) != SLOT_END || /* C3, S8 */
           word_load_seq_cst(&ctx->slot0) != 0;
}

static inline atomic_word *ctx_slot(const struct canopy_ctx *ctx)
{
    return (atomic_word *)(word_load_relaxed(&ctx->slot) & ~SLOT_STRIPED);
}

#endif
