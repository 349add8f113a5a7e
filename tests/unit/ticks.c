/*
 * ticks.c - promise 18 where a timeout is counted from the CPU's counter: never early, and
 * late by half a millisecond at most, whatever the clock is slewed by, and whatever else a
 * counter may do. Here counter and clock are made up; the code is the library's.
 */
#include "harness.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t made_up_counter(void);
static int made_up_clock(clockid_t clock, struct timespec *now);
static int made_up_source(const char *path, int flags);

#define __builtin_ia32_rdtsc          made_up_counter
#define clock_gettime                 made_up_clock
#define open                          made_up_source
#define thread_start                  library_thread_start
#define pause_ns                      library_pause_ns
#define __get_cpuid(leaf, a, b, c, d) (*(a) = *(b) = *(c) = 0, *(d) = 1U << 8, (leaf) == 0x80000007)
/* NOLINTNEXTLINE(bugprone-suspicious-include): the code itself, on what is made up here */
#include "time/ticks.c"
#undef open
#undef pause_ns
#undef thread_start

/* ------------------------------------------------------------- the made-up world */

/* As adjtimex has it: tick, freq, adjtime's slew and a phase of half a second. */
#define LARGEST_SLEW (0.1 + 0.0005 + 0.0005 + 0.125)
#define TICKS_A_NS   2.5

static struct {
    uint64_t seed;
    double clock_ns;
    double counter;
    double slew;       /* clock to real time, less 1 */
    double speed;      /* of the counter, 1: as when it was measured */
    double cpus_apart; /* ticks, by which the other CPU's counter is behind */
    bool on_other_cpu;
    unsigned clock_reads;
    const char *source;
} world;

static double random_between(double least, double most)
{
    return least + (most - least) * (double)(random_next(&world.seed) >> 11) / 0x1p53;
}

static bool once_in(unsigned n)
{
    return random_next(&world.seed) % n == 0;
}

/* What changes at any moment, in the middle of a reading, too. */
static void (*happens)(void);

static void pass_time(double ns)
{
    world.clock_ns += ns * (1 + world.slew);
    world.counter += ns * world.speed * TICKS_A_NS;
    if (happens)
        happens();
}

static uint64_t made_up_counter(void)
{
    pass_time(random_between(5, 15));
    return (uint64_t)(int64_t)(world.counter - (world.on_other_cpu ? world.cpus_apart : 0));
}

static int made_up_clock(clockid_t clock, struct timespec *now)
{
    (void)clock;
    pass_time(random_between(5, 15));
    int64_t ns = (int64_t)world.clock_ns;
    *now = (struct timespec){ns / 1000000000, ns % 1000000000};
    pass_time(random_between(5, 15));
    world.clock_reads++;
    return 0;
}

static int made_up_source(const char *path, int flags)
{
    (void)path;
    (void)flags;
    int fd = memfd_create("source", 0);
    assert_int_equal(write(fd, world.source, strlen(world.source)), strlen(world.source));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* A world in which the library has learned the counter's rate while the clock ran so. */
static void make_up(const char *source, double slew)
{
    static uint64_t seed;
    memset(&world, 0, sizeof world);
    world.seed = ++seed;
    world.clock_ns = 1e15;
    world.counter = 1e12;
    world.slew = slew;
    world.speed = 1;
    world.source = source;
    happens = NULL;
    memset(&tls_ticks, 0, sizeof tls_ticks);
    tls_measured = 0;
    word_store_relaxed(&usable, 0);
    u64_store_relaxed(&known_rate, 0);
    ticks_init();
    for (unsigned i = 0; i < 4; i++) {
        ticks_renew();
        pass_time(30e6);
    }
    assert_true(word_load_relaxed(&usable) && u64_load_relaxed(&known_rate));
}

/* --------------------------------------------------------------------- readings */

/* As a timeout reads it. */
static int64_t take_reading(void)
{
    int64_t now_ns;
    return clock_at_hand(&now_ns) ? now_ns : ticks_renew();
}

static void check_reading(void)
{
    double before_ns = world.clock_ns;
    double reading_ns = (double)take_reading();
    if (reading_ns < before_ns - 1)
        fail_msg("early by %.0f ns, seed %llu", before_ns - reading_ns,
                 (unsigned long long)world.seed);
    if (reading_ns > world.clock_ns + 500e3)
        fail_msg("late by %.0f ns", reading_ns - world.clock_ns);
}

/* Some close together, some apart, some after a rest. */
static void check_readings(void)
{
    for (unsigned i = 0; i < SCALED(20000, 2000); i++) {
        check_reading();
        pass_time(random_between(0, once_in(20) ? 300e3 : 20e3));
        if (once_in(1000))
            pass_time(random_between(0, 1e9));
    }
}

static const char *const whole_sources[] = {"kvm-clock\n", "hyperv_clocksource_tsc_page\n"};

static void slew_changes(void)
{
    if (once_in(50))
        world.slew = random_between(-LARGEST_SLEW, LARGEST_SLEW);
    else if (once_in(50))
        world.slew = once_in(2) ? LARGEST_SLEW : -LARGEST_SLEW;
}

static const double measured_at[] = {-LARGEST_SLEW, 0, LARGEST_SLEW};

TEST(p18_a_timeout_by_the_counter_is_never_early_under_the_largest_slew)
{
    for (size_t at = 0; at < 3; at++) {
        make_up("tsc\n", measured_at[at]);
        happens = slew_changes;
        check_readings();
        for (size_t i = 0; i < 2; i++) {
            make_up(whole_sources[i], measured_at[at]);
            happens = slew_changes;
            check_readings();
        }
        assert_true(word_load_relaxed(&usable)); /* nothing was found wanting */
    }
}

/* What a migration brings: another speed, another value, forwards or back. */
static void counter_changes(void)
{
    slew_changes();
    if (once_in(200))
        world.speed = random_between(0.4, 3);
    if (once_in(2000))
        world.counter = random_between(0, 1e15);
    if (once_in(2000))
        world.counter += random_between(0, 1e9);
}

TEST(p18_a_timeout_by_a_counter_that_jumps_and_slows_down_is_never_early)
{
    for (size_t at = 0; at < 3; at++) {
        for (size_t i = 0; i < 2; i++) {
            make_up(whole_sources[i], measured_at[at]);
            happens = counter_changes;
            check_readings();
        }
    }
}

static void cpu_changes(void)
{
    slew_changes();
    if (once_in(100))
        world.on_other_cpu = !world.on_other_cpu;
}

TEST(p18_a_timeout_by_counters_that_are_apart_is_never_early)
{
    for (size_t at = 0; at < 3; at++) {
        make_up("kvm-clock\n", measured_at[at]);
        world.cpus_apart = 240e3 * TICKS_A_NS; /* 0.19 ms where the clock is slowed down */
        happens = cpu_changes;
        check_readings();
    }
}

/* -------------------------------------------------------------------- and without */

TEST(p18_within_a_pair_no_clock_is_read)
{
    static const char *const all[] = {"tsc\n", "kvm-clock\n", "hyperv_clocksource_tsc_page\n"};
    for (size_t i = 0; i < 3; i++) {
        make_up(all[i], 0);
        take_reading();
        world.clock_reads = 0;
        for (unsigned n = 0; n < 1000; n++) {
            take_reading();
            pass_time(100);
        }
        assert_int_equal(world.clock_reads, 0); /* 0.11 ms of them, with the readings */
        pass_time(20e3);
        take_reading();
        assert_int_equal(world.clock_reads, 1);
    }
}

TEST(p18_a_counter_that_stops_is_not_used_again)
{
    make_up("kvm-clock\n", 0);
    check_reading();
    world.speed = 0.01;
    pass_time(50e6);
    ticks_renew();
    assert_int_equal(word_load_relaxed(&usable), 0);
    world.speed = 1;
    check_readings();
    assert_int_equal(tls_ticks.limit_ticks, 0);
}

TEST(p18_other_clock_sources_are_asked_each_time)
{
    memset(&tls_ticks, 0, sizeof tls_ticks);
    world.source = "hpet\n";
    word_store_relaxed(&usable, 0);
    ticks_init();
    assert_int_equal(word_load_relaxed(&usable), 0);
    happens = NULL;
    world.clock_reads = 0;
    for (unsigned i = 0; i < 100; i++) {
        check_reading();
        pass_time(25e6);
    }
    assert_int_equal(world.clock_reads, 100);
}

TEST(p18_a_forked_child_reads_anew)
{
    make_up("tsc\n", 0);
    take_reading();
    assert_true(tls_ticks.limit_ticks > 0);
    ticks_fork_child();
    world.clock_ns += 1e12; /* a namespace of its own */
    check_reading();
}
