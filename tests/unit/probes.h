/*
 * probes.h - small instruments that several groups of tests hang into a tree:
 * counted calls, callbacks that can be held, the state of an fd, the name of
 * the running thread.
 */
#ifndef CANOPY_TESTS_PROBES_H
#define CANOPY_TESTS_PROBES_H

#include "harness.h"

#include <poll.h>
#include <stdio.h>

/* A callback's fn, or a key's destroy, that counts its calls in the atomic_uint it is given. */
static inline void count_call(void *counter)
{
    atomic_fetch_add((atomic_uint *)counter, 1);
}

static inline bool fd_readable(int fd, int timeout_ms)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&entry, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready == 1 && (entry.revents & POLLIN) != 0;
}

/* canopy_with_any of two, which must succeed. */
static inline canopy_ctx *any2(const canopy_ctx *first, const canopy_ctx *second)
{
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){first, second}, 2);
    assert_non_null(merged);
    return merged;
}

static inline void cancel_context(void *ctx)
{
    canopy_cancel(ctx);
}

static inline void cancel_after_pause(void *ctx)
{
    pause_ns(MILLISECONDS(30));
    assert_true(canopy_cancel(ctx));
}

/*
 * Whether a callback for which a deadline was set `lead_ns` ahead ran on the caller's
 * thread, because that moment had passed before the library looked: then the test has
 * shown nothing, and tries again with more of a lead. It may not do so for ever.
 */
static inline bool ran_here(pthread_t thread, int64_t lead_ns)
{
    assert_true(lead_ns < SOON);
    return pthread_equal(thread, pthread_self());
}

/* A callback that stays inside until it is let go. */
struct gate {
    atomic_bool entered, open, left;
};

static inline void pass_gate(void *arg)
{
    struct gate *gate = arg;
    atomic_store(&gate->entered, true);
    while (!atomic_load(&gate->open))
        pause_ns(MICROSECONDS(100));
    atomic_store(&gate->left, true);
}

static inline void open_gate_later(void *arg)
{
    struct gate *gate = arg;
    pause_ns(MILLISECONDS(20));
    atomic_store(&gate->open, true);
}

/* A cancel on another thread that begins when both are there. */
struct race {
    struct meeting meeting;
    canopy_ctx *ctx;
};

static inline void race_cancel(void *arg)
{
    struct race *race = arg;
    meet(&race->meeting);
    canopy_cancel(race->ctx);
}

struct thread_name {
    char text[32];
};

static inline struct thread_name own_thread_name(void)
{
    struct thread_name name = {{0}};
    if (pthread_getname_np(pthread_self(), name.text, sizeof name.text) != 0)
        name.text[0] = '\0';
    return name;
}

#endif
