/*
 * group.hpp - groups: threads that succeed or fail together. The conventions are in
 * canopy.hpp.
 */
#ifndef CANOPY_GROUP_HPP
#define CANOPY_GROUP_HPP

#include <canopy/callable.hpp>
#include <canopy/context.hpp>

#include <cerrno>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace canopy
{

/* A group under `parent`, with at most `limit` members at once (0: no limit). */
class [[nodiscard]] group
{
  public:
    /* Makes it ready; error() tells how that went. */
    [[nodiscard]] explicit group(lasting_ref parent, unsigned limit = 0) noexcept
        : error_{canopy_group_init(&group_, parent.get(), limit)}
    {
    }
    group(const group &) = delete;
    group &operator=(const group &) = delete;

    /* Waits for the members, as wait does; it does not cancel them. */
    ~group()
    {
        static_cast<void>(wait());
    }

    /* 0; or -EINVAL (an empty handle), -ENOMEM or -EAGAIN: then it is no group. */
    [[nodiscard]] int error() const noexcept
    {
        return error_;
    }
    explicit operator bool() const noexcept
    {
        return error_ == 0;
    }

    /* The group's context; valid until wait returns. */
    [[nodiscard]] context_ref ctx() const noexcept
    {
        return canopy_group_ctx(&group_);
    }

    /*
     * Runs fn(ctx), which gives an int, on a thread of its own; the first that is not 0
     * cancels the group. Blocks while there are `limit` threads. 0, or what canopy_group_go
     * says, or -ENOMEM: a callable that is more than a pointer to copy is allocated.
     */
    template <class F> [[nodiscard]] int go(F &&fn)
    {
        return start(canopy_group_go, std::forward<F>(fn));
    }

    /* The same, but that it never blocks: -EBUSY where there are `limit` threads. */
    template <class F> [[nodiscard]] int try_go(F &&fn)
    {
        return start(canopy_group_try_go, std::forward<F>(fn));
    }

    /* The same as go, but that it gives up when the group is done: with err of its context. */
    template <class F> [[nodiscard]] int go_unless_done(F &&fn)
    {
        return start(canopy_group_go_unless_done, std::forward<F>(fn));
    }

    /*
     * From a member: with which cause the group ends if its failure is the first. Gives
     * what the member is to return: canopy_group_fail.
     */
    [[nodiscard]] static int fail_with(cause_ref cause)
    {
        return canopy_group_fail(cause.get());
    }

    /* Waits for all members: the first result that was not 0, or 0; or a negative errno. */
    int wait()
    {
        return error_ ? error_ : canopy_group_wait(&group_);
    }

  private:
    template <class Go, class F> int start(Go *call, F &&fn)
    {
        using callable = std::decay_t<F>;
        static_assert(std::is_invocable_r_v<int, callable, context_ref> ||
                          std::is_invocable_r_v<int, callable &, context_ref>,
                      "a member takes a context and gives 0 or what went wrong");
        if constexpr (detail::is_word<callable>) {
            return call(&group_, run_word<callable>,
                        detail::to_word(callable(std::forward<F>(fn))));
        } else {
            std::unique_ptr<callable> held{new (std::nothrow) callable(std::forward<F>(fn))};
            if (!held)
                return -ENOMEM;
            const int error = call(&group_, run_held<callable>, held.get());
            if (error == 0)
                static_cast<void>(held.release());
            return error;
        }
    }

    template <class F> static int run_word(const canopy_ctx *ctx, void *word) noexcept
    {
        return detail::call_word<F>(word, context_ref{ctx});
    }

    template <class F> static int run_held(const canopy_ctx *ctx, void *arg) noexcept
    {
        const std::unique_ptr<F> held{static_cast<F *>(arg)};
        return detail::call<F>(*held, context_ref{ctx});
    }

    canopy_group group_{};
    int error_;
};

} // namespace canopy

#endif
