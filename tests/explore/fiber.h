/*
 * fiber.h - the explorer's inside: fibers, what they wait for, the state of one
 * execution and of the search.
 *
 * The program's own variables are put back after each execution, the explorer's
 * among them; what must outlast it is in *explorer, which is allocated.
 */
#ifndef CANOPY_EXPLORE_FIBER_H
#define CANOPY_EXPLORE_FIBER_H

#include <setjmp.h>
#include <ucontext.h>

#include "explore.h"

#define FIBERS      8 /* the scenario's own is 0 */
#define STACK_BYTES 65536
#define TLS_BYTES   512
#define CHOICES     8192
#define TRACE       65536
#define STEPS       60000 /* an execution that takes more is a livelock */

enum wait {
    WAIT_NONE,
    WAIT_START,    /* until exploration begins */
    WAIT_MUTEX,    /* until *on is free */
    WAIT_FUTEX,    /* until *on is woken, or the time has come */
    WAIT_OTHERS,   /* until somebody else has taken a step */
    WAIT_GRACE,    /* until the sections in `sections` have ended */
    WAIT_FLUSH,    /* until as much is reclaimed as was retired */
    WAIT_RECLAIM,  /* the reclaimer: until something can be */
    WAIT_ENDING,   /* until exploration is over */
    WAIT_GATHERED, /* fiber 0: until all others are at WAIT_START */
    WAIT_RAN,      /* fiber 0: until all have done what is explored */
    WAIT_SETTLED,  /* fiber 0: until all have finished and nothing waits for a grace period */
    WAIT_FINISHED
};

struct fiber {
    enum wait wait;
    const void *on;
    int64_t until_ns; /* of WAIT_FUTEX */
    bool timed_out;
    uint64_t steps;    /* of WAIT_OTHERS: taken when it began to wait; of FLUSH: the target */
    uint32_t sections; /* of WAIT_GRACE: fibers whose read sections must end */
    unsigned depth;    /* of read sections */
    bool is_daemon;    /* nobody waits for its end */
    bool started;
    bool in_pool_call; /* touches a free object on the pool's behalf */
    void (*body)(void);
    void (*run)(void); /* what a member of a team does after WAIT_START */
    void *(*thread_run)(void *);
    void *thread_arg;
    const void *specific; /* what its destructor gets, or NULL */
    jmp_buf at;
    char tls[TLS_BYTES];
};

/* A decision between fibers, as the search remembers it. */
struct choice {
    uint8_t picked;
    uint8_t count;
    uint8_t candidates[FIBERS];
};

struct trace {
    const void *site;
    const void *address;
    uint8_t fiber;
    uint8_t access;
    bool decided; /* another fiber could have run here */
};

/* A place in memory that the fibers touched, over all executions: masks of fibers. */
struct place {
    uintptr_t address;
    uint8_t readers, writers, freers, plain;
    bool is_shared, is_plain_shared;
};
#define PLACES 16384

struct switch_point {
    uint32_t step;
    uint8_t to;
};

struct explorer {
    /* One execution. */
    struct fiber fibers[FIBERS];
    unsigned fiber_count;
    unsigned current;
    unsigned reclaimer;
    bool exploring;
    bool explores_thread_end;
    void (*prepare)(void); /* what the first member does ahead */
    uint64_t step;
    unsigned preemptions;
    unsigned depth; /* choices made */
    int64_t now_ns;
    void (*key_end)(void *);
    struct trace trace[TRACE];
    struct switch_point switches[CHOICES];
    unsigned switch_count;

    /* The search. */
    struct choice choices[CHOICES];
    unsigned choice_count;
    unsigned preemption_bound;
    bool found_sharing; /* a place turned out to be shared: the search begins anew */
    struct place places[PLACES];
    unsigned place_count;
    const struct switch_point *replay; /* NULL: search */
    unsigned replay_count;
    const struct scenario *scenario;
    bool own_root;
    uint64_t executions;

    char stacks[FIBERS][STACK_BYTES] __attribute__((aligned(64)));
};
extern struct explorer *explorer;

/* schedule.c */
void schedule_reset(void);
bool schedule_next(void); /* prepares the next execution; false: there is none */
void schedule_forget(void);
void fiber_wait(enum wait wait); /* the current fiber, until what it waits for has come */
unsigned fiber_spawn(void (*body)(void), bool is_daemon);
static inline struct fiber *fiber_current(void)
{
    return &explorer->fibers[explorer->current];
}

/* Before an access at `site`: another fiber may run before it returns. */
void explore_point(unsigned access, const void *address, const void *site);

/* memory.c */
void memory_setup(void);
void memory_reset(void);
void memory_check(unsigned access, const void *address);
bool memory_is_ours(const void *address);
bool memory_is_taken(const void *object);
void memory_dead(const void *memory, size_t bytes); /* from now on only the reclaimer's */
unsigned memory_live_contexts(void);

/* sharing.c */
bool place_touch(unsigned access, const void *address); /* true: worth a decision */
void place_freed(const void *address, size_t bytes);

/* rcu_explore.c */
void rcu_reset(void);
bool rcu_has_ripe(void);
bool rcu_is_through(uint64_t target);
bool rcu_is_settled(void);
void reclaimer_body(void);

/* report.c */
void report_failure(const char *text) __attribute__((noreturn));

/* The section of the library's thread-locals. */
extern char __start_explore_tls[], __stop_explore_tls[];

#endif
