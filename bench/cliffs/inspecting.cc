// inspecting.cc - what roots cost that keep notes, and what it costs to look at them: a walk
// and dumps over many contexts, births and ends with notes, memory; and what a dump of all
// costs those who go on meanwhile. Nothing, of versions that have no <canopy/inspect.h>.
#include "cliffs/cliffs.h"

#if __has_include(<canopy/inspect.h>)

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>

#include <canopy/inspect.h>

namespace bench
{
namespace
{

canopy_ctx *new_root(bool is_noted)
{
    canopy_config config = {};

    config.size = sizeof config;
    config.inspect = is_noted ? CANOPY_INSPECT_NOTES : 0;
    return must(canopy_root_new(&config));
}

// A root, with or without notes, for as long as the object lives.
class Root
{
  public:
    explicit Root(bool is_noted = true) : ctx(new_root(is_noted))
    {
    }

    ~Root()
    {
        for (int tries = 0; canopy_root_free(ctx) == -EBUSY && tries < 2000; tries++)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }

    Root(const Root &) = delete;
    Root &operator=(const Root &) = delete;

    canopy_ctx *const ctx;
};

// So many contexts below a root with notes, as connections with 63 requests each.
class Standing
{
  public:
    explicit Standing(size_t n)
    {
        all_.reserve(n);
        for (size_t i = 0; i < n; i++) {
            const size_t first = i - i % family;
            all_.push_back(child_of(i == first ? root.ctx : all_[first].get()));
        }
    }

    ~Standing()
    {
        while (!all_.empty())
            all_.pop_back();
    }

    Standing(const Standing &) = delete;
    Standing &operator=(const Standing &) = delete;

    const Root root;

  private:
    static constexpr size_t family = 64;

    std::vector<Owned> all_;
};

// ------------------------------------------------------------------ looking

int drop(void * /*user*/, const char *bytes, size_t n)
{
    keep(bytes);
    keep(n);
    return 0;
}

void dump(const canopy_ctx *top, canopy_format format)
{
    canopy_walk what = {};

    what.top = top;
    check(-canopy_dump(&what, format, drop, nullptr));
}

struct Walk {
    static void look(const canopy_ctx *top)
    {
        std::vector<canopy_info> infos(256);
        canopy_walk walk = {};

        walk.info_bytes = sizeof(canopy_info);
        walk.top = top;
        while (canopy_walk_next(&walk, infos.data(), infos.size()) > 0)
            keep(infos.data());
    }
};

template <canopy_format format> struct Dump {
    static void look(const canopy_ctx *top)
    {
        dump(top, format);
    }
};

// For each context, of so many; in CPU time, as the million take long enough to be preempted.
template <class Look> class Looking : public Work
{
  public:
    Looking(int64_t size, int) : n_(size), standing_(static_cast<size_t>(size))
    {
        Look::look(standing_.root.ctx); // what it allocates comes from the system once
    }

    void sample(Run &run) override
    {
        const double all_ns = ns_each([this] { Look::look(standing_.root.ctx); }, own_cpu_ns);

        run.record(all_ns / static_cast<double>(n_));
    }

  private:
    const int64_t n_;
    const Standing standing_;
};

// ------------------------------------------------------------ births and ends

// Threads that make and end contexts of one root, each under a parent of its own, for as long
// as the object lives.
class Workers
{
  public:
    Workers(const canopy_ctx *root, int64_t threads)
        : ready_(threads), counts_(static_cast<size_t>(threads))
    {
        for (Count &count : counts_)
            threads_.emplace_back([this, root, &count] { work(root, count); });
        ready_.wait();
    }

    ~Workers()
    {
        over_ = true;
        for (std::thread &thread : threads_)
            thread.join();
    }

    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    // When, and how much was done by then.
    struct Lap {
        int64_t start_ns;
        uint64_t done;
    };

    Lap lap() const
    {
        return {now_ns(), done()};
    }

    // Wall time over what all of them have done since.
    double ns_each_since(const Lap &lap) const
    {
        const double took_ns = static_cast<double>(now_ns() - lap.start_ns);
        return took_ns / static_cast<double>(std::max<uint64_t>(done() - lap.done, 1));
    }

    // The longest call of any of them until now.
    double longest_ns() const
    {
        double longest = 0;

        for (const Count &count : counts_)
            longest = std::max(longest, count.longest_ns.load());
        return longest;
    }

  private:
    struct alignas(128) Count {
        std::atomic<uint64_t> done{0};
        std::atomic<double> longest_ns{0};
    };

    void work(const canopy_ctx *root, Count &count)
    {
        const Owned parent = child_of(root);
        Longest longest;

        have_children(parent.get(), 1000);
        ready_.count_down();
        for (longest.begin(); !over_.load(std::memory_order_relaxed);) {
            for (unsigned i = 0; i < batch; i++)
                create_and_end(parent.get());
            longest.look();
            count.done.store(count.done.load(std::memory_order_relaxed) + batch,
                             std::memory_order_relaxed);
            count.longest_ns.store(longest.ns(), std::memory_order_relaxed);
        }
    }

    uint64_t done() const
    {
        uint64_t sum = 0;

        for (const Count &count : counts_)
            sum += count.done.load(std::memory_order_relaxed);
        return sum;
    }

    static constexpr unsigned batch = 64;

    std::atomic<bool> over_{false};
    std::latch ready_;
    std::vector<Count> counts_;
    std::vector<std::thread> threads_;
};

template <bool is_noted> class Births : public Work
{
  public:
    Births(int64_t size, int) : workers_(root_.ctx, size)
    {
    }

    void sample(Run &run) override
    {
        const Workers::Lap lap = workers_.lap();

        let_sleep(); // for so long they work
        run.record(workers_.ns_each_since(lap));
    }

  private:
    const Root root_{is_noted};
    const Workers workers_;
};

// --------------------------------------------------------------- beside a dump

constexpr int64_t busy_threads = 8;

void compute_until(int64_t until_ns)
{
    for (uint64_t seed = 1; now_ns() < until_ns;) {
        for (unsigned i = 0; i < 1000; i++)
            keep(random(seed));
    }
}

enum class Beside { computing, nothing };

// What eight threads at work take for each context beside a dump of all, over what they take
// beside a thread that computes, or beside none. All of it is one dump, which its sink keeps
// waiting for a phase after each phase, so that the machine's mood meets both alike.
template <Beside beside> class Slowed : public Work
{
  public:
    Slowed(int64_t size, int)
        : standing_(static_cast<size_t>(size)), workers_(standing_.root.ctx, busy_threads)
    {
    }

    void sample(Run &run) override
    {
        canopy_walk what = {};

        run_ = &run;
        what.top = standing_.root.ctx;
        lap_ = workers_.lap();
        check(-canopy_dump(&what, CANOPY_FORMAT_JSON, take, this));
    }

  private:
    static constexpr int64_t phase_ns = second_ns / 20;

    static int take(void *user, const char *bytes, size_t n)
    {
        keep(bytes);
        keep(n);
        static_cast<Slowed *>(user)->turn();
        return 0;
    }

    void turn()
    {
        if (now_ns() - lap_.start_ns < phase_ns)
            return;
        const double with = workers_.ns_each_since(lap_);
        lap_ = workers_.lap();
        if (beside == Beside::computing)
            compute_until(lap_.start_ns + phase_ns);
        else
            std::this_thread::sleep_for(std::chrono::nanoseconds(phase_ns));
        run_->record(with / workers_.ns_each_since(lap_));
        lap_ = workers_.lap();
    }

    const Standing standing_;
    const Workers workers_;
    Workers::Lap lap_{};
    Run *run_ = nullptr;
};

// The longest that one of eight threads at work takes for 64 contexts, beside dumps of all
// or for as long beside a thread that computes.
template <bool is_dumped> class Paused : public Work
{
  public:
    explicit Paused(int64_t size, int) : standing_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        const Workers workers(standing_.root.ctx, busy_threads);

        for (const int64_t until_ns = now_ns() + 5 * second_ns; now_ns() < until_ns;) {
            if (is_dumped)
                dump(standing_.root.ctx, CANOPY_FORMAT_JSON);
            else
                compute_until(until_ns);
        }
        run.record(workers.longest_ns());
    }

  private:
    const Standing standing_;
};

// --------------------------------------------------------------------- memory

template <bool is_noted> class Weight : public Work
{
  public:
    Weight(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        double each = 0;

        if (in_child([this] { return measure(); }, each))
            run.record(each);
        else
            run.fail("the child process gave no result");
    }

  private:
    // The bytes of each of n_ contexts. What it makes is left to exit.
    double measure() const
    {
        canopy_ctx *const root = new_root(is_noted);
        std::vector<canopy_ctx *> all(n_ + 1);

        std::fill(all.begin(), all.end(), root); // resident before
        all[n_] = must(canopy_with_cancel(root));
        const double before = resident_bytes();
        for (size_t i = 0; i < n_; i++)
            all[i] = must(canopy_with_cancel(root));
        return (resident_bytes() - before) / static_cast<double>(n_);
    }

    const size_t n_;
};

template <class W>
void add_sized(const char *workload, const char *side, std::vector<Size> sizes, const char *unit,
               bool once)
{
    add({.workload = workload,
         .side = side,
         .make = make<W>,
         .sizes = std::move(sizes),
         .unit = unit,
         .once = once});
}

} // namespace

void add_inspecting()
{
    const std::vector<Size> crowds = {{1000, 5}, {10000, 5}, {100000, 1}, {1000000, 1}};
    const std::vector<Size> threads = {{1, 5}, {2, 5}, {4, 5}, {8, 5}};
    const std::vector<Size> million = {{1000000, 1}};

    add_sized<Looking<Walk>>("inspect_walk", "canopy", crowds, "ns", false);
    add_sized<Looking<Dump<CANOPY_FORMAT_JSON>>>("inspect_json", "canopy", crowds, "ns", false);
    add_sized<Looking<Dump<CANOPY_FORMAT_TEXT>>>("inspect_text", "canopy", crowds, "ns", false);
    add_sized<Births<true>>("noted_create", "canopy", threads, "ns", false);
    add_sized<Births<false>>("noted_create", "without_notes", threads, "ns", false);
    add_sized<Slowed<Beside::computing>>("beside_dump", "canopy", million, "×", true);
    add_sized<Slowed<Beside::nothing>>("beside_dump_alone", "canopy", million, "×", true);
    add_sized<Paused<true>>("pause_dump", "canopy", million, "ns", true);
    add_sized<Paused<false>>("pause_dump", "computing", million, "ns", true);
    add_sized<Weight<true>>("noted_memory", "canopy", million, "bytes", false);
    add_sized<Weight<false>>("noted_memory", "without_notes", million, "bytes", false);
}

} // namespace bench

#else

namespace bench
{

void add_inspecting()
{
}

} // namespace bench

#endif
