/*
 * broken.c - what must hold in the library does not: somebody wrote to its memory.
 */
#include "told.h"

#include <stdlib.h>

/* The last memory as large as a slab that the library asked for. */
struct last_slab {
    unsigned char *slab;
};

static void *allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    if (size_bytes > 32768 / 2)
        ((struct last_slab *)user)->slab = memory;
    return memory;
}

static void release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    (void)size_bytes;
    free(memory);
}

/* Writes beyond its own memory: to the cause of each context in the slab that has a parent. */
static void scribble(const struct last_slab *last, uint64_t from, uint64_t to)
{
    for (size_t line = 0; line < 32768 / 64 - 1; line++) {
        uint64_t *words = (uint64_t *)(void *)(last->slab + line * 64);
        if (words[2] > 4096 && words[5] == from)
            words[5] = to;
    }
}

static void assert_broken(struct told *told, const char *what)
{
    assert_int_equal(atomic_exchange(&told->count, 0), 1);
    assert_int_equal(told->last.kind, CANOPY_DEBUG_BROKEN);
    assert_null(told->last.ctx);
    if (!strstr(told->text, what))
        fail_msg("no %s in: %s", what, told->text);
}

TEST(a_free_context_that_was_written_to_is_told)
{
    struct told told = {0};
    struct last_slab last = {0};
    listen_to(&told);
    canopy_config config = {
        .size = sizeof config, .allocate = allocate, .release = release, .user = &last};
    canopy_ctx *root = canopy_root_new(&config);
    canopy_end(canopy_with_cancel(root));
    assert_not_told(&told);
    scribble(&last, 0, 0xbad0);
    canopy_ctx *ctx = canopy_with_cancel(root);
    assert_broken(&told, "ctx_is_blank");
    scribble(&last, 0xbad0, 0);
    canopy_end(ctx);
    assert_not_told(&told);
    assert_int_equal(canopy_root_free(root), 0);
    assert_not_told(&told);
}
