/*
 * remote.cc - a server and a client of gRPC: what is left of a deadline goes along, a cancel
 * reaches the handler there, though that blocks, and where time is up nothing is sent.
 *
 * Prints:
 *     server: "hello" has less than a minute
 *     client: OK
 *     server: "slow" ended, "CANCELLED"
 *     client: UNAVAILABLE
 *     client: DEADLINE_EXCEEDED, and nothing was sent
 */
#include <canopy/adapters/grpc.hpp>
#include <canopy/canopy.hpp>

#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/method_handler.h>

#include <cstdio>
#include <string>

namespace
{

using namespace std::chrono_literals;
using grpc::ByteBuffer;

canopy::root root;
canopy::shared_owner slow_call; /* what the client does not want any more */
canopy::context slow_is_over = canopy::with_cancel(root);

/* What both have agreed on. */
canopy::wire_policy agreed()
{
    canopy::wire_policy policy{CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE};
    policy.max_timeout_ns = 300'000'000'000; /* whatever a client says, and if it says nothing */
    policy.reserve_ns = 2'000'000'000;       /* for the network, and for our own answer */
    return policy;
}
const canopy::wire_policy policy = agreed();

std::string text_of(const ByteBuffer &buffer)
{
    grpc::Slice slice;
    return buffer.DumpToSingleSlice(&slice).ok()
               ? std::string{reinterpret_cast<const char *>(slice.begin()), slice.size()}
               : std::string{};
}

/* The server's work, which knows of canopy alone. */
grpc::Status work(canopy::context_ref ctx, const std::string &text)
{
    if (text == "slow") {
        slow_call.cancel(canopy_wire_cause(grpc::StatusCode::UNAVAILABLE)); /* the client's */
        ctx.wait();
        std::printf("server: \"slow\" ended, \"%s\"\n", ctx.cause_of()->text);
        slow_is_over.cancel();
    } else if (ctx.deadline() < canopy::moment::now() + 60s) {
        std::printf("server: \"%s\" has less than a minute\n", text.c_str());
    }
    return canopy::grpc_status(ctx);
}

/* The handler, as a service that protoc has generated would have it. */
grpc::Status get(grpc::ServerContext *from, const ByteBuffer *in, ByteBuffer *out)
{
    *out = *in;
    return canopy::grpc_serve(root, *from, policy,
                              [&](canopy::context_ref ctx) { return work(ctx, text_of(*in)); });
}

const char *const method = "/Example/Get";
constexpr auto unary = grpc::internal::RpcMethod::NORMAL_RPC;

/* And in the place of what protoc generates: one method, whose messages are bytes. */
struct service : grpc::Service {
    service()
    {
        AddMethod(new grpc::internal::RpcServiceMethod(
            method, unary,
            new grpc::internal::RpcMethodHandler<service, ByteBuffer, ByteBuffer>(
                [](service *, grpc::ServerContext *from, const ByteBuffer *in, ByteBuffer *out) {
                    return get(from, in, out);
                },
                this)));
    }
};

/* One try, which has what is left of ctx, and ends when that does. */
grpc::Status ask(canopy::context_ref ctx, grpc::Channel &server, const std::string &text)
{
    const grpc::Slice slice{text};
    const ByteBuffer in{&slice, 1};
    ByteBuffer out;
    return canopy::grpc_ask(ctx, policy, [&](grpc::ClientContext *to) {
        return grpc::internal::BlockingUnaryCall(&server, {method, unary}, to, in, &out);
    });
}

void be_client(grpc::Channel &server)
{
    canopy::context request = canopy::with_timeout(root, 60s);
    std::printf("client: %s\n", ask(request, server, "hello").ok() ? "OK" : "no answer");

    canopy::context patient = canopy::with_cancel(root);
    slow_call = canopy::shared_owner{patient};
    const grpc::Status status = ask(patient, server, "slow");
    slow_is_over.wait();
    std::printf("client: %s\n", status.error_message().c_str());

    canopy::context brief = canopy::with_timeout(root, 1s); /* less than the reserve */
    std::printf("client: %s, and nothing was sent\n",
                ask(brief, server, "late").error_message().c_str());
}

} // namespace

int main()
{
    service here;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&here);
    const auto server = builder.BuildAndStart();
    const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                             grpc::InsecureChannelCredentials());
    be_client(*channel);
    server->Shutdown();
    server->Wait();
    return 0;
}
