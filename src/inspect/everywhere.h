/*
 * everywhere.h - what was counted, of background and of each root there is.
 */
#ifndef CANOPY_EVERYWHERE_H
#define CANOPY_EVERYWHERE_H

#include <canopy/inspect.h>

/* As canopy_stats_read. */
void stats_everywhere(canopy_stats *stats);

/* As canopy_stats_causes, in memory that the caller frees: how many, or -ENOMEM. */
int causes_everywhere(canopy_cause_count **counts);

#endif
