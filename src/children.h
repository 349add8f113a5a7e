/*
 * children.h - the children list: what a parent knows of those that must hear
 * of its end. The protocol is described in children.c.
 */
#ifndef CANOPY_CHILDREN_H
#define CANOPY_CHILDREN_H

#include "node.h"

/*
 * Advances when a stripe's block may have gone: what remembers a slot of one
 * from before must not look at it.
 */
extern atomic_u64 stripe_epoch;

/*
 * Publishes `word` (a context, or a record with SLOT_CALLBACK) in a slot of
 * `parent`, whose address `where` holds before anybody can see it. seq_cst, so
 * that the caller's later load of the parent's state completes the handshake
 * with a canceller. False: no memory (or, without `heap`, no free slot).
 */
bool children_add(struct heap *heap, struct canopy_ctx *parent, uintptr_t word, atomic_word *where);

/* True when no slot is in use; callable while others unregister. */
bool children_empty(const struct canopy_ctx *parent);

/*
 * Turns the reference that an occupied slot is into a counted one, for one slot
 * or for all. With `records` false records are left alone.
 */
void children_count_slot(struct canopy_ctx *parent, atomic_word *slot, bool records);
void children_count_all(struct canopy_ctx *parent, bool records);

/*
 * Has contexts counted from now on, those that are there and those to come: the
 * count is then exactly how many there are. The caller keeps `parent`.
 */
void children_watch(struct canopy_ctx *parent);

/* Before a record is published: lets the winner of a cancel know that there are any. */
void children_expect_records(struct canopy_ctx *parent);

/* Tags a context that the caller keeps as looked at: it will be retired, not freed. */
void children_look(struct canopy_ctx *ctx);

/* What unregistering found. */
struct removal {
    bool looked;  /* the memory must be retired, not freed */
    bool counted; /* the parent's reference must be given back, with refs_drop */
};

/*
 * Takes `word` out of its slot. Unless it was counted the parent may be gone when
 * this returns.
 */
struct removal children_remove(struct canopy_ctx *parent, atomic_word *slot, uintptr_t word);

/* Gives the rows of a dead parent back, which nobody looks at any more. */
void children_free(struct canopy_ctx *parent);

/*
 * As a magazine of contexts overflows: gives blocks back that the stripe of this
 * slot, which is of the caller's heap and still in use, has no need of.
 */
void children_trim(uintptr_t slot);

/* The heap whose thread may register in this (striped) slot. */
const struct heap *children_slot_owner(uintptr_t slot);

void children_init(void);

#endif
