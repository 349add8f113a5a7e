/*
 * callable.cc - which callables a callback takes, where it keeps them and how it calls
 * them: what std::stop_callback promises, on contexts.
 */
#include <canopy/canopy.hpp>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::callback;
using canopy::context;
using canopy::context_ref;

/* How often it was called, and how. */
struct calls {
    int as_it_lies = 0, as_constant = 0, as_rvalue = 0;
};

/* Tells how it is called; of more than a word. */
struct telling {
    calls *told;
    std::array<char, 40> room{};

    explicit telling(calls *told_) : told{told_}
    {
    }
    void operator()() &
    {
        told->as_it_lies++;
    }
    void operator()() const &
    {
        told->as_constant++;
    }
    void operator()() &&
    {
        told->as_rvalue++;
    }
};

struct only_as_rvalue {
    int *runs;
    void operator()() &&
    {
        ++*runs;
    }
};

struct only_as_lvalue {
    int *runs;
    void operator()() &
    {
        ++*runs;
    }
};

/* Made where it stays. */
struct immovable {
    immovable *self = this;
    int *runs;
    int step;

    immovable(int *runs_, int step_) : runs{runs_}, step{step_}
    {
    }
    immovable(const immovable &) = delete;
    void operator()()
    {
        if (self == this)
            *runs += step;
    }
};

struct throwing_copy {
    throwing_copy() = default;
    throwing_copy(const throwing_copy &) // NOLINT: may throw, for all that is known
    {
    }
    void operator()()
    {
    }
};

struct empty {
    void operator()() const
    {
    }
};

int function_runs;
void function()
{
    function_runs++;
}

template <class F, class... Args>
inline constexpr bool is_made = std::is_constructible_v<callback<F>, context_ref, Args...>;
using takes_int = void (*)(int);

/* As std::stop_callback is constrained, and no wider. */
static_assert(is_made<void (*)(), void (*)()> && is_made<telling, calls *>);
static_assert(!is_made<takes_int, takes_int>);
static_assert(!std::is_constructible_v<canopy::loop_callback<takes_int>, context_ref,
                                       canopy::loop &, takes_int>);
static_assert(!is_made<telling, int> && !is_made<immovable, immovable>);
static_assert(!is_made<const only_as_lvalue, only_as_lvalue>);
static_assert(is_made<telling &, telling &> && is_made<const telling &, telling &>);
static_assert(!is_made<telling &, const telling &> && !is_made<telling &, telling>);
static_assert(!is_made<const telling &, telling> && !is_made<void (&)(), int>);
static_assert(!std::is_convertible_v<context_ref, callback<telling>>);
static_assert(std::is_nothrow_constructible_v<callback<telling &>, context_ref, telling &>);
static_assert(std::is_nothrow_constructible_v<callback<void (*)()>, context_ref, void (*)()>);
static_assert(
    !std::is_nothrow_constructible_v<callback<throwing_copy>, context_ref, const throwing_copy &>);
static_assert(!std::is_copy_constructible_v<callback<void (*)()>> &&
              !std::is_move_constructible_v<callback<void (*)()>>);
static_assert(std::is_same_v<callback<const telling>::callback_type, const telling>);

/* And its deduction guide. */
static_assert(std::is_same_v<decltype(callback{background(), function}), callback<void (*)()>>);

} // namespace

TEST(cpp_callables_are_called_as_rvalues_once)
{
    context ctx = canopy::with_cancel(background());
    calls kept, constant, referred, referred_constant, any;
    telling other{&referred}, other_constant{&referred_constant};
    callback<telling> keeps{ctx, &kept};
    callback<const telling> keeps_constant{ctx, &constant};
    callback<telling &> refers{ctx, other};
    callback<const telling &> refers_constant{ctx, other_constant};
    canopy::any_callback keeps_any;
    assert_int_equal(keeps_any.start(ctx, telling{&any}), 0);
    ctx.cancel();
    assert_int_equal(kept.as_rvalue, 1);
    assert_int_equal(kept.as_it_lies + kept.as_constant, 0);
    assert_int_equal(constant.as_constant, 1);
    assert_int_equal(constant.as_it_lies + constant.as_rvalue, 0);
    assert_int_equal(referred.as_it_lies, 1);
    assert_int_equal(referred.as_constant + referred.as_rvalue, 0);
    assert_int_equal(referred_constant.as_constant, 1);
    assert_int_equal(any.as_rvalue, 1);
    assert_int_equal(any.as_it_lies + any.as_constant, 0);
}

TEST(cpp_callables_of_one_kind_of_call_are_taken)
{
    context ctx = canopy::with_cancel(background());
    int runs = 0;
    callback rvalue{ctx, only_as_rvalue{&runs}};
    callback lvalue{ctx, only_as_lvalue{&runs}};
    canopy::any_callback any_rvalue, any_lvalue;
    assert_int_equal(any_rvalue.start(ctx, only_as_rvalue{&runs}), 0);
    assert_int_equal(any_lvalue.start(ctx, only_as_lvalue{&runs}), 0);
    struct member {
        int *runs;
        int operator()(context_ref) &&
        {
            return ++*runs, 0;
        }
    };
    canopy::group group{background()};
    assert_int_equal(group.go(member{&runs}), 0);
    assert_int_equal(group.wait(), 0);
    ctx.cancel();
    assert_int_equal(runs, 5);
}

TEST(cpp_callables_that_do_not_move_are_made_in_place)
{
    context ctx = canopy::with_cancel(background());
    canopy::loop loop;
    int runs = 0;
    callback<immovable> here{ctx, &runs, 1};
    canopy::loop_callback<immovable> there{ctx, loop, &runs, 10};
    callback<const empty> none{ctx}; /* of nothing at all */
    assert_int_equal(here.error() + there.error() + none.error(), 0);
    ctx.cancel();
    assert_int_equal(loop.run(), 1);
    assert_int_equal(runs, 11);
}

TEST(cpp_callables_may_be_functions_and_references_to_them)
{
    context ctx = canopy::with_cancel(background());
    int runs = 0;
    auto count = [&runs] { runs++; };
    std::function<void()> wide = count;
    function_runs = 0;
    callback pointer{ctx, function};
    callback<void (&)()> reference{ctx, function};
    callback<decltype(count) &> word{ctx, count};
    callback wrapped{ctx, std::ref(count)};
    callback<std::function<void()> &> wide_reference{ctx, wide};
    callback held{ctx, wide};
    ctx.cancel();
    assert_int_equal(function_runs, 2);
    assert_int_equal(runs, 4);
}

TEST(cpp_a_reference_runs_what_is_there_when_it_runs)
{
    context ctx = canopy::with_cancel(background());
    int first = 0, second = 0;
    std::function<void()> what = [&] { first++; };
    callback<std::function<void()> &> runs{ctx, what};
    what = [&] { second++; };
    ctx.cancel();
    assert_int_equal(first, 0);
    assert_int_equal(second, 1);
}

TEST(cpp_join_says_that_the_callable_is_over)
{
    context ctx = canopy::with_cancel(background());
    canopy::loop loop;
    canopy::any_callback any;
    int in_itself = 0;
    assert_int_equal(any.join(), 0);
    callback armed{ctx, [] {}};
    assert_int_equal(armed.join(), 0);
    callback<std::function<void()>> self{ctx, [&] { in_itself = self.join(); }};
    canopy::loop_callback late{ctx, loop, [] {}};
    canopy::any_loop_callback any_late;
    assert_int_equal(any_late.start(ctx, loop, [] {}), 0);
    assert_int_equal(any.start(ctx, [] {}), 0);
    ctx.cancel();
    assert_int_equal(in_itself, -EDEADLK);
    assert_int_equal(self.join(), 0);
    assert_int_equal(any.join(), 0);
    assert_int_equal(late.join(), -EDEADLK);
    assert_int_equal(any_late.join(), -EDEADLK);
    loop.run();
    assert_int_equal(late.join(), 0);
    assert_int_equal(any_late.join(), 0);
    callback none{context_ref{}, [] {}};
    assert_int_equal(none.join(), 0);
}
