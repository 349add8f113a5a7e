/*
 * clock.c - the clock's thread. It starts with the first deadline (or the first
 * context on a signal), sleeps until the least bound of all domains, and never
 * runs user code.
 *
 * Its sleep: D3 resets `due_ns` (the sixth level of bounds, see deadline.c) and
 * looks at the shelves of domains; who lowers it afterwards advances `kicks`, which the
 * thread has read before D3, so it does not fall asleep over it.
 *
 * Ordering pairs:
 *   Z1/Z2  `kicks` is advanced after what there is to be looked at was stored (D2, Y1), and
 *         loaded before the look: what the look misses keeps the thread from falling asleep.
 *         Without it a deadline or a signal waits for the next one.
 *   Z3/Z3  `clock_started` is set by a release, once the threads are made. Without it a
 *         deadline is armed beside a library that is not wired yet.
 *
 * It shares its CPU. Much that is due at once is worked through in short turns, with
 * pauses in which others run, callbacks too, and grace periods end. Each turn looks at
 * the time anew, and first at what has come due since the last one, so that nobody waits
 * for what others have due; and then at what has been waiting (expire.c). The pause also
 * lets what comes due in quick succession gather, as each turn makes every thread of the
 * process fence.
 */
#include "time/clock.h"

#include <errno.h>
#include <sys/prctl.h>

#include "callbacks/worker.h"

#define TURN_NS  (NS_PER_SECOND / 2000)
#define PAUSE_NS (NS_PER_SECOND / 5000)

static atomic_i64 due_ns = {CANOPY_NEVER};
static atomic_u32 kicks;
atomic_u32 clock_started;

void clock_kick(void)
{
    u32_fetch_add_seq_cst(&kicks, 1); /* Z1 */
    futex_wake_all(&kicks);
}

bool clock_lower(int64_t to_ns)
{
    return bound_lower(&due_ns, to_ns);
}

void clock_hasten(int64_t by_ns)
{
    if (clock_lower(by_ns))
        clock_kick();
}

/* A turn at what is due in all domains of this clock; when to look again. */
static int64_t expire_all(struct pass *pass)
{
    int64_t now_ns = clock_now_ns();
    struct limit limit = {UINT_MAX, now_ns + TURN_NS};
    rcu_read_begin();
    i64_exchange_seq_cst(&due_ns, CANOPY_NEVER); /* D3, five levels up */
    expire_clocked(now_ns, &limit, pass);
    rcu_read_end();
    return i64_load_seq_cst(&due_ns); /* what is lowered later kicks: Z1 */
}

static void clock_main(const struct thread_role *self)
{
    (void)self;
    /* The kernel's default would add 50 us to every sleep. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    for (;;) {
        struct pass pass;
        uint32_t seen = u32_load_acquire(&kicks); /* Z2 */
        pass_init(&pass);
        signals_poll(&pass);
        int64_t next_ns = expire_all(&pass);
        deliver(&pass, true);
        signals_told();
        int64_t rested_ns = clock_now_ns() + PAUSE_NS;
        futex_wait(&kicks.value, seen, next_ns > rested_ns ? next_ns : rested_ns);
    }
}

int clock_start(void)
{
    if (!rcu_ready() || library_init() != 0)
        return EAGAIN;
    static const struct thread_role role = {.name = "canopy-clock", .run = clock_main};
    pthread_mutex_lock(&library_lock);
    int err = 0;
    if (!u32_load_relaxed(&clock_started)) {
        err = worker_start_locked();
        if (!err)
            err = thread_start(&role);
        if (!err)
            u32_store_release(&clock_started, 1); /* Z3 */
    }
    pthread_mutex_unlock(&library_lock);
    return err ? EAGAIN : 0;
}

void clock_fork_child(void)
{
    i64_store_relaxed(&due_ns, CANOPY_NEVER);
    u32_store_relaxed(&clock_started, 0);
}
