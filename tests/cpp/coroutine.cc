/*
 * coroutine.cc - co_await done(ctx, loop): who goes on, where, and what becomes of a
 * coroutine that is destroyed while it waits.
 */
#include <canopy/canopy.hpp>

#include <coroutine>
#include <cstdlib>
#include <thread>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_ref;

/* Starts at once, and is destroyed by its end or by its owner, whichever is first. */
struct task {
    struct promise_type {
        task get_return_object()
        {
            return task{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() noexcept
        {
            return {};
        }
        std::suspend_never final_suspend() noexcept
        {
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
            std::abort();
        }
    };

    std::coroutine_handle<promise_type> handle;
};

/* Lives as long as the frame of a coroutine. */
struct alive {
    int *count;
    explicit alive(int *of) : count{of}
    {
        ++*count;
    }
    alive(const alive &) = delete;
    ~alive()
    {
        --*count;
    }
};

struct outcome {
    int err = 1; /* still waiting */
    int frames = 0;
    std::thread::id thread;
};

task await_end(context_ref ctx, canopy::loop &loop, outcome &seen)
{
    alive frame{&seen.frames};
    seen.err = co_await canopy::done(ctx, loop);
    seen.thread = std::this_thread::get_id();
}

} // namespace

TEST(cpp_a_coroutine_goes_on_when_the_context_ends)
{
    canopy::loop loop;
    context ctx = canopy::with_cancel(background());
    outcome seen;
    await_end(ctx, loop, seen);
    assert_int_equal(seen.err, 1);
    std::thread{[&] { ctx.cancel(); }}.join();
    assert_int_equal(seen.err, 1);
    assert_int_equal(loop.run(), 1);
    assert_int_equal(seen.err, -ECANCELED);
    assert_true(seen.thread == std::this_thread::get_id());
    assert_int_equal(seen.frames, 0);
    assert_int_equal(loop.close(), 0);
}

TEST(cpp_a_coroutine_does_not_wait_for_what_is_done)
{
    canopy::loop loop;
    context ctx = canopy::with_timeout(background(), 0s);
    outcome seen;
    await_end(ctx, loop, seen);
    assert_int_equal(seen.err, -ETIMEDOUT);
    assert_int_equal(seen.frames, 0);
    assert_int_equal(loop.run(), 0);
}

TEST(cpp_a_coroutine_is_told_when_it_cannot_wait)
{
    canopy::loop loop;
    assert_int_equal(loop.close(), 0);
    context ctx = canopy::with_cancel(background());
    outcome seen;
    await_end(ctx, loop, seen);
    assert_int_equal(seen.err, -EINVAL);
    assert_int_equal(seen.frames, 0);
}

TEST(cpp_a_coroutine_may_be_destroyed_while_it_waits)
{
    canopy::loop loop;
    context ctx = canopy::with_cancel(background());
    outcome early, late, other;
    task armed = await_end(ctx, loop, early), ready = await_end(ctx, loop, late);
    await_end(ctx, loop, other);
    armed.handle.destroy();
    ctx.cancel();
    ready.handle.destroy(); /* it waits to be run */
    assert_int_equal(loop.run(), 1);
    assert_int_equal(early.frames + late.frames + other.frames, 0);
    assert_int_equal(early.err, 1);
    assert_int_equal(late.err, 1);
    assert_int_equal(other.err, -ECANCELED);
    assert_int_equal(loop.close(), 0);
}

namespace
{

/* A request with a timeout and a call below it, one after the other. */
task await_in_turn(context_ref parent, canopy::loop &loop, outcome &seen, canopy::moment *now)
{
    alive frame{&seen.frames};
    for (int i = 0; i < 3; i++) {
        context request = canopy::with_timeout(parent, 1h);
        context call = canopy::with_cancel(request);
        seen.err = co_await canopy::done(call, loop);
        assert_int_equal(seen.err, -ETIMEDOUT);
    }
    seen.err = now->ns() == HOURS(3) ? 0 : -1;
}

} // namespace

TEST(cpp_a_coroutine_waits_for_deadlines_of_the_loops_clock)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        canopy::loop loop{f.root};
        canopy::moment now = canopy::moment::from_ns(0);
        outcome seen;
        await_in_turn(context_ref{f.root}, loop, seen, &now);
        for (int hour = 0; hour <= 3; hour++) {
            now = canopy::moment::from_ns(HOURS(hour));
            assert_int_equal(loop.run(now), hour > 0);
        }
        assert_int_equal(seen.err, 0);
        assert_int_equal(seen.frames, 0);
    }
    fixture_close(&f);
}

TEST(cpp_coroutines_come_over_from_other_threads)
{
    canopy::loop loop;
    context ctx = canopy::with_cancel(background());
    int ended = 0;
    for (int round = 0; round < SCALED(200, 50); round++) {
        outcome seen;
        context child = canopy::with_cancel(ctx);
        std::thread starter{[&] { await_end(child, loop, seen); }};
        if (round % 2)
            while (loop.timeout_ns() != 0 && !child.cancel())
                continue;
        child.cancel();
        starter.join();
        ended += loop.run();
        assert_int_equal(seen.err, -ECANCELED);
        assert_int_equal(seen.frames, 0);
    }
    assert_true(ended <= SCALED(200, 50));
    assert_int_equal(loop.close(), 0);
}
