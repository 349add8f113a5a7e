/*
 * cancel.h - the end of contexts: one compare-and-swap, and the walk below.
 */
#ifndef CANOPY_CANCEL_H
#define CANOPY_CANCEL_H

#include "tree/children.h"
#include "tree/extension.h"

/*
 * What a cancel gathers while it marks: records to deliver afterwards. On the
 * canceller's stack.
 */
struct pass {
    struct canopy_callback *first;
    struct canopy_callback **last;
    int64_t due_ns;     /* of a clock's: the deadline that ends something */
    int64_t claimed_ns; /* the same when a record was claimed last */
    bool is_unordered;  /* some record's is less than that of one before */
};

static inline void pass_init(struct pass *pass)
{
    pass->first = NULL;
    pass->last = &pass->first;
    pass->due_ns = 0;
    pass->claimed_ns = 0;
    pass->is_unordered = false;
}

/* A cause and a kind of end, as the state word holds them. */
static inline uintptr_t state_word(const canopy_cause *cause, uintptr_t kind)
{
    return (uintptr_t)cause | kind;
}

/*
 * First pass: ends `ctx` and everything below with `word` (unless they have
 * ended otherwise) and wakes their waiters. On return all of them are done, won
 * or lost; `pass` holds the records that are now the caller's to deliver. True:
 * this call ended `ctx`. The caller keeps `ctx` in memory. Lock-free.
 */
bool cancel_tree(struct canopy_ctx *ctx, uintptr_t word, struct pass *pass);

/*
 * The everyday cancel, in steps, without a call. First C1 of a context that is live and slept
 * on by nobody. False, and nothing done, where it is not; cancel_tree is the next to be tried.
 */
static inline bool cancel_live(struct canopy_ctx *ctx, uintptr_t word)
{
    uintptr_t live = STATE_LIVE;
    return likely(word_load_relaxed(&ctx->state) == STATE_LIVE) && /* C1 looks again */
           likely(word_cas_seq_cst(&ctx->state, &live, word));     /* C1, as in state_set */
}

/* Then whether there is nobody to tell, and nothing below; where it is not true, cancel_rest. */
static inline bool cancel_is_over(const struct canopy_ctx *ctx)
{
    return likely(((word_load_seq_cst(&ctx->aux) & AUX_EXTENSION) | /* C7 */
                   (u64_load_seq_cst(&ctx->refs) & REFS_RECORDS) |  /* C8 */
                   word_load_seq_cst(&ctx->slot0) |                 /* C3 */
                   (word_load_seq_cst(&ctx->link) ^ SLOT_END)) == 0);
}

/* What is left to the winner of C1 then; `pass` as cancel_tree's. */
void cancel_rest(struct canopy_ctx *ctx, struct pass *pass);

/* For a context that nobody else knows yet: ends it as its parent ended. */
void cancel_born(struct canopy_ctx *ctx, uintptr_t word);

#endif
