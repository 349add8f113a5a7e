/*
 * worker.h - the library thread on which user code runs that no thread of the
 * user's is there for: callbacks at expiry and of signals, destructors of values
 * whose last reference a library thread dropped.
 */
#ifndef CANOPY_WORKER_H
#define CANOPY_WORKER_H

#include "callbacks/callback.h"

/* Sees that it is started: 0 or an errno. The latter under library_lock. */
int worker_start(void);
int worker_start_locked(void);

/* Whether there is one to hand to. Wait-free. */
bool worker_is_started(void);

/* Hands claimed callbacks over to it, linked, in their order: one wake for many. */
void worker_run(struct canopy_callback *records);

void worker_init(void);
void worker_fork_child(void);

#endif
