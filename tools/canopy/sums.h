/*
 * sums.h - what the heaps and domains of another process have counted, summed up.
 */
#ifndef CANOPY_TOOL_SUMS_H
#define CANOPY_TOOL_SUMS_H

#include <canopy/inspect.h>

#include "image.h"
#include "texts.h"

struct cause_sum {
    uint64_t address; /* 0: all others */
    uint64_t cancels, ended;
};

/* Over all domains with notes, and the memory of all. */
void sums_stats(const struct image *image, canopy_stats *stats);

/* The causes, those that ended most first, to be freed. 0, or -ENOMEM. */
int sums_causes(const struct image *image, struct cause_sum **causes, size_t *count);

#endif
