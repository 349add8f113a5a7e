"""gdb in batch mode on a scene, and what is done to its cores."""
import re
import struct
import subprocess

LIMIT_S = 300
PT_LOAD, PT_NOTE = 1, 4
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")

# Where a debugger may not debug at all.
FORBIDDEN = re.compile(r"Operation not permitted|Could not trace|ptrace: |Cannot create process")


class Skip(Exception):
    """Nothing can be tested here."""


class Wrong(Exception):
    """Something is not as it should be."""


class Debugger:
    def __init__(self, gdb, script, environment=()):
        self.gdb, self.script, self.environment = gdb, script, environment

    def run(self, commands, arguments, source=True):
        """What gdb prints of `commands`, each behind a line that says which it is."""
        words = [self.gdb, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
        words += ["-iex", f"source {self.script}"] if source else []
        for name, value in self.environment:
            words += ["-ex", f"set environment {name} {value}"]
        for i, command in enumerate(commands):
            words += ["-ex", f"echo ==== {i}\\n", "-ex", command]
        done = subprocess.run(words + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=LIMIT_S, check=False, text=True, errors="replace")
        if re.search(r"Traceback|Python Exception|Error in Python|Error occurred in Python",
                     done.stdout):
            raise Wrong(f"python failed:\n{done.stdout}")
        return done.stdout

    def told(self, commands, arguments):
        """The same of each command."""
        text = self.run(commands, arguments)
        parts = re.split(r"^==== \d+\n", text, flags=re.MULTILINE)[1:]
        if len(parts) != len(commands):
            raise Wrong(f"gdb came to {len(parts)} of {len(commands)} commands:\n{text}")
        return parts

    def live(self, commands, program, arguments):
        """The same in a process that has come to its standstill."""
        first, *parts = self.told([f"run {arguments} > /dev/null", *commands], [program])
        if FORBIDDEN.search(first):
            raise Skip(f"gdb may not run a program here: {first.strip()}")
        if "SIGTRAP" not in first:
            raise Wrong(f"the scene does not stand still:\n{first}")
        return parts


class Core:
    """A core file: its segments, and such as a kernel writes, notes first."""

    def __init__(self, data):
        header = EHDR.unpack_from(data)
        self.header, self.data = header, data
        self.segments = [list(PHDR.unpack_from(data, header[5] + i * PHDR.size))
                         for i in range(header[10])]

    def loads(self):
        return [segment for segment in self.segments if segment[0] == PT_LOAD]

    def leave_out(self, address):
        """The segment around an address is not in the file."""
        for segment in self.loads():
            if segment[3] <= address < segment[3] + segment[6]:
                segment[5] = 0

    def written(self):
        notes = [segment for segment in self.segments if segment[0] == PT_NOTE]
        segments = notes + self.loads()
        at = EHDR.size + PHDR.size * len(segments)
        heads, bodies = b"", b""
        for segment in segments:
            body = self.data[segment[2]:segment[2] + segment[5]]
            heads += PHDR.pack(segment[0], segment[1], at + len(bodies), *segment[3:7], 1)
            bodies += body
        header = list(self.header)
        header[5], header[6], header[10], header[11:14] = EHDR.size, 0, len(segments), [0, 0, 0]
        return EHDR.pack(*header) + heads + bodies
