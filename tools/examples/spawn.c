/*
 * spawn.c - a program that is started from a callback. At expiry and for signals that
 * runs on a thread of the library's, which blocks all signals, and what is spawned
 * inherits the mask: unless the mask is set, it would hear no SIGTERM.
 *
 * Prints:
 *     the time is over: started sleep
 *     sleep was ended by signal 15
 */
#include <canopy/canopy.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

extern char **environ;

static pid_t child;

/* posix_spawnp with no signal blocked: 0, or an errno. */
static int spawn_unblocked(pid_t *pid, char *const argv[])
{
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    int err = posix_spawnattr_init(&attributes);
    if (err != 0)
        return err;
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    err = posix_spawnp(pid, argv[0], NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return err;
}

static void time_is_over(void *over)
{
    char *const argv[] = {"sleep", "50", NULL};
    if (spawn_unblocked(&child, argv) == 0)
        printf("the time is over: started %s\n", argv[0]);
    canopy_cancel(over);
}

int main(void)
{
    canopy_callback callback;
    canopy_ctx *over = canopy_with_cancel(canopy_background());
    canopy_ctx *timed = canopy_with_timeout(canopy_background(), 1000000);
    if (!over || !timed || canopy_after_func(timed, &callback, time_is_over, over) != 0)
        return 1;
    canopy_wait(over, CANOPY_NEVER);
    canopy_callback_join(&callback);
    int status;
    if (child == 0 || kill(child, SIGTERM) != 0 || waitpid(child, &status, 0) != child)
        return 1;
    printf("sleep was ended by signal %d\n", WTERMSIG(status));
    canopy_end(timed);
    canopy_end(over);
    return WIFSIGNALED(status) ? 0 : 1;
}
