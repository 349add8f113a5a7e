/*
 * terminal.c - lines and their styles go to ncurses; see terminal.h.
 */
#include "terminal.h"

#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>

static attr_t attributes[STYLE_COUNT] = {
    [STYLE_PLAIN] = A_NORMAL,           [STYLE_TITLE] = A_BOLD,   [STYLE_HEADING] = A_REVERSE,
    [STYLE_FOCUS] = A_REVERSE | A_BOLD, [STYLE_WARNING] = A_BOLD,
};

static SCREEN *terminal;

static void colour(enum style style, short pair, short ink, short paper)
{
    if (init_pair(pair, ink, paper) == OK)
        attributes[style] = (attributes[style] & ~A_REVERSE) | (attr_t)COLOR_PAIR(pair);
}

/* https://no-color.org: who sets NO_COLOR, to anything, wants none. */
static void set_colours(void)
{
    const char *unwanted = getenv("NO_COLOR");
    if ((unwanted && *unwanted) || !has_colors() || start_color() != OK ||
        use_default_colors() != OK)
        return;
    colour(STYLE_HEADING, 1, COLOR_BLACK, COLOR_CYAN);
    colour(STYLE_FOCUS, 2, COLOR_BLACK, COLOR_GREEN);
    colour(STYLE_WARNING, 3, COLOR_RED, -1);
}

bool terminal_open(void)
{
    terminal = newterm(NULL, stdout, stdin);
    if (!terminal)
        return false;
    set_colours();
    cbreak();
    noecho();
    nonl();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    return true;
}

void terminal_close(void)
{
    endwin();
    delscreen(terminal);
}

void terminal_show(const struct view *view, struct screen *screen)
{
    screen_open(screen, (size_t)LINES, (size_t)COLS);
    view_draw(view, screen);
    erase();
    for (size_t i = 0; i < screen->used; i++) {
        attrset(attributes[screen->lines[i].style]);
        mvaddstr((int)i, 0, screen->lines[i].text);
    }
    attrset(A_NORMAL);
    refresh();
}

int terminal_key(short revents)
{
    int key = getch();
    if (key == ERR)
        return revents & (POLLHUP | POLLERR | POLLNVAL) ? KEY_GONE : KEY_NONE;
    return key == KEY_RESIZE ? KEY_OTHER : key;
}
