/*
 * story.h - what the rings of a trace hold, put together: by context, by thread, in order of
 * time, and what came of what.
 */
#ifndef CANOPY_STORY_H
#define CANOPY_STORY_H

#include "memory/rings.h"

#define NO_EVENT SIZE_MAX

struct event {
    int64_t ns;
    int64_t end_ns; /* of a slice: of what has ended, and of callbacks */
    uint64_t id;
    uint64_t other;
    uint64_t what;
    size_t text;  /* behind this many bytes of texts; 0: none */
    size_t by;    /* the event of an end of its own that it came of */
    size_t first; /* of what came of this one, if an arrow can show it */
    size_t next;  /* in the list that it is in */
    uint32_t thread;
    bool is_pointed_at; /* by `by` */
    uint64_t place;     /* where it was cancelled */
};

/* A context: its events, as far as they are there. */
struct life {
    uint64_t id;
    size_t made, named, ended, gone;
};

struct traced_thread {
    uint32_t tid;
    char name[16];
    size_t end; /* its events end before */
};

struct story {
    struct event *events; /* thread by thread, in order of time for each */
    size_t count, room;
    size_t *order; /* all of them, in order of time */
    char *texts;
    size_t text_bytes, text_room;
    struct traced_thread *threads;
    size_t thread_count;
    struct life *lives; /* by their ids */
    size_t life_count;
    int64_t from_ns, until_ns;
    uint64_t lost, overwritten;
};

/* 0 or -ENOMEM; in both cases story_close is to follow. */
int story_open(struct story *story);
void story_close(struct story *story);

/* The context of an event, which has one. */
struct life *story_life(const struct story *story, uint64_t id);

static inline const char *story_text(const struct story *story, size_t event)
{
    size_t text = event == NO_EVENT ? 0 : story->events[event].text;
    return text ? story->texts + text : NULL;
}

/* Whether a callback returned whose begin is no more there: it is a slice from the ring's begin. */
static inline bool event_is_late(const struct event *event)
{
    return ring_kind(event->what) == RING_RETURNED && event->end_ns != 0;
}

static inline bool event_is_own_end(const struct event *event)
{
    return ring_kind(event->what) == RING_ENDED && event->other == event->id;
}

#endif
