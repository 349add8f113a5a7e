/*
 * run.c - runs a program: opens a root, makes the calls, compares, and sees that
 * everything goes in the end. See run.h.
 */
#include "calls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------- reports */

void run_fail(const struct run *run, const char *format, ...)
{
    fflush(stdout);
    fprintf(stderr, "program %s, call %u (%s), %d callbacks deep: ", run->options->name, run->calls,
            run->what, run->depth);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

void run_trace(const struct run *run, const char *format, ...)
{
    if (!run->options->verbose)
        return;
    fprintf(stderr, "%*s%3u %s ", 4 * run->depth, "", run->calls, run->what);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void run_script(const struct run *run, const char *format, ...)
{
    if (!run->options->script)
        return;
    va_list args;
    va_start(args, format);
    vfprintf(run->options->script, format, args);
    va_end(args);
}

/* ------------------------------------------------------------------------ values */

static struct run *running; /* whose NULL bindings are counted */
static atomic_int null_destroyed[RUN_KEYS];

static void destroy(void *value, int key)
{
    struct binding *binding = value;
    if (!binding) {
        atomic_fetch_add(&null_destroyed[key], 1);
        return;
    }
    if (!atomic_load(&binding->may_go))
        run_fail(running, "the value of node %d was destroyed while its layer is held",
                 binding->node);
    if (atomic_fetch_add(&binding->destroyed, 1) != 0)
        run_fail(running, "the value of node %d was destroyed twice", binding->node);
}

static void destroy_0(void *value)
{
    destroy(value, 0);
}

static void destroy_1(void *value)
{
    destroy(value, 1);
}

const canopy_key run_keys[RUN_KEYS] = {{"zero", destroy_0}, {"one", destroy_1}, {"two", NULL}};

const canopy_cause run_causes[RUN_CAUSES] = {
    {1, "one", __FILE__, __LINE__},
    {2, "two", __FILE__, __LINE__},
    {3, "three", __FILE__, __LINE__},
    {4, "four", __FILE__, __LINE__},
};

/* ----------------------------------------------------------------------- a program */

void run_make(struct run *run, const struct call *call)
{
    const char *outer = run->what;
    run_allocation_failed();
    call_make(run, call);
    run_compare(run);
    run_check_callbacks(run);
    run->what = outer;
}

bool run_next(struct run *run, struct call *call)
{
    if (run->left < PROGRAM_CALL_BYTES)
        return false;
    memcpy(call, run->bytes, sizeof *call);
    run->bytes += sizeof *call;
    run->left -= sizeof *call;
    return true;
}

/* What Go must see after the same call: each handle's state, deadline and values. */
static void write_states(const struct run *run)
{
    run_script(run, "=");
    for (int h = 0; h < run->handles_count; h++) {
        const canopy_ctx *ctx = run->handles[h].ctx;
        int err = canopy_err(ctx);
        run_script(run, " %s", err == 0 ? "live" : err == -ETIMEDOUT ? "late" : "canceled");
        int64_t deadline_ns;
        if (canopy_deadline(ctx, &deadline_ns))
            run_script(run, " %lld", (long long)deadline_ns);
        else
            run_script(run, " -");
        for (int key = 0; key < RUN_KEYS; key++) {
            const struct binding *binding = canopy_value(ctx, &run_keys[key]);
            if (binding)
                run_script(run, " %d", binding->node);
            else
                run_script(run, " -");
        }
    }
    run_script(run, "\n");
}

/* The calls of the thread that has its turn, until it passes the turn on. */
static void turn(struct run *run)
{
    struct call call;
    while (run->thread == run->thread_next && run_next(run, &call)) {
        run->calls++;
        run_make(run, &call);
        if (run->options->script)
            write_states(run);
    }
}

/* Lets go of everything in whatever order it stands there, and sees it go. */
static void close_all(struct run *run)
{
    run->what = "close";
    run_fail_allocation(0);
    for (int i = 0; i < RUN_CALLBACKS; i++) {
        struct callback *callback = &run->callbacks[i];
        if (callback->state != CALLBACK_ARMED)
            continue;
        callback->state = CALLBACK_IDLE;
        run->model.nodes[callback->node].armed--;
        run_foresee(run);
        if (!canopy_callback_stop(&callback->record))
            run_fail(run, "callback %d could not be stopped", i);
    }
    for (int i = 0; i < RUN_CROWDS; i++)
        crowd_end(run, &run->crowds[i]);
    for (int i = HANDLES_FIXED; i < run->handles_count; i++) {
        run->model.nodes[run->handles[i].node].handles--;
        run_foresee(run);
        canopy_release(run->handles[i].ctx);
    }
    for (int i = 0; i < run->model.count; i++)
        if (run->bindings[i].has_destroy && atomic_load(&run->bindings[i].destroyed) != 1)
            run_fail(run, "the value of node %d was not destroyed", i);
    for (int key = 0; key < RUN_KEYS; key++)
        if (atomic_exchange(&null_destroyed[key], 0) !=
            (run_keys[key].destroy ? run->null_bindings[key] : 0))
            run_fail(run, "NULL bindings of key %d were not destroyed once each", key);
}

void program_run(const uint8_t *bytes, size_t size_bytes, const struct program_options *options)
{
    struct run run = {.options = options,
                      .bytes = bytes,
                      .left = size_bytes < PROGRAM_MAX_BYTES ? size_bytes : PROGRAM_MAX_BYTES,
                      .what = "open"};
    running = &run;
    for (int i = 0; i < RUN_CALLBACKS; i++)
        run.callbacks[i].run = &run;
    /* An odd size gives the root a limit, and so finds out what happens at it. */
    size_t tail = run.left % PROGRAM_CALL_BYTES;
    signals_remember();
    /* So does every other length, which has the root keep notes, of what inspect.h tells. */
    bool is_noted = run.left / PROGRAM_CALL_BYTES % 2 && !options->script;
    root_open(&run, tail && !options->script ? bytes[run.left - 1] % 16 : 0, is_noted);
    sem_init(&run.ran_elsewhere, 0, 0);
    run_script(&run, "program\n");
    threads_run(&run, turn);
    close_all(&run);
    threads_close(&run);
    sem_destroy(&run.ran_elsewhere);
    root_close(&run);
}
