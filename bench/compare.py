"""Runs canopy_bench in rounds and prints each workload beside its floors.

All sides of a workload run in one process, their repetitions in random order;
each round starts at another workload. What is compared are medians over all
rounds, so a change in the machine's mood meets both sides alike. Every workload
has a process of its own: none finds the heap that another has left behind.
"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import time

# How much is measured, unless the command line says otherwise.
QUICK = {"rounds": 3, "seconds": 110, "repetitions": 5, "min_time": 0.01}
THOROUGH = {"rounds": 5, "seconds": 420, "repetitions": 9, "min_time": 0.02}

# One process takes seconds; one that takes this long hangs.
PROCESS_LIMIT_S = 180

# What counts as level from one thread to two: no slower, within what runs differ.
LEVEL = 1.10

# A machine with more load than this, before the start, is not idle.
IDLE_LOAD = 0.5

# Workloads whose values are spread, so that a median alone says too little.
DISTRIBUTIONS = ("lateness", "wake_last")


class Series:
    """All that was measured of one side of one workload with so many threads."""

    def __init__(self):
        self.unit = "ns"
        self.values = []  # one for each repetition: time an operation, or the p50
        self.counters = collections.defaultdict(list)

    def add(self, result):
        self.unit = result["label"]
        self.values.append(result.get("p50", result["real_time"]))
        for name in ("min", "p50", "p99", "max"):
            if name in result:
                self.counters[name].append(result[name])

    def median(self):
        return statistics.median(self.values)

    def spread(self):
        """The range of the middle half of the values, as a part of their median."""
        if len(self.values) < 2 or self.median() == 0:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / self.median()


class Results:
    def __init__(self):
        self.series = {}  # by workload, threads, side
        self.context = {}
        self.rounds = 0
        self.load = os.getloadavg()[0]  # before the benchmarks add to it

    def add(self, report):
        self.context = report["context"]
        for result in report["benchmarks"]:
            if result["run_type"] != "iteration":
                continue
            if result.get("error_occurred"):
                sys.exit(f"{result['name']}: {result['error_message']}")
            workload, side = result["name"].split("/")[:2]
            key = (workload, result["threads"], side)
            self.series.setdefault(key, Series()).add(result)

    def sort(self, sides):
        """Brings the series, which came in random order, into that of `sides`."""
        workloads = list(sides)
        self.series = dict(sorted(self.series.items(), key=lambda item: (
            workloads.index(item[0][0]), item[0][1], sides[item[0][0]].index(item[0][2]))))

    def get(self, workload, threads=1, side="canopy"):
        return self.series.get((workload, threads, side))

    def floors(self, workload, threads):
        return [(key[2], series) for key, series in self.series.items()
                if key[:2] == (workload, threads) and key[2] != "canopy"]


# ------------------------------------------------------------------ running


def list_sides(program, pattern):
    """Each workload that matches, with its sides, in the program's order."""
    listed = subprocess.run([program, "--benchmark_list_tests=true"], check=True,
                            capture_output=True, text=True).stdout.split()
    sides = {}
    for workload, side in (name.split("/")[:2] for name in listed):
        if re.search(pattern, workload):
            sides.setdefault(workload, {})[side] = True
    return {workload: list(names) for workload, names in sides.items()}


def run_workload(program, workload, options):
    command = [
        program,
        f"--benchmark_filter=^{re.escape(workload)}/",
        f"--benchmark_repetitions={options.repetitions}",
        f"--benchmark_min_time={options.min_time}",
        "--benchmark_enable_random_interleaving=true",
        "--benchmark_format=json",
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PROCESS_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        sys.exit(f"{workload}: not done after {PROCESS_LIMIT_S} s")
    if done.returncode != 0:
        sys.exit(f"{workload}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


class Progress:
    """A live line on a terminal; elsewhere a line every ten seconds."""

    def __init__(self):
        self.start = time.monotonic()
        self.shown = float("-inf")

    def elapsed_s(self):
        return time.monotonic() - self.start

    def step(self, text, done, steps):
        elapsed_s = self.elapsed_s()
        line = f"{elapsed_s:.0f} s: {text}"
        if done > 0:
            line += f", about {elapsed_s / done * (steps - done):.0f} s to go"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif elapsed_s - self.shown >= 10:
            self.shown = elapsed_s
            print(line, file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run_all(program, workloads, options):
    """As many rounds as were asked for, or as fit into the time; one at least."""
    results = Results()
    progress = Progress()
    steps = options.rounds * len(workloads)
    for number in range(options.rounds):
        if number > 0 and progress.elapsed_s() * (number + 1) / number > options.seconds:
            break
        first = number * len(workloads) // options.rounds
        for i, workload in enumerate(workloads[first:] + workloads[:first]):
            progress.step(f"round {number + 1} of {options.rounds}, {workload}",
                          number * len(workloads) + i, steps)
            results.add(run_workload(program, workload, options))
        results.rounds += 1
    progress.end()
    return results


# ---------------------------------------------------------------- reporting


def show(value):
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def print_columns(rows, left):
    """Rows of strings as a table; the first is its head, `left` are set to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) if i in left else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths)))
        print("  ".join(cells).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))


def print_machine(results, options):
    context = results.context
    print(f"{context['num_cpus']} CPUs at {context['mhz_per_cpu']} MHz, load {results.load:.1f} "
          f"before the start; {results.rounds} rounds of {options.repetitions} interleaved "
          "repetitions\n"
          "Medians. Time is wall time over the operations of all threads: "
          "perfect scaling from 1 to 2 halves it.\n"
          "Spread is the range of the middle half, as a part of the median.\n")
    if results.load > IDLE_LOAD:
        print("OTHER WORK IS RUNNING ON THIS MACHINE: do not quote these figures.\n")


def print_table(results):
    rows = [("workload", "threads", "unit", "canopy", "spread",
             "floor", "its", "spread", "ratio")]
    for workload, threads, side in list(results.series):
        if side != "canopy":
            continue
        ours = results.get(workload, threads)
        head = (workload, str(threads), ours.unit, show(ours.median()), f"{ours.spread():.0%}")
        for name, floor in results.floors(workload, threads):
            rows.append(head + (name, show(floor.median()), f"{floor.spread():.0%}",
                                f"{ours.median() / floor.median():.2f}"))
            head = ("",) * len(head)
    print_columns(rows, left={0, 5})


def print_distributions(results):
    rows = [("distribution, µs", "side", "min", "p50", "p99", "max")]
    for (workload, _, side), series in results.series.items():
        if workload.split(":")[0] not in DISTRIBUTIONS:
            continue
        summaries = zip(("min", "p50", "p99", "max"),
                        (min, statistics.median, statistics.median, max))
        rows.append((workload, side) + tuple(
            f"{summary(series.counters[name]) / 1000:.1f}" for name, summary in summaries))
    if len(rows) > 1:
        print()
        print_columns(rows, left={0, 1})


def targets(results):
    """(what, measured, limit, unit) for each target whose workload was run."""

    def ratio(what, limit, over, under):
        if over and under:
            yield what, over.median() / under.median(), limit, ""

    create = results.get("create")
    yield from ratio("create over malloc_128", 1.3,
                     create, results.get("create", side="malloc_128"))
    yield from ratio("create: 2 threads over 1 (level)", LEVEL,
                     results.get("create", threads=2), create)
    yield from ratio("create_timeout over malloc_128", 2.2, results.get("create_timeout"),
                     results.get("create_timeout", side="malloc_128"))
    million = "cancel_wide:1000000"
    yield from ratio(f"{million} over walk_64", 1.3,
                     results.get(million), results.get(million, side="walk_64"))
    memory = results.get("memory_deadline:1000000")
    if memory:
        yield "a live context with a deadline", memory.median(), 128, " bytes"
    late = results.get("lateness:200")
    if late:
        yield "lateness of the latest deadline", max(late.counters["max"]) / 1e6, 1, " ms"


def print_targets(results):
    rows = [("target", "measured", "at most", "")]
    for what, measured, limit, unit in targets(results):
        rows.append((what, f"{measured:.2f}{unit}", f"{limit}{unit}",
                     "met" if measured <= limit else "missed"))
    if len(rows) > 1:
        print()
        print_columns(rows, left={0, 3})


def write_json(path, results, options):
    report = {
        "context": results.context,
        "load_before": results.load,
        "rounds": results.rounds,
        "repetitions": options.repetitions,
        "series": [{"workload": workload, "threads": threads, "side": side, "unit": series.unit,
                    "median": series.median(), "spread": series.spread(),
                    "values": series.values, **series.counters}
                   for (workload, threads, side), series in results.series.items()],
        "targets": [{"target": what, "measured": measured, "at_most": limit,
                     "unit": unit.strip() or "ratio", "met": measured <= limit}
                    for what, measured, limit, unit in targets(results)],
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


def parse_options():
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__.split("\n")[0])
    parser.add_argument("program", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only these workloads")
    parser.add_argument("--json", metavar="FILE", help="write all values there as well")
    parser.add_argument("--rounds", type=int, help="times all workloads are run")
    parser.add_argument("--seconds", type=float, help="begin no round that would end later")
    parser.add_argument("--repetitions", type=int, help="repetitions in a round")
    parser.add_argument("--min-time", type=float, metavar="SECONDS",
                        help="length of a repetition")
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else THOROUGH).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main():
    options = parse_options()
    sides = list_sides(options.program, options.filter)
    if not sides:
        sys.exit("no workload has such a name")
    results = run_all(options.program, list(sides), options)
    results.sort(sides)
    print_machine(results, options)
    print_table(results)
    print_distributions(results)
    print_targets(results)
    if options.json:
        write_json(options.json, results, options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
