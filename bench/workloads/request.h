// request.h - the contexts of one request to a server: a connection, the request,
// two calls upstream; all ended in the order in which a server gets to it. The
// whole request also has a timeout and two values.
#ifndef CANOPY_BENCH_WORKLOADS_REQUEST_H
#define CANOPY_BENCH_WORKLOADS_REQUEST_H

#include "adapter.h"
#include "harness.h"

namespace bench
{

// Two calls upstream, on behalf of `request`.
template <class P> inline void call_upstream(typename P::node &request)
{
    typename P::node first{}, second{};

    P::child(first, request);
    P::child(second, request);
    P::end(first);
    P::end(second);
}

template <class P> class RequestPlain : public Work
{
  public:
    RequestPlain(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::node connection{}, request{};

            P::child(connection, root_.node);
            P::child(request, connection);
            call_upstream<P>(request);
            P::end(request);
            P::end(connection);
        }
    }

  private:
    Root<P> root_;
};

template <class P> class RequestWhole : public Work
{
  public:
    RequestWhole(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::node connection{}, request{}, user{}, trace{};

            P::child(connection, root_.node);
            P::timeout(request, connection);
            P::value(user, request, user_key_, this);
            P::value(trace, user, trace_key_, this);
            call_upstream<P>(trace);
            P::end(trace);
            P::end(user);
            P::end(request);
            P::end(connection);
        }
    }

  private:
    Root<P> root_;
    typename P::key user_key_{}, trace_key_{};
};

template <class P> void add_request_whole()
{
    add({.workload = "request", .side = P::name, .make = make<RequestWhole<P>>, .threads = {1, 2}});
}

template <class P> void add_request()
{
    add({.workload = "request_plain",
         .side = P::name,
         .make = make<RequestPlain<P>>,
         .threads = {1, 2}});
    if constexpr (Timed<P> && Valued<P>)
        add_request_whole<P>();
}

} // namespace bench

#endif
