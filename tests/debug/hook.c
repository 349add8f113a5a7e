/*
 * hook.c - the hook itself: when it runs, what it may do, and what the text says.
 */
#include "told.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* A name for the linker. */
canopy_ctx *make_and_end(int *line);
__attribute__((noinline)) canopy_ctx *make_and_end(int *line)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    *line = __LINE__ - 1;
    canopy_end(ctx);
    return ctx;
}

TEST(without_a_hook_nothing_is_said_and_nothing_breaks)
{
    struct told told = {0};
    int line;
    canopy_ctx *ctx = make_and_end(&line);
    assert_true(canopy_done(ctx));
    listen_to(&told);
    assert_int_equal(canopy_debug_set_hook(NULL, NULL), 0);
    canopy_release(ctx);
    assert_not_told(&told);
}

TEST(text_has_the_call_and_all_places)
{
    struct told told = {0};
    int line;
    char expected[256];
    canopy_ctx *ctx = make_and_end(&line);
    listen_to(&told);
    canopy_done(ctx);
    snprintf(expected, sizeof expected, "%p was released and is gone: canopy_done at debug_hook+0x",
             (void *)ctx);
    assert_ptr_equal(strstr(told.text, expected), told.text);
    snprintf(expected, sizeof expected, "; made by canopy_with_cancel at %s:%d", __FILE__, line);
    assert_non_null(strstr(told.text, expected));
    const char *released = strstr(told.text, "; released by canopy_end at debug_hook+0x");
    assert_non_null(released);
    assert_non_null(strstr(released, " in make_and_end"));
    assert_null(strchr(told.text, '\n'));
}

TEST(place_can_be_given_on_behalf_of_others)
{
    struct told told = {0};
    listen_to(&told);
    canopy_ctx *ctx = canopy_debug_made(canopy_with_cancel(canopy_background()), "other.c", 42);
    assert_null(canopy_debug_made(NULL, "other.c", 42));
    canopy_end(ctx);
    assert_not_told(&told);
    canopy_done(ctx);
    assert_non_null(strstr(told.text, "canopy_with_cancel at other.c:42"));
}

static void err_again(const canopy_debug_report *report, void *user)
{
    unsigned *reports = user;
    ++*reports;
    assert_int_equal(canopy_err(report->ctx), -ECANCELED); /* not told */
    canopy_end(canopy_with_cancel(canopy_background()));
}

TEST(hook_may_use_contexts_and_is_not_told_of_itself)
{
    unsigned reports = 0;
    int line;
    canopy_ctx *ctx = make_and_end(&line);
    assert_int_equal(canopy_debug_set_hook(err_again, &reports), 0);
    canopy_err(ctx);
    assert_int_equal(reports, 1);
    canopy_err(ctx);
    assert_int_equal(reports, 2);
}

static canopy_ctx *signalled;

static void observe(int number)
{
    (void)number;
    canopy_done(signalled); /* NOLINT(bugprone-signal-handler): is allowed in one */
}

TEST(mistake_in_a_signal_handler_is_told)
{
    struct told told = {0};
    int line;
    signalled = make_and_end(&line);
    listen_to(&told);
    signal(SIGUSR1, observe);
    raise(SIGUSR1);
    assert_told(&told, CANOPY_DEBUG_USE_AFTER_RELEASE, signalled, "canopy_done");
}

TEST(abort_hook_writes_the_text_and_aborts)
{
    int ends[2], line, status;
    char text[2048];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        canopy_debug_set_hook(canopy_debug_abort, NULL);
        canopy_release(make_and_end(&line));
        _exit(0);
    }
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    assert_true(length > 0);
    text[length] = '\0';
    assert_ptr_equal(strstr(text, "canopy: "), text);
    assert_non_null(strstr(text, "has no handle left: canopy_release"));
    assert_int_equal(text[length - 1], '\n');
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
