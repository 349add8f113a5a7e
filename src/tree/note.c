/*
 * note.c - notes are written; see note.h.
 */
#include "tree/note.h"

#include "tree/merge.h"
#include "tree/record.h"

/* ---------------------------------------------------------------------- counts */

/* The calling thread's in a domain that keeps notes, or those that it shares with others. */
struct own_counts {
    struct counts *counts;
    bool is_shared;
};

static struct own_counts counts_at_hand(struct domain *domain)
{
    struct heap *heap = heap_peek(domain);
    return heap ? (struct own_counts){heap_counts(heap), false}
                : (struct own_counts){domain->counts, true};
}

const canopy_cause cause_of_groups = {.text = "group member failed"};

static uintptr_t cause_counted(uintptr_t state)
{
    const canopy_cause *cause = state_cause(state);
    return (uintptr_t)(cause->text == cause_of_groups.text ? &cause_of_groups : cause);
}

/* The place of a cause, or the last one. */
static struct cause_counts *cause_find(struct own_counts own, uintptr_t cause)
{
    struct cause_counts *place = own.counts->causes;
    for (unsigned i = 0; i < CAUSES_TOLD; i++, place++) {
        uintptr_t held = word_load_relaxed(&place->cause);
        if (held == 0 && !word_cas_acq_rel(&place->cause, &held, cause)) /* a name, no more */
            continue;
        if (held == cause || held == 0)
            return place;
    }
    return place;
}

/* In powers of two of a microsecond. */
static unsigned late_bucket(int64_t late_ns)
{
    unsigned bucket = 0;
    for (int64_t most_ns = 1000; late_ns > most_ns && bucket < LATE_BUCKETS - 1; most_ns *= 2)
        bucket++;
    return bucket;
}

static void count_late(struct own_counts own, int64_t late_ns)
{
    int64_t most_ns = i64_load_relaxed(&own.counts->late_max_ns);
    count_one(&own.counts->expired, own.is_shared);
    count_one(&own.counts->late[late_bucket(late_ns)], own.is_shared);
    while (late_ns > most_ns)
        if (i64_cas_acq_rel(&own.counts->late_max_ns, &most_ns, late_ns)) /* a number, no more */
            break;
}

/* ----------------------------------------------------------------------- notes */

/* The calling thread's id, without a call where that was asked for before. */
static uint32_t thread_id(void)
{
    static __thread struct {
        uint32_t tid, fork_generation;
    } known __attribute__((tls_model("initial-exec")));
    uint32_t generation = u32_load_relaxed(&fork_generation);
    if (unlikely(!known.tid) || unlikely(known.fork_generation != generation)) {
        known.tid = (uint32_t)gettid();
        known.fork_generation = generation;
    }
    return known.tid;
}

/* `parent`, if that is what an end came down from; NULL: it began where it is. */
static struct canopy_ctx *ended_with(struct canopy_ctx *parent, uintptr_t state)
{
    return parent && (ctx_state(parent) & ~STATE_SWEPT) == state ? parent : NULL;
}

/* The same of a merged context: the input. */
static struct canopy_ctx *ended_with_input(struct canopy_ctx *merged, uintptr_t state,
                                           struct ctx_note *note)
{
    struct canopy_ctx *input = ctx_parent(merged), *by = NULL;
    for (; input && !by; input = input_next(input))
        by = ended_with(ctx_parent(input), state);
    if (by)
        word_store_release(&note->ended_at, (uintptr_t)by); /* NT6 */
    return by;
}

static struct canopy_ctx *ended_by(struct canopy_ctx *ctx, uintptr_t state, struct ctx_note *note)
{
    return ctx_kind(ctx) == KIND_MERGED ? ended_with_input(ctx, state, note)
                                        : ended_with(ctx_parent(ctx), state);
}

/* Of one that ended before, or that a trace is to tell of. */
static __attribute__((noinline)) struct canopy_ctx *born_oddly(struct canopy_ctx *ctx,
                                                               const struct canopy_ctx *parent,
                                                               struct heap *heap, const void *place)
{
    bool is_traced = trace_is_on();
    if (is_traced)
        trace_made(ctx, parent, place);
    uintptr_t state = ctx_state(ctx);
    if (state_is_live(state))
        return ctx;
    count_one(&heap_counts(heap)->born_done, false);
    const struct canopy_ctx *by = ended_by(ctx, state & ~STATE_SWEPT, note_beside(ctx));
    if (is_traced && kind_is_cancellable(ctx_kind(ctx)))
        trace_ended(ctx, by);
    return ctx;
}

struct canopy_ctx *note_born(struct canopy_ctx *ctx, struct canopy_ctx *parent, struct heap *heap,
                             const void *place)
{
    struct ctx_note *note = note_beside(ctx);
    uint64_t refs = u64_load_relaxed(&ctx->refs); /* nobody else has it yet to write to */
    u64_store_relaxed(&ctx->refs, refs | REFS_RECORDS);
    word_store_release(&note->parent, (uintptr_t)parent | (uintptr_t)ctx_kind(ctx)); /* NT6 */
    i64_store_relaxed(&note->made_ns, domain_time_ns(heap->domain));
    word_store_relaxed(&note->made_at, (uintptr_t)place);
    word_store_relaxed(&note->name, 0);
    u32_store_relaxed(&note->ended_tid, 0);
    word_store_relaxed(&note->ended_at, 0);
    u32_store_relaxed(&note->made_tid, (uint32_t)heap->owner_tid);
    u64_store_release(&note->life, u64_load_relaxed(&note->life) + 1); /* NT4: pairs with NT1 */
    count_one(&heap_counts(heap)->made, false);
    if (likely(state_is_live(ctx_state(ctx))) && likely(!trace_is_on()))
        return ctx;
    return born_oddly(ctx, parent, heap, place);
}

static int64_t exact_ns(const struct domain *domain)
{
    return domain->host_clock ? i64_load_acquire(&domain->now_ns) : clock_now_ns(); /* D6 */
}

static void count_end(struct canopy_ctx *ctx, uintptr_t state, bool is_own)
{
    struct own_counts own = counts_at_hand(ctx_domain(ctx));
    struct cause_counts *cause = cause_find(own, cause_counted(state));
    count_one(&own.counts->ended, own.is_shared);
    count_one(&cause->ended, own.is_shared);
    if (!is_own)
        return;
    count_one(&own.counts->cancels, own.is_shared);
    count_one(&cause->cancels, own.is_shared);
    if ((state & STATE_KIND_MASK) == STATE_TIMEDOUT)
        count_late(own, exact_ns(ctx_domain(ctx)) - ~i64_load_relaxed(&ctx->deadline));
}

void note_ended(struct canopy_ctx *ctx)
{
    struct ctx_note *note = note_beside(ctx);
    uintptr_t state = ctx_state(ctx) & ~STATE_SWEPT;
    struct canopy_ctx *by = ended_by(ctx, state, note);
    if (!by) {
        /* Of two readings on two threads the later one may say less. */
        int64_t now_ns = domain_time_ns(ctx_domain(ctx)),
                made_ns = i64_load_relaxed(&note->made_ns);
        i64_store_relaxed(&note->ended_ns, now_ns > made_ns ? now_ns : made_ns);
        u32_store_release(&note->ended_tid, thread_id()); /* NT7: pairs with NT7a */
    }
    count_end(ctx, state, !by);
    if (unlikely(trace_is_on()))
        trace_ended(ctx, by);
}

void note_callback(const struct canopy_ctx *ctx, struct canopy_callback *record)
{
    struct own_counts own = counts_at_hand(ctx_domain(ctx));
    count_one(&own.counts->callbacks, own.is_shared);
    if (unlikely(trace_is_on()))
        record_is_traced(record);
}

void note_gone(const struct canopy_ctx *ctx)
{
    struct ctx_note *note = note_beside(ctx);
    uint64_t life = u64_load_relaxed(&note->life);
    if (unlikely(!(life & 1)))
        return; /* what was not made to its end */
    if (unlikely(trace_is_on()))
        trace_gone(ctx);
    note_end_life(note, life + 1);
    struct own_counts own = counts_at_hand(ctx_domain(ctx));
    count_one(&own.counts->gone, own.is_shared);
}
