/*
 * pool_hooks.h - included ahead of every source of the library: tells the
 * explorer which objects are in use and which are free, so that a touch of a free
 * one is found although its memory stays mapped.
 */
#ifndef CANOPY_POOL_HOOKS_H
#define CANOPY_POOL_HOOKS_H

/* The compiler's pass for ThreadSanitizer serves the explorer here, not ThreadSanitizer. */
#define CANOPY_SANITIZER_H
#define tsan_acquire(address) ((void)(address))
#define tsan_release(address) ((void)(address))

#include "memory/pool.h"

/* The pool itself may touch free objects: their links, and what they remember. */
#define EXPLORE_IN_POOL(call) (explore_pool_begin(), explore_pool_end(call))
#define EXPLORE_OBJECT(class) object_bytes(class), (class) == CLASS_CTX

/* A macro's own name is not expanded again: within, the library's functions are meant. */
#define pool_alloc(heap, class)                                                                    \
    explore_object_taken(EXPLORE_IN_POOL(pool_alloc(heap, class)), EXPLORE_OBJECT(class))
#define pool_take(heap, class)                                                                     \
    explore_object_taken(EXPLORE_IN_POOL(pool_take(heap, class)), EXPLORE_OBJECT(class))
#define pool_take_begin(object, class)                                                             \
    pool_take_begin(explore_object_taken(object, EXPLORE_OBJECT(class)), class)
#define pool_peek(heap, class, fits, arg) EXPLORE_IN_POOL(pool_peek(heap, class, fits, arg))
#define pool_free(heap, class, memory)                                                             \
    EXPLORE_IN_POOL(                                                                               \
        (pool_free(heap, class, explore_object_given(memory, EXPLORE_OBJECT(class))), (void *)0))
#define pool_put(heap, class, memory)                                                              \
    EXPLORE_IN_POOL(                                                                               \
        (pool_put(heap, class, explore_object_given(memory, EXPLORE_OBJECT(class))), (void *)0))
#ifdef EXPLORE_CALLS_UP /* where it is called, not where it is defined */
#define ctx_forget(object) EXPLORE_IN_POOL((ctx_forget(object), (void *)0))
#endif

#endif
