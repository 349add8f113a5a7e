/*
 * scene.c - a process to be read from outside. It makes contexts, says "ready" on stdout, and
 * goes on with what its kind says, until its stdin ends.
 * Usage: pid_scene KIND FILE [COUNT], with as many contexts kept, and FILE for what is known of
 * them: "ID" or "ADDRESS PARENT" a line.
 *
 *   quiet     contexts of each kind, with notes and without; FILE.txt and FILE.json are dumps
 *   churn     COUNT are kept while eight threads make and end others, roots among them
 *   plain     the same without notes
 *   many      COUNT, and nothing else
 *   scribble  as quiet, then writes what comes to its mind over its own canopy's memory
 */
#include "scene.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const canopy_cause scene_cause = {.code = -EIO, .text = "upstream \"answered\" 502"};

_Noreturn void scene_fail(const char *what)
{
    fprintf(stderr, "pid_scene: %s\n", what);
    exit(1);
}

canopy_ctx *scene_kept(canopy_ctx *ctx)
{
    if (!ctx)
        scene_fail("no context");
    return ctx;
}

canopy_ctx *scene_root(bool has_notes)
{
    canopy_config config = {.size = sizeof config,
                            .allocate = scene_allocate,
                            .release = scene_release,
                            .inspect = has_notes ? CANOPY_INSPECT_NOTES : 0};
    return scene_kept(canopy_root_new(&config));
}

static void say_ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

static void await_end(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

/* Of `count` kept ones below a root, in tens; a line each. */
static canopy_ctx *keep_many(bool has_notes, const char *path, size_t count)
{
    canopy_ctx *root = scene_root(has_notes), *parent = root;
    FILE *file = fopen(path, "w");
    if (!file)
        scene_fail(path);
    for (size_t i = 0; i < count; i++) {
        if (i % 10 == 0)
            parent = root;
        canopy_ctx *ctx = scene_kept(canopy_with_cancel(parent));
        if (has_notes)
            fprintf(file, "%llu %llu\n", (unsigned long long)canopy_id(ctx),
                    (unsigned long long)canopy_id(parent));
        else
            fprintf(file, "%p %p\n", (void *)ctx, (void *)parent);
        parent = i % 10 == 0 ? ctx : parent;
    }
    if (fclose(file) != 0)
        scene_fail(path);
    return root;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 2 ? argv[1] : "";
    size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (strcmp(kind, "quiet") == 0 || strcmp(kind, "scribble") == 0)
        scene_quiet(argv[2]);
    else if (strcmp(kind, "churn") == 0 || strcmp(kind, "plain") == 0)
        scene_churn(keep_many(kind[0] == 'c', argv[2], count), kind[0] == 'c');
    else if (strcmp(kind, "many") == 0)
        keep_many(true, argv[2], count);
    else
        scene_fail("which kind?");
    say_ready();
    if (strcmp(kind, "scribble") == 0)
        scene_scribble();
    await_end();
    _exit(0);
}
