/*
 * killed.c - threads that end by pthread_exit or are cancelled where canopy called
 * them, or while they call canopy: what they had begun is finished, and nobody
 * else notices.
 */
#include "deadly.h"

enum { killer = 2 };

/* A context with callbacks of which one kills the thread that it runs on. */
struct scaffold {
    struct fixture fixture;
    struct deadly deadly;
    canopy_ctx *ctx, *below;
    canopy_callback callbacks[hands];
    atomic_uint runs;
    int fd;
};

static void scaffold_open(struct scaffold *scaffold, enum death death)
{
    memset(scaffold, 0, sizeof *scaffold);
    scaffold->deadly.death = death;
    fixture_open(&scaffold->fixture, CANOPY_CLOCK_LIBRARY);
    scaffold->ctx = canopy_with_cancel(scaffold->fixture.root);
    scaffold->below = canopy_with_cancel(scaffold->ctx);
    assert_non_null(scaffold->below);
    scaffold->fd = canopy_done_fd(scaffold->below);
    assert_true(scaffold->fd >= 0);
    for (unsigned i = 0; i < hands; i++) {
        const canopy_ctx *ctx = i % 2 ? scaffold->ctx : scaffold->below;
        void (*fn)(void *) = i == killer ? run_and_die : count_call;
        void *arg = &scaffold->runs;
        if (i == killer)
            arg = &scaffold->deadly;
        assert_int_equal(canopy_after_func(ctx, &scaffold->callbacks[i], fn, arg), 0);
    }
}

/* All ran, all can be joined, nothing is left. */
static void scaffold_close(struct scaffold *scaffold, int err, const canopy_cause *cause)
{
    assert_ended(scaffold->ctx, err, cause);
    assert_ended(scaffold->below, err, cause);
    assert_true(fd_readable(scaffold->fd, 0));
    assert_true(eventually(atomic_load(&scaffold->runs) == hands - 1, SOON));
    assert_true(eventually(atomic_load(&scaffold->deadly.runs) == 1, SOON));
    for (unsigned i = 0; i < hands; i++) {
        assert_int_equal(canopy_callback_join(&scaffold->callbacks[i]), 0);
        assert_false(canopy_callback_stop(&scaffold->callbacks[i]));
    }
    canopy_end(scaffold->below);
    canopy_end(scaffold->ctx);
    fixture_close(&scaffold->fixture);
}

TEST(thread_killed_in_a_callback_of_its_cancel)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct scaffold scaffold;
        struct thread thread;
        scaffold_open(&scaffold, death);
        thread_start(&thread, cancel_context, scaffold.ctx);
        thread_join(&thread);
        scaffold_close(&scaffold, -ECANCELED, CANOPY_CANCELED);
    }
}

/* What a thread had given up when it died is given up. */
TEST(thread_killed_in_a_callback_of_its_end)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct scaffold scaffold;
        struct thread thread;
        scaffold_open(&scaffold, death);
        canopy_retain(scaffold.ctx);
        thread_start(&thread, end_context, scaffold.ctx);
        thread_join(&thread);
        scaffold_close(&scaffold, -ECANCELED, CANOPY_CANCELED);
    }
}

TEST(thread_killed_in_every_callback_of_its_end)
{
    struct fixture fixture;
    struct deadly deadly = {.death = BY_EXIT};
    canopy_callback callbacks[hands];
    struct thread thread;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    for (unsigned i = 0; i < hands; i++)
        assert_int_equal(canopy_after_func(ctx, &callbacks[i], run_and_die, &deadly), 0);
    thread_start(&thread, end_context, ctx);
    thread_join(&thread);
    assert_int_equal(atomic_load(&deadly.runs), hands);
    for (unsigned i = 0; i < hands; i++)
        assert_int_equal(canopy_callback_join(&callbacks[i]), 0);
    fixture_close(&fixture);
}

static void add_deadly_callback(void *arg)
{
    struct scaffold *scaffold = arg;
    assert_int_equal(canopy_after_func(scaffold->below, &scaffold->callbacks[killer], run_and_die,
                                       &scaffold->deadly),
                     0);
}

TEST(thread_killed_in_a_callback_on_a_done_context)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct scaffold scaffold;
        struct thread thread;
        scaffold_open(&scaffold, death);
        assert_true(canopy_callback_stop(&scaffold.callbacks[killer]));
        assert_true(canopy_cancel(scaffold.ctx));
        thread_start(&thread, add_deadly_callback, &scaffold);
        thread_join(&thread);
        scaffold_close(&scaffold, -ECANCELED, CANOPY_CANCELED);
    }
}

/* The callbacks run on a thread of the library's: later ones need another. */
TEST(thread_killed_in_a_callback_at_expiry)
{
    for (unsigned round = 0; round < 2; round++) {
        for (enum death death = 0; death < DEATHS; death++) {
            struct scaffold scaffold;
            scaffold_open(&scaffold, death);
            /* Far enough not to be past when it is set: this thread is not to die. */
            assert_true(canopy_set_deadline(scaffold.ctx, now_ns() + MILLISECONDS(500)));
            assert_true(canopy_wait(scaffold.ctx, now_ns() + SOON));
            assert_true(canopy_wait(scaffold.below, now_ns() + SOON));
            assert_true(fd_readable(scaffold.fd, 20000));
            scaffold_close(&scaffold, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        }
    }
}

/* A constructor that finds the deadline above it past, before the clock does. */
static void derive_late(void *parent)
{
    canopy_ctx *ctx = canopy_with_deadline(parent, 1);
    canopy_end(ctx); /* not reached */
}

TEST(thread_killed_in_a_callback_of_its_constructor)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct scaffold scaffold;
        struct thread thread;
        scaffold_open(&scaffold, death);
        canopy_ctx *timed = canopy_with_timeout(scaffold.fixture.root, HOURS(1));
        assert_non_null(timed);
        fault_hold(FAULT_CLOCK);
        assert_true(canopy_set_deadline(timed, now_ns() + MILLISECONDS(1)));
        assert_true(eventually(fault_is_held(FAULT_CLOCK), SOON));
        assert_true(canopy_set_deadline(scaffold.ctx, now_ns() + MILLISECONDS(500)));
        pause_ns(MILLISECONDS(505));
        assert_live(scaffold.ctx);
        thread_start(&thread, derive_late, scaffold.below);
        thread_join(&thread);
        fault_let_go(FAULT_CLOCK);
        assert_true(canopy_wait(timed, now_ns() + SOON));
        canopy_end(timed);
        scaffold_close(&scaffold, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    }
}

/* ------------------------------------------------------------------- members */

static int member_dies(const canopy_ctx *ctx, void *arg)
{
    const enum death *death = arg;
    (void)ctx;
    die(*death);
    return 0;
}

static int member_waits(const canopy_ctx *ctx, void *arg)
{
    count_call(arg);
    canopy_wait(ctx, CANOPY_NEVER);
    return canopy_err(ctx);
}

TEST(thread_killed_in_a_group_member)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct fixture fixture;
        atomic_uint waiting = 0;
        canopy_group group;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        assert_int_equal(canopy_group_init(&group, fixture.root, 3), 0);
        assert_int_equal(canopy_group_go(&group, member_waits, &waiting), 0);
        assert_int_equal(canopy_group_go(&group, member_waits, &waiting), 0);
        canopy_ctx *below = canopy_with_cancel(canopy_group_ctx(&group));
        assert_true(eventually(atomic_load(&waiting) == 2, SOON));
        for (unsigned i = 0; i < 4; i++) /* each makes room for the next */
            assert_int_equal(canopy_group_go(&group, member_dies, &death), 0);
        assert_int_equal(canopy_group_wait(&group), -ECANCELED);
        assert_int_equal(canopy_err(below), -ECANCELED);
        assert_int_equal(canopy_cause_of(below)->code, -ECANCELED);
        canopy_end(below);
        fixture_close(&fixture);
    }
}

static int member_fails(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return -5;
}

TEST(thread_killed_in_a_callback_of_its_groups_failure)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct fixture fixture;
        struct deadly deadly = {.death = death};
        canopy_callback callback;
        canopy_group group;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        assert_int_equal(canopy_group_init(&group, fixture.root, 1), 0);
        assert_int_equal(
            canopy_after_func(canopy_group_ctx(&group), &callback, run_and_die, &deadly), 0);
        assert_int_equal(canopy_group_go(&group, member_fails, NULL), 0);
        assert_int_equal(canopy_group_go(&group, member_fails, NULL), 0);
        assert_int_equal(canopy_group_wait(&group), -5);
        assert_int_equal(atomic_load(&deadly.runs), 1);
        assert_int_equal(canopy_callback_join(&callback), 0);
        fixture_close(&fixture);
    }
}

static void wait_for_group(void *group)
{
    canopy_group_wait(group);
}

TEST(thread_killed_in_a_callback_of_its_groups_success)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct fixture fixture;
        struct deadly deadly = {.death = death};
        canopy_callback callback;
        canopy_group group;
        struct thread thread;
        size_t live_blocks = fault_live_blocks();
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        assert_int_equal(canopy_group_init(&group, fixture.root, 1), 0);
        assert_int_equal(
            canopy_after_func(canopy_group_ctx(&group), &callback, run_and_die, &deadly), 0);
        thread_start(&thread, wait_for_group, &group);
        thread_join(&thread);
        assert_int_equal(atomic_load(&deadly.runs), 1);
        assert_int_equal(canopy_group_wait(&group), -EINVAL);
        fixture_close(&fixture);
        assert_int_equal(fault_live_blocks(), live_blocks);
    }
}

/* -------------------------------------------------------------- in the middle */

/* Only nanosleep, write, close and the like are points where a thread is cancelled. */
struct condemned {
    canopy_ctx *root, *ctx, *below[hands];
    int fds[hands];
    canopy_callback callback;
    atomic_uint runs;
};

static void cancel_while_condemned(void *arg)
{
    struct condemned *condemned = arg;
    pthread_cancel(pthread_self());
    canopy_end(condemned->ctx);
    pthread_testcancel();
}

/* Cancellation that is pending when a thread cancels a tree does not leave it half done. */
TEST(thread_cancelled_before_it_cancels_a_tree_with_fds)
{
    struct fixture fixture;
    struct condemned condemned = {0};
    struct thread thread;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    condemned.ctx = canopy_with_cancel(fixture.root);
    assert_non_null(condemned.ctx);
    assert_true(canopy_done_fd(condemned.ctx) >= 0);
    for (unsigned i = 0; i < hands; i++) {
        condemned.below[i] = canopy_with_cancel(condemned.ctx);
        condemned.fds[i] = canopy_done_fd(condemned.below[i]);
        assert_true(condemned.fds[i] >= 0);
    }
    assert_int_equal(
        canopy_after_func(condemned.below[0], &condemned.callback, count_call, &condemned.runs), 0);
    thread_start(&thread, cancel_while_condemned, &condemned);
    thread_join(&thread);
    for (unsigned i = 0; i < hands; i++) {
        assert_ended(condemned.below[i], -ECANCELED, CANOPY_CANCELED);
        assert_true(fd_readable(condemned.fds[i], 0));
    }
    assert_int_equal(atomic_load(&condemned.runs), 1);
    assert_int_equal(canopy_callback_join(&condemned.callback), 0);
    for (unsigned i = 0; i < hands; i++)
        canopy_end(condemned.below[i]);
    fixture_close(&fixture);
}

static void wait_while_condemned(void *arg)
{
    struct condemned *condemned = arg;
    const canopy_ctx *both[] = {condemned->ctx, condemned->below[0]};
    pthread_cancel(pthread_self());
    canopy_wait(condemned->ctx, now_ns() + MILLISECONDS(2));
    canopy_wait_any(both, 2, now_ns() + MILLISECONDS(2));
    canopy_wait_idle(condemned->root, now_ns() + MILLISECONDS(2));
    count_call(&condemned->runs);
    pthread_testcancel();
}

/* A wait is no point of cancellation: its records lie on the stack of the thread. */
TEST(thread_cancelled_in_its_waits_leaves_nothing)
{
    struct fixture fixture;
    struct condemned condemned = {0};
    struct thread thread;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    condemned.root = fixture.root;
    condemned.ctx = canopy_with_cancel(fixture.root);
    condemned.below[0] = canopy_with_cancel(condemned.ctx);
    assert_non_null(condemned.below[0]);
    thread_start(&thread, wait_while_condemned, &condemned);
    thread_join(&thread);
    assert_int_equal(atomic_load(&condemned.runs), 1);
    assert_true(canopy_cancel(condemned.ctx));
    assert_ended(condemned.below[0], -ECANCELED, CANOPY_CANCELED);
    canopy_end(condemned.below[0]);
    canopy_end(condemned.ctx);
    fixture_close(&fixture);
}

static void free_root_while_condemned(void *arg)
{
    struct condemned *condemned = arg;
    pthread_cancel(pthread_self());
    assert_int_equal(canopy_root_free(condemned->root), 0);
    count_call(&condemned->runs);
}

/* The wait for a grace period sleeps with a lock held that everybody needs. */
TEST(thread_cancelled_before_it_frees_a_root)
{
    struct fixture fixture;
    struct condemned condemned = {0};
    struct thread thread;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    condemned.root = canopy_root_new(NULL);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, HOURS(1));
    assert_non_null(timed);
    fault_hold(FAULT_CLOCK);
    assert_true(canopy_set_deadline(timed, now_ns() + MILLISECONDS(1)));
    assert_true(eventually(fault_is_held(FAULT_CLOCK), SOON)); /* in its read section */
    thread_start(&thread, free_root_while_condemned, &condemned);
    pause_ns(MILLISECONDS(50));
    fault_let_go(FAULT_CLOCK);
    thread_join(&thread);
    assert_int_equal(atomic_load(&condemned.runs), 1);
    assert_true(canopy_wait(timed, now_ns() + SOON));
    canopy_end(timed);
    fixture_close(&fixture);
}
