/*
 * upward.h - the calls that go up: what a floor has done by one above it.
 *
 * Everything else calls down or on its own floor, by the header of who is called. What
 * stands here is few, and each is defined where its line says. The floors, from below:
 * base, memory, tree, callbacks, time, host, inspect.
 */
#ifndef CANOPY_UPWARD_H
#define CANOPY_UPWARD_H

#include <stdbool.h>
#include <stdint.h>

struct canopy_ctx;
struct domain;
struct handoff_node;
struct heap;
struct pass;

/* By whoever needs the library set up, on first use: 0 or an errno. host/init.c. */
int library_init(void);

/* By memory/pool.c: makes zeroed memory a free context. tree/ctx.c. */
void ctx_construct(void *memory);
/* Makes a free context that goes to another heap forget what only its heap may use. */
void ctx_forget(void *memory);

/*
 * Told of free contexts, linked, that go from a thread's hand to their slabs: blocks in which
 * they leave nothing are set aside.
 */
void children_shed(struct heap *heap, const struct handoff_node *objects);

/*
 * By memory/scavenge.c, on its thread: gives blocks back in which nothing is, of all
 * parents in a domain that the caller holds. What it leaves to another look: see
 * tree/trim.c, where it is.
 */
enum trimmed { TRIM_IDLE, TRIM_LATER, TRIM_DONE };
enum trimmed children_trim(struct domain *domain);

/*
 * By tree/ctx.c: sees that ctx_end_now runs on the thread that may run a destructor;
 * false: there is none. callbacks/worker.c.
 */
bool worker_end(struct canopy_ctx *ctx);

/*
 * By tree/note.c: what time it is in a domain, or half a millisecond later at most.
 * time/deadline.c.
 */
int64_t domain_time_ns(const struct domain *domain);

/* By tree/ctx.c: a context goes that still watches signals. host/signals.c. */
void signals_end(const struct canopy_ctx *ctx);

/*
 * By time/clock.c, on its thread whenever it wakes: gathers what signals end, and lets go
 * of it after it was told. host/signals.c.
 */
void signals_poll(struct pass *pass);
void signals_told(void);

/* By host/init.c, in the child of a fork, under library_lock: nobody listens there.
 * inspect/listen.c. */
void listeners_fork_child(void);

/* By invariants (base/invariant.h), in a debug build: one does not hold. debug/report.c. */
void invariant_broken(const char *what);

#endif
