/*
 * wait.c - threads that sleep until a context is done.
 *
 * One context: the waiter sets WAITED in the state word and sleeps on its low
 * half; the canceller's compare-and-swap replaces that very word, and it wakes if
 * it saw WAITED. Check and sleep are the kernel's one step, so no wake is lost.
 *
 * Several: WAITED in each of them as well, and before that a record in the bucket of each
 * (park.h), which the canceller that saw WAITED looks into. What is never done needs
 * neither. More than RECORDS have one record in the place of all, which every canceller
 * of what somebody waits for finds.
 *
 * Who waits needs no clock's thread: it sleeps no longer than until the earliest deadline
 * above, and ends what is due itself. So it is in time also where that thread is late, or
 * there is none: in the child of a fork, for what was inherited.
 */
#include <errno.h>

#include "base/park.h"
#include "callbacks/worker.h"
#include "time/deadline.h"

#define RECORDS 64

/* What one does that has found none of its contexts done. */
enum step { STEP_SLEEP, STEP_LOOK_AGAIN, STEP_GIVE_UP };

/* Ends `owner`, or what is due above it. Its callbacks are the worker's, where that runs. */
static void end_due(struct canopy_ctx *owner, int64_t now_ns)
{
    struct pass pass;
    pass_init(&pass);
    rcu_read_begin();
    expire_one(owner, now_ns, &pass);
    rcu_read_end();
    deliver(&pass, worker_is_started());
}

/* Ends what is due; else `*wake_ns` is for how long to sleep. */
static enum step next_step(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns,
                           int64_t *wake_ns)
{
    if (until_ns <= 0)
        return STEP_GIVE_UP;
    struct canopy_ctx *due = NULL;
    int64_t due_ns = CANOPY_NEVER;
    for (size_t i = 0; i < n; i++) {
        int64_t deadline_ns;
        struct canopy_ctx *owner = deadline_awaited(ctxs[i], &deadline_ns);
        if (owner && deadline_ns < due_ns) {
            due = owner;
            due_ns = deadline_ns;
        }
    }
    *wake_ns = due_ns < until_ns ? due_ns : until_ns;
    if (*wake_ns == CANOPY_NEVER)
        return STEP_SLEEP;
    int64_t now_ns = clock_now_ns();
    if (due && due_ns <= now_ns) {
        end_due(due, now_ns);
        return STEP_LOOK_AGAIN;
    }
    return until_ns <= now_ns ? STEP_GIVE_UP : STEP_SLEEP;
}

bool canopy_wait(const canopy_ctx *ctx, int64_t until_ns)
{
    struct canopy_ctx *scope = ctx_scope(ctx);
    for (;;) {
        uintptr_t state = word_load_acquire(&scope->state); /* C2 */
        if (!state_is_live(state))
            return true;
        int64_t wake_ns;
        enum step step = next_step(&ctx, 1, until_ns, &wake_ns);
        if (step == STEP_GIVE_UP)
            return false;
        if (step == STEP_LOOK_AGAIN)
            continue;
        /* What is never done has no canceller to tell: sleep on a word of our own. */
        uint32_t never = (uint32_t)STATE_WAITED;
        uint32_t *word = &never;
        if (kind_is_cancellable(ctx_kind(scope))) {
            if (state == STATE_LIVE &&
                !word_cas_acq_rel(&scope->state, &state, STATE_WAITED)) /* C5: pairs with C1 */
                continue;
            word = futex_low_half(&scope->state);
        }
        futex_wait(word, (uint32_t)STATE_WAITED, wake_ns);
    }
}

int canopy_sleep(const canopy_ctx *ctx, int64_t duration_ns)
{
    if (duration_ns <= 0)
        return canopy_err(ctx);
    return canopy_wait(ctx, saturating_add(clock_now_ns(), duration_ns)) ? canopy_err(ctx) : 0;
}

/*
 * The lowest index that is done, or -1. What was still live when it was looked at may
 * have ended before what was found done, as a parent does before its child: so those
 * below are looked at again, until none of them has.
 */
static int lowest_done(const canopy_ctx *const ctxs[], size_t n)
{
    int lowest = -1;
    size_t i = 0;
    while (i < n) {
        uintptr_t state = word_load_seq_cst(&ctx_scope(ctxs[i])->state); /* C6b */
        if (state_is_live(state)) {
            i++;
            continue;
        }
        lowest = (int)i;
        n = i;
        i = 0;
    }
    return lowest;
}

/* After C6a: has the canceller of each look into its bucket. */
static void announce_wait(struct canopy_ctx *scope)
{
    uintptr_t state = word_load_seq_cst(&scope->state); /* C6b, with the look that follows */
    if (state == STATE_LIVE && kind_is_cancellable(ctx_kind(scope)))
        word_cas_seq_cst(&scope->state, &state, STATE_WAITED); /* C6b */
}

static int wait_parked(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    struct parked records[RECORDS];
    atomic_u32 told = {0};
    size_t parked = 0;
    if (n > RECORDS)
        park(&records[parked++], PARK_ANY, &told);
    for (size_t i = 0; n <= RECORDS && i < n; i++) {
        struct canopy_ctx *scope = ctx_scope(ctxs[i]);
        if (kind_is_cancellable(ctx_kind(scope)))
            park(&records[parked++], (uintptr_t)scope, &told);
    }
    for (size_t i = 0; i < n; i++)
        announce_wait(ctx_scope(ctxs[i]));
    int index;
    int64_t wake_ns;
    enum step step = STEP_LOOK_AGAIN;
    while ((index = lowest_done(ctxs, n)) < 0 && step != STEP_GIVE_UP) {
        step = next_step(ctxs, n, until_ns, &wake_ns);
        if (step == STEP_SLEEP)
            park_sleep(&told, wake_ns);
    }
    while (parked > 0)
        unpark(&records[--parked]);
    return index;
}

int canopy_wait_any(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    if (!ctxs || n == 0 || n > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!ctxs[i])
            return -EINVAL;
    int index = lowest_done(ctxs, n);
    if (index < 0 && until_ns > 0)
        index = wait_parked(ctxs, n, until_ns);
    return index >= 0 ? index : -ETIME;
}

static int wait_counted(struct canopy_ctx *ctx, int64_t until_ns)
{
    for (;;) {
        uint64_t refs = u64_load_acquire(&ctx->refs); /* S6: pairs with S5 */
        if (!(refs & REFS_COUNTED))
            return 0;
        if (time_is_up(until_ns))
            return -ETIME;
        rcu_help(); /* what was retired may hold contexts */
        futex_wait(futex_low_half(&ctx->refs), (uint32_t)refs, until_ns);
    }
}

int canopy_wait_idle(const canopy_ctx *view, int64_t until_ns)
{
    if (!view || ctx_kind(view) == KIND_STATIC)
        return -EINVAL;
    struct canopy_ctx *ctx = ctx_mutable(view);
    struct parked watch;
    children_watch(ctx, &watch);
    int err = wait_counted(ctx, until_ns);
    children_unwatch(ctx, &watch);
    if (err)
        return err;
    return rcu_flush(until_ns) ? 0 : -ETIME; /* gone; now their memory, too */
}
