/*
 * screen.c - cells are cut and padded by the columns that a terminal gives to characters; see
 * screen.h.
 */
#include "screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void screen_open(struct screen *screen, size_t rows, size_t columns)
{
    screen->rows = least(rows, SCREEN_ROWS_MOST);
    screen->columns = least(columns, SCREEN_COLUMNS_MOST);
    screen->used = 0;
}

struct line *screen_line(struct screen *screen, enum style style)
{
    if (screen->used == screen->rows)
        return NULL;
    struct line *line = &screen->lines[screen->used++];
    line->style = style;
    line->columns = line->bytes = 0;
    line->text[0] = '\0';
    return line;
}

/* ------------------------------------------------------------------------- characters */

struct character {
    const char *bytes;
    size_t count; /* of bytes of the text */
    size_t bytes_shown, columns;
};

/* What is no character, has no width or is a control stands as a question mark. */
static struct character character_at(const char *text)
{
    mbstate_t state = {0};
    wchar_t wide;
    size_t count = mbrtowc(&wide, text, strlen(text), &state);
    if (count == (size_t)-1 || count == (size_t)-2)
        return (struct character){"?", 1, 1, 1};
    int columns = wcwidth(wide);
    if (columns < 1)
        return (struct character){"?", count, 1, 1};
    return (struct character){text, count, count, (size_t)columns};
}

static size_t width(const char *text)
{
    size_t columns = 0;
    while (*text) {
        struct character next = character_at(text);
        columns += next.columns;
        text += next.count;
    }
    return columns;
}

static void append(struct line *line, const char *bytes, size_t count, size_t columns)
{
    if (line->bytes + count >= sizeof line->text || line->columns + columns > SCREEN_COLUMNS_MOST)
        return;
    memcpy(line->text + line->bytes, bytes, count);
    line->bytes += count;
    line->columns += columns;
    line->text[line->bytes] = '\0';
}

static void pad(struct line *line, size_t columns)
{
    while (columns-- > 0)
        append(line, " ", 1, 1);
}

/* As many characters as fit: how many columns they take. */
static size_t append_text(struct line *line, const char *text, size_t columns)
{
    size_t used = 0;
    while (*text) {
        struct character next = character_at(text);
        if (used + next.columns > columns)
            break;
        append(line, next.bytes, next.bytes_shown, next.columns);
        used += next.columns;
        text += next.count;
    }
    return used;
}

void line_cell(struct line *line, const char *text, size_t columns, bool is_right)
{
    size_t wanted = width(text);
    if (columns == 0)
        return;
    if (wanted > columns) {
        size_t used = append_text(line, text, columns - 1);
        append(line, "~", 1, 1);
        pad(line, columns - 1 - used);
        return;
    }
    if (is_right)
        pad(line, columns - wanted);
    append_text(line, text, columns);
    if (!is_right)
        pad(line, columns - wanted);
}

void line_print(const struct screen *screen, struct line *line, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    if (!line || line->columns >= screen->columns)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    line_cell(line, text, least(width(text), screen->columns - line->columns), false);
}

/* -------------------------------------------------------------------------- for people */

const char *human_number(char text[HUMAN_BYTES], int64_t number)
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRId64, number), used = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && digits[i - 1] != '-' && (count - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

const char *human_bytes(char text[HUMAN_BYTES], int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    size_t unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    snprintf(text, HUMAN_BYTES, unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
    return text;
}

/* Two digits at least, so that what has just been begun is told from what is twice as old. */
const char *human_duration(char text[HUMAN_BYTES], int64_t duration_ns)
{
    static const struct {
        double ns;
        const char *name;
    } units[] = {{86400e9, "d"}, {3600e9, "h"}, {60e9, "min"}, {1e9, "s"},
                 {1e6, "ms"},    {1e3, "us"},   {1, "ns"}};
    const size_t last = sizeof units / sizeof *units - 1;
    double number = (double)duration_ns;
    size_t unit = 0;
    while (unit < last && number < units[unit].ns)
        unit++;
    number = number / units[unit].ns;
    snprintf(text, HUMAN_BYTES, number < 10 && unit < last ? "%.1f %s" : "%.0f %s", number,
             units[unit].name);
    return text;
}
