// cancel.h - one cancel that ends many: a parent with up to a million children,
// and a chain up to a hundred thousand deep. Only the cancel is timed; the
// result is for each context.
#ifndef CANOPY_BENCH_WORKLOADS_CANCEL_H
#define CANOPY_BENCH_WORKLOADS_CANCEL_H

#include <future>
#include <memory>
#include <thread>

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

enum class Shape { wide, deep };

template <class P, Shape shape> class Cancel : public Work
{
  public:
    Cancel(int64_t size, int)
        : n_(static_cast<size_t>(size)), nodes_(std::make_unique<typename P::node[]>(n_))
    {
    }

    void sample(Run &run) override
    {
        typename P::node top{};

        P::child(top, root_.node);
        for (size_t i = 0; i < n_; i++)
            P::child(nodes_[i], shape == Shape::wide || i == 0 ? top : nodes_[i - 1]);

        const int64_t start_ns = now_ns();
        P::cancel(top);
        const int64_t end_ns = now_ns();

        if (!P::done(nodes_[n_ - 1]))
            run.fail("a descendant is not done after the cancel");
        run.record(static_cast<double>(end_ns - start_ns) / static_cast<double>(n_));
        for (size_t i = n_; i-- > 0;)
            P::end(nodes_[i]);
        P::end(top);
    }

  private:
    Root<P> root_;
    const size_t n_;
    std::unique_ptr<typename P::node[]> nodes_;
};

// In a process that has a second thread, as servers have: some peers' locks and
// counters are cheaper in one that has never had any.
template <class P, Shape shape> class CancelThreaded : public Cancel<P, shape>
{
  public:
    using Cancel<P, shape>::Cancel;

    ~CancelThreaded() override
    {
        over_.set_value();
        bystander_.join();
    }

  private:
    std::promise<void> over_;
    std::thread bystander_{[over = over_.get_future()] { over.wait(); }};
};

template <class P> void add_cancel_wide()
{
    add({.workload = "cancel_wide",
         .side = P::name,
         .make = make<CancelThreaded<P, Shape::wide>>,
         .sizes = {{100, 1000}, {1000, 100}, {100000, 3}, {1000000, 1}}});
    add({.workload = "cancel_wide_alone",
         .side = P::name,
         .make = make<Cancel<P, Shape::wide>>,
         .sizes = {{1000000, 1}}});
}

template <class P> void add_cancel_deep()
{
    std::vector<Size> sizes;

    for (const Size size : {Size{100, 1000}, Size{1000, 100}, Size{10000, 10}, Size{100000, 3}}) {
        if (size.value <= P::deepest)
            sizes.push_back(size);
    }
    add({.workload = "cancel_deep",
         .side = P::name,
         .make = make<CancelThreaded<P, Shape::deep>>,
         .sizes = sizes});
}

} // namespace bench

#endif
