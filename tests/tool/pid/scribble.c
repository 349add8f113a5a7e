/*
 * scribble.c - what canopy allocates, and words written all over it: noughts, ones, addresses
 * of other such memory, a little beside, and its own.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "scene.h"

#define BLOCKS 65536
#define WORDS  400 /* at a time */

static struct {
    char *at;
    size_t bytes;
} blocks[BLOCKS];
static size_t block_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void *scene_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    void *memory = NULL;
    (void)user;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    pthread_mutex_lock(&lock);
    if (block_count < BLOCKS) {
        blocks[block_count].at = memory;
        blocks[block_count++].bytes = size_bytes;
    }
    pthread_mutex_unlock(&lock);
    return memory;
}

void scene_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user, (void)align_bytes, (void)size_bytes;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < block_count; i++)
        if (blocks[i].at == memory) {
            blocks[i] = blocks[--block_count];
            break;
        }
    pthread_mutex_unlock(&lock);
    free(memory);
}

static uint64_t next_random(void)
{
    static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t *some_word(void)
{
    size_t i = next_random() % block_count;
    return (uint64_t *)(void *)blocks[i].at + next_random() % (blocks[i].bytes / 8);
}

static uint64_t some_value(const uint64_t *at)
{
    switch (next_random() % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return next_random();
    case 3:
        return (uint64_t)(uintptr_t)at;
    case 4:
        return *at ^ UINT64_C(1) << next_random() % 64;
    case 5:
        return (uint64_t)(uintptr_t)some_word() & ~UINT64_C(63);
    case 6:
        return (uint64_t)(uintptr_t)some_word();
    default:
        return *some_word();
    }
}

void scene_scribble(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        for (unsigned i = 0; i < WORDS; i++) {
            uint64_t *at = some_word();
            *at = some_value(at);
        }
        if (write(STDOUT_FILENO, &byte, 1) != 1)
            scene_fail("nobody listens");
    }
    _exit(0);
}
