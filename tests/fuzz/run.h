/*
 * run.h - a program under way: what the library gave out, what the model says of
 * it, and how the two are compared. The calls themselves are in calls.c.
 */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include <stdatomic.h>

#include "model.h"
#include "program.h"

#define RUN_HANDLES   24
#define RUN_CALLBACKS 12
#define RUN_KEYS      3
#define RUN_CAUSES    4
#define RUN_DEPTH     3 /* callbacks inside callbacks */

/* The first handles, which are always there. */
#define HANDLE_ROOT       0
#define HANDLE_BACKGROUND 1
#define HANDLES_FIXED     2

struct call {
    uint8_t code;
    uint8_t arg[PROGRAM_CALL_BYTES - 1];
};

struct handle {
    canopy_ctx *ctx;
    int node;
};

/* What a value layer's value points to. */
struct binding {
    int node;
    bool has_destroy;
    atomic_bool may_go; /* the model says that nothing holds the layer any more */
    atomic_int destroyed;
};

enum callback_state {
    CALLBACK_IDLE,
    CALLBACK_ARMED,
    CALLBACK_BOUND, /* its context is done; it runs before the call returns that ended it */
    CALLBACK_RUNNING,
    CALLBACK_RAN
};

struct callback {
    canopy_callback record;
    struct run *run;
    enum callback_state state;
    int node;
    int bound_depth; /* how deep in callbacks the call is that has to run it */
    struct call action;
};

struct run {
    const struct program_options *options;
    const uint8_t *bytes;
    size_t left;
    int depth;        /* callbacks that we are inside of */
    unsigned calls;   /* made so far */
    const char *what; /* the call under way */
    struct model model;
    canopy_ctx *ctx_of[MODEL_NODES];
    int fd_of[MODEL_NODES]; /* done fds that were asked for, else -1 */
    struct handle handles[RUN_HANDLES];
    int handles_count;
    struct callback callbacks[RUN_CALLBACKS];
    struct binding bindings[MODEL_NODES]; /* by node */
    int null_bindings[RUN_KEYS];          /* layers that bind NULL, by key */
    bool watched;                         /* somebody waited for the root to be idle */
    bool advancing;                       /* an expiry that the model has not followed yet */
    int64_t advance_ns;
};

extern const canopy_key run_keys[RUN_KEYS];
extern const canopy_cause run_causes[RUN_CAUSES];

/* Reports what differs, and aborts. */
_Noreturn void run_fail(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line of the trace, when one is asked for. */
void run_trace(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line of the script for Go, when one is written. */
void run_script(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next call of the program; false at its end. */
bool run_next(struct run *run, struct call *call);

/* After the model has moved and before the library does: what may go now, and what must run. */
void run_foresee(struct run *run);

/* Compares everything that has memory. */
void run_compare(struct run *run);

/* Starts the root's memory failing at the `nth` allocation from now; 0: never. */
void run_fail_allocation(unsigned nth);
/* Whether one has failed since the last time this was asked. */
bool run_allocation_failed(void);

/* What canopy_after_func is given. */
void run_callback(void *arg);

/* Makes one call, and compares; in calls.c. */
void call_make(struct run *run, const struct call *call);

#endif
