"""Each command, typed for a process that listens."""

import json
import re
import subprocess

from stage import PATIENCE_S, refused


def test_tree_shows_each_context_below_its_parent(stage):
    printed = stage.ask(stage.process(), "tree")
    lines = printed.splitlines()
    assert lines[0].startswith('"scene" '), lines
    assert any(line.startswith('      "GET /stuck" ') for line in lines), lines
    assert any('"GET /gone"' in line and 'canceled: "the client has gone"' in line
               for line in lines), lines


def test_dumps_are_what_they_are_called(stage):
    process = stage.process()
    contexts = json.loads(stage.ask(process, "dump", "json"))["contexts"]
    assert {"scene", "GET /stuck", "call"} <= {ctx.get("name") for ctx in contexts}
    assert stage.ask(process, "dump", "text").startswith('"scene" ')
    assert stage.ask(process, "dump", "dot").startswith("digraph canopy {")
    page = stage.ask(process, "dump", "html")
    assert "<html" in page and page.rstrip().endswith("</html>")


def test_leaks_are_by_age_in_any_unit(stage):
    process = stage.process()
    assert stage.ask(process, "leaks") == ""  # nothing is a minute old
    for age in ("0", "0s", "1ns", "0.001us"):
        assert "GET /stuck" in stage.ask(process, "leaks", age), age
    assert stage.ask(process, "leaks", "2.5h") == ""
    told = json.loads(stage.ask(process, "leaks", "1.5ms", "json"))
    assert told["older_than_ns"] == 1500000
    assert json.loads(stage.ask(process, "leaks", "json"))["older_than_ns"] == 60 * 10 ** 9


def test_causes_and_stats_are_told_as_text_and_as_json(stage):
    process = stage.process()
    assert "the client has gone" in stage.ask(process, "causes")
    causes = json.loads(stage.ask(process, "causes", "json"))["causes"]
    assert {"cause": "the client has gone", "code": -104, "cancels": 1, "ended": 2} in causes
    assert re.search(r"^made \d+$", stage.ask(process, "stats"), re.MULTILINE)
    assert json.loads(stage.ask(process, "stats", "json"))["stats"]["made"] > 8


def test_one_context_is_told(stage):
    process = stage.process()
    assert '"GET /stuck"' in stage.ask(process, "context", process.stuck)
    for number in (process.stuck, hex(int(process.stuck))):
        told = json.loads(stage.ask(process, "context", number, "json"))["context"]
        assert (told["id"], told["name"]) == (process.stuck, "GET /stuck")


def test_a_cancel_ends_one_where_it_is_allowed(stage):
    process = stage.process("cancel")
    stage.ask(process, "cancel", process.stuck, "stuck", "since", "midnight")
    told = json.loads(stage.ask(process, "context", process.stuck, "json"))["context"]
    assert told["cause"] == "stuck since midnight"
    again = stage.run("-s", process.path, "cancel", process.stuck)
    refused(again, 1, f"cancel {process.stuck}: ", "ended already")


def test_a_cancel_is_refused_where_it_is_not_allowed(stage):
    process = stage.process()
    refused(stage.run("-s", process.path, "cancel", process.stuck), 1, "allow")
    told = json.loads(stage.ask(process, "context", process.stuck, "json"))["context"]
    assert told.get("err", 0) == 0


def test_what_is_not_there_is_told_to_be_gone(stage):
    process = stage.process("cancel")
    for words in (["context", "1"], ["cancel", "18446744073709551615", "-"]):
        done = stage.run("-s", process.path, *words)
        refused(done, 1, "no such context")
        assert done.stdout == ""


def test_the_environment_says_which_process(stage):
    process = stage.process()
    done = stage.run("tree", environment={"CANOPY_SOCKET": process.path})
    assert done.returncode == 0 and "GET /stuck" in done.stdout, done
    done = stage.run("-s", process.path, "tree", environment={"CANOPY_SOCKET": "/nowhere"})
    assert done.returncode == 0, done


def test_a_pipe_that_closes_ends_it_quietly(stage):
    process = stage.process()
    command = f"yes | head -c 1 > /dev/null; canopy -s '{process.path}' dump html | head -c 10"
    done = subprocess.run(["sh", "-c", command], env=stage.environment, capture_output=True,
                          check=False, timeout=PATIENCE_S)
    assert len(done.stdout) == 10 and done.stderr == b"", done


def test_a_full_disk_is_told(stage):
    process = stage.process()
    for words in (["dump", "html"], ["tree"], ["top", "--once", "-i", "50ms"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([stage.tool, "-s", process.path, *words], stdout=full,
                                  stderr=subprocess.PIPE, text=True, env=stage.environment,
                                  timeout=PATIENCE_S, check=False)
        assert done.returncode == 1 and "No space left" in done.stderr, done


def test_a_terminal_obeys_no_name(stage):
    process = stage.process()
    for which in (["-s", process.path], ["--pid", str(process.child.pid)]):
        seen = stage.terminal(*which, "tree")
        assert seen.wait() == 0
        assert "red " in seen.text() and b"\x1b" not in seen.raw and b"\xc2\x9b" not in seen.raw
        assert "caf\u00e9" in seen.text()
