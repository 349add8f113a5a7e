"""What was measured: as text, as JSON, and as one HTML page with charts."""

import html
import json
import pathlib

from . import cliffs, names

try:
    from . import charts
except ImportError:
    charts = None  # without matplotlib; tools/deps --bench installs it

# A machine with more load than this, before the start, is not idle.
IDLE_LOAD = 0.5

METHOD = """
All sides run on one machine in one run, in turn: in each round each program does a short slice
of each workload in a process of its own, and workloads and programs rotate from round to round.
A figure is the median over rounds of the slices' medians; its spread is the range of the middle
half of all repetitions, as a part of the median. A ratio is the median of the ratios of each
round, with the range of their middle half. Time is wall time over the operations of all threads:
perfect scaling from one thread to two halves it. The C and C++ sides are one file of workloads
compiled with an adapter for each; Go and Rust have the same workloads in their own languages.
Floors run in the library's own process. While threads are woken, a thread of the idle class keeps
each CPU from halting. Go's and tokio's waiters are goroutines and tasks, not threads. "none": the
peer has no such thing, or not at that size (a GCancellable's chain overflows the stack beyond
some 11,000 levels); "not built": its packages are not there.
"""


def warning(results):
    if results.load <= IDLE_LOAD:
        return ""
    return (f"Other work was running on this machine (load {results.load:.1f} before the start): "
            "do not quote these figures.")


def sides_shown(results):
    """Peers and floors that were run, in the order of tables."""
    ran = {key[2] for key in results.series}
    return [side for side in names.SIDES if side in ran]


# --------------------------------------------------------------------- text


def columns(rows, left):
    """Rows of strings as a table; the first is its head, `left` are set to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) if i in left else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths)))
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _cells(outcome):
    """A row of the targets: what, canopy, against, its, measured, middle half, at most, verdict."""
    def value(number, unit):
        return "" if number is None else names.show(number, unit)

    measured = outcome.measured is not None
    return (outcome.what, value(outcome.ours, outcome.ours_unit), outcome.against,
            value(outcome.theirs, outcome.ours_unit),
            outcome.shown(outcome.measured) if measured else "",
            f"{outcome.shown(outcome.low)} to {outcome.shown(outcome.high)}" if measured else "",
            outcome.shown(outcome.at_most), outcome.verdict())


HEAD = ("work", "canopy", "against", "its", "measured", "middle half", "at most", "")


def targets_text(outcomes):
    return columns([HEAD, *map(_cells, outcomes)], left={0, 2, 7})


def sides_text(results):
    rows = [("work", "side", "median", "spread", "canopy's ratio")]
    for workload in results.workloads:
        for threads in results.threads(workload):
            ours = results.get(workload, threads, names.OURS)
            head = names.title(workload, threads)
            for side in sides_shown(results):
                series = results.get(workload, threads, side)
                if not series:
                    continue
                ratio = ""
                if ours and side != names.OURS and series.median():
                    ratio = f"{ours.median() / series.median():.2f}"
                rows.append((head, names.SIDES[side], names.show(series.median(), series.unit),
                             f"{series.spread():.0%}", ratio))
                head = ""
    return columns(rows, left={0, 1})


# --------------------------------------------------------------------- JSON


def write_json(path, results, outcomes, about):
    report = {
        **about,
        "load_before": results.load,
        "rounds": results.rounds,
        "series": [{"workload": workload, "threads": threads, "side": side, "unit": series.unit,
                    "median": series.median(), "spread": series.spread(),
                    "rounds": list(series.rounds.values()),
                    "quantiles": {name: series.median(name) for name in series.quantiles}}
                   for (workload, threads, side), series in results.series.items()],
        "targets": [{"work": outcome.what, "against": outcome.against,
                     "measured": outcome.measured, "low": outcome.low, "high": outcome.high,
                     "at_most": outcome.at_most, "unit": outcome.unit,
                     "verdict": outcome.verdict()} for outcome in outcomes],
    }
    pathlib.Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


# --------------------------------------------------------------------- HTML


def _targets_html(outcomes):
    parts = ["<table><tr>", *(f'<th class="text">{name}</th>' if name == "against" else
                              f"<th>{name}</th>" for name in HEAD), "</tr>"]
    for outcome in outcomes:
        *cells, verdict = (html.escape(cell) for cell in _cells(outcome))
        parts.append("<tr>")
        parts += [f'<td class="text">{cell}</td>' if i == 2 else f"<td>{cell}</td>"
                  for i, cell in enumerate(cells)]
        parts.append(f'<td class="{verdict.split()[0]}">{verdict}</td></tr>')
    return "\n".join(parts + ["</table>"])


def _floor_cell(results, workload, threads):
    cells = []
    for side in sides_shown(results):
        series = results.get(workload, threads, side)
        if series and side not in names.PEERS and side != names.OURS:
            cells.append(f"{names.show(series.median(), series.unit)}"
                         f"<small>{names.SIDES[side]}</small>")
    return "".join(cells)


def _peers_html(results, built):
    shown = [names.OURS, *names.PEERS]
    parts = ["<table><tr><th>work</th>", *(f"<th>{names.SIDES[side]}</th>" for side in shown),
             "<th>floors and variants</th></tr>"]
    for workload in results.workloads:
        for threads in results.threads(workload):
            ours = results.get(workload, threads, names.OURS)
            parts.append(f"<tr><td>{names.title(workload, threads)}</td>")
            for side in shown:
                series = results.get(workload, threads, side)
                if not series:
                    reason = "none" if side in built else "not built"
                    parts.append(f'<td class="none">{reason}</td>')
                    continue
                note = f"± {series.spread() / 2:.0%}"
                if ours and side != names.OURS and series.median():
                    note += f", canopy {ours.median() / series.median():.2f} ×"
                parts.append(f"<td>{names.show(series.median(), series.unit)}"
                             f"<small>{note}</small></td>")
            parts.append(f"<td>{_floor_cell(results, workload, threads)}</td></tr>")
    return "\n".join(parts + ["</table>"])


def _sides_charts(results):
    return [
        charts.threads(results),
        charts.memory(results),
        charts.sizes(results, "cancel_wide", "Fan-out: cancel of a parent, each child", "children"),
        charts.sizes(results, "cancel_deep", "Depth: cancel of a chain, each level", "levels"),
        charts.distribution(results, "wake_last:1", "From cancel to the waiter running again"),
        charts.distribution(results, "wake_last:64", "From cancel to the last of 64 waiters"),
        charts.distribution(results, "lateness:100000", "Lateness of 100,000 deadlines under load",
                            sides=[names.OURS, "go", "clock_nanosleep"]),
    ]


def _wide(chart):
    return f'<div class="wide">{chart}</div>' if chart else ""


def _aims(outcomes):
    return f"""<h2>What is aimed at</h2><div class="scroll">{_targets_html(outcomes)}</div>
<div class="charts">{_wide(charts and charts.targets(outcomes))}</div>
"""


def write_cliffs(path, results, outcomes, about):
    """A page of the rows and the curves of tools/bench --cliffs."""
    drawn = [charts.cliff(results, name) for name in cliffs.curves(results)] if charts else []
    body = _aims(outcomes) + f"""<h2>Curves</h2><div class="charts">{"".join(drawn)}</div>"""
    _write_page(path, "canopy: what threads, roots, waits and bursts cost", body, results, about)


def write_html(path, results, outcomes, about, built, entries):
    """A page of the rows, all sides, and the charts."""
    drawn = _sides_charts(results) if charts else []
    history = _wide(charts and charts.revisions(entries))
    body = _aims(outcomes) + f"""<h2>All sides</h2>
<div class="scroll">{_peers_html(results, built)}</div>
<h2>Charts</h2><div class="charts">{"".join(drawn)}{history}</div>"""
    _write_page(path, "canopy beside its peers", body, results, about)


def _write_page(path, title, body, results, about):
    style = (pathlib.Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    alarm = warning(results)
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style></head><body>
<h1>{title}</h1>
<p>{html.escape(about["revision"])} on {html.escape(about["date"])};
{html.escape(about["machine"])}, clock source {html.escape(about["clock_source"])};
{results.rounds} rounds.</p>
{f'<p class="warning">{html.escape(alarm)}</p>' if alarm else ""}
{body}
<h2>How it is measured</h2><p>{METHOD}</p>
</body></html>
"""
    pathlib.Path(path).write_text(page, encoding="utf-8")
