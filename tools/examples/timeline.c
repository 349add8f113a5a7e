/*
 * timeline.c - what a server's requests came to, in order of time, as a trace that Perfetto
 * opens: from when to when each was there, who ended what, and which callbacks that ran.
 *
 * Usage: timeline [FILE]       without FILE nothing is kept
 *
 * Prints:
 *     5 contexts, 4 arrows from who ended them
 */
#include <canopy/inspect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES 65536 /* 2,048 events of each thread: the latest */

static const canopy_cause client_gone = {.code = -ECONNRESET, .text = "the client went away"};

static int put(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) == n ? 0 : -EIO;
}

/* What there is of the trace, in `file`, from its begin: 0, or a negative errno. */
static int write_trace(FILE *file)
{
    int err = canopy_trace_write(put, file);
    return err == 0 && fflush(file) != 0 ? -EIO : err;
}

static canopy_ctx *named(canopy_ctx *ctx, const char *name)
{
    if (!ctx)
        abort();
    canopy_name(ctx, name);
    return ctx;
}

static void stop_query(void *is_stopped)
{
    *(int *)is_stopped = 1;
}

/* A request with two calls to others, whose client goes away. */
static void serve(canopy_ctx *root)
{
    canopy_callback at_end;
    int is_stopped = 0;
    canopy_ctx *request = named(canopy_with_timeout(root, INT64_C(60000000000)), "GET /basket");
    canopy_ctx *prices = named(canopy_with_cancel(request), "prices");
    canopy_ctx *stock = named(canopy_with_cancel(request), "stock");
    canopy_ctx *query = named(canopy_with_cancel(stock), "query");
    if (canopy_after_func(query, &at_end, stop_query, &is_stopped) != 0)
        abort();
    canopy_cancel_cause(request, &client_gone);
    canopy_callback_join(&at_end);
    canopy_end(query);
    canopy_end(stock);
    canopy_end(prices);
    canopy_end(request);
    if (!is_stopped)
        abort();
}

static void count(FILE *file)
{
    char line[4096];
    unsigned contexts = 0, arrows = 0;
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        contexts += strstr(line, "{\"ph\":\"b\"") != NULL;
        arrows += strstr(line, "{\"ph\":\"s\"") != NULL;
    }
    printf("%u contexts, %u arrows from who ended them\n", contexts, arrows);
}

int main(int argc, char **argv)
{
    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    if (canopy_trace_start(RING_BYTES) != 0)
        return 1;
    canopy_ctx *root = named(canopy_root_new(&config), "server");
    serve(root);
    if (canopy_root_free(root) != 0 || canopy_trace_stop() != 0)
        return 1;
    FILE *file = argc > 1 ? fopen(argv[1], "w+") : tmpfile();
    if (!file)
        return 1;
    int err = write_trace(file);
    count(file);
    fclose(file);
    return err != 0;
}
