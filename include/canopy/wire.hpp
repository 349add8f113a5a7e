/*
 * wire.hpp - what crosses to another machine, in C++: how long is left, the
 * trace, baggage; a request in, a request out; and what the end of a context is called there. What
 * each means is in wire.h; the conventions are in canopy.hpp, which does not include this page. The
 * same calls as in C. Since 1.1.
 */
#ifndef CANOPY_WIRE_HPP
#define CANOPY_WIRE_HPP

#include <canopy/context.hpp>
#include <canopy/time.hpp>
#include <canopy/wire.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>

namespace canopy
{

/* --------------------------------------------------------------- time-outs */

/* A time-out as it stands in a header; or why there is none. */
class timeout_text
{
  public:
    /* 0; -ETIMEDOUT: time is up; -ENOENT: there is no limit, and no header to send. */
    constexpr int error() const noexcept
    {
        return result_ < 0 ? result_ : 0;
    }
    constexpr explicit operator bool() const noexcept
    {
        return result_ >= 0;
    }

    /* The bytes, which are the object's; empty where there are none. */
    constexpr std::string_view view() const noexcept
    {
        return {text_, result_ < 0 ? 0 : static_cast<std::size_t>(result_)};
    }

  private:
    friend timeout_text format_grpc_timeout(timespan left) noexcept;
    friend timeout_text format_ms_timeout(timespan left) noexcept;

    char text_[CANOPY_TIMEOUT_BYTES] = {};
    int result_ = 0;
};

/* canopy_grpc_timeout_parse; nothing where that is malformed, max() where it is never. */
[[nodiscard]] inline std::optional<std::chrono::nanoseconds>
parse_grpc_timeout(std::string_view value) noexcept
{
    std::int64_t ns = 0;
    if (canopy_grpc_timeout_parse(value.data(), value.size(), &ns) != 0)
        return std::nullopt;
    return std::chrono::nanoseconds{ns};
}

/* canopy_grpc_timeout_format. */
[[nodiscard]] inline timeout_text format_grpc_timeout(timespan left) noexcept
{
    timeout_text text;
    text.result_ = canopy_grpc_timeout_format(left.ns(), text.text_);
    return text;
}

/* canopy_ms_timeout_parse; nothing where that is malformed. */
[[nodiscard]] inline std::optional<std::chrono::nanoseconds>
parse_ms_timeout(std::string_view value) noexcept
{
    std::int64_t ns = 0;
    if (canopy_ms_timeout_parse(value.data(), value.size(), &ns) != 0)
        return std::nullopt;
    return std::chrono::nanoseconds{ns};
}

/* canopy_ms_timeout_format. */
[[nodiscard]] inline timeout_text format_ms_timeout(timespan left) noexcept
{
    timeout_text text;
    text.result_ = canopy_ms_timeout_format(left.ns(), text.text_);
    return text;
}

/* ------------------------------------------------------------------- trace */

/* canopy_traceparent: one that is not made by parse or next has ids of zero. */
struct traceparent : canopy_traceparent {
    /* With ids of zero. */
    constexpr traceparent() noexcept : canopy_traceparent{}
    {
    }
    /* From C. */
    constexpr traceparent(const canopy_traceparent &trace) noexcept : canopy_traceparent{trace}
    {
    }

    /* canopy_traceparent_parse; nothing where that is malformed. */
    [[nodiscard]] static std::optional<traceparent> parse(std::string_view value) noexcept
    {
        traceparent trace;
        if (canopy_traceparent_parse(value.data(), value.size(), &trace) != 0)
            return std::nullopt;
        return trace;
    }

    /* canopy_traceparent_next without a trace: the first span of a new one. */
    [[nodiscard]] static std::optional<traceparent> begin(std::uint8_t with_flags) noexcept
    {
        traceparent trace;
        if (canopy_traceparent_next(nullptr, with_flags, nullptr, &trace) != 0)
            return std::nullopt;
        return trace;
    }

    /* canopy_traceparent_next of this one. */
    [[nodiscard]] std::optional<traceparent> next() const noexcept
    {
        traceparent trace;
        if (canopy_traceparent_next(this, 0, nullptr, &trace) != 0)
            return std::nullopt;
        return trace;
    }

    /* canopy_traceparent_format. */
    [[nodiscard]] std::array<char, CANOPY_TRACEPARENT_BYTES> text() const noexcept
    {
        std::array<char, CANOPY_TRACEPARENT_BYTES> out{};
        canopy_traceparent_format(this, out.data());
        return out;
    }
};

/* ----------------------------------------------------------------- baggage */

/* canopy_baggage_member, as views of the header's value. */
struct baggage_member {
    std::string_view key{};        /* a token */
    std::string_view value{};      /* not decoded */
    std::string_view properties{}; /* behind the first ';' */
};

/*
 * canopy_baggage_next: takes the next member off `baggage`, and what is malformed before it.
 * Nothing: that was all.
 */
[[nodiscard]] inline std::optional<baggage_member> next_member(std::string_view &baggage) noexcept
{
    canopy_baggage_member raw{};
    std::size_t at = 0;
    int result = -1;
    while (result < 0)
        result = canopy_baggage_next(baggage.data(), baggage.size(), &at, &raw);
    baggage.remove_prefix(at);
    if (result == 0)
        return std::nullopt;
    return baggage_member{{raw.key, raw.key_bytes},
                          {raw.value, raw.value_bytes},
                          {raw.properties, raw.properties_bytes}};
}

/* canopy_baggage_decode. */
[[nodiscard]] inline int baggage_decode(std::string_view value, char *out,
                                        std::size_t room) noexcept
{
    return canopy_baggage_decode(value.data(), value.size(), out, room);
}

/* canopy_baggage_encode. */
[[nodiscard]] inline int baggage_encode(std::string_view value, char *out,
                                        std::size_t room) noexcept
{
    return canopy_baggage_encode(value.data(), value.size(), out, room);
}

/* canopy_with_baggage: a layer with this member, in the place of all with that key. */
[[nodiscard]] inline context with_baggage(detail::parent_ref parent, std::string_view key,
                                          std::string_view value,
                                          std::string_view properties = {}) noexcept
{
    const char *const at = value.data() ? value.data() : "";
    return context{
        parent.made(canopy_with_baggage(parent.get(), key.data(), key.size(), at, value.size(),
                                        properties.data(), properties.size()))};
}

/* The same without a value: a layer on which there is no member with that key. */
[[nodiscard]] inline context without_baggage(detail::parent_ref parent,
                                             std::string_view key) noexcept
{
    return context{parent.made(
        canopy_with_baggage(parent.get(), key.data(), key.size(), nullptr, 0, nullptr, 0))};
}

/* canopy_baggage_of, which lasts as long as the context; empty where there is none. */
[[nodiscard]] inline std::string_view baggage_of(context_ref ctx) noexcept
{
    std::size_t bytes = 0;
    const char *const at = canopy_baggage_of(ctx.get(), &bytes);
    return {at, bytes};
}

/* ------------------------------------------------------------ a request in */

/* canopy_wire_policy, with its size set; all else is to be filled in. */
struct wire_policy : canopy_wire_policy {
    /* With no fields. */
    constexpr wire_policy() noexcept : wire_policy(0)
    {
    }
    /* With these CANOPY_WIRE_* in `fields`. */
    constexpr explicit wire_policy(std::uint32_t fields_) noexcept
        : canopy_wire_policy{sizeof(canopy_wire_policy), fields_, false, nullptr, 0, 0, 0}
    {
    }
};

/* canopy_wire: what came with a request, whose headers it refers to, and the policy. */
struct wire_in : canopy_wire {
    /* canopy_wire_begin; error() tells how that went. */
    wire_in(const canopy_wire_policy &policy, moment received) noexcept
        : canopy_wire{}, error_{canopy_wire_begin(this, &policy, received.ns())}
    {
    }
    wire_in(const canopy_wire_policy &&policy, moment received) = delete;
    wire_in(const wire_in &) = delete;
    wire_in &operator=(const wire_in &) = delete;

    /* 0; or -EINVAL: nothing is taken. */
    [[nodiscard]] int error() const noexcept
    {
        return error_;
    }

    /* canopy_wire_take: 1, 0, or -EINVAL. */
    int take(std::string_view name, std::string_view value) noexcept
    {
        return canopy_wire_take(this, name.data(), name.size(), value.data(), value.size());
    }

  private:
    int error_;
};

/* canopy_with_wire: a context for the request. */
[[nodiscard]] inline context with_wire(detail::parent_ref parent, const canopy_wire &wire) noexcept
{
    return context{parent.made(canopy_with_wire(parent.get(), &wire))};
}

/* canopy_traceparent_of, which lasts as long as the context; NULL where there is none. */
[[nodiscard]] inline const canopy_traceparent *traceparent_of(context_ref ctx) noexcept
{
    return canopy_traceparent_of(ctx.get());
}

/* ----------------------------------------------------------- a request out */

/*
 * canopy_wire_write: hands name and value of each header to `sink`, as views that last until
 * it returns; what that returns but 0 ends the writing. It must not throw. `span` may be NULL.
 */
template <class Sink>
[[nodiscard]] int wire_write(context_ref ctx, const canopy_wire_policy &policy, moment now,
                             Sink &&sink, const canopy_traceparent *span = nullptr)
{
    struct call {
        static int run(void *user, const char *name, std::size_t name_bytes, const char *value,
                       std::size_t value_bytes) noexcept
        {
            return (**static_cast<std::remove_reference_t<Sink> **>(user))(
                std::string_view{name, name_bytes}, std::string_view{value, value_bytes});
        }
    };
    std::remove_reference_t<Sink> *at = std::addressof(sink); /* of what may be constant */
    return canopy_wire_write(ctx.get(), &policy, span, now.ns(), call::run, &at);
}

/* ----------------------------------------------------------------- the end */

/* canopy_wire_status: what the end of `ctx` is called by gRPC and by HTTP. */
[[nodiscard]] inline canopy_wire_end wire_status(context_ref ctx) noexcept
{
    return canopy_wire_status(ctx.get());
}

/* canopy_wire_cause: what to cancel with where this status came; NULL for 0. */
[[nodiscard]] inline const canopy_cause *wire_cause(int grpc_status) noexcept
{
    return canopy_wire_cause(grpc_status);
}

/* canopy_wire_answered: the status to report where this one came as the answer to `call`. */
[[nodiscard]] inline int wire_answered(context_ref call, int grpc_status, moment now) noexcept
{
    return canopy_wire_answered(call.get(), grpc_status, now.ns());
}

/* canopy_grpc_message_encode. */
[[nodiscard]] inline int grpc_message_encode(std::string_view text, char *out,
                                             std::size_t room) noexcept
{
    return canopy_grpc_message_encode(text.data(), text.size(), out, room);
}

} // namespace canopy

#endif
