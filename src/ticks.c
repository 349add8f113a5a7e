/*
 * ticks.c - pairs of readings, and the rate between them; see ticks.h.
 */
#include "ticks.h"

#ifdef CANOPY_TICKS

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>

/* How long a pair is built on: long enough to be cheap, short enough to be near. */
#define PAIR_NS (NS_PER_SECOND / 4000)

/* The rate is measured over this long at least, and at most; two in a row must agree. */
#define MEASURE_LEAST_NS (NS_PER_SECOND / 50)
#define MEASURE_MOST_NS  (NS_PER_SECOND * 10)
#define AGREEMENT        0.0005

/* Added to the rate: more than a clock is ever slewed by. */
#define MARGIN 0.001

/* A reading of both that took longer was interrupted: no pair to build on. */
#define READING_TICKS 2000

/* How far the CPU may run ahead with a reading of the counter, and more. */
#define AHEAD_NS 200

__thread struct ticks_pair tls_ticks __attribute__((tls_model("initial-exec")));
atomic_u64 ticks_scale;

static atomic_u32 usable; /* cleared for good by whoever finds the counter wanting */

/* The last rate that this thread measured, nanoseconds to a tick, or 0. */
static __thread double tls_measured __attribute__((tls_model("initial-exec")));

/* The kernel knows best whether the counters of all CPUs run alike, and on. */
static bool kernel_uses_it(void)
{
    char name[8] = "";
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                  O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, name, sizeof name - 1);
    close(fd);
    return n > 0 && strcmp(name, "tsc\n") == 0;
}

static bool is_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1U << 8));
}

/* The counter first: the time is then never before that of the ticks. Returns how long it took. */
static uint64_t read_pair(struct ticks_pair *pair)
{
    pair->ticks = __builtin_ia32_rdtsc();
    pair->ns = clock_now_ns();
    return __builtin_ia32_rdtsc() - pair->ticks;
}

void ticks_init(void)
{
    if (is_invariant() && kernel_uses_it())
        u32_store_release(&usable, 1);
}

/* Whether the last pair, had it been built on until now, would have been early. */
static bool fell_short(const struct ticks_pair *last, const struct ticks_pair *now,
                       uint64_t width_ticks, uint64_t scale)
{
    uint64_t passed = now->ticks + width_ticks - last->ticks;
    return last->limit_ticks != 0 && passed < 1000 * last->limit_ticks &&
           now->ns > last->ns + (int64_t)(passed * scale >> 32);
}

/* Goes on measuring the rate: true once it is known. Any thread's result will do. */
static bool measure(const struct ticks_pair *now)
{
    int64_t passed_ns = now->ns - tls_ticks.ns;
    if (passed_ns < MEASURE_LEAST_NS)
        return false;
    double rate = (double)passed_ns / (double)(now->ticks - tls_ticks.ticks);
    double ratio = tls_measured / rate;
    tls_measured = passed_ns <= MEASURE_MOST_NS ? rate : 0;
    tls_ticks = *now;
    if (ratio < 1 - AGREEMENT || ratio > 1 + AGREEMENT)
        return false;
    u64_store_relaxed(&ticks_scale, (uint64_t)(rate * (1 + MARGIN) * 4294967296.0) + 1);
    return true;
}

int64_t ticks_renew(void)
{
    struct ticks_pair now = {0};
    uint64_t width_ticks = read_pair(&now);
    if (width_ticks > READING_TICKS || unlikely(!u32_load_acquire(&usable)))
        return now.ns;
    int64_t now_ns = now.ns;
    uint64_t scale = u64_load_relaxed(&ticks_scale);
    if (unlikely(scale == 0)) {
        if (!measure(&now))
            return now_ns;
        scale = u64_load_relaxed(&ticks_scale);
    } else if (unlikely(fell_short(&tls_ticks, &now, width_ticks, scale))) {
        u32_store_release(&usable, 0);
        tls_ticks.limit_ticks = 0;
        return now_ns;
    }
    now.ns += AHEAD_NS;
    now.limit_ticks = (uint64_t)PAIR_NS * UINT64_C(4294967296) / scale;
    tls_ticks = now;
    return now_ns;
}

#else

int64_t ticks_renew(void)
{
    return clock_now_ns();
}

void ticks_init(void)
{
}

#endif
