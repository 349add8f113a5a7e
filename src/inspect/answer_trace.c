/*
 * answer_trace.c - the command `trace`: what happens is recorded, and told.
 */
#include <errno.h>

#include "inspect/answer.h"

/* Of each thread, unless the command says otherwise. */
#define TRACE_BYTES (UINT64_C(1) << 20)

static int start(struct answer *answer)
{
    struct word word, more;
    uint64_t bytes = TRACE_BYTES;
    if (words_next(&answer->words, &word) &&
        (!word_number(&word, &bytes) || words_next(&answer->words, &more)))
        return answer_usage(answer);
    return answer_refuse(answer, -ENOSYS, "no trace in this build");
}

int answer_trace(struct answer *answer)
{
    struct word word, more;
    if (!words_next(&answer->words, &word))
        return answer_usage(answer);
    if (word_is(&word, "start"))
        return start(answer);
    if (words_next(&answer->words, &more) || !(word_is(&word, "stop") || word_is(&word, "write")))
        return answer_usage(answer);
    return answer_refuse(answer, -ENOSYS, "no trace in this build");
}
