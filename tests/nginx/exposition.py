"""Prometheus's text format, version 0.0.4, read as strictly as its documentation tells it
(Exposition formats, Text format details), and its conventions for names."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^\\"\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (NaN|[+-]?Inf|[+-]?\d+(?:\.\d+)?)")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


class Metric:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.samples = {}  # by name and labels

    def takes(self, name):
        return name in [self.name + suffix for suffix in SUFFIXES.get(self.kind, ("",))]


def labels_of(text):
    labels = re.findall(LABEL, text or "")
    assert len(dict(labels)) == len(labels), f"a label twice: {text}"
    return tuple(sorted(labels))


def read_comment(line, metrics, helped):
    found = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line)
    assert found, f"neither HELP nor TYPE: {line}"
    what, name, text = found.groups()
    if what == "HELP":
        assert name not in helped and not re.search(r"\\(?![\\n])", text), line
        helped.add(name)
        return None
    assert name in helped and name not in metrics and text in TYPES, line
    metrics[name] = Metric(name, text)
    return metrics[name]


def read_sample(line, current):
    found = SAMPLE.fullmatch(line)
    assert found, f"no sample: {line}"
    name, labels, value = found[1], labels_of(found[2]), float(found[found.lastindex])
    assert current and current.takes(name), f"a sample outside of its metric: {line}"
    assert (name, labels) not in current.samples, f"a sample twice: {line}"
    current.samples[name, labels] = value


def check_histogram(metric):
    buckets = [(float(dict(labels)["le"]), value) for (name, labels), value
               in metric.samples.items() if name.endswith("_bucket")]
    assert buckets == sorted(buckets), f"{metric.name}: not in order"
    values = [value for _, value in buckets]
    assert values == sorted(values), f"{metric.name}: not cumulative"
    assert buckets[-1] == (float("inf"), metric.samples[metric.name + "_count", ()])
    assert (metric.name + "_sum", ()) in metric.samples


def check_name(metric):
    """Counters end in _total and nothing else does; what has a unit ends in it, a base one."""
    assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
    assert not re.search(r"_(ms|milliseconds|minutes|kib|kilobytes)(_|$)", metric.name)


def parse(text):
    """The metrics by their names."""
    assert text.endswith("\n") and "\r" not in text
    metrics, helped, current = {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            current = read_comment(line, metrics, helped) or current
        else:
            read_sample(line, current)
    for metric in metrics.values():
        assert metric.samples, f"{metric.name} has no sample"
        check_name(metric)
        if metric.kind == "histogram":
            check_histogram(metric)
    assert helped == set(metrics)
    return metrics


def samples(text):
    """All values, by name and labels as they are written."""
    return {name + ("{%s}" % ",".join(f'{key}="{value}"' for key, value in labels) if labels else ""):
            found for metric in parse(text).values() for (name, labels), found
            in metric.samples.items()}
