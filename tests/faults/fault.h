/*
 * fault.h - calls of the C library that fail, lag or stall on request, put
 * between canopy and the C library when a test is linked (-Wl,--wrap).
 *
 * Nothing fails until a test says so. What is wrapped is wrapped for the test
 * itself, too: its own calls are counted as canopy's are.
 */
#ifndef CANOPY_TESTS_FAULT_H
#define CANOPY_TESTS_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What can fail. */
enum fault {
    FAULT_MEMORY,     /* malloc, calloc, posix_memalign: ENOMEM */
    FAULT_THREAD,     /* pthread_create: EAGAIN */
    FAULT_ATTRIBUTES, /* pthread_attr_init: ENOMEM */
    FAULT_KEY,        /* pthread_key_create: EAGAIN */
    FAULT_ATFORK,     /* pthread_atfork: ENOMEM */
    FAULT_EVENTFD,    /* eventfd: EMFILE */
    FAULT_SIGACTION,  /* sigaction: ENOMEM, as a sandbox might give it */
    FAULT_FUTEX_WAIT, /* returns at once, with each errno there is in turn */
    FAULT_FUTEX_WAKE, /* ENOSYS, nobody is woken */
    FAULT_NANOSLEEP,  /* EINTR, at once */
    FAULT_TGKILL,     /* EPERM: nobody can be asked whether he lives */
    FAULT_COUNT
};

/* Lets the calls from number `from` (1: the next) fail, `count` of them (0: all). */
void fault_plan(enum fault fault, size_t from, size_t count);

/* Lets all succeed again. The counts stay. */
void fault_lift_all(void);

/* The calls since the plan was made, the failed ones included. */
size_t fault_calls(enum fault fault);

/* What malloc and its like gave and free has not had back. */
size_t fault_live_blocks(void);

/* Threads of the library, told by the names that they give themselves. */
enum fault_thread { FAULT_CLOCK, FAULT_RECLAIMER, FAULT_WORKER, FAULT_THREADS, FAULT_NO_THREAD };

/*
 * Stalls a thread of the library, as if it got no processor: the clock at its next
 * look at the time, which is in the middle of a read section; the others before
 * and after their next sleep.
 */
void fault_hold(enum fault_thread thread);
void fault_let_go(enum fault_thread thread);

/* While true, threads of the library do not get beyond their first steps. */
void fault_hold_starts(bool hold);

/* True while the thread stands still. */
bool fault_is_held(enum fault_thread thread);

/* What the clock's thread reads lies back by this much. */
void fault_clock_lag(int64_t lag_ns);

#endif
