"""Runs the programs in turn, in short slices, and keeps what they measured.

In each round every workload is run by every program that has it, the first
workload and the order of the programs another each time; so a change in the
machine's mood meets all sides alike. A slice is a process of its own: none finds
the heap that another has left behind. What is compared are the medians of the
slices of one round, and then the median over all rounds.
"""

import collections
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time

from . import names

# One slice takes seconds; one that takes this long hangs.
SLICE_LIMIT_S = 180

# Workloads that measure the machine's halted CPUs unless these are kept awake.
AWAKE = ("wake_last:",)

# A thread of the idle class on one CPU, for as long as its parent lives.
SPINNER = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100000):
        pass
"""


class Series:
    """All that was measured of one side of one workload with so many threads."""

    def __init__(self, unit):
        self.unit = unit
        self.rounds = collections.defaultdict(list)  # by round; a value for each repetition
        self.quantiles = collections.defaultdict(lambda: collections.defaultdict(list))

    def add(self, number, result):
        self.rounds[number].append(result.pop("value"))
        for name, value in result.items():
            self.quantiles[name][number].append(value)

    def medians(self, quantile=None):
        """The median of each round."""
        rounds = self.quantiles[quantile] if quantile else self.rounds
        return {number: statistics.median(values) for number, values in rounds.items()}

    def median(self, quantile=None):
        return statistics.median(self.medians(quantile).values())

    def spread(self):
        """The range of the middle half of all values, as a part of their median."""
        low, middle, high = middle_half([v for values in self.rounds.values() for v in values])
        return (high - low) / middle if middle else 0.0


def middle_half(values):
    """The quartiles of `values`."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    return statistics.quantiles(values, n=4, method="inclusive")


class Results:
    def __init__(self):
        self.series = {}  # by workload, threads, side
        self.workloads = []  # in the order in which tables show them
        self.rounds = 0
        self.failures = []  # what programs said that did not finish a slice
        self.load = os.getloadavg()[0]  # before the benchmarks add to it

    def add(self, number, program, line, side_of=None):
        result = json.loads(line)
        side = result.pop("side")
        if side_of:
            side = side_of(program, side)
        key = (result.pop("workload"), result.pop("threads"), side)
        unit = result.pop("unit")
        self.series.setdefault(key, Series(unit)).add(number, result)

    def get(self, workload, threads, side):
        return self.series.get((workload, threads, side))

    def threads(self, workload):
        return sorted({key[1] for key in self.series if key[0] == workload})

    def sides(self, workload, threads):
        return [key[2] for key in self.series if key[:2] == (workload, threads)]


class Progress:
    """A live line on a terminal; elsewhere a line every ten seconds."""

    def __init__(self, kinds):
        self.start = time.monotonic()
        self.shown = float("-inf")
        self.to_go = list(kinds)
        self.took_s = {}

    def elapsed_s(self):
        return time.monotonic() - self.start

    def left_s(self, kinds):
        """Each slice as long as the last of its kind; what was not yet run, as the mean."""
        if not self.took_s:
            return None
        mean = statistics.mean(self.took_s.values())
        return sum(self.took_s.get(kind, mean) for kind in kinds)

    def begin(self, text):
        left_s = self.left_s(self.to_go)
        line = f"{self.elapsed_s():.0f} s: {text}"
        if left_s is not None:
            line += f", about {left_s:.0f} s to go"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif self.elapsed_s() - self.shown >= 10:
            self.shown = self.elapsed_s()
            print(line, file=sys.stderr, flush=True)

    def done(self, kind, took_s):
        self.to_go.remove(kind)
        self.took_s[kind] = took_s

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def awake():
    """No CPU halts meanwhile; whoever has work to do takes it at once."""
    spinners = [subprocess.Popen([sys.executable, "-c", SPINNER, str(cpu)])
                for cpu in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


class Failed(Exception):
    """A program did not do what it was asked to."""


def run_slice(program, workload, options):
    """The lines that `program` printed."""
    command = [program, "run", workload, str(options.repetitions), str(options.min_time)]
    try:
        with awake() if workload.startswith(AWAKE) else contextlib.nullcontext():
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=SLICE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{program} {workload}: not done after {SLICE_LIMIT_S} s") from late
    if done.returncode != 0:
        raise Failed(f"{program} {workload}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout.splitlines()


def list_workloads(programs, options):
    """Each workload that is wanted, with the programs that have it."""
    having = {}
    for name, program in programs.items():
        listed = subprocess.run([program, "list"], check=True, capture_output=True, text=True)
        for workload in listed.stdout.split():
            if options.wants(workload) and re.search(options.filter, workload):
                having.setdefault(workload, []).append(name)
    return having


def rotated(items, number, rounds):
    first = number * len(items) // rounds
    return items[first:] + items[:first]


def slices(having, number, options):
    """What is run in a round, in order: (workload, program)."""
    for workload in rotated(list(having), number, options.rounds):
        if number and options.quick and names.base(workload) in names.LONG:
            continue
        programs = having[workload]
        first = number % len(programs)
        for name in programs[first:] + programs[:first]:
            yield workload, name


def run_all(programs, options, side_of=None):
    """As many rounds as were asked for, or as fit into the time; one at least.

    `side_of(program, side)` renames what a program calls its sides.
    """
    having = list_workloads(programs, options)
    if not having:
        sys.exit("no workload has such a name")
    results = Results()
    results.workloads = list(having)
    rounds = [list(slices(having, number, options)) for number in range(options.rounds)]
    progress = Progress([kind for number in rounds for kind in number])
    for number, kinds in enumerate(rounds):
        if number and progress.elapsed_s() + progress.left_s(kinds) > options.seconds:
            break
        for workload, name in kinds:
            progress.begin(f"round {number + 1} of {options.rounds}, {workload}, {name}")
            start_s = time.monotonic()
            try:
                for line in run_slice(programs[name], workload, options):
                    results.add(number, name, line, side_of)
            except Failed as failure:
                results.failures.append(str(failure))
            progress.done((workload, name), time.monotonic() - start_s)
        results.rounds += 1
    progress.end()
    return results
