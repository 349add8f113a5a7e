/*
 * stop_suite.cc - what the tests of C++ standard libraries show of std::stop_source,
 * std::stop_token and std::stop_callback, shown of the objects that stand for them here:
 * canopy::context, which owns and requests; context_ref and shared_context, which see;
 * and canopy::callback. tests/README.md says which of their tests is which of these.
 */
#include <canopy/canopy.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::callback;
using canopy::context;
using canopy::context_ref;
using canopy::shared_context;

/* Spins until a flag that another thread sets is set. */
void await(const std::atomic<bool> &flag)
{
    while (!flag)
        std::this_thread::yield();
}

} // namespace

/* -------------------------------------------------------------------- requests */

TEST(std_an_owner_without_a_context_can_request_nothing)
{
    context none;
    assert_false(static_cast<bool>(none));
    assert_false(none.cancel());
    static_assert(!std::is_copy_constructible_v<context> && !std::is_copy_assignable_v<context>);
    static_assert(!std::is_convertible_v<canopy_ctx *, context>);
}

TEST(std_a_request_is_made_once)
{
    context ctx = canopy::with_cancel(background());
    assert_false(ctx.done());
    assert_true(ctx.cancel());
    assert_true(ctx.done());
    assert_false(ctx.cancel());
    assert_true(ctx.done());
}

TEST(std_a_request_has_called_all_callbacks_when_it_returns)
{
    context ctx = canopy::with_cancel(background());
    bool first_called = false, second_called = false;
    callback first{ctx, [&] { first_called = true; }};
    callback second{ctx, [&] { second_called = true; }};
    ctx.cancel();
    assert_true(first_called);
    assert_true(second_called);
}

TEST(std_views_see_the_request_of_their_owner_and_of_no_other)
{
    context one = canopy::with_cancel(background()), other = canopy::with_cancel(background());
    const context_ref first{one}, second{one}, third{other};
    assert_false(first.done() || second.done() || third.done());
    one.cancel();
    assert_true(first.done() && second.done());
    assert_false(third.done());
    const context_ref late{one};
    assert_true(late.done());
}

/* A std::stop_token whose last source goes can never be stopped; here that is its end. */
TEST(std_an_owner_that_goes_ends_what_others_still_see)
{
    std::optional<context> owner{canopy::with_cancel(background())};
    const shared_context seen{*owner};
    owner.reset();
    assert_ended(seen.get(), -ECANCELED, CANOPY_CANCELED);

    owner.emplace(canopy::with_cancel(background()));
    const shared_context live{std::move(*owner)};
    owner.reset();
    assert_live(live.get());
}

TEST(std_a_request_outlives_who_made_it)
{
    static constexpr canopy::cause enough{1, "enough"};
    std::optional<context> owner{canopy::with_cancel(background())};
    const shared_context seen{*owner};
    assert_true(owner->cancel(enough));
    owner.reset();
    assert_ended(seen.get(), -ECANCELED, &enough);
}

TEST(std_owners_and_views_are_moved_copied_and_swapped)
{
    context one = canopy::with_cancel(background()), other = canopy::with_cancel(background());
    canopy_ctx *const raw = one.get();
    assert_true(other.cancel());
    std::swap(one, other);
    assert_true(one.done());
    assert_ptr_equal(other.get(), raw);
    context moved{std::move(other)};
    assert_ptr_equal(moved.get(), raw);
    assert_null(other.get()); // NOLINT(*-use-after-move,*.Move): it is empty

    shared_context seen{moved};
    shared_context copy{seen}, away{std::move(seen)};
    assert_ptr_equal(copy.get(), raw);
    assert_ptr_equal(away.get(), raw);
    assert_null(seen.get()); // NOLINT(*-use-after-move,*.Move): it is empty
    std::swap(seen, copy);
    assert_ptr_equal(seen.get(), raw);
    assert_null(copy.get());
    copy = seen;
    assert_ptr_equal(copy.get(), raw);
    assert_live(raw);
}

TEST(std_views_of_one_context_are_equal)
{
    context one = canopy::with_cancel(background()), other = canopy::with_cancel(background());
    const context_ref first{one}, second{one};
    assert_true(first == second);
    assert_false(first != second);
    assert_true(first != context_ref{other});
    assert_true(context_ref{} == context_ref{nullptr});
}

TEST(std_a_request_of_another_thread_is_seen_with_what_it_wrote_before)
{
    context ctx = canopy::with_cancel(background());
    int written = 0;
    std::thread other{[&] {
        written = 1;
        assert_true(ctx.cancel());
    }};
    while (!ctx.done())
        std::this_thread::yield();
    assert_int_equal(written, 1);
    other.join();
}

/* ------------------------------------------------------------------- callbacks */

TEST(std_a_callback_on_an_ended_context_has_run_when_it_is_made)
{
    context ctx = canopy::with_cancel(background());
    ctx.cancel();
    bool called = false;
    callback at_once{ctx, [&] { called = true; }};
    assert_true(called);
    assert_false(at_once.stop());
}

/* A std::stop_callback on an empty token is silent; this one says so, and runs no more. */
TEST(std_a_callback_on_an_empty_handle_says_so_and_never_runs)
{
    int calls = 0;
    callback none{context_ref{nullptr}, [&] { calls++; }};
    assert_false(static_cast<bool>(none));
    assert_int_equal(none.error(), -EINVAL);
    callback never{background(), [&] { calls++; }};
    assert_true(static_cast<bool>(never));
    assert_true(never.stop());
    assert_int_equal(calls, 0);
}

TEST(std_a_callable_is_copied_or_moved_in_as_it_was_given)
{
    int calls = 0;
    auto held = std::make_shared<int>(1);
    auto callable = [&calls, held] { calls += *held; };
    context ctx = canopy::with_cancel(background());
    {
        callback copied{ctx, callable};
        assert_int_equal(held.use_count(), 3);
        callback moved{ctx, std::move(callable)};
        assert_int_equal(held.use_count(), 3);
        ctx.cancel();
        assert_int_equal(calls, 2);
    }
    assert_int_equal(held.use_count(), 1);
}

TEST(std_a_callback_that_has_gone_is_never_called)
{
    context ctx = canopy::with_cancel(background());
    bool called = false;
    {
        callback gone{ctx, [&] { called = true; }};
        assert_false(ctx.done());
    }
    ctx.cancel();
    assert_false(called);
}

TEST(std_a_callback_sees_the_request_that_calls_it)
{
    context ctx = canopy::with_cancel(background());
    bool seen = false;
    callback looks{ctx, [&] { seen = ctx.done() && !ctx.cancel(); }};
    assert_true(ctx.cancel());
    assert_true(seen);
}

TEST(std_of_many_requests_at_once_one_calls_the_callback)
{
    enum { requesters = 10 };
    context ctx = canopy::with_cancel(background());
    int calls = 0, won = 0;
    callback counts{ctx, [&] { calls++; }};
    {
        std::vector<std::thread> threads;
        threads.reserve(requesters);
        std::atomic<int> winners{0};
        for (int i = 0; i < requesters; i++)
            threads.emplace_back([&] { winners += ctx.cancel(); });
        for (std::thread &thread : threads)
            thread.join();
        won = winners;
    }
    assert_int_equal(won, 1);
    assert_int_equal(calls, 1);
}

TEST(std_a_callback_made_while_another_runs_is_called)
{
    context ctx = canopy::with_cancel(background());
    std::atomic<bool> started{false}, finish{false}, called{false};
    callback first{ctx, [&] {
                       started = true;
                       await(finish);
                   }};
    std::thread canceller{[&] { ctx.cancel(); }};
    await(started);
    callback second{ctx, [&] { called = true; }};
    assert_true(called);
    finish = true;
    canceller.join();
}

TEST(std_callbacks_of_many_threads_are_each_called_once)
{
    enum { threads_made = 10 };
    context ctx = canopy::with_cancel(background());
    std::atomic<int> calls{0}, made{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    threads.reserve(threads_made);
    for (int i = 0; i < threads_made; i++)
        threads.emplace_back([&] {
            callback counts{ctx, [&] { calls++; }};
            made++;
            await(over);
        });
    while (made < threads_made / 2) /* the others race the cancel */
        std::this_thread::yield();
    ctx.cancel();
    over = true;
    for (std::thread &thread : threads)
        thread.join();
    assert_int_equal(calls, threads_made);
}

TEST(std_a_callable_is_called_as_what_it_was_given)
{
    struct calls {
        int plain = 0, constant = 0, moved = 0, constant_moved = 0;
    };
    struct callable {
        calls *count;

        void operator()() &
        {
            count->plain++;
        }
        void operator()() const &
        {
            count->constant++;
        }
        void operator()() &&
        {
            count->moved++;
        }
        void operator()() const &&
        {
            count->constant_moved++;
        }
    };
    calls count;
    callable here{&count};
    context ctx = canopy::with_cancel(background());
    {
        callback<callable> owned{ctx, here};
        callback<const callable> constant{ctx, here};
        callback<callable &> reference{ctx, here};
        callback<const callable &> to_constant{ctx, here};
        ctx.cancel();
    }
    assert_int_equal(count.moved, 1);
    assert_int_equal(count.constant_moved, 1);
    assert_int_equal(count.plain, 1);
    assert_int_equal(count.constant, 1);
}

/* What a callback can be made of, and how, as overload resolution sees it. */
TEST(std_a_callback_is_made_of_what_can_be_called_and_no_other)
{
    using plain = callback<void (*)()>;
    static_assert(std::is_constructible_v<plain, context_ref, void (*)()>);
    static_assert(!std::is_constructible_v<plain, context_ref, void (*)(int)>);
    static_assert(!std::is_constructible_v<plain, context_ref, int>);
    struct from_int {
        from_int(int number) noexcept(false);
        void operator()() const;
    };
    struct from_int_quietly {
        from_int_quietly(int number) noexcept;
        void operator()() const;
    };
    static_assert(std::is_constructible_v<callback<from_int>, context_ref, int>);
    static_assert(!std::is_nothrow_constructible_v<callback<from_int>, context_ref, int>);
    static_assert(std::is_nothrow_constructible_v<callback<from_int_quietly>, context_ref, int>);
}

TEST(std_the_type_of_a_callback_is_deduced)
{
    auto callable = [] {};
    using type = decltype(callback{background(), callable});
    static_assert(std::is_same_v<type, callback<decltype(callable)>>);
}

/* ------------------------------------------------------- the ends of callbacks */

TEST(std_the_end_of_a_callback_waits_for_its_run_on_another_thread)
{
    struct callable {
        std::atomic<bool> *started, *finish, *finished;

        callable(std::atomic<bool> &begun, std::atomic<bool> &go_on, std::atomic<bool> &over)
            : started{&begun}, finish{&go_on}, finished{&over}
        {
        }
        callable(callable &&from) noexcept
            : started{from.started}, finish{from.finish}, finished{
                                                              std::exchange(from.finished, nullptr)}
        {
        }
        callable(const callable &) = delete;
        callable &operator=(callable &&) = delete;
        ~callable()
        {
            assert_true(!finished || *finished); /* not while it runs */
        }
        void operator()() const
        {
            *started = true;
            await(*finish);
            *finished = true;
        }
    };
    std::atomic<bool> started{false}, finish{false}, finished{false};
    context ctx = canopy::with_cancel(background());
    std::optional<callback<callable>> running{std::in_place, ctx,
                                              callable{started, finish, finished}};
    std::thread canceller{[&] { ctx.cancel(); }};
    await(started);
    std::thread opener{[&] { finish = true; }};
    running.reset();
    assert_true(finished);
    canceller.join();
    opener.join();
}

TEST(std_the_end_of_a_callback_does_not_wait_for_another)
{
    std::atomic<int> running{0};
    std::atomic<bool> finish{false};
    auto stays = [&](int which) {
        running = which;
        await(finish);
    };
    auto first_fn = [&] { stays(1); };
    auto second_fn = [&] { stays(2); };
    context ctx = canopy::with_cancel(background());
    std::optional<callback<decltype(first_fn)>> first{std::in_place, ctx, first_fn};
    std::optional<callback<decltype(second_fn)>> second{std::in_place, ctx, second_fn};
    std::thread canceller{[&] { ctx.cancel(); }};
    while (running == 0)
        std::this_thread::yield();
    const int began = running;
    if (began == 1) /* the other one has not begun: it goes at once, and never runs */
        second.reset();
    else
        first.reset();
    finish = true;
    canceller.join();
    assert_int_equal(running, began);
}

TEST(std_a_callback_may_end_itself)
{
    struct resetter {
        std::unique_ptr<callback<resetter>> *self;

        void operator()() const
        {
            self->reset();
        }
    };
    std::unique_ptr<callback<resetter>> self;
    context ctx = canopy::with_cancel(background());
    self = std::make_unique<callback<resetter>>(ctx, resetter{&self});
    ctx.cancel();
    assert_null(self.get());
}

TEST(std_a_callback_may_take_back_another_of_the_same_request)
{
    using plain = callback<void (*)()>;
    context ctx = canopy::with_cancel(background());
    std::unique_ptr<plain> taken;
    auto take_back = [&] { taken.reset(); };
    callback before{ctx, take_back};
    taken = std::make_unique<plain>(ctx, [] {});
    callback after{ctx, take_back};
    ctx.cancel();
    assert_null(taken.get());
}

TEST(std_callbacks_are_neither_copied_nor_moved)
{
    using plain = callback<void (*)()>;
    static_assert(!std::is_copy_constructible_v<plain> && !std::is_copy_assignable_v<plain>);
    static_assert(!std::is_move_constructible_v<plain> && !std::is_move_assignable_v<plain>);
}
