/*
 * callback.hpp - callbacks of a context from any callable, registered as long as an
 * object lasts, as std::stop_callback is. The conventions are in canopy.hpp.
 *
 * An object's end takes its callable back: that has run then, or never will. Where it
 * runs on another thread the end waits for that. It may be the callable that ends the
 * object, or another one that the same thread runs before; it must not use afterwards
 * what it has captured.
 */
#ifndef CANOPY_CALLBACK_HPP
#define CANOPY_CALLBACK_HPP

#include <canopy/callable.hpp>
#include <canopy/context.hpp>

#include <cerrno>
#include <memory>
#include <type_traits>
#include <utility>

namespace canopy
{

namespace detail
{

/* How a callable gets to run: on whoever ends the context. loop.hpp has another. */
class direct_record
{
  public:
    direct_record() noexcept // NOLINT(clang-analyzer-optin.cplusplus.UninitializedObject)
    {
    }

    int add(void (*fn)(void *), void *arg, lasting_ref ctx)
    {
        return canopy_after_func(ctx.get(), record_, fn, arg);
    }
    bool stop()
    {
        return canopy_callback_stop(record_);
    }
    int join()
    {
        return canopy_callback_join(record_);
    }
    void drop()
    {
        if (!stop())
            canopy_callback_drop(record_);
    }

  protected:
    canopy_callback record_[1]; /* not initialised, which nobody asks of an array */
};

/* On the library's worker thread, in any case. */
class async_record : public direct_record
{
  public:
    int add(void (*fn)(void *), void *arg, lasting_ref ctx)
    {
        return canopy_after_func_async(ctx.get(), record_, fn, arg);
    }
};

/* A callable in place, registered from here to its end. */
template <class Record, class F> class fixed_callback
{
  public:
    fixed_callback(const fixed_callback &) = delete;
    fixed_callback &operator=(const fixed_callback &) = delete;

    /* 0; or -EINVAL (an empty handle) or -ENOMEM: then it is not registered. */
    [[nodiscard]] int error() const noexcept
    {
        return error_;
    }
    explicit operator bool() const noexcept
    {
        return error_ == 0;
    }

    /* True: the callable has not run and never will. */
    bool stop()
    {
        return record_.stop();
    }

    /*
     * 0 once the callable is not running and not bound to run: so after a stop that
     * gave false it waits for its end. -EDEADLK where that would be for itself.
     */
    int join()
    {
        return record_.join();
    }

  protected:
    /* Makes the callable of `args`, in place. */
    template <class Where, class... Args>
    explicit fixed_callback(const Where &where,
                            Args &&...args) noexcept(std::is_reference_v<F> ||
                                                     std::is_nothrow_constructible_v<F, Args...>)
        : record_(), fn_(std::forward<Args>(args)...),
          // NOLINTNEXTLINE(bugprone-use-after-move): what is kept in fn_, add does not take
          error_(add(where, std::forward<Args>(args)...))
    {
    }
    ~fixed_callback()
    {
        record_.drop();
    }

  private:
    /* Nothing has been made of the arguments yet where nothing is kept here. */
    template <class Where, class... Args> int add(const Where &where, Args &&...args)
    {
        using target = std::remove_reference_t<F>;
        if constexpr (is_word<F>)
            return record_.add(run_word<F>, to_word<F>(F(std::forward<Args>(args)...)), where);
        else if constexpr (std::is_object_v<F>)
            return record_.add(run<F>, address(fn_), where);
        else if constexpr (std::is_function_v<target>)
            return record_.add(run_word<target *>, to_word<target *>(args...), where);
        else
            return record_.add(run<F>, address<target>(args...), where);
    }

    Record record_;
    std::conditional_t<std::is_object_v<F> && !is_word<F>, F, nothing> fn_;
    int error_;
};

/* A callable of any type, one after the other. */
template <class Record> class erased_callback
{
  public:
    erased_callback(const erased_callback &) = delete;
    erased_callback &operator=(const erased_callback &) = delete;

    /* True: the callable has not run and never will. */
    bool stop()
    {
        return fn_ && record_.stop();
    }

    /* 0 once the callable is not running and not bound to run; as callback::join. */
    int join()
    {
        return fn_ ? record_.join() : 0;
    }

    /* Takes the callable back and destroys it, as the object's end does. */
    void clear()
    {
        if (fn_)
            record_.drop();
        fn_.clear();
    }

  protected:
    erased_callback() noexcept : record_(), fn_()
    {
    }
    ~erased_callback()
    {
        clear();
    }

    template <class F, class Where> int restart(F &&fn, const Where &where)
    {
        clear();
        void *const callable = fn_.emplace(std::forward<F>(fn));
        if (!callable)
            return -ENOMEM;
        /* Once it is added it may run at any time, and end this object. */
        const int error = record_.add(run<std::decay_t<F>>, callable, where);
        if (error)
            fn_.clear();
        return error;
    }

  private:
    Record record_;
    any_callable fn_;
};

} // namespace detail

/*
 * Runs a callable F once when `ctx` is done, where and after what canopy_after_func says;
 * if it is done already, before the constructor returns. F is what std::stop_callback
 * takes: whatever can be called without arguments, as an rvalue if it can be; it need
 * not be movable, and may be const. It lies in the object, and nothing is allocated for
 * it. Of an F & the object keeps the address alone.
 *
 * error() gives 0, or -EINVAL (an empty handle) or -ENOMEM: then it is not registered.
 * stop() gives true if fn has not run and never will; it does not wait for fn.
 */
template <class F>
class [[nodiscard]] callback : public detail::fixed_callback<detail::direct_record, F>
{
  public:
    using callback_type = F; /* as std::stop_callback has it */

    /* Makes the callable of `args` and registers it; error() tells how that went. */
    template <class... Args, std::enable_if_t<detail::is_made_of<F, Args...>(), int> = 0>
    [[nodiscard]] explicit callback(lasting_ref ctx, Args &&...args) noexcept(
        std::is_reference_v<F> || std::is_nothrow_constructible_v<F, Args...>)
        : detail::fixed_callback<detail::direct_record, F>{ctx, std::forward<Args>(args)...}
    {
    }
};

/* With a callable that it keeps: a copy of what it is given. */
template <class Handle, class F> callback(Handle &&, F) -> callback<F>;

/*
 * The same on the library's worker thread, in any case: never on who constructs it, nor on
 * who cancels (canopy_after_func_async). error() may also give -EAGAIN: that thread cannot
 * be had.
 */
template <class F>
class [[nodiscard]] async_callback : public detail::fixed_callback<detail::async_record, F>
{
  public:
    using callback_type = F; /* as std::stop_callback has it */

    /* Makes the callable of `args` and registers it; error() tells how that went. */
    template <class... Args, std::enable_if_t<detail::is_made_of<F, Args...>(), int> = 0>
    [[nodiscard]] explicit async_callback(lasting_ref ctx, Args &&...args) noexcept(
        std::is_reference_v<F> || std::is_nothrow_constructible_v<F, Args...>)
        : detail::fixed_callback<detail::async_record, F>{ctx, std::forward<Args>(args)...}
    {
    }
};

/* With a callable that it keeps: a copy of what it is given. */
template <class Handle, class F> async_callback(Handle &&, F) -> async_callback<F>;

/*
 * Callables of any type, one after the other, run as callback's: for members of classes. Only
 * one of more than 48 bytes, or aligned to more than std::max_align_t, is allocated.
 * stop() and join() are as above; clear() takes the callable back and destroys it, as the
 * end of the object does.
 */
class any_callback : public detail::erased_callback<detail::direct_record>
{
  public:
    /* Without a callable. */
    any_callback() noexcept
    {
    }

    /*
     * Takes the former callable back and registers fn. 0, or -EINVAL (an empty handle)
     * or -ENOMEM: then there is none.
     */
    template <class F, std::enable_if_t<detail::is_made_of<std::decay_t<F>, F>(), int> = 0>
    [[nodiscard]] int start(lasting_ref ctx, F &&fn)
    {
        return restart(std::forward<F>(fn), ctx);
    }
};

} // namespace canopy

#endif
