/*
 * screen.h - lines of text as wide as a terminal, put together from cells. The same lines are
 * printed, or given to ncurses.
 */
#ifndef CANOPY_TOOL_SCREEN_H
#define CANOPY_TOOL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCREEN_ROWS_MOST    200
#define SCREEN_COLUMNS_MOST 300
#define LINE_BYTES          (SCREEN_COLUMNS_MOST * 4 + 1)

enum style { STYLE_PLAIN, STYLE_TITLE, STYLE_HEADING, STYLE_FOCUS, STYLE_WARNING, STYLE_COUNT };

struct line {
    enum style style;
    size_t columns, bytes; /* what is in it */
    char text[LINE_BYTES];
};

struct screen {
    size_t rows, columns; /* how much room there is */
    size_t used;          /* lines */
    struct line lines[SCREEN_ROWS_MOST];
};

/* Empty, with so much room, as far as there can be so much. */
void screen_open(struct screen *screen, size_t rows, size_t columns);

/* The next line, or NULL: the screen is full. */
struct line *screen_line(struct screen *screen, enum style style);

/*
 * Appends as much of `text` as fits into so many columns, and spaces up to them, behind it or
 * (`is_right`) before it. What is cut ends with ~; what a terminal would obey becomes ?.
 */
void line_cell(struct line *line, const char *text, size_t columns, bool is_right);

/* Appends text as it is, as far as there is room for it. */
__attribute__((format(printf, 3, 4))) void line_print(const struct screen *screen,
                                                      struct line *line, const char *format, ...);

/* For people: 12,345; 1.2 MiB; 350 ms. They write at most 32 bytes. */
#define HUMAN_BYTES 32
const char *human_number(char text[HUMAN_BYTES], int64_t number);
const char *human_bytes(char text[HUMAN_BYTES], int64_t bytes);
const char *human_duration(char text[HUMAN_BYTES], int64_t duration_ns);

#endif
