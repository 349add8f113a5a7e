/*
 * answer.h - the commands that canopy_answer takes, each in a function; answer.c has the table.
 */
#ifndef CANOPY_ANSWER_H
#define CANOPY_ANSWER_H

#include <string.h>

#include "base/base.h"
#include "inspect/sink.h"
#include "inspect/words.h"

/* A command is no longer, without its end. */
#define COMMAND_BYTES 4096

/* So many of each are told where there may be very many. */
#define ANSWER_MOST 50

/* What one answer needs. */
struct answer {
    struct sink *sink;
    struct words words; /* what comes after the command's name */
    const char *usage;  /* how the command is written */
    unsigned flags;
};

/* Says in a line why not: `err`. */
int answer_refuse(const struct answer *answer, int err, const char *why);

/* How the command is written: -EINVAL. */
int answer_usage(const struct answer *answer);

/*
 * What a call said that wrote to the sink by itself, through the relay, which takes the sink: it
 * is out of memory, or the sink has failed.
 */
int answer_relay(void *sink, const char *bytes, size_t n);
int answer_written(const struct answer *answer, int err);

/* Whether the rest of the command says nothing, or `json`. False: it says something else. */
bool answer_format(struct answer *answer, bool *is_json);

/* What each JSON answer begins with: an object, its first two members in it. */
void answer_json_begin(struct sink *sink);

/* A member of an object; `name` as it stands, with quotes and what comes before. */
static inline void put_count(struct sink *sink, const char *name, uint64_t count)
{
    sink_text(sink, name);
    sink_id(sink, count);
}

static inline void put_text(struct sink *sink, const char *name, const char *text)
{
    sink_text(sink, name);
    sink_quoted(sink, text);
}

/* The commands. 0, or a negative errno once a line says why. */
int answer_stats(struct answer *answer);
int answer_causes(struct answer *answer);
int answer_leaks(struct answer *answer);
int answer_context(struct answer *answer);
int answer_cancel(struct answer *answer);
int answer_trace(struct answer *answer);
int answer_top(struct answer *answer);

/* Parts of what `top` tells, as members of an object that others have come before. */
void answer_put_stats(struct sink *sink);
void answer_put_causes(struct sink *sink, const canopy_cause_count counts[], size_t n);
void answer_put_leaks(struct sink *sink, int64_t older_than_ns);

#endif
