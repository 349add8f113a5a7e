/*
 * quiet.c - contexts of each kind, that have come to each kind of end, and rest; and what
 * canopy itself says of them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "scene.h"

static const canopy_key key = {.name = "key"};
static const int64_t hour_ns = INT64_C(3600000000000);

static void nothing(void *arg)
{
    (void)arg;
}

static void *wait_for(void *ctx)
{
    (void)!canopy_wait(ctx, CANOPY_NEVER);
    return NULL;
}

static void make_waited(canopy_ctx *parent)
{
    pthread_t thread;
    canopy_ctx *ctx = scene_kept(canopy_with_cancel(parent));
    canopy_name(ctx, "waited for");
    if (pthread_create(&thread, NULL, wait_for, ctx) != 0)
        scene_fail("no thread");
    usleep(50000); /* it sleeps then, or canopy_dump says that it does not */
}

/* A context that ends with its parent, and that later. */
static void make_ended(canopy_ctx *parent)
{
    canopy_ctx *above = scene_kept(canopy_with_cancel(parent));
    canopy_ctx *value = scene_kept(canopy_with_value(above, &key, above));
    canopy_ctx *below = scene_kept(canopy_with_timeout(value, hour_ns));
    canopy_ctx *apart = scene_kept(canopy_without_cancel(below));
    canopy_name(above, "above \"quoted\"\n\xFF");
    canopy_name(below, "below");
    scene_kept(canopy_with_cancel(apart));
    canopy_cancel_cause(above, &scene_cause);
    canopy_release(above); /* kept by what is below */
}

static void make_merged(canopy_ctx *parent)
{
    canopy_ctx *inputs[2];
    for (int i = 0; i < 2; i++)
        inputs[i] = scene_kept(canopy_with_cancel(parent));
    canopy_ctx *merged = scene_kept(canopy_with_any((const canopy_ctx *const *)inputs, 2));
    scene_kept(canopy_with_cancel(merged));
    canopy_cancel(inputs[1]);
}

static void make_busy(canopy_ctx *parent)
{
    static canopy_callback callbacks[3];
    canopy_ctx *busy = scene_kept(canopy_with_cancel(parent));
    canopy_name(busy, "busy");
    for (int i = 0; i < 300; i++)
        scene_kept(canopy_with_timeout(busy, hour_ns * (1 + i % 3)));
    for (int i = 0; i < 3; i++)
        if (canopy_after_func(busy, &callbacks[i], nothing, NULL) != 0)
            scene_fail("no callback");
    if (canopy_done_fd(busy) < 0)
        scene_fail("no fd");
}

static void make_expired(canopy_ctx *parent)
{
    canopy_ctx *ctx = scene_kept(canopy_with_timeout(parent, 1));
    (void)!canopy_wait(ctx, CANOPY_NEVER);
    canopy_name(ctx, "too late");
}

/* What canopy_dump tells nothing of. */
static void make_plain(const char *path)
{
    FILE *file = fopen(path, "w");
    canopy_ctx *root = scene_root(false);
    if (!file)
        scene_fail(path);
    /* cppcheck-suppress nullPointerRedundantCheck ; that did not return */
    fprintf(file, "%p (nil) root\n", (void *)root);
    canopy_ctx *parent = root;
    for (int i = 0; i < 200; i++) {
        canopy_ctx *ctx = scene_kept(i % 5 == 0 ? canopy_with_value(parent, &key, root)
                                                : canopy_with_timeout(parent, hour_ns));
        fprintf(file, "%p %p %s\n", (void *)ctx, (void *)parent, i % 5 == 0 ? "value" : "cancel");
        parent = i % 50 == 0 ? ctx : parent;
        canopy_end(scene_kept(canopy_with_cancel(parent)));
    }
    canopy_ctx *orphan = scene_kept(canopy_with_cancel(canopy_background()));
    fprintf(file, "%p (nil) cancel\n", (void *)orphan);
    if (fclose(file) != 0)
        scene_fail(path);
}

static int write_to(void *file, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, file) == n ? 0 : -1;
}

static void dump(const char *path, const char *suffix, canopy_format format)
{
    char name[4096];
    snprintf(name, sizeof name, "%s.%s", path, suffix);
    FILE *file = fopen(name, "w");
    if (!file || canopy_dump(NULL, format, write_to, file) != 0 || fclose(file) != 0)
        scene_fail(name);
}

void scene_quiet(const char *path)
{
    canopy_ctx *root = scene_root(true);
    canopy_name(root, "the server");
    make_waited(root);
    make_ended(root);
    make_merged(root);
    make_busy(root);
    make_expired(root);
    make_plain(path);
    dump(path, "txt", CANOPY_FORMAT_TEXT);
    dump(path, "json", CANOPY_FORMAT_JSON);
}
