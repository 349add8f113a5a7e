/*
 * words.c - a command taken apart; see words.h.
 */
#include "inspect/words.h"

#include <string.h>

static void skip_spaces(struct words *words)
{
    while (words->at < words->end && *words->at == ' ')
        words->at++;
}

bool words_next(struct words *words, struct word *word)
{
    skip_spaces(words);
    word->text = words->at;
    while (words->at < words->end && *words->at != ' ')
        words->at++;
    word->bytes = (size_t)(words->at - word->text);
    return word->bytes > 0;
}

struct word words_rest(const struct words *words)
{
    struct words rest = *words;
    skip_spaces(&rest);
    while (rest.at < rest.end && rest.end[-1] == ' ')
        rest.end--;
    return (struct word){rest.at, (size_t)(rest.end - rest.at)};
}

bool word_is(const struct word *word, const char *text)
{
    return word->bytes == strlen(text) && memcmp(word->text, text, word->bytes) == 0;
}

/* What a character is worth as a digit; 16 and more: it is none. */
static unsigned digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

/* The digits at the beginning of a word: how many. 0: none, or more than there is room for. */
static size_t digits(const struct word *word, unsigned base, uint64_t *number)
{
    size_t i = 0;
    *number = 0;
    for (; i < word->bytes && digit(word->text[i]) < base; i++)
        if (__builtin_mul_overflow(*number, base, number) ||
            __builtin_add_overflow(*number, digit(word->text[i]), number))
            return 0;
    return i;
}

bool word_number(const struct word *word, uint64_t *number)
{
    struct word rest = *word;
    bool is_hex = rest.bytes > 2 && rest.text[0] == '0' && (rest.text[1] | 0x20) == 'x';
    if (is_hex) {
        rest.text += 2;
        rest.bytes -= 2;
    }
    return rest.bytes > 0 && digits(&rest, is_hex ? 16 : 10, number) == rest.bytes;
}

bool word_duration(const struct word *word, int64_t *duration_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"", 1000000000},
                 {"ns", 1},
                 {"us", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", INT64_C(60000000000)},
                 {"h", INT64_C(3600000000000)}};
    uint64_t number;
    size_t count = digits(word, 10, &number);
    struct word unit = {word->text + count, word->bytes - count};
    if (count == 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (word_is(&unit, units[i].name))
            return !__builtin_mul_overflow(number, units[i].ns, duration_ns);
    return false;
}
