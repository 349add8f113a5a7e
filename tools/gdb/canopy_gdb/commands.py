"""The commands `canopy roots`, `tree`, `context`, `leaks`, `causes`, `stats`."""
import gdb
from canopy_gdb import process as processes
from canopy_gdb import text
from canopy_gdb.contexts import Context, Domain, signed
from canopy_gdb.memory import Unreadable

INDENT_MOST = 40
TOLD_MOST = 20


def write(line=""):
    gdb.write(line + "\n")


def selected():
    inferior = gdb.selected_inferior()
    if not inferior.pid and not inferior.threads():
        raise Unreadable("there is no process and no core")
    process = processes.current()
    for fault in process.faults:
        write(f"({fault})")
    if not process.copies:
        raise Unreadable("no canopy is to be found here")
    return process


def tell_lost(process):
    lost = process.lost()
    if lost:
        write(f"({' and '.join(lost)} cannot be read: the core is cut off, or memory is broken)")


class Command(gdb.Command):
    """What all have: `run` of a process and words; faults become messages."""

    def __init__(self, name):
        super().__init__(f"canopy {name}", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            process = selected()
            self.run(process, argument.strip())
            tell_lost(process)
        except (Unreadable, gdb.error) as fault:
            raise gdb.GdbError(f"canopy: {fault}") from None
        except KeyboardInterrupt:
            raise gdb.GdbError("canopy: interrupted") from None


def domains_of(process, argument):
    """Those of a command's ROOT, all without one."""
    if not argument:
        return process.domains
    found = process.resolve(argument)
    return [found if isinstance(found, Domain) else found.domain]


def domain_name(domain):
    if not domain.root:
        return "background and todo"
    try:
        return domain.copy.context(domain.root).name or "root"
    except Unreadable:
        return "root"


def spelled(count, what):
    return f"{count} {what}{'' if count == 1 else 's'}"


# ------------------------------------------------------------------------ roots


class Roots(Command):
    """canopy roots: the roots of this process, their contexts, memory and clocks.

The number before each is what the other commands take as ROOT."""

    def run(self, process, argument):
        for domain in process.domains:
            live = done = 0
            for ctx in domain.contexts():
                done += bool(ctx.err)
                live += not ctx.err
            said = f"{domain.index}: {domain_name(domain)}"
            said += f" {domain.root:#x}" if domain.root else ""
            said += f", {spelled(live, 'live context')}, {done} done, {domain.bytes} bytes"
            said += ", notes" if domain.counts else ""
            if domain.host_clock:
                said += f", host's clock at {process.now_ns(domain)} ns"
            write(said)


# ------------------------------------------------------------------------- tree


class Forest:
    """Contexts by what they are below of."""

    def __init__(self, contexts):
        self.known = {ctx.address: ctx for ctx in contexts}
        self.below = {}
        for ctx in self.known.values():
            self.below.setdefault(ctx.above, []).append(ctx)

    def tops(self):
        return [ctx for ctx in self.known.values() if ctx.above not in self.known]

    def walk(self, tops):
        """(depth, context), depth first; each once."""
        todo = [(0, ctx) for ctx in reversed(tops)]
        while todo:
            depth, ctx = todo.pop()
            if self.known.pop(ctx.address, None) is None:
                continue
            yield depth, ctx
            todo += [(depth + 1, child) for child in reversed(self.below.get(ctx.address, []))]


class Tree(Command):
    """canopy tree [ROOT]: all contexts as a tree, or a root's, or those below a context.

ROOT is a number of `canopy roots`, an id, or an expression that is a context.
A line has the address, the name or kind and, where notes are kept, the id, the age
and the place where it was made; then how it ended, or when it is due."""

    def run(self, process, argument):
        found = process.resolve(argument) if argument else None
        if isinstance(found, Context):
            forest = Forest(found.domain.contexts())
            self.show(process, forest, [found])
            return
        for domain in [found] if found else process.domains:
            if not domain.root:
                write("background and todo")
            forest = Forest(domain.contexts())
            self.show(process, forest, forest.tops(), not domain.root)
            if forest.known:  # each is below another: addresses go around
                write(f"({spelled(len(forest.known), 'context')} below broken ones)")
                self.show(process, forest, list(forest.known.values()))

    @staticmethod
    def show(process, forest, tops, deeper=False):
        for depth, ctx in forest.walk(tops):
            write("  " * min(depth + deeper, INDENT_MOST) + text.line(process, ctx))


# ---------------------------------------------------------------------- context


class OneContext(Command):
    """canopy context ADDR-or-ID: all that is known of one context.

ADDR is an address, or an expression that is a context, also a handle of C++."""

    def run(self, process, argument):
        if not argument:
            raise Unreadable("which context? An address, an expression or an id")
        ctx = process.resolve(argument)
        if isinstance(ctx, Domain):
            if not ctx.root:
                write("background or todo: never done, and never freed")
                return
            ctx = ctx.copy.context(ctx.root)
        write(f"{ctx.address:#x} {text.name(ctx)}")
        try:
            is_there = ctx.is_there()
        except Unreadable:
            is_there = False
        if not is_there:
            write("  free, or just being made or freed: what follows may be of its last life")
        for title, told in self.facts(process, ctx):
            write(f"  {title + ':':<11}{told}")

    def facts(self, process, ctx):
        for part in (self.identity, self.birth, self.state, self.above, self.hangers):
            try:
                yield from part(process, ctx)
            except Unreadable as fault:
                yield "broken", fault

    @staticmethod
    def identity(process, ctx):
        yield "kind", ctx.kind
        if ctx.note:
            yield "id", ctx.id
        if ctx.kind == "value":
            yield "key", text.key(process, ctx.key())
            yield "value", f"{ctx.aux:#x}"
        yield "root", f"{ctx.domain.index}: {domain_name(ctx.domain)}"

    @staticmethod
    def birth(process, ctx):
        if ctx.note:
            age_ns = process.now_ns(ctx.domain) - signed(ctx.noted("made_ns"))
            least = "" if process.is_here() or ctx.domain.host_clock else "at least "
            yield "age", f"{least}{text.duration(age_ns)}"
            yield "made at", text.place(process, ctx.noted("made_at"))
            yield "made by", text.thread(process, ctx.noted_half("made_tid"))

    @staticmethod
    def state(process, ctx):
        if ctx.err:
            yield "state", text.end(process, ctx).strip()
            yield "cause", f"{ctx.cause:#x} {text.cause_in_full(ctx.copy, ctx.cause)}"
        else:
            yield "state", "live" + (", waited for" if ctx.is_waited else "")
        deadline = text.due(process, ctx) if not ctx.err else ""
        if deadline:
            yield "deadline", deadline.strip()
        yield "handles", ctx.handles or "none: only what is derived from it keeps it"

    @staticmethod
    def above(process, ctx):
        for address in ctx.inputs() if ctx.kind == "any" else [ctx.parent]:
            if not address:
                continue
            title = "input" if ctx.kind == "any" else "parent"
            try:
                said = process.static(address) or text.short(process, process.context(address))
            except Unreadable as fault:
                said = f"<{fault}>"
            yield title, f"{address:#x} {said}"

    @staticmethod
    def hangers(process, ctx):
        fd = ctx.fd()
        if fd is not None:
            yield "fd", fd
        below = [child for child in ctx.domain.contexts() if child.above == ctx.address]
        yield "children", len(below)
        for child in below[:TOLD_MOST]:
            yield "child", f"{child.address:#x} {text.short(process, child)}"
        records = ctx.callbacks()
        for record in records[:TOLD_MOST]:
            function, argument, is_looped = ctx.callback(record)
            yield "callback", (f"{text.place(process, function, False)} with {argument:#x}"
                               f"{', on a loop' if is_looped else ''}, record {record:#x}")
        if len(records) > TOLD_MOST:
            yield "callbacks", len(records)


# ------------------------------------------------------------------------ leaks


class Leak:
    def __init__(self):
        self.count = self.done = 0
        self.oldest_ns, self.oldest = None, None

    def add(self, ctx):
        self.count += 1
        self.done += bool(ctx.err)
        made_ns = signed(ctx.noted("made_ns")) if ctx.note else 0
        if self.oldest is None or made_ns < self.oldest_ns:
            self.oldest_ns, self.oldest = made_ns, ctx


class Leaks(Command):
    """canopy leaks [AGE]: contexts by the places where they were made, most first.

AGE (10, 1.5ms, 2h) leaves out what is younger. Age and place are known of roots with
notes; without AGE others follow, by kind."""

    def run(self, process, argument):
        least_ns = text.age_of(argument) if argument else 0
        leaks, unknown = {}, 0
        for ctx in process.contexts():
            try:
                if ctx.note:
                    if process.now_ns(ctx.domain) - signed(ctx.noted("made_ns")) < least_ns:
                        continue
                    key = (ctx.name or "", text.place(process, ctx.noted("made_at")))
                elif least_ns:
                    unknown += 1
                    continue
                else:
                    key = (f"{ctx.kind} of root {ctx.domain.index}", "")
                leaks.setdefault(key, Leak()).add(ctx)
            except Unreadable:
                continue
        for (name, place), leak in sorted(leaks.items(), key=lambda item: -item[1].count):
            said = f"{leak.count:>8} {name}" if name else f"{leak.count:>8}"
            said += f" made at {place}" if place else ""
            said += f", {leak.done} of them done" if leak.done else ""
            if place:
                age_ns = process.now_ns(leak.oldest.domain) - leak.oldest_ns
                said += f", the oldest {leak.oldest.id} of {text.duration(age_ns)}"
            write(said)
        if unknown:
            write(f"({spelled(unknown, 'context')} without notes: their age is not known)")


# --------------------------------------------------------------- causes and stats


def counted(domain, field):
    """A sum over all that count, or None where no notes are kept."""
    copy = domain.copy
    if not domain.counts:
        return None
    total = 0
    for counts in domain.all_counts():
        try:
            total += copy.at("counts." + field, counts)
        except Unreadable:
            domain.copy.cut = True
    return total


class Causes(Command):
    """canopy causes [ROOT]: what contexts ended by: how many cancels, how many they ended.

Counted by roots with notes; of all roots those that are there still."""

    def run(self, process, argument):
        causes = {}
        for domain in domains_of(process, argument):
            for ctx in domain.contexts():
                if ctx.err:
                    self.entry(causes, domain.copy, ctx.cause)[2] += 1
            for counts in domain.all_counts():
                self.add_counts(causes, domain.copy, counts)
        for (copy, address), (cancels, ended, there) in sorted(
                causes.items(), key=lambda item: (-item[1][1], -item[1][2])):
            said = text.cause(copy, address) if address else "others"
            if ended:
                said += f": {spelled(cancels, 'cancel')} ended {ended},"
            else:
                said += ":"
            write(f"{said} {there} there still")

    @staticmethod
    def entry(causes, copy, address):
        return causes.setdefault((copy, address), [0, 0, 0])

    def add_counts(self, causes, copy, counts):
        layout = copy.layout
        for i in range(layout["CAUSES_TOLD"] + 1):
            at = counts + layout["counts.causes"] + i * layout["cause_counts"]
            try:
                ended = copy.at("cause_counts.ended", at)
                if ended:
                    entry = self.entry(causes, copy, copy.at("cause_counts.cause", at))
                    entry[0] += copy.at("cause_counts.cancels", at)
                    entry[1] += ended
            except Unreadable:
                copy.cut = True
                return


class Stats(Command):
    """canopy stats [ROOT]: sums of each root, and what those with notes have counted."""

    def run(self, process, argument):
        for domain in domains_of(process, argument):
            kinds, done, released = {}, 0, 0
            for ctx in domain.contexts():
                kinds[ctx.kind] = kinds.get(ctx.kind, 0) + 1
                done += bool(ctx.err)
                released += not ctx.handles
            write(f"{domain.index}: {domain_name(domain)}")
            self.say("contexts", f"{sum(kinds.values())}, {done} of them done, {released} released")
            if kinds:
                self.say("kinds", ", ".join(f"{count} {kind}" for kind, count in
                                            sorted(kinds.items(), key=lambda item: -item[1])))
            self.say("memory", f"{domain.bytes} bytes")
            if domain.counts:
                self.say_counted(domain)

    @staticmethod
    def say(title, told):
        write(f"  {title + ':':<11}{told}")

    def say_counted(self, domain):
        made, gone = counted(domain, "made"), counted(domain, "gone")
        self.say("made", f"{made}, {gone} of them gone, {counted(domain, 'born_done')} born done")
        self.say("cancels", f"{counted(domain, 'cancels')}, which ended "
                            f"{counted(domain, 'ended')} and had "
                            f"{spelled(counted(domain, 'callbacks'), 'callback')} to run")
        self.say("expired", counted(domain, "expired"))
        latest_ns = 0
        for counts in domain.all_counts():
            try:
                latest_ns = max(latest_ns, signed(domain.copy.at("counts.late_max_ns", counts)))
            except Unreadable:
                domain.copy.cut = True
        if counted(domain, "expired"):
            self.say("latest", text.duration(latest_ns))


class Prefix(gdb.Command):
    """What canopy's contexts are: canopy roots, tree, context, leaks, causes, stats."""

    def __init__(self):
        super().__init__("canopy", gdb.COMMAND_DATA, prefix=True)


def register():
    Prefix()
    for name, command in (("roots", Roots), ("tree", Tree), ("context", OneContext),
                          ("leaks", Leaks), ("causes", Causes), ("stats", Stats)):
        command(name)
