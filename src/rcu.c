/*
 * rcu.c - read sections by liburcu, retirement by a thread of our own.
 *
 * liburcu's call_rcu aborts the process when its set-up finds no memory and
 * costs an allocation's worth of work for each object; here a retired object is
 * one push, and the reclaimer takes all that has gathered, waits for one grace
 * period, and gives everything back.
 *
 * Two counts: `retired`, advanced after each push, and `reclaimed`, what the
 * reclaimer has given back up to.
 *   retire     push; W1: retired++; W2: load reclaimed: equal before, so wake
 *   reclaimer  give back; W3: store reclaimed; W4: load retired; equal: sleep
 *   W1 before W2 and W3 before W4 are store-then-load, hence seq_cst: either W2
 *   sees that the reclaimer is through and wakes it, or W4 sees that it is not. The
 *   take that follows the load of `retired` sees every push counted by then: W1 is
 *   a release, that load an acquire.
 *
 * ThreadSanitizer does not see a grace period. What the real one orders is told
 * to it with tokens: a read section notes the count of grace periods at its
 * begin and releases the token of that number at its end; after a grace period
 * the reclaimer acquires all tokens from before its begin. So a use after the
 * section's end, or memory reclaimed without retirement, is still a report.
 */
#include "rcu.h"

#include <stdint.h>
#include <urcu/urcu-bp.h>

#include "base.h"

static struct retire_queue *queues;
static atomic_u32 retired;
static atomic_u32 reclaimed;

/* Who reclaims: nobody, the reclaimer's thread, or for one pass a thread that waits for memory. */
enum { RECLAIMER_NONE, RECLAIMER_THREAD, RECLAIMER_HELPER };
static atomic_u32 reclaimer; /* changed under library_lock, but by a helper that is through */

/* One more wait lets a burst gather into one grace period. */
#define GATHER_NS (NS_PER_SECOND / 1000)

/* More than there are. */
#define QUEUES 8

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

void rcu_read_begin(void)
{
    urcu_bp_read_lock();
    section_begin();
}

void rcu_read_end(void)
{
    section_end();
    urcu_bp_read_unlock();
}

void rcu_wait(void)
{
    uint64_t seq = grace_begin();
    int cancelable;
    /* It polls, with a lock held: no point at which this thread may be cancelled. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    urcu_bp_synchronize_rcu();
    pthread_setcancelstate(cancelable, NULL);
    grace_end(seq);
}

void rcu_queue_register(struct retire_queue *queue)
{
    queue->next = queues;
    queues = queue;
}

/* Gives back what was retired until now, after a grace period. By one thread at a time. */
static void reclaim_pass(void)
{
    uint32_t done = u32_load_acquire(&retired);
    struct handoff_node *taken[QUEUES] = {NULL};
    unsigned n = 0;
    for (struct retire_queue *q = queues; q; q = q->next)
        taken[n++] = handoff_take_all(&q->pending);
    rcu_wait();
    n = 0;
    for (struct retire_queue *q = queues; q; q = q->next) {
        for (struct handoff_node *node = taken[n++]; node;) {
            struct handoff_node *next = node->next;
            q->reclaim(node);
            node = next;
        }
    }
    u32_exchange_seq_cst(&reclaimed, done); /* W3: pairs with W2 and rcu_flush */
    futex_wake_all(&reclaimed);
}

static void *reclaimer_main(void *arg)
{
    (void)arg;
    struct timespec gather = {0, GATHER_NS};
    for (;;) {
        uint32_t done = u32_load_relaxed(&reclaimed);
        while (u32_load_seq_cst(&retired) == done) /* W4 */
            futex_wait(&retired.value, done, CANOPY_NEVER);
        nanosleep(&gather, NULL);
        reclaim_pass();
    }
    return NULL;
}

bool rcu_ready(void)
{
    if (likely(u32_load_acquire(&reclaimer) == RECLAIMER_THREAD))
        return true;
    pthread_mutex_lock(&library_lock);
    if (u32_load_acquire(&reclaimer) == RECLAIMER_NONE &&
        thread_start(reclaimer_main, "canopy-reclaim", NULL) == 0)
        u32_store_release(&reclaimer, RECLAIMER_THREAD);
    bool ready = u32_load_relaxed(&reclaimer) == RECLAIMER_THREAD;
    pthread_mutex_unlock(&library_lock);
    return ready;
}

void rcu_help(void)
{
    if (u32_load_acquire(&reclaimed) == u32_load_acquire(&retired) || rcu_ready())
        return;
    pthread_mutex_lock(&library_lock);
    bool ours = u32_load_acquire(&reclaimer) == RECLAIMER_NONE;
    if (ours)
        u32_store_relaxed(&reclaimer, RECLAIMER_HELPER);
    pthread_mutex_unlock(&library_lock);
    if (!ours)
        return;
    reclaim_pass();
    u32_store_release(&reclaimer, RECLAIMER_NONE); /* pairs with the next one's look */
}

void rcu_retire(struct retire_queue *queue, struct handoff_node *node)
{
    /* Where no thread can be had the memory waits for the next retirement to try again. */
    rcu_ready();
    handoff_push(&queue->pending, node);
    uint32_t before = u32_fetch_add_seq_cst(&retired, 1); /* W1 */
    if (u32_load_seq_cst(&reclaimed) == before)           /* W2 */
        futex_wake_all(&retired);
}

bool rcu_flush(int64_t until_ns)
{
    uint32_t target = u32_load_acquire(&retired);
    rcu_help();
    for (;;) {
        uint32_t done = u32_load_acquire(&reclaimed); /* pairs with W3 */
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
}

void rcu_fork_parent(void)
{
    urcu_bp_after_fork_parent();
}

void rcu_fork_child(void)
{
    /* Sections of threads that are gone must not hold up our grace periods. */
    urcu_bp_after_fork_child();
    for (struct retire_queue *q = queues; q; q = q->next)
        q->pending = (struct handoff){0};
    u32_store_relaxed(&reclaimed, u32_load_relaxed(&retired));
    u32_store_relaxed(&reclaimer, RECLAIMER_NONE);
}
