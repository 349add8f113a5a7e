/*
 * main.c - the canopy command: what was typed, and who runs it. Over a socket the process
 * answers itself (canopy_listen); by --pid it is read from outside.
 */
#include <argp.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <canopy/canopy.h>

#include "process.h"
#include "tool.h"

#define TEXT_OF(number)    TEXT_OF_IT(number)
#define TEXT_OF_IT(number) #number

const char *argp_program_version = "canopy " TEXT_OF(CANOPY_VERSION_MAJOR) "." TEXT_OF(
    CANOPY_VERSION_MINOR) "." TEXT_OF(CANOPY_VERSION_PATCH);

enum option_key {
    OPTION_SOCKET = 's',
    OPTION_PID = 'p',
    OPTION_CORE = 'c',
    OPTION_TIMEOUT = 't',
    OPTION_INTERVAL = 'i',
    OPTION_ONCE = '1',
};

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "Which process:", 1},
    {"socket", OPTION_SOCKET, "PATH", 0,
     "The socket on which it listens (canopy_listen); else what CANOPY_SOCKET says", 1},
    {"pid", OPTION_PID, "N", 0, "This one, whether or not it listens, without its help", 1},
    {"core", OPTION_CORE, "FILE", 0, "The one that has left this core", 1},
    {"timeout", OPTION_TIMEOUT, "TIME", 0, "How long it may say nothing (default: 10s)", 1},
    {NULL, 0, NULL, 0, "For top:", 2},
    {"once", OPTION_ONCE, NULL, 0, "Print one screen and end; needs no terminal", 2},
    {"interval", OPTION_INTERVAL, "TIME", 0, "Between two looks (default: 1s)", 2},
    {0},
};

static const char *const synopses =
    "top\ntree\ndump text|json|dot|html\nleaks [AGE] [json]\ncauses [json]\nstats [json]\n"
    "context ID [json]\ncancel ID [TEXT...]\ntrace TIME [BYTES]";

static const char doc[] =
    "Shows what contexts a live process has, how old they are, who ended them and why; ends "
    "one of them."
    "\v"
    "top: a live screen: rates, causes, the oldest contexts, and the places where most were "
    "made. q quits, s sorts, Tab goes to the next table, the space bar holds it.\n\n"
    "tree: each context a line, below what it is derived from.\n\n"
    "dump: all of them, as text, JSON, a graph for graphviz, or one page of HTML.\n\n"
    "leaks: where those were made that are older than AGE (default: 1m).\n\n"
    "causes: why contexts ended, most first.\n\n"
    "stats: how many there are and were, and how late deadlines fired.\n\n"
    "context: all that is known of one.\n\n"
    "cancel: ends one, and all that is derived from it, where the process allows that; TEXT is "
    "the cause that it is given.\n\n"
    "trace: writes what happens for TIME to stdout, as Perfetto and chrome://tracing open it; "
    "each thread keeps its latest BYTES. Ctrl-C ends it early.\n\n"
    "TIME and AGE are numbers with ns, us, ms, s, m or h; seconds without.\n\n"
    "Exit status: 0 it was done; 1 it was not, and stderr says why; 2 it was typed wrong.";

int say_no(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("canopy: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return EXIT_SAYS_NO;
}

/* --------------------------------------------------------------------------- options */

static int64_t duration_of(struct argp_state *state, const char *text, int64_t least_ns)
{
    int64_t duration_ns;
    if (!parse_duration(text, &duration_ns) || duration_ns < least_ns) {
        argp_error(state, "'%s' is not a time, or too short", text);
        return least_ns; /* argp lets a caller ask for an argp_error that comes back */
    }
    return duration_ns;
}

static pid_t pid_of(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || pid <= 0 || pid > INT32_MAX)
        argp_error(state, "'%s' is not the number of a process", text);
    return (pid_t)pid;
}

/* What the environment says counts where nothing was typed. */
static void settle(struct argp_state *state, struct options *options)
{
    char problem[256];
    const char *path = getenv("CANOPY_SOCKET");
    bool is_outside = options->pid || options->core;
    if ((options->path != NULL) + (options->pid != 0) + (options->core != NULL) > 1)
        argp_error(state, "one of --socket, --pid and --core");
    if (!options->path && !is_outside && path && *path)
        options->path = path;
    if (options->argc == 0)
        argp_error(state, "there is no command");
    else if (!words_are_right(options->argc, options->argv, problem, sizeof problem))
        argp_error(state, "%s", problem);
    if (!options->path && !is_outside)
        argp_error(state, "which process? --socket PATH, --pid N or CANOPY_SOCKET says it");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_SOCKET:
        options->path = argument;
        return 0;
    case OPTION_PID:
        options->pid = pid_of(state, argument);
        return 0;
    case OPTION_CORE:
        options->core = argument;
        return 0;
    case OPTION_TIMEOUT:
        options->timeout_ns = duration_of(state, argument, 1);
        return 0;
    case OPTION_INTERVAL:
        options->interval_ns = duration_of(state, argument, NS_PER_SECOND / 20);
        return 0;
    case OPTION_ONCE:
        options->once = true;
        return 0;
    case ARGP_KEY_ARGS:
        options->argc = state->argc - state->next;
        options->argv = state->argv + state->next;
        return 0;
    case ARGP_KEY_END:
        settle(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ------------------------------------------------------------------------------- run */

/* Who says no age means a minute. */
static void settle_age(struct options *options)
{
    static char *words[] = {"leaks", "1m", "json"};
    bool has_age = options->argc > 1 && strcmp(options->argv[1], "json") != 0;
    if (strcmp(options->argv[0], "leaks") == 0 && !has_age) {
        options->argv = words;
        options->argc++;
    }
}

static int run(struct options *options)
{
    settle_age(options);
    if (options->core)
        return core_command(options->core, options->argc, options->argv);
    if (options->pid)
        return process_command(options->pid, options->argc, options->argv);
    if (strcmp(options->argv[0], "top") == 0)
        return top_command(options);
    if (strcmp(options->argv[0], "trace") == 0)
        return trace_command(options);
    return plain_command(options);
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .options = option_list, .parser = parse_option, .args_doc = synopses, .doc = doc};
    struct options options = {.timeout_ns = 10 * NS_PER_SECOND, .interval_ns = NS_PER_SECOND};
    setlocale(LC_CTYPE, "");
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    return run(&options);
}
