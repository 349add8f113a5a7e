/*
 * story.c - events are read and put together; see story.h.
 *
 * What each came of is told by the events themselves: one that ended with another names
 * that, which has come before, up to the one that ended on its own account. A cancel is a
 * slice from its own end to the last that its thread found below it, or to where it was
 * through. Slices of a thread lie one inside the other, as its ring has them in order.
 */
#include "inspect/story.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------- reading */

/* Room for `more` of `*items` behind `count`; false: there is none. */
static bool reserve(void **items, size_t *room, size_t count, size_t more, size_t bytes)
{
    if (count + more <= *room)
        return true;
    void *moved = realloc(*items, (count + more) * bytes);
    if (!moved)
        return false;
    *items = moved;
    *room = count + more;
    return true;
}

static void text_add(struct story *story, struct event *event, const uint64_t words[4])
{
    char *at = story->texts + story->text_bytes;
    if (event->text)
        at--; /* goes on */
    else
        event->text = story->text_bytes;
    memcpy(at, words, RING_TEXT_BYTES);
    at[RING_TEXT_BYTES] = '\0';
    story->text_bytes = (size_t)(at - story->texts) + strlen(at) + 1;
}

static void event_add(struct story *story, const uint64_t words[4])
{
    story->events[story->count++] = (struct event){
        .ns = (int64_t)words[0],
        .id = words[1],
        .other = words[2],
        .what = words[3],
        .by = NO_EVENT,
        .first = NO_EVENT,
        .next = NO_EVENT,
        .thread = (uint32_t)story->thread_count,
    };
}

static void units_add(struct story *story, const uint64_t (*units)[4], size_t count)
{
    size_t begin = story->count;
    for (size_t i = 0; i < count; i++)
        if (ring_kind(units[i][3]) != RING_TEXT)
            event_add(story, units[i]);
        else if (story->count > begin)
            text_add(story, &story->events[story->count - 1], units[i]);
}

static bool ring_read(struct story *story, const struct ring *ring, uint64_t (*units)[4])
{
    uint64_t overwritten;
    size_t count = ring_copy(ring, units, &overwritten);
    if (!reserve((void **)&story->events, &story->room, story->count, count,
                 sizeof *story->events) ||
        !reserve((void **)&story->texts, &story->text_room, story->text_bytes,
                 count * (RING_TEXT_BYTES + 1) + 1, 1))
        return false;
    story->text_bytes += story->text_bytes == 0; /* as 0 is none */
    units_add(story, (const uint64_t(*)[4])units, count);
    struct traced_thread *thread = &story->threads[story->thread_count++];
    thread->tid = ring->tid;
    thread->end = story->count;
    memcpy(thread->name, ring->name, sizeof thread->name);
    story->overwritten += overwritten;
    return true;
}

static bool rings_read_all(struct story *story, const struct ring *first)
{
    if (!first)
        return true;
    uint64_t(*units)[4] = malloc(first->units * sizeof *units);
    story->threads = calloc(RINGS_MOST, sizeof *story->threads);
    bool ok = units && story->threads;
    for (const struct ring *ring = first; ok && ring; ring = ring->next)
        ok = ring_read(story, ring, units);
    free(units);
    return ok;
}

static bool read_all(struct story *story)
{
    struct rings rings = rings_read_begin();
    bool ok = rings_read_all(story, rings.first);
    rings_read_end();
    story->lost = rings.lost;
    story->until_ns = rings.stopped_ns ? rings.stopped_ns : clock_now_ns();
    story->from_ns = story->until_ns;
    for (size_t i = 0; i < story->count; i++) {
        int64_t ns = story->events[i].ns;
        story->from_ns = ns < story->from_ns ? ns : story->from_ns;
        story->until_ns = ns > story->until_ns ? ns : story->until_ns;
    }
    return ok;
}

/* -------------------------------------------------------------------- contexts */

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_id(const void *a, const void *b, void *arg)
{
    const struct story *story = arg;
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    int order = compare(story->events[i].id, story->events[k].id);
    return order ? order : compare(i, k);
}

/* The later of two of a kind is the one that counts. */
static void keep_latest(const struct story *story, size_t *kept, size_t i)
{
    if (*kept == NO_EVENT || story->events[*kept].ns <= story->events[i].ns)
        *kept = i;
}

static void life_add(const struct story *story, struct life *life, size_t i)
{
    switch (ring_kind(story->events[i].what)) {
    case RING_MADE:
        life->made = i;
        break;
    case RING_NAMED:
        keep_latest(story, &life->named, i);
        break;
    case RING_ENDED:
        life->ended = life->ended == NO_EVENT ? i : life->ended;
        break;
    case RING_GONE:
        life->gone = i;
        break;
    default:
        break;
    }
}

/* Clocks of two threads apart, a context is made before it ends, and goes after that. */
static void life_order(const struct story *story, const struct life *life)
{
    struct event *made = life->made == NO_EVENT ? NULL : &story->events[life->made];
    struct event *gone = life->gone == NO_EVENT ? NULL : &story->events[life->gone];
    if (made && life->ended != NO_EVENT && story->events[life->ended].ns < made->ns)
        made->ns = story->events[life->ended].ns;
    if (gone && life->ended != NO_EVENT && story->events[life->ended].ns > gone->ns)
        gone->ns = story->events[life->ended].ns;
    if (gone && made && made->ns > gone->ns)
        gone->ns = made->ns;
}

static bool find_lives(struct story *story)
{
    story->order = malloc((story->count + 1) * sizeof *story->order);
    story->lives = malloc((story->count + 1) * sizeof *story->lives);
    if (!story->order || !story->lives)
        return false;
    for (size_t i = 0; i < story->count; i++)
        story->order[i] = i;
    qsort_r(story->order, story->count, sizeof *story->order, by_id, story);
    struct life *life = story->lives - 1;
    for (size_t i = 0; i < story->count; i++) {
        uint64_t id = story->events[story->order[i]].id;
        if (i == 0 || life->id != id)
            *++life = (struct life){id, NO_EVENT, NO_EVENT, NO_EVENT, NO_EVENT};
        life_add(story, life, story->order[i]);
    }
    story->life_count = (size_t)(life + 1 - story->lives);
    for (size_t i = 0; i < story->life_count; i++)
        life_order(story, &story->lives[i]);
    return true;
}

static int life_by_id(const void *id, const void *life)
{
    return compare(*(const uint64_t *)id, ((const struct life *)life)->id);
}

struct life *story_life(const struct story *story, uint64_t id)
{
    return bsearch(&id, story->lives, story->life_count, sizeof *story->lives, life_by_id);
}

/* ---------------------------------------------------------------------- slices */

/* Of one thread, while its events are gone through. */
struct open {
    size_t begin;
    size_t callback; /* the innermost that runs */
    size_t cancel;   /* whose walk is under way */
};

static void slice_returned(const struct story *story, struct open *open, struct event *event)
{
    if (open->callback == NO_EVENT) {
        event->end_ns = event->ns;
        event->ns = story->events[open->begin].ns;
        return;
    }
    struct event *begun = &story->events[open->callback];
    begun->end_ns = event->ns;
    open->callback = begun->next;
    begun->next = NO_EVENT;
}

static void slice_canceled(const struct story *story, const struct open *open,
                           const struct event *event)
{
    if (open->cancel == NO_EVENT || story->events[open->cancel].id != event->id)
        return;
    story->events[open->cancel].end_ns = event->ns;
    story->events[open->cancel].place = ring_place(event->what);
}

static void slice_event(const struct story *story, struct open *open, size_t i)
{
    struct event *event = &story->events[i];
    size_t cancel = open->cancel;
    open->cancel = NO_EVENT; /* but for what a walk does */
    switch (ring_kind(event->what)) {
    case RING_BEGUN:
        event->end_ns = story->until_ns;
        event->next = open->callback;
        open->callback = i;
        break;
    case RING_RETURNED:
        slice_returned(story, open, event);
        break;
    case RING_ENDED:
        event->end_ns = event->ns;
        open->cancel = event_is_own_end(event) ? i : cancel;
        event->by = event_is_own_end(event) ? NO_EVENT : cancel; /* perhaps */
        break;
    case RING_CANCELED:
        open->cancel = cancel;
        slice_canceled(story, open, event);
        open->cancel = NO_EVENT;
        break;
    default:
        break;
    }
}

static void find_slices(const struct story *story)
{
    struct open open = {0, NO_EVENT, NO_EVENT};
    for (size_t thread = 0; thread < story->thread_count; thread++) {
        for (size_t i = open.begin; i < story->threads[thread].end; i++)
            slice_event(story, &open, i);
        while (open.callback != NO_EVENT) { /* those that run still: in no list any more */
            struct event *begun = &story->events[open.callback];
            open.callback = begun->next;
            begun->next = NO_EVENT;
        }
        open = (struct open){story->threads[thread].end, NO_EVENT, NO_EVENT};
    }
}

/* A nanosecond, where there is room before what comes next: arrows end at no less. */
static void slice_widen(const struct story *story, size_t i)
{
    struct event *event = &story->events[i];
    bool is_last = i + 1 == story->threads[event->thread].end;
    int64_t next_ns = is_last ? story->until_ns : story->events[i + 1].ns;
    if (event->end_ns == event->ns && event->ns < next_ns)
        event->end_ns++;
}

/* -------------------------------------------------------------------- in order */

/* In one moment: what is made, and slices that begin with a ring, come first; what goes, last. */
static int rank(const struct event *event)
{
    enum ring_kind kind = ring_kind(event->what);
    return kind == RING_MADE || event_is_late(event) ? 0 : kind == RING_GONE ? 2 : 1;
}

static int by_time(const void *a, const void *b, void *arg)
{
    const struct story *story = arg;
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    const struct event *one = &story->events[i], *other = &story->events[k];
    if (one->ns != other->ns)
        return one->ns < other->ns ? -1 : 1;
    if (rank(one) != rank(other))
        return rank(one) - rank(other);
    if (rank(one) == 0 && one->end_ns != other->end_ns)
        return one->end_ns > other->end_ns ? -1 : 1; /* the outer before the inner */
    return compare(i, k);
}

/* The end of its own that the end of `id` came of. */
static size_t origin(const struct story *story, uint64_t id)
{
    const struct life *life = story_life(story, id);
    size_t ended = life ? life->ended : NO_EVENT;
    if (ended == NO_EVENT || event_is_own_end(&story->events[ended]))
        return ended;
    return story->events[ended].by;
}

static void end_find_origin(const struct story *story, size_t i)
{
    struct event *event = &story->events[i];
    if (event_is_own_end(event))
        return;
    size_t perhaps = event->by;
    event->by = origin(story, event->other);
    slice_widen(story, i);
    if (event->by == perhaps && perhaps != NO_EVENT &&
        story->events[perhaps].end_ns < event->end_ns)
        story->events[perhaps].end_ns = event->end_ns;
}

/*
 * An arrow goes on in time, and so in order. Of two that tell of one end, as who ended it and
 * who made it under what had ended may both do, one is told.
 */
static bool is_to_be_pointed_at(const struct story *story, const struct event *event)
{
    if (event->by == NO_EVENT)
        return false;
    if (ring_kind(event->what) == RING_ENDED) {
        const struct life *life = story_life(story, event->id);
        if (!life || event != &story->events[life->ended])
            return false;
    }
    const struct event *by = &story->events[event->by];
    return event->ns > by->ns || (event->ns == by->ns && event->thread == by->thread && event > by);
}

static void find_origins(const struct story *story)
{
    for (size_t n = 0; n < story->count; n++)
        if (ring_kind(story->events[story->order[n]].what) == RING_ENDED)
            end_find_origin(story, story->order[n]);
    for (size_t n = story->count; n-- > 0;) {
        size_t i = story->order[n];
        struct event *event = &story->events[i];
        if (ring_kind(event->what) == RING_BEGUN || event_is_late(event))
            event->by = origin(story, event->id);
        if (event_is_own_end(event))
            slice_widen(story, i);
        if (!is_to_be_pointed_at(story, event))
            continue;
        event->is_pointed_at = true;
        event->next = story->events[event->by].first;
        story->events[event->by].first = i;
    }
}

int story_open(struct story *story)
{
    memset(story, 0, sizeof *story);
    if (!read_all(story) || !find_lives(story))
        return -ENOMEM;
    find_slices(story);
    qsort_r(story->order, story->count, sizeof *story->order, by_time, story);
    find_origins(story);
    return 0;
}

void story_close(struct story *story)
{
    free(story->events);
    free(story->texts);
    free(story->threads);
    free(story->order);
    free(story->lives);
}
