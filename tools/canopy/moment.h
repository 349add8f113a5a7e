/*
 * moment.h - what a process says to `top`, as JSON and as what a screen needs of it. Texts
 * are the JSON's, and live as long as it.
 */
#ifndef CANOPY_TOOL_MOMENT_H
#define CANOPY_TOOL_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define ROWS_MOST    50
#define LATE_BUCKETS 24

struct counts {
    int64_t live, memory_bytes, made, gone, born_done, cancels, ended, callbacks, expired;
    int64_t late_max_ns;
    int64_t late[LATE_BUCKETS];
};

struct cause_row {
    const char *text; /* NULL: all for which the process had no room */
    int64_t code, cancels, ended;
};

struct context_row {
    const char *id, *name, *kind, *place; /* name: or NULL */
    int64_t made_ns;
    int64_t deadline_ns; /* INT64_MAX: none */
};

struct place_row {
    const char *name, *place; /* or NULL */
    int64_t count, done, oldest_ns;
};

struct moment {
    json_t *json; /* NULL: there is none */
    int64_t now_ns, pid;
    const char *program;
    struct counts counts;
    size_t cause_count, context_count, place_count;
    struct cause_row causes[ROWS_MOST];
    struct context_row contexts[ROWS_MOST];
    struct place_row places[ROWS_MOST];
};

/* False: that is no such answer, and `problem` says why. What it does not tell is 0. */
bool moment_read(struct moment *moment, const char *bytes, size_t n, char *problem,
                 size_t problem_bytes);

void moment_free(struct moment *moment);

#endif
