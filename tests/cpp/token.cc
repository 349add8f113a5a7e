/*
 * token.cc - the stop token of a context, by what C++26 asks of one: in words of our
 * own, so that it holds where no library knows senders.
 */
#include <canopy/canopy.hpp>

#include <concepts>
#include <optional>
#include <thread>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_token;

/* ------------------------------------------------- [stoptoken.concepts], restated */

template <template <class> class> struct is_a_template;

template <class Token>
concept token_that_stops = requires(const Token token)
{
    typename is_a_template<Token::template callback_type>;
    {
        token.stop_requested()
    }
    noexcept->std::same_as<bool>;
    {
        token.stop_possible()
    }
    noexcept->std::same_as<bool>;
    {
        Token(token)
    }
    noexcept;
}
&&std::copyable<Token> &&std::equality_comparable<Token> &&std::swappable<Token>;

template <class Token, class F> using callback_for = typename Token::template callback_type<F>;

template <class F, class Token, class Init = F>
concept callback_that_fits = std::invocable<F> && std::constructible_from<F, Init> &&
    std::destructible<F> && std::constructible_from<callback_for<Token, F>, Token, Init> &&
    std::constructible_from<callback_for<Token, F>, Token &, Init>
        &&std::constructible_from<callback_for<Token, F>, const Token, Init>
            &&std::constructible_from<callback_for<Token, F>, const Token &, Init>;

/* What a receiver registers. */
struct on_stop {
    int *runs;
    void operator()() noexcept
    {
        ++*runs;
    }
};

/* Made of something else than itself, and not movable, as receivers' often are. */
struct on_stop_of_an_operation {
    int &runs;
    explicit on_stop_of_an_operation(int &runs_) : runs{runs_}
    {
    }
    on_stop_of_an_operation(const on_stop_of_an_operation &) = delete;
    void operator()() noexcept
    {
        runs++;
    }
};

static_assert(token_that_stops<context_token>);
static_assert(callback_that_fits<on_stop, context_token>);
static_assert(callback_that_fits<on_stop_of_an_operation, context_token, int &>);
static_assert(callback_that_fits<void (*)(), context_token>);
static_assert(!callback_that_fits<void (*)(int), context_token>);
static_assert(std::regular<context_token>);
static_assert(sizeof(context_token) == sizeof(void *));

/* An operation written for any token: it sleeps until it is stopped. */
template <token_that_stops Token> class operation
{
  public:
    explicit operation(Token token) : token_{token}
    {
    }
    void start()
    {
        if (token_.stop_possible())
            callback_.emplace(token_, on_stop{&stops_});
    }
    int stops() const
    {
        return stops_;
    }

  private:
    Token token_;
    int stops_ = 0;
    std::optional<callback_for<Token, on_stop>> callback_;
};

} // namespace

TEST(cpp_a_token_tells_what_its_context_does)
{
    context ctx = canopy::with_cancel(background()), other = canopy::with_cancel(background());
    const context_token token{ctx}, same{canopy::context_ref{ctx}}, none;
    assert_true(token.stop_possible());
    assert_false(token.stop_requested());
    assert_true(token == same);
    assert_true(token != context_token{other});
    assert_true(token != none);
    ctx.cancel();
    assert_true(token.stop_requested());
    assert_true(token.stop_possible());
    canopy::context_ref back = token;
    assert_int_equal(back.err(), -ECANCELED);
}

TEST(cpp_a_token_of_what_never_ends_is_never_stopped)
{
    for (context_token token :
         {context_token{}, context_token{background()}, context_token{canopy::todo()}}) {
        assert_false(token.stop_possible());
        assert_false(token.stop_requested());
        int runs = 0;
        {
            context_token::callback_type<on_stop> callback{token, on_stop{&runs}};
        }
        assert_int_equal(runs, 0);
    }
}

TEST(cpp_operations_of_others_are_stopped_by_a_context)
{
    context ctx = canopy::with_timeout(background(), 1h);
    operation running{context_token{ctx}}, late{context_token{ctx}}, gone{context_token{ctx}};
    running.start();
    {
        operation ends{context_token{ctx}};
        ends.start();
    }
    ctx.cancel();
    assert_int_equal(running.stops(), 1);
    late.start();
    assert_int_equal(late.stops(), 1);
    assert_int_equal(gone.stops(), 0);
}

TEST(cpp_a_callback_of_a_token_is_made_in_place)
{
    context ctx = canopy::with_cancel(background());
    int runs = 0;
    callback_for<context_token, on_stop_of_an_operation> callback{context_token{ctx}, runs};
    std::thread{[&] { ctx.cancel(); }}.join();
    assert_int_equal(runs, 1);
}
