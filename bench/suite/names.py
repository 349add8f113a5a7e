"""What the sides and the workloads are called in tables, and their order."""

OURS = "canopy"

# The peers' programs, and what their sides are called there and in tables.
PEERS = {
    "stop_source": "std::stop_source",
    "nsync": "nsync",
    "gcancellable": "GCancellable",
    "go": "Go context",
    "tokio": "tokio-util",
}

# The least that any library would have to do.
FLOORS = {
    "malloc_128": "malloc + free of 128 bytes",
    "exchanges": "atomic exchanges",
    "clock_coarse": "a coarse clock read",
    "walk_64": "a raw walk",
    "futex": "raw futex",
    "clock_nanosleep": "clock_nanosleep",
    "no_deadlines": "without deadlines",
}

# The library itself under other conditions.
VARIANTS = {
    "without": "without a timeout",
    "host_clock": "with the host's time",
    "host_clock_without": "under the same root, without a timeout",
}

SIDES = {OURS: "canopy", **PEERS, **VARIANTS, **FLOORS}

# The floor that a workload is held against where one is wanted; the others have none.
REFERENCE = {
    "create": "malloc_128",
    "create_middle": "malloc_128",
    "create_timeout": "malloc_128",
    "request_plain": "malloc_128",
    "request": "malloc_128",
    "churn": "malloc_128",
    "err": "exchanges",
    "callback": "exchanges",
    "value": "walk_64",
    "cancel_wide": "walk_64",
    "cancel_wide_alone": "walk_64",
    "cancel_deep": "walk_64",
    "wake_last": "futex",
    "memory": "malloc_128",
    "memory_deadline": "malloc_128",
}

WORKLOADS = {
    "create": "create, cancel, release under one root",
    "create_middle": "create, cancel, release under a parent in mid-tree",
    "create_timeout": "create, cancel, release with a 30 s timeout",
    "request_plain": "a request: connection, request, two calls",
    "request": "a whole request, with timeout and two values",
    "churn": "churn in random order",
    "err": "is it cancelled?",
    "callback": "callback add and stop",
    "value": "value lookup",
    "cancel_wide": "cancel of a parent, for each child",
    "cancel_wide_alone": "the same, in a process of one thread",
    "cancel_deep": "cancel of a chain, for each level",
    "wake_last": "wake the last waiter",
    "armed": "a timeout armed and disarmed beside live ones",
    "clock_share": "the clock's share of a core",
    "lateness": "lateness of deadlines",
    "stall": "longest stall of a thread beside deadlines",
    "memory": "memory of a live context",
    "memory_deadline": "memory of a live context with a deadline",
}

_SIZES = {
    "churn": "{} live",
    "value": "{} bindings up",
    "cancel_wide": "{} children",
    "cancel_wide_alone": "{} children",
    "cancel_deep": "{} deep",
    "wake_last": "{} waiting",
    "armed": "{} live",
    "clock_share": "{} live",
    "lateness": "{} of 10 to 1000 ms",
    "stall": "{} of 10 to 1000 ms",
    "memory": "{} live",
    "memory_deadline": "{} live",
}


def base(workload):
    """The workload without its size."""
    return workload.split(":")[0]


def size(workload):
    return int(workload.split(":")[1]) if ":" in workload else 0


def title(workload, threads=1):
    text = WORKLOADS[base(workload)]
    if size(workload):
        text += ", " + _SIZES[base(workload)].format(f"{size(workload):,}")
    if threads > 1:
        text += f", {threads} threads"
    return text


def show(value, unit):
    """A value as a table shows it; times grow into µs and ms."""
    if unit == "ns":
        for limit, factor, name in ((1e4, 1, "ns"), (1e6, 1e3, "µs"), (1e10, 1e6, "ms")):
            if abs(value) < limit:
                return f"{_digits(value / factor)} {name}"
        return f"{value / 1e9:.1f} s"
    return f"{_digits(value)} {unit}".strip()


def _digits(value):
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"
