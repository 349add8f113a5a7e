/*
 * callback.h - the second pass of a cancel: what was gathered is delivered.
 */
#ifndef CANOPY_CALLBACK_H
#define CANOPY_CALLBACK_H

#include "tree/birth.h"
#include "tree/record.h"

/*
 * Delivers everything in `pass`: the records of loops to their inboxes, then the
 * callbacks, in the order of the deadlines that a clock found due, or else in which
 * they were met, here or by the worker. Outside read sections, without locks.
 */
void deliver(struct pass *pass, bool by_worker);

/*
 * Ends claimed records that no loop will run any more, linked, without a call: each is
 * now this thread's like a callback in place, one that does nothing.
 */
void records_leave(struct handoff_node *list);

/* Hands claimed records that are bound to loops over, linked, and wakes each loop once. */
void hand_to_loops(struct canopy_callback *records);

/* Runs one claimed callback and ends its record. */
void callback_run(struct canopy_callback *record);

/* On the thread that runs a record's callback: the record is its owner's again. */
void record_give_up(struct canopy_callback *record);

/* After delivery, or instead: the slot is free, the context let go, the record its owner's. */
void record_finish(struct canopy_callback *record);

/*
 * Arms a callback's record, its runner and what it is to run set, and settles it. `*ours`:
 * the context has ended and the caller has the claim, and the record in a list of its own.
 * 0, or -ENOMEM and the record idle.
 */
int record_add(struct canopy_callback *record, const canopy_ctx *ctx, bool *ours);

/* cancel_tree and deliver on the calling thread. */
bool cancel_and_deliver(struct canopy_ctx *ctx, uintptr_t word);

#endif
