"""
Contexts as they lie in memory. Whatever is read may be broken: each chain of addresses is
followed once, and a context is one only where its slab and its slot say so.
"""
import struct

from canopy_gdb.memory import ADDRESSES, Unreadable

DOMAINS_MOST = 1 << 20
SHELVES_MOST = 1 << 20
LEVELS_MOST = 1000
NEVER = (1 << 63) - 1
ECANCELED, ETIMEDOUT = 125, 110

KINDS = {"KIND_CANCEL": "cancel", "KIND_ROOT": "root", "KIND_MERGED": "any", "KIND_VALUE": "value",
         "KIND_DETACHED": "without_cancel", "KIND_STATIC": "static", "KIND_INPUT": "input"}


def signed(word):
    return word - ADDRESSES if word >> 63 else word


def chain(first, following, most):
    """first, following(first), ... to 0, to what cannot be read, or to one that was there."""
    seen = set()
    while first and first not in seen and len(seen) < most:
        seen.add(first)
        yield first
        try:
            first = following(first)
        except Unreadable:
            return


class Domain:
    """A root's memory: `root` is its context, or 0 for background's."""

    def __init__(self, copy, address):
        at = copy.at
        self.copy, self.address, self.index = copy, address, 0
        self.root = at("domain.root", address)
        self.counts = at("domain.counts", address)
        self.id = at("domain.id", address)
        self.bytes = at("domain.bytes", address)
        self.host_clock = bool(copy.memory.bytes(address + copy.layout["domain.host_clock"], 1)[0])
        self.lost_slabs = 0

    def slabs(self):
        """Slabs of contexts: address, and where what was ever used of it ends."""
        layout, memory = self.copy.layout, self.copy.memory
        self.lost_slabs = 0
        first = self.copy.at("domain.slabs", self.address + layout["shelves.first"])
        for shelf in chain(first, lambda shelf: self.copy.at("shelf.next", shelf), SHELVES_MOST):
            for i in range(layout["SHELF_PLACES"]):
                try:
                    slab = memory.word(shelf + layout["shelf.places"] + i * layout["shelf_place"] +
                                       layout["shelf_place.item"])
                except Unreadable:
                    self.lost_slabs += 1
                    break
                if not slab or slab & layout["PLACE_VACANT"]:
                    continue
                try:
                    end = self.copy.contexts_end(slab, self)
                except Unreadable:
                    self.lost_slabs += 1
                    continue
                if end:
                    yield slab, end

    def contexts(self):
        """Those that there are, but for stand-ins of merged ones."""
        copy = self.copy
        for slab, end in self.slabs():
            for address in range(slab + copy.header_bytes, end, copy.ctx_bytes):
                try:
                    ctx = Context(copy, address, self)
                    if ctx.is_there() and ctx.kind != "input":
                        yield ctx
                except Unreadable:
                    continue

    def heaps(self):
        for list_name in "domain.heaps", "domain.inherited_heaps":
            yield from chain(self.copy.at(list_name, self.address),
                             lambda heap: self.copy.at("heap.next", heap), DOMAINS_MOST)

    def all_counts(self):
        """Addresses of counts, of a root with notes."""
        if self.counts:
            yield self.counts
            for heap in self.heaps():
                yield heap + self.copy.layout["heap"]


class Copy:
    """One canopy in the process."""

    def __init__(self, memory, layout, first_index):
        self.memory, self.layout = memory, layout
        self.header_bytes, self.ctx_bytes = layout["SLAB_HEADER_BYTES"], layout["canopy_ctx"]
        self.kinds = {layout[name]: shown for name, shown in KINDS.items()}
        words = ("state", "refs", "parent", "slot", "deadline", "aux", "slot0", "link")
        if self.ctx_bytes != 8 * len(words) or layout["SLAB_BYTES"] % self.ctx_bytes:
            raise Unreadable("a canopy of another time: contexts have another size")
        self.words = [layout["canopy_ctx." + word] // 8 for word in words]
        self.line = struct.Struct("<8Q")
        self.domains, self.by_domain, self.cut = [], {}, False
        self.deadlines, self.enders = {}, {}  # of contexts by address, as they become known
        self.gather_domains(first_index)

    def gather_domains(self, index):
        """In the order in which they were made, background's first."""
        address, seen = self.layout["default_domain"], set()
        while address and address not in seen and len(seen) < DOMAINS_MOST:
            seen.add(address)
            try:
                self.domains.append(Domain(self, address))
                address = self.at("domain.next", address)
            except Unreadable:
                self.cut = True
                break
        self.domains.sort(key=lambda domain: domain.id)
        for number, domain in enumerate(self.domains, index):
            domain.index = number
            self.by_domain[domain.address] = domain

    def at(self, field, address):
        return self.memory.word(address + self.layout[field])

    def contexts_end(self, slab, domain=None):
        """Where the contexts of a slab end; 0: it is of something else. Unreadable: no slab."""
        layout = self.layout
        if slab % layout["SLAB_BYTES"]:
            raise Unreadable(f"no slab at {slab:#x}")
        of = self.by_domain.get(self.at("slab.domain", slab))
        if of is None or (domain and of is not domain) or self.at("slab.domain_id", slab) != of.id:
            raise Unreadable(f"no slab at {slab:#x}")
        if self.memory.half(slab + layout["slab.class"]) != layout["CLASS_CTX"]:
            return 0
        fresh = self.memory.half(slab + layout["slab.fresh_bytes"])
        return slab + min(fresh, layout["SLAB_ALLOCATED_BYTES"])

    def static(self, address):
        return {self.layout["ctx_background"]: "background",
                self.layout["ctx_todo"]: "todo"}.get(address)

    def context(self, address):
        """The context there, or Unreadable."""
        slab = address - address % self.layout["SLAB_BYTES"]
        end = self.contexts_end(slab)
        if address % self.ctx_bytes or not slab + self.header_bytes <= address < end:
            raise Unreadable(f"no context at {address:#x}")
        return Context(self, address, self.by_domain[self.at("slab.domain", slab)])

    def cause(self, address):
        """(code, text, file, line)"""
        layout, memory = self.layout, self.memory
        text = memory.text(memory.word(address + layout["canopy_cause.text"]))
        file = memory.text(memory.word(address + layout["canopy_cause.file"]))
        return (memory.number(address + layout["canopy_cause.code"]), text, file,
                memory.number(address + layout["canopy_cause.line"]))


class Context:
    def __init__(self, copy, address, domain):
        self.copy, self.address, self.domain = copy, address, domain
        words = copy.line.unpack_from(*copy.memory.within(address, copy.ctx_bytes))
        (self.state, self.refs, self.parent_word, self.slot, self.deadline_word, self.aux,
         self.slot0, self.link) = (words[i] for i in copy.words)
        self.kind = copy.kinds.get(self.parent_word & copy.layout["PARENT_KIND_MASK"], "unknown")
        self.parent = self.parent_word & ~copy.layout["PARENT_FLAGS"]
        self.note_known = False
        self.note_at = None

    def is_there(self):
        """A free one is in no slot. That of a root is its domain's."""
        if self.address == self.domain.root:
            return True
        layout = self.copy.layout
        slot = self.slot & ~layout["SLOT_STRIPED"]
        if not slot or self.kind in ("unknown", "static"):
            return False
        return self.copy.memory.word(slot) & ~layout["SLOT_FLAGS"] == self.address

    # ---------------------------------------------------------------- the note

    @property
    def note(self):
        """Its address, or 0: none is kept, or it is just being made or let go."""
        if not self.note_known:
            self.note_known, self.note_at = True, 0
            layout, memory = self.copy.layout, self.copy.memory
            offset = self.address % layout["SLAB_BYTES"]
            try:
                notes = self.copy.at("slab.notes", self.address - offset)
                if notes and memory.word(notes + offset + layout["ctx_note.life"]) & 1:
                    self.note_at = notes + offset
            except Unreadable:
                pass
        return self.note_at

    def noted(self, field):
        return self.copy.at("ctx_note." + field, self.note)

    def noted_half(self, field):
        return self.copy.memory.half(self.note + self.copy.layout["ctx_note." + field])

    @property
    def id(self):
        if not self.note:
            return 0
        layout = self.copy.layout
        offset = self.address % layout["SLAB_BYTES"]
        number = self.copy.memory.half(self.address - offset + layout["slab.number"])
        return (self.noted("life") >> 1 << layout["ID_LIFE_SHIFT"] |
                number << layout["ID_LINE_BITS"] | offset // layout["CACHE_LINE"])

    @property
    def name(self):
        return self.copy.memory.text(self.noted("name")) if self.note else None

    # ------------------------------------------------------------------- above

    @property
    def above(self):
        """The address of the context that it was derived from, of a merged one the first."""
        if self.kind != "any":
            return self.parent
        inputs = self.inputs()
        return inputs[0] if inputs else 0

    def inputs(self):
        """Addresses of what a merged context was made of."""
        try:
            stand_ins = [self.copy.context(address) for address in chain(
                self.parent, lambda at: self.copy.at("canopy_ctx.refs", at), LEVELS_MOST)]
        except Unreadable:
            return []
        return [stand_in.parent for stand_in in stand_ins if stand_in.kind == "input"]

    def next_above(self):
        """What an end may come down from, of merged ones all inputs."""
        if self.kind == "without_cancel":
            return []
        above = []
        for address in self.inputs() if self.kind == "any" else [self.parent]:
            try:
                above += [self.copy.context(address)] if address else []
            except Unreadable:
                continue  # background, or what is broken
        return above

    def own_deadline_ns(self):
        if self.kind not in ("cancel", "root", "any"):
            return NEVER
        own_ns = signed(self.deadline_word)
        return ~own_ns if own_ns < 0 else own_ns

    def deadline_ns(self):
        """The effective one, as far up as LEVELS_MOST contexts tell; NEVER: none."""
        known, least_ns, seen, todo = self.copy.deadlines, NEVER, set(), [self]
        while todo and len(seen) < LEVELS_MOST:
            ctx = todo.pop()
            if ctx.address in seen:
                continue
            seen.add(ctx.address)
            if ctx.address in known:
                least_ns = min(least_ns, known[ctx.address])
                continue
            least_ns = min(least_ns, ctx.own_deadline_ns())
            todo += ctx.next_above()
        known[self.address] = least_ns
        return least_ns

    # -------------------------------------------------------------------- state

    def own_state(self):
        """The word that counts: of a value layer that of the context that it goes with."""
        layout = self.copy.layout
        if self.state & layout["STATE_KIND_MASK"] == layout["STATE_FORWARD"]:
            return self.copy.at("canopy_ctx.state", self.state & ~layout["STATE_BITS"])
        return self.state

    @property
    def err(self):
        layout, state = self.copy.layout, self.own_state()
        if state <= layout["STATE_WAITED"]:
            return 0
        kind = state & layout["STATE_KIND_MASK"]
        return -ETIMEDOUT if kind == layout["STATE_TIMEDOUT"] else -ECANCELED

    @property
    def cause(self):
        """The address of the cause that it ended by, or 0."""
        return self.own_state() & ~self.copy.layout["STATE_BITS"] if self.err else 0

    @property
    def is_waited(self):
        return self.state == self.copy.layout["STATE_WAITED"]

    @property
    def handles(self):
        return self.refs // self.copy.layout["REFS_HANDLE"]

    def key(self):
        """Of a value layer."""
        return ~signed(self.deadline_word) % ADDRESSES

    def fd(self):
        """The number that canopy_done_fd gave, or None."""
        layout = self.copy.layout
        if self.kind in ("value", "input") or not self.aux & layout["AUX_EXTENSION"]:
            return None
        word = self.copy.at("extension.fd", self.aux & ~layout["AUX_EXTENSION"])
        return (word & 0xffffffff) - 1 if word else None

    # -------------------------------------------------------------- what hangs there

    def slots(self):
        """What is in its list; Unreadable at a row that is not there."""
        layout, memory = self.copy.layout, self.copy.memory
        yield self.slot0
        link, seen = self.link, set()
        while link & layout["SLOT_LINK"]:
            row = link & ~layout["SLOT_FLAGS"]
            if not row or row in seen:
                return
            seen.add(row)
            in_block = row % layout["CACHE_LINE"] == layout["CACHE_LINE"] // 2
            count = layout["BLOCK_SLOTS"] if in_block else layout["LINE_SLOTS"]
            words = struct.unpack(f"<{count + 1}Q", memory.bytes(row, 8 * (count + 1)))
            yield from words[:-1]
            link = words[-1]

    def callbacks(self):
        """Addresses of armed records."""
        layout = self.copy.layout
        flags = (layout["SLOT_CALLBACK"] | layout["SLOT_LOOKED"] | layout["SLOT_COUNTED"])
        if self.kind == "static":
            return []
        return [word & ~flags for word in self.slots() if word & layout["SLOT_CALLBACK"]]

    def callback(self, record):
        """(function, argument, whether a loop is to run it) of a record."""
        at, layout = self.copy.at, self.copy.layout
        function = at("canopy_callback.canopy_fn", record)
        if function not in (layout["record_mark_loop"], layout["record_mark_running"],
                            layout["record_mark_left"]):
            return function, at("canopy_callback.canopy_arg", record), False
        looped = record - layout["canopy_loop_callback.canopy_record"]
        return (at("canopy_loop_callback.canopy_fn", looped),
                at("canopy_loop_callback.canopy_arg", looped), True)

    # ---------------------------------------------------------------------- the end

    def ender(self):
        """Who ended it: the nearest one above with an end of its own, by the notes; or None."""
        known, path, ctx = self.copy.enders, [], self
        swept = self.copy.layout["STATE_SWEPT"]
        state = self.own_state() & ~swept
        while len(path) < LEVELS_MOST and ctx.address not in known:
            path.append(ctx.address)
            if ctx.kind != "value" and ctx.note and ctx.noted_half("ended_tid"):
                known[ctx.address] = ctx
                break
            same = [up for up in ctx.next_above() if up.own_state() & ~swept == state]
            if not same:
                known[ctx.address] = ctx
                break
            ctx = same[0]
        found = known.get(ctx.address)
        known.update((address, found) for address in path)
        return found
