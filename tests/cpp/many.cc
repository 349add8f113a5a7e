/*
 * many.cc - what takes several contexts or signals: as arguments, as a range of whatever
 * kind, in braces, and between iterators.
 */
#include <canopy/canopy.hpp>

#include <array>
#include <csignal>
#include <list>
#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_ref;
using canopy::moment;
using canopy::never;

/* A view, as std::span is one: it goes, and what it shows stays. */
template <class T> struct view {
    T *at;
    std::size_t size;

    T *begin() const
    {
        return at;
    }
    T *end() const
    {
        return at + size;
    }
};

/* So many contexts of which the last one is done. */
std::vector<context> with_last_one_done(std::size_t n)
{
    std::vector<context> made;
    made.reserve(n);
    for (std::size_t i = 0; i < n; i++)
        made.push_back(canopy::with_cancel(background()));
    made.back().cancel();
    return made;
}

} // namespace

TEST(cpp_wait_any_takes_whatever_has_contexts)
{
    std::vector<context> owned = with_last_one_done(3);
    const std::array<context_ref, 3> borrowed{owned[0], owned[1], owned[2]};
    const canopy_ctx *const raw[] = {owned[0].get(), owned[1].get(), owned[2].get()};
    const std::list<canopy::shared_context> shared{canopy::shared_context{owned[1]},
                                                   canopy::shared_context{owned[2]}};
    assert_int_equal(canopy::wait_any(never, owned), 2);
    assert_int_equal(canopy::wait_any(never, borrowed), 2);
    assert_int_equal(canopy::wait_any(never, raw), 2);
    assert_int_equal(canopy::wait_any(never, shared), 1);
    assert_int_equal(canopy::wait_any(never, view<context>{owned.data() + 1, 2}), 1);
    assert_int_equal(canopy::wait_any(never, {borrowed[2], background()}), 0);
    assert_int_equal(canopy::wait_any(never, owned.begin() + 1, owned.end()), 1);
    assert_int_equal(canopy::wait_any(never, raw + 2, raw + 3), 0);
    assert_int_equal(canopy::wait_any(never, shared.begin(), shared.end()), 1);
    assert_int_equal(canopy::wait_any(never, owned[0], raw[1], borrowed[2]), 2);
    assert_int_equal(canopy::wait_any(never, background(), canopy::with_timeout(owned[0], -1s)), 1);
    owned.pop_back();
    assert_int_equal(canopy::wait_any(moment::now(), owned), -ETIME);
}

TEST(cpp_wait_any_of_many_and_of_none)
{
    std::vector<context> many = with_last_one_done(1000);
    assert_int_equal(canopy::wait_any(never, many), 999);
    many.erase(many.begin(), many.end() - 64);
    assert_int_equal(canopy::wait_any(never, many), 63);
    many.clear();
    assert_int_equal(canopy::wait_any(never, many), -EINVAL);
    assert_int_equal(canopy::wait_any(never, many.begin(), many.end()), -EINVAL);
    assert_int_equal(canopy::wait_any(never, std::vector<context>(2)), -EINVAL); /* empty ones */
}

TEST(cpp_with_any_takes_whatever_has_contexts)
{
    std::vector<context> owned;
    owned.reserve(100);
    for (int i = 0; i < 100; i++)
        owned.push_back(canopy::with_cancel(background()));
    const std::array<context_ref, 2> borrowed{owned[1], owned[99]};
    const canopy_ctx *const raw[] = {owned[98].get(), owned[99].get()};
    const context made[] = {
        canopy::with_any(owned),
        canopy::with_any(borrowed),
        canopy::with_any(raw),
        canopy::with_any(view<context>{owned.data() + 50, 50}),
        canopy::with_any({owned[0], borrowed[1]}),
        canopy::with_any(owned.begin() + 99, owned.end()),
        canopy::with_any(raw, raw + 2),
        canopy::with_any(owned[98], borrowed[1], raw[0]),
        canopy::with_any(std::vector<context_ref>{owned[98], owned[99]}),
    };
    for (const context &any : made)
        assert_live(any.get());
    owned.back().cancel(CANOPY_CAUSE(3, "the last"));
    for (const context &any : made)
        assert_int_equal(any.cause_of()->code, 3);
}

TEST(cpp_with_any_of_none_and_of_empty_ones_is_refused)
{
    const std::vector<context> none;
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_any(none)));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    const std::vector<context> empty(2);
    assert_false(static_cast<bool>(canopy::with_any(empty)));
    assert_int_equal(errno, EINVAL);
}

TEST(cpp_with_signals_takes_whatever_has_numbers)
{
    const std::vector<int> numbers{SIGUSR1, SIGUSR2};
    const context made[] = {
        canopy::with_signals(background(), SIGUSR2),
        canopy::with_signals(background(), SIGUSR1, SIGUSR2),
        canopy::with_signals(background(), {SIGUSR1, SIGUSR2}),
        canopy::with_signals(background(), numbers),
        canopy::with_signals(background(), view<const int>{numbers.data(), 2}),
        canopy::with_signals(background(), numbers.begin(), numbers.end()),
        canopy::with_signals(background(), numbers.data() + 1, numbers.data() + 2),
    };
    raise(SIGUSR2);
    for (const context &ctx : made) {
        assert_true(ctx.wait_for(20s));
        assert_int_equal(ctx.cause_of()->code, SIGUSR2);
    }
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_signals(background(), std::vector<int>{})));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_signals(background(), std::vector<int>(100, -1))));
    assert_int_equal(errno, EINVAL);
}
