/*
 * rcu.h - read sections and retirement; the only place that knows liburcu.
 *
 * A read section keeps all memory that it can reach from being given back:
 * memory is unlinked, retired, and handed to its queue's `reclaim` when every
 * read section that was open at the retirement has ended (a grace period): by the
 * reclaimer's thread, with the help of who makes more than that gives back (rcu_pace), or
 * where there is none by who waits for it (rcu_help). Threads need no registration
 * (liburcu's "bp" flavour does it, and undoes it when a thread ends).
 */
#ifndef CANOPY_RCU_H
#define CANOPY_RCU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/handoff.h"

/* What becomes of one kind of retired memory. */
struct retire_queue {
    struct handoff pending;
    /* On the reclaimer's thread, or in rcu_pace or rcu_help; outside read sections, without locks.
     */
    void (*reclaim)(struct handoff_node *node);
    struct retire_queue *next; /* set by rcu_queue_register */
};

/* Nestable; never fail; wait-free after a thread's first. */
void rcu_read_begin(void);
void rcu_read_end(void);

/*
 * True when the calling thread's first read section is behind it or finds its
 * memory. To be asked where a call can still be refused: sections go without, but then
 * each costs two writes to what all such threads write.
 */
bool rcu_thread_ready(void);

/* Makes a queue known to the reclaimer; once, before its first use, under library_lock. */
void rcu_queue_register(struct retire_queue *queue);

/*
 * Hands unlinked memory on: `reclaim(node)` runs a grace period later. Never
 * fails, never blocks, never allocates once rcu_ready has returned true.
 */
void rcu_retire(struct retire_queue *queue, struct handoff_node *node);

/* Who reclaims: nobody, the reclaimer's thread, or for one pass a thread that waits for it. */
enum { RECLAIMER_NONE, RECLAIMER_THREAD, RECLAIMER_HELPER };
extern atomic_u32 rcu_reclaimer;

/* Whether that thread has been started. */
static inline bool rcu_is_at_work(void)
{
    return u32_load_acquire(&rcu_reclaimer) == RECLAIMER_THREAD; /* W9 */
}

/* Starts the reclaimer's thread unless it runs: true when it does. */
bool rcu_start(void);
static inline bool rcu_ready(void)
{
    return rcu_is_at_work() || rcu_start();
}

/* Where that thread cannot be had, gives back what was retired itself. Not from a read section. */
void rcu_help(void);

/*
 * For who is about to take more memory: where very much waits to be given back,
 * gives a share of it back itself, or sleeps for a moment where nothing can be given
 * back yet, and returns true: there may be something now.
 */
bool rcu_pace(void);

/* Waits until all that was retired before has been given back: true, or false at `until_ns`. */
bool rcu_flush(int64_t until_ns);

/* Waits for a grace period. Not from a read section. */
void rcu_wait(void);

/*
 * Asks for scavenge(), on the reclaimer's thread: about half a second after each rcu_ask
 * that finds it at rest, and after each turn of it that says true. Costs who asks a load, and where
 * that thread is at rest a wake. Never fails.
 */
void rcu_ask(void);

/* Between the steps of scavenge: what was retired meanwhile need not wait for its end. */
void rcu_catch_up(void);

/* For the fork handlers. */
void rcu_fork_prepare(void);
void rcu_fork_parent(void);
void rcu_fork_child(void);

#endif
