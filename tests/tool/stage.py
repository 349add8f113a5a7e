"""What a scenario is played on: the command, processes that it looks into, a directory."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import terminal

PATIENCE_S = 120  # after which "not yet" is "never", on a machine that is busy


class Skip(Exception):
    """What it needs is not here."""


class Process:
    """The scene, listening."""

    def __init__(self, program, path, *arguments):
        self.path = path
        self.child = subprocess.Popen([program, path, *arguments], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        words = self.child.stdout.readline().split()
        assert words and words[0] == "ready", words
        self.stuck, self.gone = words[1:]

    def kill(self):
        self.child.kill()
        self.child.communicate()

    def end(self):
        """It ends as it should, and has lost nothing."""
        if self.child.returncode is None:
            self.child.communicate(timeout=PATIENCE_S)
            assert self.child.returncode == 0, self.child.returncode


class Stage:
    """Clears up behind a scenario."""

    def __init__(self, tool, scene, stack):
        self.tool = pathlib.Path(tool).resolve()
        self.scene = scene
        self.stack = stack
        self.directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tool")))
        # Neither the terminal, the language nor the habits of whoever runs this.
        self.environment = {"PATH": f"{self.tool.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
                            "HOME": str(self.directory), "TZ": "UTC"}
        self.environment.update({name: value for name, value in os.environ.items()
                                 if name.endswith("SAN_OPTIONS")})

    def path(self, name="socket"):
        return str(self.directory / name)

    def process(self, *arguments, name="socket"):
        process = Process(self.scene, self.path(name), *arguments)
        self.stack.callback(process.end)
        return process

    def run(self, *words, environment=None, stdin="", **more):
        """The command with these words, until it ends."""
        return subprocess.run([self.tool, *words], input=stdin, capture_output=True, text=True,
                              env={**self.environment, **(environment or {})}, check=False,
                              timeout=PATIENCE_S, **more)

    def ask(self, process, *words):
        """A command for a process that says yes: what is printed."""
        done = self.run("-s", process.path, *words)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout

    def terminal(self, *words, rows=24, columns=80, **environment):
        """The command on a terminal of its own."""
        opened = terminal.Terminal([str(self.tool), *words], rows, columns,
                                   {**self.environment, **environment}, PATIENCE_S)
        self.stack.callback(opened.close)
        return opened


@contextlib.contextmanager
def stage(tool, scene):
    with contextlib.ExitStack() as stack:
        yield Stage(tool, scene, stack)


def refused(done, status, *parts):
    """It says no in one line on stderr, or two where it was typed wrong, and nothing else."""
    assert done.returncode == status, done
    assert done.stderr.startswith("canopy: ") and done.stderr.count("\n") <= status, done
    for part in parts:
        assert part in done.stderr, (part, done.stderr)
