/*
 * scene.c - a trace to be looked at: requests of several threads, that are cancelled together,
 * one by one, and by their deadlines, with callbacks; of rings that have room for all of it, or
 * not. Writes it to standard output.
 *
 * Usage: trace_scene BYTES_A_THREAD
 */
#include <canopy/inspect.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS  4
#define REQUESTS 200

static const canopy_cause gone = {.code = -104, .text = "the client \"went\" away, \\ for good"};

static canopy_ctx *root, *connection;

static int put(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) == n ? 0 : -5;
}

static void *must(void *made)
{
    if (!made)
        abort();
    return made;
}

static void cancel_another(void *ctx)
{
    canopy_cancel(ctx);
}

static void nothing(void *unused)
{
    (void)unused;
}

/* A request with two calls, of which the first ends the second. */
static void request(unsigned i)
{
    canopy_callback at_end, at_first;
    canopy_ctx *request = must(canopy_with_timeout(root, i % 8 ? INT64_C(60000000000) : 1000000));
    canopy_name(request, i % 2 ? "GET /\"index\"\n\t\\ \xC3\xA9 \xFF" : "POST");
    canopy_ctx *first = must(canopy_with_cancel(request)), *second = must(canopy_with_cancel(root));
    if (canopy_after_func(request, &at_end, nothing, NULL) != 0 ||
        canopy_after_func(first, &at_first, cancel_another, second) != 0)
        abort();
    if (i % 8 == 0)
        canopy_wait(request, CANOPY_NEVER);
    else
        canopy_cancel_cause(request, i % 3 ? &gone : NULL);
    canopy_callback_join(&at_end);
    canopy_callback_join(&at_first);
    canopy_end(second);
    canopy_end(first);
    canopy_end(request);
}

static void *work(void *unused)
{
    canopy_ctx *below = must(canopy_with_cancel(connection));
    pthread_setname_np(pthread_self(), "late \"name\"");
    for (unsigned i = 0; i < REQUESTS; i++)
        request(i);
    canopy_wait(below, CANOPY_NEVER);
    canopy_end(below);
    return unused;
}

static void start(pthread_t *thread, const char *name)
{
    pthread_setname_np(pthread_self(), name); /* which it inherits */
    if (pthread_create(thread, NULL, work, NULL) != 0)
        abort();
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    root = must(canopy_root_new(&config));
    connection = must(canopy_with_cancel(root));
    if (argc != 2 || canopy_trace_start(strtoul(argv[1], NULL, 0)) != 0)
        return 2;
    for (unsigned i = 0; i < THREADS; i++)
        start(&threads[i], "worker \\ \"one\"");
    canopy_cancel(connection);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    canopy_ctx *later = must(canopy_with_cancel(root));
    int err = canopy_trace_write(put, stdout);
    canopy_end(later);
    canopy_end(connection);
    canopy_trace_stop();
    return err != 0 || canopy_root_free(root) != 0;
}
