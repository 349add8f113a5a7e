/*
 * schedule.c - fibers, and the depth-first search over the order of their steps.
 *
 * A decision is made before each access to a place that several fibers share,
 * and where a fiber cannot go on. The fiber that runs goes on by default; to let
 * another run instead is a preemption, of which each execution has a bounded
 * number. The search repeats the decisions of the last execution up to the last
 * that has an alternative left, and takes that.
 *
 * To leave out the decisions at all other places loses nothing, within the bound
 * either: put off to the next shared place, or to where the fiber stops by itself, a
 * preemption exchanges only steps that do not depend on each other, and there are
 * no more preemptions than before. The same holds for what store buffers keep
 * (atomics.c), of which only stores to shared places are kept.
 */
#include "fiber.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct explorer *explorer;

/* -------------------------------------------------------------------- who can run */

static bool members_are_at(enum wait wait)
{
    for (unsigned i = 1; i < explorer->fiber_count; i++) {
        const struct fiber *fiber = &explorer->fibers[i];
        if (!fiber->is_daemon && fiber->wait != wait && fiber->wait != WAIT_FINISHED)
            return false;
    }
    return true;
}

static bool daemons_are_idle(void);

static bool can_run(const struct fiber *fiber)
{
    switch (fiber->wait) {
    case WAIT_NONE:
        return true;
    case WAIT_START:
        return explorer->exploring;
    case WAIT_MUTEX:
        return *(const uint32_t *)fiber->on == 0;
    case WAIT_FUTEX:
    case WAIT_FINISHED:
        return false;
    case WAIT_FD:
        return *(const uint64_t *)fiber->on != 0;
    case WAIT_OTHERS:
        return explorer->changes != fiber->steps;
    case WAIT_JOIN:
        return explorer->fibers[fiber->steps].wait == WAIT_FINISHED;
    case WAIT_GRACE:
        return fiber->sections == 0;
    case WAIT_FLUSH:
        return rcu_is_through(fiber->steps);
    case WAIT_RECLAIM:
        return rcu_has_ripe();
    case WAIT_ENDING:
        return !explorer->exploring;
    case WAIT_GATHERED:
        return members_are_at(WAIT_START);
    case WAIT_RAN:
        return members_are_at(WAIT_ENDING);
    case WAIT_SETTLED:
        return members_are_at(WAIT_FINISHED) && rcu_is_settled() && daemons_are_idle();
    }
    return false;
}

/* So that nothing is left in the hands of the library's threads. */
static bool daemons_are_idle(void)
{
    for (unsigned i = 1; i < explorer->fiber_count; i++)
        if (explorer->fibers[i].is_daemon && can_run(&explorer->fibers[i]))
            return false;
    return true;
}

/* `nothing_else`: then a short sleep is over, too. */
static bool can_time_out(const struct fiber *fiber, bool nothing_else)
{
    return (fiber->wait == WAIT_FUTEX && fiber->until_ns != CANOPY_NEVER) ||
           (fiber->wait == WAIT_OTHERS && nothing_else);
}

/* ---------------------------------------------------------------------- switching */

static void fiber_finish(void)
{
    struct fiber *fiber = fiber_current();
    if (!fiber->is_daemon && !explorer->explores_thread_end)
        fiber_wait(WAIT_ENDING);
    for (unsigned i = 0; i < explorer->key_count; i++)
        if (fiber->specific[i] && explorer->key_ends[i])
            explorer->key_ends[i]((void *)(uintptr_t)fiber->specific[i]);
    fiber_wait(WAIT_FINISHED);
}

static void fiber_main(void)
{
    struct fiber *fiber = fiber_current();
    if (fiber->thread_run)
        fiber->thread_run(fiber->thread_arg);
    else
        fiber->body();
    fiber_finish();
}

static void switch_to(unsigned to)
{
    struct fiber *from = fiber_current();
    struct fiber *next = &explorer->fibers[to];
    memcpy(from->tls, __start_explore_tls, tls_bytes());
    memcpy(__start_explore_tls, next->tls, tls_bytes());
    explorer->current = to;
    if (_setjmp(from->at))
        return;
    if (next->started)
        _longjmp(next->at, 1);
    next->started = true;
    ucontext_t context;
    /* cppcheck-suppress getcontextCalled ; POSIX has nothing in its place for fibers */
    getcontext(&context);
    context.uc_stack.ss_sp = explorer->stacks[to];
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = NULL;
    /* cppcheck-suppress makecontextCalled ; the same */
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}

unsigned fiber_spawn(void (*body)(void), bool is_daemon)
{
    if (explorer->fiber_count == FIBERS)
        explore_fail("more fibers than there is room for");
    struct fiber *fiber = &explorer->fibers[explorer->fiber_count];
    memset(fiber, 0, sizeof *fiber);
    fiber->body = body;
    fiber->is_daemon = is_daemon;
    return explorer->fiber_count++;
}

int explore_thread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    (void)attr;
    unsigned id = fiber_spawn(NULL, true);
    explorer->fibers[id].thread_run = run;
    explorer->fibers[id].thread_arg = arg;
    *thread = (pthread_t)id;
    return 0;
}

pthread_t explore_pthread_self(void)
{
    return (pthread_t)explorer->current;
}

int explore_thread_join(pthread_t thread, bool waits)
{
    const struct fiber *joined = &explorer->fibers[thread];
    explore_fence_point(__builtin_return_address(0));
    stores_drain();
    if (joined->wait != WAIT_FINISHED && !waits)
        return EBUSY;
    fiber_current()->steps = (uint64_t)thread;
    fiber_wait(WAIT_JOIN);
    return 0;
}

/* ---------------------------------------------------------------------- decisions */

/* A candidate that is no fiber to go on: the oldest store of that fiber becomes visible. */
#define WRITES 0x80

static void point_note(struct switch_point point)
{
    if (explorer->switch_count == CHOICES)
        explore_fail("more switches than there is room for");
    point.step = (uint32_t)explorer->step;
    explorer->switches[explorer->switch_count++] = point;
}

/* What the schedule that is replayed says of this step, or NULL. */
static const struct switch_point *point_replayed(void)
{
    for (unsigned i = explorer->switch_count; i < explorer->replay_count; i++)
        if (explorer->replayed[i].step == explorer->step)
            return &explorer->replayed[i];
    return NULL;
}

/* What the search picks among the candidates. */
static unsigned pick(const uint8_t *candidates, unsigned count)
{
    if (explorer->depth == CHOICES)
        explore_fail("more decisions than there is room for");
    struct choice *choice = &explorer->choices[explorer->depth++];
    if (explorer->depth > explorer->choice_count) {
        explorer->choice_count = explorer->depth;
        choice->picked = 0;
        choice->count = (uint8_t)count;
        memcpy(choice->candidates, candidates, count);
    } else if (choice->count != count || memcmp(choice->candidates, candidates, count) != 0) {
        explore_fail("the explorer lost its way: an execution did not repeat itself");
    }
    return choice->candidates[choice->picked];
}

/* How many of the youngest stores stay behind when the current fiber does: 0 by default. */
static unsigned pick_kept(void)
{
    const struct fiber *fiber = fiber_current();
    uint8_t candidates[CANDIDATES];
    unsigned count = 0, kept = 0;
    if (explorer->replay) {
        const struct switch_point *point = point_replayed();
        for (unsigned i = fiber->pending_count; point && point->store && i > 0; i--)
            kept += fiber->pending[i - 1].step >= point->store;
        return kept;
    }
    if (explorer->delays == explorer->delay_bound)
        return 0;
    while (count <= fiber->pending_count && count < CANDIDATES) {
        candidates[count] = (uint8_t)count;
        count++;
    }
    return pick(candidates, count);
}

/* The current fiber's stores, as it is left for another. */
static uint32_t stores_leave(unsigned to)
{
    struct fiber *fiber = fiber_current();
    /* Who ends or begins the exploration leaves nobody to tell the difference. */
    unsigned kept = to > 0 && fiber->pending_count > 0 ? pick_kept() : 0;
    stores_write(fiber, fiber->pending_count - kept);
    if (kept == 0)
        return 0;
    explorer->delays++;
    return fiber->pending[0].step;
}

static void store_appears(unsigned id)
{
    struct fiber *fiber = &explorer->fibers[id];
    const struct switch_point *point = explorer->replay ? point_replayed() : NULL;
    uint32_t last = point ? point->store : fiber->pending[0].step;
    point_note((struct switch_point){.fiber = (uint8_t)id, .store = last, .is_write = true});
    while (fiber->pending_count > 0 && fiber->pending[0].step <= last)
        stores_write(fiber, 1);
    explorer->delays++;
}

static void resume(unsigned to)
{
    struct fiber *fiber = &explorer->fibers[to];
    if (can_time_out(fiber, false)) {
        fiber->timed_out = true;
        if (explorer->now_ns < fiber->until_ns)
            explorer->now_ns = fiber->until_ns;
    }
    fiber->wait = WAIT_NONE;
    if (to != explorer->current)
        switch_to(to);
}

/* Who can go on, the current fiber first, and what may become visible. */
static unsigned candidates_find(uint8_t *candidates)
{
    unsigned count = 0;
    bool current_can = can_run(fiber_current());
    if (current_can)
        candidates[count++] = (uint8_t)explorer->current;
    if (!current_can || !explorer->exploring ||
        explorer->preemptions < explorer->preemption_bound || explorer->replay) {
        for (unsigned i = 0; i < explorer->fiber_count; i++)
            if (i != explorer->current && can_run(&explorer->fibers[i]))
                candidates[count++] = (uint8_t)i;
        if (count == 0) /* nothing stays in a buffer for ever */
            stores_write_all();
        /* Time passes when nothing else can, or (a preemption) whenever somebody waits for it. */
        if (count == 0 || (current_can && explorer->exploring))
            for (unsigned i = 0; i < explorer->fiber_count; i++)
                if (can_time_out(&explorer->fibers[i], count == 0))
                    candidates[count++] = (uint8_t)i;
    }
    for (unsigned i = 0; i < explorer->fiber_count && explorer->delays < explorer->delay_bound; i++)
        if (i != explorer->current && explorer->fibers[i].pending_count > 0)
            candidates[count++] = (uint8_t)(i | WRITES);
    return count;
}

static unsigned pick_or_replay(const uint8_t *candidates, unsigned count)
{
    if (!explorer->exploring)
        return candidates[0];
    if (!explorer->replay)
        return count > 1 ? pick(candidates, count) : candidates[0];
    const struct switch_point *point = point_replayed();
    if (!point)
        return candidates[0];
    return point->is_write ? point->fiber | WRITES : point->fiber;
}

/* Lets the fiber go on that the search wants, which may be the current one. */
static void decide(void)
{
    uint8_t candidates[2 * FIBERS];
    unsigned to;
    for (;;) {
        unsigned count = candidates_find(candidates);
        if (count == 0)
            explore_fail("deadlock: nobody can go on");
        to = pick_or_replay(candidates, count);
        if (!(to & WRITES))
            break;
        store_appears(to & ~(unsigned)WRITES);
    }
    if (to != explorer->current && explorer->exploring) {
        explorer->preemptions += can_run(fiber_current());
        uint32_t kept = stores_leave(to);
        point_note((struct switch_point){.fiber = (uint8_t)to, .store = kept});
    }
    resume(to);
}

static void step_count(void)
{
    if (++explorer->step > STEPS)
        explore_fail("livelock: no end after %u steps", STEPS);
    explorer->trace[explorer->step].decided = false;
}

void fiber_wait(enum wait wait)
{
    step_count();
    fiber_current()->wait = wait;
    if (wait != WAIT_ENDING) /* all others go through the kernel */
        stores_drain();
    if (wait == WAIT_OTHERS)
        fiber_current()->steps = explorer->changes;
    else
        explorer->changes++;
    decide();
}

static void trace_step(unsigned access, const void *address, const void *site, bool decides)
{
    explorer->trace[explorer->step] =
        (struct trace){site, address, (uint8_t)explorer->current, (uint8_t)access, decides};
    if (decides)
        decide();
}

bool explore_point(unsigned access, const void *address, const void *site)
{
    bool shared = false;
    if (fiber_current()->is_looking)
        return false;
    if (explorer->exploring) {
        step_count();
        explorer->changes += (access & ACCESS_WRITE) != 0;
        shared = place_touch(access, address) || explorer->replay;
        trace_step(access, address, site, shared);
    } else if (++explorer->unexplored_steps > UNEXPLORED_STEPS) {
        explore_fail("livelock: no end after what was explored");
    }
    memory_check(access, address);
    return shared;
}

void explore_fence_point(const void *site)
{
    if (!explorer->exploring)
        return;
    step_count();
    trace_step(ACCESS_WRITE | ACCESS_ADDRESS, NULL, site, explorer->delay_bound > 0);
}

/* ------------------------------------------------------------------------- search */

void schedule_reset(void)
{
    struct explorer *e = explorer;
    e->fiber_count = 1;
    memset(&e->fibers[0], 0, sizeof e->fibers[0]);
    e->fibers[0].started = true;
    e->current = 0;
    e->exploring = false;
    e->explores_thread_end = false;
    e->prepare = NULL;
    e->step = 0;
    e->changes = 0;
    e->unexplored_steps = 0;
    e->preemptions = 0;
    e->delays = 0;
    e->depth = 0;
    e->switch_count = 0;
    e->now_ns = INT64_C(1000000000000);
    e->key_count = 0;
}

void schedule_forget(void)
{
    explorer->choice_count = 0;
}

bool schedule_next(void)
{
    while (explorer->choice_count > 0) {
        struct choice *last = &explorer->choices[explorer->choice_count - 1];
        if (++last->picked < last->count)
            return true;
        explorer->choice_count--;
    }
    return false;
}

/* ---------------------------------------------------------------------- scenarios */

static void member_main(void)
{
    /* How a thread comes by its memory is explored where its end is. */
    if (!explorer->explores_thread_end)
        canopy_release(canopy_with_cancel(scenario_base()));
    void (*prepare)(void) = explorer->prepare;
    explorer->prepare = NULL;
    if (prepare)
        prepare();
    fiber_wait(WAIT_START);
    fiber_current()->run();
}

static void team_run(void (*first)(void), va_list rest)
{
    for (void (*run)(void) = first; run; run = va_arg(rest, void (*)(void)))
        explorer->fibers[fiber_spawn(member_main, false)].run = run;
    fiber_wait(WAIT_GATHERED);
    explorer->step = 0;
    explorer->exploring = true;
    fiber_wait(WAIT_RAN);
    explorer->exploring = false;
    stores_write_all();
    fiber_wait(WAIT_SETTLED);
}

void before(void (*prepare)(void))
{
    explorer->prepare = prepare;
}

void beside(void (*first)(void), ...)
{
    va_list rest;
    va_start(rest, first);
    team_run(first, rest);
    va_end(rest);
}

void beside_to_the_end(void (*first)(void), ...)
{
    va_list rest;
    explorer->explores_thread_end = true;
    va_start(rest, first);
    team_run(first, rest);
    va_end(rest);
}
