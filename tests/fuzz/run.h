/*
 * run.h - a program under way: what the library gave out, what the model says of
 * it, and how the two are compared. The calls themselves are in calls.c and its
 * neighbours.
 */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "model.h"
#include "program.h"

#define RUN_HANDLES   24
#define RUN_CALLBACKS 12
#define RUN_KEYS      3
#define RUN_CAUSES    4
#define RUN_SIGNALS   3
#define RUN_NAME      "a handle's" /* of all that a program made and has had in hand */
#define RUN_DEPTH     3            /* callbacks inside callbacks */
#define RUN_CROWDS    3
#define RUN_THREADS   4 /* the first is the one that the program began on */

/* The first handles, which are always there. */
#define HANDLE_ROOT       0
#define HANDLE_BACKGROUND 1
#define HANDLE_TODO       2
#define HANDLES_FIXED     3

struct call {
    uint8_t code;
    uint8_t arg[PROGRAM_CALL_BYTES - 1];
};

struct handle {
    canopy_ctx *ctx;
    int node;
};

/* Many children of one parent, made and treated alike: one node stands for all. */
struct crowd {
    int node;
    unsigned count; /* 0: there is none */
    canopy_ctx **members;
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
    bool elsewhere; /* a thread of the library's will run it */
    int node;
    int bound_depth; /* how deep in callbacks the call is that has to run it */
    struct call action;
};

/* A thread of the program's. One at a time goes on with the calls, the others wait. */
struct thread {
    struct run *run;
    pthread_t id;
    bool is_alive;
    bool must_end;
    sem_t go;
};

struct run {
    const struct program_options *options;
    const uint8_t *bytes;
    size_t left;
    int depth;        /* callbacks that we are inside of */
    unsigned calls;   /* made so far */
    const char *what; /* the call under way */
    struct model model;
    struct root *root;
    bool is_noted; /* the root keeps notes */
    canopy_ctx *ctx_of[MODEL_NODES];
    int fd_of[MODEL_NODES]; /* done fds that were asked for, else -1 */
    struct handle handles[RUN_HANDLES];
    int handles_count;
    struct crowd crowds[RUN_CROWDS];
    unsigned crowded; /* members made so far */
    struct callback callbacks[RUN_CALLBACKS];
    sem_t ran_elsewhere;
    struct binding bindings[MODEL_NODES]; /* by node */
    int null_bindings[RUN_KEYS];          /* layers that bind NULL, by key */
    bool watched;                         /* somebody waited for the root to be idle */
    bool advancing;                       /* an expiry that the model has not followed yet */
    int64_t advance_ns;
    struct thread threads[RUN_THREADS];
    int thread;      /* which one goes on */
    int thread_next; /* which one will, after this call */
    sem_t passed;    /* the first thread has its turn again */
};

extern const canopy_key run_keys[RUN_KEYS];
extern const canopy_cause run_causes[RUN_CAUSES];
/* What the model takes for the library's own cause: its code is the signal's number. */
extern canopy_cause run_signal_causes[RUN_SIGNALS];

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

/* Makes one call, and compares. */
void run_make(struct run *run, const struct call *call);

/* ------------------------------------------------------------------ inspected.c */

/* What inspect.h tells of what has memory, where the root keeps notes, and of it all. */
void run_inspect(const struct run *run, const bool held[MODEL_NODES]);

/* ------------------------------------------------------------------- compare.c */

/* After the model has moved and before the library does: what may go now, and what must run. */
void run_foresee(struct run *run);

/* The model follows the library's clock as soon as anybody can look. */
void run_settle(struct run *run);

/* Compares everything that has memory. */
void run_compare(struct run *run);

/* What was bound to run by the call that now returns has run. */
void run_check_callbacks(const struct run *run);

/* What canopy_after_func is given. */
void run_callback(void *arg);

/* --------------------------------------------------------------------- roots.c */

/* The root of a program, and what it had from before; and back. */
void root_open(struct run *run, size_t max_live, bool is_noted);
void root_close(struct run *run);

/* One more root for a moment, now and then without memory for it. */
void call_second_root(struct run *run, const uint8_t *arg);

/* Starts the roots' memory failing at the `nth` allocation from now; 0: never. */
void run_fail_allocation(unsigned nth);
/* Whether one has failed since the last time this was asked. */
bool run_allocation_failed(void);

/* ------------------------------------------------------------------- threads.c */

/* Makes the program's calls, each on the thread that has its turn. */
void threads_run(struct run *run, void (*turn)(struct run *run));
void threads_close(struct run *run);

/* How the signals are handled while no program watches them. */
void signals_remember(void);

#endif
