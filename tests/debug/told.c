/*
 * told.c - the hook of told.h, and its checks.
 */
#include "told.h"

#include <stdio.h>

static void remember(const canopy_debug_report *report, void *user)
{
    struct told *told = user;
    assert_non_null(report->text);
    if (atomic_fetch_add(&told->count, 1) > 0)
        return;
    told->last = *report;
    snprintf(told->text, sizeof told->text, "%s", report->text);
}

void listen_to(struct told *told)
{
    assert_int_equal(canopy_debug_set_hook(remember, told), 0);
}

void check_told(struct told *told, canopy_debug_kind kind, const canopy_ctx *ctx, const char *call,
                const char *file, int line)
{
    unsigned count = atomic_exchange(&told->count, 0);
    if (count != 1 || told->last.kind != kind || told->last.ctx != ctx ||
        strcmp(told->last.here.call, call) != 0 || !strstr(told->text, call)) {
        print_message("%u reports; the first: kind %d, %s\n", count, (int)told->last.kind,
                      told->text);
        _fail(file, line);
    }
}

void check_place(const canopy_debug_place *place, const char *call, const char *file,
                 int place_line, int line)
{
    _assert_string_equal(place->call ? place->call : "nowhere", call, file, line);
    assert_non_null(place->address);
    if (place_line) {
        _assert_string_equal(place->file ? place->file : "unknown", file, file, line);
        _assert_int_equal((LargestIntegralType)place->line, (LargestIntegralType)place_line, file,
                          line);
    }
}
