/*
 * clock.h - the library's clock: one thread that ends what is due, and what
 * signals end. It marks and wakes; callbacks go to the worker.
 */
#ifndef CANOPY_CLOCK_H
#define CANOPY_CLOCK_H

#include "time/deadline.h"

/* Has the clock's thread look again now; async-signal-safe. */
void clock_kick(void);

void clock_fork_child(void);

#endif
