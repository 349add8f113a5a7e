/*
 * callable.hpp - how callables get through the void * of a C interface, and where they
 * lie meanwhile. For the other headers; nothing here is of use by itself.
 */
#ifndef CANOPY_CALLABLE_HPP
#define CANOPY_CALLABLE_HPP

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace canopy
{
namespace detail
{

/* Whether what is kept as an F can be called, as an rvalue or else as it lies there. */
template <class F, class... Args>
inline constexpr bool is_called =
    std::disjunction_v<std::is_invocable<F, Args...>,
                       std::is_invocable<std::add_lvalue_reference_t<F>, Args...>>;

/* Calls it, once: as an rvalue if it can be, as std::stop_callback does. */
template <class F, class... Args>
decltype(auto) call(std::remove_reference_t<F> &callable, const Args &...args) noexcept
{
    if constexpr (std::is_invocable_v<F, const Args &...>)
        return static_cast<F &&>(callable)(args...);
    else
        return callable(args...);
}

/* Runs what lies at `callable`; an exception ends the program. */
template <class F> void run(void *callable) noexcept
{
    static_cast<void>(call<F>(*static_cast<std::remove_reference_t<F> *>(callable)));
}

/* Where run finds it. */
template <class T> void *address(T &callable) noexcept
{
    return const_cast<void *>(static_cast<const volatile void *>(std::addressof(callable)));
}

/* Whether a callable can go in the place of a pointer to it. */
template <class F, bool = std::is_object_v<F>> inline constexpr bool is_word = false;
template <class F>
inline constexpr bool
    is_word<F, true> = sizeof(F) <= sizeof(void *) &&
                       std::is_trivially_copyable_v<F> &&std::is_trivially_move_constructible_v<F>;

template <class F> void *to_word(const F &fn) noexcept
{
    void *word = nullptr;
    std::memcpy(&word, std::addressof(fn), sizeof fn);
    return word;
}

/* A copy of what went into `word`, called. */
template <class F, class... Args> decltype(auto) call_word(void *word, const Args &...args) noexcept
{
    alignas(F) unsigned char bytes[sizeof(F)];
    std::memcpy(bytes, &word, sizeof bytes);
    return call<F>(*std::launder(static_cast<F *>(static_cast<void *>(bytes))), args...);
}

template <class F> void run_word(void *word) noexcept
{
    static_cast<void>(call_word<F>(word));
}

/* In the place of a callable that is kept elsewhere. */
struct nothing {
    template <class... Args> explicit nothing(const Args &...) noexcept
    {
    }
};

/* Whether an F & may be bound to what an argument refers to, which outlives the call. */
template <class F, class... Args> inline constexpr bool is_bound = false;
template <class F, class Arg>
inline constexpr bool is_bound<F, Arg> =
    std::is_lvalue_reference_v<Arg> &&std::is_convertible_v<std::remove_reference_t<Arg> *, F *>;

/* Whether an F can be made of the arguments, to be called without any. */
template <class F, class... Args> inline constexpr bool is_made_of()
{
    if constexpr (std::is_lvalue_reference_v<F>)
        return is_bound<std::remove_reference_t<F>, Args...> && is_called<F>;
    else if constexpr (std::is_object_v<F>)
        return std::is_constructible_v<F, Args...> && is_called<F>;
    else
        return false;
}

/*
 * Room for a callable of whatever type: in place, or in memory of its own if it does
 * not fit or has to be aligned to more.
 */
class any_callable
{
  public:
    static constexpr std::size_t buffer_bytes = 48;
    static constexpr std::size_t buffer_align_bytes = alignof(std::max_align_t);

    any_callable() = default;
    any_callable(const any_callable &) = delete;
    any_callable &operator=(const any_callable &) = delete;
    ~any_callable()
    {
        clear();
    }

    /* In the place of what was there: where it is now, or NULL if there is no memory. */
    template <class F> void *emplace(F &&fn)
    {
        using callable = std::decay_t<F>;
        clear();
        if constexpr (fits<callable>)
            at_ = ::new (static_cast<void *>(buffer_)) callable(std::forward<F>(fn));
        else
            at_ = new (std::nothrow) callable(std::forward<F>(fn));
        if (at_)
            destroy_ = destroy<callable>;
        return at_;
    }

    void clear() noexcept
    {
        if (destroy_)
            std::exchange(destroy_, nullptr)(at_);
    }

    explicit operator bool() const noexcept
    {
        return destroy_ != nullptr;
    }

  private:
    template <class F>
    static constexpr bool fits = buffer_align_bytes % alignof(F) == 0 && sizeof(F) <= buffer_bytes;

    template <class F> static void destroy(void *callable) noexcept
    {
        if constexpr (fits<F>)
            static_cast<F *>(callable)->~F();
        else
            delete static_cast<F *>(callable);
    }

    void (*destroy_)(void *) = nullptr;
    void *at_ = nullptr;
    alignas(buffer_align_bytes) unsigned char buffer_[buffer_bytes];
};

} // namespace detail
} // namespace canopy

#endif
