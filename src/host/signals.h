/*
 * signals.h - contexts that a signal ends.
 */
#ifndef CANOPY_SIGNALS_H
#define CANOPY_SIGNALS_H

#include <pthread.h>
#include <stdint.h>

struct canopy_ctx;

/* Held by fork around itself, before library_lock. */
extern pthread_mutex_t signals_lock;

/*
 * The owner of a merged context cancels it: if it watches signals it stops, and what was
 * there before is there again. The state with which it is to be ended since a signal came
 * first, or 0. Not under a lock.
 */
uintptr_t signals_give_back(const struct canopy_ctx *ctx);

/* Gives back what was inherited. While all signals are blocked. */
void signals_fork_child(void);

#endif
