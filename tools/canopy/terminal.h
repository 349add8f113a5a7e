/*
 * terminal.h - a terminal whose screen is drawn on, by ncurses.
 */
#ifndef CANOPY_TOOL_TERMINAL_H
#define CANOPY_TOOL_TERMINAL_H

#include "view.h"

enum { KEY_NONE = -1, KEY_GONE = -2, KEY_OTHER = -3 };

/* False: it cannot be drawn on. */
bool terminal_open(void);
void terminal_close(void);

/* Draws the view, as large as the terminal is now; what has not changed is not sent. */
void terminal_show(const struct view *view, struct screen *screen);

/* The next key, KEY_OTHER if there is only the screen to be drawn anew, or KEY_GONE. */
int terminal_key(short revents);

#endif
