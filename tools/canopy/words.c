/*
 * words.c - which commands there are, and whether what was typed is one of them: what can be
 * told to be wrong without the process is told without it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

bool parse_duration(const char *text, int64_t *duration_ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"", 1e9},   {"s", 1e9},  {"ms", 1e6},   {"us", 1e3},
                 {"ns", 1.0}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}};
    char *unit;
    if (*text < '0' || *text > '9')
        return false;
    double number = strtod(text, &unit);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(unit, units[i].name) == 0 && number * units[i].ns <= 1e5 * 3600e9) {
            *duration_ns = (int64_t)(number * units[i].ns);
            return true;
        }
    return false;
}

static bool is_duration(const char *word)
{
    int64_t duration_ns;
    return parse_duration(word, &duration_ns);
}

static bool is_json(const char *word)
{
    return strcmp(word, "json") == 0;
}

static bool is_format(const char *word)
{
    static const char *const formats[] = {"text", "json", "dot", "html"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(word, formats[i]) == 0)
            return true;
    return false;
}

static bool is_number(const char *word)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(word, &end, 0);
    return *word >= '0' && *word <= '9' && !*end && !errno && number > 0;
}

static bool is_text(const char *word)
{
    return !strchr(word, '\n') && !strchr(word, '\r');
}

/* What a command takes, word by word; the last takes all that follow where `has_more`. */
struct command {
    const char *name;
    size_t least, most;
    struct {
        const char *name;
        bool (*is_right)(const char *word);
    } words[2];
    bool has_more;
};

static const struct command commands[] = {
    {.name = "top"},
    {.name = "tree"},
    {.name = "dump", .least = 1, .most = 1, .words = {{"text, json, dot or html", is_format}}},
    {.name = "leaks", .most = 1, .words = {{"json", is_json}}},
    {.name = "leaks",
     .least = 1,
     .most = 2,
     .words = {{"an age such as 90, 200ms or 5m", is_duration}, {"json", is_json}}},
    {.name = "causes", .most = 1, .words = {{"json", is_json}}},
    {.name = "stats", .most = 1, .words = {{"json", is_json}}},
    {.name = "context",
     .least = 1,
     .most = 2,
     .words = {{"an id, as tree prints them", is_number}, {"json", is_json}}},
    {.name = "cancel",
     .least = 1,
     .most = 2,
     .words = {{"an id, as tree prints them", is_number}, {"a text of one line", is_text}},
     .has_more = true},
    {.name = "trace",
     .least = 1,
     .most = 2,
     .words = {{"a time such as 5, 200ms or 1m", is_duration},
               {"bytes for each thread, a power of two", is_number}}},
};

static bool fits(const struct command *command, size_t count, char **words, char *problem,
                 size_t problem_bytes)
{
    if (count < command->least) {
        snprintf(problem, problem_bytes, "%s needs %s", command->name, command->words[count].name);
        return false;
    }
    if (count > command->most && !command->has_more) {
        snprintf(problem, problem_bytes, "%s does not take '%s'", command->name,
                 words[command->most]);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i < command->most ? i : command->most - 1;
        if (!command->words[at].is_right(words[i])) {
            snprintf(problem, problem_bytes, "%s: '%s' is not %s", command->name, words[i],
                     command->words[at].name);
            return false;
        }
    }
    return true;
}

/* What was typed is part of a message of one line. */
static bool tell(char *problem)
{
    for (char *c = problem; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return false;
}

bool words_are_right(int argc, char **argv, char *problem, size_t problem_bytes)
{
    snprintf(problem, problem_bytes, "there is no command '%s'", argv[0]);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[0], commands[i].name) == 0 &&
            fits(&commands[i], (size_t)argc - 1, argv + 1, problem, problem_bytes))
            return true;
    return tell(problem);
}
