/*
 * context.hpp - contexts in C++: causes and keys; what can be seen of a context, who owns
 * it, and how others are derived from it. The conventions are in canopy.hpp.
 */
#ifndef CANOPY_CONTEXT_HPP
#define CANOPY_CONTEXT_HPP

#include <canopy/canopy.h>
#include <canopy/debug.h>
#include <canopy/time.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

/* Tells a compiler that knows it that what is returned is no longer valid than the object. */
#if defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::lifetimebound)
#define CANOPY_LIFETIMEBOUND [[clang::lifetimebound]]
#endif
#endif
#ifndef CANOPY_LIFETIMEBOUND
#define CANOPY_LIFETIMEBOUND
#endif

namespace canopy
{

/* ------------------------------------------------------------ causes, keys */

/*
 * A cause that remembers its place, for `inline constexpr canopy::cause closed{-EPIPE,
 * "closed"};`. Identity is the address: compare with what cause_of returns. In a header
 * it has to be `inline`: with `static` or `constexpr` alone each source file that
 * includes it has another cause. A cause handed to canopy must outlive every context
 * that may report it.
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

/* How a cause is handed in: itself, or as a pointer to it; not one that is about to go. */
class cause_ref
{
  public:
    /* It must outlive every context that may report it. */
    constexpr cause_ref(const canopy_cause &cause) noexcept : cause_{std::addressof(cause)}
    {
    }
    cause_ref(const canopy_cause &&) = delete;
    /* As CANOPY_CANCELED and CANOPY_CAUSE give it; NULL: the default. */
    constexpr cause_ref(const canopy_cause *cause) noexcept : cause_{cause}
    {
    }

    /* For the calls of canopy.h. */
    constexpr const canopy_cause *get() const noexcept
    {
        return cause_;
    }

  private:
    const canopy_cause *cause_;
};

/* canopy_cause_signal: the number of the signal that the cause stands for, or 0. */
[[nodiscard]] inline int cause_signal(cause_ref cause) noexcept
{
    return canopy_cause_signal(cause.get());
}

/*
 * What a value of type T is bound to; the value stays the caller's. Identity is the
 * address: define keys `inline constexpr`, in headers and elsewhere. In a header `static
 * constexpr`, or `constexpr` alone, makes another key in each source file that includes
 * it, and who looks with one finds nothing of what is bound to the other.
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
 * What an owned value of type T, or an array of them (T is U[] then), is bound to: the
 * binding takes it over, and Deleter gets it after the last reference, on whichever
 * thread drops that, or one of the library's.
 */
template <class T, class Deleter> class key<std::unique_ptr<T, Deleter>>
{
  public:
    using element = std::remove_extent_t<T>;   /* what a value is, or the first of them */
    using owner = std::unique_ptr<T, Deleter>; /* how it is handed in */
    static_assert(std::is_same_v<typename owner::pointer, element *>, "owned by a plain pointer");
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
        owner{static_cast<element *>(value)};
    }

    canopy_key key_;
};

/*
 * What a share in a value of type T is bound to: a look gives a pointer to that share,
 * to use or to copy. It goes after the last reference, as an owned value does.
 */
template <class T> class key<std::shared_ptr<T>>
{
  public:
    using element = const std::shared_ptr<T>; /* what a value is */
    using share = std::shared_ptr<T>;         /* how it is handed in */

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
        delete static_cast<share *>(value);
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
    observer() = default;
    observer(const observer &) = default;
    observer &operator=(const observer &) = default;
    ~observer() = default;

  private:
    const canopy_ctx *raw() const noexcept
    {
        return static_cast<const Handle *>(this)->get();
    }
};

/*
 * A borrowed context: what a function takes that must not cancel its caller. It is a
 * pointer, and as valid as the context is; empty, a NULL. Other handles become one, also
 * one that goes at the end of the statement, as in `f(with_timeout(ctx, 1s))`: the
 * context is there until f has returned. Where a context_ref is kept longer than a
 * parameter is, that is a mistake: clang warns, and a debug build of the library tells.
 * What keeps hold of a context itself takes a lasting_ref, which is refused there.
 */
class context_ref : public observer<context_ref>
{
  public:
    /* Empty. */
    constexpr context_ref() noexcept = default;

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
    const canopy_ctx *ctx_ = nullptr;
};

/* Whether two handles are of the same context, or both empty. */
constexpr bool operator==(context_ref a, context_ref b) noexcept
{
    return a.get() == b.get();
}
/* The contrary. */
constexpr bool operator!=(context_ref a, context_ref b) noexcept
{
    return a.get() != b.get();
}

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

/* -------------------------------------------------------------------- own */

/* A handle that holds a reference: it lends that as long as it lasts. */
template <class Handle> class lender : public observer<Handle>
{
  public:
    /* Borrows; from a handle that is about to go for as long as that is there. */
    operator context_ref() const &noexcept
    {
        return static_cast<const Handle *>(this)->get();
    }
    operator context_ref() const &&noexcept CANOPY_LIFETIMEBOUND
    {
        return static_cast<const Handle *>(this)->get();
    }

  protected:
    lender() = default;
    lender(const lender &) = default;
    lender &operator=(const lender &) = default;
    ~lender() = default;
};

/* A handle that can end its context, unless it is constant. */
template <class Handle> class owner : public lender<Handle>
{
  public:
    /* canopy_cancel: true if it is this call that ended it. False on an empty one. */
    bool cancel()
    {
        return canopy_cancel(raw());
    }

    /* The same with a cause. */
    bool cancel(cause_ref cause)
    {
        return canopy_cancel_cause(raw(), cause.get());
    }

    /*
     * canopy_set_deadline: moves the deadline either way; `never` takes it away. False
     * once done, and if empty.
     */
    bool set_deadline(moment deadline)
    {
        return canopy_set_deadline(raw(), deadline.ns());
    }

    /* The same to so long from now, by the clock of its root: canopy_set_timeout. */
    bool set_timeout(timespan timeout)
    {
        return canopy_set_timeout(raw(), timeout.ns());
    }

  protected:
    owner() = default;
    owner(const owner &) = default;
    owner &operator=(const owner &) = default;
    ~owner() = default;

  private:
    canopy_ctx *raw() noexcept
    {
        return static_cast<Handle *>(this)->get();
    }
};

/*
 * An owned context: empty, or with one reference. Where it ends, by scope or by
 * assignment, the context is cancelled and let go (canopy_end). Only through it can the
 * context be cancelled or its deadline moved, and not through a const one.
 */
class [[nodiscard]] context : public owner<context>
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
    context(const context &) = delete;
    /* Ends what was there. */
    context &operator=(context &&from) noexcept
    {
        const context ends{std::exchange(ctx_, from.release())};
        return *this;
    }
    context &operator=(const context &) = delete;
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

    /* canopy_try_reset: makes it what with_cancel made it, where that may be. */
    [[nodiscard]] bool try_reset()
    {
        return canopy_try_reset(ctx_);
    }

  private:
    canopy_ctx *ctx_ = nullptr;
};

/*
 * One of several owners, as a std::stop_source is: each copy holds a reference and can
 * cancel, and its end cancels nothing. Empty, or with one reference.
 */
class [[nodiscard]] shared_owner : public owner<shared_owner>
{
  public:
    constexpr shared_owner() noexcept = default;

    /* In the place of its owner: the context lives on until something ends it. */
    [[nodiscard]] explicit shared_owner(context &&sole) noexcept : ctx_{sole.release()}
    {
    }
    /* Beside its owner, whose end still ends the context. */
    [[nodiscard]] explicit shared_owner(context &beside) noexcept : ctx_{beside.get()}
    {
        canopy_retain(ctx_);
    }
    /* One more reference. */
    shared_owner(const shared_owner &from) noexcept : owner{from}, ctx_{from.ctx_}
    {
        canopy_retain(ctx_);
    }
    /* `from` is empty then. */
    shared_owner(shared_owner &&from) noexcept : ctx_{std::exchange(from.ctx_, nullptr)}
    {
    }
    /* Lets go of what was there. */
    shared_owner &operator=(shared_owner from) noexcept
    {
        std::swap(ctx_, from.ctx_);
        return *this;
    }
    /* canopy_release. */
    ~shared_owner()
    {
        if (ctx_)
            canopy_release(ctx_);
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

  private:
    canopy_ctx *ctx_ = nullptr;
};

/*
 * A reference that cannot cancel, and whose end cancels nothing: for who may need a
 * context longer than its owner does. Empty, or with one reference; a copy takes its own.
 */
class [[nodiscard]] shared_context : public lender<shared_context>
{
  public:
    constexpr shared_context() noexcept = default;

    /* Takes a reference of its own. */
    [[nodiscard]] explicit shared_context(context_ref ctx) noexcept : ctx_{canopy_retain(ctx.get())}
    {
    }

    /* In the place of its owner: the context lives on until something else ends it. */
    [[nodiscard]] explicit shared_context(context &&owner) noexcept : ctx_{owner.release()}
    {
    }
    /* One more reference. */
    shared_context(const shared_context &from) noexcept
        : lender{from}, ctx_{canopy_retain(from.ctx_)}
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

/* ----------------------------------------------------------------- keep hold */

namespace detail
{

template <class Handle> std::true_type lends(const volatile lender<Handle> *);
std::false_type lends(const volatile void *);

/* Whether it holds a reference that it lends. */
template <class T>
inline constexpr bool is_lender =
    decltype(lends(static_cast<std::remove_reference_t<T> *>(nullptr)))::value;

/* Whether it borrows, or is what one can borrow from. */
template <class T> inline constexpr bool is_handle = std::is_convertible_v<T, context_ref>;

/* Whether it lends, and goes at the end of the statement. */
template <class T> inline constexpr bool is_going = !std::is_lvalue_reference_v<T> && is_lender<T>;

} // namespace detail

/*
 * How what keeps hold of a context beyond the call takes it (children, callbacks,
 * groups): as a context_ref, but not from a handle that is just about to go.
 */
class lasting_ref
{
  public:
    /* From whatever a context_ref is made from. */
    template <class From,
              std::enable_if_t<detail::is_handle<From> && !detail::is_going<From>, int> = 0>
    constexpr lasting_ref(From &&from) noexcept
        : ctx_{static_cast<context_ref>(std::forward<From>(from))}
    {
    }
    template <class From, std::enable_if_t<detail::is_going<From>, bool> = true>
    lasting_ref(From &&) = delete;

    /* For the calls of canopy.h. */
    constexpr const canopy_ctx *get() const noexcept
    {
        return ctx_.get();
    }
    /* What it is. */
    constexpr operator context_ref() const noexcept
    {
        return ctx_;
    }

  private:
    context_ref ctx_;
};

namespace detail
{

/*
 * The place of the caller, for the library's debug build (debug.h), where the source
 * file is compiled with -DCANOPY_DEBUG. Elsewhere other types stand in the same places,
 * and so other functions have their names: no two source files give one function two
 * bodies.
 */
#if defined(CANOPY_DEBUG)

class place
{
  public:
    static constexpr place here(const char *file = __builtin_FILE(),
                                int line = __builtin_LINE()) noexcept
    {
        return place{file, line};
    }
    canopy_ctx *made(canopy_ctx *ctx) const noexcept
    {
        return canopy_debug_made(ctx, file_, line_);
    }

  private:
    constexpr place(const char *file, int line) noexcept : file_{file}, line_{line}
    {
    }

    const char *file_;
    int line_;
};

/* With the place where it is handed in. */
class placed_parent : public lasting_ref
{
  public:
    template <class From, std::enable_if_t<is_handle<From>, int> = 0>
    constexpr placed_parent(From &&from, const char *file = __builtin_FILE(),
                            int line = __builtin_LINE()) noexcept
        : lasting_ref(std::forward<From>(from)), place_{place::here(file, line)}
    {
    }
    canopy_ctx *made(canopy_ctx *ctx) const noexcept
    {
        return place_.made(ctx);
    }

  private:
    place place_;
};

using placing = place;
using parent_ref = placed_parent;

#else

/* No place. */
struct nowhere {
    static constexpr nowhere here() noexcept
    {
        return {};
    }
    static canopy_ctx *made(canopy_ctx *ctx) noexcept
    {
        return ctx;
    }
};

/* What is handed in, and no more. */
class plain_parent : public lasting_ref
{
  public:
    using lasting_ref::lasting_ref;
    static canopy_ctx *made(canopy_ctx *ctx) noexcept
    {
        return ctx;
    }
};

using placing = nowhere;
using parent_ref = plain_parent;

#endif

/* A list as the calls of canopy.h take one: here while it is short. */
template <class T> class list
{
  public:
    list() = default;
    list(const list &) = delete;
    list &operator=(const list &) = delete;
    ~list()
    {
        if (items_ != few_)
            delete[] items_;
    }

    /* What `convert` makes of each. False, with errno, where there is no memory. */
    template <class Iterator, class End, class Convert>
    bool fill(Iterator at, const End &end, Convert convert)
    {
        for (; at != end; ++at) {
            if (size_ == capacity_ && !grow())
                return false;
            items_[size_++] = convert(*at);
        }
        return true;
    }
    const T *items() const noexcept
    {
        return items_;
    }
    std::size_t size() const noexcept
    {
        return size_;
    }

  private:
    bool grow() noexcept
    {
        T *const more = new (std::nothrow) T[2 * capacity_];
        if (!more) {
            errno = ENOMEM;
            return false;
        }
        for (std::size_t i = 0; i < size_; i++)
            more[i] = items_[i];
        if (items_ != few_)
            delete[] items_;
        items_ = more;
        capacity_ *= 2;
        return true;
    }

    static constexpr std::size_t few = 64;

    T few_[few];
    T *items_ = few_;
    std::size_t size_ = 0, capacity_ = few;
};

/* What the iterators of a range, or an iterator, give. */
template <class Range> using element = decltype(*std::begin(std::declval<Range &>()));
template <class Iterator> using target = decltype(*std::declval<Iterator &>());

template <class Range> using if_contexts = std::enable_if_t<is_handle<element<Range>>, int>;
template <class Iterator> using if_to_contexts = std::enable_if_t<is_handle<target<Iterator>>, int>;

/* What contexts a range has goes with the range, unless that only shows them. */
template <class Range>
inline constexpr bool is_going_with =
    !std::is_lvalue_reference_v<Range> && is_lender<element<Range>> &&
    !std::is_trivially_destructible_v<Range>;

inline constexpr auto to_raw = [](lasting_ref ctx) noexcept { return ctx.get(); };
inline constexpr auto to_int = [](int number) noexcept { return number; };

template <class Iterator, class End> int wait_any(moment until, Iterator at, const End &end)
{
    list<const canopy_ctx *> ctxs;
    if (!ctxs.fill(at, end, to_raw))
        return -ENOMEM;
    return canopy_wait_any(ctxs.items(), ctxs.size(), until.ns());
}

template <class Iterator, class End> canopy_ctx *with_any(Iterator at, const End &end)
{
    list<const canopy_ctx *> parents;
    return parents.fill(at, end, to_raw) ? canopy_with_any(parents.items(), parents.size())
                                         : nullptr;
}

template <class Iterator, class End>
canopy_ctx *with_signals(const canopy_ctx *parent, Iterator at, const End &end)
{
    list<int> signals;
    return signals.fill(at, end, to_int)
               ? canopy_with_signals(parent, signals.items(), signals.size())
               : nullptr;
}

} // namespace detail

/* --------------------------------------------------------------- wait for any */

/*
 * Waits until one of the contexts is done: which one, from 0 (the lowest that is), or
 * -ETIME at `until`. They are arguments, a range (a vector, array or span of handles),
 * a list in braces, or what two iterators enclose; -EINVAL for none. More than 64 that
 * are not arguments are put into memory for that, and may be answered with -ENOMEM.
 */
template <class... Handles> int wait_any(moment until, context_ref first, const Handles &...rest)
{
    const canopy_ctx *const ctxs[] = {first.get(), context_ref(rest).get()...};
    return canopy_wait_any(ctxs, 1 + sizeof...(rest), until.ns());
}
template <class Range, detail::if_contexts<const Range> = 0>
int wait_any(moment until, const Range &ctxs)
{
    return detail::wait_any(until, std::begin(ctxs), std::end(ctxs));
}
inline int wait_any(moment until, std::initializer_list<context_ref> ctxs)
{
    return detail::wait_any(until, ctxs.begin(), ctxs.end());
}
template <class Iterator, detail::if_to_contexts<Iterator> = 0>
int wait_any(moment until, Iterator first, Iterator last)
{
    return detail::wait_any(until, first, last);
}

/* ----------------------------------------------------------------- derive */

/*
 * Each derives a child of `parent`, as the call of the same name in canopy.h: born done
 * if the parent is, and empty, with errno, if there can be none. A parent is any handle,
 * as for lasting_ref.
 */

/* A child that can be cancelled. */
inline context with_cancel(detail::parent_ref parent) noexcept
{
    return context{parent.made(canopy_with_cancel(parent.get()))};
}

/* A child that ends with -ETIMEDOUT at `deadline`. */
inline context with_deadline(detail::parent_ref parent, moment deadline) noexcept
{
    return context{parent.made(canopy_with_deadline(parent.get(), deadline.ns()))};
}

/* A child that ends with -ETIMEDOUT after `timeout`; born done unless that is above 0. */
inline context with_timeout(detail::parent_ref parent, timespan timeout) noexcept
{
    return context{parent.made(canopy_with_timeout(parent.get(), timeout.ns()))};
}

/* As above, with a cause to report on expiry. */
inline context with_deadline(detail::parent_ref parent, moment deadline, cause_ref cause) noexcept
{
    return context{
        parent.made(canopy_with_deadline_cause(parent.get(), deadline.ns(), cause.get()))};
}
inline context with_timeout(detail::parent_ref parent, timespan timeout, cause_ref cause) noexcept
{
    return context{parent.made(canopy_with_timeout_cause(parent.get(), timeout.ns(), cause.get()))};
}

/* A layer that binds `key` to `value`, which outlives it and all that is derived from it. */
template <class T>
context with_value(detail::parent_ref parent, const key<T> &to,
                   typename key<T>::borrowed value) noexcept
{
    void *const bare = const_cast<std::remove_cv_t<T> *>(value);
    return context{parent.made(canopy_with_value(parent.get(), to.get(), bare))};
}

/* The same, and owns the value from now on; on failure that stays the caller's. */
template <class T, class Deleter>
context with_value(detail::parent_ref parent, const key<std::unique_ptr<T, Deleter>> &to,
                   typename key<std::unique_ptr<T, Deleter>>::owner &&value) noexcept
{
    using element = typename key<std::unique_ptr<T, Deleter>>::element;
    void *const bare = const_cast<std::remove_cv_t<element> *>(value.get());
    context layer{parent.made(canopy_with_value(parent.get(), to.get(), bare))};
    if (layer)
        static_cast<void>(value.release());
    return layer;
}

/* The same, and holds a share of its own, for which it allocates. */
template <class T>
context with_value(detail::parent_ref parent, const key<std::shared_ptr<T>> &to,
                   const typename key<std::shared_ptr<T>>::share &value) noexcept
{
    using share = typename key<std::shared_ptr<T>>::share;
    std::unique_ptr<share> held{new (std::nothrow) share(value)};
    if (!held) {
        errno = ENOMEM;
        return context{};
    }
    context layer{parent.made(canopy_with_value(parent.get(), to.get(), held.get()))};
    if (layer)
        static_cast<void>(held.release());
    return layer;
}
template <class T, class Value>
context with_value(detail::parent_ref, const key<T> &&, Value &&) = delete;

/* A layer that keeps the values of its parent and nothing else. */
inline context without_cancel(detail::parent_ref parent) noexcept
{
    return context{parent.made(canopy_without_cancel(parent.get()))};
}

/*
 * Done when any of the inputs is; values come from the first. They are given as to
 * wait_any; ENOMEM also where that says -ENOMEM.
 */
template <class... Handles> context with_any(detail::parent_ref first, Handles &&...rest) noexcept
{
    const canopy_ctx *const parents[] = {first.get(),
                                         lasting_ref(std::forward<Handles>(rest)).get()...};
    return context{first.made(canopy_with_any(parents, 1 + sizeof...(rest)))};
}
template <class Range, detail::if_contexts<Range> = 0>
context with_any(Range &&parents, detail::placing at = detail::placing::here())
{
    static_assert(!detail::is_going_with<Range>, "the inputs would end at once");
    return context{at.made(detail::with_any(std::begin(parents), std::end(parents)))};
}
inline context with_any(std::initializer_list<lasting_ref> parents,
                        detail::placing at = detail::placing::here())
{
    return context{at.made(detail::with_any(parents.begin(), parents.end()))};
}
template <class Iterator, detail::if_to_contexts<Iterator> = 0>
context with_any(Iterator first, Iterator last, detail::placing at = detail::placing::here())
{
    return context{at.made(detail::with_any(first, last))};
}

/*
 * A child that is done when one of `signals` arrives; the cause's code is its number.
 * The signals are arguments, a range of numbers, a list in braces, or what two iterators
 * enclose.
 */
template <class... Signals, std::enable_if_t<(std::is_same_v<Signals, int> && ...), int> = 0>
context with_signals(detail::parent_ref parent, int first, Signals... rest) noexcept
{
    const int signals[] = {first, rest...};
    return context{parent.made(canopy_with_signals(parent.get(), signals, 1 + sizeof...(rest)))};
}
template <class Range,
          std::enable_if_t<std::is_convertible_v<detail::element<const Range>, int>, int> = 0>
context with_signals(detail::parent_ref parent, const Range &signals)
{
    return context{
        parent.made(detail::with_signals(parent.get(), std::begin(signals), std::end(signals)))};
}
inline context with_signals(detail::parent_ref parent, std::initializer_list<int> signals) noexcept
{
    return context{parent.made(canopy_with_signals(parent.get(), signals.begin(), signals.size()))};
}
template <class Iterator,
          std::enable_if_t<std::is_convertible_v<detail::target<Iterator>, int>, int> = 0>
context with_signals(detail::parent_ref parent, Iterator first, Iterator last)
{
    return context{parent.made(detail::with_signals(parent.get(), first, last))};
}

} // namespace canopy

/* By the context's address, as == compares. */
template <> struct std::hash<canopy::context_ref> {
    /* Of the address. */
    std::size_t operator()(canopy::context_ref ctx) const noexcept
    {
        return std::hash<const canopy_ctx *>{}(ctx.get());
    }
};
/* The same. */
template <> struct std::hash<canopy::shared_context> {
    /* Of the address. */
    std::size_t operator()(const canopy::shared_context &ctx) const noexcept
    {
        return std::hash<const canopy_ctx *>{}(ctx.get());
    }
};

#endif
