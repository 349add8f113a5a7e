/*
 * scene.c - a process to look into: a server with connections and requests, of which one is
 * stuck, one is late, one was cancelled and one has a name that no terminal should obey; and
 * a thread at work beside them. Usage: scene SOCKET [cancel | quiet]: with cancel it allows
 * that, quiet has no root that keeps notes. Prints "ready" and the ids of the stuck one and of
 * the cancelled one, and ends as soon as its stdin does.
 */
#include <canopy/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CONTEXTS 8

static const canopy_cause client_gone = {.code = -ECONNRESET, .text = "the client has gone"};
static const canopy_cause no_room = {.code = 0, .text = "no room for it"};

struct scene {
    canopy_ctx *root;
    canopy_ctx *kept[CONTEXTS];
    size_t count;
};

static canopy_ctx *keep(struct scene *scene, canopy_ctx *ctx, const char *name)
{
    canopy_name(ctx, name);
    scene->kept[scene->count++] = ctx;
    return ctx;
}

/* Some hundred a second come and go, so that there are rates. */
static void *work(void *root)
{
    canopy_ctx *server = canopy_with_cancel(root);
    while (canopy_sleep(root, 2000000) == 0) {
        canopy_ctx *request = canopy_with_timeout(server, INT64_C(60000000000));
        canopy_cancel_cause(request, &no_room);
        canopy_end(request);
    }
    canopy_end(server);
    return NULL;
}

static void open_scene(struct scene *scene)
{
    canopy_ctx *server = keep(scene, canopy_with_cancel(scene->root), "server");
    canopy_ctx *connection = keep(scene, canopy_with_cancel(server), "connection 7");
    keep(scene, canopy_with_cancel(connection), "GET /stuck");
    keep(scene, canopy_with_timeout(connection, INT64_C(7200000000000)), "GET /caf\xC3\xA9");
    canopy_ctx *gone = keep(scene, canopy_with_cancel(connection), "GET /gone");
    keep(scene, canopy_with_cancel(gone), "call");
    keep(scene, canopy_with_cancel(server), "\x1B[31mred \xC2\x9B\x31m");
    canopy_cancel_cause(gone, &client_gone);
}

static void close_scene(struct scene *scene)
{
    while (scene->count > 0)
        canopy_end(scene->kept[--scene->count]);
}

int main(int argc, char **argv)
{
    bool is_quiet = argc > 2 && strcmp(argv[2], "quiet") == 0;
    canopy_config config = {.size = sizeof config, .inspect = is_quiet ? 0 : CANOPY_INSPECT_NOTES};
    struct scene scene = {.root = canopy_root_new(&config)};
    canopy_listener listener;
    pthread_t thread;
    char byte;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0,
          0); /* also where Yama lets no one else read it */
    if (argc < 2 || !scene.root || pthread_create(&thread, NULL, work, scene.root) != 0)
        return 2;
    canopy_name(scene.root, "scene");
    open_scene(&scene);
    unsigned flags = argc > 2 && strcmp(argv[2], "cancel") == 0 ? CANOPY_ANSWER_CANCEL : 0;
    int err = canopy_listen(&listener, argv[1], flags);
    if (err)
        return fprintf(stderr, "%s: %s\n", argv[1], strerror(-err)), 2;
    printf("ready %" PRIu64 " %" PRIu64 "\n", canopy_id(scene.kept[2]), canopy_id(scene.kept[4]));
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    canopy_listener_close(&listener);
    canopy_cancel(scene.root);
    pthread_join(thread, NULL);
    close_scene(&scene);
    return canopy_root_free(scene.root) == 0 ? 0 : 1;
}
