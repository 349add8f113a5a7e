"""Writes what was measured into bench/README.md, between the comments that are there for it."""

import re
import sys

from . import build, names

FILE = build.ROOT / "bench" / "README.md"

HEAD = ["work", "canopy", "against", "measured (middle half)", "aimed at"]


def _measured(outcome):
    if outcome.measured is None:
        return "not run"
    low, high = outcome.shown(outcome.low), outcome.shown(outcome.high)
    return f"{outcome.shown(outcome.measured)} ({low} to {high})"


def _value(number, unit):
    return "" if number is None else names.show(number, unit)


def _is_met(outcome):
    return outcome.measured is not None and outcome.measured <= outcome.at_most


def _cells(outcome):
    theirs = _value(outcome.theirs, outcome.ours_unit)
    aim = outcome.shown(outcome.at_most)
    return [outcome.what, _value(outcome.ours, outcome.ours_unit) if theirs else "",
            f"{outcome.against}: {theirs}" if theirs else outcome.against,
            _measured(outcome), aim if _is_met(outcome) else f"**{aim}**"]


def _line(cells):
    return f"| {' | '.join(cells)} |"


def text(outcomes, command, about, rounds, warning):
    """When, where and by what clock, then a row for each outcome, those that are missed in bold."""
    met = sum(map(_is_met, outcomes))
    head = (f"From `{command}` on {about['date']} (UTC), revision {about['revision']}: "
            f"{about['machine']}, clock source {about['clock_source']}, {rounds} "
            f"round{'s' if rounds != 1 else ''}. {met} of {len(outcomes)} aims are met, "
            f"the others in bold.{f' {warning}' if warning else ''}")
    return "\n".join([head, "", _line(HEAD), _line(["---"] * len(HEAD)),
                      *(_line(_cells(outcome)) for outcome in outcomes)])


def replaced(document, name, figures):
    """The document with `figures` where those of that name stood."""
    place = re.compile(rf"(<!-- figures: {name} -->\n).*?(\n<!-- end of figures -->)", re.DOTALL)
    changed, count = place.subn(lambda match: match[1] + figures + match[2], document)
    if count != 1:
        sys.exit(f"bench/README.md has {count} places for the figures called {name}")
    return changed


def write(name, figures, file=FILE):
    file.write_text(replaced(file.read_text(encoding="utf-8"), name, figures), encoding="utf-8")
