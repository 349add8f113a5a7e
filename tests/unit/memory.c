/*
 * memory.c - promise 39: wherever memory runs out, the call says NULL and
 * ENOMEM and the tree is as it was; and what must not allocate does not.
 */
#include "probes.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static const canopy_key counted = {"counted", count_call};

/*
 * Enough to fill several slabs and several blocks of slots below one parent. The
 * allocator is asked for whole slabs only: a number of plain contexts made first
 * decides at which of the steps it comes to that.
 */
enum { steps = 480, wide = 40, first_most = 1100, first_step = SCALED(23, 150) };

struct world {
    struct memory memory;
    canopy_ctx *root;
    uint64_t seed;
    canopy_ctx *made[first_most + steps];              /* everything, to be ended */
    const canopy_ctx *parents[first_most + steps + 1]; /* what a cancel of the root reaches */
    size_t made_count, parent_count;
    canopy_callback callbacks[steps];
    size_t armed;
    unsigned bound;
    atomic_uint runs, destroyed;
};

static bool world_open(struct world *world, canopy_clock clock, size_t fail_from, size_t fail_count)
{
    memset(world, 0, sizeof *world);
    world->seed = 39;
    world->memory.fail_from = fail_from;
    world->memory.fail_count = fail_count;
    canopy_config config = memory_config(&world->memory);
    config.clock = clock;
    errno = 0;
    world->root = canopy_root_new(&config);
    if (!world->root) {
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(atomic_load(&world->memory.live_blocks), 0);
        return false;
    }
    world->parents[world->parent_count++] = world->root;
    return true;
}

/* Mostly the root, so that its list of children has to grow. */
static const canopy_ctx *pick_parent(struct world *world)
{
    uint64_t random = random_next(&world->seed);
    return random % 4 ? world->root : world->parents[(random >> 8) % world->parent_count];
}

static canopy_ctx *make_merge(struct world *world, size_t n)
{
    const canopy_ctx *inputs[wide];
    for (size_t i = 0; i < n; i++)
        inputs[i] = pick_parent(world);
    return canopy_with_any(inputs, n);
}

enum { plain_step = 5 };

static canopy_ctx *make_context(struct world *world, unsigned step)
{
    static const int number = SIGUSR1;
    switch (step % 8) {
    case 0:
        return canopy_with_timeout(pick_parent(world), HOURS(1));
    case 1:
        return canopy_with_value(pick_parent(world), &counted, &world->destroyed);
    case 2:
        return make_merge(world, step % 16 == 2 ? wide : 2);
    case 3:
        return canopy_without_cancel(pick_parent(world));
    case 4:
        return step % 32 == 4 ? canopy_with_signals(pick_parent(world), &number, 1)
                              : canopy_with_deadline(pick_parent(world), HOURS(1000000));
    default:
        return canopy_with_cancel(pick_parent(world));
    }
}

static void assert_as_it_was(struct world *world)
{
    for (size_t i = 0; i < world->made_count; i++)
        assert_live(world->made[i]);
    assert_live(world->root);
    assert_int_equal(atomic_load(&world->runs), 0);
    assert_int_equal(atomic_load(&world->destroyed), 0);
}

/* One more of something; false, with the tree as it was, if there was no memory. */
static bool take_step(struct world *world, unsigned step)
{
    if (step % 8 == 7) {
        canopy_callback *callback = &world->callbacks[world->armed];
        int result = canopy_after_func(pick_parent(world), callback, count_call, &world->runs);
        world->armed += result == 0;
        assert_true(result == 0 || result == -ENOMEM);
        return result == 0;
    }
    errno = 0;
    canopy_ctx *ctx = make_context(world, step);
    if (!ctx) {
        assert_int_equal(errno, ENOMEM);
        return false;
    }
    world->made[world->made_count++] = ctx;
    world->bound += step % 8 == 1;
    if (step % 8 != 3)
        world->parents[world->parent_count++] = ctx;
    return true;
}

static void world_close(struct world *world)
{
    uint64_t seed = 7;
    size_t order[first_most + steps];
    assert_true(canopy_cancel(world->root));
    for (size_t i = 0; i < world->parent_count; i++)
        assert_ended(world->parents[i], -ECANCELED, CANOPY_CANCELED);
    assert_int_equal(atomic_load(&world->runs), world->armed);

    random_order(&seed, order, world->made_count);
    for (size_t i = 0; i < world->made_count; i++)
        canopy_end(world->made[order[i]]);
    assert_int_equal(canopy_wait_idle(world->root, now_ns() + SOON), 0);
    assert_true(eventually(canopy_root_free(world->root) == 0, SOON));
    assert_int_equal(atomic_load(&world->destroyed), world->bound);
    assert_int_equal(atomic_load(&world->memory.live_blocks), 0);
    assert_int_equal(atomic_load(&world->memory.live_bytes), 0);
}

/* All of it; counts the refusals. After one the step is taken again if `again`. */
static unsigned take_all_steps(struct world *world, unsigned first, bool again)
{
    unsigned refused = 0;
    for (unsigned i = 0; i < first + steps; i++) {
        unsigned step = i < first ? plain_step : i - first;
        if (take_step(world, step))
            continue;
        refused++;
        if (again) {
            assert_as_it_was(world);
            assert_true(take_step(world, step));
        }
    }
    return refused;
}

/* Fails the n-th allocation (or all from there), for each n there is. */
static void fail_each_allocation(canopy_clock clock, bool once)
{
    struct world *world = malloc(sizeof *world);
    assert_non_null(world);
    for (unsigned first = 0; first <= first_most; first += first_step) {
        bool reached = true;
        for (size_t n = 1; reached; n++) {
            if (!world_open(world, clock, n, once ? 1 : 0))
                continue;
            unsigned refused = take_all_steps(world, first, once);
            reached = atomic_load(&world->memory.allocations) >= n;
            assert_true(reached || refused == 0);
            assert_as_it_was(world);
            world_close(world); /* if not once, without an allocation to be had */
        }
    }
    free(world);
}

TEST(p39_each_allocation_may_fail_once)
{
    fail_each_allocation(CANOPY_CLOCK_HOST, true);
}

TEST(p39_each_allocation_may_fail_once_with_the_librarys_clock)
{
    fail_each_allocation(CANOPY_CLOCK_LIBRARY, true);
}

TEST(p39_from_each_allocation_on_all_may_fail)
{
    fail_each_allocation(CANOPY_CLOCK_HOST, false);
}

TEST(p39_what_must_not_fail_does_not_allocate)
{
    struct world *world = malloc(sizeof *world);
    assert_non_null(world);
    assert_true(world_open(world, CANOPY_CLOCK_HOST, 0, 0));
    assert_int_equal(take_all_steps(world, 0, false), 0);
    size_t allocations = atomic_load(&world->memory.allocations);
    atomic_store(&world->memory.fail_from, 1);
    const canopy_ctx *const *list = (const canopy_ctx *const *)world->made;
    assert_false(canopy_wait(world->root, 0));
    assert_false(canopy_wait(world->root, now_ns() + MILLISECONDS(1)));
    for (size_t n = 1; n <= 300; n += 63)
        assert_int_equal(canopy_wait_any(list, n, now_ns() + MILLISECONDS(1)), -ETIME);
    assert_int_equal(canopy_sleep(world->made[0], MILLISECONDS(1)), 0);
    assert_int_equal(canopy_wait_idle(world->root, now_ns() + MILLISECONDS(1)), -ETIME);
    for (size_t i = 0; i < world->made_count; i++) {
        canopy_release(canopy_retain(world->made[i]));
        canopy_set_deadline(world->made[i], HOURS(2));
        assert_int_equal(canopy_err_at(world->made[i], 0), 0);
    }
    assert_int_equal(canopy_wait_idle(world->root, 0), -ETIME);
    world_close(world);
    assert_int_equal(atomic_load(&world->memory.allocations), allocations);
    free(world);
}

/* ------------------------------------------------------------------- groups */

static int pass(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    count_call(arg);
    return -5;
}

TEST(p39_a_group_short_of_memory_says_so_and_works_afterwards)
{
    for (size_t n = 1;; n++) {
        struct world world;
        if (!world_open(&world, CANOPY_CLOCK_LIBRARY, n, 1))
            continue;
        canopy_group group;
        int result = canopy_group_init(&group, world.root, 2);
        if (result != 0) {
            assert_int_equal(result, -ENOMEM);
            assert_int_equal(canopy_group_init(&group, world.root, 2), 0);
        }
        for (unsigned i = 0; i < 5; i++) {
            result = canopy_group_go(&group, pass, &world.runs);
            assert_true(result == 0 || result == -ENOMEM || result == -EAGAIN);
            if (result != 0)
                assert_int_equal(canopy_group_go(&group, pass, &world.runs), 0);
        }
        assert_int_equal(canopy_group_wait(&group), -5);
        assert_int_equal(atomic_load(&world.runs), 5);
        bool reached = atomic_load(&world.memory.allocations) >= n;
        atomic_store(&world.runs, 0);
        world_close(&world);
        if (!reached)
            break;
    }
}

/* ------------------------------------------------- the first call of a thread */

/* More than liburcu has records for before it needs memory. */
#define FIRST_CALLS 100

struct first_call {
    atomic_uint *ready, *through;
    atomic_bool *starved;
    canopy_ctx *ctx, *child;
};

static void cancel_first_of_all(void *arg)
{
    struct first_call *call = arg;
    atomic_fetch_add(call->ready, 1);
    while (!atomic_load(call->starved))
        pause_ns(MICROSECONDS(100));
    canopy_cancel(call->ctx);
    canopy_release(call->child);
    canopy_end(call->ctx);
    /* A thread that ends gives its record to the next one. */
    atomic_fetch_add(call->through, 1);
    while (atomic_load(call->through) < FIRST_CALLS)
        pause_ns(MICROSECONDS(100));
}

TEST(p39_a_cancel_that_is_a_threads_first_call_needs_no_memory)
{
    if (UNDER_SANITIZER) /* sanitizers need address space of their own */
        skip();
    static struct first_call calls[FIRST_CALLS];
    static struct thread threads[FIRST_CALLS];
    atomic_uint ready = 0, through = 0;
    atomic_bool starved = false;
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    for (size_t i = 0; i < FIRST_CALLS; i++) {
        calls[i] = (struct first_call){&ready, &through, &starved, canopy_with_cancel(top), NULL};
        calls[i].child = canopy_with_cancel(calls[i].ctx);
        assert_non_null(calls[i].child);
        threads[i] = (struct thread){.body = cancel_first_of_all, .arg = &calls[i]};
        thread_launch(&threads[i], 65536);
    }
    while (atomic_load(&ready) < FIRST_CALLS)
        pause_ns(MILLISECONDS(1));
    struct rlimit old, none = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    atomic_store(&starved, true);
    for (size_t i = 0; i < FIRST_CALLS; i++)
        thread_join(&threads[i]);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(canopy_wait_idle(top, now_ns() + SOON), 0);
    canopy_end(top);
}
