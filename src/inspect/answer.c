/*
 * answer.c - a command of the `canopy` tool is read, and answered by whoever it names.
 */
#include "inspect/answer.h"

#include <errno.h>

#define ANSWER_FLAGS CANOPY_ANSWER_CANCEL

int answer_refuse(const struct answer *answer, int err, const char *why)
{
    sink_text(answer->sink, why);
    sink_char(answer->sink, '\n');
    return err;
}

int answer_usage(const struct answer *answer)
{
    sink_text(answer->sink, "usage: ");
    return answer_refuse(answer, -EINVAL, answer->usage);
}

int answer_written(const struct answer *answer, int err)
{
    if (err == -ENOMEM && answer->sink->err == 0)
        return answer_refuse(answer, err, "no memory");
    answer->sink->err = err;
    return err;
}

int answer_relay(void *user, const char *bytes, size_t n)
{
    struct sink *sink = user;
    sink->err = sink->write(sink->user, bytes, n);
    return sink->err;
}

bool answer_format(struct answer *answer, bool *is_json)
{
    struct word word;
    if (!words_next(&answer->words, &word))
        return true;
    *is_json = true;
    return word_is(&word, "json") && !words_next(&answer->words, &word);
}

void answer_json_begin(struct sink *sink)
{
    sink_text(sink, "{\"canopy\":1,\"now_ns\":");
    sink_number(sink, clock_now_ns());
}

/* --------------------------------------------------------------------- commands */

static int answer_help(struct answer *answer);

static int dump(struct answer *answer, canopy_format format)
{
    return answer_written(answer, canopy_dump(NULL, format, answer_relay, answer->sink));
}

static int answer_tree(struct answer *answer)
{
    struct word word;
    return words_next(&answer->words, &word) ? answer_usage(answer)
                                             : dump(answer, CANOPY_FORMAT_TEXT);
}

static int answer_dump(struct answer *answer)
{
    static const char *const formats[] = {[CANOPY_FORMAT_TEXT] = "text",
                                          [CANOPY_FORMAT_JSON] = "json",
                                          [CANOPY_FORMAT_DOT] = "dot",
                                          [CANOPY_FORMAT_HTML] = "html"};
    struct word word, more;
    if (!words_next(&answer->words, &word) || words_next(&answer->words, &more))
        return answer_usage(answer);
    for (canopy_format format = CANOPY_FORMAT_TEXT; format <= CANOPY_FORMAT_HTML; format++)
        if (word_is(&word, formats[format]))
            return dump(answer, format);
    return answer_usage(answer);
}

static const struct command {
    const char *name;
    int (*answer)(struct answer *answer);
    const char *usage;
} commands[] = {
    {"help", answer_help, "help"},
    {"top", answer_top, "top"},
    {"tree", answer_tree, "tree"},
    {"dump", answer_dump, "dump text|json|dot|html"},
    {"leaks", answer_leaks, "leaks AGE [json]   (AGE: 30, 500ms, 2m: ns us ms s m h)"},
    {"causes", answer_causes, "causes [json]"},
    {"stats", answer_stats, "stats [json]"},
    {"context", answer_context, "context ID [json]"},
    {"cancel", answer_cancel, "cancel ID [TEXT]"},
    {"trace", answer_trace, "trace start [BYTES]|stop|write"},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static int answer_help(struct answer *answer)
{
    struct word word;
    if (words_next(&answer->words, &word))
        return answer_usage(answer);
    for (size_t i = 0; i < COMMANDS; i++) {
        sink_text(answer->sink, commands[i].usage);
        sink_char(answer->sink, '\n');
    }
    return 0;
}

/* ------------------------------------------------------------------------- all */

/* Up to its end or the line's; more than a command may have: it goes on. */
static size_t line_bytes(const char *command)
{
    size_t bytes = 0;
    while (bytes <= COMMAND_BYTES && command[bytes] && command[bytes] != '\n')
        bytes++;
    return bytes;
}

static int answer_line(struct answer *answer)
{
    struct word name;
    if (answer->words.end - answer->words.at > COMMAND_BYTES)
        return answer_refuse(answer, -EINVAL, "a command has at most 4096 bytes");
    if (words_next(&answer->words, &name))
        for (size_t i = 0; i < COMMANDS; i++)
            if (word_is(&name, commands[i].name)) {
                answer->usage = commands[i].usage;
                return commands[i].answer(answer);
            }
    return answer_refuse(answer, -EINVAL, "no such command; \"help\" lists them");
}

int canopy_answer(const char *command, unsigned flags, canopy_sink_fn write, void *user)
{
    struct sink sink;
    if (!command || !write || (flags & ~ANSWER_FLAGS))
        return -EINVAL;
    sink_open(&sink, write, user);
    struct answer answer = {
        .sink = &sink, .words = {command, command + line_bytes(command)}, .flags = flags};
    int err = answer_line(&answer);
    return sink_flush(&sink) ? sink.err : err;
}
