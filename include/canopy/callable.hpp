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

/* Runs what lies at `callable`; an exception ends the program. */
template <class F> void run(void *callable) noexcept
{
    static_cast<void>((*static_cast<F *>(callable))());
}

/* Whether a callable can go in the place of a pointer to it. */
template <class F>
inline constexpr bool is_word = sizeof(F) <= sizeof(void *) && std::is_trivially_copyable_v<F>;

template <class F> void *to_word(const F &fn) noexcept
{
    void *word = nullptr;
    std::memcpy(&word, std::addressof(fn), sizeof fn);
    return word;
}

/* A copy of what went into `word`, called. */
template <class F, class... Args> decltype(auto) call_word(void *word, Args... args) noexcept
{
    alignas(F) unsigned char bytes[sizeof(F)];
    std::memcpy(bytes, &word, sizeof bytes);
    return (*std::launder(reinterpret_cast<F *>(bytes)))(args...);
}

template <class F> void run_word(void *word) noexcept
{
    static_cast<void>(call_word<F>(word));
}

/* In the place of a callable that is kept elsewhere. */
struct nothing {
    template <class F> explicit nothing(const F &) noexcept
    {
    }
};

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
            at_ = new (buffer_) callable(std::forward<F>(fn));
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
