/*
 * context.hpp - contexts in C++: causes and keys; what can be seen of a context, who owns
 * it, and how others are derived from it. The conventions are in canopy.hpp.
 */
#ifndef CANOPY_CONTEXT_HPP
#define CANOPY_CONTEXT_HPP

#include <canopy/canopy.h>
#include <canopy/time.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace canopy
{

/* ------------------------------------------------------------ causes, keys */

/*
 * A cause that remembers its place, for `static constexpr canopy::cause closed{-EPIPE,
 * "closed"};` anywhere. Identity is the address: compare with what cause_of returns. A
 * cause handed to canopy must outlive every context that may report it.
 */
struct cause : canopy_cause {
    /* Of the line where it stands. */
    constexpr cause(int code_, const char *text_, const char *file_ = __builtin_FILE(),
                    int line_ = __builtin_LINE()) noexcept
        : canopy_cause{code_, text_, file_, line_}
    {
    }
    cause(const cause &) = delete;
    cause &operator=(const cause &) = delete;
};

/*
 * What a value of type T is bound to; the value stays the caller's. Identity is the
 * address: define keys `static constexpr` or `inline constexpr`.
 */
template <class T> class key
{
  public:
    using element = T;    /* what a value is */
    using borrowed = T *; /* how it is handed in */

    /* `name` is for people. */
    constexpr explicit key(const char *name) noexcept : key_{name, nullptr}
    {
    }
    key(const key &) = delete;
    key &operator=(const key &) = delete;

    /* For the calls of canopy.h. */
    constexpr const canopy_key *get() const noexcept
    {
        return &key_;
    }

  private:
    canopy_key key_;
};

/*
 * What an owned value of type T is bound to: the binding takes it over, and Deleter gets
 * it after the last reference, on whichever thread drops that, or one of the library's.
 */
template <class T, class Deleter> class key<std::unique_ptr<T, Deleter>>
{
  public:
    using element = T;                         /* what a value is */
    using owner = std::unique_ptr<T, Deleter>; /* how it is handed in */
    static_assert(std::is_same_v<typename owner::pointer, T *>, "owned by a plain pointer");
    static_assert(std::is_empty_v<Deleter> && std::is_default_constructible_v<Deleter>,
                  "only the value is kept, not its deleter");

    /* `name` is for people. */
    constexpr explicit key(const char *name) noexcept : key_{name, destroy}
    {
    }
    key(const key &) = delete;
    key &operator=(const key &) = delete;

    /* For the calls of canopy.h. */
    constexpr const canopy_key *get() const noexcept
    {
        return &key_;
    }

  private:
    static void destroy(void *value) noexcept
    {
        owner{static_cast<T *>(value)};
    }

    canopy_key key_;
};

/* ---------------------------------------------------------------- observe */

/* What any handle can do with its context. All but the last one: not on an empty handle. */
template <class Handle> class observer
{
  public:
    /* 0 while live, else -ECANCELED or -ETIMEDOUT. Wait-free, as all that do not wait. */
    [[nodiscard]] int err() const noexcept
    {
        return canopy_err(raw());
    }

    /* True once the context has ended. */
    [[nodiscard]] bool done() const noexcept
    {
        return canopy_done(raw());
    }

    /* NULL while live, else why it ended; valid as long as the context is. */
    [[nodiscard]] const canopy_cause *cause_of() const noexcept
    {
        return canopy_cause_of(raw());
    }

    /* The effective deadline, if there is one. O(depth). */
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept
    {
        std::int64_t deadline_ns;
        if (!canopy_deadline(raw(), &deadline_ns))
            return std::nullopt;
        return moment::from_ns(deadline_ns);
    }

    /* err as it would be at `now`: also -ETIMEDOUT if the deadline is not after it. */
    [[nodiscard]] int err_at(moment now) const noexcept
    {
        return canopy_err_at(raw(), now.ns());
    }

    /* The value that the nearest layer binds to `key`, or NULL. O(depth). */
    template <class T>
    [[nodiscard]] typename key<T>::element *value(const key<T> &of) const noexcept
    {
        return static_cast<typename key<T>::element *>(canopy_value(raw(), of.get()));
    }

    /* The same, but nullopt where nothing is bound, NULL where NULL is. */
    template <class T>
    [[nodiscard]] std::optional<typename key<T>::element *> lookup(const key<T> &of) const noexcept
    {
        void *value;
        if (!canopy_lookup(raw(), of.get(), &value))
            return std::nullopt;
        return static_cast<typename key<T>::element *>(value);
    }

    /* An eventfd, the context's, that is readable once it is done; or a negative errno. */
    [[nodiscard]] int done_fd() const noexcept
    {
        return canopy_done_fd(raw());
    }

    /* Waits until the context is done (true) or it is `until` (false). */
    bool wait(moment until = never) const
    {
        return canopy_wait(raw(), until.ns());
    }

    /* The same for so long; negative and 0: whether it is done. */
    bool wait_for(timespan timeout) const
    {
        return canopy_sleep(raw(), timeout.ns()) != 0;
    }

    /* Sleeps for so long: 0 when it slept it all, else err. */
    int sleep(timespan duration) const
    {
        return canopy_sleep(raw(), duration.ns());
    }

    /* Waits until nothing derived from it has memory: 0, or -ETIME at `until`. */
    int wait_idle(moment until = never) const
    {
        return canopy_wait_idle(raw(), until.ns());
    }

    /* Whether the handle has a context. */
    explicit operator bool() const noexcept
    {
        return raw() != nullptr;
    }

  protected:
    ~observer() = default;

  private:
    const canopy_ctx *raw() const noexcept
    {
        return static_cast<const Handle *>(this)->get();
    }
};

/*
 * A borrowed context: what a function takes that must not cancel its caller. It is a
 * pointer, and as valid as the context is. Other handles become one, unless they are
 * just about to go.
 */
class context_ref : public observer<context_ref>
{
  public:
    /* From C. */
    constexpr context_ref(const canopy_ctx *ctx) noexcept : ctx_{ctx}
    {
    }

    /* For the calls of canopy.h. */
    constexpr const canopy_ctx *get() const noexcept
    {
        return ctx_;
    }

  private:
    const canopy_ctx *ctx_;
};

/* canopy_background: the context that is never done. */
inline context_ref background() noexcept
{
    return canopy_background();
}

/* canopy_todo: the same, where it is not decided yet which context to take. */
inline context_ref todo() noexcept
{
    return canopy_todo();
}

/*
 * Waits until one of the contexts is done: which one, from 0 (the lowest that is), or
 * -ETIME at `until`.
 */
template <class... Handles> int wait_any(moment until, context_ref first, Handles &&...rest)
{
    const canopy_ctx *const ctxs[] = {first.get(),
                                      context_ref(std::forward<Handles>(rest)).get()...};
    return canopy_wait_any(ctxs, 1 + sizeof...(rest), until.ns());
}

/* -------------------------------------------------------------------- own */

/* A handle that holds a reference: it lends that as long as it lasts. */
template <class Handle> class lender : public observer<Handle>
{
  public:
    /* Borrows; not from a handle that is just about to go. */
    operator context_ref() const &noexcept
    {
        return static_cast<const Handle *>(this)->get();
    }
    operator context_ref() const && = delete;

  protected:
    ~lender() = default;
};

/*
 * An owned context: empty, or with one reference. Where it ends, by scope or by
 * assignment, the context is cancelled and let go (canopy_end). Only through it can the
 * context be cancelled or its deadline moved, and not through a const one.
 */
class [[nodiscard]] context : public lender<context>
{
  public:
    constexpr context() noexcept = default;

    /* Takes over the reference of `ctx`. */
    explicit constexpr context(canopy_ctx *ctx) noexcept : ctx_{ctx}
    {
    }
    /* `from` is empty then. */
    context(context &&from) noexcept : ctx_{from.release()}
    {
    }
    /* Ends what was there. */
    context &operator=(context &&from) noexcept
    {
        const context ends{std::exchange(ctx_, from.release())};
        return *this;
    }
    /* canopy_end. */
    ~context()
    {
        if (ctx_)
            canopy_end(ctx_);
    }

    /* For the calls of canopy.h; NULL of an empty one. */
    canopy_ctx *get() noexcept
    {
        return ctx_;
    }
    /* The same of a constant one: borrowed. */
    const canopy_ctx *get() const noexcept
    {
        return ctx_;
    }

    /* Gives the reference up to the caller, and is empty. */
    [[nodiscard]] canopy_ctx *release() noexcept
    {
        return std::exchange(ctx_, nullptr);
    }

    /* canopy_cancel: true if it is this call that ended it. False on an empty one. */
    bool cancel()
    {
        return canopy_cancel(ctx_);
    }

    /* The same with a cause. */
    bool cancel(const canopy_cause &cause)
    {
        return canopy_cancel_cause(ctx_, &cause);
    }
    bool cancel(const canopy_cause &&) = delete;

    /* Moves the deadline either way; `never` takes it away. False once done, and if empty. */
    bool set_deadline(moment deadline)
    {
        return canopy_set_deadline(ctx_, deadline.ns());
    }

    /* canopy_try_reset: makes it what with_cancel made it, where that may be. */
    bool try_reset()
    {
        return canopy_try_reset(ctx_);
    }

  private:
    canopy_ctx *ctx_ = nullptr;
};

/*
 * A reference that cannot cancel, and whose end cancels nothing: for who may need a
 * context longer than its owner does. Empty, or with one reference; a copy takes its own.
 */
class shared_context : public lender<shared_context>
{
  public:
    constexpr shared_context() noexcept = default;

    /* Takes a reference of its own. */
    explicit shared_context(context_ref ctx) noexcept : ctx_{canopy_retain(ctx.get())}
    {
    }

    /* In the place of its owner: the context lives on until something else ends it. */
    explicit shared_context(context &&owner) noexcept : ctx_{owner.release()}
    {
    }
    /* One more reference. */
    shared_context(const shared_context &from) noexcept : ctx_{canopy_retain(from.ctx_)}
    {
    }
    /* `from` is empty then. */
    shared_context(shared_context &&from) noexcept : ctx_{std::exchange(from.ctx_, nullptr)}
    {
    }
    /* Lets go of what was there. */
    shared_context &operator=(shared_context from) noexcept
    {
        std::swap(ctx_, from.ctx_);
        return *this;
    }
    /* canopy_release. */
    ~shared_context()
    {
        if (ctx_)
            canopy_release(ctx_);
    }

    /* For the calls of canopy.h; NULL of an empty one. */
    const canopy_ctx *get() const noexcept
    {
        return ctx_;
    }

  private:
    const canopy_ctx *ctx_ = nullptr;
};

/* ----------------------------------------------------------------- derive */

/*
 * Each derives a child of `parent`, as the call of the same name in canopy.h: born done
 * if the parent is, and empty, with errno, if there can be none.
 */

/* A child that can be cancelled. */
inline context with_cancel(context_ref parent) noexcept
{
    return context{canopy_with_cancel(parent.get())};
}

/* A child that ends with -ETIMEDOUT at `deadline`. */
inline context with_deadline(context_ref parent, moment deadline) noexcept
{
    return context{canopy_with_deadline(parent.get(), deadline.ns())};
}

/* A child that ends with -ETIMEDOUT after `timeout`; born done unless that is above 0. */
inline context with_timeout(context_ref parent, timespan timeout) noexcept
{
    return context{canopy_with_timeout(parent.get(), timeout.ns())};
}

/* As above, with a cause to report on expiry. */
inline context with_deadline(context_ref parent, moment deadline,
                             const canopy_cause &cause) noexcept
{
    return context{canopy_with_deadline_cause(parent.get(), deadline.ns(), &cause)};
}
inline context with_timeout(context_ref parent, timespan timeout,
                            const canopy_cause &cause) noexcept
{
    return context{canopy_with_timeout_cause(parent.get(), timeout.ns(), &cause)};
}
context with_deadline(context_ref, moment, const canopy_cause &&) = delete;
context with_timeout(context_ref, timespan, const canopy_cause &&) = delete;

/* A layer that binds `key` to `value`, which outlives it and all that is derived from it. */
template <class T>
context with_value(context_ref parent, const key<T> &to, typename key<T>::borrowed value) noexcept
{
    void *const bare = const_cast<std::remove_cv_t<T> *>(value);
    return context{canopy_with_value(parent.get(), to.get(), bare)};
}

/* The same, and owns the value from now on; on failure that stays the caller's. */
template <class T, class Deleter>
context with_value(context_ref parent, const key<std::unique_ptr<T, Deleter>> &to,
                   typename key<std::unique_ptr<T, Deleter>>::owner &&value) noexcept
{
    void *const bare = const_cast<std::remove_cv_t<T> *>(value.get());
    context layer{canopy_with_value(parent.get(), to.get(), bare)};
    if (layer)
        static_cast<void>(value.release());
    return layer;
}
template <class T, class Value> context with_value(context_ref, const key<T> &&, Value &&) = delete;

/* A layer that keeps the values of its parent and nothing else. */
inline context without_cancel(context_ref parent) noexcept
{
    return context{canopy_without_cancel(parent.get())};
}

/* Done when any of the inputs is; values come from the first. */
template <class... Handles> context with_any(context_ref first, Handles &&...rest) noexcept
{
    const canopy_ctx *const parents[] = {first.get(),
                                         context_ref(std::forward<Handles>(rest)).get()...};
    return context{canopy_with_any(parents, 1 + sizeof...(rest))};
}

/* A child that is done when one of `signals` arrives; the cause's code is its number. */
inline context with_signals(context_ref parent, std::initializer_list<int> signals) noexcept
{
    return context{canopy_with_signals(parent.get(), signals.begin(), signals.size())};
}

} // namespace canopy

#endif
