/*
 * scene.h - one use of the whole interface, from the first context to the last,
 * that looks at everything it made after each call that was refused.
 */
#ifndef CANOPY_TESTS_SCENE_H
#define CANOPY_TESTS_SCENE_H

#include "../unit/probes.h"
#include "fault.h"

/* How a root of a scene gets its memory. */
enum scene_memory {
    SCENE_BACKGROUND,
    SCENE_DEFAULT_ROOT,
    SCENE_NOTED_ROOT, /* of the default's memory, with notes, and what inspect.h has */
    SCENE_HOOKED_ROOT,
    SCENE_MEMORIES
};

/*
 * Uses everything once, below a root of its own or background. Of the calls that
 * are refused each must give one of the errnos `allowed` (ended by 0) and leave
 * all as it was; it then succeeds, since the first refusal lifts all faults.
 * Returns how many were refused. Ends with all memory of its root given back.
 */
unsigned scene_play(enum scene_memory memory, struct memory *hooked, const int allowed[]);

/* The same, where nothing may be refused. */
void scene_play_unrefused(void);

/* Runs body(arg) in a child process and waits for it: the status that it left with, or -1. */
int in_child(int (*body)(void *arg), void *arg);

/* Waits until nothing is left below `root`, and frees it. */
void root_close(canopy_ctx *root);

#endif
