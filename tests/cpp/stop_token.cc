/*
 * stop_token.cc - contexts that end with std::stop_token, and the other way round.
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

} // namespace

TEST(cpp_a_stopped_token_ends_its_context)
{
    std::stop_source source;
    auto ctx = canopy::with_stop_token(background(), source.get_token());
    context child = canopy::with_cancel(ctx);
    assert_live(ctx.get());
    source.request_stop();
    assert_ended(child.get(), -ECANCELED, &canopy::stop_requested);
    auto late = canopy::with_stop_token(background(), source.get_token());
    assert_ended(late.get(), -ECANCELED, &canopy::stop_requested);
}

TEST(cpp_a_context_of_a_token_is_an_owner_like_others)
{
    static constexpr canopy::cause enough{1, "enough"};
    std::stop_source source;
    canopy::shared_context seen;
    {
        auto ctx = canopy::with_stop_token(background(), source.get_token());
        seen = canopy::shared_context{ctx};
    }
    assert_ended(seen.get(), -ECANCELED, CANOPY_CANCELED);
    auto ctx = canopy::with_stop_token(background(), source.get_token());
    auto never = canopy::with_stop_token(background(), {});
    assert_true(ctx.cancel(enough));
    assert_true(never.cancel());
    source.request_stop();
    assert_ended(ctx.get(), -ECANCELED, &enough);
    errno = 0;
    auto none = canopy::with_stop_token(canopy::context_ref{nullptr}, source.get_token());
    assert_false(static_cast<bool>(none));
    assert_int_equal(errno, EINVAL);
}

TEST(cpp_the_end_of_a_context_stops_its_tokens)
{
    context ctx = canopy::with_cancel(background());
    std::optional<canopy::stop_source_for> source{std::in_place, ctx};
    assert_true(static_cast<bool>(*source));
    std::stop_token token = source->get_token();
    int runs = 0;
    std::stop_callback callback{token, [&] { source.reset(), runs++; }};
    assert_true(token.stop_possible());
    assert_false(token.stop_requested());
    ctx.cancel();
    assert_true(token.stop_requested());
    assert_int_equal(runs, 1);
    assert_false(source.has_value());
    canopy::stop_source_for late{ctx};
    assert_true(late.get_token().stop_requested());
}

TEST(cpp_a_source_that_has_gone_stops_nothing)
{
    context ctx = canopy::with_cancel(background());
    std::stop_token token = canopy::stop_source_for{ctx}.get_token();
    assert_false(token.stop_possible());
    ctx.cancel();
    assert_false(token.stop_requested());
    canopy::stop_source_for none{canopy::context_ref{nullptr}};
    assert_int_equal(none.error(), -EINVAL);
}

TEST(cpp_tokens_and_contexts_end_each_other_over_threads)
{
    for (int round = 0; round < SCALED(100, 20); round++) {
        context parent = canopy::with_cancel(background());
        std::jthread thread{[&](const std::stop_token &token) {
            auto ctx = canopy::with_stop_token(parent, token);
            canopy::stop_source_for source{ctx};
            std::stop_token inner = source.get_token();
            ctx.wait();
            while (!inner.stop_requested())
                std::this_thread::yield();
        }};
        if (round % 2)
            parent.cancel();
        else
            thread.request_stop();
        thread.join();
    }
}
