/*
 * trace.c - traceparent, of the W3C's Trace Context, level 2.
 */
#include "wire/trace.h"

#include <errno.h>
#include <string.h>

#include "wire/text.h"

/* Where each field of version 00 begins; behind each but the last is a '-'. */
enum { AT_VERSION = 0, AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53 };

#define FLAGS_KEPT (CANOPY_TRACE_SAMPLED | CANOPY_TRACE_RANDOM)

static bool is_zero(const uint8_t *id, size_t bytes)
{
    uint8_t any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= id[i];
    return any == 0;
}

bool trace_is_valid(const canopy_traceparent *trace)
{
    return !is_zero(trace->trace_id, sizeof trace->trace_id) &&
           !is_zero(trace->span_id, sizeof trace->span_id);
}

/* What a digit stands for, in lower case alone, and that it is one. */
#define DIGIT 16
static const uint8_t digits[256] = {
    ['0'] = DIGIT | 0,  ['1'] = DIGIT | 1,  ['2'] = DIGIT | 2,  ['3'] = DIGIT | 3,
    ['4'] = DIGIT | 4,  ['5'] = DIGIT | 5,  ['6'] = DIGIT | 6,  ['7'] = DIGIT | 7,
    ['8'] = DIGIT | 8,  ['9'] = DIGIT | 9,  ['a'] = DIGIT | 10, ['b'] = DIGIT | 11,
    ['c'] = DIGIT | 12, ['d'] = DIGIT | 13, ['e'] = DIGIT | 14, ['f'] = DIGIT | 15};

/* False where one digit is not hexadecimal, in lower case. */
static bool hex_bytes_read(const char *at, uint8_t *out, size_t bytes)
{
    unsigned all = DIGIT;
    for (size_t i = 0; i < bytes; i++) {
        unsigned high = digits[(unsigned char)at[2 * i]];
        unsigned low = digits[(unsigned char)at[2 * i + 1]];
        out[i] = (uint8_t)(high << 4 | (low & 15));
        all &= high & low;
    }
    return all != 0;
}

static char *hex_bytes_write(char *at, const uint8_t *bytes, size_t count)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        *at++ = hex[bytes[i] >> 4];
        *at++ = hex[bytes[i] & 15];
    }
    return at;
}

/* Whether what is behind the fields of version 00 may be there. */
static bool ends_well(uint8_t version, struct text text)
{
    if (text.bytes == CANOPY_TRACEPARENT_BYTES)
        return version != 0xff;
    return version != 0 && version != 0xff && text.at[CANOPY_TRACEPARENT_BYTES] == '-';
}

int canopy_traceparent_parse(const char *value, size_t bytes, canopy_traceparent *trace)
{
    struct text text = text_trimmed(value, bytes);
    canopy_traceparent read;
    uint8_t version;
    if (text.bytes < CANOPY_TRACEPARENT_BYTES || text.at[AT_TRACE - 1] != '-' ||
        text.at[AT_SPAN - 1] != '-' || text.at[AT_FLAGS - 1] != '-')
        return -EINVAL;
    if (!hex_bytes_read(text.at + AT_VERSION, &version, 1) || !ends_well(version, text) ||
        !hex_bytes_read(text.at + AT_TRACE, read.trace_id, sizeof read.trace_id) ||
        !hex_bytes_read(text.at + AT_SPAN, read.span_id, sizeof read.span_id) ||
        !hex_bytes_read(text.at + AT_FLAGS, &read.flags, 1) || !trace_is_valid(&read))
        return -EINVAL;
    read.flags &= FLAGS_KEPT;
    *trace = read;
    return 0;
}

void canopy_traceparent_format(const canopy_traceparent *trace, char out[CANOPY_TRACEPARENT_BYTES])
{
    uint8_t version = 0, flags = trace->flags & FLAGS_KEPT;
    char *at = hex_bytes_write(out, &version, 1);
    *at++ = '-';
    at = hex_bytes_write(at, trace->trace_id, sizeof trace->trace_id);
    *at++ = '-';
    at = hex_bytes_write(at, trace->span_id, sizeof trace->span_id);
    *at++ = '-';
    hex_bytes_write(at, &flags, 1);
}

int canopy_traceparent_next(const canopy_traceparent *from, uint8_t flags, const uint8_t *random,
                            canopy_traceparent *next)
{
    uint8_t drawn[sizeof next->span_id + sizeof next->trace_id];
    if (!random) {
        int err = canopy_random(drawn, from ? sizeof next->span_id : sizeof drawn);
        if (err)
            return err;
        random = drawn;
    }
    canopy_traceparent made = {.flags = (flags & FLAGS_KEPT) | CANOPY_TRACE_RANDOM};
    if (from)
        made = *from;
    else
        memcpy(made.trace_id, random + sizeof made.span_id, sizeof made.trace_id);
    memcpy(made.span_id, random, sizeof made.span_id);
    if (!trace_is_valid(&made))
        return -EINVAL;
    *next = made;
    return 0;
}
