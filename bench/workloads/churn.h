// churn.h - many live contexts under one root, of which a random one ends and a
// new one takes its place: memory that is neither hot nor in order. The live
// ones are shared out among the threads.
#ifndef CANOPY_BENCH_WORKLOADS_CHURN_H
#define CANOPY_BENCH_WORKLOADS_CHURN_H

#include <memory>

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

template <class P> class Churn : public Work
{
  public:
    Churn(int64_t size, int threads)
        : share_(static_cast<size_t>(size / threads)), n_(share_ * static_cast<size_t>(threads)),
          live_(std::make_unique<typename P::node[]>(n_))
    {
        for (size_t i = 0; i < n_; i++)
            P::child(live_[i], root_.node);
    }

    ~Churn() override
    {
        for (size_t i = 0; i < n_; i++)
            P::end(live_[i]);
    }

    void loop(int thread, uint64_t operations) override
    {
        typename P::node *const mine = &live_[static_cast<size_t>(thread) * share_];

        for (uint64_t seed = static_cast<uint64_t>(thread) + 1; operations > 0; operations--) {
            typename P::node &place = mine[random(seed) % share_];

            P::end(place);
            P::child(place, root_.node);
        }
    }

  private:
    Root<P> root_;
    const size_t share_; // of each thread
    const size_t n_;
    std::unique_ptr<typename P::node[]> live_;
};

template <class P> void add_churn()
{
    add({.workload = "churn",
         .side = P::name,
         .make = make<Churn<P>>,
         .sizes = {{100000, 0}},
         .threads = {1, 2}});
}

} // namespace bench

#endif
