/*
 * stats.h - what canopy_stats_read and canopy_stats_causes tell of one root, of all that there
 * are, background among them: each root that is there throughout once.
 */
#ifndef CANOPY_STATS_H
#define CANOPY_STATS_H

#include <canopy/inspect.h>

/* The sums. Here made - gone is less than `live` where some roots keep no notes. */
void stats_of_all(canopy_stats *stats);

/* Those of one address together, most first: how many there are; -ENOMEM. `n` may be 0. */
int causes_of_all(canopy_cause_count counts[], size_t n);

#endif
