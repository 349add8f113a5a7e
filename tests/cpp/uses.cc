/*
 * uses.cc - every public name, used once, as a program may: must compile without a
 * warning under the strictest of flags, by any compiler and standard.
 */
#include <canopy/canopy.hpp>

#include <cerrno>
#include <chrono>
#include <memory>
#include <ratio>
#include <utility>

namespace
{

using namespace std::chrono_literals;
using std::chrono::duration;

struct user {
    int id;
};

constexpr canopy::cause closed{-EPIPE, "closed"};
constexpr canopy::key<const user> user_key{"user"};
constexpr canopy::key<std::unique_ptr<user>> owned_key{"owned user"};

int observe(canopy::context_ref ctx)
{
    const user *who = ctx.value(user_key);
    user *owned = ctx.value(owned_key);
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
    canopy::context apart = canopy::without_cancel(owned);
    canopy::context any = canopy::with_any(timed[0], timed[1], canopy::background());
    canopy::context signalled = canopy::with_signals(canopy::todo(), {1, 2});
    canopy::shared_context kept{named}, adopted{std::move(any)}, copied = kept;
    timed[0].set_deadline(canopy::never);
    if (timed[1].cancel() || timed[2].cancel(closed) || timed[3].try_reset())
        canopy::context{timed[4].release()}.cancel();
    return observe(ctx) + observe(owned) + observe(copied) + observe(adopted) +
           canopy::wait_any(canopy::never, ctx, apart, signalled);
}

int call_back(canopy::context_ref ctx, canopy::loop &loop)
{
    int runs = 0;
    canopy::callback callback{ctx, [&runs] { runs++; }};
    canopy::loop_callback on_loop{ctx, loop, [&runs] { return runs++; }};
    canopy::any_callback any;
    canopy::any_loop_callback any_on_loop;
    if (!callback || any.start(ctx, [&runs] { runs++; }) != 0 || any.stop())
        any.clear();
    if (!on_loop || any_on_loop.start(ctx, loop, [&runs] { runs++; }) != 0 || any_on_loop.stop())
        any_on_loop.clear();
    return callback.error() + on_loop.error() + callback.stop() + on_loop.stop();
}

int run(canopy::context_ref parent)
{
    canopy::loop loop;
    canopy::group group{parent, 2};
    if (!group || group.go([](canopy::context_ref ctx) { return ctx.err(); }) != 0)
        return group.error();
    if (!loop || loop.fd() < 0 || loop.timeout_ns() < 0 || loop.timeout_ms() < 0 ||
        loop.run() < 0 || loop.tell_time() < 0)
        return loop.error();
    return observe(group.ctx()) + group.wait() + call_back(parent, loop) + loop.close();
}

#if defined(__cpp_lib_jthread)
bool stop(canopy::context_ref parent, std::stop_token token)
{
    auto ctx = canopy::with_stop_token(parent, token);
    canopy::stop_source_for source{ctx};
    if (!ctx || !source || source.error() || ctx.cancel() || ctx.cancel(closed))
        return ctx.cause_of() == &canopy::stop_requested;
    return source.get_token().stop_requested();
}
#endif

#if defined(__cpp_lib_coroutine)
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
#if defined(__cpp_lib_coroutine)
    await(canopy::background(), loop);
#endif
    return derive(canopy::background()) + run(canopy::background()) +
           canopy::with_cancel(canopy::background()).err();
}
