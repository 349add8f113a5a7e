/*
 * sink.h - text for a sink: gathered, and handed on some kilobytes at a time.
 */
#ifndef CANOPY_SINK_H
#define CANOPY_SINK_H

#include <canopy/inspect.h>

#define SINK_BYTES 4096
#define SINK_NAMED 64

struct sink {
    canopy_sink_fn write;
    void *user;
    int err; /* what the sink returned; once it is not 0 nothing more is written */
    size_t used;
    const void **named; /* SINK_NAMED places that lately had a name; NULL: they have none here */
    char bytes[SINK_BYTES];
};

static inline void sink_open(struct sink *sink, canopy_sink_fn write, void *user)
{
    sink->write = write;
    sink->user = user;
    sink->err = 0;
    sink->used = 0;
    sink->named = NULL;
}

/* Hands on what is there: 0, or what the sink has returned. */
int sink_flush(struct sink *sink);

void sink_put(struct sink *sink, const char *bytes, size_t n);
void sink_text(struct sink *sink, const char *text);
void sink_char(struct sink *sink, char c);
void sink_number(struct sink *sink, int64_t number);
void sink_id(struct sink *sink, uint64_t id);
void sink_hex(struct sink *sink, uint64_t number);

/* In quotes, as JSON and DOT have it, controls escaped; what is no UTF-8 is replaced. */
void sink_quoted(struct sink *sink, const char *text);

/* A place in code as people know it: function and offset, or module and offset. */
void sink_place(struct sink *sink, const void *place);
void sink_place_quoted(struct sink *sink, const void *place);

/* A time that has passed, in the unit that fits. */
void sink_duration(struct sink *sink, int64_t duration_ns);

/* The kind of a context, in a word. */
const char *sink_kind_name(canopy_kind kind);

#endif
