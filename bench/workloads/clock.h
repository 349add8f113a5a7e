// clock.h - deadlines: what one costs beside many live ones, what the clock costs
// meanwhile, how late those that fire are, and how long the clock holds up a
// thread that has nothing to do with them.
#ifndef CANOPY_BENCH_WORKLOADS_CLOCK_H
#define CANOPY_BENCH_WORKLOADS_CLOCK_H

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

// So many live contexts with timeouts, beside which others come and go.
template <class P> class Armed : public Work
{
  public:
    Armed(int64_t size, int)
        : n_(static_cast<size_t>(size)), live_(std::make_unique<typename P::node[]>(n_))
    {
        for (size_t i = 0; i < n_; i++)
            P::timeout(live_[i], root_.node);
    }

    ~Armed() override
    {
        for (size_t i = n_; i-- > 0;)
            P::end(live_[i]);
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
    const size_t n_;
    std::unique_ptr<typename P::node[]> live_;
};

inline int64_t cpu_time_ns(clockid_t clock)
{
    timespec used;

    clock_gettime(clock, &used);
    return used.tv_sec * second_ns + used.tv_nsec;
}

// What all other threads, of which only the library has any, use of a core while
// a server's contexts live for just under their timeout of 30 s: each is replaced
// half a second before it would fire. So the deadlines of those that have gone
// come due all the time, from the first moment.
template <class P> class ClockShare : public Work
{
  public:
    ClockShare(int64_t size, int)
        : n_(static_cast<size_t>(size)), live_(std::make_unique<typename P::node[]>(n_))
    {
    }

    void sample(Run &run) override
    {
        base_ns_ = now_ns();
        for (size_t i = 0; i < n_; i++)
            P::deadline(live_[i], root_.node, deadline_ns(i));
        next_ = 0;
        replace();

        const int64_t start_ns = now_ns(), start_used_ns = others_ns();
        while (now_ns() < start_ns + 2 * second_ns) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            replace();
        }
        const int64_t used_ns = std::max<int64_t>(0, others_ns() - start_used_ns);
        run.record(100.0 * static_cast<double>(used_ns) / static_cast<double>(now_ns() - start_ns));
        for (size_t i = n_; i-- > 0;)
            P::end(live_[i]);
    }

  private:
    int64_t deadline_ns(size_t i) const
    {
        return base_ns_ + timeout_ns / static_cast<int64_t>(n_) * static_cast<int64_t>(i + 1);
    }

    void replace()
    {
        const int64_t until_ns = now_ns() + second_ns / 2;

        for (; next_ < n_ && deadline_ns(next_) < until_ns; next_++) {
            P::end(live_[next_]);
            P::timeout(live_[next_], root_.node);
        }
    }

    static int64_t others_ns()
    {
        return cpu_time_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_time_ns(CLOCK_THREAD_CPUTIME_ID);
    }

    Root<P> root_;
    const size_t n_;
    int64_t base_ns_ = 0;
    size_t next_ = 0; // the one with the earliest deadline
    std::unique_ptr<typename P::node[]> live_;
};

// Threads that make and end contexts, and note the longest time that one took.
// They leave one CPU to whoever else has to run.
template <class P> class Load
{
  public:
    explicit Load(typename P::node &root) : root_(root)
    {
        for (int i = 0; i < std::max(1, cpus() - 1); i++)
            threads_.emplace_back([this] { work(); });
    }

    // Ends the load; the longest time.
    int64_t end_ns()
    {
        over_ = true;
        for (std::thread &thread : threads_)
            thread.join();
        return longest_ns_;
    }

  private:
    void work()
    {
        int64_t longest_ns = 0;

        for (int64_t start_ns = now_ns(), end_ns; !over_; start_ns = end_ns) {
            typename P::node made{};

            P::child(made, root_);
            P::end(made);
            end_ns = now_ns();
            longest_ns = std::max(longest_ns, end_ns - start_ns);
        }
        for (int64_t seen = longest_ns_; seen < longest_ns;) {
            if (longest_ns_.compare_exchange_weak(seen, longest_ns))
                break;
        }
    }

    typename P::node &root_;
    std::atomic<bool> over_ = false;
    std::atomic<int64_t> longest_ns_ = 0;
    std::vector<std::thread> threads_;
};

// Who waits for the deadlines: a context for each; a thread that sleeps until
// each in turn; nobody.
enum class Watch { contexts, sleeper, nobody };
enum class Report { lateness, stall };

// Many deadlines of 10 to 1000 ms that fire beside a load. One that fires early
// makes the run invalid.
template <class P, Watch watch, Report report> class Expiry : public Work
{
  public:
    Expiry(int64_t size, int) : alarms_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        Load<P> load(root_.node);

        pick_deadlines();
        if constexpr (watch == Watch::contexts)
            by_contexts(run);
        else if constexpr (watch == Watch::sleeper)
            by_sleeping();
        else
            std::this_thread::sleep_for(std::chrono::nanoseconds(prepare_ns + last_ns));
        const int64_t stall_ns = load.end_ns();

        if constexpr (report == Report::stall)
            run.record(static_cast<double>(stall_ns));
        else
            record_lateness(run);
    }

  private:
    static constexpr int64_t first_ns = second_ns / 100, last_ns = second_ns;
    static constexpr int64_t prepare_ns = second_ns / 5; // for making the contexts

    struct Alarm {
        int64_t deadline_ns, armed_ns, fired_ns;
        std::atomic<size_t> *fired;
        typename P::node node;
        typename P::callback callback;
    };

    static void on_expiry(void *arg)
    {
        auto *alarm = static_cast<Alarm *>(arg);

        alarm->fired_ns = now_ns();
        ++*alarm->fired;
    }

    void pick_deadlines()
    {
        const int64_t base_ns = now_ns() + prepare_ns + first_ns;

        for (Alarm &alarm : alarms_) {
            alarm.deadline_ns =
                base_ns + static_cast<int64_t>(random(seed_) % (last_ns - first_ns));
            alarm.armed_ns = 0;
        }
    }

    void by_contexts(Run &run)
    {
        fired_ = 0;
        for (Alarm &alarm : alarms_) {
            alarm.fired = &fired_;
            alarm.armed_ns = now_ns();
            P::deadline(alarm.node, root_.node, alarm.deadline_ns);
            P::callback_add(alarm.node, alarm.callback, on_expiry, &alarm);
        }
        for (const int64_t end_ns = now_ns() + 20 * second_ns;
             fired_ < alarms_.size() && now_ns() < end_ns;)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        if (fired_ < alarms_.size())
            run.fail("a deadline did not fire");
        for (Alarm &alarm : alarms_) {
            P::callback_stop(alarm.callback);
            P::end(alarm.node);
        }
    }

    void by_sleeping()
    {
        std::sort(alarms_.begin(), alarms_.end(),
                  [](const Alarm &a, const Alarm &b) { return a.deadline_ns < b.deadline_ns; });
        for (Alarm &alarm : alarms_) {
            const timespec until = {alarm.deadline_ns / second_ns, alarm.deadline_ns % second_ns};

            while ((alarm.fired_ns = now_ns()) < alarm.deadline_ns)
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
        }
    }

    // Against the deadline, or against the moment of arming where that was later.
    void record_lateness(Run &run) const
    {
        for (const Alarm &alarm : alarms_) {
            if (alarm.fired_ns < alarm.deadline_ns)
                run.fail("a deadline fired early");
            run.record(
                static_cast<double>(alarm.fired_ns - std::max(alarm.deadline_ns, alarm.armed_ns)));
        }
    }

    Root<P> root_;
    uint64_t seed_ = 1;
    std::atomic<size_t> fired_ = 0;
    std::vector<Alarm> alarms_;
};

template <class P> void add_clock()
{
    if constexpr (Timed<P>)
        add({.workload = "armed",
             .side = P::name,
             .make = make<Armed<P>>,
             .sizes = {{1000, 0}, {1000000, 0}}});
    if constexpr (Fires<P>) {
        const std::vector<Size> sizes = {{100000, 1}};

        add({.workload = "clock_share",
             .side = P::name,
             .make = make<ClockShare<P>>,
             .sizes = {{1000000, 1}},
             .unit = "%"});
        add({.workload = "lateness",
             .side = P::name,
             .make = make<Expiry<P, Watch::contexts, Report::lateness>>,
             .sizes = sizes});
        add({.workload = "lateness",
             .side = "clock_nanosleep",
             .make = make<Expiry<P, Watch::sleeper, Report::lateness>>,
             .sizes = sizes});
        add({.workload = "stall",
             .side = P::name,
             .make = make<Expiry<P, Watch::contexts, Report::stall>>,
             .sizes = sizes});
        add({.workload = "stall",
             .side = "no_deadlines",
             .make = make<Expiry<P, Watch::nobody, Report::stall>>,
             .sizes = sizes});
    }
}

} // namespace bench

#endif
