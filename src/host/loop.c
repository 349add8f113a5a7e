/*
 * loop.c - loops: callbacks that run on the thread of the loop that they are bound
 * to, and the host's clock.
 *
 * A callback of a loop is a record like any other (record.h), with a mark in place
 * of its function. Who claims it hands it to the loop's inbox instead of running it;
 * from then on it is the thread's of the loop alone, which makes the mark the
 * function and runs it, or stops it. So on that thread stop is always certain: a
 * record that is claimed and does not lie in `ready` is in the inbox, or on its way
 * there, and the way has none of the user's code on it (callback.c).
 *
 * An armed or waiting record keeps its loop open. They are counted in two halves,
 * one the owner's and plain, one for everybody else.
 *
 * Ordering pairs:
 *   U1/U2  who takes a record off the count on another thread has done with the loop, a
 *         release; who closes it loads the count by an acquire. Without it the loop is freed
 *         under who has just stopped a callback of its.
 */
#include <canopy/loop.h>

#include <errno.h>

#include "callbacks/callback.h"
#include "time/deadline.h"

struct canopy_loop_state {
    struct inbox inbox;       /* first: a record's inbox is its loop */
    struct handoff_node kept; /* once abandoned */
    struct domain *domain;    /* whose clock it drives, or NULL */
    /* The owner's: what is to run, oldest first; a ring through this one. */
    canopy_loop_callback ready;
    size_t ready_count;
    int64_t records;           /* records armed less records gone, on the owner */
    struct run *run;           /* while a run is under way */
    atomic_i64 records_abroad; /* the same on other threads: may be negative */
};

/* A run under way; when it is over the loop may be gone. */
struct run {
    struct canopy_loop_state *loop; /* NULL once a callback has closed it */
    canopy_loop_callback end;       /* no callback: the place in `ready` where the run ends */
    int ran;
};

/* Of a record that is bound, or was until it was stopped. */
static struct canopy_loop_state *loop_of(const struct canopy_callback *record)
{
    return record->canopy_arg;
}

/* A loop that can be worked with, or NULL. */
static struct canopy_loop_state *loop_open(const canopy_loop *loop)
{
    struct canopy_loop_state *state = loop ? loop->canopy_state : NULL;
    return state && !inbox_is_inherited(&state->inbox) ? state : NULL;
}

/* The same on its own thread: 0, or the errno of who has no business there. */
static int loop_enter(const canopy_loop *loop, struct canopy_loop_state **state)
{
    *state = loop_open(loop);
    if (!*state)
        return -EINVAL;
    return inbox_is_own(&(*state)->inbox) ? 0 : -EPERM;
}

static void count(struct canopy_loop_state *loop, int64_t change)
{
    if (inbox_is_own(&loop->inbox))
        loop->records += change;
    else
        i64_fetch_add_acq_rel(&loop->records_abroad, change); /* U1: pairs with U2 */
}

/* ----------------------------------------------------------------- what is to run */

static void ready_link(struct canopy_loop_state *loop, canopy_loop_callback *cb)
{
    cb->canopy_next = &loop->ready;
    cb->canopy_previous = loop->ready.canopy_previous;
    cb->canopy_previous->canopy_next = cb;
    loop->ready.canopy_previous = cb;
}

static void ready_unlink(canopy_loop_callback *cb)
{
    cb->canopy_previous->canopy_next = cb->canopy_next;
    cb->canopy_next->canopy_previous = cb->canopy_previous;
    cb->canopy_next = NULL;
}

static void ready_add(struct canopy_loop_state *loop, canopy_loop_callback *cb)
{
    ready_link(loop, cb);
    loop->ready_count++;
}

static void ready_remove(struct canopy_loop_state *loop, canopy_loop_callback *cb)
{
    ready_unlink(cb);
    loop->ready_count--;
    count(loop, -1);
}

static canopy_loop_callback *node_callback(struct handoff_node *node)
{
    return (canopy_loop_callback *)(void *)((char *)node_record(node) -
                                            offsetof(canopy_loop_callback, canopy_record));
}

static void ready_add_all(struct canopy_loop_state *loop, struct handoff_node *node)
{
    for (struct handoff_node *next; node; node = next) {
        next = handoff_next(node);
        ready_add(loop, node_callback(node));
    }
}

static void collect(struct canopy_loop_state *loop)
{
    ready_add_all(loop, inbox_open(&loop->inbox));
}

/* --------------------------------------------------------------- open and close */

int canopy_loop_init(canopy_loop *loop, canopy_ctx *root)
{
    struct domain *domain = NULL;
    if (!loop)
        return -EINVAL;
    loop->canopy_state = NULL;
    if (root) {
        if (ctx_kind(root) != KIND_ROOT)
            return -EINVAL;
        domain = ctx_domain(root);
        if (!domain->host_clock)
            return -EINVAL;
    }
    if (library_init() != 0 || !rcu_thread_ready())
        return -ENOMEM;
    struct canopy_loop_state *state =
        default_domain.allocate(default_domain.user, CACHE_LINE, sizeof *state);
    if (!state)
        return -ENOMEM;
    *state = (struct canopy_loop_state){.domain = domain};
    int err = inbox_init(&state->inbox);
    if (!err && domain) {
        uintptr_t none = 0;
        /* N7: before the bound is first loaded; pairs with N6. */
        if (!word_cas_seq_cst(&domain->inbox, &none, (uintptr_t)&state->inbox)) {
            inbox_close(&state->inbox);
            err = -EBUSY;
        }
    }
    if (err) {
        default_domain.release(default_domain.user, state, CACHE_LINE, sizeof *state);
        return err;
    }
    state->ready.canopy_next = state->ready.canopy_previous = &state->ready;
    loop->canopy_state = state;
    return 0;
}

/* Loops that records named when they were left: they stay in memory, and are found here. */
static struct handoff kept;

/* The claimed records that its thread has, oldest first: they are nobody's to run now. */
static struct handoff_node *drain(struct canopy_loop_state *loop)
{
    struct handoff_node *list = NULL, **at = &list;
    ready_add_all(loop, inbox_abandon(&loop->inbox));
    while (loop->ready_count) {
        canopy_loop_callback *cb = loop->ready.canopy_next;
        if (loop->run && cb == &loop->run->end)
            cb = cb->canopy_next;
        ready_remove(loop, cb);
        *at = record_node(&cb->canopy_record);
        handoff_link(*at, NULL);
        at = &(*at)->next;
    }
    return list;
}

/* Closes a loop, whatever is bound to it. */
static void loop_leave(canopy_loop *loop)
{
    struct canopy_loop_state *state = loop->canopy_state;
    if (state->domain)
        word_store_release(&state->domain->inbox, 0); /* N9 */
    struct handoff_node *left = inbox_is_inherited(&state->inbox) ? NULL : drain(state);
    if (state->run)
        state->run->loop = NULL;
    loop->canopy_state = NULL;
    rcu_wait(); /* for who has handed its last record over, or lowered a bound, and still posts */
    inbox_close(&state->inbox);
    if (state->records + i64_load_acquire(&state->records_abroad) != 0) /* U2 */
        handoff_push(&kept, &state->kept);
    else
        default_domain.release(default_domain.user, state, CACHE_LINE, sizeof *state);
    records_leave(left);
}

int canopy_loop_close(canopy_loop *loop)
{
    struct canopy_loop_state *state = loop ? loop->canopy_state : NULL;
    if (!state)
        return -EINVAL;
    /* An inherited one is anybody's to close; what is bound to it is the parent process's. */
    if (!inbox_is_inherited(&state->inbox)) {
        if (!inbox_is_own(&state->inbox))
            return -EPERM;
        if (state->records + i64_load_acquire(&state->records_abroad) != 0) /* U2 */
            return -EBUSY;
    }
    loop_leave(loop);
    return 0;
}

int canopy_loop_abandon(canopy_loop *loop)
{
    struct canopy_loop_state *state = loop ? loop->canopy_state : NULL;
    if (!state)
        return -EINVAL;
    if (!inbox_is_inherited(&state->inbox) && !inbox_is_own(&state->inbox))
        return -EPERM;
    loop_leave(loop);
    return 0;
}

int canopy_loop_fd(const canopy_loop *loop)
{
    const struct canopy_loop_state *state = loop_open(loop);
    return state ? state->inbox.fd : -EINVAL;
}

/* ------------------------------------------------------------------------- runs */

int64_t canopy_loop_timeout_ns(canopy_loop *loop, int64_t now_ns)
{
    struct canopy_loop_state *state;
    int err = loop_enter(loop, &state);
    if (err)
        return err;
    /* N8: before N2. */
    int64_t due_ns = state->domain ? i64_load_seq_cst(&state->domain->place->due_ns) : CANOPY_NEVER;
    if (state->ready_count || due_ns <= now_ns || !inbox_sleep(&state->inbox))
        return 0;
    int64_t sleep_ns;
    if (due_ns == CANOPY_NEVER || __builtin_sub_overflow(due_ns, now_ns, &sleep_ns))
        return CANOPY_NEVER;
    return sleep_ns;
}

int canopy_loop_awake(canopy_loop *loop)
{
    struct canopy_loop_state *state;
    int err = loop_enter(loop, &state);
    if (!err)
        inbox_awake(&state->inbox);
    return err;
}

int canopy_loop_tell_time(canopy_loop *loop, int64_t now_ns)
{
    struct canopy_loop_state *state;
    int err = loop_enter(loop, &state);
    if (!err && state->domain)
        host_tell_ns(state->domain, now_ns);
    return err;
}

static void run_end(void *arg)
{
    struct run *run = arg;
    if (!run->loop)
        return;
    run->loop->run = NULL;
    if (run->end.canopy_next)
        ready_unlink(&run->end);
}

/* Runs what is ready now, unless it is stopped or the loop closed meanwhile, or time is up. */
static inline void run_ready(struct run *run, int64_t until_ns)
{
    if (!run->loop->ready_count)
        return;
    ready_link(run->loop, &run->end);
    while (run->loop && !inbox_is_inherited(&run->loop->inbox) &&
           run->loop->ready.canopy_next != &run->end) {
        canopy_loop_callback *cb = run->loop->ready.canopy_next;
        ready_remove(run->loop, cb);
        cb->canopy_record.canopy_fn = cb->canopy_fn;
        cb->canopy_record.canopy_arg = cb->canopy_arg;
        callback_run(&cb->canopy_record);
        run->ran += run->ran < INT_MAX;
        if (unlikely(until_ns != CANOPY_NEVER) && time_is_up(until_ns))
            break;
    }
    if (run->loop)
        ready_unlink(&run->end);
}

static __attribute__((noinline)) int run_turns(struct run *run, int64_t now_ns, int64_t until_ns)
{
    struct domain *domain = run->loop->domain;
    bool was_due;
    run->end.canopy_next = NULL;
    run->ran = 0;
    run->loop->run = run;
    pthread_cleanup_push(run_end, run); /* a callback may end its thread */
    do {
        was_due =
            domain && host_advance(domain, now_ns, until_ns); /* callbacks in place run here */
        if (run->loop) {
            collect(run->loop);
            run_ready(run, until_ns);
        }
    } while (was_due && run->loop && limit_allows_more(until_ns));
    pthread_cleanup_pop(1);
    return run->ran;
}

static inline __attribute__((always_inline)) int run_for(canopy_loop *loop, int64_t now_ns,
                                                         int64_t most_ns)
{
    struct run run;
    int err = loop_enter(loop, &run.loop);
    if (err)
        return err;
    struct canopy_loop_state *state = run.loop;
    if (state->run)
        return -EDEADLK;
    inbox_awake(&state->inbox);
    struct domain *domain = state->domain;
    bool is_due = false;
    if (domain) {
        now_ns = host_tell_ns(domain, now_ns);
        is_due = i64_load_seq_cst(&domain->place->due_ns) <= now_ns; /* as host_advance */
    }
    /* Most turns of a host are for other things. */
    if (!is_due && inbox_is_idle(&state->inbox) && !state->ready_count)
        return 0;
    return run_turns(&run, now_ns, limit_until_ns(most_ns));
}

int canopy_loop_run(canopy_loop *loop, int64_t now_ns)
{
    return run_for(loop, now_ns, CANOPY_NEVER);
}

int canopy_loop_run_for(canopy_loop *loop, int64_t now_ns, int64_t most_ns)
{
    return run_for(loop, now_ns, most_ns);
}

/* -------------------------------------------------------------------- callbacks */

int canopy_loop_after_func(const canopy_ctx *ctx, canopy_loop *loop, canopy_loop_callback *cb,
                           void (*fn)(void *arg), void *arg)
{
    struct canopy_loop_state *state = loop_open(loop);
    if (!ctx || !state || !cb || !fn)
        return -EINVAL;
    struct canopy_callback *record = &cb->canopy_record;
    uint32_t phase = record_phase(record);
    if (phase != RECORD_IDLE && phase != RECORD_DONE)
        return -EBUSY;
    cb->canopy_fn = fn;
    cb->canopy_arg = arg;
    cb->canopy_next = NULL;
    record->canopy_fn = record_mark_loop;
    record->canopy_arg = &state->inbox;
    u64_store_relaxed(record_runner(record), state->inbox.owner);
    count(state, 1);
    bool ours = false;
    int err = record_add(record, ctx, &ours);
    if (err)
        count(state, -1);
    if (ours)
        hand_to_loops(record);
    return err;
}

/* Of a record that was not armed any more. */
static __attribute__((noinline)) bool stop_claimed(canopy_loop_callback *cb)
{
    struct canopy_callback *record = &cb->canopy_record;
    if (record_phase(record) != RECORD_CLAIMED ||
        u64_load_relaxed(record_runner(record)) != thread_self())
        return false;
    if (!record_inbox(record))
        return false; /* it is running */
    struct canopy_loop_state *loop = loop_of(record);
    if (inbox_is_inherited(&loop->inbox))
        return false; /* claimed before the fork, by a thread that may be gone */
    if (inbox_is_abandoned(&loop->inbox)) {
        /* Who claimed it has still to find that out, and ends it then: records_leave. */
        while (u64_load_relaxed(record_runner(record)) == thread_self() &&
               record_phase(record) != RECORD_DONE)
            pause_ns(1000);
        return false;
    }
    if (!cb->canopy_next) {
        bool was_asleep = inbox_awake(&loop->inbox);
        collect(loop);
        while (!cb->canopy_next) {
            inbox_await(&loop->inbox);
            collect(loop);
        }
        if (was_asleep)
            inbox_sleep_on(&loop->inbox);
    }
    ready_remove(loop, cb);
    record_finish(record);
    return true;
}

static inline bool stop(canopy_loop_callback *cb)
{
    if (unlikely(!cb))
        return false;
    if (unlikely(!canopy_callback_stop(&cb->canopy_record)))
        return stop_claimed(cb);
    count(loop_of(&cb->canopy_record), -1);
    return true;
}

bool canopy_loop_callback_stop(canopy_loop_callback *cb)
{
    return stop(cb);
}

int canopy_loop_callback_join(canopy_loop_callback *cb)
{
    return canopy_callback_join(cb ? &cb->canopy_record : NULL);
}

bool canopy_loop_callback_drop(canopy_loop_callback *cb)
{
    if (likely(stop(cb)))
        return true;
    /* Not stopped on the loop's thread, so it is running there. */
    if (canopy_loop_callback_join(cb) == -EDEADLK)
        record_give_up(&cb->canopy_record);
    return false;
}
