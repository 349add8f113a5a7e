/*
 * record.h - the record of a callback in a children list.
 *
 *   IDLE ──arm──► ARMED ──claim──► CLAIMED ──ran, or taken back──► DONE
 *                   └─stop──► IDLE
 *
 * What decides between stop and the canceller is the slot, not this word: stop
 * takes the record out of it, a claim tags it CLAIMED; one compare-and-swap wins.
 * The word tells everybody else what became of it. Its low bits are the phase,
 * RECORD_AWAITED says that a join sleeps on it.
 *
 * While it is CLAIMED its `runner` says where it is:
 *
 *   0              on its way, gathered by a pass; no code of the user's is on that way.
 *                  ASYNC is the same, of a record that only the worker may run.
 *                  With the deadline that ended its context, in `at`: what a clock
 *                  ends in one turn is told in that order
 *   LISTED | list  waits for its turn there (run_list.h); any thread may take it back
 *   who runs it    (base.h), or is just taking it back; of a record that is bound to a
 *                  loop the loop's thread, from the start
 *
 *   R0 join and stop load the word, an acquire.
 *   R1 claim: the exchange to CLAIMED.
 *   R2 done: the exchange to DONE is the last touch of the record. Only the address is used
 *      afterwards, for the wake.
 *   R3 stop loads the word inside a read section, and touches the slot only if
 *      it is ARMED. The claimer stores CLAIMED before it clears the slot, so a
 *      section that does not see it began before the slot's memory could go back
 *      to the allocator. It may have become a slot of somebody else's by then,
 *      which the compare-and-swap from this record's address leaves alone.
 *   R4 settled: who arms a record still looks at the context after it published
 *      the record; it stores `settled` when it has. Who ran the callback waits for
 *      that before it lets go of the context, which fn may have given up.
 *      Who claims one that a trace is to tell of stores TRACED there, once it is settled:
 *      so who runs it finds that at the wait for it, which comes before fn for this alone.
 *   R5 a record is bound to run from the moment its context is marked (C1 in cancel.c),
 *      a moment before the claim. So join asks the context of an armed record, inside a
 *      read section as R3; by its words alone, since it may be free or another one by
 *      then. The compare-and-swap from ARMED to ARMED, an acquire and a release, says
 *      that it was not: R1, and all that becomes of the context, comes after it.
 *   R6 `runner` becomes LISTED, and ceases to be, under the list's lock (R8). Stop and join
 *      read it without, which only tells them which lock to take; what they do with the
 *      list they do under it, and only if `runner` is still the same there. So relaxed is
 *      enough.
 *   R7 stop gives the record back to its owner: a release, for who then reads IDLE.
 *
 * Ordering pairs:
 *   R1/R0  who sees CLAIMED sees by `canopy_fn`, `canopy_arg` and `runner` where the record
 *         is. Without it a loop's record is looked for where it was before.
 *   R2/R0  after DONE the record is its owner's. Without it the owner's next use of the
 *         memory is written over.
 *   R1/R3  CLAIMED is stored before the slot is cleared. Without it stop looks at a slot that
 *         has gone back to the allocator.
 *   R4/R4  `settled` is stored after the armer's last look at the context, a release, and
 *         awaited by an acquire. Without it the context is freed under canopy_after_func.
 *   R5/C1,R1  the context of an armed record is looked at, then the record once more.
 *         Without it a new life of the context is taken for a live one, and join says that a
 *         callback will not run which then does.
 *   R7/R0  what stop has done with the record comes before the owner's next use of it.
 *         Without it that use is written over.
 *   R6/R6  `runner` says by which lock the list is guarded. Without it who takes a record back
 *         takes it out of a list that is gone.
 *   R8/R8  the lists' locks, an acquire and a release as any. Without it a record is in two
 *         lists, or lost.
 *   R9/R9  claim and stop are compare-and-swaps of the slot, so one of them is first.
 *         Without it a callback runs that stop has said will not.
 *
 * Once it runs it can be given up by fn: then who runs it does not touch it again.
 *
 * What is claimed and has not begun when a process forks is the parent process's: in
 * the child it is bound to nothing.
 *
 * A record that is bound to a loop is CLAIMED from its claim until the loop has run
 * it or stopped it; only the loop's thread moves it then. Once the loop is abandoned,
 * who would hand it over ends it instead: as its runner, without a call.
 */
#ifndef CANOPY_RECORD_H
#define CANOPY_RECORD_H

#include "base/due.h"
#include "base/inbox.h"
#include "memory/rings.h"
#include "tree/cancel.h"

#define RECORD_IDLE    UINT32_C(0)
#define RECORD_ARMED   UINT32_C(1)
#define RECORD_CLAIMED UINT32_C(2)
#define RECORD_DONE    UINT32_C(3)
#define RECORD_PHASE   UINT32_C(3)
#define RECORD_AWAITED UINT32_C(4)

/* In `runner`, no thread's: on its way to the worker, whoever claims it. */
#define RUNNER_ASYNC UINT64_C(2)

/* In `runner`, above any address: the rest is that of a list. */
#define RUNNER_LISTED (UINT64_C(1) << 63)

static inline atomic_u32 *record_state(struct canopy_callback *record)
{
    return (atomic_u32 *)(void *)&record->canopy_state;
}

static inline uint32_t record_phase(struct canopy_callback *record)
{
    return u32_load_acquire(record_state(record)) & RECORD_PHASE; /* R0: pairs with R1, R2, R7 */
}

static inline atomic_u32 *record_settled(struct canopy_callback *record)
{
    return (atomic_u32 *)(void *)&record->canopy_settled;
}

/* In `settled`: the armer is through; and the record was claimed for a trace to tell of. */
#define RECORD_SETTLED UINT32_C(1)
#define RECORD_TRACED  UINT32_C(2)

/*
 * Of one that the caller has just claimed. Its armer may still be about to settle it: nobody
 * waits for that, so the trace has lost a callback.
 */
static inline void record_is_traced(struct canopy_callback *record)
{
    uint32_t settled = RECORD_SETTLED;
    if (!u32_cas_acq_rel(record_settled(record), &settled, RECORD_TRACED)) /* R4 */
        ring_lose();
}

static inline atomic_u64 *record_runner(struct canopy_callback *record)
{
    return (atomic_u64 *)(void *)&record->canopy_runner;
}

static inline atomic_word *record_slot_field(struct canopy_callback *record)
{
    return (atomic_word *)(void *)&record->canopy_slot;
}

static inline atomic_word *record_slot(struct canopy_callback *record)
{
    return (atomic_word *)(word_load_relaxed(record_slot_field(record)) & ~SLOT_STRIPED);
}

static inline uintptr_t record_word(const struct canopy_callback *record)
{
    return (uintptr_t)record | SLOT_CALLBACK;
}

static inline struct canopy_callback *slot_record(uintptr_t word)
{
    return (struct canopy_callback *)(word & ~(SLOT_TAGS | SLOT_CALLBACK));
}

/*
 * In canopy_fn a mark, no function: the record is bound to a loop. Who claims it puts
 * it into the inbox that canopy_arg names; then it is the loop's to run (loop.c).
 */
void record_mark_loop(void *unused);

/* The same of one whose function is running. */
void record_mark_running(void *unused);

/* The same of one whose loop was abandoned, once the loop's thread has it. */
void record_mark_left(void *unused);

/* The inbox of a record that is bound to a loop, or NULL. */
static inline struct inbox *record_inbox(const struct canopy_callback *record)
{
    return record->canopy_fn == record_mark_loop ? record->canopy_arg : NULL;
}

/* Lists of records are linked through canopy_next. */
static inline struct handoff_node *record_node(struct canopy_callback *record)
{
    return (struct handoff_node *)(void *)&record->canopy_next;
}

static inline struct canopy_callback *node_record(struct handoff_node *node)
{
    return (struct canopy_callback *)(void *)((char *)node -
                                              offsetof(struct canopy_callback, canopy_next));
}

/* While a pass gathers a record it is a list's of what is due, in fields not used then. */
static inline struct due *record_due(struct canopy_callback *record)
{
    _Static_assert(offsetof(struct canopy_callback, canopy_at) -
                           offsetof(struct canopy_callback, canopy_next) ==
                       offsetof(struct due, due_ns),
                   "struct due");
    return (struct due *)(void *)&record->canopy_next;
}

/*
 * Tries to claim the record in `slot` (any that is there, or `only` that one);
 * inside a read section. True: the caller has it, at the end of the pass.
 */
static inline bool record_claim(atomic_word *slot, const struct canopy_callback *only,
                                struct pass *pass)
{
    uintptr_t word = word_load_relaxed(slot);
    while (slot_is_callback(word) && !(word & SLOT_CLAIMED) &&
           (!only || slot_record(word) == only)) {
        if (!word_cas_acq_rel(slot, &word, word | SLOT_CLAIMED)) /* R9 */
            continue;
        struct canopy_callback *record = slot_record(word);
        record->canopy_next = NULL;
        *pass->last = record;
        pass->last = &record->canopy_next;
        i64_store_relaxed(&record_due(record)->due_ns, pass->due_ns);
        pass->is_unordered |= pass->due_ns < pass->claimed_ns;
        pass->claimed_ns = pass->due_ns;
        u32_exchange_acq_rel(record_state(record), RECORD_CLAIMED); /* R1 */
        return true;
    }
    return false;
}

#endif
