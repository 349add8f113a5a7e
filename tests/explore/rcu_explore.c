/*
 * rcu_explore.c - rcu.h, region.h and the hand-over stack for the explorer. Retired memory
 * counts as gone at the earliest moment that is legal, when the last read section
 * that was open at the retirement ends; the reclaimer, a fiber like the others,
 * gives it back some time after. A read section is no fence; a grace period is one for
 * every fiber, as liburcu's membarrier makes it.
 */
#include "pool_hooks.h"

#include "fiber.h"
#include "memory/region.h"

#define RETIRED 1024

/* What is one step: its own accesses are not to be taken apart. */
#define ONE_STEP __attribute__((no_sanitize_thread))

static struct {
    struct retire_queue *queue;
    struct handoff_node *node;
    uint32_t sections; /* fibers whose read sections were open */
} retired[RETIRED];
static uint64_t retired_count;
static uint64_t reclaimed_count;

static void rcu_point(unsigned access)
{
    explore_point(access | ACCESS_ADDRESS, &retired_count, __builtin_return_address(0));
}

static uint32_t open_sections(void)
{
    uint32_t open = 0;
    for (unsigned i = 0; i < explorer->fiber_count; i++)
        if (explorer->fibers[i].depth > 0)
            open |= 1U << i;
    return open;
}

/* A retired node lies in an object, or in the header of a slab that goes as a whole. */
ONE_STEP static void grace_is_over(struct handoff_node *node)
{
    struct slab *slab = slab_of(node);
    if ((uintptr_t)node - (uintptr_t)slab < SLAB_HEADER_BYTES) {
        memory_gone(slab, SLAB_BYTES - CACHE_LINE);
        return;
    }
    size_t bytes = object_bytes(slab->class);
    memory_dead((void *)((uintptr_t)node & ~(bytes - 1)), bytes);
}

void rcu_read_begin(void)
{
    rcu_point(ACCESS_READ);
    fiber_current()->depth++;
}

void rcu_read_end(void)
{
    rcu_point(ACCESS_READ);
    if (--fiber_current()->depth > 0)
        return;
    uint32_t self = 1U << explorer->current;
    for (uint64_t i = reclaimed_count; i < retired_count; i++) {
        if (!(retired[i].sections & self))
            continue;
        retired[i].sections &= ~self;
        if (!retired[i].sections)
            grace_is_over(retired[i].node);
    }
    for (unsigned i = 0; i < explorer->fiber_count; i++)
        explorer->fibers[i].sections &= ~self;
}

/* What is on top of the queue's stack, to which the next one is linked. */
static struct handoff_node *retired_last(const struct retire_queue *queue)
{
    for (uint64_t i = retired_count; i > reclaimed_count; i--)
        if (retired[i - 1].queue == queue)
            return retired[i - 1].node;
    return NULL;
}

void rcu_retire(struct retire_queue *queue, struct handoff_node *node)
{
    handoff_link(node, retired_last(queue));
    rcu_point(ACCESS_WRITE);
    stores_drain();
    if (retired_count == RETIRED)
        explore_fail("more retired than there is room for");
    retired[retired_count].queue = queue;
    retired[retired_count].node = node;
    retired[retired_count].sections = open_sections();
    if (!retired[retired_count++].sections)
        grace_is_over(node);
}

void rcu_queue_register(struct retire_queue *queue)
{
    (void)queue;
}

bool rcu_thread_ready(void)
{
    return true;
}

bool rcu_pace(void)
{
    return false;
}

/* The reclaimer is always to be had here. */
atomic_u32 rcu_reclaimer = {RECLAIMER_THREAD};

bool rcu_start(void)
{
    return true;
}

bool rcu_flush(int64_t until_ns)
{
    fiber_current()->steps = retired_count;
    if (!rcu_is_through(retired_count) && time_is_up(until_ns))
        return false;
    fiber_wait(WAIT_FLUSH);
    return true;
}

/* Scenarios scavenge where they want to. */
void rcu_ask(void)
{
}

void rcu_catch_up(void)
{
}

/* The reclaimer is always to be had here. */
void rcu_help(void)
{
}

void rcu_wait(void)
{
    if (fiber_current()->depth > 0)
        explore_fail("a wait for a grace period inside a read section");
    rcu_point(ACCESS_WRITE);
    stores_write_all();
    fiber_current()->sections = open_sections();
    fiber_wait(WAIT_GRACE);
    stores_write_all();
}

bool rcu_has_ripe(void)
{
    return reclaimed_count < retired_count && !retired[reclaimed_count].sections;
}

bool rcu_is_through(uint64_t target)
{
    return reclaimed_count >= target;
}

bool rcu_is_settled(void)
{
    return reclaimed_count == retired_count;
}

void reclaimer_body(void)
{
    thread_is_library = true;
    for (;;) {
        fiber_wait(WAIT_RECLAIM);
        stores_write_all();
        retired[reclaimed_count].queue->reclaim(retired[reclaimed_count].node);
        reclaimed_count++;
        rcu_point(ACCESS_WRITE);
    }
}

void rcu_fork_prepare(void)
{
}

void rcu_fork_parent(void)
{
}

void rcu_fork_child(void)
{
}

/* ---------------------------------------------------------------------------- regions */

void *region_take(void)
{
    void *slab = NULL;
    return explore_memalign(&slab, SLAB_BYTES, SLAB_ALLOCATED_BYTES) == 0 ? slab : NULL;
}

void region_give(void *slab)
{
    explore_release(slab);
}

bool region_trim(void)
{
    return false;
}

/* ------------------------------------------------------------------------- hand-over */

ONE_STEP void handoff_push_raw(struct handoff *to, struct handoff_node *node)
{
    /*
     * A thread without a heap gives objects back here, past the pool's magazines. What is
     * handed over by a link in its middle is still in use.
     */
    if (memory_is_ours(to) && memory_is_ours(node) && memory_is_taken(node) &&
        (uintptr_t)node % CACHE_LINE == 0) {
        enum object_class class = slab_of(node)->class;
        explore_object_given(node, object_bytes(class), class == CLASS_CTX);
    }
    explore_point(ACCESS_WRITE, &to->head, __builtin_return_address(0));
    stores_drain();
    node->next = to->head;
    to->head = node;
}

ONE_STEP struct handoff_node *handoff_take_all_raw(struct handoff *from)
{
    explore_point(ACCESS_WRITE, &from->head, __builtin_return_address(0));
    struct handoff_node *list = from->head;
    if (list)
        stores_drain();
    from->head = NULL;
    return list;
}
