/*
 * stop_token.hpp - contexts that end with a std::stop_token, and tokens that are stopped
 * with a context. Empty before C++20. The conventions are in canopy.hpp.
 */
#ifndef CANOPY_STOP_TOKEN_HPP
#define CANOPY_STOP_TOKEN_HPP

#include <canopy/callback.hpp>

#if __has_include(<version>)
#include <version>
#endif

#if defined(__cpp_lib_jthread)

#include <cerrno>
#include <stop_token>
#include <utility>

namespace canopy
{

/* Why a context ended whose std::stop_token was stopped. */
inline constexpr cause stop_requested{-ECANCELED, "stop requested", nullptr, 0};

/*
 * A context under `parent` that is cancelled when `token` is stopped; at once if it is.
 * Otherwise as `context`, but that it stays where it is.
 */
class token_context : public lender<token_context>
{
  public:
    /* Empty, with errno, if there can be none. */
    token_context(context_ref parent, std::stop_token token)
        : ctx_{with_cancel(parent)}, callback_{std::move(token), canceller{ctx_.get()}}
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

    /* As context::cancel. */
    bool cancel()
    {
        return ctx_.cancel();
    }
    /* The same with a cause. */
    bool cancel(const canopy_cause &cause)
    {
        return ctx_.cancel(cause);
    }
    bool cancel(const canopy_cause &&) = delete;

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
inline token_context with_stop_token(context_ref parent, std::stop_token token)
{
    return {parent, std::move(token)};
}

/*
 * A std::stop_source whose tokens are stopped when `ctx` is done, as long as the object
 * lasts. It allocates, and may throw, where std::stop_source does.
 */
class stop_source_for
{
  public:
    /* Watches `ctx`; error() tells how that went. */
    explicit stop_source_for(context_ref ctx) : callback_{ctx, requester{source_}}
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

} // namespace canopy

#endif

#endif
