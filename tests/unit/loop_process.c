/*
 * loop_process.c - what a loop asks of the kernel, and what becomes of it in the child
 * of a fork.
 */
#include "looped.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The clock's counter, which the kernel forbids to read here: that would end the test. */
TEST(loop_reads_no_clock)
{
    struct looped l;
    if (UNDER_SANITIZER) /* which may read it itself */
        skip();
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback cb = {0};
    canopy_release(canopy_with_cancel(l.fixture.root));
    if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV) != 0)
        skip();
    canopy_ctx *ctx = canopy_with_timeout(l.fixture.root, SECONDS(2));
    bool armed = ctx && canopy_loop_after_func(ctx, &l.loop, &cb, note, &seen) == 0 &&
                 canopy_set_deadline(ctx, SECONDS(1));
    int64_t sleep_ns = canopy_loop_timeout_ns(&l.loop, 0);
    int ran = canopy_loop_run(&l.loop, SECONDS(1));
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    assert_true(armed);
    assert_true(sleep_ns <= SECONDS(1));
    assert_int_equal(ran, 1);
    canopy_release(ctx);
    looped_close(&l);
}

#define REQUIRE(condition) ((condition) ? (void)0 : _exit(__LINE__ % 256))

/* What a child may do with a loop of its parent's, and with what is bound to it. */
static void outlive_the_loop(struct looped *l, canopy_loop_callback *armed,
                             canopy_loop_callback *claimed)
{
    canopy_loop_callback cb = {0};
    struct seen seen = {0};
    REQUIRE(canopy_loop_run(&l->loop, 0) == -EINVAL);
    REQUIRE(canopy_loop_timeout_ns(&l->loop, 0) == -EINVAL);
    REQUIRE(canopy_loop_fd(&l->loop) == -EINVAL);
    REQUIRE(canopy_loop_after_func(l->fixture.root, &l->loop, &cb, note, &seen) == -EINVAL);
    REQUIRE(!canopy_loop_callback_stop(claimed));
    REQUIRE(canopy_loop_close(&l->loop) == 0);
    REQUIRE(!canopy_loop_callback_stop(claimed));
    REQUIRE(canopy_loop_callback_stop(armed));
    REQUIRE(canopy_loop_init(&l->loop, NULL) == 0);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    REQUIRE(ctx && canopy_loop_after_func(ctx, &l->loop, &cb, note, &seen) == 0);
    canopy_end(ctx);
    REQUIRE(canopy_loop_run(&l->loop, 0) == 1 && seen.runs == 1);
    REQUIRE(canopy_loop_close(&l->loop) == 0);
    _exit(0);
}

TEST(loop_inherited_over_a_fork_can_be_closed_and_no_more)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    canopy_loop_callback armed = {0}, claimed = {0};
    canopy_ctx *live = canopy_with_cancel(l.fixture.root);
    canopy_ctx *ended = canopy_with_cancel(l.fixture.root);
    assert_int_equal(canopy_loop_after_func(live, &l.loop, &armed, note, &seen), 0);
    assert_int_equal(canopy_loop_after_func(ended, &l.loop, &claimed, note, &seen), 0);
    assert_int_equal(canopy_loop_timeout_ns(&l.loop, 0), CANOPY_NEVER);
    cancel_elsewhere(ended);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        outlive_the_loop(&l, &armed, &claimed);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(is_readable(&l.loop)); /* the child has not read what is the parent's */
    assert_int_equal(canopy_loop_run(&l.loop, 0), 1);
    assert_true(canopy_loop_callback_stop(&armed));
    assert_int_equal(seen.runs, 1);
    canopy_release(live);
    canopy_release(ended);
    looped_close(&l);
}

/* A callback forks; what else was to run is the parent process's. */
struct forking {
    pid_t child;
};

static void fork_within(void *arg)
{
    struct forking *forking = arg;
    forking->child = fork();
}

TEST(loop_whose_callback_forks_runs_the_rest_in_the_parent_alone)
{
    struct looped l;
    looped_open(&l);
    struct seen seen = {0};
    struct forking forking = {-1};
    canopy_loop_callback cbs[2] = {0};
    canopy_ctx *ctx = canopy_with_cancel(l.fixture.root);
    canopy_cancel(ctx);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[0], fork_within, &forking), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &l.loop, &cbs[1], note, &seen), 0);
    int ran = canopy_loop_run(&l.loop, 0);
    if (forking.child == 0)
        _exit(ran == 1 && seen.runs == 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(forking.child, &status, 0), forking.child);
    assert_int_equal(status, 0);
    assert_int_equal(ran, 2);
    assert_int_equal(seen.runs, 1);
    canopy_release(ctx);
    looped_close(&l);
}
