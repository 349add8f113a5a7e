// wake.h - from the cancel of a context to the moment at which the last of its
// waiting threads runs again. Whoever runs it keeps the CPUs from halting, or the
// time to wake one is most of the result (bench/suite/run.py does).
#ifndef CANOPY_BENCH_WORKLOADS_WAKE_H
#define CANOPY_BENCH_WORKLOADS_WAKE_H

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

template <class P> class Wake : public Work
{
  public:
    Wake(int64_t size, int)
        : n_(static_cast<size_t>(size)), start_(size + 1), end_(size + 1), woken_ns_(n_)
    {
        for (size_t i = 0; i < n_; i++)
            waiters_.emplace_back([this, i] { wait(woken_ns_[i]); });
    }

    ~Wake() override
    {
        over_ = true;
        start_.arrive_and_wait();
        for (std::thread &waiter : waiters_)
            waiter.join();
    }

    void sample(Run &run) override
    {
        typename P::node node{};

        P::child(node, root_.node);
        // cppcheck-suppress danglingLifetime ; nobody uses it after end_
        node_ = &node;
        waiting_ = 0;
        start_.arrive_and_wait();
        while (waiting_.load() < n_)
            std::this_thread::sleep_for(settle_each);
        std::this_thread::sleep_for(settle + n_ * settle_each);

        const int64_t start_ns = now_ns();
        P::cancel(node);
        end_.arrive_and_wait();

        const int64_t last_ns = *std::max_element(woken_ns_.begin(), woken_ns_.end());
        run.record(static_cast<double>(last_ns - start_ns));
        P::end(node);
    }

  private:
    // How long the waiters are given to fall asleep.
    static constexpr std::chrono::microseconds settle_each{10}, settle{200};

    void wait(int64_t &woken_ns)
    {
        for (;;) {
            start_.arrive_and_wait();
            if (over_)
                return;
            waiting_++;
            P::wait(*node_);
            woken_ns = now_ns();
            end_.arrive_and_wait();
        }
    }

    Root<P> root_;
    typename P::node *node_ = nullptr;
    const size_t n_;
    std::atomic<size_t> waiting_ = 0; // waiters that are about to sleep
    std::atomic<bool> over_ = false;
    std::barrier<> start_, end_;
    std::vector<int64_t> woken_ns_;
    std::vector<std::thread> waiters_;
};

template <class P> void add_wake()
{
    if constexpr (Waited<P>)
        add({.workload = "wake_last",
             .side = P::name,
             .make = make<Wake<P>>,
             .sizes = {{1, 100}, {64, 20}}});
}

} // namespace bench

#endif
