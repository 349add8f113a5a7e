/*
 * report_json.c - contexts as JSON, as inspect/dump.c writes them: flat, ids as strings.
 */
#include "report.h"

static void json_id(struct report *report, const char *name, uint64_t id, bool has_note)
{
    sink_text(&report->sink, name);
    report_id(report, id, has_note);
    sink_char(&report->sink, '"');
}

static void json_place(struct report *report, const char *at, const char *in, const void *place)
{
    sink_text(&report->sink, at);
    sink_hex(&report->sink, (uintptr_t)place);
    sink_text(&report->sink, in);
    report_place_quoted(report, place);
}

static void json_text(struct report *report, const char *name, const char *text)
{
    sink_text(&report->sink, name);
    sink_quoted(&report->sink, text);
}

static void json_note(struct report *report, const canopy_info *info)
{
    if (info->name)
        json_text(report, ",\"name\":", info->name);
    report_number(report, ",\"made_ns\":", info->made_ns);
    report_number(report, ",\"made_tid\":", info->made_tid);
    json_place(report, ",\"made_at\":\"", "\",\"made_in\":", info->made_at);
}

static void json_end(struct report *report, const canopy_info *info, bool has_note)
{
    report_number(report, ",\"err\":", info->err);
    if (info->cause.text)
        json_text(report, ",\"cause\":", info->cause.text);
    report_number(report, ",\"code\":", info->cause.code);
    if (info->ended_by)
        json_id(report, ",\"ended_by\":\"", info->ended_by, has_note);
    if (info->ended_tid) {
        report_number(report, ",\"ended_ns\":", info->ended_ns);
        report_number(report, ",\"ended_tid\":", info->ended_tid);
    }
    if (info->ended_at)
        json_place(report, ",\"ended_at\":\"", "\",\"ended_in\":", info->ended_at);
}

static void json_told(struct report *report, const struct told *told)
{
    bool has_note = told_has_note(&report->all, told);
    canopy_info info;
    told_fill(&report->all, told, &info);
    json_id(report, "{\"id\":\"", info.id, has_note);
    if (info.parent_id)
        json_id(report, ",\"parent\":\"", info.parent_id, has_note);
    json_text(report, ",\"kind\":", sink_kind_name(info.kind));
    if (has_note)
        json_note(report, &info);
    if (info.deadline_ns != CANOPY_NEVER)
        report_number(report, ",\"deadline_ns\":", info.deadline_ns);
    report_count(report, ",\"handles\":", info.handles);
    report_count(report, ",\"children\":", info.children);
    report_count(report, ",\"callbacks\":", info.callbacks);
    if (info.is_waited)
        sink_text(&report->sink, ",\"is_waited\":true");
    if (info.has_fd)
        sink_text(&report->sink, ",\"has_fd\":true");
    if (info.err)
        json_end(report, &info, has_note);
    sink_char(&report->sink, '}');
}

void report_json(struct report *report)
{
    const char *before = ",\"contexts\":[\n";
    for (size_t i = 0; i < report->all.count && !report->sink.err; i++, before = ",\n") {
        sink_text(&report->sink, before);
        json_told(report, &report->all.list[i]);
    }
    sink_text(&report->sink, report->all.count > 0 ? "\n]}\n" : ",\"contexts\":[\n\n]}\n");
}

void report_json_context(struct report *report, const struct told *told)
{
    sink_text(&report->sink, ",\"context\":");
    json_told(report, told);
    sink_text(&report->sink, "}\n");
}
