/*
 * wait.c - threads that sleep until a context is done.
 *
 * One context: the waiter sets WAITED in the state word and sleeps on its low
 * half; the canceller's compare-and-swap replaces that very word, and it wakes if
 * it saw WAITED. Check and sleep are the kernel's one step, so no wake is lost.
 *
 * Several: a record on each context, all with one word on the waiter's stack.
 *   W1 arm each record, then load that context's state (S3, C4 in children.c)
 *   W2 sleep while the word is 0
 *   W3 who delivers stores 1 and wakes (callback.c)
 * A record that cannot be taken out again is claimed, and about to be delivered:
 * its end is waited for, since it lies on this stack.
 *
 * More than there are records for, or where a slot would have cost memory: all
 * such waits share wide_word.
 *   C6 raise wide_waiters; read the word; load the states; sleep while the word
 *      is what was read. The canceller sets the state, then loads wide_waiters
 *      and advances the word. Store-then-load on both sides, hence seq_cst.
 */
#include <errno.h>

#include "callback.h"

#define RECORDS 64

bool canopy_wait(const canopy_ctx *ctx, int64_t until_ns)
{
    struct canopy_ctx *scope = ctx_scope(ctx);
    for (;;) {
        uintptr_t state = word_load_acquire(&scope->state); /* C2 */
        if (!state_is_live(state))
            return true;
        if (time_is_up(until_ns))
            return false;
        /* What is never done has no canceller to tell: sleep on a word of our own. */
        uint32_t never = (uint32_t)STATE_WAITED;
        uint32_t *word = &never;
        if (kind_is_cancellable(ctx_kind(scope))) {
            if (state == STATE_LIVE && !word_cas_acq_rel(&scope->state, &state, STATE_WAITED))
                continue;
            word = futex_low_half(&scope->state);
        }
        futex_wait(word, (uint32_t)STATE_WAITED, until_ns);
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
        uintptr_t state = word_load_seq_cst(&ctx_scope(ctxs[i])->state); /* C4, C6 */
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

static int wait_wide(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    int index;
    u32_fetch_add_seq_cst(&wide_waiters, 1); /* C6: pairs with mark in cancel.c */
    for (;;) {
        uint32_t seen = u32_load_seq_cst(&wide_word);
        index = lowest_done(ctxs, n);
        if (index >= 0 || time_is_up(until_ns))
            break;
        futex_wait(&wide_word.value, seen, until_ns);
    }
    u32_fetch_add_seq_cst(&wide_waiters, (uint32_t)-1);
    return index;
}

static int wait_records(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    struct canopy_callback records[RECORDS];
    atomic_u32 fired = {0};
    size_t armed = 0;
    bool room = true;
    int index = -1;
    for (; armed < n && index < 0; armed++) {
        uintptr_t state;
        records[armed].canopy_fn = NULL;
        records[armed].canopy_arg = &fired;
        u64_store_relaxed(record_runner(&records[armed]), 0);
        if (record_arm(&records[armed], ctxs[armed], NULL, &state) != 0) { /* W1 */
            room = false;
            break;
        }
        record_settle(&records[armed]);
        if (!state_is_live(state))
            index = (int)armed;
    }
    while (room && index < 0 && !u32_load_acquire(&fired) && !time_is_up(until_ns))
        futex_wait(&fired.value, 0, until_ns); /* W2 */
    while (armed > 0)
        if (!record_disarm(&records[--armed]))
            canopy_callback_join(&records[armed]);
    return room ? lowest_done(ctxs, n) : wait_wide(ctxs, n, until_ns);
}

int canopy_wait_any(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    if (!ctxs || n == 0 || n > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!ctxs[i])
            return -EINVAL;
    int index = lowest_done(ctxs, n);
    if (index < 0 && !time_is_up(until_ns))
        index = n <= RECORDS ? wait_records(ctxs, n, until_ns) : wait_wide(ctxs, n, until_ns);
    return index >= 0 ? index : -ETIME;
}

int canopy_wait_idle(const canopy_ctx *view, int64_t until_ns)
{
    if (!view || ctx_kind(view) == KIND_STATIC)
        return -EINVAL;
    struct canopy_ctx *ctx = ctx_mutable(view);
    children_watch(ctx);
    for (;;) {
        uint64_t refs = u64_load_acquire(&ctx->refs); /* pairs with the drops in ctx.c */
        if (!(refs & REFS_COUNTED))                   /* gone; now their memory, too */
            return rcu_flush(until_ns) ? 0 : -ETIME;
        if (time_is_up(until_ns))
            return -ETIME;
        rcu_help(); /* what was retired may hold contexts */
        futex_wait(futex_low_half(&ctx->refs), (uint32_t)refs, until_ns);
    }
}
