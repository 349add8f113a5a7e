/*
 * memory.c - the counting allocator of the stress tests.
 */
#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t live_bytes;

void *memory_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    void *memory = NULL;

    (void)user;
    if (align_bytes < sizeof(void *))
        align_bytes = sizeof(void *);
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    atomic_fetch_add(&live_bytes, size_bytes);
    return memory;
}

void memory_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    memset(memory, 0xDD, size_bytes);
    /* Else the compiler drops stores into what is freed next. */
    __asm__ __volatile__("" : : "r"(memory) : "memory");
    atomic_fetch_sub(&live_bytes, size_bytes);
    free(memory);
}

size_t memory_live_bytes(void)
{
    return atomic_load(&live_bytes);
}
