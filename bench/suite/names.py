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
    "malloc_only": "malloc + free of as many objects",
    "malloc_cas": "malloc + free of 128 bytes, and a compare-and-swap",
    "exchanges": "atomic exchanges",
    "two_exchanges": "two atomic exchanges",
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
    "one_parent": "under one parent, one thread",
    "one_root": "under one root",
    "release_maker": "on a thread that has made some",
    "nothing_due": "with nothing due",
    "never_waited": "where nobody ever waited",
    "never_had": "that never had more",
    "no_burst": "without a burst",
    "no_calls": "without a call",
    "without_notes": "under a root without notes",
    "computing": "beside a thread that computes",
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
    "end": "malloc_cas",
    "cancel_release": "malloc_cas",
    "loop_turn": "nothing_due",
    "two_parents": "one_parent",
    "two_parents_ended": "one_parent",
    "roots": "one_root",
    "release_guest": "release_maker",
    "wait_any": "never_waited",
    "after_wait_idle": "never_waited",
    "after_refusal": "never_waited",
    "beside_wait_idle": "never_waited",
    "cancel_once_children": "never_had",
    "cancel_once_callbacks": "never_had",
    "burst_bystander": "no_burst",
    "giving_back": "no_burst",
    "noted_create": "without_notes",
    "noted_memory": "without_notes",
    "pause_dump": "computing",
}

# What lies beside the everyday path: measured by tools/bench --cliffs alone.
CLIFFS = {
    "end": "create, canopy_end",
    "cancel_release": "create, canopy_cancel, canopy_release",
    "loop_turn": "a host's loop turn with one due deadline",
    "two_parents": "under two busy parents in turn",
    "two_parents_ended": "two busy parents in turn, after the other threads have ended",
    "first_context": "a thread's first context",
    "release_guest": "release on a thread that never made a context",
    "roots": "one thread under several roots in turn",
    "clock_roots": "the clock's share of a core, 1,200 timeouts a second",
    "wait_any": "beside a wait_any, of any kind of context",
    "after_wait_idle": "under a root after wait_idle",
    "after_refusal": "under a root that could not be freed",
    "beside_wait_idle": "under a root while somebody waits for idle",
    "cancel_once_children": "cancel of a parent of 10",
    "cancel_once_callbacks": "cancel of a context with 10 callbacks",
    "burst_turn": "longest turn of a loop, all deadlines at once",
    "burst_bystander": "lateness of a bystander, all deadlines at once",
    "losing_cancel": "a cancel that loses, for each merge below",
    "resident_maker": "resident after 5 s, ended by their maker",
    "resident_other": "the same, ended by another thread",
    "resident_cancel": "the same, ended by one cancel",
    "resident_maker_root": "the same, ended by their maker, own root",
    "resident_other_root": "the same, ended by another thread, own root",
    "resident_cancel_root": "the same, ended by one cancel, own root",
    "resident_kept": "the same, one in 64 kept",
    "resident_kept_root": "the same, one in 64 kept, ended by another thread, own root",
    "dead_in_turn": "resident, makers dead one after the other",
    "dead_at_once": "resident, makers dead that had lived at once",
    "giving_back": "longest call while memory goes back",
    "inspect_walk": "a walk over all contexts, each",
    "inspect_json": "a dump of all contexts as JSON, each",
    "inspect_text": "a dump of all contexts as text, each",
    "noted_create": "create, canopy_end under a root with notes",
    "noted_memory": "memory of a live context with its note",
    "beside_dump": "eight threads beside a dump, over beside one that computes",
    "beside_dump_alone": "eight threads beside a dump, over alone",
    "pause_dump": "longest pause of eight threads beside dumps",
}

# Each takes seconds: a quick run has once what rows need of them, and no more.
LONG = {name for name in CLIFFS
        if name.startswith(("resident_", "dead_", "giving_back", "clock_roots",
                            "beside_dump", "pause_dump"))}

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
    **CLIFFS,
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
    "loop_turn": "{} loops",
    "two_parents": "{} threads alive",
    "two_parents_ended": "{} threads",
    "first_context": "{} threads alive",
    "release_guest": "{} threads alive",
    "roots": "{} roots",
    "clock_roots": "{} roots",
    "wait_any": "{} waited for",
    "cancel_once_children": "{} children once",
    "cancel_once_callbacks": "{} callbacks once",
    "burst_turn": "{} due",
    "burst_bystander": "{} due",
    "losing_cancel": "{} merges",
    **dict.fromkeys((name for name in CLIFFS if name.startswith("resident_")), "{} made"),
    "dead_in_turn": "{} threads",
    "dead_at_once": "{} threads",
    "giving_back": "{} made",
    **dict.fromkeys((name for name in CLIFFS if name.startswith(("inspect_", "noted_memory"))),
                    "{} live"),
    "noted_create": "{} threads",
    **dict.fromkeys((name for name in CLIFFS if "_dump" in name), "{} told"),
}


def base(workload):
    """The workload without its size."""
    return workload.split(":")[0]


def size(workload):
    return int(workload.split(":")[1]) if ":" in workload else 0


def sizes_of(name):
    """What the sizes of a workload are."""
    return _SIZES[name].format("").strip()


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
