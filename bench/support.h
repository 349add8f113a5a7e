// support.h - what several workloads share: time, randomness, threads that stay
// on a CPU, and the result of a call that must not fail.
#ifndef CANOPY_BENCH_SUPPORT_H
#define CANOPY_BENCH_SUPPORT_H

#include <cstddef>
#include <cstdint>
#include <functional>

namespace bench
{

constexpr int64_t second_ns = 1000000000;

// Far enough away never to fire while a benchmark runs, as a server's timeout is.
constexpr int64_t timeout_ns = 30 * second_ns;

// CLOCK_MONOTONIC.
int64_t now_ns();

// Ends the process unless `result`, an errno, is 0.
void check(int result);

// Ends the process, with errno's text.
[[noreturn]] void refused();

template <class T> T *must(T *pointer)
{
    if (!pointer)
        refused();
    return pointer;
}

// The process's resident memory.
double resident_bytes();

// What `measure` says in a child process, which then exits: so that no measurement finds
// the memory that an earlier one has left behind. False: the child gave no result.
bool in_child(const std::function<double()> &measure, double &result);

// How many CPUs we may use.
int cpus();

// Ties the calling thread to the CPU of that number, modulo those we may use,
// for as long as the object lives.
class Pinned
{
  public:
    explicit Pinned(int index);
    ~Pinned();
    Pinned(const Pinned &) = delete;
    Pinned &operator=(const Pinned &) = delete;
};

// Stops the compiler from leaving out the work whose result `value` is.
template <class T> inline void keep(const T &value)
{
    __asm__ volatile("" : : "g"(value) : "memory");
}

// xorshift64: cheap against the work it directs; the seed must not be 0.
inline uint64_t random(uint64_t &seed)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

} // namespace bench

#endif
