/*
 * words.h - a command taken apart: words between spaces, numbers, ages.
 */
#ifndef CANOPY_WORDS_H
#define CANOPY_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left of a line. */
struct words {
    const char *at, *end;
};

struct word {
    const char *text;
    size_t bytes;
};

/* The next one; false: there is none. */
bool words_next(struct words *words, struct word *word);

/* All that is left, without the spaces around it. */
struct word words_rest(const struct words *words);

bool word_is(const struct word *word, const char *text);

/* A number, decimal or after 0x in hexadecimal. False: it is none, or has no room. */
bool word_number(const struct word *word, uint64_t *number);

/* A time: a decimal number, and ns, us, ms, s, m, h or nothing, which is s. */
bool word_duration(const struct word *word, int64_t *duration_ns);

#endif
