/*
 * node.cc - a process of a chain of gRPC servers, for the tests and for tools/demo: it takes
 * calls and passes each on to the next node, or is the last and works; and it makes calls
 * itself, as it is told on its standard input. What happens to each call it tells on its
 * standard output, a line each, with the time:
 *
 *     listening PORT
 *     came AT_NS ID LEFT_NS          LEFT_NS: until the deadline, or "never"
 *     ended AT_NS ID STATUS TEXT     its context has ended: as which status, by which cause
 *     answered AT_NS ID STATUS       what it answered, or, of its own calls, what came
 *     refused AT_NS STATUS           time was up as it came
 *     tried AT_NS ID STATUS          a try that failed, after which there is another one
 *     gone ERROR                     all that it had is given back: 0
 *
 * It reads:
 *
 *     call ID TIMEOUT_MS TEXT        TIMEOUT_MS 0: none; what TEXT says is for the last node
 *     cancel ID STATUS               ends that call, with the cause of a status
 *     drain STATUS                   ends all that runs, here and so below
 *
 * and ends with its input, so that it never outlives who started it. A call's text is ID,
 * then "work MS", "end STATUS" (its context is cancelled with that status's cause) or
 * "trace". Usage: chain-node [--listen HOST:PORT] [--next HOST:PORT] [--blocking]
 * [--reserve-ms N] [--cap-ms N] [--tries N] [--quiet]
 */
#include <canopy/adapters/grpc.hpp>
#include <canopy/canopy.hpp>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <unistd.h>

#include "method.h"

namespace
{

using namespace std::chrono_literals;

struct {
    const char *listen = nullptr, *next = nullptr;
    bool is_blocking = false, is_quiet = false;
    int tries = 1;
} options;

canopy::root root;
canopy::wire_policy policy{CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE};
std::shared_ptr<grpc::Channel> next; /* none: this is the last */

/* ----------------------------------------------------------------- what is told */

/* In one write, so that lines of several threads stay whole. */
__attribute__((format(printf, 1, 2))) void tell(const char *format, ...)
{
    char line[512];
    std::va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    const auto bytes = std::min(static_cast<std::size_t>(length), sizeof line);
    if (write(STDOUT_FILENO, line, bytes) < 0)
        std::_Exit(1); /* nobody listens any more */
}

std::string id_of(const std::string &text)
{
    return text.substr(0, text.find(' '));
}

void tell_came(canopy::context_ref ctx, const std::string &id)
{
    if (options.is_quiet)
        return;
    const std::int64_t now_ns = canopy_now_ns();
    std::int64_t deadline_ns;
    if (canopy_deadline(ctx.get(), &deadline_ns))
        tell("came %" PRId64 " %s %" PRId64 "\n", now_ns, id.c_str(), deadline_ns - now_ns);
    else
        tell("came %" PRId64 " %s never\n", now_ns, id.c_str());
}

void tell_ended(canopy::context_ref ctx, const std::string &id)
{
    if (!options.is_quiet)
        tell("ended %" PRId64 " %s %d %s\n", canopy_now_ns(), id.c_str(),
             canopy::wire_status(ctx).grpc_status, canopy_cause_of(ctx.get())->text);
}

void tell_status(const char *what, const std::string &id, const grpc::Status &status)
{
    if (!options.is_quiet)
        tell("%s %" PRId64 " %s %d\n", what, canopy_now_ns(), id.c_str(),
             static_cast<int>(status.error_code()));
}

/* ------------------------------------------------------------------- the last node */

/* Does what the text says, as long as `ctx` lasts. */
grpc::Status work(canopy::context &ctx, const std::string &text, std::string &answer)
{
    const std::string order = text.substr(std::min(text.find(' '), text.size()));
    int number = 0;
    if (std::sscanf(order.c_str(), " work %d", &number) == 1)
        canopy_sleep(ctx.get(), number * INT64_C(1000000));
    else if (std::sscanf(order.c_str(), " end %d", &number) == 1)
        canopy_cancel_cause(ctx.get(), canopy_wire_cause(number));
    else if (const canopy_traceparent *trace = canopy::traceparent_of(ctx))
        answer.assign(canopy::traceparent{*trace}.text().data(), CANOPY_TRACEPARENT_BYTES);
    return canopy::grpc_status(ctx);
}

/* ------------------------------------------------------------------ handlers that block */

/* What came back ends the call that was passed on, so that its cause is here, too. */
grpc::Status pass_on(canopy::context &ctx, const std::string &id, const std::string &text,
                     grpc::ByteBuffer *out)
{
    const grpc::ByteBuffer in = chain::to_buffer(text);
    grpc::Status status;
    for (int left = options.tries; left > 0; left--) {
        status = canopy::grpc_ask(ctx, policy, [&](grpc::ClientContext *to) {
            to->set_wait_for_ready(left < options.tries); /* for what the last one has lost */
            return chain::call(*next, to, in, out);
        });
        if (status.error_code() != grpc::StatusCode::UNAVAILABLE || left == 1)
            break;
        tell_status("tried", id, status);
    }
    if (status.ok())
        return status;
    canopy_cancel_cause(ctx.get(), canopy::grpc_cause(status));
    return canopy::grpc_status(ctx);
}

grpc::Status handle(canopy::context_ref of, const grpc::ByteBuffer &in, grpc::ByteBuffer *out)
{
    const std::string text = chain::to_text(in), id = id_of(text);
    canopy::context ctx = canopy::with_cancel(of);
    canopy::callback on_end{ctx, [&] { tell_ended(ctx, id); }};
    if (!ctx || !on_end)
        return grpc::Status{grpc::StatusCode::RESOURCE_EXHAUSTED, ""};
    tell_came(ctx, id);
    std::string answer = text;
    grpc::Status status = next ? pass_on(ctx, id, text, out) : work(ctx, text, answer);
    if (!next)
        *out = chain::to_buffer(answer);
    if (on_end.stop() && ctx.done()) /* seen before the callback had its turn */
        tell_ended(ctx, id);
    tell_status("answered", id, status);
    return status;
}

grpc::Status handle_blocking(grpc::ServerContext *from, const grpc::ByteBuffer *in,
                             grpc::ByteBuffer *out)
{
    bool has_run = false;
    grpc::Status status = canopy::grpc_serve(root, *from, policy, [&](canopy::context_ref ctx) {
        has_run = true;
        return handle(ctx, *in, out);
    });
    if (!has_run)
        tell_status("refused", "", status);
    return status;
}

/* ------------------------------------------------------------------------- reactors */

/* The last node: works on a thread of the library's, and answers when that is done, or at the end.
 */
class last final : public canopy::grpc_reactor<grpc::ServerUnaryReactor>
{
  public:
    last(grpc::CallbackServerContext *from, const grpc::ByteBuffer *in, grpc::ByteBuffer *out)
        : grpc_reactor{root, *from, policy}, text_{chain::to_text(*in)}, id_{id_of(text_)}
    {
        if (is_answered()) {
            tell_status("refused", "", request() ? canopy::grpc_status(request()) : grpc::Status{});
            return;
        }
        tell_came(request(), id_);
        if (ended_.start(request(), [this] { tell_ended(request(), id_); }) != 0 ||
            finish_at_end() != 0)
            return;
        int work_ms = 0;
        if (std::sscanf(text_.c_str() + id_.size(), " work %d", &work_ms) == 1 && work_ms > 0) {
            timer_ = canopy::with_timeout(root, work_ms * 1ms);
            if (done_.start(timer_, [this, out] { be_done(out); }) == 0)
                return;
        }
        be_done(out);
    }

    void OnDone() override
    {
        delete this;
    }

  private:
    void be_done(grpc::ByteBuffer *out)
    {
        std::string answer = text_;
        const bool is_work = text_.compare(id_.size(), 6, " work ") == 0;
        const grpc::Status status = is_work ? grpc::Status{} : work(request(), text_, answer);
        const std::string id = id_;
        *out = chain::to_buffer(answer);
        finish(status); /* and OnDone may be waiting for this callback */
        tell_status("answered", id, status);
    }

    std::string text_, id_;
    canopy::any_callback ended_;
    canopy::context timer_;
    canopy::any_callback done_;
};

/* One in the middle: its call to the next ends when its context does, and then it answers. */
class middle final : public canopy::grpc_reactor<grpc::ServerUnaryReactor>
{
  public:
    middle(grpc::CallbackServerContext *from, const grpc::ByteBuffer *in, grpc::ByteBuffer *out)
        : grpc_reactor{root, *from, policy}, in_{chain::to_buffer(chain::to_text(*in))}, out_{out},
          id_{id_of(chain::to_text(*in))}
    {
        if (is_answered()) {
            tell_status("refused", "", request() ? canopy::grpc_status(request()) : grpc::Status{});
            return;
        }
        tell_came(request(), id_);
        if (ended_.start(request(), [this] { tell_ended(request(), id_); }) == 0)
            try_next();
        else
            Finish(grpc::Status{grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
    }

    void OnDone() override
    {
        delete this;
    }

  private:
    void try_next()
    {
        tries_++;
        attempt_ = std::make_unique<canopy::grpc_try>(request(), policy);
        if (!*attempt_)
            return answer(attempt_->status());
        attempt_->to()->set_wait_for_ready(tries_ > 1); /* for what the last one has lost */
        grpc::GenericStub{next}.UnaryCall(
            attempt_->to(), chain::method_name, {}, &in_, out_,
            [this](const grpc::Status &came) { tried(canopy::grpc_answered(request(), came)); });
    }

    void tried(const grpc::Status &status)
    {
        if (status.error_code() == grpc::StatusCode::UNAVAILABLE && tries_ < options.tries) {
            tell_status("tried", id_, status);
            return try_next();
        }
        answer(status);
    }

    void answer(const grpc::Status &status)
    {
        if (!status.ok())
            canopy_cancel_cause(request().get(), canopy::grpc_cause(status));
        const grpc::Status told = status.ok() ? status : canopy::grpc_status(request());
        if (ended_.stop() && request().done()) /* seen before the callback had its turn */
            tell_ended(request(), id_);
        tell_status("answered", id_, told);
        Finish(told); /* and OnDone may be running */
    }

    grpc::ByteBuffer in_, *out_;
    std::string id_;
    int tries_ = 0;
    canopy::any_callback ended_;
    std::unique_ptr<canopy::grpc_try> attempt_;
};

grpc::ServerUnaryReactor *react(grpc::CallbackServerContext *from, const grpc::ByteBuffer *in,
                                grpc::ByteBuffer *out)
{
    if (next)
        return new middle{from, in, out};
    return new last{from, in, out};
}

/* ---------------------------------------------------------------- calls of its own */

/* A call that this node begins: it has a context of its own, below the root. */
struct own_call {
    own_call(const std::string &text, canopy::moment deadline)
        : id{id_of(text)}, in{chain::to_buffer(text)}, ctx{canopy::with_deadline(root, deadline)}
    {
    }

    std::string id;
    grpc::ByteBuffer in, out;
    canopy::context ctx;
    std::unique_ptr<canopy::grpc_try> attempt;
};

std::mutex calls_lock;
std::map<std::string, std::unique_ptr<own_call>> calls;
std::atomic<unsigned> calls_running{0};

void over(own_call *call, const grpc::Status &came)
{
    const grpc::Status status = canopy::grpc_answered(call->ctx, came);
    tell("answered %" PRId64 " %s %d %s\n", canopy_now_ns(), call->id.c_str(),
         static_cast<int>(status.error_code()),
         status.ok() ? chain::to_text(call->out).c_str() : status.error_message().c_str());
    std::unique_ptr<own_call> gone;
    {
        const std::lock_guard<std::mutex> guard{calls_lock};
        gone = std::move(calls[call->id]);
        calls.erase(call->id);
    }
    gone.reset();
    calls_running--;
}

void begin(const std::string &text, int timeout_ms)
{
    const canopy::moment deadline =
        timeout_ms > 0 ? canopy::moment::now() + timeout_ms * 1ms : canopy::never;
    auto made = std::make_unique<own_call>(text, deadline);
    own_call *const call = made.get();
    calls_running++;
    {
        const std::lock_guard<std::mutex> guard{calls_lock};
        calls[call->id] = std::move(made);
    }
    call->attempt = std::make_unique<canopy::grpc_try>(call->ctx, policy);
    if (!*call->attempt)
        return over(call, call->attempt->status());
    grpc::GenericStub{next}.UnaryCall(call->attempt->to(), chain::method_name, {}, &call->in,
                                      &call->out,
                                      [call](const grpc::Status &came) { over(call, came); });
}

/* The cancel runs callbacks, and what they end takes the lock: so not under it. */
void cancel(const std::string &id, int status)
{
    canopy::shared_owner ctx;
    {
        const std::lock_guard<std::mutex> guard{calls_lock};
        const auto found = calls.find(id);
        if (found != calls.end())
            ctx = canopy::shared_owner{found->second->ctx};
    }
    tell("cancel %" PRId64 " %s\n", canopy_now_ns(), id.c_str());
    canopy_cancel_cause(ctx.get(), canopy_wire_cause(status));
}

void obey(const char *line)
{
    char id[64], text[256];
    int number = 0;
    if (std::sscanf(line, "call %63s %d %255[^\n]", id, &number, text) == 3)
        begin(std::string{id} + ' ' + text, number);
    else if (std::sscanf(line, "cancel %63s %d", id, &number) == 2)
        cancel(id, number);
    else if (std::sscanf(line, "drain %d", &number) == 1)
        canopy_cancel_cause(root.get(), canopy_wire_cause(number));
    else
        tell("what? %s", line);
}

/* ----------------------------------------------------------------------------- main */

bool take_options(char **argument)
{
    for (; *argument; argument++) {
        const std::string_view name = *argument;
        if (name == "--blocking" || name == "--quiet") {
            (name == "--quiet" ? options.is_quiet : options.is_blocking) = true;
            continue;
        }
        const char *const value = *++argument;
        if (!value)
            return false;
        if (name == "--listen")
            options.listen = value;
        else if (name == "--next")
            options.next = value;
        else if (name == "--tries")
            options.tries = std::atoi(value);
        else if (name == "--reserve-ms")
            policy.reserve_ns = std::atoi(value) * INT64_C(1000000);
        else if (name == "--cap-ms")
            policy.max_timeout_ns = std::atoi(value) * INT64_C(1000000);
        else
            return false;
    }
    return options.listen || options.next;
}

std::unique_ptr<grpc::Server> serve(grpc::Service &service)
{
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server)
        tell("listening %d\n", port);
    return server;
}

void obey_all()
{
    char line[512];
    while (std::fgets(line, sizeof line, stdin))
        obey(line);
}

/* All ends, and when it has, so has the server. */
void shut_down(grpc::Server *server)
{
    root.cancel(canopy_wire_cause(grpc::StatusCode::UNAVAILABLE));
    if (server) {
        server->Shutdown(std::chrono::system_clock::now() + 5s);
        server->Wait();
    }
    while (calls_running > 0)
        canopy_sleep(canopy_background(), INT64_C(1000000));
    next.reset();
}

} // namespace

int main(int, char **argv)
{
    if (!take_options(argv + 1)) {
        std::fputs("usage: chain-node [--listen HOST:PORT] [--next HOST:PORT] [--blocking] "
                   "[--reserve-ms N] [--cap-ms N] [--tries N] [--quiet]\n",
                   stderr);
        return 2;
    }
    if (options.next)
        next = grpc::CreateChannel(options.next, grpc::InsecureChannelCredentials());
    chain::blocking_service blocking{handle_blocking};
    chain::reacting_service reacting{react};
    grpc::Service *const service =
        options.is_blocking ? static_cast<grpc::Service *>(&blocking) : &reacting;
    std::unique_ptr<grpc::Server> server;
    if (options.listen && !(server = serve(*service)))
        return 1;
    obey_all();
    shut_down(server.get());
    server.reset();
    const int error = root.close(canopy::moment::now() + 5s);
    tell("gone %d\n", error);
    return error == 0 ? 0 : 1;
}
