/*
 * scene.c - a server of twenty minutes ago until now, with as many contexts as asked for,
 * written as a page: connections, requests, calls below some of them, ends of each kind, and
 * names and causes that would like to be more than text. Usage: page_scene CONTEXTS >FILE
 */
#include <canopy/inspect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONNECTIONS = 24, MINUTES = 20 };

static const int64_t second_ns = 1000000000;
static const char hostile[] = "</script><img src=x onerror=\"document.title='taken'\">";
static const char *const calls[] = {"SELECT stock", "GET /prices", "render", "<!--<script>",
                                    "\xE2\x80\xAEreversed \xFF & \"quoted\"\n<b>bold</b>"};
static const canopy_cause client_gone = {.code = -ECONNRESET, .text = "the client went away"},
                          overload = {.code = -EBUSY, .text = "shed: too many at once"},
                          deploy = {.code = -ESHUTDOWN, .text = "a deploy drains this worker"},
                          upstream = {.code = -EIO, .text = "upstream answered 502"},
                          markup = {.code = -EINVAL, .text = hostile};
static const canopy_cause *const causes[] = {&client_gone, &client_gone, &client_gone, &overload,
                                             &overload,    &upstream,    &deploy,      &markup};

struct scene {
    canopy_ctx *root, *server, *connections[CONNECTIONS];
    canopy_ctx **all;
    size_t count, most;
    int64_t now_ns;
};

static canopy_ctx *keep(struct scene *scene, canopy_ctx *ctx, const char *name)
{
    if (!ctx)
        abort();
    canopy_name(ctx, name);
    scene->all[scene->count++] = ctx;
    return ctx;
}

static canopy_ctx *accept_request(struct scene *scene, canopy_ctx *connection)
{
    if (scene->count % 31 == 0)
        return keep(scene, canopy_with_timeout(connection, 40 * second_ns), "POST /orders");
    return keep(scene, canopy_with_cancel(connection), "GET /basket");
}

static canopy_ctx *call_backend(struct scene *scene, canopy_ctx *request)
{
    const char *name = calls[scene->count % (sizeof calls / sizeof *calls)];
    return keep(scene, canopy_with_timeout(request, 3600 * second_ns), name);
}

/* Some requests end, each for a reason; a hostile one among them. */
static void end_some(struct scene *scene, canopy_ctx *request)
{
    size_t turn = scene->count;
    if (turn % 7 == 0 || turn + 40 > scene->most)
        canopy_cancel_cause(request, causes[turn / 7 % (sizeof causes / sizeof *causes)]);
}

static void serve(struct scene *scene, size_t turn)
{
    canopy_ctx *request = accept_request(scene, scene->connections[turn * 7 % CONNECTIONS]);
    if (turn % 3 == 0 && scene->count < scene->most)
        call_backend(scene, request);
    end_some(scene, request);
}

static void advance(struct scene *scene)
{
    int64_t whole_ns = (int64_t)MINUTES * 60 * second_ns;
    int64_t now_ns = whole_ns / (int64_t)scene->most * (int64_t)scene->count;
    if (now_ns - scene->now_ns < second_ns / 10)
        return;
    scene->now_ns = now_ns;
    canopy_root_advance(scene->root, now_ns, NULL);
}

static void open_scene(struct scene *scene)
{
    canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST};
    config.inspect = CANOPY_INSPECT_NOTES;
    scene->root = canopy_root_new(&config);
    scene->all = calloc(scene->most, sizeof *scene->all);
    if (!scene->root || !scene->all)
        abort();
    canopy_name(scene->root, "shop");
    scene->server = keep(scene, canopy_with_cancel(scene->root), "listener :8443");
    for (size_t i = 0; i < CONNECTIONS; i++)
        scene->connections[i] =
            keep(scene, canopy_with_cancel(scene->server), i == 5 ? hostile : "connection");
}

static int put(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) == n ? 0 : -EIO;
}

int main(int argc, char **argv)
{
    struct scene scene = {.most = argc > 1 ? strtoul(argv[1], NULL, 10) - 1 : 999};
    open_scene(&scene);
    for (size_t turn = 0; scene.count < scene.most; turn++) {
        serve(&scene, turn);
        advance(&scene);
    }
    canopy_walk whole = {.top = scene.root};
    int err = canopy_dump(&whole, CANOPY_FORMAT_HTML, put, stdout);
    for (size_t i = scene.count; i-- > 0;)
        canopy_end(scene.all[i]);
    free(scene.all);
    int busy = canopy_root_free(scene.root);
    return err || busy || fflush(stdout) ? 1 : 0;
}
