/*
 * root.hpp - roots in C++: trees with memory, limits and a clock of their own. The
 * conventions are in canopy.hpp.
 */
#ifndef CANOPY_ROOT_HPP
#define CANOPY_ROOT_HPP

#include <canopy/context.hpp>
#include <canopy/time.hpp>

#include <chrono>
#include <utility>

namespace canopy
{

/* What a root is made of: canopy_config with its size filled in, and the rest zero. */
struct config : canopy_config {
    /* All defaults. */
    constexpr config() noexcept : canopy_config(defaults())
    {
    }

    /* With a clock that the host drives (root::advance, or a loop), from `start` on. */
    static constexpr config host_clock(moment start) noexcept
    {
        config made;
        made.clock = CANOPY_CLOCK_HOST;
        made.now_ns = start.ns();
        return made;
    }

  private:
    static constexpr canopy_config defaults() noexcept
    {
        canopy_config made{};
        made.size = sizeof made;
        return made;
    }
};

/*
 * A root of one's own, an owner like `context`. Its end cancels it, gives what is derived
 * from it `patience` to go, and frees it. Where something is left even then, as where a
 * loop still drives it, the root stays for good: close() tells, and a debug build says
 * what it is.
 */
class [[nodiscard]] root : public owner<root>
{
  public:
    /* How long its end waits. */
    static constexpr std::chrono::seconds patience{1};

    /* canopy_root_new. Empty, with errno, if there can be none. */
    [[nodiscard]] explicit root(const canopy_config &config = canopy::config{},
                                const char *file = __builtin_FILE(),
                                int line = __builtin_LINE()) noexcept
        : ctx_{canopy_debug_made(canopy_root_new(&config), file, line)}
    {
    }
    /* `from` is empty then. */
    root(root &&from) noexcept : ctx_{from.release()}
    {
    }
    root(const root &) = delete;
    /* Ends what was there. */
    root &operator=(root &&from) noexcept
    {
        root ends{std::move(*this)};
        ctx_ = from.release();
        return *this;
    }
    root &operator=(const root &) = delete;
    /* As close does, for so long. */
    ~root()
    {
        if (ctx_)
            static_cast<void>(close(moment::now() + patience));
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

    /* Gives the root up to the caller, who frees it, and is empty. */
    [[nodiscard]] canopy_ctx *release() noexcept
    {
        return std::exchange(ctx_, nullptr);
    }

    /*
     * canopy_root_advance: tells a root with a host's clock what time it is. `*next`,
     * unless NULL, receives a time by which to call again. 0, or -EINVAL.
     */
    int advance(moment now, moment *next = nullptr)
    {
        std::int64_t next_ns;
        const int error = canopy_root_advance(ctx_, now.ns(), &next_ns);
        if (next && error == 0)
            *next = moment::from_ns(next_ns);
        return error;
    }

    /* canopy_root_advance_for: the same for about so long; what there was no time for stays due. */
    int advance_for(timespan most, moment now, moment *next = nullptr)
    {
        std::int64_t next_ns;
        const int error = canopy_root_advance_for(ctx_, now.ns(), most.ns(), &next_ns);
        if (next && error == 0)
            *next = moment::from_ns(next_ns);
        return error;
    }

    /* canopy_root_usage: the contexts and the bytes under it; none of an empty one. */
    [[nodiscard]] canopy_usage usage() const noexcept
    {
        canopy_usage usage{};
        usage.size = sizeof usage;
        static_cast<void>(canopy_root_usage(ctx_, &usage));
        return usage;
    }

    /*
     * Cancels it, waits until nothing is derived from it any more, and frees it. 0, and
     * it is empty; or -EBUSY at `until`, and at once while a loop drives it: it is still
     * there, cancelled. Not in a callback of what is under it.
     */
    int close(moment until)
    {
        if (!ctx_)
            return 0;
        cancel();
        static_cast<void>(canopy_wait_idle(ctx_, until.ns()));
        const int error = canopy_root_free(ctx_);
        if (error == 0)
            ctx_ = nullptr;
        return error;
    }

  private:
    canopy_ctx *ctx_ = nullptr;
};

} // namespace canopy

#endif
