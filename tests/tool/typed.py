"""A block of lines of a document, typed on a terminal, for a process that listens."""

import pathlib

import terminal
from stage import PATIENCE_S

TYPED = pathlib.Path(__file__).resolve().parent.parent / "examples/typed"


def block(stage, line, changes):
    process = stage.process("cancel")
    words = [str(TYPED), line]
    for this, what in changes:
        words += ["--with", this, getattr(process, what)]
    seen = terminal.Terminal(words, 24, 80, {**stage.environment, "CANOPY_SOCKET": process.path},
                             PATIENCE_S)
    stage.stack.callback(seen.close)
    is_quit = []

    def is_over():
        if "q quit" in seen.text() and not is_quit:
            seen.type("q")
            is_quit.append(True)
        return not seen.read(0.1)

    seen.until(is_over, "over")
    assert seen.wait() == 0, seen.text()
    print(seen.raw.decode(errors="replace"))
