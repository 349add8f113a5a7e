/*
 * answer_top.c - the command `top`: in one object of bounded size what a screen needs that is
 * drawn anew every second.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "inspect/answer.h"
#include "inspect/dump.h"
#include "inspect/everywhere.h"

/* Leaks are what has been there for longer. */
#define LEAK_NS INT64_C(10000000000)

/* The oldest, that first. */
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

static void oldest_find(struct oldest *oldest)
{
    canopy_walk walk = {.info_bytes = sizeof(canopy_info), .live_only = true};
    canopy_info infos[DUMP_INFOS];
    oldest->used = 0;
    for (int count; (count = canopy_walk_next(&walk, infos, DUMP_INFOS)) > 0;)
        for (int i = 0; i < count; i++)
            oldest_add(oldest, &infos[i]);
}

static void put_oldest(struct sink *sink)
{
    struct oldest oldest;
    const char *before = "";
    oldest_find(&oldest);
    sink_text(sink, ",\"contexts\":[");
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
    canopy_cause_count *counts;
    if (words_next(&answer->words, &word))
        return answer_usage(answer);
    int count = causes_everywhere(&counts);
    if (count < 0)
        return answer_refuse(answer, count, "no memory");
    answer_json_begin(sink);
    sink_text(sink, ",\"pid\":");
    sink_number(sink, getpid());
    put_text(sink, ",\"program\":", program_invocation_short_name);
    answer_put_stats(sink);
    answer_put_causes(sink, counts, count < ANSWER_MOST ? (size_t)count : ANSWER_MOST);
    free(counts);
    put_oldest(sink);
    answer_put_leaks(sink, LEAK_NS);
    sink_text(sink, "}\n");
    return 0;
}
