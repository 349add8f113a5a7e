/*
 * rings.h - while a trace is on, a ring for each thread, in which it keeps its latest events
 * of contexts with notes; the newest overwrite the oldest. For inspect/trace.c, which reads
 * them beside their writers.
 *
 * An event is a unit of 32 bytes, its text, if it has one, so many units more. Only its own
 * thread writes to a ring:
 *
 *     RG1 store the units, each word by itself      RG2 store `used`, the units behind it
 *
 * and anybody reads it, who holds the lock of all rings, so that none goes:
 *
 *     RG3 load `used`      RG4 load the units before it      RG5 load `used` once more
 *
 * The write to a ring takes place at RG2: what comes later is in no reading that began before.
 *
 * Ordering pairs:
 *   RG2/RG3  `used` is stored by a release, after the units, and loaded by an acquire.
 *         Without it an event is told that is not written yet, or in half.
 *   RG1,RG2/RG4,RG5  each word is stored by a release, after the `used` of the event before,
 *         and loaded by an acquire: who has read a word of a later event, which overwrites the
 *         one that was meant, finds at RG5 that the writer had come so far. One event may be
 *         under way behind that, of RING_EVENT_UNITS at most: so many units more are not
 *         told. Without it an event is told that was overwritten, or two in halves.
 *   RG6/RG6  a ring is complete when it joins the list of all, by a release, and the list is
 *         loaded by an acquire. Without it who reads finds what was in that memory before.
 *   RG7/RG7  `rings_on` is set by a release, after the size of rings, and loaded by an
 *         acquire. Without it a thread makes a ring of the last trace's size.
 *
 * A thread is at its ring inside a read section, in which it has found the trace on. So a
 * grace period after that was off nobody is, and the rings may go: with the next start.
 *
 * Progress: wait-free but for a thread's first event, which allocates. Where that fails, and
 * for threads beyond RINGS_MOST, events are counted as lost. Not for signal handlers, as
 * nothing is that writes events.
 */
#ifndef CANOPY_RINGS_H
#define CANOPY_RINGS_H

#include "base/base.h"

#define RINGS_MOST       1024
#define RING_BYTES_LEAST 4096
#define RING_BYTES_MOST  (UINT64_C(1) << 30)

struct ring_unit {
    atomic_u64 words[4]; /* when, of which context, and by kind; a text: 24 bytes of it */
};
_Static_assert(sizeof(struct ring_unit) == 32, "so says inspect.h");

#define RING_TEXT_BYTES  24
#define RING_TEXT_UNITS  4
#define RING_EVENT_UNITS (1 + RING_TEXT_UNITS)

/* In the last word of a unit, lowest: what it is. */
enum ring_kind {
    RING_TEXT = 1, /* of the event before it */
    RING_MADE,     /* other: the parent's id, or 0; detail: its kind; place: of the call */
    RING_NAMED,    /* text: the name */
    RING_ENDED,    /* other: its own id, or that of the context that it ended with; detail: whether
                      its time was up; place: the cause's code; text: the cause's, with its own */
    RING_CANCELED, /* a cancel has ended it and what is below; place: of the call */
    RING_GONE,     /* text: its name */
    RING_BEGUN,    /* a callback of it; other: the function */
    RING_RETURNED  /* that one */
};

/* That word. A place is an address of code, of 56 bits at most. */
static inline uint64_t ring_what(enum ring_kind kind, unsigned detail, uint64_t place)
{
    return (uint64_t)kind | (uint64_t)detail << 4 | place << 8;
}

static inline enum ring_kind ring_kind(uint64_t what)
{
    return (enum ring_kind)(what & 15);
}

static inline unsigned ring_detail(uint64_t what)
{
    return what >> 4 & 15;
}

static inline uint64_t ring_place(uint64_t what)
{
    return what >> 8;
}

struct ring {
    struct ring *next;
    uint64_t units; /* a power of two */
    uint32_t tid;
    char name[16];   /* the thread's, when it wrote its first event */
    atomic_u64 used; /* units that were ever written */
    struct ring_unit first[] __attribute__((aligned(CACHE_LINE)));
};

/* 0: no trace is on; else its number. */
extern atomic_u32 rings_on;

/* To be asked before ring_add, which looks again. */
static inline bool trace_is_on(void)
{
    return u32_load_relaxed(&rings_on) != 0;
}

/* Writes an event of now to the calling thread's ring; `text` may be NULL. */
void ring_add(uint64_t what, uint64_t id, uint64_t other, const char *text);

/* An event that there is no place to write from. */
void ring_lose(void);

/* 0, -EBUSY, -EINVAL; 0, -EALREADY. Not from a read section. */
int rings_start(size_t ring_bytes);
int rings_stop(void);

/* What there is to be read, which stays from begin to end. Not from a read section. */
struct rings {
    const struct ring *first;
    int64_t stopped_ns; /* 0: it is on */
    uint64_t lost;
};
struct rings rings_read_begin(void);
void rings_read_end(void);

/*
 * Copies what is in a ring, oldest first, to `to`, with room for all of its units: how many;
 * `*overwritten` are no more there. The first may be the rest of a text.
 */
size_t ring_copy(const struct ring *ring, uint64_t (*to)[4], uint64_t *overwritten);

/* For the fork handlers: the child has no trace. */
void rings_fork_prepare(void);
void rings_fork_parent(void);
void rings_fork_child(void);

#endif
