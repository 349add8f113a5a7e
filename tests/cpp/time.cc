/*
 * time.cc - std::chrono as the nanoseconds of canopy.h: exact where it fits, and at
 * the nearest end where it does not. Most of it holds at compile time.
 */
#include <canopy/canopy.hpp>

#include <cmath>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::moment;
using canopy::timespan;
using std::chrono::duration;
using std::chrono::steady_clock;

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

template <class Duration> constexpr std::int64_t ns(Duration span)
{
    return timespan{span}.ns();
}

} // namespace

TEST(cpp_time_that_fits_is_exact)
{
    static_assert(ns(0s) == 0);
    static_assert(ns(30s) == SECONDS(30));
    static_assert(ns(-3ms) == -MILLISECONDS(3));
    static_assert(ns(7ns) == 7);
    static_assert(ns(duration<std::uint8_t>{255}) == SECONDS(255));
    static_assert(ns(std::chrono::hours{2562047}) == HOURS(2562047));
    static_assert(ns(std::chrono::hours{-2562047}) == -HOURS(2562047));
    static_assert(ns(duration<double>{1.5}) == MILLISECONDS(1500));
    static_assert(ns(duration<float, std::milli>{-0.5f}) == -MICROSECONDS(500));
    assert_int_equal(ns(std::chrono::minutes{1}), SECONDS(60));
}

TEST(cpp_time_is_rounded_up_never_early)
{
    static_assert(ns(duration<int, std::pico>{1}) == 1);
    static_assert(ns(duration<int, std::pico>{1000}) == 1);
    static_assert(ns(duration<int, std::pico>{1001}) == 2);
    static_assert(ns(duration<int, std::pico>{-1001}) == -1);
    static_assert(ns(duration<int, std::ratio<1, 3>>{1}) == 333333334);
    static_assert(ns(duration<int, std::ratio<1, 3>>{-1}) == -333333333);
    static_assert(ns(duration<double, std::nano>{1.25}) == 2);
    assert_int_equal(ns(duration<double, std::nano>{-1.25}), -1);
}

TEST(cpp_time_that_is_too_long_is_never)
{
    static_assert(ns(std::chrono::hours::max()) == CANOPY_NEVER);
    static_assert(ns(std::chrono::hours{2562048}) == CANOPY_NEVER);
    static_assert(ns(std::chrono::nanoseconds::max()) == CANOPY_NEVER);
    static_assert(ns(std::chrono::seconds::max()) == CANOPY_NEVER);
    static_assert(ns(duration<std::uint64_t>{UINT64_MAX}) == CANOPY_NEVER);
    static_assert(ns(duration<std::uint64_t, std::nano>{UINT64_MAX}) == CANOPY_NEVER);
    static_assert(ns(duration<std::uint64_t, std::pico>{UINT64_MAX}) == CANOPY_NEVER);
    assert_int_equal(ns(duration<double>{1e300}), CANOPY_NEVER);
    static_assert(ns(duration<double, std::nano>{9223372036854775807.0}) == CANOPY_NEVER);
    static_assert(ns(duration<long double, std::nano>{9223372036854775806.5L}) == CANOPY_NEVER);
    assert_int_equal(ns(duration<double>{HUGE_VAL}), CANOPY_NEVER);
    assert_int_equal(ns(duration<float>{HUGE_VALF}), CANOPY_NEVER);
}

TEST(cpp_time_far_below_zero_is_the_least)
{
    static_assert(ns(std::chrono::hours::min()) == least);
    static_assert(ns(std::chrono::nanoseconds::min()) == least);
    static_assert(ns(std::chrono::seconds::min()) == least);
    assert_int_equal(ns(duration<double>{-1e300}), least);
    assert_int_equal(ns(duration<double>{-HUGE_VAL}), least);
    assert_int_equal(ns(duration<double>{std::nan("")}), least);
    assert_int_equal(ns(duration<float>{std::nanf("")}), least);
}

TEST(cpp_moments_are_those_of_the_library)
{
    static_assert(moment{steady_clock::time_point::max()}.ns() == CANOPY_NEVER);
    static_assert(canopy::never.ns() == CANOPY_NEVER);
    static_assert(moment::from_ns(-5).ns() == -5);
    static_assert(moment{std::chrono::time_point<steady_clock, std::chrono::hours>{}}.ns() == 0);
    std::int64_t before_ns = now_ns();
    moment now = steady_clock::now();
    assert_in_range(now.ns(), before_ns, now_ns());
    steady_clock::time_point back = now;
    assert_true(moment{back}.ns() == now.ns());
}

TEST(cpp_moments_are_compared_and_moved)
{
    constexpr moment first = moment::from_ns(1), second = moment::from_ns(2);
    static_assert(first < second && first <= second && first != second && !(first == second));
    static_assert(second > first && second >= first && first >= first && first == first);
    static_assert(first < canopy::never && canopy::never == steady_clock::time_point::max());
    static_assert(first < steady_clock::time_point{2ns} && steady_clock::time_point{1ns} == first);
    static_assert(timespan{1s} < 2s && timespan{1s} == 1000ms && 1s != timespan{3h});
    static_assert(first + 1ns == second && second + -1ns == first && first + 1h > second);
    static_assert(canopy::never + -1h == canopy::never && canopy::never + 1h == canopy::never);
    static_assert(moment::from_ns(CANOPY_NEVER - 1) + 1h == canopy::never);
    static_assert(moment::from_ns(least + 1) + -1h == moment::from_ns(least));
    std::int64_t before_ns = now_ns();
    moment now = moment::now();
    assert_in_range(now.ns(), before_ns, now_ns());
    assert_true(now <= steady_clock::now());
}

TEST(cpp_absurd_timeouts_end_at_once_or_never)
{
    auto never = canopy::with_timeout(canopy::background(), std::chrono::hours::max());
    auto past = canopy::with_timeout(canopy::background(), std::chrono::hours::min());
    auto nan = canopy::with_timeout(canopy::background(), duration<double>{std::nan("")});
    auto first = canopy::with_deadline(canopy::background(), steady_clock::time_point::min());
    auto last = canopy::with_deadline(canopy::background(), steady_clock::time_point::max());
    assert_live(never.get());
    assert_live(last.get());
    for (canopy::context *ctx : {&past, &nan, &first})
        assert_ended(ctx->get(), -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_false(never.wait_for(std::chrono::hours::min()));
    assert_false(never.wait(steady_clock::time_point::min()));
    assert_true(past.wait_for(-1s));
}
