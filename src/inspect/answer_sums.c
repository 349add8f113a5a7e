/*
 * answer_sums.c - the commands `stats` and `causes`: what was counted, over all roots.
 */
#include <errno.h>

#include "inspect/answer.h"
#include "inspect/stats.h"

/* ------------------------------------------------------------------------ stats */

/* The counts by name, as JSON and people have them. */
#define COUNTS(X)                                                                                  \
    X(live)                                                                                        \
    X(memory_bytes) X(made) X(gone) X(born_done) X(cancels) X(ended) X(callbacks) X(expired)

void answer_put_stats(struct sink *sink)
{
    canopy_stats stats;
    stats_of_all(&stats);
    const char *before = "";
    sink_text(sink, ",\"stats\":{");
#define PUT(name) put_count(sink, "\"" #name "\":", stats.name), sink_char(sink, ',');
    COUNTS(PUT)
#undef PUT
    put_count(sink, "\"late_max_ns\":", (uint64_t)stats.late_max_ns);
    sink_text(sink, ",\"late\":[");
    for (size_t i = 0; i < CANOPY_LATE_BUCKETS; i++, before = ",")
        put_count(sink, before, stats.late[i]);
    sink_text(sink, "]}");
}

/* How late deadlines were: what there is, by powers of two of a microsecond. */
static void write_late(struct sink *sink, const canopy_stats *stats)
{
    sink_text(sink, "late_max ");
    sink_duration(sink, stats->late_max_ns);
    sink_char(sink, '\n');
    for (size_t i = 0; i < CANOPY_LATE_BUCKETS; i++) {
        if (stats->late[i] == 0)
            continue;
        bool is_last = i + 1 == CANOPY_LATE_BUCKETS;
        sink_text(sink, is_last ? "late more than " : "late up to ");
        put_count(sink, "", UINT64_C(1) << (is_last ? i - 1 : i));
        put_count(sink, " us: ", stats->late[i]);
        sink_char(sink, '\n');
    }
}

int answer_stats(struct answer *answer)
{
    struct sink *sink = answer->sink;
    canopy_stats stats;
    bool is_json = false;
    if (!answer_format(answer, &is_json))
        return answer_usage(answer);
    if (is_json) {
        answer_json_begin(sink);
        answer_put_stats(sink);
        sink_text(sink, "}\n");
        return 0;
    }
    stats_of_all(&stats);
#define PUT(name) put_count(sink, #name " ", stats.name), sink_char(sink, '\n');
    COUNTS(PUT)
#undef PUT
    write_late(sink, &stats);
    return 0;
}

/* ----------------------------------------------------------------------- causes */

/* So many are told, those that ended most. */
#define CAUSES_MOST 200

static void put_cause(struct sink *sink, const canopy_cause_count *count)
{
    put_count(sink, "{\"cancels\":", count->cancels);
    put_count(sink, ",\"ended\":", count->ended);
    if (count->cause) {
        sink_text(sink, ",\"code\":");
        sink_number(sink, count->cause->code);
        if (count->cause->text)
            put_text(sink, ",\"cause\":", count->cause->text);
    } else {
        sink_text(sink, ",\"others\":true");
    }
    sink_char(sink, '}');
}

void answer_put_causes(struct sink *sink, const canopy_cause_count counts[], size_t n)
{
    const char *before = "";
    sink_text(sink, ",\"causes\":[");
    for (size_t i = 0; i < n; i++, before = ",") {
        sink_text(sink, before);
        put_cause(sink, &counts[i]);
    }
    sink_char(sink, ']');
}

/* "ended in cancels: cause (code)", a line each. */
static void write_cause(struct sink *sink, const canopy_cause_count *count)
{
    put_count(sink, "", count->ended);
    put_count(sink, " ended by ", count->cancels);
    sink_text(sink, ": ");
    if (!count->cause) {
        sink_text(sink, "others\n");
        return;
    }
    sink_quoted(sink, count->cause->text ? count->cause->text : "");
    sink_text(sink, " (");
    sink_number(sink, count->cause->code);
    sink_text(sink, ")\n");
}

static void write_causes(struct sink *sink, const canopy_cause_count counts[], size_t n,
                         uint64_t more)
{
    for (size_t i = 0; i < n; i++)
        write_cause(sink, &counts[i]);
    if (more > 0) {
        put_count(sink, "and ", more);
        sink_text(sink, " more causes\n");
    }
}

static void json_causes(struct sink *sink, const canopy_cause_count counts[], size_t n,
                        uint64_t more)
{
    answer_json_begin(sink);
    answer_put_causes(sink, counts, n);
    put_count(sink, ",\"more\":", more);
    sink_text(sink, "}\n");
}

int answer_causes(struct answer *answer)
{
    struct sink *sink = answer->sink;
    canopy_cause_count counts[CAUSES_MOST];
    bool is_json = false;
    if (!answer_format(answer, &is_json))
        return answer_usage(answer);
    int count = causes_of_all(counts, CAUSES_MOST);
    if (count < 0)
        return answer_refuse(answer, count, "no memory");
    int told = count < CAUSES_MOST ? count : CAUSES_MOST;
    (is_json ? json_causes : write_causes)(sink, counts, (size_t)told, (uint64_t)(count - told));
    return 0;
}
