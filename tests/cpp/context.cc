/*
 * context.cc - owned, borrowed and shared contexts, causes and keys: what ends when,
 * and that each call reaches the one it stands for.
 */
#include <canopy/canopy.hpp>

#include <csignal>
#include <string>
#include <unordered_map>
#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;
using canopy::context_ref;
using canopy::shared_context;
using canopy::shared_owner;
using std::chrono::steady_clock;

inline constexpr canopy::cause gone{-EPIPE, "the client went away"};

static_assert(sizeof(context) == sizeof(void *) && sizeof(context_ref) == sizeof(void *));
static_assert(std::is_trivially_copyable_v<context_ref>);
static_assert(!std::is_copy_constructible_v<context> && !std::is_copy_assignable_v<context>);
static_assert(std::is_nothrow_move_constructible_v<context>);
static_assert(std::is_nothrow_move_assignable_v<context>);
static_assert(std::is_nothrow_move_constructible_v<shared_context>);

/* A context that is watched beyond the end of its owner. */
struct watched {
    context owner = canopy::with_cancel(background());
    shared_context seen{owner};
};

} // namespace

/* -------------------------------------------------------------------- own */

TEST(cpp_the_end_of_the_owner_ends_the_context)
{
    shared_context seen;
    {
        context ctx = canopy::with_cancel(background());
        seen = shared_context{ctx};
        assert_live(seen.get());
    }
    assert_ended(seen.get(), -ECANCELED, CANOPY_CANCELED);
}

TEST(cpp_moves_hand_the_context_on)
{
    watched w;
    canopy_ctx *raw = w.owner.get();
    context moved{std::move(w.owner)};
    assert_false(static_cast<bool>(w.owner));
    assert_ptr_equal(moved.get(), raw);
    std::vector<context> many;
    many.push_back(std::move(moved));
    for (int i = 0; i < 100; i++)
        many.push_back(canopy::with_cancel(many.front()));
    assert_live(w.seen.get());
    many.clear();
    assert_ended(w.seen.get(), -ECANCELED, CANOPY_CANCELED);
}

TEST(cpp_assignment_ends_what_was_there)
{
    watched first, second;
    first.owner = std::move(second.owner);
    assert_ended(first.seen.get(), -ECANCELED, CANOPY_CANCELED);
    assert_live(second.seen.get());
    context &self = first.owner;
    first.owner = std::move(self);
    assert_live(second.seen.get());
    first.owner = context{};
    assert_ended(second.seen.get(), -ECANCELED, CANOPY_CANCELED);
}

TEST(cpp_release_gives_the_reference_up)
{
    watched w;
    canopy_ctx *raw = w.owner.release();
    assert_false(static_cast<bool>(w.owner));
    assert_live(raw);
    context again{raw};
    assert_live(w.seen.get());
}

TEST(cpp_empty_handles_do_nothing)
{
    context none;
    assert_false(static_cast<bool>(none));
    assert_false(none.cancel());
    assert_false(none.cancel(gone));
    assert_false(none.set_deadline(steady_clock::now()));
    assert_false(none.try_reset());
    assert_null(none.release());
    shared_context no_share{none}, copy;
    copy = no_share;
    assert_false(static_cast<bool>(copy));
    assert_false(static_cast<bool>(context_ref{nullptr}));
}

TEST(cpp_failures_are_empty_with_errno)
{
    errno = 0;
    context child = canopy::with_cancel(context_ref{nullptr});
    assert_false(static_cast<bool>(child));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_signals(background(), {})));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_any(background(), context_ref{nullptr})));
    assert_int_equal(errno, EINVAL);
}

TEST(cpp_shared_contexts_keep_without_cancelling)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        shared_context kept{canopy::with_cancel(f.root)}; /* in the place of its owner */
        shared_context copy = kept;
        context child = canopy::with_cancel(copy);
        kept = shared_context{};
        assert_live(copy.get());
        shared_context moved{std::move(copy)};
        copy = std::move(moved);
        assert_live(child.get());
        canopy_cancel(f.root);
        assert_ended(child.get(), -ECANCELED, CANOPY_CANCELED);
    }
    fixture_close(&f);
}

TEST(cpp_reset_makes_it_serve_again)
{
    context ctx = canopy::with_timeout(background(), 1h);
    assert_true(ctx.deadline().has_value());
    assert_true(ctx.try_reset());
    assert_false(ctx.deadline().has_value());
    ctx.cancel();
    assert_false(ctx.try_reset());
}

TEST(cpp_shared_owners_can_each_cancel)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        shared_owner first{canopy::with_cancel(f.root)}, second = first, third, none;
        shared_context seen{first};
        third = std::move(first);
        /* NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): it is empty */
        assert_false(static_cast<bool>(first));
        assert_false(first.cancel());
        /* NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move) */
        second = none;
        assert_live(seen.get()); /* the end of one cancels nothing */
        second = third;
        assert_true(second.cancel(gone));
        assert_ended(seen.get(), -ECANCELED, &gone);
        assert_false(third.cancel());
        assert_false(third.set_deadline(canopy::never));
    }
    {
        context sole = canopy::with_cancel(f.root);
        shared_owner beside{sole};
        sole = context{}; /* its end still ends it */
        assert_ended(beside.get(), -ECANCELED, CANOPY_CANCELED);
    }
    fixture_close(&f);
}

TEST(cpp_handles_of_one_context_are_equal)
{
    context ctx = canopy::with_cancel(background()), other = canopy::with_cancel(background());
    const shared_context shared{ctx};
    const context_ref ref = ctx, none;
    assert_true(ref == ctx && ctx == ref && ref == shared && shared == ctx && ref == ctx.get());
    assert_true(ref != other && ref != none && none == context_ref{nullptr} && other != shared);
    assert_false(static_cast<bool>(none));
    assert_true(canopy::background() == canopy_background());
    std::unordered_map<context_ref, int> by_context{{ref, 1}, {other, 2}};
    assert_int_equal(by_context.at(shared), 1);
    assert_int_equal(by_context.at(other), 2);
    assert_int_equal(by_context.count(background()), 0);
    std::unordered_map<shared_context, int> by_share{{shared, 3}};
    assert_int_equal(by_share.at(shared_context{ctx}), 3);
}

namespace
{

int err_of(context_ref ctx)
{
    return ctx.err();
}

} // namespace

TEST(cpp_a_parameter_may_be_of_what_ends_with_the_statement)
{
    context ctx = canopy::with_cancel(background());
    assert_int_equal(err_of(canopy::with_timeout(ctx, 1h)), 0);
    assert_int_equal(err_of(canopy::with_timeout(ctx, 0s)), -ETIMEDOUT);
    assert_int_equal(err_of(shared_context{ctx}), 0);
    assert_int_equal(canopy::wait_any(canopy::moment::now(), canopy::with_cancel(ctx)), -ETIME);
}

/* -------------------------------------------------------- observe and wait */

TEST(cpp_causes_are_told_by_their_address)
{
    static constexpr canopy::cause late{-EAGAIN, "too late"};
    context parent = canopy::with_cancel(background());
    context child = canopy::with_timeout(parent, 0s, late);
    context other = canopy::with_deadline(parent, steady_clock::time_point{}, late);
    assert_ended(child.get(), -ETIMEDOUT, &late);
    assert_ended(other.get(), -ETIMEDOUT, &late);
    assert_true(parent.cancel(gone));
    assert_false(parent.cancel());
    assert_true(parent.done());
    assert_true(parent.cause_of() == &gone);
    assert_string_equal(gone.file, __FILE__);
    assert_in_range(gone.line, 1, __LINE__);
    assert_int_equal(parent.err(), -ECANCELED);
    context third = canopy::with_cancel(background());
    const canopy_cause *here = CANOPY_CAUSE(1, "made in place");
    third.cancel(*here);
    assert_ended(third.get(), -ECANCELED, here);
    context fourth = canopy::with_cancel(background()), fifth = canopy::with_cancel(fourth);
    assert_true(fifth.cancel(CANOPY_CAUSE(2, "by its address")));
    assert_int_equal(fifth.cause_of()->code, 2);
    assert_true(fourth.cancel(CANOPY_CANCELED));
    assert_ended(fourth.get(), -ECANCELED, CANOPY_CANCELED);
    context sixth = canopy::with_timeout(background(), 0s, here);
    assert_ended(sixth.get(), -ETIMEDOUT, here);
    context seventh = canopy::with_deadline(background(), canopy::moment::from_ns(0), nullptr);
    assert_ended(seventh.get(), -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
}

TEST(cpp_deadlines_move)
{
    auto soon = steady_clock::now() + 1h;
    context ctx = canopy::with_deadline(background(), soon);
    assert_true(ctx.deadline() == soon);
    assert_int_equal(ctx.err_at(soon - 1ns), 0);
    assert_int_equal(ctx.err_at(soon), -ETIMEDOUT);
    assert_true(ctx.set_deadline(canopy::never));
    assert_false(ctx.deadline().has_value());
    assert_true(ctx.set_deadline(steady_clock::now() - 1s));
    assert_ended(ctx.get(), -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_false(ctx.set_deadline(soon));
}

TEST(cpp_timeouts_move_by_the_clock_of_the_root)
{
    canopy::root root{canopy::config::host_clock(canopy::moment::from_ns(0) + 1h)};
    context ctx = canopy::with_cancel(root), none;
    assert_true(ctx.set_timeout(5s));
    assert_true(ctx.deadline() == steady_clock::time_point{1h + 5s});
    assert_true(ctx.set_timeout(std::chrono::hours::max()));
    assert_false(ctx.deadline().has_value());
    assert_true(ctx.set_timeout(0s));
    assert_int_equal(ctx.err(), -ETIMEDOUT);
    assert_false(ctx.set_timeout(5s));
    assert_false(none.set_timeout(5s));
}

TEST(cpp_waits_end_with_the_context_or_the_time)
{
    context ctx = canopy::with_timeout(background(), 20ms), live = canopy::with_cancel(ctx);
    context apart = canopy::with_cancel(background());
    auto before = steady_clock::now();
    assert_false(apart.wait_for(1ms));
    assert_int_equal(apart.sleep(1ms), 0);
    assert_false(apart.wait(steady_clock::now() + 1ms));
    assert_true(steady_clock::now() - before >= 3ms);
    assert_int_equal(canopy::wait_any(steady_clock::now(), apart), -ETIME);
    assert_true(canopy::wait_any(canopy::never, apart, live, ctx) >= 1);
    assert_true(live.wait());
    assert_int_equal(live.sleep(1h), -ETIMEDOUT);
    assert_int_equal(apart.wait_idle(steady_clock::now()), 0);
    assert_int_equal(ctx.wait_idle(steady_clock::now()), -ETIME);
    assert_true(apart.done_fd() >= 0);
}

/* ----------------------------------------------------------------- derive */

TEST(cpp_merged_and_detached_contexts)
{
    context first = canopy::with_cancel(background()), second = canopy::with_cancel(first);
    context third = canopy::with_cancel(background());
    context any = canopy::with_any(third, second, background());
    context apart = canopy::without_cancel(first);
    second.cancel(gone);
    assert_ended(any.get(), -ECANCELED, &gone);
    first.cancel();
    assert_live(apart.get());
    assert_live(third.get());
}

TEST(cpp_signals_end_contexts)
{
    context ctx = canopy::with_signals(canopy::todo(), {SIGUSR1, SIGUSR2});
    assert_live(ctx.get());
    raise(SIGUSR2);
    assert_true(ctx.wait_for(20s));
    assert_int_equal(ctx.cause_of()->code, SIGUSR2);
    assert_int_equal(canopy::cause_signal(ctx.cause_of()), SIGUSR2);
    assert_int_equal(canopy::cause_signal(gone), 0);
}

/* ----------------------------------------------------------------- values */

namespace
{

struct user {
    std::string name;
};

inline constexpr canopy::key<const user> user_key{"user"};
inline constexpr canopy::key<int> number_key{"number"};
inline constexpr canopy::key<int> other_number_key{"number"};

/* Counts how often it is destroyed. */
struct counted {
    int *ends;
    ~counted()
    {
        ++*ends;
    }
};
inline constexpr canopy::key<std::unique_ptr<counted>> counted_key{"counted"};
inline constexpr canopy::key<std::unique_ptr<const counted[]>> array_key{"an array"};
inline constexpr canopy::key<std::shared_ptr<counted>> share_key{"a share"};
inline constexpr canopy::key<std::shared_ptr<const int[]>> shared_array_key{"shared array"};

std::string greet(context_ref ctx)
{
    const user *of = ctx.value(user_key);
    return of ? "hello " + of->name : "who are you";
}

} // namespace

TEST(cpp_values_have_the_type_of_their_key)
{
    const user somebody{"somebody"};
    int one = 1, two = 2;
    context named = canopy::with_value(background(), user_key, &somebody);
    context outer = canopy::with_value(named, number_key, &one);
    context inner = canopy::with_value(outer, number_key, &two);
    context hidden = canopy::with_value(inner, number_key, nullptr);
    assert_true(greet(inner) == "hello somebody");
    assert_true(greet(background()) == "who are you");
    assert_ptr_equal(outer.value(number_key), &one);
    assert_ptr_equal(inner.value(number_key), &two);
    assert_null(inner.value(other_number_key));
    assert_false(inner.lookup(other_number_key).has_value());
    assert_true(hidden.lookup(number_key).has_value());
    assert_null(*hidden.lookup(number_key));
}

TEST(cpp_owned_values_are_destroyed_once)
{
    struct fixture f;
    int ends = 0;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    {
        auto made = std::make_unique<counted>(counted{&ends});
        ends = 0; /* the temporary's */
        const counted *at = made.get();
        context layer = canopy::with_value(f.root, counted_key, std::move(made));
        assert_null(made.get());
        context child = canopy::with_cancel(layer);
        layer = context{};
        assert_ptr_equal(child.value(counted_key), at);
        assert_int_equal(ends, 0);
        context empty = canopy::with_value(child, counted_key, nullptr);
        assert_null(empty.value(counted_key));
    }
    fixture_close(&f);
    assert_int_equal(ends, 1);
}

TEST(cpp_owned_arrays_are_destroyed_once)
{
    int ends = 0;
    {
        std::unique_ptr<counted[]> made{new counted[3]{{&ends}, {&ends}, {&ends}}};
        const counted *at = made.get();
        context layer = canopy::with_value(background(), array_key, std::move(made));
        assert_ptr_equal(layer.value(array_key), at);
        assert_ptr_equal(layer.value(array_key)[2].ends, &ends);
        assert_null(layer.value(counted_key));
    }
    assert_true(eventually(ends == 3, SOON));
}

TEST(cpp_shares_in_values_are_kept_by_their_contexts)
{
    struct fixture f;
    int ends = 0;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    auto made = std::make_shared<counted>(counted{&ends});
    ends = 0; /* the temporary's */
    {
        context layer = canopy::with_value(f.root, share_key, made);
        context again = canopy::with_value(layer, share_key, made);
        context array =
            canopy::with_value(again, shared_array_key, std::shared_ptr<int[]>{new int[2]{4, 5}});
        assert_int_equal(made.use_count(), 3);
        const std::shared_ptr<counted> *found = array.value(share_key);
        assert_true(found && *found == made);
        std::shared_ptr<counted> taken = *found;
        assert_int_equal(made.use_count(), 4);
        assert_int_equal((*array.value(shared_array_key))[1], 5);
        assert_false(static_cast<bool>(canopy::with_value(context_ref{}, share_key, made)));
        assert_int_equal(made.use_count(), 4);
    }
    fixture_close(&f);
    assert_int_equal(made.use_count(), 1);
    made.reset();
    assert_int_equal(ends, 1);
}

TEST(cpp_a_value_that_cannot_be_bound_stays_the_callers)
{
    int ends = 0;
    auto made = std::make_unique<counted>(counted{&ends});
    ends = 0;
    assert_false(
        static_cast<bool>(canopy::with_value(context_ref{nullptr}, counted_key, std::move(made))));
    assert_non_null(made.get());
    made.reset();
    assert_int_equal(ends, 1);
}
