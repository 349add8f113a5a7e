/*
 * scene.h - parts of the process that is read from outside.
 */
#ifndef CANOPY_TESTS_PID_SCENE_H
#define CANOPY_TESTS_PID_SCENE_H

#include <canopy/inspect.h>
#include <stdbool.h>

extern const canopy_cause scene_cause;

_Noreturn void scene_fail(const char *what);
canopy_ctx *scene_kept(canopy_ctx *ctx);

/* A root whose memory is known to scene_scribble. */
canopy_ctx *scene_root(bool has_notes);
void *scene_allocate(void *user, size_t align_bytes, size_t size_bytes);
void scene_release(void *user, void *memory, size_t align_bytes, size_t size_bytes);

/* Contexts of each kind; writes PATH.txt, PATH.json as canopy_dump has them, PATH without notes. */
void scene_quiet(const char *path);

/* Threads that make and end others from now on. */
void scene_churn(canopy_ctx *root, bool has_notes);

/* For each byte that stdin brings writes over memory here and there, and a byte to stdout. */
void scene_scribble(void);

#endif
