/*
 * answer_cancel.c - the command `cancel`. A cause stays for as long as somebody may ask for
 * it, so what an operator says is kept for ever: so many texts, after which each is the same.
 */
#include <errno.h>

#include "inspect/answer.h"

#define TEXTS      64
#define TEXT_BYTES 112

static struct said {
    canopy_cause cause;
    char text[TEXT_BYTES];
} said[TEXTS];      /* under library_lock; what has been said stays as it is */
static size_t used; /* under library_lock */

static const canopy_cause unsaid = {.code = -ECANCELED, .text = "cancelled by an operator"};

static const canopy_cause *find(const struct word *text)
{
    for (size_t i = 0; i < used; i++)
        if (word_is(text, said[i].text))
            return &said[i].cause;
    return NULL;
}

static const canopy_cause *add(const struct word *text)
{
    if (used == TEXTS)
        return &unsaid;
    struct said *place = &said[used++];
    memcpy(place->text, text->text, text->bytes);
    place->cause = (canopy_cause){.code = -ECANCELED, .text = place->text};
    return &place->cause;
}

static const canopy_cause *cause_of(const struct word *text)
{
    if (text->bytes == 0)
        return &unsaid;
    pthread_mutex_lock(&library_lock);
    const canopy_cause *cause = find(text);
    if (!cause)
        cause = add(text);
    pthread_mutex_unlock(&library_lock);
    return cause;
}

/* In a line, what came of it. */
static int told(const struct answer *answer, int err, uint64_t id, const canopy_cause *cause)
{
    switch (err) {
    case 0:
        sink_text(answer->sink, "canceled ");
        sink_id(answer->sink, id);
        put_text(answer->sink, ": ", cause->text);
        sink_char(answer->sink, '\n');
        return 0;
    case -EALREADY:
        return answer_refuse(answer, err, "it has ended already");
    case -EPERM:
        return answer_refuse(answer, err, "a value or without_cancel layer has no end of its own");
    default:
        return answer_refuse(answer, err, "no such context");
    }
}

int answer_cancel(struct answer *answer)
{
    struct word word;
    uint64_t id;
    canopy_info info;
    if (!words_next(&answer->words, &word) || !word_number(&word, &id))
        return answer_usage(answer);
    if (!(answer->flags & CANOPY_ANSWER_CANCEL))
        return answer_refuse(answer, -EPERM, "this process does not allow cancel");
    struct word text = words_rest(&answer->words);
    if (text.bytes >= TEXT_BYTES)
        return answer_refuse(answer, -EINVAL, "TEXT has at most 111 bytes");
    if (canopy_inspect(id, &info, sizeof info) != 0)
        return told(answer, -ESRCH, id, NULL);
    /* What has no effect takes no place among the texts. */
    if (info.kind == CANOPY_KIND_VALUE || info.kind == CANOPY_KIND_WITHOUT_CANCEL)
        return told(answer, -EPERM, id, NULL);
    if (info.err)
        return told(answer, -EALREADY, id, NULL);
    const canopy_cause *cause = cause_of(&text);
    return told(answer, canopy_cancel_id(id, cause), id, cause);
}
