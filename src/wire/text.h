/*
 * text.h - bytes of a header's value: a span of them, sets of octets, and numbers.
 * Nothing here needs a final NUL, nor reads beyond what it is given.
 */
#ifndef CANOPY_WIRE_TEXT_H
#define CANOPY_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    const char *at;
    size_t bytes;
};

static inline bool text_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Without spaces and tabs around it; NULL is empty. */
static inline struct text text_trimmed(const char *at, size_t bytes)
{
    if (!at)
        bytes = 0;
    while (bytes > 0 && text_is_space(at[bytes - 1]))
        bytes--;
    while (bytes > 0 && text_is_space(*at)) {
        at++;
        bytes--;
    }
    return (struct text){at, bytes};
}

/* A set of ASCII octets, a bit each. */
struct octets {
    uint64_t of[2];
};

/* The bits of a range that lies in one half. */
#define OCTETS(first, last)                                                                        \
    (UINT64_MAX >> (63 - ((uint64_t)(last) - (uint64_t)(first))) << ((uint64_t)(first) % 64))

static inline bool octets_have(const struct octets *set, char c)
{
    unsigned octet = (unsigned char)c;
    return octet < 128 && (set->of[octet / 64] >> octet % 64 & 1) != 0;
}

/* How many octets of the set the text begins with. */
static inline size_t octets_span(const struct octets *set, struct text text)
{
    size_t span = 0;
    while (span < text.bytes && octets_have(set, text.at[span]))
        span++;
    return span;
}

/* The number that the digits stand for, or -1: none, others, or more than ten. */
static inline int64_t digits_read(struct text text)
{
    if (text.bytes == 0 || text.bytes > 10)
        return -1;
    int64_t number = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return -1;
        number = number * 10 + (text.at[i] - '0');
    }
    return number;
}

/* Writes the digits of a number; how many. */
static inline int digits_write(uint64_t number, char *out)
{
    char reversed[20];
    int digits = 0;
    do
        reversed[digits++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    for (int i = 0; i < digits; i++)
        out[i] = reversed[digits - 1 - i];
    return digits;
}

/*
 * Percent-encoding of all that is not in `plain`. The bytes needed, or -E2BIG where an int
 * does not hold that; at most `room` are written, of an escape all or nothing. percent.c.
 */
int percent_encode(struct text text, const struct octets *plain, char *out, size_t room);

#endif
