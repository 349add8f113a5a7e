/*
 * answer_trace.c - the command `trace`: what happens is recorded, and told.
 */
#include <errno.h>

#include "inspect/answer.h"

/* A ring, unless the command says otherwise: some 8,000 events of each thread. */
#define TRACE_BYTES (UINT64_C(1) << 18)

/* In a line what came of it; of what went well nothing needs to be said. */
static int told(const struct answer *answer, int err)
{
    switch (err) {
    case 0:
        return 0;
    case -EBUSY:
        return answer_refuse(answer, err, "a trace is on");
    case -EALREADY:
        return answer_refuse(answer, err, "no trace is on");
    case -EINVAL:
        return answer_refuse(answer, err, "BYTES is a power of two from 4096 to 1073741824");
    default:
        return answer_refuse(answer, err, "no memory");
    }
}

static int start(struct answer *answer)
{
    struct word word, more;
    uint64_t bytes = TRACE_BYTES;
    if (words_next(&answer->words, &word) &&
        (!word_number(&word, &bytes) || words_next(&answer->words, &more)))
        return answer_usage(answer);
    return told(answer, canopy_trace_start(bytes));
}

static int write_all(const struct answer *answer)
{
    return answer_written(answer, canopy_trace_write(answer_relay, answer->sink));
}

int answer_trace(struct answer *answer)
{
    struct word word, more;
    if (!words_next(&answer->words, &word))
        return answer_usage(answer);
    if (word_is(&word, "start"))
        return start(answer);
    bool is_stop = word_is(&word, "stop");
    if (words_next(&answer->words, &more) || !(is_stop || word_is(&word, "write")))
        return answer_usage(answer);
    return is_stop ? told(answer, canopy_trace_stop()) : write_all(answer);
}
