/*
 * rings.c - events are written, and copied; see rings.h.
 */
#include "memory/rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "memory/rcu.h"

atomic_u32 rings_on;

/* Held by who starts, stops or reads a trace; taken before anything else, never by who writes. */
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;

static atomic_word all; /* struct ring */
static atomic_u32 count;
static atomic_u64 lost;
static uint64_t ring_units; /* of each; written before the trace is on */
static uint32_t number;     /* of the latest trace; under the lock */
static int64_t stopped_ns;  /* of that, or 0; under the lock */
static bool are_inherited;  /* what there is was there before a fork; under the lock */

/* The calling thread's ring in the trace of that number; NULL: it has none there. */
static __thread struct {
    struct ring *ring;
    uint32_t on;
} own __attribute__((tls_model("initial-exec")));

/* --------------------------------------------------------------------- writing */

void ring_lose(void)
{
    u64_fetch_add_relaxed(&lost, 1);
}

static struct ring *ring_new(void)
{
    int saved_errno = errno;
    struct ring *ring = NULL;
    if (u32_load_relaxed(&count) < RINGS_MOST &&
        u32_fetch_add_relaxed(&count, 1) < RINGS_MOST) /* a count, and no more */
        ring = calloc(1, sizeof *ring + ring_units * sizeof *ring->first);
    if (ring) {
        ring->units = ring_units;
        ring->tid = (uint32_t)gettid();
        prctl(PR_GET_NAME, ring->name);
        uintptr_t first = word_load_relaxed(&all);
        do
            ring->next = (struct ring *)first;
        while (!word_cas_acq_rel(&all, &first, (uintptr_t)ring)); /* RG6 */
    }
    errno = saved_errno;
    return ring;
}

/* In a read section; of the trace of that number. */
static inline struct ring *ring_at_hand(uint32_t on)
{
    if (unlikely(own.on != on)) {
        own.ring = ring_new();
        own.on = on;
    }
    return own.ring;
}

static void unit_put(struct ring *ring, uint64_t at, const uint64_t words[4])
{
    struct ring_unit *unit = &ring->first[at & (ring->units - 1)];
    for (unsigned i = 0; i < 4; i++)
        u64_store_release(&unit->words[i], words[i]); /* RG1 */
}

static unsigned text_put(struct ring *ring, uint64_t at, const char *text)
{
    unsigned units = 0;
    for (size_t left = strnlen(text, (size_t)RING_TEXT_UNITS * RING_TEXT_BYTES); left > 0;
         units++) {
        uint64_t words[4] = {0, 0, 0, RING_TEXT};
        size_t part = left < RING_TEXT_BYTES ? left : RING_TEXT_BYTES;
        memcpy(words, text, part);
        unit_put(ring, at + units, words);
        text += part;
        left -= part;
    }
    return units;
}

static void event_put(struct ring *ring, const uint64_t words[4], const char *text)
{
    uint64_t used = u64_load_relaxed(&ring->used);
    unit_put(ring, used, words);
    if (text)
        used += text_put(ring, used + 1, text);
    u64_store_release(&ring->used, used + 1); /* RG2 */
}

void ring_add(uint64_t what, uint64_t id, uint64_t other, const char *text)
{
    rcu_read_begin();
    uint32_t on = u32_load_acquire(&rings_on); /* RG7 */
    struct ring *ring = on ? ring_at_hand(on) : NULL;
    if (likely(ring != NULL))
        event_put(ring, (const uint64_t[]){(uint64_t)clock_now_ns(), id, other, what}, text);
    else if (on)
        ring_lose();
    rcu_read_end();
}

/* --------------------------------------------------------------------- reading */

size_t ring_copy(const struct ring *ring, uint64_t (*to)[4], uint64_t *overwritten)
{
    uint64_t used = u64_load_acquire(&ring->used); /* RG3: pairs with RG2 */
    uint64_t first = used > ring->units ? used - ring->units : 0;
    for (uint64_t at = first; at < used; at++)
        for (unsigned i = 0; i < 4; i++) /* RG4: pairs with RG1 */
            to[at - first][i] = u64_load_acquire(&ring->first[at & (ring->units - 1)].words[i]);
    uint64_t later = u64_load_acquire(&ring->used) + RING_EVENT_UNITS; /* RG5: pairs with RG2 */
    uint64_t whole = later > ring->units ? later - ring->units : 0;
    whole = whole < first ? first : whole < used ? whole : used;
    memmove(to, to + (whole - first), (used - whole) * sizeof *to);
    *overwritten = whole;
    return used - whole;
}

struct rings rings_read_begin(void)
{
    pthread_mutex_lock(&rings_lock);
    struct rings rings = {NULL, stopped_ns, u64_load_relaxed(&lost)};
    if (!are_inherited)
        rings.first = (const struct ring *)word_load_acquire(&all); /* RG6 */
    return rings;
}

void rings_read_end(void)
{
    pthread_mutex_unlock(&rings_lock);
}

/* -------------------------------------------------------------- start and stop */

/* Of a trace that is off. */
static void rings_free(void)
{
    rcu_wait(); /* for who still writes to one */
    struct ring *ring = (struct ring *)word_load_relaxed(&all);
    for (struct ring *next; ring; ring = next) {
        next = ring->next;
        free(ring);
    }
    word_store_relaxed(&all, 0);
    u32_store_relaxed(&count, 0);
    u64_store_relaxed(&lost, 0);
}

int rings_start(size_t ring_bytes)
{
    if (ring_bytes < RING_BYTES_LEAST || ring_bytes > RING_BYTES_MOST ||
        (ring_bytes & (ring_bytes - 1)) != 0)
        return -EINVAL;
    pthread_mutex_lock(&rings_lock);
    int err = trace_is_on() ? -EBUSY : 0;
    if (!err) {
        rings_free();
        ring_units = ring_bytes / sizeof(struct ring_unit);
        stopped_ns = 0;
        are_inherited = false;
        number += number == UINT32_MAX ? 2 : 1;
        u32_store_release(&rings_on, number); /* RG7 */
    }
    pthread_mutex_unlock(&rings_lock);
    return err;
}

int rings_stop(void)
{
    pthread_mutex_lock(&rings_lock);
    int err = trace_is_on() ? 0 : -EALREADY;
    if (!err) {
        u32_store_relaxed(&rings_on, 0);
        stopped_ns = clock_now_ns();
    }
    pthread_mutex_unlock(&rings_lock);
    return err;
}

void rings_fork_prepare(void)
{
    pthread_mutex_lock(&rings_lock);
}

void rings_fork_parent(void)
{
    pthread_mutex_unlock(&rings_lock);
}

void rings_fork_child(void)
{
    u32_store_relaxed(&rings_on, 0);
    are_inherited = true;
    u64_store_relaxed(&lost, 0);
    pthread_mutex_unlock(&rings_lock);
}
