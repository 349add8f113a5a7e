"""What earlier revisions measured: a line of JSON each in bench/history.jsonl.

Times of different days do not compare; ratios to the floor that ran in the same
process do.
"""

import datetime
import json
import pathlib

from . import build, names

FILE = build.ROOT / "bench" / "history.jsonl"

# A ratio that grew by less than this is no regression, whatever the spread.
NOTICED = 1.10


def machine():
    """The processor's model, and how many CPUs there are."""
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
              if line.startswith("model name")]
    return f"{models[0] if models else 'unknown'}, {len(models)} CPUs"


def clock_source():
    """What the kernel reads the time from."""
    file = pathlib.Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return file.read_text(encoding="utf-8").strip() if file.exists() else "unknown"


def entry(results, revision):
    series = {}
    for (workload, threads, side), measured in results.series.items():
        series[f"{workload}/{threads}/{side}"] = {
            "median": float(f"{measured.median():.4g}"),
            "spread": float(f"{measured.spread():.2g}")}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "revision": revision,
        "machine": machine(),
        "clock_source": clock_source(),
        "load": round(results.load, 2),
        "rounds": results.rounds,
        "series": series,
    }


def read():
    if not FILE.exists():
        return []
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def append(new):
    with open(FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(new, sort_keys=True) + "\n")


def ratio(old, workload, threads):
    """The library over its floor in one entry, with the spread of both; or None."""
    floor = names.REFERENCE.get(names.base(workload))
    ours = old["series"].get(f"{workload}/{threads}/{names.OURS}")
    theirs = old["series"].get(f"{workload}/{threads}/{floor}")
    if not ours or not theirs or not theirs["median"]:
        return None
    return ours["median"] / theirs["median"], ours["spread"] + theirs["spread"]


def changes(now, then):
    """(workload, threads, ratio now, ratio then, noticeably worse) for what both have."""
    for key in now["series"]:
        workload, threads, side = key.split("/")
        if side != names.OURS:
            continue
        new, old = ratio(now, workload, threads), ratio(then, workload, threads)
        if new and old:
            growth = new[0] / old[0]
            worse = growth > max(NOTICED, 1 + new[1] / 2 + old[1] / 2)
            yield workload, int(threads), new[0], old[0], worse
