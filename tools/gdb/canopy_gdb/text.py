"""Contexts, causes, places and times in words, those of a dump of the library's."""
import os

import gdb
from canopy_gdb.contexts import ECANCELED, ETIMEDOUT, NEVER, signed
from canopy_gdb.memory import Unreadable

UNITS = [("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9), ("min", 60 * 10**9),
         ("h", 3600 * 10**9)]
AGES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9,
        "h": 3600 * 10**9}


def duration(ns):
    ns = max(ns, 0)
    name, unit = next(((name, unit) for name, unit in reversed(UNITS[1:]) if ns >= 10 * unit),
                      UNITS[1])
    return f"{ns // unit} {name}"


def age_of(text):
    """The nanoseconds of 10, 10s, 1.5ms."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number):] or "s"
    try:
        ns = float(number) * AGES[unit]
    except (KeyError, ValueError):
        raise Unreadable(f"{text} is no age: say 10, 1.5ms, 2h") from None
    if not 0 <= ns < NEVER:
        raise Unreadable(f"{text} is no age: say 10, 1.5ms, 2h")
    return int(ns)


def place(process, address, after_call=True):
    """Where code is: of what a call returned to the line of the call."""
    key = address, after_call
    if key not in process.places:
        process.places[key] = named_place(address, after_call)
    return process.places[key]


def named_place(address, after_call):
    if not address:
        return "?"
    try:
        symbol = gdb.execute(f"info symbol {address:#x}", to_string=True)
        line = gdb.find_pc_line(address - (1 if after_call else 0))
    except gdb.error:
        return f"{address:#x}"
    name = f"{address:#x}"
    if " in section " in symbol:
        name = symbol.split(" in section ")[0].replace(" + ", "+")
    if line.symtab and line.line:
        name += f" ({os.path.basename(line.symtab.filename)}:{line.line})"
    return name


def thread(process, tid):
    for known in process.memory.inferior.threads():
        if known.ptid[1] == tid:
            return f"thread {tid} (gdb's {known.num})"
    return f"thread {tid}"


def error_name(err):
    return {0: "live", -ECANCELED: "canceled", -ETIMEDOUT: "timed out"}[err]


def cause(copy, address):
    """In words, quoted."""
    if not address:
        return '""'
    try:
        return copy.cause(address)[1] or '""'
    except Unreadable:
        return f"<cause at {address:#x} cannot be read>"


def cause_in_full(copy, address):
    code, text, file, line = copy.cause(address)
    said = text or "without text"
    if code:
        said += f", code {code}"
    if file:
        said += f", at {file.strip(chr(34))}:{line}"
    return said


def end(process, ctx):
    said = f" {error_name(ctx.err)}: {cause(ctx.copy, ctx.cause)}"
    by = ctx.ender()
    if by is None:
        return said
    if by.address != ctx.address:
        said += f", by {by.id or hex(by.address)}"
    if by.note and by.noted_half("ended_tid"):
        said += f", {thread(process, by.noted_half('ended_tid'))}"
        if by.noted("ended_at"):
            said += f", at {place(process, by.noted('ended_at'))}"
    return said


def name(ctx):
    return ctx.name or ctx.kind


def key(process, address):
    """A key by its name, which is the first that it has."""
    try:
        named = process.memory.text(process.memory.word(address))
    except Unreadable:
        named = None
    return named or place(process, address, False)


def short(process, ctx):
    """A context in some words, for where many are told of."""
    said = name(ctx)
    if ctx.id:
        said += f" {ctx.id}"
    if ctx.err:
        return said + f" {error_name(ctx.err)}: {cause(ctx.copy, ctx.cause)}"
    return said + due(process, ctx)


def due(process, ctx):
    deadline_ns = ctx.deadline_ns()
    if deadline_ns == NEVER:
        return ""
    left_ns = deadline_ns - process.now_ns(ctx.domain)
    return f" due in {duration(left_ns)}" if left_ns >= 0 else f" due since {duration(-left_ns)}"


def line(process, ctx):
    """All that a line of a tree says."""
    said = f"{ctx.address:#x} {name(ctx)}"
    try:
        if ctx.note:
            age_ns = process.now_ns(ctx.domain) - signed(ctx.noted("made_ns"))
            said += (f" {ctx.id} age {duration(age_ns)} made at "
                     f"{place(process, ctx.noted('made_at'))}")
        if ctx.kind == "value":
            said += f" of {key(process, ctx.key())}"
        said += end(process, ctx) if ctx.err else due(process, ctx)
        said += "" if ctx.handles else " released"
        said += " waited for" if ctx.is_waited else ""
        callbacks = len(ctx.callbacks())
        if callbacks:
            said += f" {callbacks} callback{'s' if callbacks > 1 else ''}"
    except Unreadable as fault:
        said += f" <{fault}>"
    return said
