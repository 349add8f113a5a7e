"""
The table canopy_layout (src/inspect/layout.h) of each copy of canopy in a process: found
by its section, or, where the file that has it is not at hand, by its magic in a core.
"""
import re
import struct

import gdb
from canopy_gdb.memory import Unreadable

MAGIC = b"canopyL\0"
VERSION = 1
HEADER = struct.Struct("<8sIIQQQ")
NAME_BYTES = 40
ENTRIES_MOST = 4096

# A library's data is small; so larger ranges are not searched.
SEARCHED_BYTES = 64 << 20

RANGE = re.compile(r"^\s*(0x[0-9a-f]+) - (0x[0-9a-f]+) is (\S+)", re.MULTILINE)


class Layout:
    """By the names of the sources: layout["canopy_ctx.state"]."""

    def __init__(self, memory, address):
        magic, version, entry_bytes, own, entries, count = HEADER.unpack(
            memory.bytes(address, HEADER.size))
        if magic != MAGIC or own != address:
            raise Unreadable("its data is not that of a process (cut off, or nothing has run yet)")
        if version != VERSION or entry_bytes < NAME_BYTES + 8 or count > ENTRIES_MOST:
            raise Unreadable(f"a canopy of another time: its table has version {version}")
        table = memory.bytes(entries, entry_bytes * count)
        self.values = {}
        for at in range(0, len(table), entry_bytes):
            name = table[at:at + NAME_BYTES].split(b"\0", 1)[0].decode("ascii", "replace")
            self.values[name] = int.from_bytes(table[at + NAME_BYTES:at + NAME_BYTES + 8], "little")

    def __getitem__(self, name):
        if name not in self.values:
            raise Unreadable(f"a canopy of another time: its table has no {name}")
        return self.values[name]


def ranges():
    text = gdb.execute("info files", to_string=True)
    for first, end, name in RANGE.findall(text):
        yield int(first, 16), int(end, 16), name


def is_table(memory, address):
    """Whether the magic is not that of somebody who looks for it, as ours."""
    try:
        return HEADER.unpack(memory.bytes(address, HEADER.size))[3] == address
    except Unreadable:
        return False


def candidates(memory):
    """Addresses at which a table may be."""
    sections = list(ranges())
    found = [first for first, _, name in sections if name == ".canopy_layout"]
    if found:
        return found
    loads = [(first, end) for first, end, name in sections if re.fullmatch(r"load\d+\w?", name)]
    for first, end in loads:
        while first < end <= first + SEARCHED_BYTES:
            try:
                at = memory.inferior.search_memory(first, end - first, MAGIC)
            except gdb.error:
                break
            if at is None:
                break
            if is_table(memory, at):
                found.append(at)
            first = at + 8
    return found


def find_layouts(memory):
    """All that there are, and what is wrong with others."""
    layouts, faults = [], []
    for address in candidates(memory):
        try:
            layouts.append(Layout(memory, address))
        except Unreadable as fault:
            faults.append(f"canopy is in this program, but not to be read: {fault}")
    return layouts, faults
