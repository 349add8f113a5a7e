/*
 * ticks.c - pairs of readings, and the rate between them; see ticks.h.
 *
 * A pair is the counter and, read right after it, the time. As long as the counter has
 * not gone on by more than PAIR_NS takes at the rate that was measured, a reading of the
 * counter gives a time that is not early, if the clock has not gone on by more than
 * that reading allows for:
 *
 *     source tsc   `percent` of what passed by the measured rate: late by a part of that.
 *                  The clock is the counter times a factor, so all that comes between is
 *                  the slew. The kernel lets the clock be slewed by 10 % (adjtimex, tick),
 *                  500 ppm (freq), 500 ppm (adjtime) and a quarter of half a second each
 *                  second (offset, with the shortest time constant): 22.6 % to either
 *                  side. It may have been slow by so much when the rate was measured, and
 *                  fast now: 1.226 / 0.774 = 1.585.
 *     the others   four times PAIR_NS, whatever passed: so much may be late. The clock is
 *                  the counter as well, by a rate and an offset that the hypervisor gives
 *                  and may change, at a migration above all; and the counters of two CPUs
 *                  may be apart. Beside the largest slew this allows for a counter that
 *                  has become slower by 2.5 times, or one that is behind by 190 us.
 *
 * A counter that jumps or has become faster ends the pair early. What nothing can cover
 * that does not ask the kernel: a counter that stands still while the clock goes on, for
 * more than the above, within a pair. Hypervisors stop both or neither.
 *
 * The bound on lateness hangs on nothing: no reading is above what the pair may come to
 * at its end, and the true time is not before the pair's.
 *
 * Each new pair checks the last one; a counter that was once found to fall short is
 * not used again. A thread that asks seldom finds its pair too old each time, and pays
 * for the exact time.
 */
#include "time/ticks.h"

#ifdef CANOPY_TICKS

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>

/* How long a pair is built on: long enough to be cheap, short enough to be near. */
#define PAIR_NS (NS_PER_SECOND / 8000)

/* The rate is measured over this long at least, and at most; two in a row must agree. */
#define MEASURE_LEAST_NS (NS_PER_SECOND / 50)
#define MEASURE_MOST_NS  (NS_PER_SECOND * 10)
#define AGREEMENT        0.0005

/* A reading of both that took longer was interrupted: it tells nothing of the rate. */
#define READING_TICKS 2000

/* How far the CPU may run ahead with a reading of the counter, and more. */
#define AHEAD_NS 1000

/* In percent: how fast the clock may go, of what it was measured at. */
#define PERCENT_OF_SLEW     160
#define PERCENT_OF_ANYTHING 400

/* So far the clock may go within a pair by the latter. */
#define WINDOW_NS (PAIR_NS * PERCENT_OF_ANYTHING / 100)

struct source {
    const char *name; /* as the kernel calls it, and a newline */
    uint64_t percent;
    int64_t margin_ns; /* beside what the percent give */
    bool is_whole;     /* those are given for the whole pair at once, in the margin */
};

static const struct source sources[] = {
    {"tsc\n", PERCENT_OF_SLEW, AHEAD_NS, false},
    {"kvm-clock\n", PERCENT_OF_ANYTHING, WINDOW_NS, true},
    {"hyperv_clocksource_tsc_page\n", PERCENT_OF_ANYTHING, WINDOW_NS, true},
};

__thread struct ticks_pair tls_ticks __attribute__((tls_model("initial-exec")));

/* A source, or NULL: the counter is not used; for good, once somebody found it wanting. */
static atomic_word usable;

/* Nanoseconds to a tick, in 2^-32, or 0: not known yet. Any thread's will do. */
static atomic_u64 known_rate;

/* The last rate that this thread measured, nanoseconds to a tick, or 0. */
static __thread double tls_measured __attribute__((tls_model("initial-exec")));

/* The kernel knows best what the counters of all CPUs are good for. */
static const struct source *kernel_source(void)
{
    char name[32] = "";
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                  O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, name, sizeof name - 1);
    close(fd);
    for (size_t i = 0; n > 0 && i < sizeof sources / sizeof *sources; i++)
        if (strcmp(name, sources[i].name) == 0)
            return &sources[i];
    return NULL;
}

static bool is_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1U << 8));
}

void ticks_init(void)
{
    const struct source *source = kernel_source();
    /* A guest is mostly not told that the counter is, since it may migrate. */
    if (source && (source->is_whole || is_invariant()))
        word_store_release(&usable, (uintptr_t)source);
}

void ticks_fork_child(void)
{
    tls_ticks.limit_ticks = 0;
    tls_measured = 0;
}

/* Two readings of the counter and, between them, the time: which is not before the first's. */
struct reading {
    uint64_t ticks;
    uint64_t width_ticks;
    int64_t ns;
};

/* Whether the last pair, had it been built on until now, would have been early. */
static bool fell_short(const struct ticks_pair *last, const struct reading *now, uint64_t scale,
                       const struct source *source)
{
    uint64_t passed = now->ticks + now->width_ticks - last->ticks;
    return last->limit_ticks != 0 && passed < 1000 * last->limit_ticks &&
           now->ns > last->ns - source->margin_ns + (int64_t)(passed * scale >> 32);
}

/* Goes on measuring: the rate once it is known, or 0. */
static uint64_t measure(const struct reading *now)
{
    int64_t passed_ns = now->ns - tls_ticks.ns;
    if (passed_ns < MEASURE_LEAST_NS)
        return 0;
    double rate = (double)passed_ns / (double)(now->ticks - tls_ticks.ticks);
    double ratio = tls_measured / rate;
    tls_measured = passed_ns <= MEASURE_MOST_NS ? rate : 0;
    tls_ticks = (struct ticks_pair){.ticks = now->ticks, .ns = now->ns};
    if (ratio < 1 - AGREEMENT || ratio > 1 + AGREEMENT)
        return 0;
    uint64_t scaled = (uint64_t)(rate * 4294967296.0) + 1;
    u64_store_relaxed(&known_rate, scaled);
    return scaled;
}

/* Builds on a reading from here on, where that is right. */
static __attribute__((noinline)) void build_on(const struct reading *now,
                                               const struct source *source)
{
    uint64_t rate = u64_load_relaxed(&known_rate);
    if (unlikely(rate == 0) && (rate = measure(now)) == 0)
        return;
    uint64_t scale = rate * source->percent / 100;
    if (unlikely(fell_short(&tls_ticks, now, scale, source))) {
        word_store_release(&usable, 0); /* for all */
        tls_ticks.limit_ticks = 0;
        return;
    }
    tls_ticks = (struct ticks_pair){
        .ticks = now->ticks,
        .ns = now->ns + source->margin_ns,
        .limit_ticks = ((uint64_t)PAIR_NS << 32) / rate,
        .scale = source->is_whole ? 0 : scale,
    };
}

int64_t ticks_renew(void)
{
    const struct source *source =
        (const struct source *)word_load_acquire(&usable); /* all is const */
    if (!source)
        return clock_now_ns();
    struct reading now;
    now.ticks = __builtin_ia32_rdtsc();
    now.ns = clock_now_ns();
    now.width_ticks = __builtin_ia32_rdtsc() - now.ticks;
    if (likely(now.width_ticks <= READING_TICKS))
        build_on(&now, source);
    return now.ns;
}

#else

int64_t ticks_renew(void)
{
    return clock_now_ns();
}

void ticks_init(void)
{
}

void ticks_fork_child(void)
{
}

#endif
