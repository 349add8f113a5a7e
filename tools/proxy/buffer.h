/*
 * buffer.h - bytes on their way from one socket to another. A buffer grows as
 * needed; whoever fills it stops reading its source above BUFFER_HIGH_BYTES,
 * which is what bounds it. Memory running out is remembered in `failed`, so
 * that it need be looked at only where the buffer is emptied.
 */
#ifndef PROXY_BUFFER_H
#define PROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#define BUFFER_HIGH_BYTES ((size_t)64 * 1024)

struct buffer {
    char *memory;
    size_t start, end, capacity;
    bool failed;
};

static inline const char *buffer_data(const struct buffer *b)
{
    return b->memory + b->start;
}

static inline size_t buffer_length(const struct buffer *b)
{
    return b->end - b->start;
}

void buffer_append(struct buffer *b, const void *data, size_t length);
void buffer_append_string(struct buffer *b, const char *string);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *b, size_t length);
void buffer_clear(struct buffer *b);
void buffer_free(struct buffer *b);

/* Makes what was consumed since the buffer was last empty or appended to unread again. */
void buffer_rewind(struct buffer *b);

/* Sends what the socket takes now. False: the connection or the buffer is broken. */
bool buffer_send(struct buffer *b, int fd);

#endif
