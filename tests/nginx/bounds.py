"""How long is never. No verdict hangs on less: these only say that something does not come."""

import time

SLOWER = 1  # by how much all is, under valgrind: set by the runner
PATIENCE = 30.0
THOROUGH = False  # the nightly run, with more of what is random


def make_slower(by):
    global SLOWER, PATIENCE
    SLOWER, PATIENCE = SLOWER * by, min(PATIENCE * by, 300)


def soon(some=300):
    """Milliseconds until something is to happen: enough for what has to come before it."""
    return int(some * SLOWER)


def eventually(what, ask, within=None):
    """Asks until the answer is true, and gives it; fails where it does not come to be."""
    end = time.monotonic() + (within or PATIENCE)
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"it did not come to be: {what}")
        time.sleep(0.01)
