/*
 * handoff.c - the hand-over stack, on ConcurrencyKit's ck_stack.
 *
 * ck_stack, because a push that never touches what another thread may already
 * have taken (unique producers, whole-stack consumers) is exactly its "upmc"
 * flavour, proven on more machines than ours. Its atomics are inline assembly
 * that ThreadSanitizer cannot see, so this file is built without
 * instrumentation and the hand-over is annotated in handoff.h.
 */
#include "base/handoff.h"

#include <ck_stack.h>

_Static_assert(sizeof(struct handoff) == sizeof(ck_stack_t), "struct handoff is a ck_stack");
_Static_assert(offsetof(struct handoff, head) == offsetof(ck_stack_t, head), "struct handoff");

void handoff_push_raw(struct handoff *to, struct handoff_node *node)
{
    /* ck orders stores before the push; what we read before must come before it, too. */
    ck_pr_fence_release();
    ck_stack_push_upmc((ck_stack_t *)to, (ck_stack_entry_t *)node);
}

struct handoff_node *handoff_take_all_raw(struct handoff *from)
{
    /* An empty stack is the common case, and a load keeps its line shared. */
    if (ck_pr_load_ptr(&from->head) == NULL)
        return NULL;
    struct handoff_node *list = (void *)ck_stack_batch_pop_upmc((ck_stack_t *)from);
    ck_pr_fence_acquire();
    return list;
}
