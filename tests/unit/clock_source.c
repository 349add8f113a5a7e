/*
 * clock_source.c - promise 18 by the counter as it is, in the way of each clock source that
 * it is used with, whatever this machine's is: the library is told another name.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *source;

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (!strstr(path, "current_clocksource"))
        return openat(AT_FDCWD, path, flags, mode);
    int fd = memfd_create("source", 0);
    assert_int_equal(write(fd, source, strlen(source)), strlen(source));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Times close together, and apart by as much as the rate is measured over. */
static void check_timeouts(const char *name)
{
    const int64_t timeout_ns = HOURS(1);
    source = name;
    for (int i = 0; i < SCALED(20000, 2000); i++) {
        int64_t before_ns = now_ns();
        canopy_ctx *ctx = canopy_with_timeout(canopy_background(), timeout_ns);
        int64_t after_ns = now_ns();
        int64_t deadline_ns;
        assert_true(canopy_deadline(ctx, &deadline_ns));
        if (deadline_ns < before_ns + timeout_ns ||
            deadline_ns > after_ns + timeout_ns + MICROSECONDS(500))
            fail_msg("a timeout made between %lld and %lld ends at +%lld", (long long)before_ns,
                     (long long)after_ns, (long long)(deadline_ns - before_ns));
        canopy_release(ctx);
        if (i < 10)
            pause_ns(MILLISECONDS(25));
        else if (i % 100 == 0)
            pause_ns(MICROSECONDS(i % 1000));
    }
}

TEST(p18_timeouts_are_never_early_by_the_source_tsc)
{
    check_timeouts("tsc\n");
}

TEST(p18_timeouts_are_never_early_by_the_source_kvm_clock)
{
    check_timeouts("kvm-clock\n");
}

TEST(p18_timeouts_are_never_early_by_the_source_hyperv)
{
    check_timeouts("hyperv_clocksource_tsc_page\n");
}

TEST(p18_timeouts_are_never_early_by_a_source_without_a_counter)
{
    check_timeouts("hpet\n");
}
