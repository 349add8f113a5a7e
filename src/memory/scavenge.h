/*
 * scavenge.h - what the reclaimer's thread does between grace periods (rcu.h).
 */
#ifndef CANOPY_SCAVENGE_H
#define CANOPY_SCAVENGE_H

#include <stdbool.h>

/* A look at all heaps of all domains. True: to be taken again. */
bool scavenge(void);

#endif
