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
#include "callbacks/callback.h"

#include <errno.h>

#include "callbacks/run_list.h"
#include "callbacks/worker.h"
#include "tree/traced.h"

void record_mark_loop(void *unused)
{
    (void)unused;
}

void record_mark_running(void *unused)
{
    (void)unused;
}

void record_mark_left(void *unused)
{
    (void)unused;
}

/* The armer's last touch of a record that it armed; without it nobody lets go of the context. */
static void record_settle(struct canopy_callback *record)
{
    u32_store_release(record_settled(record), RECORD_SETTLED); /* R4 */
}

/* Arms a record on `ctx`. -ENOMEM, or 0 and the state since. */
static inline __attribute__((always_inline)) int record_arm(struct canopy_callback *record,
                                                            const canopy_ctx *ctx,
                                                            struct heap *heap, uintptr_t *state)
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

/* Takes an armed record out: false when it is claimed, or was taken out before. */
static inline bool record_disarm(struct canopy_callback *record)
{
    uintptr_t word = record_word(record), seen = word;
    rcu_read_begin();
    if (u32_load_acquire(record_state(record)) != RECORD_ARMED) { /* R3: pairs with R1 */
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
        out = word_cas_acq_rel(slot, &seen, 0); /* R9, S7, S9 */
    } while (unlikely(!out) && (seen & ~SLOT_COUNTED) == word);
    if (likely(out))
        children_take_hint(hint, holding.scope, slot);
    rcu_read_end();
    if (unlikely(!out))
        return false;
    u32_store_release(record_state(record), RECORD_IDLE); /* R7 */
    let_go(holding, seen & SLOT_COUNTED);
    return true;
}

/* The last touch of a record: it is its owner's again. */
static void record_done(struct canopy_callback *record)
{
    if (u32_exchange_acq_rel(record_state(record), RECORD_DONE) & RECORD_AWAITED) /* R2 */
        futex_wake_all(&record->canopy_state);
}

/* A few instructions of another thread, unless that is not running just now. */
static void record_await_settled(struct canopy_callback *record)
{
    while (unlikely(!u32_load_acquire(record_settled(record)))) /* R4 */
        pause_ns(1000);
}

static void done(void *record)
{
    record_done(record);
}

/* Of one that its armer is through with. */
static void record_finish_settled(struct canopy_callback *record)
{
    struct holding holding = record_holding(record);
    uintptr_t tags = 0;
    if (record_slot(record))
        tags = word_exchange_acq_rel(record_slot(record), 0); /* S7, S9 */
    else
        holding.scope = NULL; /* its context was done when it was added: it holds a handle */
    /* Done also when the destructor of a value that dies of it ends this thread. */
    pthread_cleanup_push(done, record);
    let_go(holding, tags);
    pthread_cleanup_pop(1);
}

void record_finish(struct canopy_callback *record)
{
    record_await_settled(record);
    record_finish_settled(record);
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
    record->canopy_fn = record_mark_running;
    /* Looked at by nobody once fn has returned; but compilers that see a local's address
     * outlive it here say so (gcc from 16 on), so they are not to see that it is one. */
    struct running *seen_by_fn = &running;
    __asm__("" : "+r"(seen_by_fn));
    record->canopy_arg = seen_by_fn;
    pthread_cleanup_push(after_callback, &running);
    fn(arg);
    pthread_cleanup_pop(1);
}

static void tell_returned(void *id)
{
    if (trace_is_on())
        ring_add(ring_what(RING_RETURNED, 0, 0), *(const uint64_t *)id, 0, NULL);
}

static void run_traced(struct canopy_callback *record)
{
    uint64_t id = trace_id(ctx_scope(record->canopy_ctx_));
    ring_add(ring_what(RING_BEGUN, 0, 0), id, (uintptr_t)record->canopy_fn, NULL);
    pthread_cleanup_push(tell_returned, &id);
    run(record, record_finish_settled);
    pthread_cleanup_pop(1);
}

/* One that is to be told of, or whose armer is still at it. */
static __attribute__((noinline)) void run_oddly(struct canopy_callback *record)
{
    record_await_settled(record);
    if (u32_load_relaxed(record_settled(record)) == RECORD_TRACED && trace_is_on())
        run_traced(record);
    else
        run(record, record_finish_settled);
}

void callback_run(struct canopy_callback *record)
{
    u64_store_relaxed(record_runner(record), thread_self());
    if (likely(u32_load_acquire(record_settled(record)) == RECORD_SETTLED)) /* R4 */
        run(record, record_finish_settled);
    else
        run_oddly(record);
}

static void run_rest(void *arg)
{
    struct run_list *list = arg;
    struct canopy_callback *record;
    pthread_cleanup_push(run_rest, list);
    while ((record = run_list_pop(list)) != NULL)
        callback_run(record);
    pthread_cleanup_pop(0);
}

/* The first need not wait for its turn, and mostly it is the only one. */
static void run_here(struct canopy_callback *records)
{
    struct canopy_callback *behind = records->canopy_next;
    struct run_list list;
    if (!behind) {
        callback_run(records);
        return;
    }
    run_list_open(&list, thread_self());
    run_list_add(&list, behind);
    pthread_cleanup_push(run_rest, &list);
    callback_run(records);
    pthread_cleanup_pop(1);
}

/* Out of those that a loop has left, which are one thread's. */
static void left_unlink(struct canopy_callback *record)
{
    *record->canopy_at = record->canopy_next;
    if (record->canopy_next)
        record->canopy_next->canopy_at = record->canopy_at;
}

void record_give_up(struct canopy_callback *record)
{
    if (unlikely(record->canopy_fn == record_mark_left)) {
        left_unlink(record);
        record_finish(record);
        return;
    }
    struct running *running = record->canopy_arg;
    running->record = NULL;
    running->finish(record);
}

static void leave_all(void *list)
{
    struct canopy_callback **left = list;
    pthread_cleanup_push(leave_all, list);
    while (*left) {
        struct canopy_callback *record = *left;
        left_unlink(record);
        record_finish(record);
    }
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
            record->canopy_fn = record_mark_left;
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
    struct posts posts;
    posts.count = 0;
    posts.left = NULL;
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

/* A list that is being made, singly linked. */
struct chain {
    struct canopy_callback *first;
    struct canopy_callback **last;
};

static void chain_add(struct chain *chain, struct canopy_callback *record)
{
    record->canopy_next = NULL;
    *chain->last = record;
    chain->last = &record->canopy_next;
}

void deliver(struct pass *pass, bool by_worker)
{
    struct chain here = {NULL, &here.first}, to_worker = {NULL, &to_worker.first},
                 to_loops = {NULL, &to_loops.first};
    if (unlikely(pass->is_unordered))
        pass->first = due_sort(pass->first, offsetof(struct canopy_callback, canopy_next));
    for (struct canopy_callback *record = pass->first, *next; record; record = next) {
        next = record->canopy_next;
        if (record_inbox(record))
            chain_add(&to_loops, record);
        else if (by_worker || u64_load_relaxed(record_runner(record)) == RUNNER_ASYNC)
            chain_add(&to_worker, record);
        else
            chain_add(&here, record);
    }
    if (to_loops.first)
        hand_to_loops(to_loops.first);
    if (to_worker.first)
        worker_run(to_worker.first);
    if (here.first)
        run_here(here.first);
}

bool cancel_and_deliver(struct canopy_ctx *ctx, uintptr_t word)
{
    struct pass pass;
    pass_init(&pass);
    bool won = cancel_tree(ctx, word, &pass);
    if (unlikely(pass.first != NULL))
        deliver(&pass, false);
    return won;
}

/* A record that was armed as its context ended: true, and claimed, unless somebody was faster. */
static __attribute__((noinline)) bool claim_armed(struct canopy_callback *record)
{
    struct pass pass;
    pass_init(&pass);
    rcu_read_begin();
    /* R3: the slot is still ours to look at only if no claimer was faster. */
    bool ours = u32_load_acquire(record_state(record)) == RECORD_ARMED &&
                record_claim(record_slot(record), record, &pass);
    rcu_read_end();
    return ours;
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
    if (unlikely(!state_is_live(state)))
        *ours = claim_armed(record);
    record_settle(record); /* from here on the record is touched only if it is ours */
    return 0;
}

int record_add(struct canopy_callback *record, const canopy_ctx *ctx, bool *ours)
{
    if (state_is_live(ctx_state(ctx)))
        return arm_or_claim(record, ctx, ours);
    record->canopy_ctx_ = canopy_retain(ctx);
    record->canopy_next = NULL;
    word_store_relaxed(record_slot_field(record), 0);
    record_settle(record);
    u32_store_release(record_state(record), RECORD_CLAIMED); /* R1 */
    *ours = true;
    return 0;
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
        u32_store_release(record_state(record), RECORD_CLAIMED); /* R1 */
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

/* A moment in which somebody else goes on with a record, with no code of the user's. */
static void record_pause(void)
{
    pause_ns(1000);
}

static bool runner_has_begun(uint64_t runner)
{
    return runner != 0 && runner != RUNNER_ASYNC && !(runner & RUNNER_LISTED);
}

static bool scope_is_inherited(const struct canopy_ctx *scope)
{
    return unlikely(u32_load_relaxed(&fork_generation)) && slab_is_inherited(slab_of(scope));
}

int canopy_after_func_async(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                            void *arg)
{
    if (!record)
        return -EINVAL;
    u32_store_relaxed(record_state(record), RECORD_IDLE);
    if (!ctx || !fn)
        return -EINVAL;
    const struct canopy_ctx *scope = ctx_scope(ctx);
    if (kind_is_cancellable(ctx_kind(scope)) && scope_is_inherited(scope))
        return -EINVAL; /* nobody would claim it, and it could not be told from the parent's */
    if (worker_start() != 0)
        return -EAGAIN;
    record->canopy_fn = fn;
    record->canopy_arg = arg;
    u64_store_relaxed(record_runner(record), RUNNER_ASYNC);
    bool ours = false;
    int err = record_add(record, ctx, &ours);
    if (ours)
        worker_run(record);
    return err;
}

/* Where the context of a record has its state; by its words alone, as it may be free. */
static struct canopy_ctx *record_scope(const struct canopy_callback *record, uintptr_t *state)
{
    struct canopy_ctx *scope = ctx_mutable(record->canopy_ctx_);
    *state = word_load_stale(&scope->state); /* R5 */
    if ((*state & STATE_KIND_MASK) == STATE_FORWARD) {
        scope = (struct canopy_ctx *)(*state & ~STATE_BITS);
        *state = word_load_stale(&scope->state); /* R5 */
    }
    return scope;
}

/*
 * Whether a record that was armed when it was looked at is bound to run, or something else
 * by now. What an inherited context has is the parent process's, and bound to nothing here.
 */
static bool armed_is_to_run(struct canopy_callback *record)
{
    bool is_to_run = false;
    uint32_t armed = RECORD_ARMED;
    rcu_read_begin();
    if (u32_load_acquire(record_state(record)) == RECORD_ARMED) { /* R3: pairs with R1 */
        uintptr_t state;
        const struct canopy_ctx *scope = record_scope(record, &state); /* R5: pairs with C1 */
        is_to_run = !state_is_live(state) && !scope_is_inherited(scope);
    }
    rcu_read_end();
    return is_to_run ||
           !u32_cas_acq_rel(record_state(record), &armed, RECORD_ARMED); /* R5: with R1 */
}

/* Whether a record that has not begun to run is another process's. */
static bool record_is_inherited(struct canopy_callback *record)
{
    if (likely(!u32_load_relaxed(&fork_generation)))
        return false;
    rcu_read_begin();                      /* so long it keeps its context */
    uint32_t phase = record_phase(record); /* R3, as in record_disarm */
    bool waits =
        phase == RECORD_ARMED ||
        (phase == RECORD_CLAIMED && !runner_has_begun(u64_load_relaxed(record_runner(record))));
    uintptr_t state;
    bool is_inherited = waits && scope_is_inherited(record_scope(record, &state));
    rcu_read_end();
    return is_inherited;
}

/* A record that is claimed: out of the list in which it waits. False: it has begun to run. */
static bool record_take_back(struct canopy_callback *record)
{
    for (;;) {
        uint64_t runner = u64_load_relaxed(record_runner(record)); /* R6 */
        if (runner_has_begun(runner) || record_is_inherited(record))
            return false;
        if (!(runner & RUNNER_LISTED))
            record_pause();
        else if (run_list_take(record, runner))
            return true;
    }
}

/* Of a record that is not armed, or whose claimer has not said so yet. */
static __attribute__((noinline)) bool stop_late(struct canopy_callback *record)
{
    while (record_phase(record) == RECORD_ARMED) {
        if (record_is_inherited(record))
            return false;
        record_pause();
    }
    if (record_phase(record) != RECORD_CLAIMED || !record_take_back(record))
        return false;
    record_finish(record);
    return true;
}

bool canopy_callback_stop(canopy_callback *record)
{
    if (!record)
        return false;
    if (likely(record_phase(record) == RECORD_ARMED) && likely(record_disarm(record)))
        return true;
    return stop_late(record);
}

int canopy_callback_join(canopy_callback *record)
{
    if (!record)
        return -EINVAL;
    atomic_u32 *state = record_state(record);
    for (;;) {
        uint32_t word = u32_load_acquire(state); /* R0: pairs with R1, R2 */
        uint32_t phase = word & RECORD_PHASE;
        if (phase == RECORD_ARMED && armed_is_to_run(record)) {
            record_pause();
            continue;
        }
        if (phase != RECORD_CLAIMED)
            return 0;
        uint64_t runner = u64_load_relaxed(record_runner(record)); /* R6 */
        if (runner_is_self(runner))
            return -EDEADLK;
        if (!runner_has_begun(runner)) {
            if (record_is_inherited(record))
                return 0;
            if (!(runner & RUNNER_LISTED)) {
                record_pause();
                continue;
            }
            runner = run_list_runner(record, runner);
            if (!runner)
                continue;
            if (runner_is_self(runner))
                return -EDEADLK;
        }
        if (!(word & RECORD_AWAITED) &&
            !u32_cas_acq_rel(state, &word, word | RECORD_AWAITED)) /* R0 */
            continue;
        futex_wait(&record->canopy_state, word | RECORD_AWAITED, CANOPY_NEVER);
    }
}

bool canopy_callback_drop(canopy_callback *record)
{
    if (canopy_callback_stop(record))
        return true;
    if (canopy_callback_join(record) == -EDEADLK)
        record_give_up(record);
    return false;
}
