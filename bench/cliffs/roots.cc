// roots.cc - what several roots cost: one thread that works under many in turn, loops
// that each drive a root of their own, and the library's clock over roots of which few
// have anything due.
#include <barrier>
#include <chrono>
#include <deque>
#include <optional>

#include <canopy/loop.h>

#include "cliffs/cliffs.h"

namespace bench
{
namespace
{

// One thread makes and ends children of so many roots in turn.
class Roots : public Work
{
  public:
    Roots(int64_t size, int) : roots_(static_cast<size_t>(size))
    {
        for (std::optional<OwnRoot> &root : roots_)
            have_children(root.emplace().ctx, 16);
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] {
            create_and_end(roots_[next_]->ctx);
            next_ = next_ + 1 < roots_.size() ? next_ + 1 : 0;
        }));
    }

  private:
    std::vector<std::optional<OwnRoot>> roots_;
    size_t next_ = 0;
};

class OneRoot : public Roots
{
  public:
    OneRoot(int64_t, int) : Roots(1, 1)
    {
    }
};

enum class Turn { due, idle };

// A thread's loop under a time that is invented: what each turn costs in which one
// deadline comes due, its context and the question how long to sleep included.
template <Turn turn> class Loop
{
  public:
    Loop()
    {
        check(-canopy_loop_init(&loop_, root_.ctx));
    }
    ~Loop()
    {
        check(-canopy_loop_close(&loop_));
    }
    Loop(const Loop &) = delete;
    Loop &operator=(const Loop &) = delete;

    void take_turn()
    {
        const int64_t deadline_ns = now_ns_ + (turn == Turn::due ? 1000 : timeout_ns);
        canopy_ctx *const made = must(canopy_with_deadline(root_.ctx, deadline_ns));

        keep(canopy_loop_timeout_ns(&loop_, now_ns_));
        now_ns_ += 2000;
        canopy_loop_run(&loop_, now_ns_);
        canopy_end(made);
    }

  private:
    const OwnRoot root_{CANOPY_CLOCK_HOST};
    canopy_loop loop_ = {};
    int64_t now_ns_ = 0;
};

// CPU time of a turn: so it is the same for more loops than there are CPUs, and has in it
// what the other loops' interrupts take.
template <Turn turn> class LoopTurn : public Work
{
  public:
    LoopTurn(int64_t size, int) : turns_ns_(static_cast<size_t>(size)), start_(size)
    {
    }

    void sample(Run &run) override
    {
        std::vector<std::thread> threads;

        threads.reserve(turns_ns_.size());
        for (double &turn_ns : turns_ns_)
            threads.emplace_back([this, &turn_ns] {
                Loop<turn> loop;
                start_.arrive_and_wait();
                for (int slice = 0; slice < slices; slice++)
                    turn_ns = ns_each([&loop] { loop.take_turn(); }, own_cpu_ns);
                start_.arrive_and_wait();
            });
        for (std::thread &thread : threads)
            thread.join();
        for (const double turn_ns : turns_ns_)
            run.record(turn_ns);
    }

  private:
    static constexpr int slices = 4; // the last counts: all loops are at work by then

    std::vector<double> turns_ns_;
    std::barrier<> start_;
};

// What all threads of the library use of a core while 1,200 timeouts a second come due,
// each under another of so many roots, all of which have a later deadline too. The roots
// are left to exit.
class ClockRoots : public Work
{
  public:
    explicit ClockRoots(int64_t size, int)
    {
        canopy_config config = {};

        config.size = sizeof config;
        for (int64_t i = 0; i < size; i++) {
            roots_.push_back(must(canopy_root_new(&config)));
            keep(must(canopy_with_timeout(roots_.back(), 120 * timeout_ns)));
        }
    }

    void sample(Run &run) override
    {
        const int64_t start_ns = now_ns(), start_cpu_ns = others_cpu_ns();

        for (int64_t now = start_ns; now < start_ns + 2 * second_ns; now = now_ns()) {
            for (; made_ns_ < now - start_ns; made_ns_ += second_ns / each_second)
                live_.emplace_back(must(canopy_with_timeout(pick(), lives_ns)));
            while (!live_.empty() && canopy_err(live_.front().get()) != 0)
                live_.pop_front();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        run.record(100.0 * static_cast<double>(others_cpu_ns() - start_cpu_ns) /
                   static_cast<double>(now_ns() - start_ns));
        live_.clear();
    }

  private:
    static constexpr int64_t each_second = 1200, lives_ns = second_ns / 50;

    const canopy_ctx *pick()
    {
        return roots_[random(seed_) % roots_.size()];
    }

    std::vector<canopy_ctx *> roots_;
    std::deque<Owned> live_;
    int64_t made_ns_ = 0;
    uint64_t seed_ = 1;
};

} // namespace

void add_roots()
{
    const std::vector<Size> roots = {{1, 8}, {5, 8}, {64, 8}, {500, 8}};
    const std::vector<Size> loops = {{1, 4}, {2, 4}, {4, 4}};

    add({.workload = "roots", .side = "canopy", .make = make<Roots>, .sizes = roots, .once = true});
    add({.workload = "roots", .side = "one_root", .make = make<OneRoot>, .sizes = roots});
    add({.workload = "loop_turn",
         .side = "canopy",
         .make = make<LoopTurn<Turn::due>>,
         .sizes = loops});
    add({.workload = "loop_turn",
         .side = "nothing_due",
         .make = make<LoopTurn<Turn::idle>>,
         .sizes = loops});
    add({.workload = "clock_roots",
         .side = "canopy",
         .make = make<ClockRoots>,
         .sizes = {{1, 1}, {100, 1}, {10000, 1}},
         .unit = "%",
         .once = true});
}

} // namespace bench
