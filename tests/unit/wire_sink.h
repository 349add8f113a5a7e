/*
 * wire_sink.h - a request in and out: headers by their text, and a sink that keeps them.
 */
#ifndef CANOPY_TESTS_WIRE_SINK_H
#define CANOPY_TESTS_WIRE_SINK_H

#include "wired.h"

/* Headers as "name: value\n", in the order in which they are written. */
struct sink {
    char text[32768];
    size_t bytes;
    int refuse; /* what the sink returns */
};

static inline int sink_add(void *user, const char *name, size_t name_bytes, const char *value,
                           size_t value_bytes)
{
    struct sink *sink = user;
    size_t room = sizeof sink->text - sink->bytes;
    int bytes = snprintf(sink->text + sink->bytes, room, "%.*s: %.*s\n", (int)name_bytes, name,
                         (int)value_bytes, value);
    assert_true(bytes > 0 && (size_t)bytes < room);
    sink->bytes += (size_t)bytes;
    return sink->refuse;
}

/* Puts more behind a string that has room for it. */
static inline void append(char *text, size_t room, const char *more)
{
    size_t bytes = strlen(text);
    assert_true(bytes + strlen(more) < room);
    snprintf(text + bytes, room - bytes, "%s", more);
}

/* Takes a header. */
static inline int take(canopy_wire *wire, const char *name, const char *value)
{
    return canopy_wire_take(wire, name, strlen(name), value, strlen(value));
}

/* What the sink has of a header, or "". Lasts until the next call. */
static inline const char *sent(const struct sink *sink, const char *name)
{
    static char value[20000];
    char line[64];
    snprintf(line, sizeof line, "%s: ", name);
    const char *at = strncmp(sink->text, line, strlen(line)) == 0 ? sink->text : NULL;
    if (!at) {
        snprintf(line, sizeof line, "\n%s: ", name);
        at = strstr(sink->text, line);
    }
    if (!at)
        return "";
    at += strlen(line);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

#endif
