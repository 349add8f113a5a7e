/*
 * callback.cc - callbacks from callables: run or taken back, by any thread, the one
 * that runs them included; and groups.
 */
#include <canopy/canopy.hpp>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_ref;

/* How often this thread has called operator new. */
thread_local int allocations;

/* Set while callables of any_callback are not to be given memory. */
thread_local bool starved;

} // namespace

/* Not inlined: gcc would take one for another's partner. */
#define REPLACES __attribute__((noinline))

REPLACES void *operator new(std::size_t bytes, const std::nothrow_t &) noexcept
{
    allocations++;
    return starved ? nullptr : std::malloc(bytes);
}

REPLACES void *operator new(std::size_t bytes)
{
    void *memory = operator new(bytes, std::nothrow);
    if (!memory)
        std::abort();
    return memory;
}

REPLACES void operator delete(void *memory) noexcept
{
    std::free(memory);
}

REPLACES void operator delete(void *memory, std::size_t) noexcept
{
    std::free(memory);
}

/* ------------------------------------------------------------ run or stopped */

TEST(cpp_async_callbacks_run_neither_on_who_adds_nor_on_who_cancels)
{
    context ctx = canopy::with_cancel(background()), done = canopy::with_cancel(background());
    std::atomic<int> here{0}, elsewhere{0};
    const std::thread::id self = std::this_thread::get_id();
    auto where = [&] { std::this_thread::get_id() == self ? here++ : elsewhere++; };
    done.cancel();
    canopy::async_callback at_once{done, where};
    canopy::async_callback later{ctx, where};
    assert_true(at_once && later);
    ctx.cancel();
    assert_int_equal(at_once.join(), 0);
    assert_int_equal(later.join(), 0);
    assert_int_equal(here.load(), 0);
    assert_int_equal(elsewhere.load(), 2);
    const context none{};
    canopy::async_callback nowhere{none, where};
    assert_int_equal(nowhere.error(), -EINVAL);
}

TEST(cpp_callbacks_run_once_when_the_context_ends)
{
    context ctx = canopy::with_cancel(background());
    int runs = 0, live_runs = 0;
    canopy::callback first{ctx, [&] { runs++; }};
    canopy::callback stopped{ctx, [&] { live_runs++; }};
    assert_true(static_cast<bool>(first));
    assert_true(stopped.stop());
    assert_false(stopped.stop());
    {
        canopy::callback gone{ctx, [&] { live_runs++; }};
        assert_int_equal(gone.error(), 0);
    }
    ctx.cancel();
    assert_int_equal(runs, 1);
    assert_false(first.stop());
    canopy::callback late{ctx, [&] { runs++; }};
    assert_int_equal(runs, 2);
    assert_int_equal(live_runs, 0);
}

TEST(cpp_callbacks_on_empty_handles_say_so)
{
    int runs = 0;
    canopy::callback none{context_ref{nullptr}, [&] { runs++; }};
    canopy::any_callback any;
    assert_false(static_cast<bool>(none));
    assert_int_equal(none.error(), -EINVAL);
    assert_int_equal(any.start(context_ref{nullptr}, [&] { runs++; }), -EINVAL);
    assert_false(any.stop());
    assert_false(none.stop());
    any.clear();
    assert_int_equal(runs, 0);
}

TEST(cpp_callables_may_be_moved_in_only)
{
    context ctx = canopy::with_cancel(background());
    int seen = 0;
    canopy::callback first{ctx, [owned = std::make_unique<int>(3), &seen] { seen += *owned; }};
    canopy::any_callback second;
    assert_int_equal(
        second.start(ctx, [owned = std::make_unique<int>(4), &seen] { seen += *owned; }), 0);
    ctx.cancel();
    assert_int_equal(seen, 7);
    /* NOLINTNEXTLINE(clang-analyzer-*): it does not follow a destructor through a pointer */
}

/* ----------------------------------------------------------------- allocation */

TEST(cpp_callables_that_fit_are_not_allocated)
{
    context ctx = canopy::with_cancel(background());
    struct fitting {
        std::array<char, 40> room;
        int *runs;
        void operator()() const
        {
            ++*runs;
        }
    };
    struct large : fitting {
        char more;
    };
    struct alignas(64) aligned {
        int *runs;
        void operator()() const
        {
            ++*runs;
        }
    };
    static_assert(sizeof(fitting) == 48 && sizeof(large) > 48);
    int runs = 0;
    canopy::any_callback any, big, wide;
    allocations = 0;
    canopy::callback in_place{ctx, large{{{}, &runs}, 0}};
    assert_int_equal(any.start(ctx, fitting{{}, &runs}), 0);
    assert_int_equal(allocations, 0);
    assert_int_equal(big.start(ctx, large{{{}, &runs}, 0}), 0);
    assert_int_equal(allocations, 1);
    starved = true;
    assert_int_equal(any.start(ctx, large{{{}, &runs}, 0}), -ENOMEM);
    starved = false;
    assert_false(any.stop());
    assert_int_equal(wide.start(ctx, aligned{&runs}), 0);
    ctx.cancel();
    assert_int_equal(runs, 3);
}

TEST(cpp_any_callback_takes_one_after_the_other)
{
    context first = canopy::with_cancel(background()), second = canopy::with_cancel(background());
    auto held = std::make_shared<int>(0);
    canopy::any_callback any;
    for (int i = 0; i < 3; i++)
        assert_int_equal(any.start(i < 2 ? first : second, [held] { ++*held; }), 0);
    assert_int_equal(held.use_count(), 2);
    first.cancel();
    assert_int_equal(*held, 0);
    second.cancel();
    assert_int_equal(*held, 1);
    assert_int_equal(any.start(second, [held] { ++*held; }), 0); /* at once */
    assert_int_equal(*held, 2);
    any.clear();
    assert_int_equal(held.use_count(), 1);
}

/* ----------------------------------------------- taken back by who runs them */

namespace
{

/* A session that goes with its context, as asynchronous programs have them. */
struct session {
    context_ref ctx;
    int *ends;
    canopy::any_callback on_done, on_done_too;

    session(context_ref ctx_, int *ends_) : ctx{ctx_}, ends{ends_}
    {
        assert_int_equal(on_done.start(ctx, [this] { delete this; }), 0);
        assert_int_equal(on_done_too.start(ctx, [this] { delete this; }), 0);
    }
    ~session()
    {
        ++*ends;
    }
};

} // namespace

TEST(cpp_callbacks_may_destroy_themselves_and_each_other)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        context ctx = canopy::with_timeout(f.root, 10ns), value = canopy::without_cancel(ctx);
        int ends = 0;
        new session{ctx, &ends};
        new session{ctx, &ends};
        assert_int_equal(canopy_root_advance(f.root, 5, nullptr), 0);
        assert_int_equal(ends, 0);
        assert_int_equal(canopy_root_advance(f.root, 10, nullptr), 0);
        assert_int_equal(ends, 2);
        auto alone = std::make_unique<canopy::any_callback>();
        assert_int_equal(alone->start(ctx, [&] { ends++; }), 0);
        context other = canopy::with_cancel(f.root);
        assert_int_equal(alone->start(other, [&] { alone.reset(); }), 0);
        other.cancel();
        assert_null(alone.get());
        assert_int_equal(ends, 3);
    }
    fixture_close(&f);
}

TEST(cpp_callbacks_may_destroy_themselves_on_the_library_thread)
{
    context ctx = canopy::with_cancel(background());
    std::atomic_int ends{0};
    struct self_destroying {
        std::atomic_int *ends;
        canopy::any_callback on_done, on_done_too;
        ~self_destroying()
        {
            (*ends)++;
        }
    };
    for (int i = 0; i < 3; i++) {
        auto *it = new self_destroying{&ends, {}, {}};
        for (auto *callback : {&it->on_done, &it->on_done_too})
            assert_int_equal(callback->start(ctx, [it] { delete it; }), 0);
    }
    /* Not past, or they ran here. */
    ctx.set_deadline(std::chrono::steady_clock::now() + SCALED(100ms, 1s));
    assert_true(eventually(ends == 3, SOON));
}

TEST(cpp_a_callback_may_start_itself_anew)
{
    context first = canopy::with_cancel(background()), second = canopy::with_cancel(background());
    canopy::any_callback any;
    int runs = 0;
    canopy::any_callback *const it = &any;
    int *const seen = &runs;
    context_ref next = second;
    assert_int_equal(any.start(first,
                               [it, seen, next] {
                                   /* The captures go with the callable. */
                                   auto again = [seen] { *seen += 10; };
                                   *seen += 1;
                                   assert_int_equal(it->start(next, again), 0);
                               }),
                     0);
    first.cancel();
    assert_int_equal(runs, 1);
    second.cancel();
    assert_int_equal(runs, 11);
}

TEST(cpp_the_end_of_a_callback_waits_for_another_thread)
{
    for (int round = 0; round < SCALED(200, 50); round++) {
        context ctx = canopy::with_cancel(background());
        std::atomic_bool running{false};
        auto ended = std::make_unique<bool>(false);
        std::thread canceller;
        {
            canopy::callback callback{ctx, [&] {
                                          running = true;
                                          std::this_thread::yield();
                                          *ended = true;
                                      }};
            canceller = std::thread{[&] { ctx.cancel(); }};
            if (round % 2)
                while (!running)
                    std::this_thread::yield();
        }
        assert_true(*ended || !running);
        ended.reset();
        canceller.join();
    }
}

/* -------------------------------------------------------------------- group */

TEST(cpp_groups_tell_the_first_failure)
{
    std::atomic_int ran{0};
    canopy::group group{background(), 4};
    assert_true(static_cast<bool>(group));
    for (int i = 0; i < 3; i++)
        assert_int_equal(group.go([&ran](context_ref ctx) {
            ran++;
            return ctx.sleep(1h) != 0 ? 0 : -1;
        }),
                         0);
    assert_int_equal(group.go([](context_ref) { return -7; }), 0);
    assert_int_equal(group.wait(), -7);
    assert_int_equal(ran, 3);
    assert_int_equal(group.wait(), -EINVAL);
}

TEST(cpp_groups_may_be_full_or_done)
{
    static constexpr canopy::cause two_heads{-EPROTO, "two heads"};
    context parent = canopy::with_cancel(background());
    canopy::group group{parent, 1};
    canopy::shared_context seen{group.ctx()};
    auto waits = [](context_ref ctx) { return ctx.wait() ? 0 : -1; };
    auto fails = [](context_ref) { return canopy::group::fail_with(two_heads); };
    assert_int_equal(canopy::group::fail_with(two_heads), -EINVAL); /* no member */
    assert_int_equal(group.try_go(waits), 0);
    assert_int_equal(group.try_go([held = std::make_shared<int>(1)](context_ref) { return *held; }),
                     -EBUSY);
    parent.cancel();
    assert_int_equal(group.go_unless_done(waits), -ECANCELED);
    assert_int_equal(group.wait(), 0);
    canopy::group other{background()};
    seen = canopy::shared_context{other.ctx()};
    assert_int_equal(other.go_unless_done(fails), 0);
    assert_int_equal(other.wait(), -EPROTO);
    assert_ended(seen.get(), -ECANCELED, &two_heads);
}

TEST(cpp_groups_hold_what_their_members_need)
{
    auto held = std::make_shared<std::atomic_int>(0);
    {
        canopy::group group{background()};
        for (int i = 0; i < 4; i++)
            assert_int_equal(group.go([held](context_ref) { return (*held)++ < 0 ? 1 : 0; }), 0);
        allocations = 0;
        assert_int_equal(group.go([at = held.get()](context_ref) { return (*at)++ < 0 ? 1 : 0; }),
                         0);
        assert_int_equal(allocations, 0);
        starved = true;
        assert_int_equal(group.go([held](context_ref) { return 1; }), -ENOMEM);
        starved = false;
    }
    assert_int_equal(*held, 5);
    assert_int_equal(held.use_count(), 1);
    canopy::group none{context_ref{nullptr}};
    assert_int_equal(none.error(), -EINVAL);
    assert_int_equal(none.go([](context_ref) { return 0; }), -EINVAL);
    assert_int_equal(none.wait(), -EINVAL);
}
