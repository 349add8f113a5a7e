"""A trace is started, ended and written, whatever comes between."""

import json
import os
import signal
import subprocess
import time

from server import Server
from stage import PATIENCE_S, refused

EVENTS = b'{"traceEvents":[]}\n'


def tracer(stage, **answers):
    """A process that says yes, but for what is said here."""
    told = {"trace start": b"it is on\n\0" + b"0\n", "trace stop": b"it is off\n\0" + b"0\n",
            "trace write": EVENTS + b"\0" + b"0\n", **answers}
    return Server(stage.path(), lambda connection, line: connection.sendall(
        next(answer for begin, answer in told.items() if line.decode().startswith(begin))))


def test_a_trace_is_started_stopped_and_written(stage):
    server = tracer(stage)
    begin = time.monotonic()
    done = stage.run("-s", server.path, "trace", "200ms", "65536")
    assert time.monotonic() - begin >= 0.2
    assert done.returncode == 0 and done.stdout.encode() == EVENTS, done
    assert server.lines == ["trace start 65536", "trace stop", "trace write"]


def test_a_trace_that_is_on_is_left_alone(stage):
    server = tracer(stage, **{"trace start": b"\0" + b"-16\n"})
    refused(stage.run("-s", server.path, "trace", "1h"), 1, "a trace is on already")
    assert server.lines == ["trace start"]


def test_a_trace_is_not_for_terminals(stage):
    server = tracer(stage)
    seen = stage.terminal("-s", server.path, "trace", "1h", columns=120)
    assert seen.wait() == 2 and "canopy trace 1h > trace.json" in seen.text()
    assert server.lines == []


def test_a_signal_ends_the_time_of_a_trace_and_not_the_trace(stage):
    for number in (signal.SIGINT, signal.SIGTERM):
        server = tracer(stage)
        child = subprocess.Popen([stage.tool, "-s", server.path, "trace", "1h"],
                                 stdout=subprocess.PIPE, env=stage.environment)
        while server.lines != ["trace start"]:
            time.sleep(0.01)
        os.kill(child.pid, number)
        out, _ = child.communicate(timeout=PATIENCE_S)
        assert (child.returncode, out) == (0, EVENTS)
        assert server.lines == ["trace start", "trace stop", "trace write"]
        server.close()


def test_a_trace_of_a_process_has_its_contexts(stage):
    events = json.loads(stage.ask(stage.process(), "trace", "300ms"))["traceEvents"]
    assert any("no room for it" in json.dumps(event) for event in events), events[:20]
