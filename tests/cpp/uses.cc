/*
 * uses.cc - every public name, used once, as a program may: must compile without a
 * warning under the strictest of flags, by any compiler and standard.
 */
#include <canopy/canopy.hpp>
#include <canopy/wire.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <ratio>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace
{

using namespace std::chrono_literals;
using std::chrono::duration;

struct user {
    int id;
};

inline constexpr canopy::cause closed{-EPIPE, "closed"};
inline constexpr canopy::key<const user> user_key{"user"};
inline constexpr canopy::key<std::unique_ptr<user>> owned_key{"owned user"};
inline constexpr canopy::key<std::unique_ptr<const int[]>> numbers_key{"numbers"};
inline constexpr canopy::key<std::shared_ptr<const user>> shared_key{"a share in a user"};

/* What is declared not to throw is known not to (-Wnoexcept looks at these). */
template <class... Types>
inline constexpr bool quiet = ((std::is_nothrow_default_constructible_v<Types> &&
                                std::is_nothrow_destructible_v<Types>)&&...);
template <class... Types>
inline constexpr bool movable = ((std::is_nothrow_move_constructible_v<Types> &&
                                  std::is_nothrow_move_assignable_v<Types>)&&...);
static_assert(quiet<canopy::any_callback, canopy::any_loop_callback, canopy::config>);
static_assert(quiet<canopy::context, canopy::context_ref, canopy::context_token, canopy::loop>);
static_assert(quiet<canopy::root, canopy::shared_context, canopy::shared_owner>);
static_assert(movable<canopy::context, canopy::context_ref, canopy::context_token, canopy::root>);
static_assert(movable<canopy::moment, canopy::shared_context, canopy::shared_owner>);
static_assert(noexcept(canopy::context_ref{} == canopy::context_ref{}));
inline constexpr canopy::timespan second{1s};
static_assert(noexcept(canopy::moment::now() + second < canopy::never));
static_assert(noexcept(canopy::with_cancel(canopy::background())));
static_assert(noexcept(canopy::with_timeout(canopy::todo(), second, CANOPY_CANCELED)));

int observe(canopy::context_ref ctx)
{
    const user *who = ctx.value(user_key);
    user *owned = ctx.value(owned_key);
    const int *numbers = ctx.value(numbers_key);
    const std::shared_ptr<const user> *share = ctx.value(shared_key);
    if (numbers && share && *share)
        return numbers[0] + (*share)->id;
    if (!ctx || ctx.done() || ctx.err() || ctx.err_at(std::chrono::steady_clock::now()))
        return ctx.cause_of() == &closed ? 1 : 2;
    if (ctx.lookup(user_key) == who || ctx.lookup(owned_key) == owned)
        return 3;
    if (ctx.deadline() && *ctx.deadline() < std::chrono::steady_clock::now())
        return ctx.done_fd();
    if (ctx.wait(canopy::moment::from_ns(1)) || ctx.wait_for(0s))
        ctx.wait();
    return ctx.sleep(duration<double>{0.5}) + ctx.wait_idle(canopy::never);
}

int many(canopy::context_ref parent)
{
    std::vector<canopy::context> owned;
    owned.push_back(canopy::with_cancel(parent));
    const std::array<canopy::context_ref, 2> borrowed{parent, owned.front()};
    const canopy_ctx *const raw[] = {parent.get(), owned.front().get()};
    const std::vector<int> signals{SIGUSR1, SIGUSR2};
    const canopy::context made[] = {
        canopy::with_any(owned),
        canopy::with_any(borrowed),
        canopy::with_any(raw),
        canopy::with_any({parent, owned.front()}),
        canopy::with_any(borrowed.begin(), borrowed.end()),
        canopy::with_any(raw, raw + 2),
        canopy::with_signals(parent, SIGUSR1, SIGUSR2),
        canopy::with_signals(parent, signals),
        canopy::with_signals(parent, signals.begin(), signals.end()),
    };
    const canopy::moment until = canopy::moment::now() + 1ms;
    return canopy::wait_any(until, owned) + canopy::wait_any(until, borrowed) +
           canopy::wait_any(until, raw) + canopy::wait_any(until, {parent, owned.front()}) +
           canopy::wait_any(until, owned.begin(), owned.end()) +
           canopy::wait_any(until, canopy::with_cancel(parent)) + canopy::wait_any(until, made);
}

int compare(canopy::context &ctx, canopy::moment a, canopy::moment b, canopy::timespan span)
{
    canopy::context_ref none, same{ctx};
    canopy::shared_owner owner{ctx}, copy = owner;
    const std::unordered_set<canopy::context_ref> known{none, same, copy};
    owner = std::move(copy);
    if (known.count(ctx) != 1 || same != ctx || none == owner || same != owner)
        return 1;
    if (owner.cancel(CANOPY_CANCELED) || ctx.cancel(CANOPY_CAUSE(1, "here")))
        return 2;
    if (a == b || a != b || a < b || a > b || a <= b || a >= b + span)
        return span == 1s || span != 1s || span < 1s || span > 1s || span <= 1s || span >= 1s;
    return a < std::chrono::steady_clock::now() && observe(canopy::with_timeout(ctx, 1s));
}

int token(canopy::context_ref ctx)
{
    const canopy::context_token of{ctx}, none;
    int runs = 0;
    canopy::context_token::callback_type<void (*)()> callback{of, [] {}};
    auto count = [&runs] { runs++; };
    canopy::callback<decltype(count) &> counts{of, count};
    canopy::callback<decltype(count) const> keeps{ctx, count};
    if (of == none || of != none || of.stop_possible() || of.stop_requested())
        return callback.join() + counts.join() + keeps.join();
    return observe(of) + runs;
}

int root(canopy::moment start)
{
    canopy::config config = canopy::config::host_clock(start);
    config.max_live = 10;
    canopy::root root{config}, other;
    canopy::moment next = canopy::never;
    canopy::loop loop{other};
    other = std::move(root);
    if (other.advance(start) || other.advance(start + 1s, &next) || next == canopy::never)
        canopy_cancel(canopy::root{}.release());
    if (other.usage().contexts > 10)
        return 1;
    return observe(other) + other.close(canopy::never);
}

int derive(canopy::context_ref parent)
{
    const user somebody{1};
    canopy::context ctx = canopy::with_cancel(parent);
    canopy::context timed[] = {
        canopy::with_timeout(ctx, 30s),
        canopy::with_timeout(ctx, duration<unsigned long, std::pico>{5}, closed),
        canopy::with_timeout(ctx, duration<float, std::ratio<1, 30>>{1}),
        canopy::with_deadline(ctx, std::chrono::steady_clock::now() + 1h),
        canopy::with_deadline(ctx, canopy::never, closed),
    };
    canopy::context named = canopy::with_value(ctx, user_key, &somebody);
    canopy::context owned =
        canopy::with_value(named, owned_key, std::unique_ptr<user>{new user{2}});
    canopy::context numbers =
        canopy::with_value(owned, numbers_key, std::unique_ptr<const int[]>{new int[1]{3}});
    canopy::context share =
        canopy::with_value(numbers, shared_key, std::make_shared<user>(user{4}));
    canopy::context apart = canopy::without_cancel(owned);
    canopy::context any = canopy::with_any(timed[0], timed[1], canopy::background());
    canopy::context signalled = canopy::with_signals(canopy::todo(), {1, 2});
    canopy::shared_context kept{named}, adopted{std::move(any)}, copied;
    copied = kept;
    timed[0].set_deadline(canopy::never);
    timed[0].set_timeout(1s);
    if (timed[1].cancel() || timed[2].cancel(closed) || timed[3].try_reset())
        canopy::context{timed[4].release()}.cancel();
    return observe(ctx) + observe(owned) + observe(copied) + observe(adopted) +
           canopy::wait_any(canopy::never, ctx, apart, signalled);
}

int call_back(canopy::context_ref ctx, canopy::loop &loop)
{
    int runs = 0;
    canopy::callback callback{ctx, [&runs] { runs++; }};
    canopy::async_callback apart{ctx, [&runs] { runs++; }};
    canopy::loop_callback on_loop{ctx, loop, [&runs] { return runs++; }};
    canopy::any_callback any;
    canopy::any_loop_callback any_on_loop;
    if (!callback || !apart.stop() || any.start(ctx, [&runs] { runs++; }) != 0 || any.stop())
        any.clear();
    if (!on_loop || any_on_loop.start(ctx, loop, [&runs] { runs++; }) != 0 || any_on_loop.stop())
        any_on_loop.clear();
    return callback.error() + on_loop.error() + callback.stop() + on_loop.stop();
}

int run(canopy::context_ref parent)
{
    canopy::loop loop;
    canopy::group group{parent, 2};
    if (group.try_go([](canopy::context_ref) { return canopy::group::fail_with(closed); }) != 0 ||
        group.go_unless_done([](canopy::context_ref ctx) { return ctx.err(); }) != 0)
        return canopy::cause_signal(group.ctx().cause_of()) + canopy::cause_signal(closed);
    if (!group || group.go([](canopy::context_ref ctx) { return ctx.err(); }) != 0)
        return group.error();
    if (!loop || loop.fd() < 0 || loop.timeout_ns() < 0 || loop.timeout_ms() < 0 ||
        loop.run() < 0 || loop.run_for(1ms) < 0 || loop.tell_time() < 0 || loop.awake() < 0 ||
        loop.abandon() < 0)
        return loop.error();
    return observe(group.ctx()) + group.wait() + call_back(parent, loop) + loop.close();
}

int wire(canopy::context_ref ctx)
{
    char room[8];
    const auto left = canopy::parse_grpc_timeout("1S"), in_ms = canopy::parse_ms_timeout("9");
    const canopy::timeout_text text = canopy::format_grpc_timeout(*left + *in_ms);
    if (!text || canopy::format_ms_timeout(second).error() || text.view().empty())
        return canopy::wire_answered(ctx, 1, canopy::moment::now());
    const auto trace = canopy::traceparent::parse("00");
    if (trace && trace->next() && canopy::traceparent::begin(CANOPY_TRACE_SAMPLED))
        return trace->text().front() + canopy::traceparent{}.flags;
    canopy::context set = canopy::with_baggage(ctx, "key", "value");
    const canopy::context unset = canopy::without_baggage(set, "key");
    std::string_view list = canopy::baggage_of(set);
    if (const auto member = canopy::next_member(list); member && member->key == member->properties)
        return canopy::baggage_decode(member->value, room, sizeof room) +
               canopy::baggage_encode(canopy::baggage_of(unset), room, sizeof room);
    const canopy::wire_policy policy{CANOPY_WIRE_TRACE}, none;
    canopy::wire_in in{policy, canopy::moment::now()};
    if (in.take("baggage", "a=1") == 1 || in.error() != none.ms_zero_is_none)
        return canopy::traceparent_of(canopy::with_wire(ctx, in)) != nullptr;
    const auto sink = [](std::string_view name, std::string_view value) { return name == value; };
    if (canopy::wire_write(ctx, policy, canopy::moment::now(), sink) != 0)
        return 1;
    if (ctx.cause_of() == canopy::wire_cause(14))
        return canopy::grpc_message_encode(ctx.cause_of()->text, room, sizeof room);
    return canopy::wire_status(ctx).grpc_status + canopy::wire_status(ctx).http_status;
}

#if defined(__cpp_lib_jthread)
bool stop(canopy::context_ref parent, std::stop_token token)
{
    auto ctx = canopy::with_stop_token(parent, std::move(token));
    canopy::stop_source_for source{ctx};
    if (!ctx || !source || source.error() || ctx.cancel() || ctx.cancel(closed))
        return ctx.cause_of() == &canopy::stop_requested;
    return source.get_token().stop_requested();
}
#endif

/* gcc warns of the code that it makes itself of one. */
#if defined(__cpp_lib_coroutine) && !defined(WITHOUT_COROUTINES)
struct task {
    struct promise_type {
        task get_return_object()
        {
            return {};
        }
        std::suspend_never initial_suspend() noexcept
        {
            return {};
        }
        std::suspend_never final_suspend() noexcept
        {
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
        }
    };
};

task await(canopy::context_ref ctx, canopy::loop &loop)
{
    co_await canopy::done(ctx, loop);
    static_cast<void>(observe(ctx));
}
#endif

} // namespace

int main()
{
    canopy::loop loop;
#if defined(__cpp_lib_jthread)
    stop(canopy::background(), {});
#endif
#if defined(__cpp_lib_coroutine) && !defined(WITHOUT_COROUTINES)
    await(canopy::background(), loop);
#endif
    canopy::context ctx = canopy::with_cancel(canopy::background());
    return compare(ctx, canopy::moment::now(), canopy::never, 1min) + many(ctx) + token(ctx) +
           root(canopy::moment::now()) + derive(canopy::background()) + run(canopy::background()) +
           wire(ctx) + canopy::with_cancel(canopy::background()).err();
}
