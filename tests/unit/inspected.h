/*
 * inspected.h - roots that keep notes, and sinks for what is told of them, for the tests of
 * inspect.h.
 */
#ifndef CANOPY_TESTS_INSPECTED_H
#define CANOPY_TESTS_INSPECTED_H

#include "harness.h"

#include <canopy/inspect.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void noted_open(struct fixture *f, canopy_clock clock)
{
    memset(f, 0, sizeof *f);
    canopy_config config = memory_config(&f->memory);
    config.clock = clock;
    config.inspect = CANOPY_INSPECT_NOTES;
    f->root = canopy_root_new(&config);
    assert_non_null(f->root);
    assert_int_not_equal(canopy_id(f->root), 0);
}

static inline canopy_info info_of(const canopy_ctx *ctx)
{
    canopy_info info;
    assert_int_equal(canopy_inspect(canopy_id(ctx), &info, sizeof info), 0);
    assert_int_equal(info.id, canopy_id(ctx));
    return info;
}

/* What a sink is given, as one text; the caller frees it. */
struct text {
    char *bytes;
    size_t used;
    size_t calls;
    size_t fail_at; /* the call that fails; 0: none */
};

static inline int add_text(void *user, const char *bytes, size_t n)
{
    struct text *text = user;
    if (++text->calls == text->fail_at)
        return -EPIPE;
    text->bytes = realloc(text->bytes, text->used + n + 1);
    memcpy(text->bytes + text->used, bytes, n);
    text->used += n;
    text->bytes[text->used] = '\0';
    return 0;
}

static inline size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

#endif
