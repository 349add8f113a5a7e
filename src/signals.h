/*
 * signals.h - contexts that a signal ends.
 */
#ifndef CANOPY_SIGNALS_H
#define CANOPY_SIGNALS_H

#include <pthread.h>

/* Held by fork around itself, before library_lock. */
extern pthread_mutex_t signals_lock;

void signals_init(void);
void signals_fork_child(void);

#endif
