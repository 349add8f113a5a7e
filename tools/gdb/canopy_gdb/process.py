"""
What is debugged as a whole: all copies of canopy in it, their roots, what time it is there.
Kept as long as nothing runs, as a backtrace asks for many contexts.
"""
import time

import gdb
from canopy_gdb.contexts import Context, Copy, signed
from canopy_gdb.layout import find_layouts
from canopy_gdb.memory import Memory, Unreadable


class Process:
    def __init__(self):
        self.memory = Memory()
        layouts, self.faults = find_layouts(self.memory)
        self.copies, self.places = [], {}
        self.latest_ns = None
        for layout in layouts:
            try:
                self.copies.append(Copy(self.memory, layout, len(self.domains)))
            except Unreadable as fault:
                self.faults.append(str(fault))

    @property
    def domains(self):
        return [domain for copy in self.copies for domain in copy.domains]

    def contexts(self, domains=None):
        for domain in self.domains if domains is None else domains:
            yield from domain.contexts()

    def context(self, address):
        """The context at an address, or behind a handle of a debug build; or Unreadable."""
        for candidate in filter(None, (address, behind_shadow(address))):
            for copy in self.copies:
                try:
                    return copy.context(candidate)
                except Unreadable:
                    continue
        raise Unreadable(f"no context at {address:#x}")

    def static_in(self, address):
        """Of which copy an address is background or todo, and which of them; or None."""
        for candidate in filter(None, (address, behind_shadow(address))):
            for copy in self.copies:
                if copy.static(candidate):
                    return copy, copy.static(candidate)
        return None

    def static(self, address):
        """The name of background or todo, or None."""
        found = self.static_in(address)
        return found[1] if found else None

    def context_by_id(self, number):
        for copy in self.copies:
            layout = copy.layout
            line = number & (1 << layout["ID_LINE_BITS"]) - 1
            wanted = number >> layout["ID_LINE_BITS"] & (1 << layout["ID_NUMBER_BITS"]) - 1
            for domain in copy.domains:
                for slab, end in domain.slabs() if domain.counts else ():
                    if copy.memory.half(slab + layout["slab.number"]) != wanted:
                        continue
                    address = slab + line * layout["CACHE_LINE"]
                    if slab + copy.header_bytes <= address < end:
                        ctx = Context(copy, address, domain)
                        if ctx.id == number:
                            return ctx
        return None

    def is_here(self):
        """Whether our clock is that of what is debugged."""
        connection = getattr(self.memory.inferior, "connection", None)
        return connection is not None and connection.type == "native"

    def now_ns(self, domain):
        """The time of a root: a host's as that was told, else ours, or the latest known."""
        if domain.host_clock:
            return signed(domain.copy.at("domain.now_ns", domain.address))
        if self.is_here():
            return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if self.latest_ns is None:
            self.latest_ns = max((told for ctx in self.contexts() for told in times(ctx)),
                                 default=0)
        return self.latest_ns

    def lost(self):
        """What of the memory could not be read, in words; after a walk over it."""
        slabs = sum(domain.lost_slabs for domain in self.domains)
        lost = [f"{slabs} slab{'' if slabs == 1 else 's'} of contexts"] if slabs else []
        lost += ["some roots"] if any(copy.cut for copy in self.copies) else []
        return lost

    def resolve(self, text):
        """A root's number, a context's id, or an expression that is one: a domain or a context."""
        value = gdb.parse_and_eval(text)
        number = address_of(value)
        if number < len(self.domains):
            return self.domains[number]
        try:
            ctx = self.context(number)
        except Unreadable:
            ctx = self.context_by_id(number)
        if ctx is None:
            found = self.static_in(number)
            if not found:
                raise Unreadable(f"no context has the address or the id {number:#x}")
            return found[0].domains[0]
        return ctx


def behind_shadow(address):
    """
    The context of a handle of a library with CANOPY_DEBUG, which is its shadow (src/debug), by
    the debug information that such a library has; 0: none.
    """
    try:
        shadow = gdb.Value(address).cast(gdb.lookup_type("struct shadow").pointer())
        is_live = int(shadow["handles"]) or int(shadow["holds"])
        return int(shadow["core"]) % (1 << 64) if is_live else 0
    except gdb.error:
        return 0


def times(ctx):
    """When something happened to a context of the library's clock, by its note."""
    try:
        if ctx.note and not ctx.domain.host_clock:
            yield signed(ctx.noted("made_ns"))
            if ctx.err and ctx.noted_half("ended_tid"):
                yield signed(ctx.noted("ended_ns"))
    except Unreadable:
        return


def address_of(value):
    """Of a pointer, of a handle of C++, which holds one, or of a number."""
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        for field in kind.fields():
            if field.is_base_class or field.name in ("ctx_", "root_"):
                try:
                    return address_of(value[field])
                except (gdb.error, Unreadable):
                    continue
        raise Unreadable(f"a {kind} is no context")
    try:
        return int(value) % (1 << 64)
    except (gdb.error, TypeError, ValueError):
        raise Unreadable(f"a {kind} is no context") from None


_known = {}


def forget(_event=None):
    _known.clear()


def current():
    """The process that is selected; until something runs the same."""
    key = (gdb.selected_inferior().num, gdb.selected_inferior().pid)
    if key not in _known:
        forget()
        _known[key] = Process()
    return _known[key]


def register():
    for name in ("cont", "stop", "exited", "new_objfile", "clear_objfiles", "free_objfile",
                 "memory_changed", "inferior_call", "inferior_deleted"):
        event = getattr(gdb.events, name, None)
        if event is not None:
            event.connect(forget)
