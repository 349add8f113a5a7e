/*
 * churn.c - eight threads that make and end contexts below those that are kept, with names and
 * deadlines, and now and then a root of their own.
 */
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "scene.h"

#define THREADS 8
#define HELD    64 /* by each; every other one is below the root */

struct worker {
    canopy_ctx *root;
    bool has_notes;
    unsigned number;
};

static canopy_ctx *derive(canopy_ctx *parent, unsigned turn)
{
    static int bound;
    static const canopy_key key;
    switch (turn % 4) {
    case 0:
        return canopy_with_timeout(parent, INT64_C(1000000));
    case 1:
        return canopy_with_value(parent, &key, &bound);
    case 2:
        return canopy_without_cancel(parent);
    default:
        return canopy_with_cancel(parent);
    }
}

static void own_root(const struct worker *worker)
{
    canopy_ctx *root = scene_root(worker->has_notes);
    canopy_ctx *child = scene_kept(canopy_with_cancel(root));
    canopy_cancel_cause(child, &scene_cause);
    canopy_release(child);
    while (canopy_root_free(root) != 0)
        usleep(100);
}

static void *work(void *arg)
{
    const struct worker *worker = arg;
    canopy_ctx *held[HELD] = {NULL};
    for (unsigned turn = worker->number;; turn++) {
        unsigned at = turn * 7 % HELD;
        canopy_ctx *parent = at % 2 == 0 ? NULL : held[turn * 6 % HELD];
        if (held[at])
            canopy_end(held[at]);
        held[at] = scene_kept(derive(parent ? parent : worker->root, turn / 2));
        canopy_name(held[at], "churned");
        if (turn % 5000 == 0)
            own_root(worker);
        if (turn % 64 == 0)
            usleep(50); /* others are to have some of the machine */
    }
    return NULL;
}

void scene_churn(canopy_ctx *root, bool has_notes)
{
    static struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t thread;
        workers[i] = (struct worker){root, has_notes, i};
        if (pthread_create(&thread, NULL, work, &workers[i]) != 0)
            scene_fail("no thread");
    }
}
