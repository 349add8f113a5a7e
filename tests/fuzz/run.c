/*
 * run.c - runs a program: opens a root, makes the calls, compares, and sees that
 * everything goes in the end. See run.h.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_NS  1000
#define SPARE_FDS 8 /* what the process may open for itself meanwhile */

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

/* ------------------------------------------------------------------------ memory */

/* The library may give memory back on a thread of its own. */
static atomic_long live_bytes;
static unsigned fail_in;
static bool failed;

static void *allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    if (fail_in && --fail_in == 0) {
        failed = true;
        return NULL;
    }
    void *memory;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    atomic_fetch_add(&live_bytes, (long)size_bytes);
    return memory;
}

static void release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    atomic_fetch_sub(&live_bytes, (long)size_bytes);
    free(memory);
}

void run_fail_allocation(unsigned nth)
{
    fail_in = nth;
    failed = false;
}

bool run_allocation_failed(void)
{
    bool was = failed;
    failed = false;
    return was;
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

/* ----------------------------------------------------------------------- compare */

static const char *cause_text(const canopy_cause *cause)
{
    return cause ? cause->text : "none";
}

static void compare_state(const struct run *run, int i)
{
    const struct model *model = &run->model;
    const canopy_ctx *ctx = run->ctx_of[i];
    int err = canopy_err(ctx);
    if (err != model_err(model, i) || canopy_done(ctx) != (err != 0))
        run_fail(run, "node %d: err is %d, done %d, and should be %d", i, err, canopy_done(ctx),
                 model_err(model, i));
    const canopy_cause *cause = canopy_cause_of(ctx);
    if (cause != model_cause(model, i))
        run_fail(run, "node %d: its cause is %s, and should be %s", i, cause_text(cause),
                 cause_text(model_cause(model, i)));
}

static void compare_deadline(const struct run *run, int i)
{
    int64_t deadline_ns = 0, expected_ns = model_deadline(&run->model, i);
    bool has = canopy_deadline(run->ctx_of[i], &deadline_ns);
    if (has != (expected_ns != CANOPY_NEVER) || deadline_ns != expected_ns)
        run_fail(run, "node %d: its deadline is %lld (%d), and should be %lld", i,
                 (long long)deadline_ns, has, (long long)expected_ns);
}

static void compare_values(const struct run *run, int i)
{
    for (int key = 0; key < RUN_KEYS; key++) {
        int untouched;
        void *value = &untouched, *expected = &untouched;
        bool found = canopy_lookup(run->ctx_of[i], &run_keys[key], &value);
        bool should = model_lookup(&run->model, i, &run_keys[key], &expected);
        void *plain = canopy_value(run->ctx_of[i], &run_keys[key]);
        if (found != should || value != expected || plain != (found ? value : NULL))
            run_fail(run, "node %d: the value of key %d differs (found %d, should be %d)", i, key,
                     found, should);
    }
}

static void compare_fd(const struct run *run, int i)
{
    if (run->fd_of[i] < 0)
        return;
    struct pollfd poller = {.fd = run->fd_of[i], .events = POLLIN};
    poll(&poller, 1, 0);
    bool done = model_err(&run->model, i) != 0;
    if (poller.revents != (done ? POLLIN : 0))
        run_fail(run, "node %d: its fd polls as %x, and it is %s", i, (unsigned)poller.revents,
                 done ? "done" : "live");
}

/* What was seen of a node whose end the interface leaves open. */
static const canopy_cause *observed(void *arg, int node)
{
    const struct run *run = arg;
    return canopy_cause_of(run->ctx_of[node]);
}

/* The model follows the library's clock as soon as anybody can look. */
static void settle(struct run *run)
{
    if (!run->advancing)
        return;
    run->advancing = false;
    if (!model_advance(&run->model, run->advance_ns, observed, run))
        run_fail(run, "an expiry gave a cause that is neither a due parent's nor its own");
    run_foresee(run);
}

void run_compare(struct run *run)
{
    bool held[MODEL_NODES];
    settle(run);
    model_held(&run->model, held);
    for (int i = 0; i < run->model.count; i++) {
        if (!held[i])
            continue;
        compare_state(run, i);
        compare_deadline(run, i);
        compare_values(run, i);
        compare_fd(run, i);
    }
}

/* ------------------------------------------------------------------------ foresee */

void run_foresee(struct run *run)
{
    for (int i = 0; i < RUN_CALLBACKS; i++) {
        struct callback *callback = &run->callbacks[i];
        if (callback->state != CALLBACK_ARMED || !model_err(&run->model, callback->node))
            continue;
        callback->state = CALLBACK_BOUND;
        callback->bound_depth = run->depth;
        run->model.nodes[callback->node].armed--;
    }
    bool held[MODEL_NODES];
    model_held(&run->model, held);
    for (int i = 0; i < run->model.count; i++) {
        if (held[i])
            continue;
        run->fd_of[i] = -1;
        atomic_store(&run->bindings[i].may_go, true);
    }
}

/* What was bound to run by the call that now returns has run. */
static void check_callbacks(const struct run *run)
{
    for (int i = 0; i < RUN_CALLBACKS; i++)
        if (run->callbacks[i].state == CALLBACK_BOUND &&
            run->callbacks[i].bound_depth >= run->depth)
            run_fail(run, "callback %d on node %d has not run", i, run->callbacks[i].node);
}

static void make(struct run *run, const struct call *call)
{
    const char *outer = run->what;
    run_allocation_failed();
    call_make(run, call);
    run_compare(run);
    check_callbacks(run);
    run->what = outer;
}

void run_callback(void *arg)
{
    struct callback *callback = arg;
    struct run *run = callback->run;
    settle(run);
    if (callback->state != CALLBACK_BOUND)
        run_fail(run, "the callback on node %d runs in state %d", callback->node,
                 (int)callback->state);
    callback->state = CALLBACK_RUNNING;
    run->depth++;
    run_compare(run);
    if (canopy_callback_join(&callback->record) != -EDEADLK)
        run_fail(run, "a callback could join itself");
    if (run->depth <= RUN_DEPTH)
        make(run, &callback->action);
    run->depth--;
    callback->state = CALLBACK_RAN;
}

/* ----------------------------------------------------------------------- a program */

bool run_next(struct run *run, struct call *call)
{
    if (run->left < PROGRAM_CALL_BYTES)
        return false;
    memcpy(call, run->bytes, sizeof *call);
    run->bytes += sizeof *call;
    run->left -= sizeof *call;
    return true;
}

/* The root that the program before has kept. */
static struct {
    canopy_ctx *root;
    int64_t now_ns;
    int fd; /* its done fd, else -1 */
} kept = {.fd = -1};

/* The lowest fd that is not in use: it grows when done fds stay behind. */
static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

/* Frees a root, and sees that it takes all of its memory and fds along. */
static void free_root(const struct run *run, canopy_ctx *root)
{
    int err;
    for (int tries = 0; (err = canopy_root_free(root)) == -EBUSY && tries < 5000; tries++) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    if (err)
        run_fail(run, "the root is not free: %d", err);
    if (atomic_load(&live_bytes) != 0)
        run_fail(run, "%ld bytes are left", atomic_load(&live_bytes));
    static int first_fd;
    int fd = lowest_free_fd();
    if (first_fd == 0)
        first_fd = fd;
    if (fd > first_fd + SPARE_FDS)
        run_fail(run, "fds stay open: %d is the first that is free, and was %d", fd, first_fd);
}

static canopy_ctx *new_root(const struct run *run, size_t max_live)
{
    canopy_config config = {.size = sizeof config,
                            .allocate = allocate,
                            .release = release,
                            .max_live = max_live,
                            .clock = CANOPY_CLOCK_HOST,
                            .now_ns = START_NS};
    canopy_ctx *root = canopy_root_new(&config);
    if (!root)
        run_fail(run, "no root: errno %d", errno);
    return root;
}

static void open_root(struct run *run, size_t max_live)
{
    if (kept.root && max_live) {
        free_root(run, kept.root);
        kept.root = NULL;
    }
    canopy_ctx *root = kept.root ? kept.root : new_root(run, max_live);
    model_init(&run->model, kept.root ? kept.now_ns : START_NS, max_live);
    memset(run->fd_of, -1, sizeof run->fd_of);
    for (int i = 0; i < RUN_CALLBACKS; i++)
        run->callbacks[i].run = run;
    union {
        const canopy_ctx *view;
        canopy_ctx *ctx;
    } background = {.view = canopy_background()};
    run->handles[HANDLE_ROOT] = (struct handle){root, model_root(&run->model)};
    run->handles[HANDLE_BACKGROUND] = (struct handle){background.ctx, model_static(&run->model)};
    run->handles_count = HANDLES_FIXED;
    for (int i = 0; i < HANDLES_FIXED; i++)
        run->ctx_of[run->handles[i].node] = run->handles[i].ctx;
    int node = run->handles[HANDLE_ROOT].node;
    if (kept.root && kept.fd >= 0) {
        run->fd_of[node] = kept.fd;
        run->model.nodes[node].has_fd = true;
    }
    kept.root = NULL;
}

/* The root as the next program wants it: live, without a limit, never watched. */
static bool keep_root(const struct run *run)
{
    struct handle root = run->handles[HANDLE_ROOT];
    if (!run->options->keep_root || run->model.max_live || run->watched ||
        !canopy_set_deadline(root.ctx, CANOPY_NEVER))
        return false;
    kept.root = root.ctx;
    kept.now_ns = run->model.now_ns;
    kept.fd = run->fd_of[root.node];
    return true;
}

/* Lets go of everything in whatever order it stands there, and sees it go. */
static void close_root(struct run *run)
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
    if (!keep_root(run))
        free_root(run, run->handles[HANDLE_ROOT].ctx);
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

void program_run(const uint8_t *bytes, size_t size_bytes, const struct program_options *options)
{
    struct run run = {.options = options,
                      .bytes = bytes,
                      .left = size_bytes < PROGRAM_MAX_BYTES ? size_bytes : PROGRAM_MAX_BYTES,
                      .what = "open"};
    running = &run;
    struct call call;
    /* An odd size gives the root a limit, and so finds out what happens at it. */
    size_t tail = run.left % PROGRAM_CALL_BYTES;
    open_root(&run, tail && !options->script ? bytes[run.left - 1] % 16 : 0);
    run_script(&run, "program\n");
    while (run_next(&run, &call)) {
        run.calls++;
        make(&run, &call);
        if (options->script)
            write_states(&run);
    }
    close_root(&run);
}
