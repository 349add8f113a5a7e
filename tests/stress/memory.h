/*
 * memory.h - the allocator that the chapters' roots live on: counts what is
 * out, and spoils what comes back, so that a late reader reads nonsense in
 * builds without a sanitizer as well.
 */
#ifndef CANOPY_TESTS_MEMORY_H
#define CANOPY_TESTS_MEMORY_H

#include <stddef.h>

void *memory_allocate(void *user, size_t align_bytes, size_t size_bytes);
void memory_release(void *user, void *memory, size_t align_bytes, size_t size_bytes);

/* What was allocated and not released yet; as the sizes given add up. */
size_t memory_live_bytes(void);

#endif
