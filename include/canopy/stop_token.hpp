/*
 * stop_token.hpp - stop tokens: one over a context, for senders and what else is written
 * for any token; and with C++20 contexts that end with a std::stop_token, and tokens of
 * that kind that are stopped with a context. The conventions are in canopy.hpp.
 */
#ifndef CANOPY_STOP_TOKEN_HPP
#define CANOPY_STOP_TOKEN_HPP

#include <canopy/callback.hpp>
#include <canopy/context.hpp>

#if __has_include(<version>)
#include <version>
#endif

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include <utility>

namespace canopy
{

/*
 * A stop token of a context, as C++26's senders and receivers know them (stoppable_token
 * and stoppable_callback_for hold): stop is requested when the context is done. It
 * borrows, as context_ref does, and nothing is allocated. A callback that could not be
 * registered for want of memory is never run; callback::error() tells.
 */
class context_token
{
  public:
    /* What runs an F when stop is requested. */
    template <class F> using callback_type = callback<F>;

    /* Of no context: never stopped. */
    constexpr context_token() noexcept : ctx_{}
    {
    }

    /* Of `ctx`, which outlives it. */
    constexpr explicit context_token(lasting_ref ctx) noexcept : ctx_{ctx}
    {
    }

    /* Whether the context is done. */
    [[nodiscard]] bool stop_requested() const noexcept
    {
        return ctx_ && ctx_.done();
    }
    /* False of none, background and todo, which never are. */
    [[nodiscard]] bool stop_possible() const noexcept
    {
        return ctx_ && ctx_ != background() && ctx_ != todo();
    }

    /* Its context. */
    constexpr operator context_ref() const noexcept
    {
        return ctx_;
    }

    /* Whether both are of the same context. */
    friend constexpr bool operator==(context_token a, context_token b) noexcept
    {
        return a.ctx_ == b.ctx_;
    }
    friend constexpr bool operator!=(context_token a, context_token b) noexcept
    {
        return a.ctx_ != b.ctx_;
    }

  private:
    context_ref ctx_;
};

#if defined(__cpp_lib_jthread)

/* Why a context ended whose std::stop_token was stopped. */
inline constexpr cause stop_requested{-ECANCELED, "stop requested", nullptr, 0};

/*
 * A context under `parent` that is cancelled when `token` is stopped; at once if it is.
 * Otherwise as `context`, but that it stays where it is.
 */
class [[nodiscard]] token_context : public owner<token_context>
{
  public:
    /* Empty, with errno, if there can be none. */
    [[nodiscard]] token_context(lasting_ref parent, std::stop_token token,
                                const char *file = __builtin_FILE(), int line = __builtin_LINE())
        : ctx_{canopy_debug_made(canopy_with_cancel(parent.get()), file, line)},
          callback_{std::move(token), canceller{ctx_.get()}}
    {
    }

    /* For the calls of canopy.h; NULL of an empty one. */
    canopy_ctx *get() noexcept
    {
        return ctx_.get();
    }
    /* The same of a constant one: borrowed. */
    const canopy_ctx *get() const noexcept
    {
        return ctx_.get();
    }

  private:
    struct canceller {
        canopy_ctx *ctx;

        void operator()() const noexcept
        {
            canopy_cancel_cause(ctx, &stop_requested);
        }
    };

    context ctx_;
    std::stop_callback<canceller> callback_;
};

/* The same as a function; empty, with errno, if there can be none. */
[[nodiscard]] inline token_context with_stop_token(lasting_ref parent, std::stop_token token,
                                                   const char *file = __builtin_FILE(),
                                                   int line = __builtin_LINE())
{
    return {parent, std::move(token), file, line};
}

/*
 * A std::stop_source whose tokens are stopped when `ctx` is done, as long as the object
 * lasts. It allocates, and may throw, where std::stop_source does.
 */
class [[nodiscard]] stop_source_for
{
  public:
    /* Watches `ctx`; error() tells how that went. */
    [[nodiscard]] explicit stop_source_for(lasting_ref ctx)
        : source_{}, callback_{ctx, requester{source_}}
    {
    }

    /* 0; or -EINVAL or -ENOMEM: then the context stops nothing. */
    [[nodiscard]] int error() const noexcept
    {
        return callback_.error();
    }
    explicit operator bool() const noexcept
    {
        return error() == 0;
    }

    /* As std::stop_source::get_token. */
    [[nodiscard]] std::stop_token get_token() const noexcept
    {
        return source_.get_token();
    }

  private:
    struct requester {
        std::stop_source source;

        void operator()() const noexcept
        {
            std::stop_source{source}.request_stop(); /* which may destroy this */
        }
    };

    std::stop_source source_;
    callback<requester> callback_;
};

#endif

} // namespace canopy

#endif
