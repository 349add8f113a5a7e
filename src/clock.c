/*
 * clock.c - the clock's thread. It starts with the first deadline (or the first
 * context on a signal), sleeps until the least bound of all domains, and never
 * runs user code.
 *
 * Its sleep: D3 resets `due_ns` (the sixth level of bounds, see deadline.c) and
 * looks at the shelves of domains; who lowers it afterwards advances `kicks`, which the
 * thread has read before D3, so it does not fall asleep over it.
 *
 * It shares its CPU. Much that is due at once is worked through in short turns, with
 * pauses in which others run, callbacks too, and grace periods end. All that was due
 * when the first of them began is done before a later time is looked at, so that
 * whatever comes due meanwhile makes nobody wait for ever. The pause also lets what
 * comes due in quick succession gather, as each turn makes every thread of the
 * process fence.
 */
#include "clock.h"

#include <errno.h>
#include <sys/prctl.h>

#include "worker.h"

/* A turn: at most so many groups of 64 contexts. */
#define TURN_GROUPS 64
#define PAUSE_NS    (NS_PER_SECOND / 5000)

static atomic_i64 due_ns = {CANOPY_NEVER};
static atomic_u32 kicks;
atomic_u32 clock_started;

void (*clock_poll_signals)(struct pass *pass);
void (*clock_signals_done)(void);

void clock_kick(void)
{
    u32_fetch_add_seq_cst(&kicks, 1);
    futex_wake_all(&kicks);
}

void clock_hasten(int64_t by_ns)
{
    if (bound_lower(&due_ns, by_ns))
        clock_kick();
}

/* What is due in the domains on a shelf; when to look again. */
static int64_t expire_shelf(struct shelf *shelf, int64_t now_ns, unsigned *groups,
                            struct pass *pass)
{
    int64_t next_ns = CANOPY_NEVER;
    i64_exchange_seq_cst(&shelf->due_ns, CANOPY_NEVER); /* D3, four levels up */
    uint32_t opened = u32_load_seq_cst(&shelf->opened); /* P3: pairs with shelf_put */
    for (struct shelf_place *place = shelf->places; place < shelf->places + opened; place++) {
        int64_t domain_ns = i64_load_seq_cst(&place->due_ns); /* D4, four levels up */
        if (domain_ns <= now_ns && *groups > 0) {
            i64_exchange_seq_cst(&place->due_ns, CANOPY_NEVER); /* D3, three levels up */
            struct domain *domain = shelf_item(place);          /* P3 */
            domain_ns = domain ? expire_domain(domain, now_ns, groups, pass) : CANOPY_NEVER;
        }
        if (domain_ns < next_ns)
            next_ns = domain_ns;
    }
    bound_lower(&shelf->due_ns, next_ns);
    return next_ns;
}

/* A turn at what is due in all domains of this clock; when to look again. */
static int64_t expire_all(int64_t now_ns, struct pass *pass)
{
    i64_exchange_seq_cst(&due_ns, CANOPY_NEVER); /* D3, five levels up */
    int64_t next_ns = CANOPY_NEVER;
    unsigned groups = TURN_GROUPS;
    struct shelf *shelf = shelf_first(&clocked_domains);
    for (; shelf; shelf = shelf_next(shelf)) {
        int64_t shelf_ns = i64_load_seq_cst(&shelf->due_ns); /* D4, five levels up */
        if (shelf_ns <= now_ns && groups > 0)
            shelf_ns = expire_shelf(shelf, now_ns, &groups, pass);
        if (shelf_ns < next_ns)
            next_ns = shelf_ns;
    }
    bound_lower(&due_ns, next_ns);
    return next_ns;
}

static void clock_main(void)
{
    /* The kernel's default would add 50 us to every sleep. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    for (int64_t now_ns = 0, next_ns = CANOPY_NEVER;;) {
        struct pass pass;
        uint32_t seen = u32_load_acquire(&kicks);
        pass_init(&pass);
        if (clock_poll_signals)
            clock_poll_signals(&pass);
        if (next_ns > now_ns) /* else there is something left */
            now_ns = clock_now_ns();
        rcu_read_begin();
        next_ns = expire_all(now_ns, &pass);
        rcu_read_end();
        deliver(&pass, true);
        if (clock_signals_done)
            clock_signals_done();
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
            u32_store_release(&clock_started, 1);
    }
    pthread_mutex_unlock(&library_lock);
    return err ? EAGAIN : 0;
}

void clock_fork_child(void)
{
    i64_store_relaxed(&due_ns, CANOPY_NEVER);
    u32_store_relaxed(&clock_started, 0);
}
