// cliffs.h - what lies beside the everyday path: the same calls with many threads or
// roots alive, after a burst, beside somebody who waits. Each case is a curve, and one
// side of it is the library; the other, where there is one, is the library with nothing
// of the kind, under the same clock in the same run.
//
// Only the public interface of version 1.0.0 is used (but in inspecting.cc), so that any
// version since can be measured. What is a cliff there takes long, so each case bounds the time
// that it measures in, and not the number of operations.
#ifndef CANOPY_BENCH_CLIFFS_H
#define CANOPY_BENCH_CLIFFS_H

#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include <canopy/canopy.h>

#include "harness.h"
#include "support.h"

namespace bench
{

// ---------------------------------------------------------------- contexts

struct End {
    void operator()(canopy_ctx *ctx) const
    {
        canopy_end(ctx);
    }
};
using Owned = std::unique_ptr<canopy_ctx, End>;

inline Owned child_of(const canopy_ctx *parent)
{
    return Owned(must(canopy_with_cancel(parent)));
}

inline void create_and_end(const canopy_ctx *parent)
{
    canopy_end(must(canopy_with_cancel(parent)));
}

// What canopy_end saves where nobody can have seen the context: here all see it end.
inline void create_cancel_and_release(const canopy_ctx *parent)
{
    canopy_ctx *const made = must(canopy_with_cancel(parent));

    canopy_cancel(made);
    canopy_release(made);
}

// So many children, all alive at once; then they end in the order in which they came.
void have_children(const canopy_ctx *parent, size_t n);

// A root of one's own for as long as the object lives.
class OwnRoot
{
  public:
    explicit OwnRoot(canopy_clock clock = CANOPY_CLOCK_LIBRARY);
    ~OwnRoot();
    OwnRoot(const OwnRoot &) = delete;
    OwnRoot &operator=(const OwnRoot &) = delete;

    canopy_ctx *const ctx;
};

// ----------------------------------------------------------------- threads

// Threads that have each done `first` and then sleep, for as long as the object lives.
class Crowd
{
  public:
    Crowd(int64_t threads, const std::function<void()> &first);
    ~Crowd();
    Crowd(const Crowd &) = delete;
    Crowd &operator=(const Crowd &) = delete;

  private:
    std::latch ready_, over_{1};
    std::vector<std::thread> threads_;
};

// Who has just been started is given so long to fall asleep.
void let_sleep();

// ---------------------------------------------------------------- measuring

// The time of one `operation`: of twice as many, until they take this long together.
constexpr int64_t slice_ns = second_ns / 400;

template <class Operation> double ns_each(Operation operation, int64_t (*clock_ns)() = now_ns)
{
    for (uint64_t n = 1;; n *= 2) {
        const int64_t start_ns = clock_ns();
        for (uint64_t i = 0; i < n; i++)
            operation();
        const int64_t took_ns = clock_ns() - start_ns;
        if (took_ns >= slice_ns)
            return static_cast<double>(took_ns) / static_cast<double>(n);
    }
}

// CPU time of the calling thread, and of all other threads of the process.
int64_t own_cpu_ns();
int64_t others_cpu_ns();

// The longest of the calls that one thread makes one after the other.
class Longest
{
  public:
    // Before the first call of a row.
    void begin();
    // After each call. While the machine had the thread wait for a CPU only the CPU time
    // counts.
    void look();

    double ns() const
    {
        return static_cast<double>(longest_ns_);
    }

  private:
    static constexpr int64_t suspect_ns = 20000; // for less nobody asks the kernel
    static constexpr unsigned settle_each = 64;  // so little CPU time is not told apart

    void settle();

    int64_t longest_ns_ = 0, last_ns_ = 0;
    int64_t settled_cpu_ns_ = 0;
    long preempted_ = 0;
    unsigned calls_ = 0;
};

// ------------------------------------------------------------------- cases

void add_pairs();
void add_threads();
void add_roots();
void add_waits();
void add_bursts();
void add_memories();
void add_inspecting();

inline void add_cliffs()
{
    add_pairs();
    add_threads();
    add_roots();
    add_waits();
    add_bursts();
    add_memories();
    add_inspecting();
}

} // namespace bench

#endif
