"""
Pretty printers: of canopy_ctx *, canopy_cause and canopy_cause *, canopy_info, and of the
handles of C++ (canopy::context and others that hold a canopy_ctx *).
"""
import re

import gdb
import gdb.printing
from canopy_gdb import process as processes
from canopy_gdb import text
from canopy_gdb.contexts import ECANCELED, ETIMEDOUT, NEVER
from canopy_gdb.memory import Unreadable

KINDS = ["cancel", "root", "any", "value", "without_cancel"]
HANDLES = re.compile(
    r"^canopy::(context|context_ref|shared_owner|shared_context|lasting_ref|root)$")


def told(address):
    """A context by its address, in words, or that there is none; without canopy the address."""
    if not address:
        return "NULL"
    process = processes.current()
    if not process.copies:
        return f"{address:#x}"
    name = process.static(address)
    if name:
        return f"{address:#x} {name}"
    try:
        ctx = process.context(address)
        said = text.short(process, ctx) if ctx.is_there() else "<no context>"
    except Unreadable:
        said = "<no context>"
    return f"{address:#x} {said}"


class Pointer:
    """canopy_ctx *"""

    def __init__(self, value):
        self.address = int(value) % (1 << 64)

    def to_string(self):
        return told(self.address)


class Handle:
    """canopy::context and others"""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            return f"{self.value.type.strip_typedefs()} {told(processes.address_of(self.value))}"
        except (Unreadable, gdb.error) as fault:
            return f"<{fault}>"


class Cause:
    """canopy_cause, and what points to one"""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        is_pointer = self.value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR
        address = int(self.value) if is_pointer else 0
        if is_pointer and not address:
            return "NULL"
        prefix = f"{address:#x} " if is_pointer else ""
        try:
            memory = processes.current().memory
            value = self.value.dereference() if is_pointer else self.value
            code, line = int(value["code"]), int(value["line"])
            said = memory.text(int(value["text"])) or "without text"
            file = memory.text(int(value["file"]))
        except (Unreadable, gdb.error):
            return f"{prefix}<no cause>"
        said += f", code {code}" if code else ""
        said += f", at {file.strip(chr(34))}:{line}" if file else ""
        return prefix + said


class Info:
    """canopy_info"""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            kind = int(self.value["kind"])
            name = processes.current().memory.text(int(self.value["name"]))
            said = name or (KINDS[kind] if 0 <= kind < len(KINDS) else f"kind {kind}")
            return f"{said} {int(self.value['id'])}"
        except (Unreadable, gdb.error) as fault:
            return f"<{fault}>"

    def children(self):
        for field in self.value.type.strip_typedefs().fields():
            try:
                yield field.name, self.shown(field.name, self.value[field.name])
            except (Unreadable, gdb.error) as fault:
                yield field.name, f"<{fault}>"

    @staticmethod
    def shown(name, value):
        process = processes.current()
        if name in ("made_at", "ended_at") and int(value):
            return text.place(process, int(value))
        if name == "deadline_ns" and int(value) == NEVER:
            return "never"
        if name == "err" and int(value) in (0, -ECANCELED, -ETIMEDOUT):
            return text.error_name(int(value))
        if name in ("name", "cause") and not int(value["text"] if name == "cause" else value):
            return "none"
        return value


def tag_of(kind):
    kind = kind.unqualified().strip_typedefs()
    return kind.unqualified().tag or kind.unqualified().name or ""


def find(value):
    kind = value.type.unqualified().strip_typedefs().unqualified()
    if kind.code == gdb.TYPE_CODE_PTR:
        return {"canopy_ctx": Pointer, "canopy_cause": Cause}.get(tag_of(kind.target()))
    if kind.code != gdb.TYPE_CODE_STRUCT:
        return None
    tag = tag_of(value.type)
    return Handle if HANDLES.match(tag) else {"canopy_cause": Cause, "canopy_info": Info}.get(tag)


def lookup(value):
    """gdb asks this of each value that it prints."""
    printer = find(value)
    return printer(value) if printer else None


lookup.name = "canopy"
lookup.enabled = True


def register():
    gdb.printing.register_pretty_printer(None, lookup, replace=True)
