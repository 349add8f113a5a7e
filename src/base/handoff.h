/*
 * handoff.h - a lock-free stack that many threads push to and one (or several)
 * take whole: freed memory on its way back to its owner, retired memory on its
 * way to the reclaimer, callbacks on their way to a loop, contexts to the worker.
 */
#ifndef CANOPY_HANDOFF_H
#define CANOPY_HANDOFF_H

#include <stddef.h>

#include "base/atomic.h"
#include "base/sanitizer.h"

struct handoff_node {
    struct handoff_node *next;
};

/*
 * Links are atomic, relaxed: a dead context is linked through a word that a walker
 * may still look at, for a flag that it then finds to mean nothing.
 */
static inline struct handoff_node *handoff_next(const struct handoff_node *node)
{
    return (struct handoff_node *)word_load_relaxed((const atomic_word *)(const void *)&node->next);
}

static inline void handoff_link(struct handoff_node *node, struct handoff_node *next)
{
    word_store_relaxed((atomic_word *)(void *)&node->next, (uintptr_t)next);
}

/* Zeroed is empty. The layout is ck_stack's, which handoff.c asserts. */
struct handoff {
    struct handoff_node *head;
    char *generation;
} __attribute__((aligned(16)));

void handoff_push_raw(struct handoff *to, struct handoff_node *node);
struct handoff_node *handoff_take_all_raw(struct handoff *from);

/* Publishes `node` and what was written before; lock-free. */
static inline void handoff_push(struct handoff *to, struct handoff_node *node)
{
    tsan_release(to);
    handoff_push_raw(to, node);
}

/*
 * A quick look: true also where a push comes at the same time, but not where one came before
 * in an order that the caller knows of.
 */
static inline bool handoff_is_empty(const struct handoff *from)
{
    return word_load_relaxed((const atomic_word *)(const void *)&from->head) == 0;
}

/* Takes everything, newest first; wait-free. */
static inline struct handoff_node *handoff_take_all(struct handoff *from)
{
    struct handoff_node *list = handoff_take_all_raw(from);
    if (list)
        tsan_acquire(from);
    return list;
}

/* Oldest first. */
static inline struct handoff_node *handoff_reverse(struct handoff_node *list)
{
    struct handoff_node *reversed = NULL;
    while (list) {
        struct handoff_node *next = handoff_next(list);
        handoff_link(list, reversed);
        reversed = list;
        list = next;
    }
    return reversed;
}

#endif
