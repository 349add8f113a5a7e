/*
 * tables.c - the three tables of `top`: causes, contexts, places. A cell is what is shown and
 * what is sorted by, so each column can be sorted by without code of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

#define COLUMNS_MOST 5
#define CELL_BYTES   256

struct cell {
    char text[CELL_BYTES];
    int64_t key; /* what numbers are sorted by */
};

enum order { BY_TEXT, MOST_FIRST, LEAST_FIRST };

struct column {
    const char *heading;
    size_t width; /* 0: what is left, shared with others like it */
    enum order order;
};

struct table {
    const char *empty; /* what is said where there are no rows */
    size_t columns;
    struct column column[COLUMNS_MOST];
    size_t (*count)(const struct view *view);
    void (*cell)(const struct view *view, size_t row, size_t column, struct cell *cell);
    bool (*is_warning)(const struct view *view, size_t row);
};

/* ------------------------------------------------------------------------------ cells */

static void put_text(struct cell *cell, const char *text)
{
    snprintf(cell->text, sizeof cell->text, "%s", text);
}

static void put_number(struct cell *cell, int64_t number)
{
    char text[HUMAN_BYTES];
    cell->key = number;
    put_text(cell, human_number(text, number));
}

static void put_duration(struct cell *cell, int64_t duration_ns)
{
    char text[HUMAN_BYTES];
    cell->key = duration_ns;
    put_text(cell, human_duration(text, duration_ns > 0 ? duration_ns : 0));
}

static const struct cause_row *cause_before(const struct view *view, const struct cause_row *cause)
{
    for (size_t i = 0; i < view->before.cause_count; i++) {
        const struct cause_row *row = &view->before.causes[i];
        bool is_same_text = cause->text && row->text ? strcmp(cause->text, row->text) == 0
                                                     : cause->text == row->text;
        if (is_same_text && cause->code == row->code)
            return row;
    }
    return NULL;
}

static void put_cause_rate(struct cell *cell, const struct view *view,
                           const struct cause_row *cause)
{
    const struct cause_row *before = cause_before(view, cause);
    double rate = view_rate(view, cause->ended, before ? before->ended : 0);
    if (rate < 0)
        put_text(cell, "-");
    else
        put_number(cell, (int64_t)(rate + 0.5));
}

static size_t cause_count(const struct view *view)
{
    return view->now.cause_count;
}

static void cause_cell(const struct view *view, size_t row, size_t column, struct cell *cell)
{
    const struct cause_row *cause = &view->now.causes[row];
    switch (column) {
    case 0:
        put_text(cell, cause->text ? cause->text : "(all others)");
        break;
    case 1:
        put_number(cell, cause->cancels);
        break;
    case 2:
        put_number(cell, cause->ended);
        break;
    default:
        put_cause_rate(cell, view, cause);
    }
}

static size_t context_count(const struct view *view)
{
    return view->now.context_count;
}

static bool is_overdue(const struct view *view, size_t row)
{
    return view->now.contexts[row].deadline_ns < view->now.now_ns;
}

static void put_due(struct cell *cell, const struct view *view, const struct context_row *context)
{
    if (context->deadline_ns == INT64_MAX)
        put_text(cell, "never");
    else if (context->deadline_ns < view->now.now_ns)
        put_text(cell, "overdue");
    else
        put_duration(cell, context->deadline_ns - view->now.now_ns);
    cell->key = context->deadline_ns;
}

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static void context_cell(const struct view *view, size_t row, size_t column, struct cell *cell)
{
    const struct context_row *context = &view->now.contexts[row];
    switch (column) {
    case 0:
        put_text(cell, context->name ? context->name : or_dash(context->kind));
        break;
    case 1:
        put_duration(cell, view->now.now_ns - context->made_ns);
        break;
    case 2:
        put_due(cell, view, context);
        break;
    case 3:
        put_text(cell, or_dash(context->id));
        break;
    default:
        put_text(cell, or_dash(context->place));
    }
}

static size_t place_count(const struct view *view)
{
    return view->now.place_count;
}

static void place_cell(const struct view *view, size_t row, size_t column, struct cell *cell)
{
    const struct place_row *place = &view->now.places[row];
    switch (column) {
    case 0:
        put_text(cell, place->place ? or_dash(place->name) : "(all others)");
        break;
    case 1:
        put_number(cell, place->count);
        break;
    case 2:
        put_number(cell, place->done);
        break;
    case 3:
        put_duration(cell, view->now.now_ns - place->oldest_ns);
        break;
    default:
        put_text(cell, or_dash(place->place));
    }
}

static bool never(const struct view *view, size_t row)
{
    (void)view;
    (void)row;
    return false;
}

static const struct table tables[TABLES] = {
    [TABLE_CAUSES] = {.empty = "nothing was cancelled",
                      .columns = 4,
                      .column = {{"WHY CONTEXTS ENDED", 0, BY_TEXT},
                                 {"CANCELS", 15, MOST_FIRST},
                                 {"ENDED", 15, MOST_FIRST},
                                 {"ENDED/S", 11, MOST_FIRST}},
                      .count = cause_count,
                      .cell = cause_cell,
                      .is_warning = never},
    [TABLE_CONTEXTS] = {.empty = "none is there",
                        .columns = 5,
                        .column = {{"LONGEST AT WORK", 0, BY_TEXT},
                                   {"AGE", 8, MOST_FIRST},
                                   {"DUE IN", 8, LEAST_FIRST},
                                   {"ID", 20, BY_TEXT},
                                   {"MADE AT", 0, BY_TEXT}},
                        .count = context_count,
                        .cell = context_cell,
                        .is_warning = is_overdue},
    [TABLE_PLACES] = {.empty = "none is there",
                      .columns = 5,
                      .column = {{"MOST THERE", 0, BY_TEXT},
                                 {"COUNT", 12, MOST_FIRST},
                                 {"ENDED", 12, MOST_FIRST},
                                 {"OLDEST", 8, MOST_FIRST},
                                 {"MADE AT", 0, BY_TEXT}},
                      .count = place_count,
                      .cell = place_cell,
                      .is_warning = never},
};

/* ----------------------------------------------------------------------------- sorted */

struct sorting {
    const struct view *view;
    const struct table *table;
    size_t column;
};

/* Equals stay as the process told them. */
static int compare(const void *left, const void *right, void *user)
{
    const struct sorting *by = user;
    const size_t a = *(const size_t *)left, b = *(const size_t *)right;
    struct cell first = {.key = 0}, second = {.key = 0};
    by->table->cell(by->view, a, by->column, &first);
    by->table->cell(by->view, b, by->column, &second);
    enum order order = by->table->column[by->column].order;
    int sign = order == BY_TEXT ? strcmp(first.text, second.text)
                                : (first.key > second.key) - (first.key < second.key);
    if (order == MOST_FIRST)
        sign = -sign;
    return sign ? sign : (a > b) - (a < b);
}

void tables_sort_next(struct view *view)
{
    view->sort[view->focus] = (view->sort[view->focus] + 1) % tables[view->focus].columns;
}

const char *tables_sorted_by(const struct view *view)
{
    return tables[view->focus].column[view->sort[view->focus]].heading;
}

/* ------------------------------------------------------------------------------ drawn */

static size_t flexible_width(const struct table *table, size_t columns)
{
    size_t fixed = table->columns, shares = 0;
    for (size_t i = 0; i < table->columns; i++) {
        fixed += table->column[i].width;
        shares += table->column[i].width == 0;
    }
    return shares > 0 && columns > fixed ? (columns - fixed) / shares : 0;
}

static void put_cell(struct line *line, const struct screen *screen, const struct column *column,
                     const char *text, size_t flexible)
{
    size_t width = column->width ? column->width : flexible;
    if (line->columns + width + 1 <= screen->columns) {
        line_cell(line, text, width, column->order != BY_TEXT);
        line_cell(line, "", 1, false);
    }
}

static void draw_heading(const struct view *view, struct screen *screen, enum table_name name)
{
    const struct table *table = &tables[name];
    bool has_focus = view->is_live && name == view->focus;
    struct line *line = screen_line(screen, has_focus ? STYLE_FOCUS : STYLE_HEADING);
    if (!line)
        return;
    for (size_t i = 0; i < table->columns; i++) {
        char heading[64];
        snprintf(heading, sizeof heading, "%s%s", table->column[i].heading,
                 view->is_live && i == view->sort[name] ? "*" : "");
        put_cell(line, screen, &table->column[i], heading, flexible_width(table, screen->columns));
    }
    line_cell(line, "", screen->columns - line->columns, false);
}

static void draw_row(const struct view *view, struct screen *screen, const struct table *table,
                     size_t row)
{
    struct line *line =
        screen_line(screen, table->is_warning(view, row) ? STYLE_WARNING : STYLE_PLAIN);
    for (size_t i = 0; line && i < table->columns; i++) {
        struct cell cell = {.key = 0};
        table->cell(view, row, i, &cell);
        put_cell(line, screen, &table->column[i], cell.text,
                 flexible_width(table, screen->columns));
    }
}

static void draw_table(const struct view *view, struct screen *screen, enum table_name name,
                       size_t room)
{
    const struct table *table = &tables[name];
    size_t rows[ROWS_MOST], count = table->count(view);
    struct sorting by = {view, table, view->sort[name]};
    draw_heading(view, screen, name);
    for (size_t i = 0; i < count; i++)
        rows[i] = i;
    qsort_r(rows, count, sizeof *rows, compare, &by);
    if (count == 0)
        line_print(screen, screen_line(screen, STYLE_PLAIN), "%s", table->empty);
    for (size_t i = 0; i < count && i < room; i++)
        draw_row(view, screen, table, rows[i]);
}

/* Each gets a third, and what one does not need is for the others, from the top. */
static void share_out(const struct view *view, size_t lines, size_t rooms[TABLES])
{
    size_t left = lines;
    for (size_t i = 0; i < TABLES; i++) {
        size_t wanted = tables[i].count(view);
        wanted = wanted ? wanted : 1;
        rooms[i] = wanted < lines / TABLES ? wanted : lines / TABLES;
        left -= rooms[i];
    }
    for (size_t i = 0; i < TABLES; i++) {
        size_t wanted = tables[i].count(view);
        size_t more = wanted > rooms[i] ? wanted - rooms[i] : 0;
        more = more < left ? more : left;
        rooms[i] += more;
        left -= more;
    }
}

void tables_draw(const struct view *view, struct screen *screen, size_t below)
{
    const size_t around = (size_t)2 * TABLES; /* headings, and an empty line before each */
    size_t rooms[TABLES], free_lines = screen->rows - screen->used;
    if (free_lines < around + TABLES + below)
        return;
    share_out(view, free_lines - around - below, rooms);
    for (size_t i = 0; i < TABLES; i++) {
        screen_line(screen, STYLE_PLAIN);
        draw_table(view, screen, (enum table_name)i, rooms[i]);
    }
}
