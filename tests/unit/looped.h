/*
 * looped.h - what the tests of loops share: a loop that drives a root, a callback that
 * notes that it ran, a cancel on another thread.
 */
#ifndef CANOPY_TESTS_LOOPED_H
#define CANOPY_TESTS_LOOPED_H

#include "harness.h"

#include <canopy/loop.h>

#include <poll.h>

/* A root whose clock starts at 0, and a loop that drives it. */
struct looped {
    struct fixture fixture;
    canopy_loop loop;
};

static inline void looped_open(struct looped *l)
{
    fixture_open(&l->fixture, CANOPY_CLOCK_HOST);
    assert_int_equal(canopy_loop_init(&l->loop, l->fixture.root), 0);
}

static inline void looped_close(struct looped *l)
{
    if (l->loop.canopy_state)
        assert_int_equal(canopy_loop_close(&l->loop), 0);
    fixture_close(&l->fixture);
}

/* What a callback saw. */
struct seen {
    atomic_int runs;
    pthread_t thread;
};

static inline void note(void *arg)
{
    struct seen *seen = arg;
    seen->thread = pthread_self();
    seen->runs++;
}

static inline bool is_readable(const canopy_loop *loop)
{
    struct pollfd fd = {canopy_loop_fd(loop), POLLIN, 0};
    return poll(&fd, 1, 0) == 1;
}

static inline void cancel(void *ctx)
{
    canopy_cancel(ctx);
}

static inline void cancel_elsewhere(canopy_ctx *ctx)
{
    struct thread thread;
    thread_start(&thread, cancel, ctx);
    thread_join(&thread);
}

#endif
