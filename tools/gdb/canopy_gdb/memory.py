"""
The memory of what is debugged, read by the piece and kept. All of it may be wrong, or not
there, as in a core that is cut off: so each read says so by Unreadable, and no text is
longer than a bound.
"""
import struct

import gdb

PIECE_BYTES = 32768  # as a slab
PAGE_BYTES = 4096
TEXT_BYTES = 200
WORD = struct.Struct("<Q")
ADDRESSES = 1 << 64


class Unreadable(Exception):
    """No such memory, or not what should be there."""


class Memory:
    def __init__(self):
        self.inferior = gdb.selected_inferior()
        self.pieces = {}

    def ask(self, address, size_bytes):
        try:
            return bytes(self.inferior.read_memory(address, size_bytes))
        except (gdb.error, OverflowError, MemoryError):  # gdb.MemoryError is a gdb.error
            return None

    def piece(self, base):
        """The bytes of an aligned piece; where not all can be read, of what can by the page."""
        if base not in self.pieces:
            whole = self.ask(base, PIECE_BYTES)
            self.pieces[base] = whole if whole is not None else {
                page: self.ask(base + page, PAGE_BYTES)
                for page in range(0, PIECE_BYTES, PAGE_BYTES)}
        return self.pieces[base]

    def within(self, address, size_bytes):
        """A buffer and where in it the bytes are, which lie in one piece."""
        at = address % PIECE_BYTES
        piece = self.piece(address - at)
        if isinstance(piece, bytes):
            return piece, at
        page = piece[at - at % PAGE_BYTES]
        if page is None or at % PAGE_BYTES + size_bytes > PAGE_BYTES:
            raise Unreadable(f"no memory at {address:#x}")
        return page, at % PAGE_BYTES

    def bytes(self, address, size_bytes):
        if not 0 < address < ADDRESSES - size_bytes:
            raise Unreadable(f"no memory at {address:#x}")
        taken = bytearray()
        while len(taken) < size_bytes:
            here = address + len(taken)
            count = min(size_bytes - len(taken), PAGE_BYTES - here % PAGE_BYTES)
            buffer, at = self.within(here, count)
            taken += buffer[at:at + count]
        return bytes(taken)

    def word(self, address):
        if address % 8 or not 0 < address < ADDRESSES - 8:
            raise Unreadable(f"no word at {address:#x}")
        return WORD.unpack_from(*self.within(address, 8))[0]

    def signed(self, address):
        word = self.word(address)
        return word - ADDRESSES if word >> 63 else word

    def half(self, address):
        return int.from_bytes(self.bytes(address, 4), "little")

    def number(self, address):
        """The same as an int of C."""
        half = self.half(address)
        return half - (1 << 32) if half >> 31 else half

    def text(self, address):
        """A string of C, quoted, so that nothing in it reaches the terminal; None: NULL."""
        if not address:
            return None
        taken = bytearray()
        try:
            while b"\0" not in taken and len(taken) < TEXT_BYTES:
                here = address + len(taken)
                taken += self.bytes(here, min(TEXT_BYTES - len(taken),
                                              PAGE_BYTES - here % PAGE_BYTES))
        except Unreadable:
            if not taken:
                return f"<text at {address:#x} cannot be read>"
        text, end, _ = bytes(taken).partition(b"\0")
        return quoted(text.decode("utf-8", "replace")) + ("" if end else "...")


def quoted(text):
    def shown(char):
        if char in "\"\\":
            return "\\" + char
        return char if char.isprintable() else f"\\x{ord(char):02x}"
    return '"' + "".join(map(shown, text)) + '"'
