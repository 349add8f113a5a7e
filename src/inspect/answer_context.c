/*
 * answer_context.c - the command `context`: all that is known of one.
 */
#include <errno.h>

#include "inspect/answer.h"
#include "inspect/dump.h"

static void json_context(struct sink *sink, const canopy_info *info)
{
    const void *named[SINK_NAMED] = {NULL};
    sink->named = named;
    answer_json_begin(sink);
    sink_text(sink, ",\"context\":");
    dump_json_context(sink, info);
    sink_text(sink, "}\n");
    sink->named = NULL;
}

static void write_place(struct sink *sink, const char *name, int32_t tid, const void *place)
{
    sink_text(sink, name);
    sink_number(sink, tid);
    if (place) {
        sink_text(sink, " at ");
        sink_place(sink, place);
    }
    sink_char(sink, '\n');
}

static void write_line(struct sink *sink, const char *name, uint64_t count)
{
    put_count(sink, name, count);
    sink_char(sink, '\n');
}

/* How long ago, or in how long. */
static void write_time(struct sink *sink, const char *before, int64_t time_ns, const char *after)
{
    sink_text(sink, before);
    sink_duration(sink, time_ns);
    sink_text(sink, after);
}

static void write_end(struct sink *sink, const canopy_info *info, int64_t now_ns)
{
    sink_text(sink, info->err == -ETIMEDOUT ? "timed out: " : "canceled: ");
    sink_quoted(sink, info->cause.text ? info->cause.text : "");
    sink_text(sink, " (");
    sink_number(sink, info->cause.code);
    sink_text(sink, ")\n");
    if (info->ended_by)
        write_line(sink, "ended by ", info->ended_by);
    if (info->ended_tid) {
        write_time(sink, "ended ", now_ns - info->ended_ns, " ago");
        write_place(sink, " by thread ", info->ended_tid, info->ended_at);
    }
}

static void write_whose(struct sink *sink, const canopy_info *info)
{
    sink_text(sink, sink_kind_name(info->kind));
    sink_char(sink, ' ');
    if (info->name) {
        sink_quoted(sink, info->name);
        sink_char(sink, ' ');
    }
    write_line(sink, "", info->id);
    if (info->parent_id)
        write_line(sink, "parent ", info->parent_id);
}

static void write_context(struct sink *sink, const canopy_info *info, int64_t now_ns)
{
    write_whose(sink, info);
    write_time(sink, "made ", now_ns - info->made_ns, " ago");
    write_place(sink, " by thread ", info->made_tid, info->made_at);
    if (info->err)
        write_end(sink, info, now_ns);
    else if (info->deadline_ns != CANOPY_NEVER)
        write_time(sink, "due in ", info->deadline_ns - now_ns, "\n");
    write_line(sink, "handles ", info->handles);
    write_line(sink, "children ", info->children);
    write_line(sink, "callbacks ", info->callbacks);
    if (info->is_waited)
        sink_text(sink, "a thread waits for it\n");
    if (info->has_fd)
        sink_text(sink, "it has an fd\n");
}

int answer_context(struct answer *answer)
{
    struct word word;
    uint64_t id;
    bool is_json = false;
    canopy_info info;
    if (!words_next(&answer->words, &word) || !word_number(&word, &id) ||
        !answer_format(answer, &is_json))
        return answer_usage(answer);
    if (canopy_inspect(id, &info, sizeof info) != 0)
        return answer_refuse(answer, -ESRCH, "no such context");
    if (is_json)
        json_context(answer->sink, &info);
    else
        write_context(answer->sink, &info, clock_now_ns());
    return 0;
}
