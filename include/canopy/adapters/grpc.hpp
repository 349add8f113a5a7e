/*
 * grpc.hpp - canopy in servers and clients of gRPC's C++ (1.51): what comes with a call
 * as a context, and a context as what a call takes along. C++17; link what pkg-config says of
 * grpc++.
 *
 * A server, in a handler that blocks. The context has the earlier of gRPC's deadline and the
 * policy's, the trace and the baggage, and ends when the client gives up, goes, or is cut
 * off. Where time is up already, the handler does not run:
 *
 *     grpc::Status Get(grpc::ServerContext *from, const In *in, Out *out) override
 *     {
 *         return canopy::grpc_serve(root, *from, policy, [&](canopy::context_ref ctx) {
 *             return work(ctx, *in, *out); // any status; grpc_status(ctx) where ctx has ended
 *         });
 *     }
 *
 * In the callback API a reactor derives from grpc_reactor, which hears of the cancel by
 * OnCancel, and deletes itself in OnDone, as any does:
 *
 *     struct get : canopy::grpc_reactor<grpc::ServerUnaryReactor> {
 *         get(grpc::CallbackServerContext *from) : grpc_reactor{root, *from, policy}
 *         {
 *             if (!is_answered() && finish_at_end() == 0)
 *                 ... start work with request(); whoever has done it calls finish(status) ...
 *         }
 *         void OnDone() override { delete this; }
 *     };
 *
 * With a completion queue: with_grpc once the call has come; then grpc_hear_cancel, or
 * grpc_cancelled at the tag of AsyncNotifyWhenDone, where IsCancelled says so.
 *
 * A client. Each try tells the server what is left at that moment, less the policy's reserve,
 * and is cancelled when the context ends; where nothing is left nothing is sent:
 *
 *     grpc::Status status = canopy::grpc_ask(ctx, policy, [&](grpc::ClientContext *to) {
 *         return stub->Get(to, in, &out);
 *     });
 *
 * is one try; for the next one it is called anew. In the callback API, and with a queue, a
 * grpc_try is placed where it lasts until the call is over; the status that then comes goes
 * through grpc_answered.
 *
 * How a handler that blocks hears of a cancel: gRPC 1.51 tells it nothing, it has to ask
 * IsCancelled. But a cancel goes on to calls that are made as children of the server's
 * (ClientContext::FromServerContext). So one is made that never sends anything and connects
 * to nobody, and its end is the message. It costs a call's memory, and goes by itself when
 * the server's call is over.
 *
 * gRPC keeps time in milliseconds, and what it sends is rounded up, to three digits: so a
 * server may have a deadline that is later than the client's, by a hundredth and 1 ms. What
 * the client cancels at its own ends it all the same. A peer that is silent, rather than
 * gone, is noticed at the deadline, or by gRPC's keepalive.
 *
 * Where there is no memory gRPC ends the process; canopy's own calls tell it as elsewhere.
 */
#ifndef CANOPY_ADAPTERS_GRPC_HPP
#define CANOPY_ADAPTERS_GRPC_HPP

#include <canopy/callback.hpp>
#include <canopy/context.hpp>
#include <canopy/wire.hpp>

#include <grpc/support/time.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace canopy
{

/* ---------------------------------------------------------------- statuses */

namespace detail
{

/* Its text is the status's name, for a cause's text stays in the process. */
inline ::grpc::Status grpc_named(int code)
{
    const canopy_cause *const named = canopy_wire_cause(code);
    return named ? ::grpc::Status{static_cast<::grpc::StatusCode>(code), named->text}
                 : ::grpc::Status{};
}

/* What to answer where a context could not be made. */
inline ::grpc::Status grpc_unmade(int error)
{
    switch (error) {
    case EAGAIN:
        return grpc_named(::grpc::StatusCode::UNAVAILABLE);
    case ENOMEM:
        return grpc_named(::grpc::StatusCode::RESOURCE_EXHAUSTED);
    default:
        return grpc_named(::grpc::StatusCode::INTERNAL);
    }
}

inline std::string_view grpc_view(const ::grpc::string_ref &text) noexcept
{
    return {text.data(), text.size()};
}

} // namespace detail

/* canopy_wire_status as gRPC has it: OK while `ctx` is live. */
[[nodiscard]] inline ::grpc::Status grpc_status(context_ref ctx)
{
    return detail::grpc_named(canopy_wire_status(ctx.get()).grpc_status);
}

/* canopy_wire_cause: what to cancel with where this status came; NULL for OK. */
[[nodiscard]] inline const canopy_cause *grpc_cause(const ::grpc::Status &status)
{
    return canopy_wire_cause(static_cast<int>(status.error_code()));
}

/*
 * The status to report where `came` is how a try for `ctx` ended. CANCELLED is what gRPC
 * says of a try that the end of `ctx` has cancelled: in its place there is that end's own,
 * and DEADLINE_EXCEEDED where the deadline has passed (canopy_wire_answered).
 */
[[nodiscard]] inline ::grpc::Status grpc_answered(context_ref ctx, const ::grpc::Status &came)
{
    const int code = static_cast<int>(came.error_code());
    if (code != ::grpc::StatusCode::CANCELLED)
        return came;
    if (ctx.done())
        return grpc_status(ctx);
    const int told = canopy_wire_answered(ctx.get(), code, canopy_now_ns());
    return told == code ? came : detail::grpc_named(told);
}

/* ------------------------------------------------------------------ server */

namespace detail
{

/* How long until then: 0 where it is past, CANOPY_NEVER where it does not come. */
inline std::int64_t grpc_left_ns(gpr_timespec deadline) noexcept
{
    constexpr std::int64_t second_ns = 1000000000;
    const gpr_timespec left = gpr_time_sub(gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC),
                                           gpr_now(GPR_CLOCK_MONOTONIC));
    if (left.tv_sec < 0)
        return 0;
    if (left.tv_sec >= std::numeric_limits<std::int64_t>::max() / second_ns)
        return CANOPY_NEVER;
    return left.tv_sec * second_ns + left.tv_nsec;
}

} // namespace detail

/*
 * A context for a call that has come: canopy_with_wire, with what the policy takes of the
 * call's metadata, and with gRPC's own deadline, whatever fields that names. Owned by the
 * caller. Time-outs in milliseconds count from here, since gRPC does not say when the call
 * arrived. Born done where time is up. Nothing ends it yet but that: see grpc_hear_cancel.
 * Empty, with errno, as there; EINVAL also for a policy that is not valid.
 */
[[nodiscard]] inline context with_grpc(detail::parent_ref parent,
                                       const ::grpc::ServerContextBase &from,
                                       const canopy_wire_policy &policy)
{
    wire_in wire{policy, moment::now()};
    if (wire.error() != 0) {
        errno = -wire.error();
        return context{};
    }
    for (const auto &header : from.client_metadata())
        wire.take(detail::grpc_view(header.first), detail::grpc_view(header.second));
    wire.timeout_ns = std::min(wire.timeout_ns, detail::grpc_left_ns(from.raw_deadline()));
    return with_wire(parent, wire);
}

/*
 * Ends the context of a call that gRPC says is cancelled: with the cause of DEADLINE_EXCEEDED
 * where its deadline has passed, for that is then why; else with that of CANCELLED. False:
 * it had ended before.
 */
template <class Owner> bool grpc_cancelled(owner<Owner> &request)
{
    const bool is_late = request.err_at(moment::now()) == -ETIMEDOUT;
    if (is_late && !request.done())
        return request.set_deadline(moment::from_ns(0));
    return request.cancel(canopy_wire_cause(::grpc::StatusCode::CANCELLED));
}

namespace detail
{

/*
 * The call that never sends anything. It owns itself, and a reference to the context: gRPC
 * ends it when the call that it is a child of is cancelled, or over.
 */
class grpc_ear final : private ::grpc::ClientBidiReactor<::grpc::ByteBuffer, ::grpc::ByteBuffer>
{
  public:
    grpc_ear(context &request, const ::grpc::ServerContextBase &call)
        : request_{request}, child_{::grpc::ClientContext::FromServerContext(call, only_cancel())}
    {
    }

    /* From here on it may be gone at any time. */
    void listen()
    {
        child_->set_initial_metadata_corked(true); /* so that StartCall sends nothing */
        nobody().PrepareBidiStreamingCall(child_.get(), "/canopy/ear", {}, this);
        StartCall();
    }

  private:
    static ::grpc::PropagationOptions only_cancel()
    {
        return ::grpc::PropagationOptions{}
            .disable_deadline_propagation()
            .disable_census_stats_propagation()
            .disable_census_tracing_propagation();
    }

    /* A channel connects when something is to be sent. Never freed: handlers may run at exit. */
    static ::grpc::GenericStub &nobody()
    {
        static auto *const stub = new ::grpc::GenericStub{
            ::grpc::CreateChannel("unix:/canopy/nobody", ::grpc::InsecureChannelCredentials())};
        return *stub;
    }

    void OnDone(const ::grpc::Status &) override
    {
        grpc_cancelled(request_);
        delete this;
    }

    shared_owner request_;
    std::unique_ptr<::grpc::ClientContext> child_;
};

} // namespace detail

/*
 * From here on `request` ends when the call does: when it is cancelled, as soon as gRPC
 * knows; else once it has been answered. For servers of all three kinds, once the call has
 * come. A reference to the context is kept until the call is over, which may be a moment after
 * the handler has returned. False, and nothing has changed: there is no memory.
 */
[[nodiscard]] inline bool grpc_hear_cancel(context &request, ::grpc::ServerContextBase &call)
{
    if (!call.c_call()) /* a test's own, which no gRPC has made: nothing will come */
        return true;
    auto *const ear = new (std::nothrow) detail::grpc_ear{request, call};
    if (!ear)
        return false;
    ear->listen();
    return true;
}

/*
 * Runs handler(ctx), which returns a grpc::Status, under a context for the call that also
 * ends with it, and returns that status. Where time is up, or no context is to be had, it
 * does not run: DEADLINE_EXCEEDED (or what else ended `parent`), UNAVAILABLE for EAGAIN,
 * RESOURCE_EXHAUSTED for ENOMEM, INTERNAL for EINVAL. What is derived from ctx keeps its
 * memory, but has ended when this returns.
 */
template <class Handler>
::grpc::Status grpc_serve(detail::parent_ref parent, ::grpc::ServerContextBase &call,
                          const canopy_wire_policy &policy, Handler &&handler)
{
    context request = with_grpc(parent, call, policy);
    if (!request)
        return detail::grpc_unmade(errno);
    if (request.done())
        return grpc_status(request);
    if (!grpc_hear_cancel(request, call))
        return detail::grpc_unmade(ENOMEM);
    return std::forward<Handler>(handler)(context_ref{request});
}

/*
 * A reactor of the callback API (ServerUnaryReactor or another of gRPC's) with a context for
 * its call, which ends when gRPC says OnCancel. Whoever derives from it writes OnDone, and
 * overrides OnCancel only to call this one.
 */
template <class Reactor> class grpc_reactor : public Reactor
{
  public:
    /* Ends the context, on one of gRPC's threads, and so runs callbacks there. */
    void OnCancel() override
    {
        if (request_)
            grpc_cancelled(request_);
    }

  protected:
    /* with_grpc; what came of that is_answered tells. */
    grpc_reactor(detail::parent_ref parent, const ::grpc::ServerContextBase &call,
                 const canopy_wire_policy &policy)
        : request_{with_grpc(parent, call, policy)}, error_{request_ ? 0 : errno}, ended_{}
    {
    }

    /* The call's context; empty where none was to be had. */
    context &request() noexcept
    {
        return request_;
    }

    /*
     * Asked once, before anything is begun. True: time is up or there is no context, and
     * the call has been answered as grpc_serve does: begin nothing, wait for OnDone.
     */
    [[nodiscard]] bool is_answered()
    {
        if (request_ && !request_.done())
            return false;
        this->Finish(request_ ? grpc_status(request_) : detail::grpc_unmade(error_));
        return true;
    }

    /*
     * From here on the end of the context answers the call, unless finish was first: for
     * reactors that begin nothing after it, and whose work does not use them after OnDone.
     * 0, or -ENOMEM: then the call has been answered.
     */
    [[nodiscard]] int finish_at_end()
    {
        const int error = ended_.start(request_, [this] { this->Finish(grpc_status(request_)); });
        if (error != 0)
            this->Finish(detail::grpc_unmade(-error));
        return error;
    }

    /*
     * After finish_at_end, in the place of Finish. True: this is the answer; false: the end
     * of the context was first.
     */
    bool finish(const ::grpc::Status &status)
    {
        if (!ended_.stop())
            return false;
        this->Finish(status);
        return true;
    }

  private:
    context request_;
    int error_;
    any_callback ended_; /* goes first, and waits where it runs just now */
};

/* ------------------------------------------------------------------ client */

/*
 * One try of a call for `ctx`: a grpc::ClientContext that has its deadline and its metadata
 * (canopy_wire_write, at this moment, the deadline in the place of grpc-timeout), and is
 * cancelled when `ctx` ends, by whoever ends it. It stays in place, and lasts, until the call
 * is over: where it blocks until that returned, else until OnDone. There it may go.
 */
class grpc_try
{
  public:
    /* `span` is as canopy_wire_write takes it. */
    grpc_try(lasting_ref ctx, const canopy_wire_policy &policy,
             const canopy_traceparent *span = nullptr)
        : ctx_{ctx}, error_{prepare(policy, span)}, ended_{}
    {
        if (error_ == 0)
            error_ = ended_.start(ctx, [this] { to_.TryCancel(); });
    }
    grpc_try(const grpc_try &) = delete;
    grpc_try &operator=(const grpc_try &) = delete;

    /*
     * 0; or why nothing is to be sent: -ETIMEDOUT, -ECANCELED, -EINVAL as canopy_wire_write,
     * -ENOMEM.
     */
    [[nodiscard]] int error() const noexcept
    {
        return error_;
    }
    explicit operator bool() const noexcept
    {
        return error_ == 0;
    }

    /* What to report where there is an error; else OK. */
    [[nodiscard]] ::grpc::Status status() const
    {
        if (error_ == 0)
            return {};
        if (ctx_.done())
            return grpc_status(ctx_);
        return error_ == -ETIMEDOUT ? detail::grpc_named(::grpc::StatusCode::DEADLINE_EXCEEDED)
                                    : detail::grpc_unmade(-error_);
    }

    /* For the stub, unless there is an error. */
    [[nodiscard]] ::grpc::ClientContext *to() noexcept
    {
        return &to_;
    }

  private:
    /* gRPC's clock is read first, so that what it is told is not later than what is left. */
    int prepare(const canopy_wire_policy &policy, const canopy_traceparent *span)
    {
        const gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
        canopy_wire_policy with_deadline = policy;
        with_deadline.fields |= CANOPY_WIRE_GRPC_TIMEOUT;
        return wire_write(
            ctx_, with_deadline, moment::now(),
            [this, now](std::string_view name, std::string_view value) {
                return put(now, name, value);
            },
            span);
    }

    /* The time-out's header is gRPC's to write, from the deadline. */
    int put(gpr_timespec now, std::string_view name, std::string_view value)
    {
        std::int64_t left_ns = 0;
        if (name != "grpc-timeout") {
            to_.AddMetadata(std::string{name}, std::string{value});
            return 0;
        }
        const int error = canopy_grpc_timeout_parse(value.data(), value.size(), &left_ns);
        to_.set_deadline(gpr_time_add(now, gpr_time_from_nanos(left_ns, GPR_TIMESPAN)));
        return error;
    }

    ::grpc::ClientContext to_;
    context_ref ctx_;
    int error_;
    any_callback ended_; /* goes before what it cancels, and waits where it runs just now */
};

/*
 * One try that blocks: call(to), which returns a grpc::Status, with a grpc_try's
 * ClientContext. Returns grpc_answered of that; where nothing is to be sent, call does not
 * run, and grpc_try's status is returned.
 */
template <class Call>
[[nodiscard]] ::grpc::Status grpc_ask(lasting_ref ctx, const canopy_wire_policy &policy,
                                      Call &&call)
{
    grpc_try attempt{ctx, policy};
    if (!attempt)
        return attempt.status();
    return grpc_answered(ctx, std::forward<Call>(call)(attempt.to()));
}

} // namespace canopy

#endif
