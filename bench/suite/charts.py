"""The report's charts: SVG that takes its colours from the page's style sheet."""

import io
import re

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure

from . import cliffs, history, names

matplotlib.use("svg")

# Colours that stand for the style sheet's; see report.css.
INK, FAINT = "#0002f0", "#0002f1"
_VARIABLES = {INK: "--ink", FAINT: "--faint"}
_MARKERS = "osD^vPX"

_PARTS = {"p999": "p99.9", "p9999": "p99.99"}


def _line(number):
    """The colour and the marker of one of seven lines."""
    colour = f"#0001{number:02x}"  # not black: that is left out of an SVG
    _VARIABLES[colour] = f"--side{number}"
    return {"color": colour, "marker": _MARKERS[number], "markersize": 5}


def _style(side):
    """What a side is drawn with: the same in all charts."""
    known = [names.OURS, *names.PEERS]
    number = known.index(side) if side in known else len(known)
    return {**_line(number), "label": names.SIDES[side],
            "linewidth": 2.4 if side == names.OURS else 1.4,
            "linestyle": "-" if side in known else "--",
            "zorder": 3 if side == names.OURS else 2}


matplotlib.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "grid.color": FAINT, "grid.linewidth": 0.4,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 9,
    "savefig.transparent": True,
})


def _figure(width=6.4, height=3.6):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure, title):
    matplotlib.rcParams["svg.hashsalt"] = title  # the charts share a page: no name twice
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'id="(figure|axes|patch|line2d|text|xtick|ytick|matplotlib|legend|Poly)[^"]*"',
                  "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return f'<figure><figcaption>{title}</figcaption>{text}</figure>'


def _tick_plainly(axis, values):
    axis.set_xscale("log")
    axis.set_xticks(values, [f"{value:,}" for value in values])
    axis.xaxis.set_minor_locator(ticker.NullLocator())


def _log(axes, name):
    """Makes the x or y axis logarithmic, with numbers in place of powers."""
    getattr(axes, f"set_{name}scale")("log")
    axis = getattr(axes, f"{name}axis")
    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter("{x:,.12g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def _over(results, title, label, points, sides, unit="ns for each", quantile=None):
    """A line a side over `points`: (x, workload, threads)."""
    figure, axis = _figure()
    drawn = False
    for side in sides:
        line = [(x, results.get(workload, threads, side)) for x, workload, threads in points]
        line = [(x, series.median(quantile)) for x, series in line if series]
        if len(line) > 1:
            axis.plot(*zip(*line), **_style(side))
            drawn = True
    if not drawn:
        return ""
    _log(axis, "y")
    _tick_plainly(axis, [x for x, _, _ in points])
    axis.set_xlabel(label)
    axis.set_ylabel(unit)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(figure, title)


def _sized(results, name):
    return sorted((names.size(workload), workload, 1) for workload in results.workloads
                  if names.base(workload) == name)


def _sides(results, workload, threads=1):
    """The library, the peers and the floor that have the workload."""
    wanted = [names.OURS, *names.PEERS, names.REFERENCE.get(names.base(workload))]
    return [side for side in wanted if side in results.sides(workload, threads)]


def threads(results):
    points = [(n, "create", n) for n in results.threads("create")]
    return _over(results, "Scaling: create, cancel, release under one root",
                 "threads", points, _sides(results, "create"),
                 "ns, over the operations of all threads")


def sizes(results, name, title, label):
    points = _sized(results, name)
    if not points:
        return ""
    return _over(results, title, label, points, _sides(results, points[0][1]))


def cliff(results, name):
    """A workload over its sizes; where the worst is looked at, the worst."""
    points = [point for point in _sized(results, name) if _sides(results, point[1])]
    if not points:
        return ""
    quantile = cliffs.WORST.get(name)
    sides = _sides(results, points[0][1])
    unit = results.get(points[0][1], 1, sides[0]).unit + (", the worst" if quantile else "")
    return _over(results, names.WORKLOADS[name], names.sizes_of(name), points, sides, unit,
                 quantile)


def distribution(results, workload, title, sides=None):
    """A line a side over its quantiles."""
    figure, axis = _figure()
    ticks = ["min", "p25", "p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max"]
    if names.size(workload) < 1000:
        ticks = [tick for tick in ticks if tick not in ("p999", "p9999")]
    sides = [side for side in sides or _sides(results, workload)
             if results.get(workload, 1, side)]
    if not sides:
        return ""
    for side in sides:
        series = results.get(workload, 1, side)
        axis.plot(ticks, [max(series.median(tick), 100) / 1000 for tick in ticks],
                  **_style(side))
    _log(axis, "y")
    axis.set_ylabel("µs")
    axis.set_xticks(range(len(ticks)), [_PARTS.get(tick, tick) for tick in ticks], fontsize=8)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(figure, title)


def memory(results):
    kinds = [("memory:1000000", "plain"), ("memory_deadline:1000000", "with a deadline")]
    sides = _sides(results, kinds[0][0])
    if not sides:
        return ""
    figure, axis = _figure(height=0.5 + 0.55 * len(sides))
    for row, side in enumerate(reversed(sides)):
        for number, (workload, label) in enumerate(kinds):
            series = results.get(workload, 1, side)
            place = row + 0.2 - 0.4 * number
            if series:
                axis.barh(place, series.median(), height=0.36, alpha=1 - 0.45 * number,
                          color=_style(side)["color"])
            text = f"{series.median():.0f}, {label}" if series else f"{label}: none"
            axis.text(series.median() + 3 if series else 3, place, text, va="center", fontsize=8)
    axis.set_yticks(range(len(sides)), [names.SIDES[side] for side in reversed(sides)])
    axis.set_xlim(right=axis.get_xlim()[1] * 1.25)
    axis.grid(False, axis="y")
    axis.set_xlabel("bytes")
    return _svg(figure, "Memory of each of 1,000,000 live contexts")


def targets(outcomes):
    """How far each row is from what is aimed at; left of the line it is met."""
    rows = [outcome for outcome in outcomes if outcome.measured is not None][::-1]
    if not rows:
        return ""
    figure, axis = _figure(width=8.6, height=0.8 + 0.24 * len(rows))
    style = _style(names.OURS)
    for place, row in enumerate(rows):
        least = row.at_most / 100  # a surplus may be nothing, or less
        values = [max(v, least) / row.at_most for v in (row.low, row.measured, row.high)]
        axis.plot([values[0], values[2]], [place, place], color=style["color"], linewidth=2)
        axis.plot(values[1], place, "o" if row.measured <= row.at_most else "X",
                  color=style["color"], markersize=7)
    axis.axvline(1, color=INK, linewidth=1)
    _log(axis, "x")
    axis.set_yticks(range(len(rows)), [row.what for row in rows], fontsize=8)
    axis.set_xlabel("measured, as a part of what is aimed at (1 and less: met)")
    return _svg(figure, "Against the targets, with the range of the middle half")


def revisions(entries):
    """Ratio to the floor, revision by revision; needs two."""
    if len(entries) < 2:
        return ""
    figure, axis = _figure(width=8.6)
    picked = ["create", "create_timeout", "request", "callback", "churn:100000", "value:32",
              "cancel_wide:1000000"]
    for number, workload in enumerate(picked):
        ratios = [history.ratio(entry, workload, 1) for entry in entries]
        line = [(x, ratio[0]) for x, ratio in enumerate(ratios) if ratio]
        if line:
            axis.plot(*zip(*line), **_line(number), label=names.title(workload))
    axis.set_xticks(range(len(entries)),
                    [f"{entry['revision']}\n{entry['date'][:10]}" for entry in entries],
                    fontsize=8, rotation=30 if len(entries) > 6 else 0)
    _log(axis, "y")
    axis.set_ylabel("ratio to the floor")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(figure, "History: the library over its floor")
