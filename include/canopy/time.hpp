/*
 * time.hpp - std::chrono's durations and time points as the nanoseconds of canopy.h. The
 * conventions are in canopy.hpp.
 */
#ifndef CANOPY_TIME_HPP
#define CANOPY_TIME_HPP

#include <canopy/canopy.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

namespace canopy
{

/*
 * How long: any std::chrono::duration, as the nanoseconds of canopy.h. What is too long
 * for them is CANOPY_NEVER, what is too far below zero the least there is. Fractions are
 * rounded up, so that no timeout is early; NaN is far below zero.
 */
class timespan
{
  public:
    /* Converts as is said above. */
    template <class Rep, class Period>
    constexpr timespan(std::chrono::duration<Rep, Period> duration) noexcept
        : ns_{convert<Period>(duration.count())}
    {
        static_assert(std::is_arithmetic_v<Rep>, "a duration of numbers");
    }

    /* As canopy.h takes it. */
    constexpr std::int64_t ns() const noexcept
    {
        return ns_;
    }

    /* By length. */
    friend constexpr bool operator==(timespan a, timespan b) noexcept
    {
        return a.ns_ == b.ns_;
    }
    friend constexpr bool operator!=(timespan a, timespan b) noexcept
    {
        return a.ns_ != b.ns_;
    }
    friend constexpr bool operator<(timespan a, timespan b) noexcept
    {
        return a.ns_ < b.ns_;
    }
    friend constexpr bool operator>(timespan a, timespan b) noexcept
    {
        return a.ns_ > b.ns_;
    }
    friend constexpr bool operator<=(timespan a, timespan b) noexcept
    {
        return a.ns_ <= b.ns_;
    }
    friend constexpr bool operator>=(timespan a, timespan b) noexcept
    {
        return a.ns_ >= b.ns_;
    }

  private:
    using limits = std::numeric_limits<std::int64_t>;

    template <class Period, class Rep> static constexpr std::int64_t convert(Rep count) noexcept
    {
        using scale = std::ratio_divide<Period, std::nano>;
        if constexpr (std::is_floating_point_v<Rep>) {
            return from_real(count * static_cast<Rep>(scale::num) / static_cast<Rep>(scale::den));
        } else {
            if constexpr (std::is_unsigned_v<Rep> && sizeof(Rep) >= sizeof(std::int64_t))
                if (count > static_cast<Rep>(limits::max()))
                    return limits::max();
            return from_units<scale::num, scale::den>(static_cast<std::int64_t>(count));
        }
    }

    template <class Real> static constexpr std::int64_t from_real(Real ns) noexcept
    {
        constexpr Real end = static_cast<Real>(9223372036854775808.0L);
        if (!(ns > -end))
            return limits::min();
        if (ns >= end - 1)
            return limits::max();
        const auto whole = static_cast<std::int64_t>(ns);
        return static_cast<Real>(whole) < ns ? whole + 1 : whole;
    }

    template <std::intmax_t Num, std::intmax_t Den>
    static constexpr std::int64_t from_units(std::int64_t units) noexcept
    {
        static_assert(Den <= limits::max() / Num, "a period of an ordinary size");
        if constexpr (Num == 1 && Den == 1) {
            return units;
        } else {
            constexpr std::int64_t most = limits::max() / Num - (Den == 1 ? 0 : 1);
            const std::int64_t whole = units / Den, rest = units % Den * Num;
            if (whole > most)
                return limits::max();
            if (whole < -most)
                return limits::min();
            return whole * Num + rest / Den + (rest % Den > 0 ? 1 : 0);
        }
    }

    std::int64_t ns_;
};

/*
 * When: any time point of std::chrono::steady_clock, which is CLOCK_MONOTONIC, converted
 * as above. time_point::max() is CANOPY_NEVER.
 */
class moment
{
  public:
    /* Converts as is said above. */
    template <class Duration>
    constexpr moment(std::chrono::time_point<std::chrono::steady_clock, Duration> point) noexcept
        : ns_{timespan{point.time_since_epoch()}.ns()}
    {
    }

    /* From what canopy.h gives. */
    static constexpr moment from_ns(std::int64_t ns) noexcept
    {
        return std::chrono::steady_clock::time_point{std::chrono::nanoseconds{ns}};
    }

    /* canopy_now_ns: what time it is. */
    [[nodiscard]] static moment now() noexcept
    {
        return from_ns(canopy_now_ns());
    }

    /* As canopy.h takes it. */
    constexpr std::int64_t ns() const noexcept
    {
        return ns_;
    }
    /* And back. */
    constexpr operator std::chrono::steady_clock::time_point() const noexcept
    {
        return std::chrono::steady_clock::time_point{std::chrono::nanoseconds{ns_}};
    }

    /* So much later; saturates, and never stays never. */
    friend constexpr moment operator+(moment start, timespan span) noexcept
    {
        using limits = std::numeric_limits<std::int64_t>;
        const std::int64_t a = start.ns_, b = span.ns();
        if (a == limits::max() || (b > 0 && a > limits::max() - b))
            return from_ns(limits::max());
        return from_ns(b < 0 && a < limits::min() - b ? limits::min() : a + b);
    }

    /* By time; also with time points, which become moments. */
    friend constexpr bool operator==(moment a, moment b) noexcept
    {
        return a.ns_ == b.ns_;
    }
    friend constexpr bool operator!=(moment a, moment b) noexcept
    {
        return a.ns_ != b.ns_;
    }
    friend constexpr bool operator<(moment a, moment b) noexcept
    {
        return a.ns_ < b.ns_;
    }
    friend constexpr bool operator>(moment a, moment b) noexcept
    {
        return a.ns_ > b.ns_;
    }
    friend constexpr bool operator<=(moment a, moment b) noexcept
    {
        return a.ns_ <= b.ns_;
    }
    friend constexpr bool operator>=(moment a, moment b) noexcept
    {
        return a.ns_ >= b.ns_;
    }

  private:
    std::int64_t ns_;
};

/* When nothing is to end a wait. */
inline constexpr moment never = moment::from_ns(CANOPY_NEVER);

} // namespace canopy

#endif
