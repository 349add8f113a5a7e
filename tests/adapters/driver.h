/*
 * driver.h - one loop behind each adapter, as the scenarios that all of them must pass
 * see it. Each adapter's file of tests defines these functions; a test has a process
 * of its own, and so one loop.
 */
#ifndef CANOPY_TESTS_DRIVER_H
#define CANOPY_TESTS_DRIVER_H

#include "../unit/probes.h"

#include <canopy/loop.h>

/* Opens the loop, on the calling thread, to drive `root`. Skips the test where that cannot be. */
void driver_open(canopy_ctx *root);
canopy_loop *driver_loop(void);
/* One turn: sleeps unless something is to be done, then does it. */
void driver_turn(void);
/* What the adapter's close says; on success all of the loop's own is given back. */
int driver_close(void);

/* A root with the host's clock, which stands at the present, and a loop that drives it. */
static inline void driven_open(struct fixture *fixture)
{
    fixture_open(fixture, CANOPY_CLOCK_HOST);
    assert_int_equal(canopy_root_advance(fixture->root, now_ns(), NULL), 0);
    driver_open(fixture->root);
}

static inline void driven_close(struct fixture *fixture)
{
    assert_int_equal(driver_close(), 0);
    fixture_close(fixture);
}

/* Takes turns until `condition` holds, and says how many it took. */
#define turns_until(condition)                                                                     \
    (__extension__({                                                                               \
        unsigned turns_taken = 0;                                                                  \
        for (; !(condition); turns_taken++)                                                        \
            driver_turn();                                                                         \
        turns_taken;                                                                               \
    }))

/* A callback that notes where and when it ran. */
struct seen {
    canopy_loop_callback callback;
    const canopy_ctx *ctx;
    pthread_t thread;
    int64_t at_ns;
    int err;
    unsigned runs;
};

static inline void see(void *arg)
{
    struct seen *seen = arg;
    seen->thread = pthread_self();
    seen->at_ns = now_ns();
    seen->err = canopy_err(seen->ctx);
    seen->runs++;
}

static inline void watch(struct seen *seen, const canopy_ctx *ctx)
{
    assert_non_null(ctx);
    seen->ctx = ctx;
    assert_int_equal(canopy_loop_after_func(ctx, driver_loop(), &seen->callback, see, seen), 0);
}

/* A request that comes out of a long sleep, in a callback of the loop's, and is given a time
 * limit: counted from then, though canopy knows only the time of before the sleep, and
 * without a write that wakes who is awake. */
struct late_request {
    const canopy_ctx *root;
    canopy_ctx *ctx;
    struct seen seen;
    int64_t start_ns;
};

static inline void late_request_begin(struct late_request *request)
{
    request->start_ns = now_ns();
    assert_int_equal(canopy_loop_awake(driver_loop()), 0);
    assert_int_equal(canopy_loop_tell_time(driver_loop(), request->start_ns), 0);
    request->ctx = canopy_with_timeout(request->root, MILLISECONDS(20));
    assert_false(fd_readable(canopy_loop_fd(driver_loop()), 0));
    watch(&request->seen, request->ctx);
}

static inline void late_request_end(struct late_request *request)
{
    turns_until(request->seen.runs > 0);
    assert_true(request->seen.at_ns >= request->start_ns + MILLISECONDS(20));
    canopy_end(request->ctx);
}

#endif
