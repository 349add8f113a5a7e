/*
 * callback.h - the second pass of a cancel: what was gathered is delivered.
 */
#ifndef CANOPY_CALLBACK_H
#define CANOPY_CALLBACK_H

#include "ctx.h"
#include "record.h"

/* What becomes of callbacks that the calling thread must not run itself. */
typedef void (*deliver_elsewhere)(struct canopy_callback *record);

/*
 * Delivers everything in `pass`: wait_any records first, then the callbacks, in
 * the order in which they were met, here or (unless NULL) `elsewhere`. Outside
 * read sections, without locks.
 */
void deliver(struct pass *pass, deliver_elsewhere elsewhere);

/* Runs one claimed callback and ends its record. */
void callback_run(struct canopy_callback *record);

/* Arms a record on `ctx`; without a heap it never allocates. -ENOMEM, or 0 and the state since. */
int record_arm(struct canopy_callback *record, const canopy_ctx *ctx, struct heap *heap,
               uintptr_t *state);

/* The armer's last touch of a record that it armed; without it nobody lets go of the context. */
void record_settle(struct canopy_callback *record);

/* Takes an armed record out: false when it is claimed. */
bool record_disarm(struct canopy_callback *record);

/* cancel_tree and deliver on the calling thread. */
bool cancel_and_deliver(struct canopy_ctx *ctx, uintptr_t word);

#endif
