/*
 * schedule.c - fibers, and the depth-first search over the order of their steps.
 *
 * A decision is made before each access to a place that several fibers share,
 * and where a fiber cannot go on. The fiber that runs goes on by default; to let
 * another run instead is a preemption, of which each execution has a bounded
 * number. The search repeats the decisions of the last execution up to the last
 * that has an alternative left, and takes that.
 */
#include "fiber.h"

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
    case WAIT_OTHERS:
        return explorer->step != fiber->steps;
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
        return members_are_at(WAIT_FINISHED) && rcu_is_settled();
    }
    return false;
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
    if (fiber->specific && explorer->key_end)
        explorer->key_end((void *)(uintptr_t)fiber->specific);
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
    size_t bytes = (size_t)(__stop_explore_tls - __start_explore_tls);
    memcpy(from->tls, __start_explore_tls, bytes);
    memcpy(__start_explore_tls, next->tls, bytes);
    explorer->current = to;
    if (_setjmp(from->at))
        return;
    if (next->started)
        _longjmp(next->at, 1);
    next->started = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = explorer->stacks[to];
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = NULL;
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

/* ---------------------------------------------------------------------- decisions */

static void switch_note(unsigned to)
{
    if (explorer->switch_count == CHOICES)
        explore_fail("more switches than there is room for");
    explorer->switches[explorer->switch_count++] =
        (struct switch_point){(uint32_t)explorer->step, (uint8_t)to};
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

/* What the schedule that is replayed says: the fiber to go on, or `otherwise`. */
static unsigned pick_replayed(unsigned otherwise)
{
    for (unsigned i = explorer->switch_count; i < explorer->replay_count; i++)
        if (explorer->replay[i].step == explorer->step)
            return explorer->replay[i].to;
    return otherwise;
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

/* Lets the fiber go on that the search wants, which may be the current one. */
static void decide(void)
{
    uint8_t candidates[2 * FIBERS];
    unsigned count = 0;
    bool current_can = can_run(fiber_current());
    if (current_can)
        candidates[count++] = (uint8_t)explorer->current;
    if (!current_can || !explorer->exploring ||
        explorer->preemptions < explorer->preemption_bound || explorer->replay) {
        for (unsigned i = 0; i < explorer->fiber_count; i++)
            if (i != explorer->current && can_run(&explorer->fibers[i]))
                candidates[count++] = (uint8_t)i;
        /* Time passes when nothing else can, or (a preemption) whenever somebody waits for it. */
        if (count == 0 || (current_can && explorer->exploring))
            for (unsigned i = 0; i < explorer->fiber_count; i++)
                if (can_time_out(&explorer->fibers[i], count == 0))
                    candidates[count++] = (uint8_t)i;
    }
    if (count == 0)
        explore_fail("deadlock: nobody can go on");
    unsigned to = candidates[0];
    if (explorer->exploring && count > 1)
        to = explorer->replay ? pick_replayed(to) : pick(candidates, count);
    if (to != explorer->current) {
        if (explorer->exploring) {
            switch_note(to);
            explorer->preemptions += current_can;
        }
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
    if (wait == WAIT_OTHERS)
        fiber_current()->steps = explorer->step;
    decide();
}

void explore_point(unsigned access, const void *address, const void *site)
{
    if (explorer->exploring) {
        step_count();
        bool decides = place_touch(access, address) || explorer->replay;
        explorer->trace[explorer->step] =
            (struct trace){site, address, (uint8_t)explorer->current, (uint8_t)access, decides};
        if (decides)
            decide();
    }
    memory_check(access, address);
}

/* The words that atomics are: their width is known only here. */
static uint64_t word_read(const void *address, size_t bytes)
{
    return bytes == 4 ? *(const uint32_t *)address : *(const uint64_t *)address;
}

static void word_write(void *address, size_t bytes, uint64_t value)
{
    if (bytes == 4)
        *(uint32_t *)address = (uint32_t)value;
    else
        *(uint64_t *)address = value;
}

uint64_t explore_load(unsigned access, const void *address, size_t bytes)
{
    explore_point(access | ACCESS_READ, address, __builtin_return_address(0));
    return word_read(address, bytes);
}

uint64_t explore_update(unsigned access, void *address, size_t bytes, enum update update,
                        uint64_t value)
{
    explore_point(access | ACCESS_WRITE, address, __builtin_return_address(0));
    uint64_t before = word_read(address, bytes);
    word_write(address, bytes, update == UPDATE_ADD ? before + value : value);
    return before;
}

bool explore_cas(unsigned access, void *address, size_t bytes, void *expected, uint64_t value)
{
    explore_point(access | ACCESS_WRITE, address, __builtin_return_address(0));
    uint64_t before = word_read(address, bytes);
    bool equal = before == word_read(expected, bytes);
    if (equal)
        word_write(address, bytes, value);
    else
        word_write(expected, bytes, before);
    return equal;
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
    e->preemptions = 0;
    e->depth = 0;
    e->switch_count = 0;
    e->now_ns = INT64_C(1000000000000);
    e->key_end = NULL;
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
