/*
 * sink.c - text is put together; see sink.h.
 */
#include "inspect/sink.h"

#include <dlfcn.h>
#include <string.h>

int sink_flush(struct sink *sink)
{
    if (sink->used > 0 && !sink->err)
        sink->err = sink->write(sink->user, sink->bytes, sink->used);
    sink->used = 0;
    return sink->err;
}

void sink_put(struct sink *sink, const char *bytes, size_t n)
{
    while (n > 0) {
        if (sink->used == SINK_BYTES)
            sink_flush(sink);
        size_t part = SINK_BYTES - sink->used;
        part = n < part ? n : part;
        memcpy(sink->bytes + sink->used, bytes, part);
        sink->used += part;
        bytes += part;
        n -= part;
    }
}

void sink_text(struct sink *sink, const char *text)
{
    sink_put(sink, text, strlen(text));
}

void sink_char(struct sink *sink, char c)
{
    if (sink->used == SINK_BYTES)
        sink_flush(sink);
    sink->bytes[sink->used++] = c;
}

void sink_id(struct sink *sink, uint64_t id)
{
    char digits[20], *first = digits + sizeof digits;
    do
        *--first = (char)('0' + id % 10);
    while ((id /= 10) != 0);
    sink_put(sink, first, (size_t)(digits + sizeof digits - first));
}

void sink_number(struct sink *sink, int64_t number)
{
    if (number < 0)
        sink_char(sink, '-');
    sink_id(sink, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

void sink_hex(struct sink *sink, uint64_t number)
{
    char digits[16], *first = digits + sizeof digits;
    do
        *--first = "0123456789abcdef"[number % 16];
    while ((number /= 16) != 0);
    sink_text(sink, "0x");
    sink_put(sink, first, (size_t)(digits + sizeof digits - first));
}

/* ---------------------------------------------------------------------- quoted */

static bool is_follower(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* How many bytes the character that begins here has; 0: it is none of UTF-8's. */
static size_t character_bytes(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xC2 && at[0] <= 0xDF)
        return is_follower(at[1]) ? 2 : 0;
    if ((at[0] & 0xF0) == 0xE0) {
        bool is_long = at[0] == 0xE0 && at[1] < 0xA0, is_half = at[0] == 0xED && at[1] > 0x9F;
        return is_follower(at[1]) && is_follower(at[2]) && !is_long && !is_half ? 3 : 0;
    }
    if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        bool is_long = at[0] == 0xF0 && at[1] < 0x90, is_far = at[0] == 0xF4 && at[1] > 0x8F;
        bool follow = is_follower(at[1]) && is_follower(at[2]) && is_follower(at[3]);
        return follow && !is_long && !is_far ? 4 : 0;
    }
    return 0;
}

static void put_escaped(struct sink *sink, unsigned char c)
{
    char escape[] = "\\u0000";
    escape[4] = "0123456789abcdef"[c >> 4];
    escape[5] = "0123456789abcdef"[c & 15];
    sink_put(sink, escape, 6);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* Of the controls those that UTF-8 has as two bytes, which a terminal obeys as it does escape. */
static bool is_long_control(const unsigned char *at)
{
    return at[0] == 0xC2 && at[1] < 0xA0;
}

static void put_other(struct sink *sink, const unsigned char *at, size_t bytes)
{
    if (bytes == 0) {
        sink_text(sink, "\xEF\xBF\xBD");
    } else if (bytes == 2 && is_long_control(at)) {
        put_escaped(sink, at[1]);
    } else if (bytes > 1) {
        sink_put(sink, (const char *)at, bytes);
    } else if (*at == '"' || *at == '\\') {
        sink_char(sink, '\\');
        sink_char(sink, (char)*at);
    } else {
        put_escaped(sink, *at);
    }
}

static void put_inside_quotes(struct sink *sink, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        const unsigned char *plain = at;
        while (is_plain(*at))
            at++;
        sink_put(sink, (const char *)plain, (size_t)(at - plain));
        if (!*at)
            break;
        size_t bytes = character_bytes(at);
        put_other(sink, at, bytes);
        at += bytes ? bytes : 1;
    }
}

void sink_quoted(struct sink *sink, const char *text)
{
    sink_char(sink, '"');
    put_inside_quotes(sink, text);
    sink_char(sink, '"');
}

/* ---------------------------------------------------------------- for people */

static void put_place(struct sink *sink, const void *place,
                      void (*put)(struct sink *sink, const char *text))
{
    Dl_info found;
    if (!place || !dladdr(place, &found) || !found.dli_fname) {
        sink_hex(sink, (uintptr_t)place);
        return;
    }
    const char *file = strrchr(found.dli_fname, '/');
    const void *from = found.dli_sname ? found.dli_saddr : found.dli_fbase;
    put(sink, found.dli_sname ? found.dli_sname : file ? file + 1 : found.dli_fname);
    sink_char(sink, '+');
    sink_hex(sink, (uintptr_t)place - (uintptr_t)from);
}

void sink_place(struct sink *sink, const void *place)
{
    put_place(sink, place, sink_text);
}

void sink_place_quoted(struct sink *sink, const void *place)
{
    sink_char(sink, '"');
    put_place(sink, place, put_inside_quotes);
    sink_char(sink, '"');
}

void sink_duration(struct sink *sink, int64_t duration_ns)
{
    static const struct {
        int64_t ns;
        const char *name;
    } units[] = {{INT64_C(3600000000000), "h"},
                 {INT64_C(60000000000), "min"},
                 {INT64_C(1000000000), "s"},
                 {INT64_C(1000000), "ms"},
                 {INT64_C(1000), "us"}};
    const size_t last = sizeof units / sizeof *units - 1;
    size_t i = 0;
    if (duration_ns < 0)
        duration_ns = 0; /* the time of the note is half a millisecond ahead */
    while (i < last && duration_ns < 10 * units[i].ns)
        i++;
    sink_number(sink, duration_ns / units[i].ns);
    sink_char(sink, ' ');
    sink_text(sink, units[i].name);
}

const char *sink_kind_name(canopy_kind kind)
{
    static const char *const names[] = {
        [CANOPY_KIND_CANCEL] = "cancel",
        [CANOPY_KIND_ROOT] = "root",
        [CANOPY_KIND_ANY] = "any",
        [CANOPY_KIND_VALUE] = "value",
        [CANOPY_KIND_WITHOUT_CANCEL] = "without_cancel",
    };
    return names[kind];
}
