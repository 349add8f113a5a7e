/*
 * loop.cc - callbacks of loops from callables, on a clock of the test's own.
 */
#include <canopy/canopy.hpp>

#include <optional>
#include <thread>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_ref;
using canopy::moment;

/* A moment of the test's clock. */
template <class Duration> moment at(Duration since_start)
{
    return moment::from_ns(canopy::timespan{since_start}.ns());
}

/* A root whose clock starts at 0, and the loop that drives it. */
struct looped {
    struct fixture fixture;
    std::optional<canopy::loop> loop;

    looped()
    {
        fixture_open(&fixture, CANOPY_CLOCK_HOST);
        loop.emplace(fixture.root);
        assert_int_equal(loop->error(), 0);
    }
    ~looped()
    {
        assert_int_equal(loop->close(), 0);
        loop.reset();
        fixture_close(&fixture);
    }
    context_ref root() const
    {
        return fixture.root;
    }
};

} // namespace

TEST(cpp_loops_drive_a_clock_and_run_callables)
{
    looped l;
    context ctx = canopy::with_timeout(l.root(), 1h);
    int runs = 0;
    canopy::loop_callback callback{ctx, *l.loop, [&] { runs++; }};
    assert_int_equal(callback.error(), 0);
    assert_true(l.loop->fd() >= 0);
    assert_true(l.loop->timeout_ns(at(59min)) <= SECONDS(60));
    assert_int_equal(l.loop->run(at(59min)), 0);
    assert_int_equal(runs, 0);
    assert_int_equal(l.loop->run(at(1h)), 1);
    assert_int_equal(runs, 1);
    assert_int_equal(ctx.err(), -ETIMEDOUT);
    assert_false(callback.stop());
    assert_int_equal(l.loop->timeout_ms(at(1h)), -1);
    assert_int_equal(l.loop->tell_time(at(2h)), 0);
    assert_true(canopy::with_timeout(l.root(), 1h).deadline() ==
                std::chrono::steady_clock::time_point{3h});
}

TEST(cpp_loop_callbacks_end_with_their_object)
{
    looped l;
    context ctx = canopy::with_cancel(l.root());
    int runs = 0;
    canopy::any_loop_callback any;
    {
        canopy::loop_callback gone{ctx, *l.loop, [&] { runs++; }};
        assert_int_equal(any.start(ctx, *l.loop, [&] { runs++; }), 0);
        assert_int_equal(l.loop->close(), -EBUSY);
        ctx.cancel(); /* it waits to be run */
    }
    assert_int_equal(any.start(ctx, *l.loop, [&] { runs += 10; }), 0);
    assert_int_equal(l.loop->run(at(0s)), 1);
    assert_int_equal(runs, 10);
    assert_int_equal(any.start(ctx, *l.loop, [&] { runs++; }), 0);
    assert_true(any.stop());
    assert_int_equal(l.loop->run(at(0s)), 0);
}

TEST(cpp_loop_callbacks_may_end_what_owns_them)
{
    struct session {
        canopy::any_loop_callback on_done, on_done_too;
        int *ends;
        ~session()
        {
            ++*ends;
        }
    };
    looped l;
    int ends = 0;
    context ctx = canopy::with_timeout(l.root(), 1s);
    auto *it = new session{{}, {}, &ends};
    assert_int_equal(it->on_done.start(ctx, *l.loop, [it] { delete it; }), 0);
    assert_int_equal(it->on_done_too.start(ctx, *l.loop, [it] { delete it; }), 0);
    assert_int_equal(l.loop->run(at(1s)), 1);
    assert_int_equal(ends, 1);
    assert_int_equal(l.loop->run(at(2s)), 0);
}

TEST(cpp_loop_callbacks_run_on_the_thread_of_the_loop)
{
    looped l;
    context ctx = canopy::with_cancel(l.root());
    std::thread::id ran_on;
    canopy::loop_callback callback{ctx, *l.loop, [&] { ran_on = std::this_thread::get_id(); }};
    std::thread{[&] { ctx.cancel(); }}.join();
    assert_true(ran_on == std::thread::id{});
    l.loop->run(at(0s));
    assert_true(ran_on == std::this_thread::get_id());
}

TEST(cpp_loops_are_abandoned_with_what_they_have)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        context ctx = canopy::with_cancel(f.root), done = canopy::with_cancel(f.root);
        int runs = 0;
        canopy::loop loop{f.root};
        canopy::loop_callback armed{ctx, loop, [&] { runs++; }};
        canopy::loop_callback waits{done, loop, [&] { runs++; }};
        done.cancel();
        assert_int_equal(loop.awake(), 0);
        assert_int_equal(loop.close(), -EBUSY);
        assert_int_equal(loop.abandon(), 0);
        assert_int_equal(loop.run(), -EINVAL);
        assert_int_equal(loop.awake(), -EINVAL);
        ctx.cancel();
        assert_int_equal(waits.join(), 0);
        assert_int_equal(armed.join(), 0);
        assert_int_equal(runs, 0);
    }
    fixture_close(&f);
}

TEST(cpp_loops_that_are_closed_say_so)
{
    looped l;
    canopy::loop other{l.fixture.root};
    canopy::any_loop_callback any;
    assert_false(static_cast<bool>(other));
    assert_int_equal(other.error(), -EBUSY);
    assert_int_equal(other.run(), -EINVAL);
    assert_int_equal(other.fd(), -EINVAL);
    assert_int_equal(other.close(), -EINVAL);
    assert_int_equal(any.start(background(), other, [] {}), -EINVAL);
    canopy::loop_callback fixed{background(), other, [] {}};
    assert_int_equal(fixed.error(), -EINVAL);
    assert_false(fixed.stop());
}
