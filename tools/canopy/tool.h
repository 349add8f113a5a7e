/*
 * tool.h - what the parts of the canopy command share: what was typed, and how it ends.
 */
#ifndef CANOPY_TOOL_H
#define CANOPY_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* What the command exits with. */
enum { EXIT_IS_DONE = 0, EXIT_SAYS_NO = 1, EXIT_USAGE = 2 };

struct options {
    const char *path; /* the socket; NULL: pid */
    const char *core; /* a core file; NULL: one of the two */
    pid_t pid;        /* 0: path */
    int64_t timeout_ns;
    int64_t interval_ns; /* of top */
    bool once;
    int argc; /* the command and its words */
    char **argv;
};

/* A message for whoever typed it, on stderr: "canopy: " and a line. Returns EXIT_SAYS_NO. */
__attribute__((format(printf, 1, 2))) int say_no(const char *format, ...);

/* "1.5s", "200ms", "3": seconds where no unit is said. False: it is none, or beyond 11 years. */
bool parse_duration(const char *text, int64_t *duration_ns);

/* Each runs its command over the socket and returns the exit status. */
int top_command(const struct options *options);
int trace_command(const struct options *options);
int plain_command(const struct options *options);

/* Whether the words are those of a command; else `problem` says what is wrong with them. */
bool words_are_right(int argc, char **argv, char *problem, size_t problem_bytes);

#endif
