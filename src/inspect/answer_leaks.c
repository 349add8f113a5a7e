/*
 * answer_leaks.c - the command `leaks`: where contexts were made that have been there for long.
 */
#include "inspect/answer.h"

static void put_leak(struct sink *sink, const canopy_leak *leak)
{
    put_count(sink, "{\"count\":", leak->count);
    put_count(sink, ",\"done\":", leak->done);
    sink_text(sink, ",\"oldest_ns\":");
    sink_number(sink, leak->oldest_ns);
    put_count(sink, ",\"oldest_id\":\"", leak->oldest_id);
    sink_char(sink, '"');
    if (leak->name)
        put_text(sink, ",\"name\":", leak->name);
    if (leak->made_at) {
        sink_text(sink, ",\"made_at\":\"");
        sink_hex(sink, (uintptr_t)leak->made_at);
        sink_text(sink, "\",\"made_in\":");
        sink_place_quoted(sink, leak->made_at);
    }
    sink_char(sink, '}');
}

void answer_put_leaks(struct sink *sink, int64_t older_than_ns)
{
    canopy_leak leaks[ANSWER_MOST];
    int count = canopy_leaks(NULL, older_than_ns, leaks, ANSWER_MOST);
    const char *before = "";
    sink_text(sink, ",\"older_than_ns\":");
    sink_number(sink, older_than_ns);
    sink_text(sink, ",\"leaks\":[");
    for (int i = 0; i < count; i++, before = ",") {
        sink_text(sink, before);
        put_leak(sink, &leaks[i]);
    }
    sink_char(sink, ']');
}

static void write_leak(struct sink *sink, const canopy_leak *leak, int64_t now_ns)
{
    put_count(sink, "", leak->count);
    put_count(sink, " (", leak->done);
    sink_text(sink, " done) ");
    if (leak->name) {
        sink_quoted(sink, leak->name);
        sink_char(sink, ' ');
    }
    if (leak->made_at) {
        sink_text(sink, "made at ");
        sink_place(sink, leak->made_at);
    } else {
        sink_text(sink, "made elsewhere");
    }
    put_count(sink, ", oldest ", leak->oldest_id);
    sink_text(sink, " age ");
    sink_duration(sink, now_ns - leak->oldest_ns);
    sink_char(sink, '\n');
}

static void write_leaks(struct sink *sink, int64_t older_than_ns)
{
    canopy_leak leaks[ANSWER_MOST];
    int count = canopy_leaks(NULL, older_than_ns, leaks, ANSWER_MOST);
    for (int i = 0; i < count; i++)
        write_leak(sink, &leaks[i], clock_now_ns());
}

int answer_leaks(struct answer *answer)
{
    struct word age;
    int64_t older_than_ns;
    bool is_json = false;
    if (!words_next(&answer->words, &age) || !word_duration(&age, &older_than_ns) ||
        !answer_format(answer, &is_json))
        return answer_usage(answer);
    if (!is_json) {
        write_leaks(answer->sink, older_than_ns);
        return 0;
    }
    answer_json_begin(answer->sink);
    answer_put_leaks(answer->sink, older_than_ns);
    sink_text(answer->sink, "}\n");
    return 0;
}
