/*
 * scene.c - a process that comes by every probe of src/base/probe.h, for a tracer to look at.
 * Usage: probes_scene [again]: prints a line when it is there, begins when it reads one from
 * its input, and with `again` goes on until its input ends, printing one after each turn.
 */
#include <canopy/canopy.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const canopy_cause client_gone = {.code = -ECONNRESET, .text = "the client went away"};

static void must(bool is_so)
{
    if (!is_so) {
        perror("probes_scene");
        abort();
    }
}

static void end_root(canopy_ctx *root)
{
    must(canopy_wait_idle(root, CANOPY_NEVER) == 0 && canopy_root_free(root) == 0);
}

static void called_back(void *arg)
{
    (void)arg;
}

/* A cancel with a cause, of a context that has a child and a callback for the worker. */
static void cancel_with_children(canopy_ctx *root)
{
    canopy_ctx *request = canopy_with_cancel(root), *call = canopy_with_cancel(request);
    canopy_callback callback;
    must(call && canopy_after_func_async(request, &callback, called_back, NULL) == 0);
    must(canopy_cancel_cause(request, &client_gone));
    must(canopy_callback_join(&callback) == 0);
    canopy_end(call);
    canopy_end(request);
}

static void expire(canopy_ctx *root)
{
    canopy_ctx *ctx = canopy_with_timeout(root, 1000000);
    must(ctx && canopy_wait(ctx, CANOPY_NEVER));
    must(canopy_err(ctx) == -ETIMEDOUT);
    canopy_end(ctx);
}

static void hear_a_signal(void)
{
    const int signals[] = {SIGUSR1};
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), signals, 1);
    must(ctx && kill(getpid(), SIGUSR1) == 0);
    must(canopy_wait(ctx, CANOPY_NEVER));
    canopy_end(ctx);
}

/* As malloc and free would give, while there is any. */
static bool has_memory;

static void *give(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    return has_memory ? aligned_alloc(align_bytes, size_bytes) : NULL;
}

static void take(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    (void)size_bytes;
    free(memory);
}

/* At its limit, then out of memory. */
static void be_refused(void)
{
    canopy_config config = {
        .size = sizeof config, .allocate = give, .release = take, .max_live = 1};
    has_memory = true;
    canopy_ctx *root = canopy_root_new(&config), *child = canopy_with_cancel(root);
    must(root && child && !canopy_with_cancel(root) && errno == EAGAIN);
    canopy_end(child);
    config.max_live = 0;
    canopy_ctx *other = canopy_root_new(&config);
    canopy_ctx *most[2000];
    size_t n = 0;
    has_memory = false;
    while (n < sizeof most / sizeof *most && (most[n] = canopy_with_cancel(other)) != NULL)
        n++;
    must(other && n < sizeof most / sizeof *most && errno == ENOMEM);
    has_memory = true;
    while (n > 0)
        canopy_end(most[--n]);
    end_root(other);
    end_root(root);
}

static void turn(void)
{
    canopy_ctx *root = canopy_root_new(NULL);
    must(root != NULL);
    cancel_with_children(root);
    expire(root);
    hear_a_signal();
    be_refused();
    end_root(root);
}

static bool await_line(void)
{
    for (char byte; read(STDIN_FILENO, &byte, 1) == 1;)
        if (byte == '\n')
            return true;
    return false;
}

int main(int argc, char **argv)
{
    bool again = argc > 1 && strcmp(argv[1], "again") == 0;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where only children may be looked at else */
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("here");
    if (!await_line())
        return 1;
    do {
        turn();
        puts("done");
    } while (again && await_line());
    return 0;
}
