/*
 * method.h - one unary method of gRPC whose messages are lines of text, made by hand: no
 * protobuf is generated, or linked. A server has it in one of two ways, by handlers that
 * block or by reactors; a client calls it in the same two.
 */
#ifndef CANOPY_TOOLS_CHAIN_METHOD_H
#define CANOPY_TOOLS_CHAIN_METHOD_H

#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/rpc_method.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/method_handler.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace chain
{

inline constexpr char method_name[] = "/canopy.Chain/Call";

inline grpc::ByteBuffer to_buffer(const std::string &text)
{
    const grpc::Slice slice{text};
    return grpc::ByteBuffer{&slice, 1};
}

/* Of a call that is cancelled before its message came there is none, and this gives "". */
inline std::string to_text(const grpc::ByteBuffer &buffer)
{
    std::vector<grpc::Slice> slices;
    std::string text;
    if (buffer.Dump(&slices).ok())
        for (const grpc::Slice &slice : slices)
            text.append(reinterpret_cast<const char *>(slice.begin()), slice.size());
    return text;
}

/* The method, by a handler that blocks. */
class blocking_service : public grpc::Service
{
  public:
    using handler = std::function<grpc::Status(grpc::ServerContext *, const grpc::ByteBuffer *,
                                               grpc::ByteBuffer *)>;

    explicit blocking_service(handler handle)
    {
        AddMethod(new grpc::internal::RpcServiceMethod(
            method_name, grpc::internal::RpcMethod::NORMAL_RPC,
            new grpc::internal::RpcMethodHandler<blocking_service, grpc::ByteBuffer,
                                                 grpc::ByteBuffer>(
                [handle = std::move(handle)](blocking_service *, grpc::ServerContext *from,
                                             const grpc::ByteBuffer *in, grpc::ByteBuffer *out) {
                    return handle(from, in, out);
                },
                this)));
    }
};

/* The method, by reactors. */
class reacting_service : public grpc::Service
{
  public:
    using handler = std::function<grpc::ServerUnaryReactor *(
        grpc::CallbackServerContext *, const grpc::ByteBuffer *, grpc::ByteBuffer *)>;

    explicit reacting_service(handler handle)
    {
        AddMethod(new grpc::internal::RpcServiceMethod(
            method_name, grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
        MarkMethodCallback(
            0, new grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
                   std::move(handle)));
    }
};

/* Calls it and blocks. */
inline grpc::Status call(grpc::ChannelInterface &channel, grpc::ClientContext *to,
                         const grpc::ByteBuffer &in, grpc::ByteBuffer *out)
{
    return grpc::internal::BlockingUnaryCall(
        &channel, grpc::internal::RpcMethod{method_name, grpc::internal::RpcMethod::NORMAL_RPC}, to,
        in, out);
}

} // namespace chain

#endif
