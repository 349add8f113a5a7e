/*
 * report_tree.c - contexts for people: as a tree, one a line, as inspect/text.c writes them;
 * and one of them, in some lines.
 */
#include <errno.h>

#include "report.h"

#define INDENT_MOST 40

static void write_id(struct report *report, uint64_t id, const struct told *told)
{
    report_id(report, id, told_has_note(&report->all, told));
}

static void write_duration(struct report *report, const char *before, int64_t duration_ns)
{
    sink_text(&report->sink, before);
    sink_duration(&report->sink, duration_ns);
}

static void write_cause(struct report *report, const canopy_info *info)
{
    sink_text(&report->sink, info->err == -ETIMEDOUT ? "timed out: " : "canceled: ");
    sink_quoted(&report->sink, info->cause.text ? info->cause.text : "");
}

/* ---------------------------------------------------------------------- a line */

static void write_end(struct report *report, const struct told *told, const canopy_info *info)
{
    sink_char(&report->sink, ' ');
    write_cause(report, info);
    if (info->ended_by && info->ended_by != info->id) {
        sink_text(&report->sink, ", by ");
        write_id(report, info->ended_by, told);
    }
    if (info->ended_tid)
        report_number(report, ", thread ", info->ended_tid);
    if (info->ended_at) {
        sink_text(&report->sink, ", at ");
        report_place(report, info->ended_at);
    }
}

static void write_line(struct report *report, const struct told *told, const canopy_info *info)
{
    int64_t now_ns = told_now_ns(&report->all, told);
    if (info->name)
        sink_quoted(&report->sink, info->name);
    else
        sink_text(&report->sink, sink_kind_name(info->kind));
    sink_char(&report->sink, ' ');
    write_id(report, info->id, told);
    if (told_has_note(&report->all, told)) {
        write_duration(report, " age ", now_ns - info->made_ns);
        sink_text(&report->sink, " made at ");
        report_place(report, info->made_at);
    }
    if (info->err)
        write_end(report, told, info);
    else if (info->deadline_ns != CANOPY_NEVER)
        write_duration(report, " due in ", info->deadline_ns - now_ns);
    if (info->handles == 0)
        sink_text(&report->sink, " released");
    sink_char(&report->sink, '\n');
}

static void write_told(struct report *report, const struct told *told, size_t depth)
{
    canopy_info info;
    told_fill(&report->all, told, &info);
    for (size_t i = 0; i < depth && i < INDENT_MOST; i++)
        sink_text(&report->sink, "  ");
    write_line(report, told, &info);
}

/* Depth first from one that stands at the left: down by children, on by siblings, up by parents. */
static void write_below(struct report *report, uint32_t top)
{
    struct told *list = report->all.list;
    size_t depth = 0;
    for (uint32_t at = top; at && !report->sink.err;) {
        struct told *told = &list[at - 1];
        write_told(report, told, depth);
        uint32_t next = told->first_child;
        depth += next != 0;
        while (!next && at != top) {
            next = list[at - 1].next_sibling;
            if (!next) {
                at = list[at - 1].parent;
                depth--;
            }
        }
        at = next;
    }
}

void report_tree(struct report *report)
{
    told_link(&report->all);
    for (uint32_t i = 0; i < report->all.count; i++)
        if (!report->all.list[i].parent)
            write_below(report, i + 1);
}

/* --------------------------------------------------------------------- in lines */

static void write_who(struct report *report, const char *name, int32_t tid, const void *place)
{
    report_number(report, name, tid);
    if (place) {
        sink_text(&report->sink, " at ");
        report_place(report, place);
    }
    sink_char(&report->sink, '\n');
}

static void write_whole_end(struct report *report, const struct told *told, const canopy_info *info)
{
    write_cause(report, info);
    report_number(report, " (", info->cause.code);
    sink_text(&report->sink, ")\n");
    if (info->ended_by) {
        sink_text(&report->sink, "ended by ");
        write_id(report, info->ended_by, told);
        sink_char(&report->sink, '\n');
    }
    if (info->ended_tid) {
        write_duration(report, "ended ", told_now_ns(&report->all, told) - info->ended_ns);
        write_who(report, " ago by thread ", info->ended_tid, info->ended_at);
    }
}

static void write_whose(struct report *report, const struct told *told, const canopy_info *info)
{
    sink_text(&report->sink, sink_kind_name(info->kind));
    sink_char(&report->sink, ' ');
    if (info->name) {
        sink_quoted(&report->sink, info->name);
        sink_char(&report->sink, ' ');
    }
    write_id(report, info->id, told);
    if (info->parent_id) {
        sink_text(&report->sink, "\nparent ");
        write_id(report, info->parent_id, told);
    }
    sink_char(&report->sink, '\n');
}

void report_context(struct report *report, const struct told *told)
{
    int64_t now_ns = told_now_ns(&report->all, told);
    canopy_info info;
    told_fill(&report->all, told, &info);
    write_whose(report, told, &info);
    if (told_has_note(&report->all, told)) {
        write_duration(report, "made ", now_ns - info.made_ns);
        write_who(report, " ago by thread ", info.made_tid, info.made_at);
    }
    if (info.err) {
        write_whole_end(report, told, &info);
    } else if (info.deadline_ns != CANOPY_NEVER) {
        write_duration(report, "due in ", info.deadline_ns - now_ns);
        sink_char(&report->sink, '\n');
    }
    report_count(report, "handles ", info.handles);
    report_count(report, "\nchildren ", info.children);
    report_count(report, "\ncallbacks ", info.callbacks);
    sink_text(&report->sink, info.is_waited ? "\na thread waits for it\n" : "\n");
    if (info.has_fd)
        sink_text(&report->sink, "it has an fd\n");
}
