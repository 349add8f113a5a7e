/*
 * abort.c - the ready-made hook, for hosts that ask for it.
 */
#include <canopy/debug.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* In one piece, whoever else writes; a mistake may have been made in a signal handler. */
void canopy_debug_abort(const canopy_debug_report *report, void *user)
{
    (void)user;
    struct iovec line[] = {{(void *)(uintptr_t) "canopy: ", sizeof "canopy: " - 1},
                           {(void *)(uintptr_t)report->text, strlen(report->text)},
                           {(void *)(uintptr_t) "\n", 1}};
    ssize_t written = writev(STDERR_FILENO, line, sizeof line / sizeof line[0]);
    (void)written;
    abort();
}
