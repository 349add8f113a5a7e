/*
 * trace_scenarios.c - a ring of a trace is read beside its writer, who overwrites what is read:
 * see memory/rings.h.
 */
#include "explore.h"
#include "memory/rings.h"

#define UNITS (RING_BYTES_LEAST / sizeof(struct ring_unit))

/* What each event says three times; its number is how many units were written before it. */
static uint64_t written;

static void write_one(void)
{
    ring_add(ring_what(RING_MADE, 0, written), written, ~written, NULL);
    written++;
}

static void write_with_text(void)
{
    ring_add(ring_what(RING_NAMED, 0, written), written, ~written, "two units of text for one");
    written += 3;
}

static void fill(void)
{
    CHECK(rings_start(RING_BYTES_LEAST) == 0);
    written = 0;
    while (written < UNITS)
        write_one();
}

/* More than one event may have as its units: who reads is to see that it came this far. */
static void overwrite(void)
{
    for (unsigned i = 0; i < 2; i++) {
        write_one();
        write_with_text();
    }
}

/* The last that are there, without a gap; each as it was written. */
static void reads(void)
{
    static uint64_t units[UNITS][4];
    uint64_t overwritten, next;
    struct rings rings = rings_read_begin();
    CHECK(rings.first && !rings.first->next);
    size_t count = ring_copy(rings.first, units, &overwritten);
    rings_read_end();
    next = overwritten;
    for (size_t i = 0; i < count; i++, next++) {
        if (ring_kind(units[i][3]) == RING_TEXT)
            continue;
        CHECK(units[i][1] == next);
        CHECK(units[i][2] == ~next);
        CHECK(ring_place(units[i][3]) == next);
    }
    CHECK(next >= UNITS);
}

static void starts_anew(void)
{
    CHECK(rings_start(RING_BYTES_LEAST) == 0);
}

static void close_trace(void)
{
    rings_stop();
    CHECK(rings_start(RING_BYTES_LEAST) == 0); /* gives back what there was */
    CHECK(rings_stop() == 0);
    scenario_close();
}

SCENARIO(trace_read_beside_its_writer)
{
    before(fill);
    beside(overwrite, reads, NULL);
    CHECK(written == UNITS + 8);
    close_trace();
}

/* The rings go, while one still writes to what it had found on. */
static void begin(void)
{
    CHECK(rings_start(RING_BYTES_LEAST) == 0);
    written = 0;
    write_one();
}

static void stops_and_starts(void)
{
    CHECK(rings_stop() == 0);
    starts_anew();
}

SCENARIO(trace_beside_a_new_start)
{
    before(begin);
    beside(overwrite, stops_and_starts, NULL);
    close_trace();
}

/* Two make their rings at once, beside who reads. */
static void start(void)
{
    starts_anew();
    written = 0;
}

static void writes(void)
{
    ring_add(ring_what(RING_MADE, 0, 7), 7, ~UINT64_C(7), NULL);
}

static void reads_all(void)
{
    static uint64_t units[UNITS][4];
    uint64_t overwritten;
    struct rings rings = rings_read_begin();
    for (const struct ring *ring = rings.first; ring; ring = ring->next) {
        CHECK(ring->units == UNITS);
        size_t count = ring_copy(ring, units, &overwritten);
        CHECK(count <= 1 && overwritten == 0);
        CHECK(count == 0 || (units[0][1] == 7 && units[0][2] == ~UINT64_C(7)));
    }
    rings_read_end();
}

SCENARIO(trace_of_two_that_begin)
{
    start();
    beside(writes, writes, reads_all, NULL);
    close_trace();
}
