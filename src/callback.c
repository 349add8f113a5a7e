/*
 * callback.c - records: arm, stop, join, run. The phases of a record and what
 * orders them are described in record.h.
 *
 * An armed record's slot is its reference to the context, as a child's is, and
 * stays so until fn has returned. A record on a value layer sits in the list of
 * the context that the layer shares its state with, and holds a handle of the
 * layer itself.
 *
 * What is bound to a loop goes to its inbox before any callback runs, so nothing that
 * waits for it waits for code of the user's.
 */
#include "callback.h"

#include <errno.h>

void (*callbacks_await)(void);

void record_is_bound(void *unused)
{
    (void)unused;
}

void record_is_running(void *unused)
{
    (void)unused;
}

void record_is_left(void *unused)
{
    (void)unused;
}

void record_settle(struct canopy_callback *record)
{
    u32_store_release(record_settled(record), 1); /* R4 */
}

int record_arm(struct canopy_callback *record, const canopy_ctx *ctx, struct heap *heap,
               uintptr_t *state)
{
    struct canopy_ctx *scope = ctx_scope(ctx);
    record->canopy_ctx_ = ctx;
    record->canopy_next = NULL;
    u32_store_relaxed(record_settled(record), 0);
    u32_store_relaxed(record_state(record), RECORD_ARMED);
    if (scope != ctx)
        canopy_retain(ctx);
    if (kind_is_cancellable(ctx_kind(scope)))
        children_expect_records(scope);
    uintptr_t word = record_word(record);
    atomic_word *where = record_slot_field(record);
    if (!children_enter_hint(heap, scope, word, where) && !children_add(heap, scope, word, where)) {
        if (scope != ctx)
            canopy_release(ctx);
        u32_store_relaxed(record_state(record), RECORD_IDLE);
        return -ENOMEM;
    }
    *state = ctx_registered(scope, record_slot(record), true);
    return 0;
}

/*
 * What an armed record holds. To be read while the slot is still its own: as soon
 * as that is clear the context may be gone, unless it was counted.
 */
struct holding {
    const canopy_ctx *ctx;
    struct canopy_ctx *scope;
};

static struct holding record_holding(const struct canopy_callback *record)
{
    return (struct holding){record->canopy_ctx_, ctx_scope(record->canopy_ctx_)};
}

/* `tags` are those that the slot had. */
static void let_go(struct holding holding, uintptr_t tags)
{
    if (tags & SLOT_COUNTED)
        refs_drop(holding.scope, REFS_COUNT);
    if (holding.scope != holding.ctx)
        canopy_release(holding.ctx);
}

bool record_disarm(struct canopy_callback *record)
{
    uintptr_t word = record_word(record), seen = word;
    rcu_read_begin(); /* R3 */
    uint32_t phase = u32_load_acquire(record_state(record));
    if (phase != RECORD_ARMED) {
        rcu_read_end();
        return false;
    }
    uintptr_t where = word_load_relaxed(record_slot_field(record));
    atomic_word *slot = (atomic_word *)(where & ~SLOT_STRIPED);
    /* Both of use only if we get the record out: then the slot was its own until that moment. */
    struct holding holding = record_holding(record);
    struct hint hint = where & SLOT_STRIPED ? children_hint(slot) : (struct hint){NULL, 0};
    bool out;
    do {
        out = word_cas_acq_rel(slot, &seen, 0);
    } while (unlikely(!out) && (seen & ~SLOT_COUNTED) == word);
    if (likely(out))
        children_take_hint(hint, holding.scope, slot);
    else if ((seen & ~SLOT_TAGS) == word)
        /* Claimed, and whoever did has not said so yet: join must know. */
        u32_cas_acq_rel(record_state(record), &phase, RECORD_BOUND);
    rcu_read_end();
    if (unlikely(!out))
        return false;
    u32_store_release(record_state(record), RECORD_IDLE);
    let_go(holding, seen & SLOT_COUNTED);
    return true;
}

/* The last touch of a record: it is its owner's again. */
static void record_done(struct canopy_callback *record)
{
    if (u32_exchange_acq_rel(record_state(record), RECORD_DONE) & RECORD_AWAITED) /* R2 */
        futex_wake_all(&record->canopy_state);
}

/* R4: a few instructions of another thread, unless that is not running just now. */
static void record_await_settled(struct canopy_callback *record)
{
    while (unlikely(!u32_load_acquire(record_settled(record))))
        pause_ns(1000);
}

static void done(void *record)
{
    record_done(record);
}

void record_finish(struct canopy_callback *record)
{
    record_await_settled(record);
    struct holding holding = record_holding(record);
    uintptr_t tags = 0;
    if (record_slot(record))
        tags = word_exchange_acq_rel(record_slot(record), 0);
    else
        holding.scope = NULL; /* its context was done when it was added: it holds a handle */
    /* Done also when the destructor of a value that dies of it ends this thread. */
    pthread_cleanup_push(done, record);
    let_go(holding, tags);
    pthread_cleanup_pop(1);
}

/* A callback that runs, in its record's canopy_arg. */
struct running {
    struct canopy_callback *record; /* NULL: it was given up */
    void (*finish)(struct canopy_callback *record);
};

/*
 * A callback may end its thread, by pthread_exit or by cancellation. Its record is
 * let go and those behind it run all the same, on the way out.
 */
static void after_callback(void *arg)
{
    const struct running *running = arg;
    if (running->record)
        running->finish(running->record);
}

static void run(struct canopy_callback *record, void (*finish)(struct canopy_callback *record))
{
    struct running running = {record, finish};
    void (*fn)(void *arg) = record->canopy_fn;
    void *arg = record->canopy_arg;
    record->canopy_fn = record_is_running;
    /* cppcheck-suppress autoVariables ; looked at by nobody once fn has returned */
    record->canopy_arg = &running;
    pthread_cleanup_push(after_callback, &running);
    fn(arg);
    pthread_cleanup_pop(1);
}

void callback_run(struct canopy_callback *record)
{
    u64_store_relaxed(record_runner(record), thread_self());
    run(record, record_finish);
}

static void run_all(void *list)
{
    struct canopy_callback **callbacks = list;
    pthread_cleanup_push(run_all, list);
    while (*callbacks)
        callback_run(record_pop(callbacks));
    pthread_cleanup_pop(0);
}

bool record_give_up(struct canopy_callback *record)
{
    if (record->canopy_fn == record_is_running) {
        struct running *running = record->canopy_arg;
        running->record = NULL;
        running->finish(record);
        return false;
    }
    /* On its way to the worker, which this is; no code of the user's is on that way. */
    while (!record->canopy_at)
        callbacks_await();
    record_unlink(record);
    record_finish(record);
    return true;
}

static void leave_all(void *list)
{
    struct canopy_callback **left = list;
    pthread_cleanup_push(leave_all, list);
    while (*left)
        record_finish(record_pop(left));
    pthread_cleanup_pop(0);
}

void records_leave(struct handoff_node *list)
{
    struct canopy_callback *left = NULL, **at = &left;
    for (struct handoff_node *next; list; list = next) {
        struct canopy_callback *record = node_record(list);
        next = handoff_next(list);
        /* Where the loop's thread is another, it may be looking: that it is not to run it. */
        if (u64_load_relaxed(record_runner(record)) == thread_self())
            record->canopy_fn = record_is_left;
        record->canopy_next = NULL;
        record->canopy_at = at;
        *at = record;
        at = &record->canopy_next;
        u64_store_relaxed(record_runner(record), thread_self());
    }
    leave_all(&left);
}

/* Loops that were handed something and are still to be told, each once. */
#define POSTS 32
struct posts {
    unsigned count;
    struct inbox *inboxes[POSTS];
    struct handoff_node *left; /* by loops that were abandoned */
};

static void post(struct posts *posts, struct inbox *inbox)
{
    if (likely(inbox_post(inbox)))
        return;
    for (struct handoff_node *node = inbox_take(inbox), *next; node; node = next) {
        next = handoff_next(node);
        handoff_link(node, posts->left);
        posts->left = node;
    }
}

static void post_later(struct posts *posts, struct inbox *inbox)
{
    /* The latest first: records of one loop mostly come together. */
    for (unsigned i = posts->count; i > 0; i--)
        if (posts->inboxes[i - 1] == inbox)
            return;
    if (posts->count == POSTS)
        post(posts, posts->inboxes[--posts->count]);
    posts->inboxes[posts->count++] = inbox;
}

void hand_to_loops(struct canopy_callback *records)
{
    struct posts posts = {0};
    if (!records)
        return;
    rcu_read_begin(); /* a loop may be closed as soon as it has run them */
    for (struct canopy_callback *next; records; records = next) {
        next = records->canopy_next;
        struct inbox *inbox = records->canopy_arg;
        post_later(&posts, inbox);
        inbox_push(inbox, record_node(records));
    }
    while (posts.count)
        post(&posts, posts.inboxes[--posts.count]);
    rcu_read_end();
    if (unlikely(posts.left != NULL))
        records_leave(posts.left);
}

void deliver(struct pass *pass, deliver_elsewhere elsewhere)
{
    struct canopy_callback *callbacks = NULL, **last = &callbacks, *next;
    struct canopy_callback *bound = NULL, **last_bound = &bound;
    for (struct canopy_callback *record = pass->first; record; record = next) {
        next = record->canopy_next;
        if (record_inbox(record)) {
            record->canopy_next = NULL;
            *last_bound = record;
            last_bound = &record->canopy_next;
        } else {
            record->canopy_next = NULL;
            if (!elsewhere)
                record->canopy_at = last;
            *last = record;
            last = &record->canopy_next;
        }
    }
    hand_to_loops(bound);
    if (!elsewhere) {
        run_all(&callbacks);
        return;
    }
    for (struct canopy_callback *record = callbacks; record; record = next) {
        next = record->canopy_next;
        elsewhere(record);
    }
}

bool cancel_and_deliver(struct canopy_ctx *ctx, uintptr_t word)
{
    struct pass pass;
    pass_init(&pass, thread_self());
    bool won = cancel_tree(ctx, word, &pass);
    if (unlikely(pass.first != NULL))
        deliver(&pass, NULL);
    return won;
}

static inline __attribute__((always_inline)) int arm_or_claim(struct canopy_callback *record,
                                                              const canopy_ctx *ctx, bool *ours)
{
    uintptr_t state;
    struct heap *heap = heap_get(ctx_domain(ctx_scope(ctx)));
    *ours = false;
    if (!heap || record_arm(record, ctx, heap, &state) != 0) {
        u32_store_relaxed(record_state(record), RECORD_IDLE);
        return -ENOMEM;
    }
    if (unlikely(!state_is_live(state))) {
        struct pass pass;
        pass_init(&pass, thread_self());
        rcu_read_begin();
        /* The slot is still ours to look at only if no claimer was faster: see R3. */
        *ours = u32_load_acquire(record_state(record)) == RECORD_ARMED &&
                record_claim(record_slot(record), record, &pass);
        rcu_read_end();
    }
    record_settle(record); /* from here on the record is touched only if it is ours */
    return 0;
}

int record_arm_or_claim(struct canopy_callback *record, const canopy_ctx *ctx, bool *ours)
{
    return arm_or_claim(record, ctx, ours);
}

int canopy_after_func(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                      void *arg)
{
    if (!record)
        return -EINVAL;
    if (!ctx || !fn) {
        u32_store_relaxed(record_state(record), RECORD_IDLE);
        return -EINVAL;
    }
    record->canopy_fn = fn;
    record->canopy_arg = arg;
    if (!state_is_live(ctx_state(ctx))) {
        /* Whoever knows that it is done sees it run at once, also beside the canceller. */
        u64_store_relaxed(record_runner(record), thread_self());
        u32_store_release(record_state(record), RECORD_CLAIMED);
        run(record, record_done);
        return 0;
    }
    u64_store_relaxed(record_runner(record), 0);
    bool ours;
    int err = arm_or_claim(record, ctx, &ours);
    if (ours)
        callback_run(record);
    return err;
}

bool canopy_callback_stop(canopy_callback *record)
{
    if (!record || u32_load_acquire(record_state(record)) != RECORD_ARMED)
        return false;
    return record_disarm(record);
}

/*
 * Whether a record that was armed when it was looked at is bound to run, or something else
 * by now. What an inherited context has is the parent process's, and bound to nothing here.
 */
static bool armed_is_bound(struct canopy_callback *record)
{
    bool is_done = false;
    uint32_t armed = RECORD_ARMED;
    rcu_read_begin(); /* R3 */
    if (u32_load_acquire(record_state(record)) == RECORD_ARMED) {
        struct canopy_ctx *scope = ctx_mutable(record->canopy_ctx_);
        uintptr_t state = word_load_stale(&scope->state); /* R5 */
        if ((state & STATE_KIND_MASK) == STATE_FORWARD) {
            scope = (struct canopy_ctx *)(state & ~STATE_BITS);
            state = word_load_stale(&scope->state);
        }
        is_done = !state_is_live(state) &&
                  !(u32_load_relaxed(&fork_generation) && slab_is_inherited(slab_of(scope)));
    }
    rcu_read_end();
    return is_done || !u32_cas_acq_rel(record_state(record), &armed, RECORD_ARMED); /* R5 */
}

int canopy_callback_join(canopy_callback *record)
{
    if (!record)
        return -EINVAL;
    atomic_u32 *state = record_state(record);
    for (;;) {
        uint32_t word = u32_load_acquire(state); /* pairs with R1, R2 */
        uint32_t phase = word & RECORD_PHASE;
        if (phase == RECORD_ARMED && armed_is_bound(record)) {
            pause_ns(1000); /* for the claim, with no code of the user's before it */
            continue;
        }
        if (phase != RECORD_BOUND && phase != RECORD_CLAIMED)
            return 0;
        if (phase == RECORD_CLAIMED && runner_is_self(u64_load_relaxed(record_runner(record))))
            return -EDEADLK;
        if (!(word & RECORD_AWAITED) && !u32_cas_acq_rel(state, &word, word | RECORD_AWAITED))
            continue;
        futex_wait(&record->canopy_state, word | RECORD_AWAITED, CANOPY_NEVER);
    }
}

bool canopy_callback_drop(canopy_callback *record)
{
    return canopy_callback_stop(record) ||
           (canopy_callback_join(record) == -EDEADLK && record_give_up(record));
}
