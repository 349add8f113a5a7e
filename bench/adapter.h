// adapter.h - what a peer is to the workloads: a struct of static functions over
// a node that the workload places. The workloads are templates over it, so that
// each side's calls are the ones that a user would write.
//
//   name                          the side's name
//   node                          a context; made by the functions below, once
//   root(made)                    what all is done under; its clock runs already
//   child(made, parent)           a context that the parent's cancel reaches
//   timeout(made, parent)         the same, which ends in 30 s
//   deadline(made, parent, at_ns) the same, which ends at that CLOCK_MONOTONIC
//   value(made, parent, key, v)   a layer that binds `key` to `v`
//   lookup(node, key)             the value bound to `key` above
//   cancel(node)                  ends it and all below; it stays in memory
//   end(node)                     cancels it if it is live, and frees it
//   done(node)                    has it ended?
//   wait(node)                    sleeps until it has
//   callback                      a callback's record
//   callback_add(node, record, fn, arg), callback_stop(record)
//   fires                         true: a deadline runs callbacks unasked
//   deepest                       how deep a chain it can cancel
//
// What a peer lacks is left out, and so are the workloads that need it.
#ifndef CANOPY_BENCH_ADAPTER_H
#define CANOPY_BENCH_ADAPTER_H

#include <cstdint>

namespace bench
{

using Fn = void (*)(void *);

template <class P>
concept Timed = requires(typename P::node &node)
{
    P::timeout(node, node);
};

template <class P>
concept Dated = requires(typename P::node &node)
{
    P::deadline(node, node, int64_t(0));
};

template <class P>
concept Valued = requires(typename P::node &node, typename P::key &key)
{
    P::lookup(node, key);
};

template <class P>
concept Waited = requires(typename P::node &node)
{
    P::wait(node);
};

template <class P>
concept Called = requires(typename P::callback &record)
{
    P::callback_stop(record);
};

template <class P>
concept Fires = Dated<P> && Called<P> && P::fires;

// A root for as long as the object lives.
template <class P> struct Root {
    Root()
    {
        P::root(node);
    }
    ~Root()
    {
        P::end(node);
    }
    Root(const Root &) = delete;
    Root &operator=(const Root &) = delete;

    typename P::node node{};
};

} // namespace bench

#endif
