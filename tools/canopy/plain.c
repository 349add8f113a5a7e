/*
 * plain.c - commands whose answer is for stdout as it comes, and the trace, which is three of
 * them. What the process says when it says no is at most one line, and goes to stderr: so
 * that much of an answer is held back until it is known which it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "socket.h"
#include "tool.h"

#define HELD_BYTES 4096

struct printer {
    bool is_quiet; /* what is said to yes is of no use */
    bool is_for_terminal;
    bool is_c2_held; /* with which a control may begin */
    size_t held_bytes;
    bool is_flowing; /* too much was held back: it is an answer */
    char held[HELD_BYTES];
};

/* ---------------------------------------------------------------------------- bytes */

/*
 * A terminal obeys what a name may have in it: controls, of which UTF-8 has 32 of two bytes, C2
 * and another. None of the others is in what canopy writes, but who listens there is not known
 * to be canopy.
 */
static void put_safely(struct printer *printer, unsigned char c)
{
    bool is_second = printer->is_c2_held;
    bool is_control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    bool is_long_control = is_second && c >= 0x80 && c < 0xA0;
    printer->is_c2_held = c == 0xC2;
    if (is_second && !is_long_control)
        putchar(0xC2);
    if (!printer->is_c2_held)
        putchar(is_control || is_long_control ? '?' : c);
}

static int put_on_terminal(struct printer *printer, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_safely(printer, (unsigned char)bytes[i]);
    return ferror(stdout) ? -EIO : 0;
}

static int put(struct printer *printer, const char *bytes, size_t n)
{
    if (printer->is_quiet)
        return 0;
    if (printer->is_for_terminal)
        return put_on_terminal(printer, bytes, n);
    return fwrite(bytes, 1, n, stdout) == n ? 0 : -errno;
}

static int print(void *user, const char *bytes, size_t n)
{
    struct printer *printer = user;
    if (!printer->is_flowing && n <= sizeof printer->held - printer->held_bytes) {
        memcpy(printer->held + printer->held_bytes, bytes, n);
        printer->held_bytes += n;
        return 0;
    }
    int err = printer->is_flowing ? 0 : put(printer, printer->held, printer->held_bytes);
    printer->is_flowing = true;
    return err ? err : put(printer, bytes, n);
}

/* What has come in spite of all goes where it would have gone: it may be of use. */
static bool printer_flush(struct printer *printer)
{
    int err = printer->is_flowing ? 0 : put(printer, printer->held, printer->held_bytes);
    return err == 0 && fflush(stdout) == 0;
}

/* ------------------------------------------------------------------------- messages */

static const char *reason(const char *line, int status)
{
    bool is_cancel = strncmp(line, "cancel ", 7) == 0;
    switch (status) {
    case -ESRCH:
        return "there is no such context: it is gone, or never was";
    case -EALREADY:
        return "it has ended already";
    case -EPERM:
        return is_cancel ? "the process does not allow it, or the context is of a kind that "
                           "cannot be cancelled"
                         : "the process does not allow it";
    case -EBUSY:
        return "a trace is on already";
    case -EINVAL:
        return "the process does not know that command";
    default:
        return strerror(-status);
    }
}

/* What the process itself says, if it is something to show: a line or two of text. */
static bool explanation(struct printer *printer, char *text, size_t text_bytes)
{
    size_t n = printer->held_bytes < text_bytes - 1 ? printer->held_bytes : text_bytes - 1;
    if (printer->is_flowing)
        return false;
    for (size_t i = 0; i < n; i++) {
        text[i] = printer->held[i];
        if (text[i] < 0x20 || text[i] >= 0x7F)
            text[i] = ' ';
    }
    while (n > 0 && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
    return n > 0;
}

static int tell_refusal(struct printer *printer, const char *line, int status)
{
    char text[1024];
    if (explanation(printer, text, sizeof text))
        return say_no("%s: %s", line, text);
    if (!printer_flush(printer))
        say_no("cannot write: %s", strerror(errno));
    return say_no("%s: %s", line, reason(line, status));
}

/* -------------------------------------------------------------------------- commands */

static int ask(const struct options *options, const char *line, bool is_quiet)
{
    char command[COMMAND_BYTES + 1];
    struct question question;
    struct printer printer = {.is_quiet = is_quiet, .is_for_terminal = isatty(STDOUT_FILENO) != 0};
    if (snprintf(command, sizeof command, "%s\n", line) >= (int)sizeof command)
        return say_no("a command has at most %d bytes", COMMAND_BYTES - 1);
    if (!question_ask(&question, options->path, command, options->timeout_ns, print, &printer)) {
        printer_flush(&printer);
        return say_no("%s: %s", options->path, question.problem);
    }
    if (question.status != 0)
        return tell_refusal(&printer, line, question.status);
    return printer_flush(&printer) ? EXIT_IS_DONE : say_no("cannot write: %s", strerror(errno));
}

static void join(char *line, size_t line_bytes, int argc, char **argv)
{
    size_t used = 0;
    for (int i = 0; i < argc && used < line_bytes; i++)
        used += (size_t)snprintf(line + used, line_bytes - used, i ? " %s" : "%s", argv[i]);
}

/* An age goes as nanoseconds, so that each process takes all that can be typed. */
static int leaks(const struct options *options)
{
    char line[64];
    int64_t age_ns = 0;
    parse_duration(options->argv[1], &age_ns);
    snprintf(line, sizeof line, "leaks %" PRId64 "ns%s", age_ns, options->argc > 2 ? " json" : "");
    return ask(options, line, false);
}

int plain_command(const struct options *options)
{
    char line[COMMAND_BYTES + 64];
    if (strcmp(options->argv[0], "leaks") == 0)
        return leaks(options);
    join(line, sizeof line, options->argc, options->argv);
    return ask(options, line, false);
}

/* Ctrl-C ends the time, not the trace: what was gathered is written. */
static void sleep_unless_signalled(int64_t duration_ns)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    struct timespec time = {duration_ns / NS_PER_SECOND, duration_ns % NS_PER_SECOND};
    sigtimedwait(&ends, NULL, &time);
}

static void block_signals(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
}

int trace_command(const struct options *options)
{
    char line[64] = "trace start";
    int64_t duration_ns = 0;
    parse_duration(options->argv[1], &duration_ns);
    if (isatty(STDOUT_FILENO)) {
        say_no("trace: it is for a file: canopy trace %s > trace.json", options->argv[1]);
        return EXIT_USAGE;
    }
    if (options->argc > 2)
        snprintf(line, sizeof line, "trace start %.32s", options->argv[2]);
    block_signals();
    int status = ask(options, line, true);
    if (status != EXIT_IS_DONE)
        return status;
    sleep_unless_signalled(duration_ns);
    status = ask(options, "trace stop", true);
    return status == EXIT_IS_DONE ? ask(options, "trace write", false) : status;
}
