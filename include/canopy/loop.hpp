/*
 * loop.hpp - loops in C++: callbacks on the thread of a loop, and co_await done(ctx,
 * loop) with C++20. What a loop is, and how it is driven, is in loop.h; the conventions
 * are in canopy.hpp.
 */
#ifndef CANOPY_LOOP_HPP
#define CANOPY_LOOP_HPP

#include <canopy/callback.hpp>
#include <canopy/context.hpp>
#include <canopy/loop.h>
#include <canopy/root.hpp>
#include <canopy/time.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

#if __has_include(<version>)
#include <version>
#endif
#if defined(__cpp_lib_coroutine)
#include <coroutine>
#endif

namespace canopy
{

/*
 * A loop of the thread that makes it, which drives `root` if that is not NULL. It must
 * outlast its callbacks: where one is still armed at its end, it stays open for good.
 */
class [[nodiscard]] loop
{
  public:
    /* canopy_loop_init; error() tells how that went. */
    [[nodiscard]] explicit loop(canopy_ctx *root = nullptr) noexcept
        : error_{canopy_loop_init(&loop_, root)}
    {
    }
    /* The same for a root of C++, which must outlast it. */
    [[nodiscard]] explicit loop(root &driven) noexcept : loop{driven.get()}
    {
    }
    loop(const loop &) = delete;
    loop &operator=(const loop &) = delete;
    /* Closes it. */
    ~loop()
    {
        static_cast<void>(close());
    }

    /* 0; or what canopy_loop_init says: then it is a closed loop. */
    [[nodiscard]] int error() const noexcept
    {
        return error_;
    }
    explicit operator bool() const noexcept
    {
        return error_ == 0;
    }

    /* canopy_loop_close. */
    int close()
    {
        return canopy_loop_close(&loop_);
    }

    /* canopy_loop_abandon: closes it although it has callbacks, none of which runs any more. */
    int abandon()
    {
        return canopy_loop_abandon(&loop_);
    }

    /* canopy_loop_fd. */
    [[nodiscard]] int fd() const noexcept
    {
        return canopy_loop_fd(&loop_);
    }

    /* canopy_loop_timeout_ns: how long the loop may sleep from `now` on. */
    [[nodiscard]] std::int64_t timeout_ns(moment now = std::chrono::steady_clock::now()) noexcept
    {
        return canopy_loop_timeout_ns(&loop_, now.ns());
    }

    /* The same as poll takes it: canopy_loop_timeout_ms. */
    [[nodiscard]] int timeout_ms(moment now = std::chrono::steady_clock::now()) noexcept
    {
        return canopy_loop_timeout_ms(timeout_ns(now));
    }

    /* canopy_loop_run: tells it the time and runs what is to be run. */
    int run(moment now = std::chrono::steady_clock::now())
    {
        return canopy_loop_run(&loop_, now.ns());
    }

    /* canopy_loop_run_for: the same for about so long; what there was no time for is next. */
    int run_for(timespan most, moment now = std::chrono::steady_clock::now())
    {
        return canopy_loop_run_for(&loop_, now.ns(), most.ns());
    }

    /* canopy_loop_tell_time: tells it the time and runs nothing. */
    int tell_time(moment now = std::chrono::steady_clock::now()) noexcept
    {
        return canopy_loop_tell_time(&loop_, now.ns());
    }

    /* canopy_loop_awake: it does not sleep, so that its fd need not be written. */
    int awake() noexcept
    {
        return canopy_loop_awake(&loop_);
    }

    /* For the calls of loop.h. */
    canopy_loop *get() noexcept
    {
        return &loop_;
    }

  private:
    canopy_loop loop_{};
    int error_;
};

namespace detail
{

/* Where a loop's callback is added. */
struct on_loop {
    lasting_ref ctx;
    loop &on;
};

class loop_record
{
  public:
    loop_record() noexcept : record_{}
    {
    }

    int add(void (*fn)(void *), void *arg, const on_loop &where)
    {
        return canopy_loop_after_func(where.ctx.get(), where.on.get(), &record_, fn, arg);
    }
    bool stop()
    {
        return canopy_loop_callback_stop(&record_);
    }
    int join()
    {
        return canopy_loop_callback_join(&record_);
    }
    void drop()
    {
        if (!stop())
            canopy_loop_callback_drop(&record_);
    }

  private:
    canopy_loop_callback record_;
};

} // namespace detail

/*
 * Runs a callable F once after `ctx` is done, on the thread of `on` when that runs;
 * otherwise as `callback`, and error() gives -EINVAL for a closed loop, too. On that
 * thread stop() is certain, and the end of the object never waits for the callable; on
 * another thread it may have to wait until the loop has run it.
 */
template <class F>
class [[nodiscard]] loop_callback : public detail::fixed_callback<detail::loop_record, F>
{
  public:
    using callback_type = F; /* as std::stop_callback has it */

    /* Makes the callable of `args` and registers it; error() tells how that went. */
    template <class... Args, std::enable_if_t<detail::is_made_of<F, Args...>(), int> = 0>
    [[nodiscard]] explicit loop_callback(lasting_ref ctx, loop &on, Args &&...args) noexcept(
        std::is_reference_v<F> || std::is_nothrow_constructible_v<F, Args...>)
        : detail::fixed_callback<detail::loop_record, F>{detail::on_loop{ctx, on},
                                                         std::forward<Args>(args)...}
    {
    }
};

/* With a callable that it keeps: a copy of what it is given. */
template <class Handle, class F> loop_callback(Handle &&, loop &, F) -> loop_callback<F>;

/* The same for callables of any type, as any_callback is. */
class any_loop_callback : public detail::erased_callback<detail::loop_record>
{
  public:
    /* Without a callable. */
    any_loop_callback() noexcept
    {
    }

    /* As any_callback::start; -EINVAL also for a closed loop. */
    template <class F, std::enable_if_t<detail::is_made_of<std::decay_t<F>, F>(), int> = 0>
    [[nodiscard]] int start(lasting_ref ctx, loop &on, F &&fn)
    {
        return restart(std::forward<F>(fn), detail::on_loop{ctx, on});
    }
};

#if defined(__cpp_lib_coroutine)

namespace detail
{

/* What co_await done(ctx, loop) waits with. */
class done_awaiter
{
  public:
    done_awaiter(context_ref ctx, loop &on) noexcept
        : ctx_{ctx}, on_{on}, waiting_{}, record_{}, error_{0}
    {
    }
    done_awaiter(const done_awaiter &) = delete;
    done_awaiter &operator=(const done_awaiter &) = delete;
    ~done_awaiter()
    {
        if (waiting_)
            record_.drop();
    }

    [[nodiscard]] bool await_ready() const noexcept
    {
        return ctx_.done();
    }
    bool await_suspend(std::coroutine_handle<> waiting)
    {
        waiting_ = waiting;
        /* Once it is added it may go on at once, on the loop's thread, and this be gone. */
        const int error = record_.add(resume, this, on_loop{ctx_, on_});
        if (error)
            error_ = error;
        return error == 0;
    }
    int await_resume() const noexcept
    {
        return error_ ? error_ : ctx_.err();
    }

  private:
    static void resume(void *self) noexcept
    {
        static_cast<done_awaiter *>(self)->waiting_.resume();
    }

    context_ref ctx_;
    loop &on_;
    std::coroutine_handle<> waiting_;
    loop_record record_;
    int error_;
};

} // namespace detail

/*
 * co_await done(ctx, loop): goes on at once if `ctx` is done; otherwise when it is, on
 * the thread of `on` when that runs. Gives err of the context; or -EINVAL (a closed
 * loop) or -ENOMEM, at once. A coroutine that waits may be destroyed on the thread of
 * the loop, and does not go on then. Nothing is allocated but the coroutine itself.
 */
[[nodiscard]] inline detail::done_awaiter done(context_ref ctx, loop &on) noexcept
{
    return {ctx, on};
}

#endif

} // namespace canopy

#endif
