/*
 * note.h - what is written down of the contexts of a root that keeps notes, for
 * <canopy/inspect.h>: a note beside each (memory/notes.h), so that who looks need not keep a
 * context, nor write to one.
 *
 * Such contexts are told from others by PARENT_NOTED, a bit that is inherited. It takes them
 * another way at tests that are there anyway, so others pay nothing: at the birth, where a
 * context is counted against a limit (birth.h); at the end, where it is not of the kind
 * that goes quickly (ctx.h, own.c); at a cancel by REFS_RECORDS, which they all have, so
 * that the winner comes to note_ended by claim_records (cancel.c).
 *
 *   born    what is born, in its slot already: the note's fields, then `life` odd
 *   ended   the winner of a context that ends on its own account, not with one above: when and
 *           by which thread; of a merged one that ends with an input, which. Who ended all
 *           others is found upwards: the nearest one with an end of its own is the one,
 *           as a walk goes from parents to children and parents stay in memory
 *   gone    `life` even; then the memory goes, and in the next life is written anew
 *
 * Who looks (inspect/look.h) is in a read section, so that note and context are memory of
 * their kinds, and all that is atomic:
 *
 *     NT1 load `life`: odd         NT2 load what is to be known      NT3 load `life`: the same?
 *
 * Ordering pairs:
 *   NT4/NT1  `life` becomes odd by a release, after the note's fields were written. Without it
 *         who looks tells what the last life's note said.
 *   NT5/NT3  `life` becomes even, then a release fence (NT5), before anything is stored that is
 *         the next life's, and all loads of what is to be known come before an acquire fence,
 *         then the second load of `life` (NT3): who has read any of that finds another
 *         life. Without it a name, a parent or an end is told of a context that is another
 *         one's. Where the next life is another thread's, that one has the line by an
 *         acquire of what the last one handed on after its fence. What somebody may be looking
 *         at in another way is retired, and has no next life in this section.
 *   NT6/NT2  an address is stored by a release, and loaded by an acquire: also who reads one
 *         that is another life's goes on to what is behind it, before NT3. Without it that is
 *         what was in that memory before.
 *   NT7/NT7a  `ended_tid`, not 0 after an end of its own, is written after the time of that, a
 *         release. Without it an end is told with the time of the one before.
 */
#ifndef CANOPY_NOTE_H
#define CANOPY_NOTE_H

#include "tree/traced.h"

/*
 * Of a context that its maker alone has in hand: it lives, and is returned. `parent` as in the
 * note; `heap` is the caller's in its domain.
 */
struct canopy_ctx *note_born(struct canopy_ctx *ctx, struct canopy_ctx *parent, struct heap *heap,
                             const void *place);

/* Of one that the caller keeps, and has just ended. */
void note_ended(struct canopy_ctx *ctx);

/*
 * Where the call that ended it will return to. By the winner, after note_ended: only where
 * that said that the end is the context's own, as else the word is for an input.
 */
static inline void note_place(const struct canopy_ctx *ctx, const void *place)
{
    struct ctx_note *note = note_beside(ctx);
    if (u32_load_relaxed(&note->ended_tid))
        word_store_release(&note->ended_at, (uintptr_t)place); /* NT6 */
    if (unlikely(trace_is_on()))
        trace_canceled(ctx, place);
}

/* Stands, where causes are counted, for those that groups make: they go with their groups. */
extern const canopy_cause cause_of_groups;

/* A callback of it that its end is to run, which is claimed. */
void note_callback(const struct canopy_ctx *ctx, struct canopy_callback *record);

static inline void note_end_life(struct ctx_note *note, uint64_t life)
{
    u64_store_relaxed(&note->life, life);
    fence_release(); /* NT5: pairs with NT3 */
}

/* Of one that dies: before anything of it is another's, which its references are at once. */
void note_gone(const struct canopy_ctx *ctx);

/* The same of one that has left it, and is the caller's alone, whose heap there that is. */
static inline void note_left(const struct canopy_ctx *ctx, struct heap *heap)
{
    struct ctx_note *note = note_beside(ctx);
    note_end_life(note, u64_load_relaxed(&note->life) + 1);
    count_one(&heap_counts(heap)->gone, false);
}

#endif
