/*
 * roots.c - the roots that programs run under: their memory, which is counted and
 * can be made to fail, and how they are kept for the next program. See run.h.
 */
#include "calls.h"

#include <canopy/inspect.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_NS 1000
#define LIMITS   16
#define SPARE_FDS                                                                                  \
    (2 * LIMITS + 8) /* of roots that are kept, and what the process opens for itself */

struct root {
    canopy_ctx *ctx;
    atomic_long live_bytes; /* the library may give memory back on a thread of its own */
    int64_t now_ns;
    int fd; /* its done fd, else -1 */
};

/* What the programs before have kept, by the limit that it has, and whether it keeps notes. */
static struct root *kept[2 * LIMITS];

/* ------------------------------------------------------------------------ memory */

static unsigned fail_in;
static bool failed;

static void *allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    struct root *root = user;
    if (fail_in && --fail_in == 0) {
        failed = true;
        return NULL;
    }
    void *memory;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    atomic_fetch_add(&root->live_bytes, (long)size_bytes);
    return memory;
}

static void release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    struct root *root = user;
    (void)align_bytes;
    atomic_fetch_sub(&root->live_bytes, (long)size_bytes);
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

/* ------------------------------------------------------------------------- roots */

/* NULL only where memory was made to fail. */
static struct root *root_new(const struct run *run, size_t max_live, canopy_clock clock,
                             bool is_noted)
{
    struct root *root = malloc(sizeof *root);
    if (!root) {
        run_fail(run, "no memory for the fuzzer itself");
        return NULL; /* cppcheck does not see that it cannot come here */
    }
    *root = (struct root){.now_ns = START_NS, .fd = -1};
    canopy_config config = {.size = sizeof config,
                            .allocate = allocate,
                            .release = release,
                            .user = root,
                            .max_live = max_live,
                            .clock = clock,
                            .now_ns = START_NS,
                            .inspect = is_noted ? CANOPY_INSPECT_NOTES : 0};
    root->ctx = canopy_root_new(&config);
    if (root->ctx)
        return root;
    int error = errno;
    if (error != ENOMEM || !run_allocation_failed())
        run_fail(run, "no root: errno %d", error);
    if (atomic_load(&root->live_bytes) != 0)
        run_fail(run, "%ld bytes are left of no root", atomic_load(&root->live_bytes));
    free(root);
    return NULL;
}

/* It may stay busy for a moment after the last end. */
static void free_ctx(const struct run *run, canopy_ctx *ctx)
{
    int err;
    for (int tries = 0; (err = canopy_root_free(ctx)) == -EBUSY && tries < 50000; tries++)
        usleep(100);
    if (err)
        run_fail(run, "the root is not free: %d", err);
}

/* Sees that a root takes all of its memory along. */
static void root_free(const struct run *run, struct root *root)
{
    free_ctx(run, root->ctx);
    if (atomic_load(&root->live_bytes) != 0)
        run_fail(run, "%ld bytes are left", atomic_load(&root->live_bytes));
    free(root);
}

/* The lowest fd that is not in use: it grows when done fds stay behind. */
static void check_fds(const struct run *run)
{
    static int first_fd;
    int fd = dup(STDERR_FILENO);
    close(fd);
    if (first_fd == 0)
        first_fd = fd;
    if (fd > first_fd + SPARE_FDS)
        run_fail(run, "fds stay open: %d is the first that is free, and was %d", fd, first_fd);
}

static canopy_ctx *mutable_ctx(const canopy_ctx *ctx)
{
    union {
        const canopy_ctx *view;
        canopy_ctx *ctx;
    } both = {.view = ctx};
    return both.ctx;
}

static struct root **kept_at(const struct run *run, size_t max_live)
{
    return &kept[max_live % LIMITS + (run->is_noted ? LIMITS : 0)];
}

void root_open(struct run *run, size_t max_live, bool is_noted)
{
    run->is_noted = is_noted;
    struct root *root = *kept_at(run, max_live);
    *kept_at(run, max_live) = NULL;
    if (!root)
        root = root_new(run, max_live, CANOPY_CLOCK_HOST, is_noted);
    run->root = root;
    model_init(&run->model, root->now_ns, max_live);
    memset(run->fd_of, -1, sizeof run->fd_of);
    run->handles[HANDLE_ROOT] = (struct handle){root->ctx, model_root(&run->model)};
    run->handles[HANDLE_BACKGROUND] =
        (struct handle){mutable_ctx(canopy_background()), model_static(&run->model)};
    run->handles[HANDLE_TODO] =
        (struct handle){mutable_ctx(canopy_todo()), model_static(&run->model)};
    run->handles_count = HANDLES_FIXED;
    for (int i = 0; i < HANDLES_FIXED; i++)
        run->ctx_of[run->handles[i].node] = run->handles[i].ctx;
    int node = run->handles[HANDLE_ROOT].node;
    run->fd_of[node] = root->fd;
    run->model.nodes[node].has_fd = root->fd >= 0;
}

void root_close(struct run *run)
{
    struct root *root = run->root;
    root->now_ns = run->model.now_ns;
    root->fd = run->fd_of[run->handles[HANDLE_ROOT].node];
    /* The next program wants it live and never watched. */
    if (!run->watched && canopy_set_deadline(root->ctx, CANOPY_NEVER))
        *kept_at(run, run->model.max_live) = root;
    else
        root_free(run, root);
    for (size_t i = 0; i < sizeof kept / sizeof *kept && !run->options->keep_root; i++) {
        if (kept[i])
            root_free(run, kept[i]);
        kept[i] = NULL;
    }
    check_fds(run);
}

/* ------------------------------------------------------------------ a second root */

/* A context that hangs on both roots: each end of it, and the memory of both. */
static void merge_across(struct run *run, struct handle handle, canopy_ctx *there)
{
    canopy_ctx *child = canopy_with_cancel(there);
    const canopy_ctx *inputs[] = {handle.ctx, child};
    if (!child)
        return;
    canopy_ctx *merged = canopy_with_any(inputs, 2);
    int err = model_err(&run->model, handle.node);
    if (merged && canopy_err(merged) != err)
        run_fail(run, "a context over two roots is not born as node %d is", handle.node);
    canopy_cancel_cause(child, &run_causes[0]);
    if (merged && !err && canopy_cause_of(merged) != &run_causes[0])
        run_fail(run, "a cancel under another root does not arrive");
    canopy_release(child);
    canopy_release(merged);
}

void call_second_root(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    if (run->depth > 0 || arg[2] % 64)
        return; /* a grace period for each */
    if (arg[1] % 8 == 0) {
        canopy_ctx *plain = canopy_root_new(NULL);
        merge_across(run, handle, plain);
        free_ctx(run, plain);
        return;
    }
    run_fail_allocation(arg[1] / 8 % 8);
    bool host = arg[0] & 128;
    struct root *second =
        root_new(run, arg[1] % 8 - 1, host ? CANOPY_CLOCK_HOST : CANOPY_CLOCK_LIBRARY, arg[0] & 64);
    if (second) {
        merge_across(run, handle, second->ctx);
        int64_t next_ns;
        if (host && (canopy_root_advance(second->ctx, CANOPY_NEVER, &next_ns) != 0 ||
                     next_ns != CANOPY_NEVER || canopy_done(second->ctx)))
            run_fail(run, "the end of time ends what has no deadline");
        root_free(run, second);
    }
    run_fail_allocation(0);
}
