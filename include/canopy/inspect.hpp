/*
 * inspect.hpp - seeing inside a live process, in C++: one context by its id, all of them,
 * what was counted, and all of it as text. What each means is in inspect.h; the conventions
 * are in canopy.hpp, which does not include this page. Since 1.1.
 */
#ifndef CANOPY_INSPECT_HPP
#define CANOPY_INSPECT_HPP

#include <canopy/context.hpp>
#include <canopy/inspect.h>
#include <canopy/time.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace canopy
{

/* ------------------------------------------------------------------ one context */

/* canopy_id: 0 where no note is kept. Of no empty one. */
[[nodiscard]] inline std::uint64_t id(context_ref ctx) noexcept
{
    return canopy_id(ctx.get());
}

/* canopy_cancel_id. 0, -EALREADY, -ESRCH, -EPERM. */
inline int cancel_id(std::uint64_t id, cause_ref cause = nullptr)
{
    return canopy_cancel_id(id, cause.get());
}

/* canopy_inspect; nothing where there is no such context any more. */
[[nodiscard]] inline std::optional<canopy_info> inspect(std::uint64_t id) noexcept
{
    std::optional<canopy_info> info{std::in_place};
    if (canopy_inspect(id, &*info, sizeof *info) != 0)
        info.reset();
    return info;
}

/* ----------------------------------------------------------------- all contexts */

/* What a walk is to tell: of everything, or of less. */
struct walk_filter {
    context_ref top{}; /* it and what is below it; empty: the whole process */
    timespan older_than{std::chrono::nanoseconds{0}}; /* only what was made longer ago */
    bool live_only = false;                           /* only what has not ended */

    /* For the calls of inspect.h. */
    canopy_walk get() const noexcept
    {
        canopy_walk walk{};
        walk.info_bytes = sizeof(canopy_info);
        walk.top = top.get();
        walk.older_than_ns = older_than.ns();
        walk.live_only = live_only;
        return walk;
    }
};

/* canopy_walk_next to its end: calls tell(const canopy_info &) for each context. */
template <class Tell> void for_each_context(Tell &&tell, const walk_filter &filter = {})
{
    std::array<canopy_info, 64> infos;
    canopy_walk walk = filter.get();
    for (int n; (n = canopy_walk_next(&walk, infos.data(), infos.size())) > 0;)
        for (int i = 0; i < n; i++)
            tell(std::as_const(infos[static_cast<std::size_t>(i)]));
}

namespace detail
{

/* A sink of inspect.h that calls a Write. */
template <class Write> struct sink {
    static int put(void *user, const char *bytes, std::size_t n) noexcept
    {
        auto &to = *static_cast<std::remove_reference_t<Write> *>(user);
        const std::string_view piece{bytes, n};
        if constexpr (std::is_void_v<decltype(to(piece))>) {
            to(piece);
            return 0;
        } else {
            return to(piece);
        }
    }

    static void *user(Write &write) noexcept
    {
        return const_cast<void *>(static_cast<const void *>(std::addressof(write)));
    }
};

} // namespace detail

/*
 * canopy_dump: calls write(std::string_view), which must not throw, for each piece. It
 * returns nothing, or an int, of which one but 0 ends it and is returned.
 */
template <class Write> int dump(canopy_format format, Write &&write, const walk_filter &filter = {})
{
    const canopy_walk walk = filter.get();
    return canopy_dump(&walk, format, detail::sink<Write>::put, detail::sink<Write>::user(write));
}

/* ----------------------------------------------------------------------- trace */

/* canopy_trace_start. 0, or a negative errno. */
[[nodiscard]] inline int trace_start(std::size_t bytes_a_thread) noexcept
{
    return canopy_trace_start(bytes_a_thread);
}

/* canopy_trace_stop. 0, or a negative errno. */
inline int trace_stop() noexcept
{
    return canopy_trace_stop();
}

/* canopy_trace_write, to a callable as dump's. */
template <class Write> int trace_write(Write &&write)
{
    return canopy_trace_write(detail::sink<Write>::put, detail::sink<Write>::user(write));
}

/* -------------------------------------------------------------------- counters */

/* canopy_stats_read, of a root or of any context's. */
[[nodiscard]] inline canopy_stats stats(context_ref root) noexcept
{
    canopy_stats stats{};
    stats.size = sizeof stats;
    static_cast<void>(canopy_stats_read(root.get(), &stats));
    return stats;
}

/* ---------------------------------------------------------------- from outside */

/* canopy_answer: calls write as dump does. `command` ends at NUL, or with its line. */
template <class Write> int answer(const char *command, Write &&write, unsigned flags = 0)
{
    return canopy_answer(command, flags, detail::sink<Write>::put,
                         detail::sink<Write>::user(write));
}

/* A listener, or none. Its end closes it; not on its own thread: see canopy_listener_close. */
class listener
{
  public:
    listener() noexcept = default;

    /* Listens at `path`; errno says why where it then does not. */
    explicit listener(const char *path, unsigned flags = 0) noexcept
    {
        const int err = open(path, flags);
        if (err != 0)
            errno = -err;
    }

    /* Takes over the socket of `other`, which then has none. */
    listener(listener &&other) noexcept : listener_(std::exchange(other.listener_, {}))
    {
    }

    /* The same, once its own is closed. */
    listener &operator=(listener &&other) noexcept
    {
        if (this != &other) {
            close();
            listener_ = std::exchange(other.listener_, {});
        }
        return *this;
    }

    /* close(). */
    ~listener()
    {
        close();
    }

    /* Whether it listens. */
    explicit operator bool() const noexcept
    {
        return listener_.canopy_state != nullptr;
    }

    /* canopy_listen, by one that is not open: -EBUSY. */
    [[nodiscard]] int open(const char *path, unsigned flags = 0) noexcept
    {
        return *this ? -EBUSY : canopy_listen(&listener_, path, flags);
    }

    /* canopy_listener_close. 0, also where it was not open; -EDEADLK. */
    int close() noexcept
    {
        return *this ? canopy_listener_close(&listener_) : 0;
    }

  private:
    canopy_listener listener_{};
};

} // namespace canopy

#endif
