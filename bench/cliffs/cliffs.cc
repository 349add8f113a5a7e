// cliffs.cc - what the cliffs share; see cliffs.h.
#include "cliffs/cliffs.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>

#include <sys/resource.h>

namespace bench
{
namespace
{

int64_t cpu_ns(clockid_t clock)
{
    timespec used;

    clock_gettime(clock, &used);
    return used.tv_sec * second_ns + used.tv_nsec;
}

canopy_ctx *new_root(canopy_clock clock)
{
    canopy_config config = {};

    config.size = sizeof config;
    config.clock = clock;
    return must(canopy_root_new(&config));
}

} // namespace

void have_children(const canopy_ctx *parent, size_t n)
{
    std::vector<Owned> children;

    children.reserve(n);
    for (size_t i = 0; i < n; i++)
        children.push_back(child_of(parent));
    for (Owned &child : children)
        child.reset();
}

OwnRoot::OwnRoot(canopy_clock clock) : ctx(new_root(clock))
{
}

// What has just ended may have memory for a moment more. A root that is not freed in
// two seconds is left to exit.
OwnRoot::~OwnRoot()
{
    for (int tries = 0; canopy_root_free(ctx) == -EBUSY && tries < 2000; tries++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

Crowd::Crowd(int64_t threads, const std::function<void()> &first) : ready_(threads)
{
    for (int64_t i = 0; i < threads; i++)
        threads_.emplace_back([this, &first] {
            first();
            ready_.count_down();
            over_.wait();
        });
    ready_.wait();
}

Crowd::~Crowd()
{
    over_.count_down();
    for (std::thread &thread : threads_)
        thread.join();
}

void let_sleep()
{
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

int64_t own_cpu_ns()
{
    return cpu_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t others_cpu_ns()
{
    return cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - own_cpu_ns();
}

void Longest::begin()
{
    settle();
    last_ns_ = now_ns();
}

void Longest::look()
{
    int64_t took_ns = now_ns() - last_ns_;

    if (took_ns > suspect_ns || ++calls_ % settle_each == 0) {
        const long preempted = preempted_;
        const int64_t settled_cpu_ns = settled_cpu_ns_;

        settle();
        if (preempted != preempted_)
            took_ns = std::min(took_ns, settled_cpu_ns_ - settled_cpu_ns);
    }
    longest_ns_ = std::max(longest_ns_, took_ns);
    last_ns_ = now_ns();
}

// How often the thread was preempted, and what CPU time it had, up to now.
void Longest::settle()
{
    rusage used;

    getrusage(RUSAGE_THREAD, &used);
    preempted_ = used.ru_nivcsw;
    settled_cpu_ns_ = own_cpu_ns();
}

} // namespace bench
