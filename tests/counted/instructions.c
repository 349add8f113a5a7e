/*
 * instructions.c - counts instructions, by means of callgrind: which is told to
 * collect only between count_begin and count_end, for the thread that calls
 * them. What the library's own threads do is not counted.
 *
 * Where there is no callgrind the requests do nothing.
 */
#include "counted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include <valgrind/callgrind.h>

/*
 * The library's cheap reading of the time is renewed as real time passes, which would
 * be counted now and then: where it does not learn what the kernel's clock is made of
 * it reads that clock each time.
 */
int open(const char *path, int flags, ...)
{
    va_list args;
    if (strstr(path, "clocksource")) {
        errno = ENOENT;
        return -1;
    }
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return openat(AT_FDCWD, path, flags, mode);
}

void count_begin(unsigned thread)
{
    static bool started;

    (void)thread;
    /* Until here it only runs, many times as fast. */
    if (!started)
        CALLGRIND_START_INSTRUMENTATION;
    started = true;
    CALLGRIND_TOGGLE_COLLECT;
}

void count_end(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

int count_report(const struct counted_case *of, uint64_t operations, uint64_t calls)
{
    (void)of;
    (void)calls;
    CALLGRIND_STOP_INSTRUMENTATION;
    printf("%llu\n", (unsigned long long)operations);
    return EXIT_SUCCESS;
}
