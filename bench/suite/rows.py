"""The figures that are aimed at: each row holds the library against something."""

import dataclasses
import statistics

from . import names
from .run import middle_half

FASTEST = "the fastest peer"


@dataclasses.dataclass
class Outcome:
    """A row as measured; `measured` is None where something it needs was not run."""

    what: str
    against: str
    unit: str
    at_most: float
    ours: float = None
    ours_unit: str = "ns"
    theirs: float = None
    measured: float = None
    low: float = None
    high: float = None

    def verdict(self):
        if self.measured is None:
            return "not run"
        if self.measured <= self.at_most:
            return "met"
        return "within the spread" if self.low <= self.at_most else "missed"

    def shown(self, value):
        return f"{value:.2f} ×" if self.unit == "×" else names.show(value, self.unit)


def _fastest(results, workload, threads):
    peers = [side for side in results.sides(workload, threads) if side in names.PEERS]
    return min(peers, key=lambda side: results.get(workload, threads, side).median(),
               default=None)


def _fill(outcome, values):
    values = list(values)
    if values:
        outcome.low, _, outcome.high = middle_half(values)
        outcome.measured = statistics.median(values)
    return outcome


@dataclasses.dataclass
class Ratio:
    what: str
    ours: tuple
    theirs: tuple
    at_most: float
    other: str = ""  # what theirs is called, where it is another workload

    def measure(self, results):
        workload, threads, side = self.theirs
        if side is FASTEST:
            side = _fastest(results, workload, threads)
        against = names.SIDES.get(side, FASTEST)
        if self.theirs[2] is FASTEST and side:
            against = f"{FASTEST}: {against}"
        elif side == names.OURS or names.base(workload) != names.base(self.ours[0]):
            against += f": {self.other or names.title(workload, threads)}"
        outcome = Outcome(self.what, against, "×", self.at_most)
        ours, theirs = results.get(*self.ours), results.get(workload, threads, side)
        if not ours or not theirs:
            return outcome
        outcome.ours, outcome.ours_unit, outcome.theirs = ours.median(), ours.unit, theirs.median()
        below = theirs.medians()
        return _fill(outcome, (value / below[number] for number, value in ours.medians().items()
                               if below.get(number)))


@dataclasses.dataclass
class Surplus:
    """What `ours` takes more than all of `theirs` together."""

    what: str
    against: str
    ours: tuple
    theirs: list
    at_most: float

    def measure(self, results):
        outcome = Outcome(self.what, self.against, "ns", self.at_most)
        ours, theirs = results.get(*self.ours), [results.get(*key) for key in self.theirs]
        if not ours or not all(theirs):
            return outcome
        outcome.ours, outcome.theirs = ours.median(), sum(s.median() for s in theirs)
        rounds = [series.medians() for series in theirs]
        return _fill(outcome, (value - sum(medians[number] for medians in rounds)
                               for number, value in ours.medians().items()))


@dataclasses.dataclass
class Limit:
    what: str
    ours: tuple
    unit: str
    at_most: float
    quantile: str = None
    of_phases: bool = False  # a slice has many in turn: their middle half, not that of rounds

    def measure(self, results):
        outcome = Outcome(self.what, "", self.unit, self.at_most)
        ours = results.get(*self.ours)
        if not ours:
            return outcome
        outcome.ours, outcome.ours_unit = ours.median(self.quantile), ours.unit
        _fill(outcome, ours.medians(self.quantile).values())
        if self.of_phases:
            outcome.low, outcome.high = ours.median("p25"), ours.median("p75")
        return outcome


def ours(workload, threads=1):
    return (workload, threads, names.OURS)


ROWS = [
    Ratio("create, cancel, release under one root",
          ours("create"), ("create", 1, "malloc_128"), 1.0),
    Ratio("create, cancel, release, against the fastest peer",
          ours("create"), ("create", 1, FASTEST), 0.4),
    Ratio("create, cancel, release, two threads against one",
          ours("create", 2), ours("create"), 0.55, "one thread"),
    Ratio("under a parent in mid-tree, two threads against one",
          ours("create_middle", 2), ours("create_middle"), 0.55, "one thread"),
    Surplus("with a 30 s timeout", "without one, and a coarse clock read",
            ours("create_timeout"),
            [("create_timeout", 1, "without"), ("create_timeout", 1, "clock_coarse")], 5.0),
    Ratio("with a 30 s timeout, the host hands in the time",
          ("create_timeout", 1, "host_clock"), ("create_timeout", 1, "host_clock_without"), 1.3),
    Ratio("a whole request with timeout and two values",
          ours("request"), ("request_plain", 1, "stop_source"), 1.0,
          "without either"),
    Ratio("cancel of 1,000,000 children, each",
          ours("cancel_wide:1000000"), ("cancel_wide:1000000", 1, "walk_64"), 1.0),
    Ratio("cancel of a chain 100,000 deep, each level",
          ours("cancel_deep:100000"), ("cancel_deep:100000", 1, "walk_64"), 1.5),
    Limit("is it cancelled?", ours("err"), "ns", 2.0),
    Ratio("callback add and stop", ours("callback"), ("callback", 1, "stop_source"), 0.6),
    Ratio("callback add and stop, two threads",
          ours("callback", 2), ("callback", 2, "stop_source"), 0.4),
    Ratio("value lookup 32 bindings up", ours("value:32"), ("value:32", 1, "go"), 0.3),
    Ratio("churn in random order among 100,000 live",
          ours("churn:100000"), ("churn:100000", 1, "stop_source"), 0.5),
    Ratio("churn among 100,000 live, two threads",
          ours("churn:100000", 2), ("churn:100000", 2, "stop_source"), 0.3),
    Ratio("wake one waiter", ours("wake_last:1"), ("wake_last:1", 1, "futex"), 1.1),
    Ratio("wake the last of 64", ours("wake_last:64"), ("wake_last:64", 1, "futex"), 1.1),
    Limit("memory of each of 1,000,000 live contexts", ours("memory:1000000"), "bytes", 72),
    Limit("memory with a deadline", ours("memory_deadline:1000000"), "bytes", 80),
    Ratio("a timeout armed and disarmed beside 1,000,000 live",
          ours("armed:1000000"), ours("armed:1000"), 1.0, "beside 1,000"),
    Limit("the clock's share of a core, 1,000,000 live with 30 s timeouts",
          ours("clock_share:1000000"), "%", 1.0),
    Limit("lateness of 100,000 deadlines under load, p99",
          ours("lateness:100000"), "ns", 2e6, "p99"),
    Limit("longest stall of a thread by the clock", ours("stall:100000"), "ns", 1e6),
]


def measure(results, rows):
    return [row.measure(results) for row in rows]
