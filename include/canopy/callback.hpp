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
    int add(void (*fn)(void *), void *arg, context_ref ctx)
    {
        return canopy_after_func(ctx.get(), &record_, fn, arg);
    }
    bool stop()
    {
        return canopy_callback_stop(&record_);
    }
    void drop()
    {
        if (!stop())
            canopy_callback_drop(&record_);
    }

  private:
    canopy_callback record_;
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

  protected:
    template <class... Where>
    explicit fixed_callback(F &&fn, Where &&...where) : fn_(static_cast<F &&>(fn))
    {
        /* What is a word is trivial to move: still there. */
        if constexpr (is_word<F>)
            error_ = record_.add(run_word<F>, to_word(fn), std::forward<Where>(where)...);
        else
            error_ = record_.add(run<F>, std::addressof(fn_), std::forward<Where>(where)...);
    }
    ~fixed_callback()
    {
        record_.drop();
    }

  private:
    Record record_;
    int error_;
    std::conditional_t<is_word<F>, nothing, F> fn_;
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

    /* Takes the callable back and destroys it, as the object's end does. */
    void clear()
    {
        if (fn_)
            record_.drop();
        fn_.clear();
    }

  protected:
    erased_callback() = default;
    ~erased_callback()
    {
        clear();
    }

    template <class F, class... Where> int restart(F &&fn, Where &&...where)
    {
        clear();
        void *const callable = fn_.emplace(std::forward<F>(fn));
        if (!callable)
            return -ENOMEM;
        /* Once it is added it may run at any time, and end this object. */
        const int error =
            record_.add(run<std::decay_t<F>>, callable, std::forward<Where>(where)...);
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
 * Runs fn() once when `ctx` is done, where and after what canopy_after_func says; if it
 * is done already, before the constructor returns. The callable lies in the object:
 * nothing is allocated for it.
 *
 * error() gives 0, or -EINVAL (an empty handle) or -ENOMEM: then it is not registered.
 * stop() gives true if fn has not run and never will; it never blocks.
 */
template <class F> class callback : public detail::fixed_callback<detail::direct_record, F>
{
  public:
    /* Registers fn; error() tells how that went. */
    callback(context_ref ctx, F fn)
        : detail::fixed_callback<detail::direct_record, F>{std::move(fn), ctx}
    {
    }
};

/*
 * The same for callables of any type, one after the other: for members of classes. Only
 * one of more than 48 bytes, or aligned to more than std::max_align_t, is allocated.
 * stop() is as above; clear() takes the callable back and destroys it, as the end of the
 * object does.
 */
class any_callback : public detail::erased_callback<detail::direct_record>
{
  public:
    /* Without a callable. */
    any_callback() // NOLINT(clang-analyzer-optin.cplusplus.UninitializedObject): start does that
    {
    }

    /*
     * Takes the former callable back and registers fn. 0, or -EINVAL (an empty handle)
     * or -ENOMEM: then there is none.
     */
    template <class F> [[nodiscard]] int start(context_ref ctx, F &&fn)
    {
        return restart(std::forward<F>(fn), ctx);
    }
};

} // namespace canopy

#endif
