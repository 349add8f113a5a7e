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

#include "pool.h"

static inline size_t explore_class_bytes(enum object_class class)
{
    return class == CLASS_BLOCK ? BLOCK_BYTES : CACHE_LINE;
}

/* A macro's own name is not expanded again: within, the library's functions are meant. */
#define pool_alloc(heap, class)                                                                    \
    explore_object_taken(pool_alloc(heap, class), explore_class_bytes(class), (class) == CLASS_CTX)
#define pool_free(heap, class, memory)                                                             \
    pool_free(heap, class,                                                                         \
              explore_object_given(memory, explore_class_bytes(class), (class) == CLASS_CTX))
/* What the pool has done to an object that is free. */
#define pool_forget_ctx(object) explore_pool_call(pool_forget_ctx, object)

#endif
