// observe.h - what is done to a context while it is live, many times over: asking
// whether it has ended, adding and stopping a callback, looking up a value.
#ifndef CANOPY_BENCH_WORKLOADS_OBSERVE_H
#define CANOPY_BENCH_WORKLOADS_OBSERVE_H

#include <memory>

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

template <class P> class Err : public Work
{
  public:
    Err(int64_t, int)
    {
        P::child(node_, root_.node);
    }

    ~Err() override
    {
        P::end(node_);
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--)
            keep(P::done(node_));
    }

  private:
    Root<P> root_;
    typename P::node node_{};
};

template <class P> class Callback : public Work
{
  public:
    Callback(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::callback record;

            P::callback_add(
                root_.node, record, [](void *) {}, this);
            P::callback_stop(record);
        }
    }

  private:
    Root<P> root_;
};

template <class P> class Value : public Work
{
  public:
    Value(int64_t size, int)
        : n_(static_cast<size_t>(size)), keys_(std::make_unique<typename P::key[]>(n_)),
          layers_(std::make_unique<typename P::node[]>(n_))
    {
        for (size_t i = 0; i < n_; i++)
            P::value(layers_[i], i == 0 ? root_.node : layers_[i - 1], keys_[i], this);
    }

    ~Value() override
    {
        for (size_t i = n_; i-- > 0;)
            P::end(layers_[i]);
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--)
            keep(P::lookup(layers_[n_ - 1], keys_[0]));
    }

  private:
    Root<P> root_;
    const size_t n_;
    std::unique_ptr<typename P::key[]> keys_; // each layer binds its own; the outermost is first
    std::unique_ptr<typename P::node[]> layers_;
};

template <class P> void add_err()
{
    add({.workload = "err", .side = P::name, .make = make<Err<P>>});
}

template <class P> void add_callback()
{
    if constexpr (Called<P>)
        add({.workload = "callback",
             .side = P::name,
             .make = make<Callback<P>>,
             .threads = {1, 2}});
}

template <class P> void add_value()
{
    if constexpr (Valued<P>)
        add({.workload = "value", .side = P::name, .make = make<Value<P>>, .sizes = {{32, 0}}});
}

} // namespace bench

#endif
