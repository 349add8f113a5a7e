/*
 * scene.h - where the scenes of gdb's tests stand still, and C++ finds what C has made.
 */
#ifndef CANOPY_TESTS_GDB_SCENE_H
#define CANOPY_TESTS_GDB_SCENE_H

#include <canopy/inspect.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Stops in gdb, with a handle of C++ in the frame; before that all contexts are written to the
 * file `dump`, unless NULL.
 */
void stand_still(canopy_ctx *request, const char *dump);

#ifdef __cplusplus
}
#endif

#endif
