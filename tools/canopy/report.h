/*
 * report.h - what was read of a process is written, as the commands of a process that answers
 * itself write it: the parts of process.c.
 */
#ifndef CANOPY_TOOL_REPORT_H
#define CANOPY_TOOL_REPORT_H

#include "inspect/sink.h"
#include "names.h"
#include "sums.h"
#include "told.h"

struct report {
    struct sink sink;
    struct image image;
    struct all_told all;
    struct names *names;
    bool is_json;
};

/* Where a place is in code. */
void report_place(struct report *report, const void *place);
void report_place_quoted(struct report *report, const void *place);

/* An id, or where there is none an address. */
void report_id(struct report *report, uint64_t id, bool has_note);

static inline void report_count(struct report *report, const char *name, uint64_t count)
{
    sink_text(&report->sink, name);
    sink_id(&report->sink, count);
}

static inline void report_number(struct report *report, const char *name, int64_t number)
{
    sink_text(&report->sink, name);
    sink_number(&report->sink, number);
}

/* All contexts, as a tree or as JSON. */
void report_tree(struct report *report);
void report_json(struct report *report);

/* One, in some lines or as an object. */
void report_context(struct report *report, const struct told *told);
void report_json_context(struct report *report, const struct told *told);

void report_leaks(struct report *report, int64_t older_than_ns);
void report_stats(struct report *report, const canopy_stats *stats);
void report_causes(struct report *report, const struct cause_sum *causes, size_t count);

#endif
