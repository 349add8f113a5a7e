/*
 * report_sums.c - what was counted, and which contexts have been there for long, written as
 * a process that answers itself writes them.
 */
#include <stdlib.h>

#include "report.h"

/* So many places are told; what finds no room is added to the last. */
#define LEAKS_MOST 50

/* ------------------------------------------------------------------------ stats */

#define COUNTS(X)                                                                                  \
    X(live)                                                                                        \
    X(memory_bytes) X(made) X(gone) X(born_done) X(cancels) X(ended) X(callbacks) X(expired)

static void json_stats(struct report *report, const canopy_stats *stats)
{
    const char *before = "";
    sink_text(&report->sink, ",\"stats\":{");
#define PUT(name)                                                                                  \
    report_count(report, "\"" #name "\":", stats->name), sink_char(&report->sink, ',');
    COUNTS(PUT)
#undef PUT
    report_number(report, "\"late_max_ns\":", stats->late_max_ns);
    sink_text(&report->sink, ",\"late\":[");
    for (size_t i = 0; i < CANOPY_LATE_BUCKETS; i++, before = ",")
        report_count(report, before, stats->late[i]);
    sink_text(&report->sink, "]}}\n");
}

/* How late deadlines were: what there is, by powers of two of a microsecond. */
static void write_late(struct report *report, const canopy_stats *stats)
{
    sink_text(&report->sink, "late_max ");
    sink_duration(&report->sink, stats->late_max_ns);
    sink_char(&report->sink, '\n');
    for (size_t i = 0; i < CANOPY_LATE_BUCKETS; i++) {
        bool is_last = i + 1 == CANOPY_LATE_BUCKETS;
        if (stats->late[i] == 0)
            continue;
        report_count(report, is_last ? "late more than " : "late up to ",
                     UINT64_C(1) << (is_last ? i - 1 : i));
        report_count(report, " us: ", stats->late[i]);
        sink_char(&report->sink, '\n');
    }
}

void report_stats(struct report *report, const canopy_stats *stats)
{
    if (report->is_json) {
        json_stats(report, stats);
        return;
    }
#define PUT(name) report_count(report, #name " ", stats->name), sink_char(&report->sink, '\n');
    COUNTS(PUT)
#undef PUT
    write_late(report, stats);
}

/* ----------------------------------------------------------------------- causes */

static void json_cause(struct report *report, const struct cause_sum *sum, canopy_cause cause)
{
    report_count(report, "{\"cancels\":", sum->cancels);
    report_count(report, ",\"ended\":", sum->ended);
    if (!sum->address) {
        sink_text(&report->sink, ",\"others\":true}");
        return;
    }
    report_number(report, ",\"code\":", cause.code);
    if (cause.text) {
        sink_text(&report->sink, ",\"cause\":");
        sink_quoted(&report->sink, cause.text);
    }
    sink_char(&report->sink, '}');
}

static void write_cause(struct report *report, const struct cause_sum *sum, canopy_cause cause)
{
    report_count(report, "", sum->ended);
    report_count(report, " ended by ", sum->cancels);
    if (!sum->address) {
        sink_text(&report->sink, ": others\n");
        return;
    }
    sink_text(&report->sink, ": ");
    sink_quoted(&report->sink, cause.text ? cause.text : "");
    report_number(report, " (", cause.code);
    sink_text(&report->sink, ")\n");
}

void report_causes(struct report *report, const struct cause_sum *causes, size_t count)
{
    const char *before = ",\"causes\":[";
    for (size_t i = 0; i < count; i++, before = ",") {
        canopy_cause cause = texts_cause(&report->all.texts, causes[i].address);
        if (report->is_json) {
            sink_text(&report->sink, before);
            json_cause(report, &causes[i], cause);
        } else {
            write_cause(report, &causes[i], cause);
        }
    }
    if (report->is_json)
        sink_text(&report->sink, count > 0 ? "],\"more\":0}\n" : ",\"causes\":[],\"more\":0}\n");
}

/* ------------------------------------------------------------------------ leaks */

struct leaks {
    canopy_leak list[LEAKS_MOST];
    size_t used;
};

static canopy_leak *leak_of(struct leaks *leaks, const canopy_info *info)
{
    for (size_t i = 0; i < leaks->used; i++)
        if (leaks->list[i].made_at == info->made_at && leaks->list[i].name == info->name)
            return &leaks->list[i];
    if (leaks->used < LEAKS_MOST) {
        leaks->list[leaks->used] = (canopy_leak){.name = info->name, .made_at = info->made_at};
        return &leaks->list[leaks->used++];
    }
    leaks->list[LEAKS_MOST - 1].name = NULL;
    leaks->list[LEAKS_MOST - 1].made_at = NULL;
    return &leaks->list[LEAKS_MOST - 1];
}

static void leak_add(canopy_leak *leak, const canopy_info *info)
{
    if (leak->count++ == 0 || info->made_ns < leak->oldest_ns) {
        leak->oldest_ns = info->made_ns;
        leak->oldest_id = info->id;
    }
    leak->done += info->err != 0;
}

static void leaks_gather(struct report *report, int64_t older_than_ns, struct leaks *leaks)
{
    leaks->used = 0;
    for (size_t i = 0; i < report->all.count; i++) {
        const struct told *told = &report->all.list[i];
        canopy_info info;
        if (!told_has_note(&report->all, told))
            continue;
        told_fill(&report->all, told, &info);
        if (older_than_ns <= 0 || told_now_ns(&report->all, told) - info.made_ns >= older_than_ns)
            leak_add(leak_of(leaks, &info), &info);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const canopy_leak *)a)->count, right = ((const canopy_leak *)b)->count;
    return (left < right) - (left > right);
}

static void json_leak(struct report *report, const canopy_leak *leak)
{
    report_count(report, "{\"count\":", leak->count);
    report_count(report, ",\"done\":", leak->done);
    report_number(report, ",\"oldest_ns\":", leak->oldest_ns);
    report_count(report, ",\"oldest_id\":\"", leak->oldest_id);
    sink_char(&report->sink, '"');
    if (leak->name) {
        sink_text(&report->sink, ",\"name\":");
        sink_quoted(&report->sink, leak->name);
    }
    if (leak->made_at) {
        sink_text(&report->sink, ",\"made_at\":\"");
        sink_hex(&report->sink, (uintptr_t)leak->made_at);
        sink_text(&report->sink, "\",\"made_in\":");
        report_place_quoted(report, leak->made_at);
    }
    sink_char(&report->sink, '}');
}

static void write_leak(struct report *report, const canopy_leak *leak)
{
    report_count(report, "", leak->count);
    report_count(report, " (", leak->done);
    sink_text(&report->sink, " done) ");
    if (leak->name) {
        sink_quoted(&report->sink, leak->name);
        sink_char(&report->sink, ' ');
    }
    sink_text(&report->sink, leak->made_at ? "made at " : "made elsewhere");
    if (leak->made_at)
        report_place(report, leak->made_at);
    report_count(report, ", oldest ", leak->oldest_id);
    sink_text(&report->sink, " age ");
    sink_duration(&report->sink, report->image.now_ns - leak->oldest_ns);
    sink_char(&report->sink, '\n');
}

void report_leaks(struct report *report, int64_t older_than_ns)
{
    struct leaks leaks = {0};
    leaks_gather(report, older_than_ns, &leaks);
    qsort(leaks.list, leaks.used, sizeof *leaks.list, compare);
    if (report->is_json) {
        report_number(report, ",\"older_than_ns\":", older_than_ns);
        sink_text(&report->sink, ",\"leaks\":[");
    }
    for (size_t i = 0; i < leaks.used; i++) {
        if (report->is_json && i > 0)
            sink_char(&report->sink, ',');
        if (report->is_json)
            json_leak(report, &leaks.list[i]);
        else
            write_leak(report, &leaks.list[i]);
    }
    if (report->is_json)
        sink_text(&report->sink, "]}\n");
}
