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

#define FIBERS           8 /* the scenario's own is 0 */
#define STACK_BYTES      65536
#define TLS_BYTES        512
#define CHOICES          8192
#define TRACE            65536
#define STEPS            60000 /* an execution that takes more is a livelock */
#define UNEXPLORED_STEPS 10000000
#define STORES           32 /* of a store buffer */
#define CANDIDATES       16
#define KEYS             4

enum wait {
    WAIT_NONE,
    WAIT_START,    /* until exploration begins */
    WAIT_MUTEX,    /* until *on is free */
    WAIT_FUTEX,    /* until *on is woken, or the time has come */
    WAIT_FD,       /* until *on, the count of an fd, is not 0 */
    WAIT_OTHERS,   /* until somebody else has changed something */
    WAIT_JOIN,     /* until the fiber `steps` has finished */
    WAIT_GRACE,    /* until the sections in `sections` have ended */
    WAIT_FLUSH,    /* until as much is reclaimed as was retired */
    WAIT_RECLAIM,  /* the reclaimer: until something can be */
    WAIT_ENDING,   /* until exploration is over */
    WAIT_GATHERED, /* fiber 0: until all others are at WAIT_START */
    WAIT_RAN,      /* fiber 0: until all have done what is explored */
    WAIT_SETTLED,  /* fiber 0: until all have finished and nothing waits for a grace period */
    WAIT_FINISHED
};

/* A store that its fiber has made and nobody else sees yet. */
struct pending {
    void *address;
    uint64_t value;
    uint32_t step;
    uint8_t bytes;
};

struct fiber {
    enum wait wait;
    const void *on;
    int64_t until_ns; /* of WAIT_FUTEX */
    bool timed_out;
    uint64_t steps;    /* of WAIT_OTHERS: changes when it began to wait; of FLUSH: the target; of
                          JOIN: whose end */
    uint32_t sections; /* of WAIT_GRACE: fibers whose read sections must end */
    unsigned depth;    /* of read sections */
    bool is_daemon;    /* nobody waits for its end */
    bool started;
    bool is_looking;   /* at what must hold: see invariant.h */
    bool in_pool_call; /* touches a free object on the pool's behalf */
    void (*body)(void);
    void (*run)(void); /* what a member of a team does after WAIT_START */
    void *(*thread_run)(void *);
    void *thread_arg;
    const void *specific[KEYS];     /* what their destructors get, or NULL */
    struct pending pending[STORES]; /* oldest first */
    unsigned pending_count;
    jmp_buf at;
    char tls[TLS_BYTES];
};

/* A decision, as the search remembers it. */
struct choice {
    uint8_t picked;
    uint8_t count;
    uint8_t candidates[CANDIDATES];
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

/* One line of a schedule: at `step`, before anything else happens there ... */
struct switch_point {
    uint32_t step;
    uint32_t
        store; /* a step: the stores from there on stay behind, or those up to it are written */
    uint8_t fiber;
    bool is_write; /* ... stores of `fiber` become visible, or it goes on in the current one's place
                    */
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
    uint64_t changes; /* steps after which somebody may find something new */
    uint64_t unexplored_steps;
    unsigned preemptions;
    unsigned delays;
    unsigned depth; /* choices made */
    int64_t now_ns;
    void (*key_ends[KEYS])(void *);
    unsigned key_count;
    struct trace trace[TRACE];
    struct switch_point switches[CHOICES];
    unsigned switch_count;

    /* The search. */
    struct choice choices[CHOICES];
    unsigned choice_count;
    unsigned preemption_bound;
    unsigned delay_bound; /* 0: every store is seen by all at once */
    bool found_sharing;   /* a place turned out to be shared: the search begins anew */
    struct place places[PLACES];
    unsigned place_count;
    bool replay; /* instead of a search */
    struct switch_point replayed[CHOICES];
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

/*
 * Before an access at `site`: another fiber may run before it returns. False: nobody
 * else has to do with that place.
 */
bool explore_point(unsigned access, const void *address, const void *site);

/* A step that the others may notice, whatever it touches. */
void explore_fence_point(const void *site);

/* atomics.c */
void stores_write(struct fiber *fiber, unsigned count); /* the oldest `count` become visible */
void stores_write_all(void);                            /* those of all fibers */
void stores_before_plain(const void *address, size_t bytes);
static inline void stores_drain(void)
{
    if (fiber_current()->pending_count > 0)
        stores_write(fiber_current(), fiber_current()->pending_count);
}

/* memory.c */
void memory_setup(void);
void memory_reset(void);
void memory_check(unsigned access, const void *address);
bool memory_is_ours(const void *address);
bool memory_is_taken(const void *object);
void memory_dead(const void *memory, size_t bytes); /* from now on only the reclaimer's */
void memory_gone(const void *memory, size_t bytes); /* the same, also for who is lenient */
unsigned memory_live_contexts(void);

/* sharing.c */
bool place_touch(unsigned access, const void *address); /* true: worth a decision */
void place_freed(const void *address, size_t bytes);

/* rcu_explore.c */
bool rcu_has_ripe(void);
bool rcu_is_through(uint64_t target);
bool rcu_is_settled(void);
void reclaimer_body(void);

/* system.c */
unsigned system_open_fds(void);

/* search.c */
struct search {
    const struct scenario *scenario;
    bool own_root;
};
/* Each in a process of its own, so many at once. True: none failed. */
bool searches_run(const struct search *searches, unsigned count, unsigned jobs);

/* explore.c: true when the search is complete. */
bool explore(const struct search *search);

/* report.c */
void report_failure(const char *text) __attribute__((noreturn));

/* The section of the library's thread-locals. */
extern char __start_explore_tls[], __stop_explore_tls[];
static inline size_t tls_bytes(void)
{
    return (uintptr_t)__stop_explore_tls - (uintptr_t)__start_explore_tls;
}

#endif
