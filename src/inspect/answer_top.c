/*
 * answer_top.c - the command `top`: in one object of bounded size what a screen needs that is
 * drawn anew every second.
 */
#include <errno.h>
#include <unistd.h>

#include "inspect/answer.h"
#include "inspect/dump.h"
#include "inspect/stats.h"

/* The oldest, that first, of what has nothing below it: of what is at work, not of what keeps it.
 */
struct oldest {
    canopy_info infos[ANSWER_MOST];
    size_t used;
};

static void oldest_add(struct oldest *oldest, const canopy_info *info)
{
    canopy_info *infos = oldest->infos;
    size_t i = oldest->used;
    if (i == ANSWER_MOST) {
        if (info->made_ns >= infos[i - 1].made_ns)
            return;
        i--;
    } else {
        oldest->used++;
    }
    for (; i > 0 && infos[i - 1].made_ns > info->made_ns; i--)
        infos[i] = infos[i - 1];
    infos[i] = *info;
}

static bool is_at_work(const canopy_info *info)
{
    return info->children == 0 &&
           (info->kind == CANOPY_KIND_CANCEL || info->kind == CANOPY_KIND_ANY);
}

static void oldest_find(struct oldest *oldest)
{
    canopy_walk walk = {.info_bytes = sizeof(canopy_info), .live_only = true};
    canopy_info infos[DUMP_INFOS];
    oldest->used = 0;
    for (int count; (count = canopy_walk_next(&walk, infos, DUMP_INFOS)) > 0;)
        for (int i = 0; i < count; i++)
            if (is_at_work(&infos[i]))
                oldest_add(oldest, &infos[i]);
}

static void put_oldest(struct sink *sink)
{
    struct oldest oldest = {0};
    const char *before = "";
    oldest_find(&oldest);
    sink_text(sink, ",\"oldest\":[");
    for (size_t i = 0; i < oldest.used; i++, before = ",\n") {
        const void *named[SINK_NAMED] = {NULL}; /* each place has its name */
        sink_text(sink, before);
        sink->named = named;
        dump_json_context(sink, &oldest.infos[i]);
        sink->named = NULL;
    }
    sink_char(sink, ']');
}

int answer_top(struct answer *answer)
{
    struct sink *sink = answer->sink;
    struct word word;
    canopy_cause_count counts[ANSWER_MOST];
    if (words_next(&answer->words, &word))
        return answer_usage(answer);
    int count = causes_of_all(counts, ANSWER_MOST);
    if (count < 0)
        return answer_refuse(answer, count, "no memory");
    answer_json_begin(sink);
    sink_text(sink, ",\"pid\":");
    sink_number(sink, getpid());
    put_text(sink, ",\"program\":", program_invocation_short_name);
    answer_put_stats(sink);
    answer_put_causes(sink, counts, count < ANSWER_MOST ? (size_t)count : ANSWER_MOST);
    put_oldest(sink);
    answer_put_leaks(sink, 0);
    sink_text(sink, "}\n");
    return 0;
}
