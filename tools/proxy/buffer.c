/* buffer.c - bytes on their way from one socket to another. */
#include "buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool buffer_reserve(struct buffer *b, size_t length)
{
    if (b->start > 0 && (b->start == b->end || b->end + length > b->capacity)) {
        memmove(b->memory, b->memory + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->end + length <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity : 512;
    while (capacity < b->end + length)
        capacity *= 2;
    char *memory = realloc(b->memory, capacity);
    if (!memory) {
        b->failed = true;
        return false;
    }
    b->memory = memory;
    b->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *b, const void *data, size_t length)
{
    if (length == 0 || !buffer_reserve(b, length))
        return;
    memcpy(b->memory + b->end, data, length);
    b->end += length;
}

void buffer_append_string(struct buffer *b, const char *string)
{
    buffer_append(b, string, strlen(string));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text)
        b->failed = true;
    else
        buffer_append(b, text, (size_t)length);
}

void buffer_consume(struct buffer *b, size_t length)
{
    b->start += length;
}

void buffer_clear(struct buffer *b)
{
    b->start = b->end = 0;
    b->failed = false;
}

void buffer_free(struct buffer *b)
{
    free(b->memory);
    *b = (struct buffer){0};
}

void buffer_rewind(struct buffer *b)
{
    b->start = 0;
}

bool buffer_send(struct buffer *b, int fd)
{
    while (!b->failed && buffer_length(b) > 0) {
        ssize_t sent = send(fd, buffer_data(b), buffer_length(b), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN;
        buffer_consume(b, (size_t)sent);
    }
    return !b->failed;
}
