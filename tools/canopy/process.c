/*
 * process.c - commands about a process that is read from outside: all that the command needs
 * is read at once, then looked at, then written.
 */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core.h"
#include "report.h"
#include "tool.h"

/* ----------------------------------------------------------------------- parts */

void report_place(struct report *report, const void *place)
{
    char name[NAME_BYTES];
    names_of(report->names, (uintptr_t)place, name);
    sink_text(&report->sink, name);
}

void report_place_quoted(struct report *report, const void *place)
{
    char name[NAME_BYTES];
    names_of(report->names, (uintptr_t)place, name);
    sink_quoted(&report->sink, name);
}

void report_id(struct report *report, uint64_t id, bool has_note)
{
    if (has_note)
        sink_id(&report->sink, id);
    else
        sink_hex(&report->sink, id);
}

static void json_begin(struct report *report)
{
    if (report->is_json)
        report_number(report, "{\"canopy\":1,\"now_ns\":", report->image.now_ns);
}

/* -------------------------------------------------------------------- commands */

/* What the words behind the command say. */
struct asked {
    bool is_json;
    int64_t age_ns;
    uint64_t id;
};

static int tree(struct report *report, const struct asked *asked)
{
    (void)asked;
    report_tree(report);
    return 0;
}

static int dump(struct report *report, const struct asked *asked)
{
    (void)asked;
    json_begin(report);
    if (report->is_json)
        report_json(report);
    else
        report_tree(report);
    return 0;
}

static int leaks(struct report *report, const struct asked *asked)
{
    json_begin(report);
    report_leaks(report, asked->age_ns);
    return 0;
}

static int causes(struct report *report, const struct asked *asked)
{
    struct cause_sum *sums = NULL;
    size_t count = 0;
    (void)asked;
    int err = sums_causes(&report->image, &sums, &count);
    if (err)
        return err;
    json_begin(report);
    report_causes(report, sums, count);
    free(sums);
    return 0;
}

/* Contexts without notes are counted as they are seen. */
static int stats(struct report *report, const struct asked *asked)
{
    canopy_stats stats;
    (void)asked;
    sums_stats(&report->image, &stats);
    for (size_t i = 0; i < report->all.count; i++)
        stats.live += !told_has_note(&report->all, &report->all.list[i]);
    json_begin(report);
    report_stats(report, &stats);
    return 0;
}

static int context(struct report *report, const struct asked *asked)
{
    const struct told *told = told_find(&report->all, asked->id);
    if (!told)
        return remote_fails(report->image.remote, -ESRCH, "no such context");
    json_begin(report);
    if (report->is_json)
        report_json_context(report, told);
    else
        report_context(report, told);
    return 0;
}

/* ----------------------------------------------------------------------- words */

/* A number, decimal or after 0x in hexadecimal. */
static bool takes_id(const char *word, struct asked *asked)
{
    char *end;
    errno = 0;
    bool is_hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    asked->id = strtoull(word, &end, is_hex ? 16 : 10);
    return *word >= '0' && *word <= '9' && !*end && errno == 0;
}

static bool takes_age(const char *word, struct asked *asked)
{
    return parse_duration(word, &asked->age_ns);
}

static bool takes_format(const char *word, struct asked *asked)
{
    asked->is_json = strcmp(word, "json") == 0;
    return asked->is_json || strcmp(word, "text") == 0;
}

struct command {
    const char *name;
    int (*run)(struct report *report, const struct asked *asked);
    bool (*takes)(const char *word, struct asked *asked);
    const char *usage;
};

static const struct command commands[] = {
    {"tree", tree, NULL, "tree"},
    {"dump", dump, takes_format, "dump text|json"},
    {"leaks", leaks, takes_age, "leaks AGE [json]   (AGE: 30, 500ms, 2m: ns us ms s m h)"},
    {"causes", causes, NULL, "causes [json]"},
    {"stats", stats, NULL, "stats [json]"},
    {"context", context, takes_id, "context ID [json]"},
};
#define COMMANDS (sizeof commands / sizeof *commands)

/* The command that is asked for; NULL, and a line on stderr: there is none such. */
static const struct command *command_of(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fputs("canopy: without the process's help there are only\n", stderr);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stderr, "  %s\n", commands[i].usage);
    return NULL;
}

/* Its words; false, and a line on stderr: they are others. */
static bool words_read(const struct command *command, int argc, char **argv, struct asked *asked,
                       bool *is_json)
{
    int used = 1 + (command->takes != NULL);
    bool is_right = argc >= used && (!command->takes || command->takes(argv[1], asked));
    bool is_dump = command->run == dump, is_tree = command->run == tree;
    bool has_more = argc == used + 1 && !is_dump && !is_tree && strcmp(argv[used], "json") == 0;
    *is_json = has_more || asked->is_json;
    if (is_right && (argc == used || has_more))
        return true;
    fprintf(stderr, "canopy: usage: %s\n", command->usage);
    return false;
}

/* ------------------------------------------------------------------------- run */

static int write_stdout(void *user, const char *bytes, size_t n)
{
    (void)user;
    return fwrite(bytes, 1, n, stdout) == n ? 0 : -EIO;
}

/* What the command needs is read, and what it finds written. */
static int report_run(struct report *report, struct remote *remote, const struct command *command,
                      const struct asked *asked)
{
    int err = image_read(&report->image, remote);
    if (!err)
        err = told_gather(&report->all, &report->image);
    if (err)
        return err;
    report->names = names_open(remote);
    if (!report->names)
        return remote_fails(remote, -ENOMEM, "no memory");
    sink_open(&report->sink, write_stdout, NULL);
    err = command->run(report, asked);
    if (!err && (sink_flush(&report->sink) != 0 || fflush(stdout) != 0))
        err = remote_fails(remote, -EIO, "the answer cannot be written");
    return err;
}

static int run(struct remote *remote, const struct command *command, const struct asked *asked,
               bool is_json)
{
    struct report *report = calloc(1, sizeof *report);
    int err = report ? 0 : remote_fails(remote, -ENOMEM, "no memory");
    if (report) {
        report->is_json = is_json;
        err = report_run(report, remote, command, asked);
        names_close(report->names);
        told_free(&report->all);
        image_free(&report->image);
        free(report);
    }
    return err;
}

/* One of `pid` and `path` says whose. */
static int answer(pid_t pid, const char *path, int argc, char **argv)
{
    struct asked asked = {0};
    struct remote remote;
    bool is_json;
    const struct command *command = command_of(argc > 0 ? argv[0] : "");
    if (!command || !words_read(command, argc, argv, &asked, &is_json))
        return EXIT_USAGE;
    int err = path ? remote_open_core(&remote, path) : remote_open_process(&remote, pid);
    if (!err)
        err = run(&remote, command, &asked, is_json);
    if (remote.core && core_is_whole(&remote) != 0)
        err = -EIO;
    if (err)
        fprintf(stderr, "canopy: %s\n", remote.why);
    remote_close(&remote);
    return err ? EXIT_SAYS_NO : EXIT_IS_DONE;
}

int process_command(pid_t pid, int argc, char **argv)
{
    return answer(pid, NULL, argc, argv);
}

int core_command(const char *path, int argc, char **argv)
{
    return answer(0, path, argc, argv);
}
