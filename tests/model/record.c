/*
 * record.c - a callback is armed, stopped and joined beside a cancel that claims
 * it: the phases and R1 to R6 of src/tree/record.h, C8 of src/tree/cancel.c. Promises 28, 29,
 * 30, 32.
 *
 * What the canceller claims waits in a list, under a lock, before it runs; stop takes it
 * back there. Stop is true, or the function runs: never both, never neither. After a stop that
 * returned true, or a join, the record is its owner's again: the plain accesses to
 * it must not race. The function gives up the owner's reference, so the context may
 * be freed while its owner has not returned from arming.
 *
 * Weakened: 1 R2 is relaxed, 2 stop empties the slot by a store, 3 the record
 * and C8 are published relaxed, 4 a claim is a store, 5 stop does not look again under the
 * list's lock whether the record still waits, 6 who ran the function does not wait for R4,
 * 7 stop looks at the slot outside a read section, 8 C8 is acquire and release only,
 * 9 join takes a record for armed although its context is done, 10 the same outside a
 * read section.
 */
#include "model.h"

#define IDLE    0u
#define ARMED   1u
#define CLAIMED 2u
#define DONE    3u

/* Where a claimed record is. */
#define ON_ITS_WAY 0u
#define LISTED     1u
#define BEGUN      2u

#define RECORD 4u
#define LOOKED 1u

struct context {
    _Atomic(unsigned) refs;
    _Atomic(unsigned) state;
    _Atomic(unsigned) has_records;
    _Atomic(unsigned) slot;
};

static struct context *context;
static _Atomic(unsigned) phase;
static _Atomic(unsigned) runner;
static _Atomic(unsigned) lock; /* the list's */
static _Atomic(unsigned) settled;
static unsigned function; /* of the record: written by its owner, read by who runs it */
static _Atomic(unsigned) runs;
static _Atomic(unsigned) was_stopped;
static _Atomic(unsigned) marked;  /* C1 was seen to have been */
static _Atomic(unsigned) to_stop; /* whether the owner stops it: both ways are tried */

static void drop(struct context *ctx)
{
    if (add(&ctx->refs, -1u, ACQ_REL) == 1) {
        grace_period();
        free(ctx);
    }
}

/* Inside a read section. */
static bool claim(struct context *ctx)
{
    unsigned word = load(&ctx->slot, SEQ_CST); /* C3 */
    if (word != RECORD)
        return false;
    if (WEAKENED == 4)
        store(&ctx->slot, RECORD | LOOKED, RELEASE);
    else if (!cas(&ctx->slot, &word, RECORD | LOOKED, ACQ_REL, ACQUIRE))
        return false;
    swap(&phase, CLAIMED, ACQ_REL); /* R1 */
    return true;
}

static void lock_take(void)
{
    unsigned unlocked = 0;
    __VERIFIER_assume(cas(&lock, &unlocked, 1, ACQ_REL, ACQUIRE)); /* it sleeps until then */
}

static void lock_give(void)
{
    swap(&lock, 0, ACQ_REL);
}

/* R6. True: it was there. */
static bool unlist(void)
{
    lock_take();
    bool listed = load(&runner, RELAXED) == LISTED;
    if (listed)
        store(&runner, BEGUN, RELAXED);
    lock_give();
    return listed;
}

static void finish(struct context *ctx)
{
    if (WEAKENED != 6)
        __VERIFIER_assume(load(&settled, ACQUIRE)); /* R4: it waits until then */
    swap(&ctx->slot, 0, ACQ_REL);
    drop(ctx);                                      /* the record's */
    swap(&phase, DONE, ORDER(1, ACQ_REL, RELAXED)); /* R2 */
}

static void run(struct context *ctx)
{
    assert(function == 42);
    add(&runs, 1, RELAXED);
    drop(ctx); /* the function gives up the owner's reference */
    finish(ctx);
}

static void *canceller(void *arg)
{
    struct context *ctx = context;
    unsigned live = 0;
    bool ours = false;
    section_begin();
    cas(&ctx->state, &live, 1, SEQ_CST, SEQ_CST); /* C1 */
    store(&marked, 1, RELEASE);
    if (load(&ctx->has_records, ORDER(8, SEQ_CST, ACQUIRE)))
        ours = claim(ctx);
    section_end();
    if (ours) {
        lock_take();
        store(&runner, LISTED, RELAXED); /* R6 */
        lock_give();
        if (unlist())
            run(ctx);
    }
    drop(ctx);
    return arg;
}

static void arm(struct context *ctx)
{
    unsigned empty = 0;
    bool ours = false;
    function = 42;
    store(&phase, ARMED, RELAXED);
    swap(&ctx->has_records, 1, ORDER(3, ORDER(8, SEQ_CST, ACQ_REL), RELAXED)); /* C8 */
    cas(&ctx->slot, &empty, RECORD, ORDER(3, SEQ_CST, RELAXED),
        ORDER(3, SEQ_CST, RELAXED));                     /* S3 */
    if (load(&ctx->state, ORDER(8, SEQ_CST, ACQUIRE))) { /* C4 */
        section_begin();
        ours = load(&phase, ACQUIRE) == ARMED && claim(ctx);
        section_end();
    }
    store(&settled, 1, RELEASE); /* R4 */
    if (ours) {
        store(&runner, BEGUN, RELAXED);
        run(ctx);
    }
}

/* True: out of its slot, and the record's reference to the context is the caller's. */
static bool disarm(struct context *ctx)
{
    if (WEAKENED != 7)
        section_begin(); /* R3 */
    bool out = false;
    unsigned seen = load(&phase, ACQUIRE);
    if (seen == ARMED) {
        unsigned word = RECORD;
        if (WEAKENED == 2) {
            store(&ctx->slot, 0, RELEASE);
            out = true;
        } else {
            out = cas(&ctx->slot, &word, 0, ACQ_REL, ACQUIRE);
        }
    }
    if (WEAKENED != 7)
        section_end();
    if (out)
        store(&phase, IDLE, RELEASE);
    return out;
}

static bool take_back(struct context *ctx)
{
    unsigned seen = load(&phase, ACQUIRE);
    __VERIFIER_assume(seen != ARMED); /* the claim is about to be said */
    if (seen != CLAIMED)
        return false;
    unsigned where = load(&runner, RELAXED);
    __VERIFIER_assume(where != ON_ITS_WAY); /* it waits until then */
    if (where != LISTED || !(WEAKENED == 5 || unlist()))
        return false;
    finish(ctx);
    return true;
}

static void join(struct context *ctx)
{
    unsigned armed = ARMED;
    bool done = false;
    if (WEAKENED != 10)
        section_begin(); /* R3 */
    unsigned seen = load(&phase, ACQUIRE);
    if (seen == ARMED && WEAKENED != 9)
        done = load(&ctx->state, SEQ_CST); /* R5 */
    if (WEAKENED != 10)
        section_end();
    /* It waits until then. */
    __VERIFIER_assume(seen != CLAIMED && !done);
    if (seen == ARMED)
        __VERIFIER_assume(cas(&phase, &armed, ARMED, ACQ_REL, ACQUIRE)); /* R5 */
}

static void *decider(void *arg)
{
    store(&to_stop, 1, RELAXED);
    return arg;
}

static void *owner(void *arg)
{
    struct context *ctx = context;
    arm(ctx);
    if (!load(&to_stop, RELAXED)) {
        if (load(&marked, ACQUIRE)) {
            join(ctx);
            assert(load(&runs, RELAXED) == 1);
        }
        return NULL;
    }
    bool disarmed = disarm(ctx);
    bool stopped = disarmed || take_back(ctx);
    if (!stopped)
        join(ctx);
    assert(load(&runs, RELAXED) == (stopped ? 0 : 1));
    function = 0; /* what its owner does with it next */
    if (disarmed)
        drop(ctx);
    if (stopped) {
        drop(ctx);
        store(&was_stopped, 1, RELAXED);
    }
    return arg;
}

int main(void)
{
    context = malloc(sizeof *context);
    atomic_init(&context->refs, 3); /* the canceller's, the owner's, the record's */
    atomic_init(&context->state, 0);
    atomic_init(&context->has_records, 0);
    atomic_init(&context->slot, 0);
    void *(*const threads[])(void *) = {owner, canceller, decider};
    run_threads(threads, 3);
    assert(load(&runs, RELAXED) + load(&was_stopped, RELAXED) == 1);
    return 0;
}
