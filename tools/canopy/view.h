/*
 * view.h - what `top` shows: two moments of a process and what the keys have chosen.
 */
#ifndef CANOPY_TOOL_VIEW_H
#define CANOPY_TOOL_VIEW_H

#include "moment.h"
#include "screen.h"

enum table_name { TABLE_CAUSES, TABLE_CONTEXTS, TABLE_PLACES, TABLES };

struct view {
    struct moment now, before; /* before.json NULL: there was none, so there are no rates */
    size_t sort[TABLES];       /* by which column */
    enum table_name focus;     /* which table the keys are for */
    bool is_live;              /* there are keys */
    bool is_held;              /* no new moments until told to go on */
    char trouble[256];         /* why there is no newer moment; empty: it is new */
    char clock[32];            /* what time it was then */
    char process[64];          /* how it was asked for, where it does not say what it is */
};

/* The next moment takes the place of this one, which becomes the one before. */
void view_advance(struct view *view, struct moment *next);

/* So many a second, between the two moments; -1: not known. */
double view_rate(const struct view *view, int64_t now, int64_t before);

/* Fills the screen. */
void view_draw(const struct view *view, struct screen *screen);

/* Draws the three tables into the lines that are left, but for `below`. */
void tables_draw(const struct view *view, struct screen *screen, size_t below);

/* Goes to the next column by which the table that has the focus can be sorted. */
void tables_sort_next(struct view *view);

/* By what that is now. */
const char *tables_sorted_by(const struct view *view);

#endif
