"""The rows of tools/bench --cliffs: what threads, roots, waits and bursts may cost."""

from . import names
from .rows import Limit, Ratio, Surplus, ours

# "Unchanged" is what a run can tell from it.
SAME = 1.1
MS = 1e6

LIVE = (1000, 10000, 100000, 1000000)


def _ratios(what, name, sizes, at_most):
    """The library against its other side, at each of the sizes."""
    for size in sizes:
        workload = f"{name}:{size}"
        kind = names.sizes_of(name)
        yield Ratio(f"{what}, {size:,} {kind}", ours(workload),
                    (workload, 1, names.REFERENCE[name]), at_most)


def _limits(what, name, sizes, unit, at_most, quantile=None):
    for size in sizes:
        yield Limit(f"{what}, {size:,} {names.sizes_of(name)}", ours(f"{name}:{size}"),
                    unit, at_most, quantile)


def _resident(what, kind, at_most=16):
    return Limit(f"resident 5 s after 5,000,000 have ended: {what}",
                 ours(f"resident_{kind}:5000000"), "MB", at_most)


ROWS = [
    *_limits("a host's loop turn with one due deadline, CPU time", "loop_turn", (1, 2, 4),
             "ns", 400),
    Surplus("with a 30 s timeout", "without one, and a coarse clock read",
            ours("create_timeout"),
            [("create_timeout", 1, "without"), ("create_timeout", 1, "clock_coarse")], 5.0),
    *_ratios("under two busy parents in turn", "two_parents", (1, 64, 2000), 1.5),
    *_ratios("the same, after the others have ended", "two_parents_ended", (64, 2000), 1.5),
    *_ratios("one thread, in turn", "roots", (5, 64, 500), 2.0),
    *_ratios("release on a thread that never made a context", "release_guest",
             (1, 64, 1000), 1.5),
    Ratio("a thread's first context, 2,000 threads alive", ours("first_context:2000"),
          ours("first_context:10"), SAME, "10 alive"),
    *_ratios("create, cancel, release beside a wait_any", "wait_any", (2, 8, 64), SAME),
    Ratio("create and end after wait_idle", ours("after_wait_idle"),
          ("after_wait_idle", 1, "never_waited"), SAME),
    Ratio("create and end after a refused root_free", ours("after_refusal"),
          ("after_refusal", 1, "never_waited"), SAME),
    Surplus("create and end while somebody waits for idle",
            "where nobody ever waited, and two atomic exchanges", ours("beside_wait_idle"),
            [("beside_wait_idle", 1, "never_waited"), ("beside_wait_idle", 1, "two_exchanges")],
            2.0),
    _resident("by their maker", "maker"),
    _resident("by another thread", "other"),
    _resident("by one cancel", "cancel"),
    _resident("by their maker, own root", "maker_root"),
    _resident("by another thread, own root", "other_root"),
    _resident("by one cancel, own root", "cancel_root"),
    # 512 bytes for each of 78,125 that are left.
    _resident("one in 64 kept", "kept", 40),
    _resident("one in 64 kept, by another thread, own root", "kept_root", 40),
    Limit("longest call while that goes back", ours("giving_back:5000000"), "ns", 0.1 * MS),
    Limit("resident, 500 dead threads, one after the other", ours("dead_in_turn:500"), "MB", 16),
    Limit("resident, 500 dead threads that had lived at once", ours("dead_at_once:500"),
          "MB", 16),
    *_ratios("cancel of a parent of 10", "cancel_once_children",
             (1000, 100000, 1000000), 2.0),
    *_ratios("cancel of a context with 10 callbacks", "cancel_once_callbacks",
             (1000, 100000, 1000000), 2.0),
    *_limits("longest turn of a host's loop", "burst_turn", (100000, 1000000), "ns", MS),
    *_limits("lateness of a bystander, the worst", "burst_bystander", (100000, 1000000),
             "ns", 2 * MS, "max"),
    *_limits("a cancel that loses, each merge", "losing_cancel", (2000, 20000, 200000),
             "ns", 1000, "max"),
    Ratio("the clock's share of a core, 10,000 roots", ours("clock_roots:10000"),
          ours("clock_roots:1"), 1.5, "one root"),
    Ratio("canopy_cancel, then canopy_release", ours("cancel_release"),
          ("cancel_release", 1, "malloc_cas"), 1.3),
    Ratio("canopy_end alone", ours("end"), ("end", 1, "malloc_cas"), 1.3),
    Ratio("a whole request with timeout and two values", ours("request"),
          ("request", 1, "malloc_only"), 2.0),
    *_limits("a walk over all contexts with notes, each, CPU time", "inspect_walk", LIVE, "ns", 60),
    *_limits("a dump of them as JSON, each, CPU time", "inspect_json", LIVE, "ns", 500),
    *_limits("a dump of them as text, each, CPU time", "inspect_text", LIVE, "ns", 500),
    *_ratios("create and end under a root with notes", "noted_create", (1, 2, 4, 8), 2.0),
    *_limits("memory of each with its note", "noted_memory", (1000000,), "bytes", 136),
    Limit("eight threads beside a dump of 1,000,000, over beside a thread that computes",
          ours("beside_dump:1000000"), "×", 1.05, of_phases=True),
    Limit("the same, over beside none", ours("beside_dump_alone:1000000"), "×", 1.05,
          of_phases=True),
    *_ratios("longest pause of one of them beside dumps", "pause_dump", (1000000,), 2.0),
]

def workloads(row):
    """What a row is made of."""
    theirs = getattr(row, "theirs", [])
    return [key[0] for key in [row.ours, *(theirs if isinstance(theirs, list) else [theirs])]]


_OF_ROWS = {workload for row in ROWS for workload in workloads(row)}
_NAMES = {*names.CLIFFS, *map(names.base, _OF_ROWS)}


def is_wanted(workload, quick=False):
    """The rows, and the other points of their curves; in a quick run not those that take long."""
    if quick and names.base(workload) in names.LONG:
        return workload in _OF_ROWS
    return names.base(workload) in _NAMES


# Of these the worst is looked at, and not the median.
WORST = {"burst_bystander": "max", "losing_cancel": "max"}


def curves(results):
    """The workloads that were run at several sizes, in the order of tables."""
    sizes = {}
    for workload in results.workloads:
        sizes.setdefault(names.base(workload), []).append(names.size(workload))
    return [name for name, found in sizes.items() if name in names.CLIFFS and len(found) > 1]
