/*
 * view.c - the screen of `top` from above: which process, how much, how fast, how late, the
 * tables, the keys.
 */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>

void view_advance(struct view *view, struct moment *next)
{
    moment_free(&view->before);
    view->before = view->now;
    view->now = *next;
    next->json = NULL;
}

/* Of another process, or of no time at all, there is no rate. */
double view_rate(const struct view *view, int64_t now, int64_t before)
{
    int64_t elapsed_ns = view->now.now_ns - view->before.now_ns;
    if (!view->before.json || view->before.pid != view->now.pid || elapsed_ns <= 0 || now < before)
        return -1;
    return (double)(now - before) * 1e9 / (double)elapsed_ns;
}

/* ------------------------------------------------------------------------------ pieces */

static void print_rate(const struct view *view, const struct screen *screen, struct line *line,
                       const char *what, int64_t now, int64_t before)
{
    double rate = view_rate(view, now, before);
    if (rate < 0)
        line_print(screen, line, "%s -/s  ", what);
    else if (rate == 0 || (rate >= 9.95 && rate < 9999.5))
        line_print(screen, line, "%s %.0f/s  ", what, rate);
    else if (rate < 9.95)
        line_print(screen, line, "%s %.1f/s  ", what, rate);
    else if (rate < 999950)
        line_print(screen, line, "%s %.1f k/s  ", what, rate / 1e3);
    else
        line_print(screen, line, "%s %.1f M/s  ", what, rate / 1e6);
}

/* The least bucket that has so much of all in it and below it, as text. */
static const char *late_within(const struct counts *counts, double share, char text[HUMAN_BYTES])
{
    int64_t all = 0, below = 0;
    for (size_t i = 0; i < LATE_BUCKETS; i++)
        all += counts->late[i];
    for (size_t i = 0; i + 1 < LATE_BUCKETS; i++) {
        below += counts->late[i];
        if ((double)below >= share * (double)all)
            return human_duration(text, INT64_C(1000) << i);
    }
    return human_duration(text, counts->late_max_ns);
}

/* ------------------------------------------------------------------------------- lines */

static void draw_title(const struct view *view, struct screen *screen)
{
    struct line *line = screen_line(screen, STYLE_TITLE);
    line_print(screen, line, "canopy top   %s [%" PRId64 "]   %s%s",
               view->now.program ? view->now.program : view->process, view->now.pid, view->clock,
               view->is_held ? "   held" : "");
}

static void draw_contexts(const struct view *view, struct screen *screen)
{
    const struct counts *now = &view->now.counts, *before = &view->before.counts;
    char live[HUMAN_BYTES], memory[HUMAN_BYTES];
    struct line *line = screen_line(screen, STYLE_PLAIN);
    line_print(screen, line, "contexts   %s live, %s  ", human_number(live, now->live),
               human_bytes(memory, now->memory_bytes));
    print_rate(view, screen, line, "made", now->made, before->made);
    print_rate(view, screen, line, "gone", now->gone, before->gone);
}

static void draw_ends(const struct view *view, struct screen *screen)
{
    const struct counts *now = &view->now.counts, *before = &view->before.counts;
    struct line *line = screen_line(screen, STYLE_PLAIN);
    line_print(screen, line, "ends       ");
    print_rate(view, screen, line, "cancels", now->cancels, before->cancels);
    print_rate(view, screen, line, "contexts", now->ended, before->ended);
    print_rate(view, screen, line, "born done", now->born_done, before->born_done);
    print_rate(view, screen, line, "callbacks", now->callbacks, before->callbacks);
}

static void draw_deadlines(const struct view *view, struct screen *screen)
{
    const struct counts *now = &view->now.counts;
    char half[HUMAN_BYTES], most[HUMAN_BYTES], all[HUMAN_BYTES];
    struct line *line = screen_line(screen, STYLE_PLAIN);
    line_print(screen, line, "deadlines  ");
    print_rate(view, screen, line, "fired", now->expired, view->before.counts.expired);
    if (now->expired > 0)
        line_print(screen, line, "late so far: half up to %s, 99 %% %s, all %s",
                   late_within(now, 0.5, half), late_within(now, 0.99, most),
                   human_duration(all, now->late_max_ns));
}

/* Why there may be nothing to see, or nothing new. */
static void draw_trouble(const struct view *view, struct screen *screen)
{
    if (view->trouble[0])
        line_print(screen, screen_line(screen, STYLE_WARNING), "NOT NEW, as of %s: %s", view->clock,
                   view->trouble);
    else if (view->now.counts.made == 0)
        line_print(screen, screen_line(screen, STYLE_WARNING),
                   "no root keeps notes (canopy_config.inspect): there is little to see");
}

void view_draw(const struct view *view, struct screen *screen)
{
    draw_title(view, screen);
    draw_trouble(view, screen);
    draw_contexts(view, screen);
    draw_ends(view, screen);
    draw_deadlines(view, screen);
    tables_draw(view, screen, view->is_live ? 2 : 0);
    if (!view->is_live)
        return;
    while (screen->used + 1 < screen->rows)
        screen_line(screen, STYLE_PLAIN);
    line_print(screen, screen_line(screen, STYLE_TITLE),
               "q quit   s sort (by %s)   Tab next table   space %s", tables_sorted_by(view),
               view->is_held ? "go on" : "hold");
}
