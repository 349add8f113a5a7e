// harness.cc - runs the cases of harness.h on Google Benchmark. It is the only
// file that knows of it.
//
// A case is registered as "workload[:size]/side", once for each size and number
// of threads. Quantiles of the values of a `sample` leave as counters.
#include "harness.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include <benchmark/benchmark.h>

#include "support.h"

namespace bench
{
namespace
{

struct Quantile {
    const char *name;
    double part;
};

const Quantile quantiles[] = {{"min", 0},        {"p25", 0.25}, {"p50", 0.50}, {"p75", 0.75},
                              {"p90", 0.90},     {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999},
                              {"p9999", 0.9999}, {"max", 1}};

// One case at one size and one number of threads.
class Series
{
  public:
    Series(const Case &bench, Size size, int threads)
        : bench_(bench), size_(size), threads_(threads), workload_(bench.workload)
    {
        if (size.value != 0)
            workload_ += ":" + std::to_string(size.value);
    }

    const std::string &workload() const
    {
        return workload_;
    }

    void enrol()
    {
        const std::string name = workload_ + "/" + bench_.side;
        auto run = [this](benchmark::State &state) {
            size_.samples == 0 ? loop(state) : sample(state);
        };
        auto *registered = benchmark::RegisterBenchmark(name.c_str(), run);
        if (size_.samples == 0)
            registered->Threads(threads_)->UseRealTime();
        else
            registered->Iterations(size_.samples)->UseManualTime();
        if (bench_.once)
            registered->Repetitions(1);
    }

  private:
    void loop(benchmark::State &state)
    {
        // The first call of KeepRunningBatch is a barrier for all threads, and so
        // is the last: work_ is set before anyone's loop, and used by nobody after.
        const int thread = state.thread_index();
        if (thread == 0)
            work_ = bench_.make(size_.value, threads_);
        const Pinned pinned(thread);
        while (state.KeepRunningBatch(state.max_iterations))
            work_->loop(thread, static_cast<uint64_t>(state.max_iterations));
        if (thread == 0)
            finish(state);
    }

    void sample(benchmark::State &state)
    {
        Run run;
        work_ = bench_.make(size_.value, threads_);
        while (state.KeepRunning()) {
            const size_t before = run.values.size();
            work_->sample(run);
            if (!run.error && run.values.size() == before)
                run.error = "no value was recorded";
            if (run.error) {
                state.SkipWithError(run.error);
                break;
            }
            state.SetIterationTime(1e-9); // the counters say what was measured
        }
        if (!run.error) {
            std::sort(run.values.begin(), run.values.end());
            const double last = static_cast<double>(run.values.size() - 1);
            for (const Quantile &quantile : quantiles)
                state.counters[quantile.name] =
                    run.values[static_cast<size_t>(std::lround(quantile.part * last))];
        }
        finish(state);
    }

    void finish(benchmark::State &state)
    {
        work_.reset();
        state.SetLabel(bench_.unit);
    }

    const Case bench_;
    const Size size_;
    const int threads_;
    std::string workload_;
    std::unique_ptr<Work> work_;
};

std::vector<std::unique_ptr<Series>> all_series;

// What a run that failed says, or nullptr: Google Benchmark up to 1.7 has a flag for it,
// and 1.8 one word for failed and skipped.
template <class Run> const std::string *error_of(const Run &run)
{
    if constexpr (requires { run.error_occurred; })
        return run.error_occurred ? &run.error_message : nullptr;
    else
        return run.skipped ? &run.skip_message : nullptr;
}

// A line of JSON for each repetition; "value" is the time of an operation, or
// the median of what was sampled.
class Lines : public benchmark::BenchmarkReporter
{
  public:
    bool ReportContext(const Context &) override
    {
        return true;
    }

    void ReportRuns(const std::vector<Run> &runs) override
    {
        for (const Run &run : runs) {
            if (run.run_type == Run::RT_Iteration)
                report(run);
        }
        std::fflush(stdout);
    }

    bool failed = false;

  private:
    void report(const Run &run)
    {
        const std::string name = run.run_name.function_name;
        const size_t slash = name.find('/');
        const auto median = run.counters.find("p50");

        if (const std::string *message = error_of(run)) {
            std::fprintf(stderr, "%s: %s\n", name.c_str(), message->c_str());
            failed = true;
            return;
        }
        std::printf(
            R"({"workload": "%s", "side": "%s", "threads": %d, "unit": "%s", "value": %.6g)",
            name.substr(0, slash).c_str(), name.substr(slash + 1).c_str(),
            static_cast<int>(run.threads), run.report_label.c_str(),
            median == run.counters.end() ? run.GetAdjustedRealTime() : median->second.value);
        for (const auto &[key, counter] : run.counters)
            std::printf(R"(, "%s": %.6g)", key.c_str(), counter.value);
        std::printf("}\n");
    }
};

int list()
{
    std::vector<std::string> listed;
    for (const auto &series : all_series) {
        if (std::find(listed.begin(), listed.end(), series->workload()) == listed.end())
            listed.push_back(series->workload());
    }
    for (const std::string &workload : listed)
        std::printf("%s\n", workload.c_str());
    return 0;
}

// A new process shares its CPU until the kernel has balanced the load: without
// this its first repetition takes twice as long.
void warm_up()
{
    const Pinned pinned(0);

    for (const int64_t end_ns = now_ns() + second_ns / 20; now_ns() < end_ns;)
        continue;
}

int run(const std::string &workload, const std::string &repetitions, const std::string &seconds)
{
    std::string words[] = {"bench", "--benchmark_repetitions=" + repetitions,
                           "--benchmark_min_time=" + seconds,
                           "--benchmark_enable_random_interleaving=true"};
    char *argv[std::size(words) + 1] = {};
    int argc = 0;
    Lines lines;

    for (std::string &word : words)
        argv[argc++] = word.data();
    for (const auto &series : all_series) {
        if (series->workload() == workload)
            series->enrol();
    }
    warm_up();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    const bool any = benchmark::RunSpecifiedBenchmarks(&lines) > 0;
    benchmark::Shutdown();
    return any && !lines.failed ? 0 : 1;
}

} // namespace

void add(const Case &bench)
{
    for (const Size size : bench.sizes) {
        for (const int threads : bench.threads)
            all_series.push_back(std::make_unique<Series>(bench, size, threads));
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && std::strcmp(argv[1], "list") == 0)
        return list();
    if (argc == 5 && std::strcmp(argv[1], "run") == 0)
        return run(argv[2], argv[3], argv[4]);
    std::fprintf(stderr, "usage: %s list | run WORKLOAD REPETITIONS SECONDS\n", argv[0]);
    return 2;
}

} // namespace bench
