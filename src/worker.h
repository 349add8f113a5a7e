/*
 * worker.h - the library thread on which user code runs that no thread of the
 * user's is there for: callbacks at expiry and of signals, destructors of values
 * whose last reference a library thread dropped.
 */
#ifndef CANOPY_WORKER_H
#define CANOPY_WORKER_H

#include "callback.h"

/* Sees that it is started: 0 or an errno. Under library_lock. */
int worker_start_locked(void);

/*
 * Hands a claimed callback over, and has the worker run all that were: one wake for
 * many. Both on the clock's thread only; lock-free.
 */
void worker_push(struct canopy_callback *record);
void worker_wake(void);

void worker_init(void);
void worker_fork_child(void);

#endif
