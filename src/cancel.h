/*
 * cancel.h - the end of contexts: one compare-and-swap, and the walk below.
 */
#ifndef CANOPY_CANCEL_H
#define CANOPY_CANCEL_H

#include "children.h"

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

/* For a context that nobody else knows yet: ends it as its parent ended. */
void cancel_born(struct canopy_ctx *ctx, uintptr_t word);

#endif
