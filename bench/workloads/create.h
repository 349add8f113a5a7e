// create.h - a context's shortest life: made under one parent that all threads
// share, cancelled, released. The parent is the root, or a context in the middle
// of the tree; without and with a timeout.
#ifndef CANOPY_BENCH_WORKLOADS_CREATE_H
#define CANOPY_BENCH_WORKLOADS_CREATE_H

#include "adapter.h"
#include "harness.h"

namespace bench
{

template <class P> class Create : public Work
{
  public:
    Create(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::node made{};

            P::child(made, root_.node);
            P::end(made);
        }
    }

  private:
    Root<P> root_;
};

template <class P> class CreateMiddle : public Work
{
  public:
    CreateMiddle(int64_t, int)
    {
        P::child(above_, root_.node);
        P::child(parent_, above_);
    }

    ~CreateMiddle() override
    {
        P::end(parent_);
        P::end(above_);
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::node made{};

            P::child(made, parent_);
            P::end(made);
        }
    }

  private:
    Root<P> root_;
    typename P::node above_{}, parent_{};
};

template <class P> class CreateTimeout : public Work
{
  public:
    CreateTimeout(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--) {
            typename P::node made{};

            P::timeout(made, root_.node);
            P::end(made);
        }
    }

  private:
    Root<P> root_;
};

template <class P> void add_create()
{
    add({.workload = "create", .side = P::name, .make = make<Create<P>>, .threads = {1, 2, 4, 8}});
}

template <class P> void add_create_middle()
{
    add({.workload = "create_middle",
         .side = P::name,
         .make = make<CreateMiddle<P>>,
         .threads = {1, 2}});
}

template <class P> void add_create_timeout()
{
    if constexpr (Timed<P>)
        add({.workload = "create_timeout",
             .side = P::name,
             .make = make<CreateTimeout<P>>,
             .threads = {1, 2}});
}

} // namespace bench

#endif
