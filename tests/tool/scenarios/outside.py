"""A process that is read from outside, as it is typed; how it is read tests/tool/pid shows."""

import json

from stage import refused


def test_a_process_is_read_without_its_help(stage):
    process = stage.process()
    pid = str(process.child.pid)
    done = stage.run("--pid", pid, "tree")
    assert done.returncode == 0 and '"GET /stuck"' in done.stdout, done
    done = stage.run("-p", pid, "dump", "json", environment={"CANOPY_SOCKET": "/nowhere"})
    named = {ctx.get("name"): ctx["id"] for ctx in json.loads(done.stdout)["contexts"]}
    assert named["GET /stuck"] == process.stuck, named
    assert "GET /stuck" in stage.run("-p", pid, "context", process.stuck).stdout
    for words in (["leaks"], ["leaks", "json"], ["leaks", "0"], ["causes"], ["stats", "json"]):
        done = stage.run("-p", pid, *words)
        assert done.returncode == 0 and done.stderr == "", done
    for words in (["top"], ["cancel", process.stuck], ["trace", "1s"], ["dump", "html"]):
        done = stage.run("-p", pid, *words)
        assert done.returncode == 2 and done.stderr.startswith("canopy: "), done


def test_what_is_no_process_or_core_is_told(stage):
    for words in (["--pid", "2147483647"], ["--core", stage.path()], ["--core", "/dev/null"]):
        refused(stage.run(*words, "tree"), 1)
