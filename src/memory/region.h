/*
 * region.h - where the slabs of domains come from that have no allocator of their own:
 * from the system, many at a time, and back to it page by page. A block of malloc's in
 * the middle of its heap never gets there.
 */
#ifndef CANOPY_REGION_H
#define CANOPY_REGION_H

#include "base/base.h"

/* A slab, not cleared, at a multiple of SLAB_BYTES. NULL: no memory. */
void *region_take(void);

/* The way back. Its pages stay for who takes the next slab, until region_trim. */
void region_give(void *slab);

/*
 * Gives pages back that nobody has taken since the last time. True: there are more, for
 * the next time. On one thread at a time, and none that somebody waits for.
 */
bool region_trim(void);

#endif
