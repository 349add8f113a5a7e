/*
 * moment.c - the answer to `top` is read: a process may tell more than is known here, and
 * less; what has another type than it should counts as not told. See moment.h.
 */
#include "moment.h"

#include <stdio.h>
#include <string.h>

static int64_t number(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

static const char *text(const json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

/* The function if the process has found it, else the address. */
static const char *place(const json_t *row)
{
    const char *function = text(row, "made_in");
    return function ? function : text(row, "made_at");
}

static void read_counts(struct counts *counts, const json_t *stats)
{
    const json_t *late = json_object_get(stats, "late");
    *counts = (struct counts){
        .live = number(stats, "live"),
        .memory_bytes = number(stats, "memory_bytes"),
        .made = number(stats, "made"),
        .gone = number(stats, "gone"),
        .born_done = number(stats, "born_done"),
        .cancels = number(stats, "cancels"),
        .ended = number(stats, "ended"),
        .callbacks = number(stats, "callbacks"),
        .expired = number(stats, "expired"),
        .late_max_ns = number(stats, "late_max_ns"),
    };
    for (size_t i = 0; i < LATE_BUCKETS; i++)
        counts->late[i] = json_integer_value(json_array_get(late, i));
}

static void read_cause(struct moment *moment, size_t at, const json_t *row)
{
    moment->causes[at] = (struct cause_row){.text = text(row, "cause"),
                                            .code = number(row, "code"),
                                            .cancels = number(row, "cancels"),
                                            .ended = number(row, "ended")};
}

static void read_context(struct moment *moment, size_t at, const json_t *row)
{
    const json_t *deadline = json_object_get(row, "deadline_ns");
    moment->contexts[at] = (struct context_row){
        .id = text(row, "id"),
        .name = text(row, "name"),
        .kind = text(row, "kind"),
        .place = place(row),
        .made_ns = number(row, "made_ns"),
        .deadline_ns = json_is_integer(deadline) ? json_integer_value(deadline) : INT64_MAX,
    };
}

static void read_place(struct moment *moment, size_t at, const json_t *row)
{
    moment->places[at] = (struct place_row){.name = text(row, "name"),
                                            .place = place(row),
                                            .count = number(row, "count"),
                                            .done = number(row, "done"),
                                            .oldest_ns = number(row, "oldest_ns")};
}

static size_t read_rows(struct moment *moment, const char *name,
                        void (*read)(struct moment *moment, size_t at, const json_t *row))
{
    const json_t *rows = json_object_get(moment->json, name);
    size_t count = json_array_size(rows);
    count = count < ROWS_MOST ? count : ROWS_MOST;
    for (size_t i = 0; i < count; i++)
        read(moment, i, json_array_get(rows, i));
    return count;
}

bool moment_read(struct moment *moment, const char *bytes, size_t n, char *problem,
                 size_t problem_bytes)
{
    json_error_t error;
    *moment = (struct moment){.json = json_loadb(bytes, n, 0, &error)};
    if (!moment->json) {
        snprintf(problem, problem_bytes, "what it says is no JSON: %s", error.text);
        return false;
    }
    if (!json_is_integer(json_object_get(moment->json, "now_ns")) ||
        !json_is_integer(json_object_get(moment->json, "pid"))) {
        snprintf(problem, problem_bytes, "what it says is no answer to top");
        moment_free(moment);
        return false;
    }
    moment->now_ns = number(moment->json, "now_ns");
    moment->pid = number(moment->json, "pid");
    moment->program = text(moment->json, "program");
    read_counts(&moment->counts, json_object_get(moment->json, "stats"));
    moment->cause_count = read_rows(moment, "causes", read_cause);
    moment->context_count = read_rows(moment, "oldest", read_context);
    moment->place_count = read_rows(moment, "leaks", read_place);
    return true;
}

void moment_free(struct moment *moment)
{
    json_decref(moment->json);
    moment->json = NULL;
}
