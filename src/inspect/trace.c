/*
 * trace.c - a trace of contexts is started, stopped, and written in Chrome's Trace Event
 * Format, as Perfetto reads it:
 *
 *     M        names of the process and of its threads
 *     b n e    a context from birth to release, and its end between: nestable async events,
 *              of one category and id each, as contexts overlap
 *     X        cancels, deadlines, ends that these brought about, callbacks: slices of threads
 *     s f      from a cancel or a deadline to what came of it; "bp":"e" binds an arrow's end to
 *              the slice that encloses it, as its begin is bound
 *
 * Times are microseconds, with nanoseconds behind the point, and no line's is less than that
 * of the line before. Ids are strings, in hex, since those are read as hex in any case;
 * what is for people, in "args", is decimal, as in a dump.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspect/dump.h"
#include "inspect/look.h"
#include "inspect/story.h"

/* Places that lately had a name, which is dear to find. */
#define NAMES 64

struct named_place {
    uint64_t place;
    size_t bytes;
    char text[112]; /* as JSON has it */
};

struct writer {
    struct sink *sink;
    const struct story *story;
    struct named_place *names;
    int64_t pid;
    const char *before; /* the next line: what is between */
};

/* ----------------------------------------------------------------------- parts */

static void put_id(struct sink *sink, const char *name, uint64_t id)
{
    sink_text(sink, name);
    sink_id(sink, id);
    sink_char(sink, '"');
}

static void put_time(struct sink *sink, const char *name, int64_t ns)
{
    char rest[] = ".000";
    sink_text(sink, name);
    sink_number(sink, ns / 1000);
    rest[1] = (char)('0' + ns / 100 % 10);
    rest[2] = (char)('0' + ns / 10 % 10);
    rest[3] = (char)('0' + ns % 10);
    sink_text(sink, rest);
}

static int named_keep(void *user, const char *bytes, size_t n)
{
    struct named_place *named = user;
    if (n > sizeof named->text - named->bytes)
        return -ENOSPC;
    memcpy(named->text + named->bytes, bytes, n);
    named->bytes += n;
    return 0;
}

static void put_place(const struct writer *writer, const char *name, uint64_t place)
{
    struct named_place *named = &writer->names[(place * UINT64_C(0x9E3779B97F4A7C15)) >> 58];
    sink_text(writer->sink, name);
    if (named->bytes == 0 || named->place != place) {
        struct sink sink;
        *named = (struct named_place){.place = place};
        sink_open(&sink, named_keep, named);
        sink_place_quoted(&sink, (const void *)(uintptr_t)place);
        if (sink_flush(&sink) != 0) { /* too long to be kept */
            named->bytes = 0;
            sink_place_quoted(writer->sink, (const void *)(uintptr_t)place);
            return;
        }
    }
    sink_put(writer->sink, named->text, named->bytes);
}

static const char *name_of(const struct story *story, const struct life *life)
{
    const char *name = story_text(story, life->named);
    if (!name)
        name = story_text(story, life->gone);
    if (name || life->made == NO_EVENT)
        return name ? name : "context";
    return sink_kind_name(look_kind((enum kind)ring_detail(story->events[life->made].what)));
}

/* The begin of a line, open for "args" and other things. */
static void event_begin(struct writer *writer, const char *phase, int64_t ns, uint32_t thread)
{
    struct sink *sink = writer->sink;
    sink_text(sink, writer->before);
    writer->before = ",\n";
    sink_text(sink, "{\"ph\":\"");
    sink_text(sink, phase);
    sink_text(sink, "\",\"pid\":");
    sink_number(sink, writer->pid);
    sink_text(sink, ",\"tid\":");
    sink_number(sink, writer->story->threads[thread].tid);
    put_time(sink, ",\"ts\":", ns);
}

/* -------------------------------------------------------------------- contexts */

static void life_begin(struct writer *writer, const char *phase, int64_t ns, uint32_t thread,
                       const struct life *life)
{
    event_begin(writer, phase, ns, thread);
    sink_text(writer->sink, ",\"cat\":\"context\",\"id\":\"");
    sink_hex(writer->sink, life->id);
    sink_text(writer->sink, "\",\"name\":");
    sink_quoted(writer->sink, name_of(writer->story, life));
    put_id(writer->sink, ",\"args\":{\"context\":\"", life->id);
}

static void put_made(struct writer *writer, const struct event *event)
{
    life_begin(writer, "b", event->ns, event->thread, story_life(writer->story, event->id));
    sink_text(writer->sink, ",\"kind\":");
    sink_quoted(writer->sink, sink_kind_name(look_kind((enum kind)ring_detail(event->what))));
    if (event->other)
        put_id(writer->sink, ",\"parent\":\"", event->other);
    put_place(writer, ",\"made_at\":", ring_place(event->what));
    sink_text(writer->sink, "}}");
}

static void put_gone(struct writer *writer, const struct event *event)
{
    life_begin(writer, "e", event->ns, event->thread, story_life(writer->story, event->id));
    sink_text(writer->sink, "}}");
}

/* Any event of a context, for a thread that it is written on. */
static uint32_t some_thread(const struct story *story, const struct life *life)
{
    size_t known = life->gone != NO_EVENT    ? life->gone
                   : life->ended != NO_EVENT ? life->ended
                   : life->made != NO_EVENT  ? life->made
                                             : life->named;
    return known == NO_EVENT ? 0 : story->events[known].thread;
}

static void put_missing_begins(struct writer *writer)
{
    const struct story *story = writer->story;
    for (size_t i = 0; i < story->life_count; i++) {
        const struct life *life = &story->lives[i];
        if (life->made != NO_EVENT)
            continue;
        life_begin(writer, "b", story->from_ns, some_thread(story, life), life);
        sink_text(writer->sink, ",\"made\":\"before\"}}");
    }
}

static void put_missing_ends(struct writer *writer)
{
    const struct story *story = writer->story;
    for (size_t i = 0; i < story->life_count; i++) {
        const struct life *life = &story->lives[i];
        if (life->gone != NO_EVENT)
            continue;
        life_begin(writer, "e", story->until_ns, some_thread(story, life), life);
        sink_text(writer->sink, ",\"gone\":\"later\"}}");
    }
}

/* ---------------------------------------------------------------------- slices */

static void slice_begin(struct writer *writer, const char *name, const struct event *event)
{
    event_begin(writer, "X", event->ns, event->thread);
    put_time(writer->sink, ",\"dur\":", event->end_ns - event->ns);
    sink_text(writer->sink, ",\"cat\":\"canopy\",\"name\":");
    sink_quoted(writer->sink, name);
    put_id(writer->sink, ",\"args\":{\"context\":\"", event->id);
}

/* An arrow to that event: one half of it, on the slice of the line before. */
static void put_arrow(struct writer *writer, const char *phase, const struct event *on, size_t to)
{
    event_begin(writer, phase, on->ns, on->thread);
    sink_text(writer->sink, ",\"cat\":\"canopy\",\"name\":\"ends\",\"id\":\"");
    sink_hex(writer->sink, to + 1);
    sink_text(writer->sink, *phase == 'f' ? "\",\"bp\":\"e\"}" : "\"}");
}

static void slice_end(struct writer *writer, const struct event *event)
{
    const struct story *story = writer->story;
    sink_text(writer->sink, "}}");
    if (event->is_pointed_at)
        put_arrow(writer, "f", event, (size_t)(event - story->events));
    for (size_t to = event->first; to != NO_EVENT; to = story->events[to].next)
        put_arrow(writer, "s", event, to);
}

static void put_callback(struct writer *writer, const struct event *event)
{
    slice_begin(writer, "callback", event);
    if (event_is_late(event))
        sink_text(writer->sink, ",\"begun\":\"before\"");
    else
        put_place(writer, ",\"function\":", event->other);
    slice_end(writer, event);
}

/* Why something ended, by the event of its own end, or that of what it ended with. */
static void put_cause(const struct writer *writer, const struct event *own)
{
    const char *text = story_text(writer->story, (size_t)(own - writer->story->events));
    sink_text(writer->sink, ",\"cause\":");
    sink_quoted(writer->sink, text ? text : "");
    sink_text(writer->sink, ",\"code\":");
    sink_number(writer->sink, (int32_t)(uint32_t)ring_place(own->what));
}

static void put_end_slice(struct writer *writer, const struct event *event)
{
    bool is_own = event_is_own_end(event), is_up = ring_detail(event->what) != 0;
    slice_begin(writer, !is_own ? "end" : is_up ? "deadline" : "cancel", event);
    if (is_own)
        put_cause(writer, event);
    if (event->place)
        put_place(writer, ",\"at\":", event->place);
    slice_end(writer, event);
}

static void put_ended(struct writer *writer, const struct event *event)
{
    const struct story *story = writer->story;
    const struct life *life = story_life(story, event->id);
    if (&story->events[life->ended] != event)
        return; /* two told of it: who ended it, and who made it under what had ended */
    put_end_slice(writer, event);
    event_begin(writer, "n", event->ns, event->thread);
    sink_text(writer->sink, ",\"cat\":\"context\",\"id\":\"");
    sink_hex(writer->sink, event->id);
    sink_text(writer->sink, "\",\"name\":\"ended\"");
    put_id(writer->sink, ",\"args\":{\"context\":\"", event->id);
    const struct event *own = event_is_own_end(event) ? event
                              : event->by != NO_EVENT ? &story->events[event->by]
                                                      : NULL;
    if (own) {
        put_cause(writer, own);
        put_id(writer->sink, ",\"by\":\"", own->id);
    }
    sink_text(writer->sink, "}}");
}

/* ------------------------------------------------------------------------- all */

static void put_name(struct writer *writer, const char *what, uint32_t tid, const char *name)
{
    struct sink *sink = writer->sink;
    sink_text(sink, writer->before);
    writer->before = ",\n";
    sink_text(sink, "{\"ph\":\"M\",\"pid\":");
    sink_number(sink, writer->pid);
    sink_text(sink, ",\"tid\":");
    sink_number(sink, tid);
    sink_text(sink, ",\"name\":\"");
    sink_text(sink, what);
    sink_text(sink, "\",\"args\":{\"name\":");
    sink_quoted(sink, name);
    sink_text(sink, "}}");
}

static void put_names(struct writer *writer)
{
    const struct story *story = writer->story;
    put_name(writer, "process_name", (uint32_t)writer->pid, program_invocation_short_name);
    for (size_t i = 0; i < story->thread_count; i++)
        put_name(writer, "thread_name", story->threads[i].tid, story->threads[i].name);
}

static void put_event(struct writer *writer, const struct event *event)
{
    switch (ring_kind(event->what)) {
    case RING_MADE:
        put_made(writer, event);
        break;
    case RING_ENDED:
        put_ended(writer, event);
        break;
    case RING_GONE:
        put_gone(writer, event);
        break;
    case RING_BEGUN:
        put_callback(writer, event);
        break;
    case RING_RETURNED:
        if (event_is_late(event))
            put_callback(writer, event);
        break;
    default:
        break;
    }
}

static int put_story(struct writer *writer)
{
    const struct story *story = writer->story;
    struct sink *sink = writer->sink;
    sink_text(sink, "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"canopy\":\"1\",\"lost\":\"");
    sink_id(sink, story->lost);
    put_id(sink, "\",\"overwritten\":\"", story->overwritten);
    sink_text(sink, "},\"traceEvents\":[\n");
    put_names(writer);
    put_missing_begins(writer);
    for (size_t n = 0; n < story->count && !sink->err; n++)
        put_event(writer, &story->events[story->order[n]]);
    put_missing_ends(writer);
    sink_text(sink, "\n]}\n");
    return sink_flush(sink);
}

int canopy_trace_write(canopy_sink_fn write, void *user)
{
    struct story story;
    struct sink sink;
    if (!write)
        return -EINVAL;
    struct named_place *names = calloc(NAMES, sizeof *names);
    int err = story_open(&story);
    if (!names)
        err = -ENOMEM;
    if (!err) {
        struct writer writer = {&sink, &story, names, getpid(), ""};
        sink_open(&sink, write, user);
        err = put_story(&writer);
    }
    story_close(&story);
    free(names);
    return err;
}

int canopy_trace_start(size_t bytes_a_thread)
{
    return library_init() == 0 ? rings_start(bytes_a_thread) : -ENOMEM;
}

int canopy_trace_stop(void)
{
    return rings_stop();
}
