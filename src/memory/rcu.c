/*
 * rcu.c - read sections by liburcu, retirement by a thread of our own.
 *
 * liburcu's call_rcu aborts the process when its set-up finds no memory and
 * costs an allocation's worth of work for each object; here a retired object is
 * one push, and the reclaimer takes all that has gathered, waits for one grace
 * period, and gives everything back. It is one thread among many: where it falls
 * behind, those who make more than is given back take shares of that work, and are
 * slowed while there is none to take (rcu_pace).
 *
 * Two counts: `retired`, advanced after each push, and `reclaimed`, what the
 * reclaimer has given back up to.
 *   retire     push; W1: retired++; W2: load reclaimed: equal before, so wake
 *   reclaimer  give back; W3: store reclaimed; W4: load retired; equal: sleep
 *   others     W5: load `reclaimed`, to see how far it is
 *   the pass   W6: load `retired`, then take all that was pushed
 *   Others take shares of what a pass gives back: each counts itself out (W7), and the pass
 *   is over when none is left (W8). Who reclaims is said by a word (W9).
 *
 * Beside, the reclaimer tidies (scavenge.c), where it was asked to:
 *   ask        TW1: tidy_wanted = 1; as if something had been retired, W1 and W2
 *   reclaimer  TW2: tidy_wanted = 0; tidy; TW3: wait as W4; TW4: load tidy_wanted
 *
 * Ordering pairs:
 *   W1,W2/W3,W4  store-then-load, hence seq_cst: either W2 sees that the reclaimer is through
 *         and wakes it, or W4 sees that it is not. Without it the reclaimer sleeps over what
 *         was retired last.
 *   W1/W6  W1 is a release, after the push, W6 an acquire: the take that follows sees every
 *         push counted by then. Without it `rcu_flush` says that something is given back which
 *         is not.
 *   W3/W5  W3 is a release, W5 an acquire: what was given back comes before. Without it who
 *         has waited for memory to go finds it counted still.
 *   W7/W8  the count of shares at work is lowered by a release, and found 0 by an acquire.
 *         Without it `rcu_flush` returns before the last share is given back.
 *   W9/W9  the next one who reclaims comes after all that the last one did. Without it two
 *         are at one pass.
 *   TW1,W1/TW3,TW4  W1 comes after TW1 and TW3 before TW4: who wakes the reclaimer, or keeps it
 *         awake, has set what it then finds. Without it nobody tidies until the next ask.
 *   TW1/TW2  what is freed, then TW1's load, against TW2, then the tidying, are store-then-load,
 *         hence seq_cst: who finds it set need not ask again. Without it what was freed last
 *         stays.
 *
 * liburcu ends the process where it finds no memory for a thread's first read section.
 * So that is looked for before, and a thread for which there is none counts its sections
 * in one of two counts, by the phase in which they begin:
 *   section    G1: count; read                                  (...) G4: count down
 *   grace      (unlink) liburcu's grace period; G3: load the other phase's count until
 *              0; go on to the next phase; load the last one's until 0
 *   Two phases, so that sections which begin meanwhile are not waited for: and both counts,
 *   since a section may have loaded a phase that has passed when it counts.
 *
 * Ordering pairs:
 *   G1/G3  G1 before what the section reads, and the unlinking before G3, are store-then-load,
 *         hence seq_cst: either G3 sees the section or that does not see what was unlinked.
 *         Without it memory goes under a section.
 *   G4/G3  what a section read comes before G4, a release, and G3 is an acquire. Without it
 *         memory goes under a section's last read.
 *
 * ThreadSanitizer does not see a grace period. What the real one orders is told
 * to it with tokens: a read section notes the count of grace periods at its
 * begin and releases the token of that number at its end; after a grace period
 * the reclaimer acquires all tokens from before its begin. So a use after the
 * section's end, or memory reclaimed without retirement, is still a report.
 */
#include "memory/rcu.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/probe.h"
#include "memory/scavenge.h"

/* Its read sections are inlined, but for ThreadSanitizer, which would judge what is in them. */
#ifndef CANOPY_TSAN
#define _LGPL_SOURCE
#endif
#include <urcu/tls-compat.h>
#include <urcu/urcu-bp.h>

static struct retire_queue *queues;

/* Lines of their own: others are read by all, and not to be written with these. */
static atomic_u32 retired __attribute__((aligned(CACHE_LINE)));
static atomic_u32 reclaimed __attribute__((aligned(CACHE_LINE)));

/* Changed under library_lock, but by a helper that is through. */
atomic_u32 rcu_reclaimer __attribute__((aligned(CACHE_LINE)));

/* One more wait lets a burst gather into one grace period. */
#define GATHER_NS (NS_PER_SECOND / 1000)

/* So long after it was asked the reclaimer tidies. */
#define TIDY_NS (NS_PER_SECOND / 2)

/* More than there are. */
#define QUEUES 8

/* So many retired objects (as contexts 16 MB) may wait before who makes more is slowed. */
#define BACKLOG_MOST (UINT32_C(1) << 18)

/* For so long each time: there is an end to it also where the reclaimer waits for us. */
#define PACE_NS (NS_PER_SECOND / 100)

#ifdef CANOPY_TSAN
#define TOKENS 512
static char token[TOKENS];
static atomic_u64 grace_periods;
static __thread uint64_t section_seq;
static __thread unsigned section_depth;

static void section_begin(void)
{
    if (section_depth++ == 0)
        section_seq = u64_load_relaxed(&grace_periods);
}

static void section_end(void)
{
    if (--section_depth == 0)
        tsan_release(&token[section_seq % TOKENS]);
}

static uint64_t grace_begin(void)
{
    return u64_fetch_add_relaxed(&grace_periods, 1);
}

static void grace_end(uint64_t seq)
{
    for (uint64_t i = 0; i < TOKENS && i <= seq; i++)
        tsan_acquire(&token[(seq - i) % TOKENS]);
}
#else
static inline void section_begin(void)
{
}
static inline void section_end(void)
{
}
static inline uint64_t grace_begin(void)
{
    return 0;
}
static inline void grace_end(uint64_t seq)
{
    (void)seq;
}
#endif

/* In liburcu's library; its header shows it to who inlines read sections alone. */
extern DECLARE_URCU_TLS(struct urcu_bp_reader *, urcu_bp_reader);

/* Room for the records of as many readers as liburcu makes room for at a time, and more. */
#define READERS_BYTES ((size_t)1 << 20)

bool rcu_thread_ready(void)
{
    if (likely(URCU_TLS(urcu_bp_reader) != NULL))
        return true;
    void *room =
        mmap(NULL, READERS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return false;
    /* Another thread may take it before liburcu does: what is left of a risk. */
    munmap(room, READERS_BYTES);
    urcu_bp_read_lock();
    urcu_bp_read_unlock();
    return true;
}

/* How deep this thread is in counted sections, and in which phase the first one began. */
static __thread unsigned counted_depth __attribute__((tls_model("initial-exec")));
static __thread uint32_t counted_phase __attribute__((tls_model("initial-exec")));

static atomic_u32 phase;
static atomic_u32 counted[2]; /* threads in counted sections, by the phase of their begin */
static pthread_mutex_t phase_lock = PTHREAD_MUTEX_INITIALIZER; /* one moves it at a time */

/* True: the section is counted, for want of memory for the thread's record. */
static __attribute__((noinline)) bool counted_begin(void)
{
    if (counted_depth == 0) {
        if (rcu_thread_ready())
            return false;
        counted_phase = u32_load_seq_cst(&phase) & 1;      /* any: both are waited for */
        u32_fetch_add_seq_cst(&counted[counted_phase], 1); /* G1 */
    }
    counted_depth++;
    return true;
}

static void counted_end(void)
{
    if (--counted_depth == 0)
        u32_fetch_add_seq_cst(&counted[counted_phase], (uint32_t)-1); /* G4 */
}

static void counted_await(uint32_t of)
{
    while (u32_load_seq_cst(&counted[of & 1]) != 0) /* G3 */
        pause_ns(NS_PER_SECOND / 10000);
}

/* Two phases: those of the first that began late, then those of now; none of those to come. */
static void counted_wait(void)
{
    pthread_mutex_lock(&phase_lock);
    uint32_t now = u32_load_seq_cst(&phase); /* under the lock */
    counted_await(now + 1);
    u32_fetch_add_seq_cst(&phase, 1); /* before the next G3: those to come count there */
    counted_await(now);
    pthread_mutex_unlock(&phase_lock);
}

void rcu_read_begin(void)
{
    if (unlikely(!URCU_TLS(urcu_bp_reader)) && counted_begin()) {
        section_begin();
        return;
    }
    urcu_bp_read_lock();
    section_begin();
}

void rcu_read_end(void)
{
    section_end();
    if (unlikely(counted_depth > 0))
        counted_end();
    else
        urcu_bp_read_unlock();
}

void rcu_wait(void)
{
    uint64_t seq = grace_begin();
    int64_t begun_ns = clock_now_ns();
    int cancelable = cancellation_hold(); /* it polls, with a lock held */
    urcu_bp_synchronize_rcu();            /* and a fence for everybody */
    counted_wait();
    cancellation_restore(cancelable);
    grace_end(seq);
    PROBE1(grace, clock_now_ns() - begun_ns);
}

void rcu_queue_register(struct retire_queue *queue)
{
    queue->next = queues;
    queues = queue;
}

/* What a pass gives back, for everybody to take shares of. */
#define SHARE 64
static pthread_mutex_t share_lock = PTHREAD_MUTEX_INITIALIZER;
static struct handoff_node *reclaimable[QUEUES]; /* its grace period is over; under share_lock */
static atomic_u32 at_work;                       /* shares that were taken and are not through */

/* Takes a share and gives it back: false when there is none. */
static bool reclaim_share(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&share_lock);
    struct retire_queue *q = queues;
    for (; q && !reclaimable[n]; q = q->next)
        n++;
    struct handoff_node *first = q ? reclaimable[n] : NULL, *rest = first;
    for (unsigned i = 0; rest && i < SHARE; i++)
        rest = rest->next;
    if (first) {
        reclaimable[n] = rest;
        u32_fetch_add_relaxed(&at_work, 1);
    }
    pthread_mutex_unlock(&share_lock);
    if (!first)
        return false;
    while (first != rest) {
        struct handoff_node *next = first->next;
        q->reclaim(first);
        first = next;
    }
    if (u32_fetch_add_acq_rel(&at_work, (uint32_t)-1) == 1) /* W7: pairs with W8 */
        futex_wake_all(&at_work);
    return true;
}

/* When the last pass was over; the reclaimer's. */
static int64_t passed_ns;

/* Gives back what was retired until now, after a grace period. By one thread at a time. */
static void reclaim_pass(void)
{
    uint32_t done = u32_load_acquire(&retired); /* W6 */
    struct handoff_node *taken[QUEUES] = {NULL};
    unsigned n = 0;
    for (struct retire_queue *q = queues; q; q = q->next)
        taken[n++] = handoff_take_all(&q->pending);
    rcu_wait();
    pthread_mutex_lock(&share_lock);
    memcpy(reclaimable, taken, sizeof reclaimable);
    pthread_mutex_unlock(&share_lock);
    while (reclaim_share())
        ;
    uint32_t helpers;
    while ((helpers = u32_load_acquire(&at_work)) != 0) /* W8 */
        futex_wait(&at_work.value, helpers, CANOPY_NEVER);
    u32_exchange_seq_cst(&reclaimed, done); /* W3: pairs with W2, W5 */
    futex_wake_all(&reclaimed);
    passed_ns = clock_now_ns();
}

static atomic_u32 tidy_wanted;

/* Tidies where that was asked for and it is time; when it will be time again. */
static int64_t tidy_turn(int64_t due_ns)
{
    if (due_ns != CANOPY_NEVER) {
        if (!time_is_up(due_ns))
            return due_ns;
        u32_exchange_seq_cst(&tidy_wanted, 0); /* TW2 */
        if (scavenge())
            u32_store_relaxed(&tidy_wanted, 1);
    }
    return u32_load_relaxed(&tidy_wanted) ? clock_now_ns() + TIDY_NS : CANOPY_NEVER; /* TW4 */
}

static void reclaimer_main(const struct thread_role *self)
{
    (void)self;
    struct timespec gather = {0, GATHER_NS};
    for (int64_t tidy_ns = CANOPY_NEVER;;) {
        uint32_t done = u32_load_relaxed(&reclaimed);
        while (u32_load_seq_cst(&retired) == done && !time_is_up(tidy_ns)) /* W4, TW3 */
            futex_wait(&retired.value, done, tidy_ns);
        if (u32_load_relaxed(&retired) != done) {
            nanosleep(&gather, NULL);
            reclaim_pass();
        }
        tidy_ns = tidy_turn(tidy_ns);
    }
}

void rcu_catch_up(void)
{
    if (u32_load_relaxed(&retired) != u32_load_relaxed(&reclaimed) &&
        clock_now_ns() - passed_ns >= GATHER_NS)
        reclaim_pass();
}

bool rcu_start(void)
{
    static const struct thread_role role = {.name = "canopy-reclaim", .run = reclaimer_main};
    pthread_mutex_lock(&library_lock);
    if (u32_load_acquire(&rcu_reclaimer) == RECLAIMER_NONE && thread_start(&role) == 0) /* W9 */
        u32_store_release(&rcu_reclaimer, RECLAIMER_THREAD);                            /* W9 */
    bool ready = u32_load_relaxed(&rcu_reclaimer) == RECLAIMER_THREAD;
    pthread_mutex_unlock(&library_lock);
    return ready;
}

void rcu_help(void)
{
    if (u32_load_acquire(&reclaimed) == u32_load_acquire(&retired) || rcu_ready()) /* W5 */
        return;
    pthread_mutex_lock(&library_lock);
    bool ours = u32_load_acquire(&rcu_reclaimer) == RECLAIMER_NONE; /* W9 */
    if (ours)
        u32_store_relaxed(&rcu_reclaimer, RECLAIMER_HELPER);
    pthread_mutex_unlock(&library_lock);
    if (!ours)
        return;
    reclaim_pass();
    u32_store_release(&rcu_reclaimer, RECLAIMER_NONE); /* W9 */
}

static void announce(void)
{
    uint32_t before = u32_fetch_add_seq_cst(&retired, 1); /* W1 */
    if (u32_load_seq_cst(&reclaimed) == before)           /* W2 */
        futex_wake_all(&retired);
}

void rcu_retire(struct retire_queue *queue, struct handoff_node *node)
{
    /* Where no thread can be had the memory waits for the next retirement to try again. */
    rcu_ready();
    handoff_push(&queue->pending, node);
    announce();
}

void rcu_ask(void)
{
    if (u32_load_seq_cst(&tidy_wanted) || u32_exchange_seq_cst(&tidy_wanted, 1)) /* TW1 */
        return;
    rcu_ready();
    announce();
}

bool rcu_pace(void)
{
    uint32_t done = u32_load_acquire(&reclaimed); /* W5: pairs with W3 */
    if (likely(u32_load_relaxed(&retired) - done <= BACKLOG_MOST))
        return false;
    if (!reclaim_share())
        futex_wait(&reclaimed.value, done, clock_now_ns() + PACE_NS);
    return true;
}

bool rcu_flush(int64_t until_ns)
{
    uint32_t target = u32_load_acquire(&retired); /* W6: what the caller knows of is counted */
    rcu_help();
    for (;;) {
        uint32_t done = u32_load_acquire(&reclaimed); /* W5: pairs with W3 */
        if ((int32_t)(target - done) <= 0)
            return true;
        if (time_is_up(until_ns))
            return false;
        futex_wait(&reclaimed.value, done, until_ns);
    }
}

void rcu_fork_prepare(void)
{
    urcu_bp_before_fork();
    pthread_mutex_lock(&phase_lock);
    pthread_mutex_lock(&share_lock);
}

void rcu_fork_parent(void)
{
    pthread_mutex_unlock(&share_lock);
    pthread_mutex_unlock(&phase_lock);
    urcu_bp_after_fork_parent();
}

void rcu_fork_child(void)
{
    /* Sections of threads that are gone must not hold up our grace periods. */
    urcu_bp_after_fork_child();
    u32_store_relaxed(&counted[0], 0);
    u32_store_relaxed(&counted[1], 0);
    pthread_mutex_unlock(&phase_lock);
    for (struct retire_queue *q = queues; q; q = q->next)
        q->pending = (struct handoff){0};
    memset(reclaimable, 0, sizeof reclaimable);
    u32_store_relaxed(&at_work, 0);
    pthread_mutex_unlock(&share_lock);
    u32_store_relaxed(&reclaimed, u32_load_relaxed(&retired));
    u32_store_relaxed(&rcu_reclaimer, RECLAIMER_NONE);
    u32_store_relaxed(&tidy_wanted, 0);
}
