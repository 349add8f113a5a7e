// harness.h - what a benchmark is, and how it is handed to the harness.
//
// A workload is something to be done, such as making and ending a context. Each
// has several sides: the library, its peers, and floors, which do the least that
// any library would have to do. A case is one side of one workload. All that is
// known about timing, repetition and output is in harness.cc.
//
// A case is measured in one of two ways:
//
//  - `loop` does so many operations, on each of its threads at once. The harness
//    chooses the number and times the whole. The result is wall time over the
//    operations of all threads: perfect scaling from one thread to two halves it.
//  - `sample` does something that has untimed parts, or whose result is no time,
//    measures it itself, and records one or many values. It has one thread of
//    the harness.
#ifndef CANOPY_BENCH_HARNESS_H
#define CANOPY_BENCH_HARNESS_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench
{

// What a `sample` hands its values to.
class Run
{
  public:
    void record(double value)
    {
        values.push_back(value);
    }
    // Says that the run is not valid; `reason` is static.
    void fail(const char *reason)
    {
        error = reason;
    }

    std::vector<double> values;
    const char *error = nullptr;
};

// A case at work: made before, and gone after what is timed.
class Work
{
  public:
    virtual ~Work() = default;
    virtual void loop(int /*thread*/, uint64_t /*operations*/)
    {
    }
    virtual void sample(Run & /*run*/)
    {
    }
};

// A size at which a workload is run (0: it has none), and how often `sample` is
// called there (0: the case is a `loop`).
struct Size {
    int64_t value;
    unsigned samples;
};

struct Case {
    std::string workload;
    std::string side;
    std::unique_ptr<Work> (*make)(int64_t size, int threads);
    std::vector<Size> sizes = {{0, 0}};
    std::vector<int> threads = {1};
    const char *unit = "ns"; // of the values
    bool once = false;       // it takes so long that it is never repeated
};

template <class W> std::unique_ptr<Work> make(int64_t size, int threads)
{
    return std::make_unique<W>(size, threads);
}

void add(const Case &bench);

// Does what the command line says: `list` prints the names of the workloads;
// `run WORKLOAD REPETITIONS SECONDS` prints a line of JSON for each repetition,
// each of at least so many seconds, of each side of the workload.
int main(int argc, char **argv);

} // namespace bench

#endif
