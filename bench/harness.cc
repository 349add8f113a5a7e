// harness.cc - runs the cases of harness.h on Google Benchmark. It is the only
// file that knows of it.
//
// A case is registered as "workload[:arg]/side", once for each argument and
// number of threads. Values of a `sample` leave as the counters p50, p99, min
// and max, and their mean as the iteration's time; the label is their unit.
#include "harness.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "support.h"

struct bench_run {
    std::vector<double> values;
    const char *error = nullptr;
};

namespace
{

double quantile(const std::vector<double> &sorted, double q)
{
    return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
}

// One case with one argument and one number of threads.
class Series
{
  public:
    Series(const bench_case &bench, bench_arg arg, int threads)
        : bench_(bench), arg_(arg), threads_(threads)
    {
    }

    void add()
    {
        std::string name = bench_.workload;
        if (arg_.value != 0)
            name += ":" + std::to_string(arg_.value);
        name += std::string("/") + bench_.side;
        auto run = [this](benchmark::State &state) { bench_.loop ? loop(state) : sample(state); };
        auto *registered = benchmark::RegisterBenchmark(name.c_str(), run);
        if (bench_.loop)
            registered->Threads(threads_)->UseRealTime();
        else
            registered->Iterations(arg_.samples)->UseManualTime();
    }

  private:
    void loop(benchmark::State &state)
    {
        // The first call of KeepRunningBatch is a barrier for all threads, and so
        // is the last: state_ is set before anyone's loop, and used by nobody after.
        const int thread = state.thread_index();
        if (thread == 0)
            state_ = bench_.setup(arg_.value, threads_);
        bench_pin(thread);
        while (state.KeepRunningBatch(state.max_iterations))
            bench_.loop(state_, thread, static_cast<uint64_t>(state.max_iterations));
        bench_unpin();
        if (thread == 0)
            finish(state);
    }

    void sample(benchmark::State &state)
    {
        bench_run run;
        state_ = bench_.setup(arg_.value, threads_);
        while (state.KeepRunning()) {
            const size_t before = run.values.size();
            bench_.sample(state_, &run);
            if (!run.error && run.values.size() == before)
                run.error = "no value was recorded";
            if (run.error) {
                state.SkipWithError(run.error);
                break;
            }
            double sum = 0;
            for (size_t i = before; i < run.values.size(); i++)
                sum += run.values[i];
            state.SetIterationTime(sum / static_cast<double>(run.values.size() - before) * 1e-9);
        }
        if (!run.error) {
            std::sort(run.values.begin(), run.values.end());
            state.counters["min"] = run.values.front();
            state.counters["p50"] = quantile(run.values, 0.50);
            state.counters["p99"] = quantile(run.values, 0.99);
            state.counters["max"] = run.values.back();
        }
        finish(state);
    }

    void finish(benchmark::State &state)
    {
        bench_.teardown(state_);
        state.SetLabel(bench_.unit ? bench_.unit : "ns");
    }

    const bench_case &bench_;
    const bench_arg arg_;
    const int threads_;
    void *state_ = nullptr;
};

std::vector<std::unique_ptr<Series>> all_series;

} // namespace

void bench_record(bench_run *run, double value)
{
    run->values.push_back(value);
}

void bench_fail(bench_run *run, const char *reason)
{
    run->error = reason;
}

void bench_add(const bench_case *cases, size_t n)
{
    static const bench_arg no_args[] = {{0, 1}, {0, 0}};
    static const int one_thread[] = {1, 0};

    for (const bench_case *bench = cases; bench < cases + n; bench++) {
        const bench_arg *arg = bench->args ? bench->args : no_args;
        do {
            for (const int *t = bench->threads ? bench->threads : one_thread; *t != 0; t++) {
                all_series.push_back(std::make_unique<Series>(*bench, *arg, *t));
                all_series.back()->add();
            }
        } while ((++arg)->value != 0);
    }
}

int bench_main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
