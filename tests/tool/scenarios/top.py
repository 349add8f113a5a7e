"""The screen of `top`, printed and live."""

import os
import re
import signal

from server import Server, hangs, moment, says
from stage import refused


def once(stage, path, **environment):
    done = stage.run("-s", path, "top", "--once", "-i", "100ms", environment=environment)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.splitlines()


def test_one_screen_is_printed_without_a_terminal(stage):
    process = stage.process()
    lines = once(stage, process.path)
    assert len(lines) <= 24 and max(map(len, lines)) <= 80, lines
    assert re.match(rf"canopy top   tool_scene \[{process.child.pid}\]   \d\d:\d\d:\d\d$", lines[0])
    assert re.search(r"^contexts +\d+ live, \d+(\.\d)? [KM]iB  made [\d.,]*[1-9][\d.,]*( k)?/s",
                     "\n".join(lines), re.MULTILINE), lines
    for part in ("the client has gone", "no room for it", "GET /stuck", process.stuck, "scene"):
        assert any(part in line for line in lines), (part, lines)
    assert not any("\x1b" in line or "\x9b" in line for line in lines)


def test_a_screen_is_as_large_as_is_said(stage):
    process = stage.process()
    wide = once(stage, process.path, COLUMNS="140", LINES="60")
    assert 80 < max(map(len, wide)) <= 140, wide
    assert any("red ?1m" in line for line in wide), wide
    narrow = once(stage, process.path, COLUMNS="40", LINES="9")
    assert len(narrow) <= 9 and max(map(len, narrow)) <= 40, narrow
    for rows, columns in ((1, 1), (3, 7), (20, 12), (1000, 1000)):
        lines = once(stage, process.path, COLUMNS=str(columns), LINES=str(rows))
        assert len(lines) <= rows and max(map(len, lines)) <= columns, lines


def test_a_process_without_notes_is_told_to_have_none(stage):
    lines = once(stage, stage.process("quiet").path)
    assert any("no root keeps notes" in line for line in lines), lines


def test_figures_are_for_people(stage):
    late = [0, 0, 0, 60, 0, 38, 0, 0, 0, 2] + 14 * [0]
    contexts = [{"id": "7", "name": "late one", "made_ns": 0, "made_in": "f+0x1", "deadline_ns": 5},
                {"id": "8", "kind": "any", "made_ns": 10 ** 12, "deadline_ns": 2 * 10 ** 12}]
    told = moment(now_ns=1234567890123, oldest=contexts, stats={
        "live": 1234567, "memory_bytes": 5 << 30, "made": 2, "expired": 100, "late": late,
        "late_max_ns": 612345678}, causes=[{"others": True, "ended": 12345678901}])
    lines = once(stage, Server(stage.path(), says(told)).path)
    text = "\n".join(lines)
    assert "1,234,567 live, 5.0 GiB  made -/s" in text, text
    assert "half up to 8.0 us, 99 % 512 us, all 612 ms" in text, text
    assert re.search(r"^\(all others\) +0 +12,345,678,901 +-$", text, re.MULTILINE), text
    assert re.search(r"^late one +21 min +overdue 7 +f\+0x1$", text, re.MULTILINE), text
    assert re.search(r"^any +3.9 min +13 min 8 +-$", text, re.MULTILINE), text


def test_rates_are_between_two_looks_at_one_process(stage):
    looks = [moment(now_ns=10 ** 9, stats={"made": 1000}, causes=[{"cause": "a", "ended": 5}]),
             moment(now_ns=3 * 10 ** 9, stats={"made": 1900}, causes=[{"cause": "a", "ended": 25}]),
             moment(now_ns=5 * 10 ** 9, stats={"made": 1900 + 50000}),
             moment(now_ns=6 * 10 ** 9, pid=12, stats={"made": 5})]
    server = Server(stage.path(), lambda connection, _: connection.sendall(looks[0]))
    seen = []
    for _ in range(3):
        def behave(connection, _):
            connection.sendall(looks.pop(0) if len(seen) == len(server.lines) - 1 else looks[0])
            seen.append(1)
        server.behave = behave
        del server.lines[:], seen[:]
        seen.append("\n".join(once(stage, server.path)))
        found = seen[-1]
        if "made 450/s" in found:
            assert re.search(r"^a +0 +25 +10$", found, re.MULTILINE), found
            return
    raise AssertionError(found)


def test_top_needs_a_terminal(stage):
    process = stage.process()
    refused(stage.run("-s", process.path, "top"), 1, "--once")
    seen = stage.terminal("-s", process.path, "top", TERM="no-such-terminal")
    assert seen.wait() == 1 and "TERM" in seen.text(), seen.text()


def live(stage, path, **more):
    return stage.terminal("-s", path, "top", "-i", "100ms", **more)


def test_a_screen_lives_until_q(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("GET /stuck", "q quit", f"[{process.child.pid}]")
    first = seen.lines()[1]
    seen.until(lambda: seen.lines()[1] != first and "made -/s" not in seen.text(), "new figures")
    assert len(seen.lines()) == 24 and "q quit" in seen.lines()[23]
    seen.type("q")
    assert seen.wait() == 0
    assert seen.raw.count(b"\x1b[2J") + seen.raw.count(b"\x1b[J") <= 3  # drawn over, not anew


def test_keys_choose_what_is_sorted(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("AGE*", "ENDED*", "COUNT*", "s sort (by AGE)")
    seen.type("s")
    seen.until_shown("DUE IN*")
    rows = seen.text().partition("DUE IN*")[2].splitlines()
    assert rows[1].startswith("GET /caf\u00e9"), rows
    seen.type("\tssss")
    seen.until_shown("MOST THERE*")
    seen.type("\ts")
    seen.until_shown("ENDED/S*")
    seen.type("q")
    assert seen.wait() == 0


def test_a_screen_follows_its_terminal(stage):
    seen = live(stage, stage.process().path)
    seen.until_shown("q quit")
    seen.resize(40, 120)
    seen.until(lambda: "q quit" in seen.lines()[39], "the keys on the new last line")
    assert any(len(line) > 80 for line in seen.lines())
    seen.resize(8, 30)
    seen.until(lambda: "q quit" in seen.lines()[7], "the keys on the new last line")
    seen.resize(24, 80)
    seen.until_shown("GET /stuck")
    seen.type("q")
    assert seen.wait() == 0


def test_a_screen_can_be_held(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("q quit")
    seen.type(" ")
    seen.until_shown("held", "go on")
    lines = seen.lines()
    for _ in range(10):
        seen.read(0.1)
    assert seen.lines() == lines
    seen.type(" ")
    seen.until(lambda: "held" not in seen.text() and seen.lines()[1] != lines[1], "going on")
    seen.type("q")
    assert seen.wait() == 0


def test_a_screen_says_when_its_process_goes_and_comes_back(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("GET /stuck")
    process.kill()
    seen.until_shown("NOT NEW, as of", "nobody listens there", "GET /stuck")
    row = next(i for i, line in enumerate(seen.lines()) if "NOT NEW" in line)
    assert seen.style(row).fg == "red" and seen.style(row).bold
    os.unlink(process.path)
    seen.until_shown("no such socket")
    again = stage.process()
    seen.until(lambda: f"[{again.child.pid}]" in seen.text() and "NOT NEW" not in seen.text(),
               "the new process")
    seen.type("q")
    assert seen.wait() == 0


def test_keys_work_before_a_process_that_hangs(stage):
    server = Server(stage.path(), says(moment()))
    seen = live(stage, server.path)
    seen.until_shown("fake [4711]", "q quit")
    server.behave = hangs
    count = len(server.lines)
    seen.until(lambda: len(server.lines) > count, "asked in vain")
    seen.until_shown("NOT NEW", "no answer for 3 s", "fake [4711]")
    seen.type("s")
    seen.until_shown("DUE IN*")
    seen.type("q")
    assert seen.wait() == 0


def test_colours_are_for_terminals_and_who_wants_them(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("q quit")
    assert re.search(rb"\x1b\[[\d;]*4[26]", seen.raw)
    for more in ({"NO_COLOR": "1"}, {"TERM": "vt100"}):
        plain = live(stage, process.path, **more)
        plain.until_shown("q quit")
        assert not re.search(rb"\x1b\[[\d;]*[34][0-7][;m]", plain.raw)
        assert b"\x1b[" in plain.raw


def test_signals_give_the_terminal_back(stage):
    process = stage.process()
    for number in (signal.SIGINT, signal.SIGTERM):
        seen = live(stage, process.path)
        seen.until_shown("q quit")
        os.kill(seen.pid, number)
        assert seen.wait() != 0
        assert b"\x1b[?1049l" in seen.raw and seen.raw.rstrip().endswith((b"l", b"h", b"m", b">"))


def test_a_terminal_that_goes_ends_it(stage):
    process = stage.process()
    seen = live(stage, process.path)
    seen.until_shown("q quit")
    os.kill(seen.pid, signal.SIGSTOP)
    os.kill(seen.pid, signal.SIGCONT)
    seen.type("s")
    seen.until_shown("DUE IN*")
    fd, seen.fd = seen.fd, os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    _, status = os.waitpid(seen.pid, 0)
    seen.status = os.waitstatus_to_exitcode(status)
    assert seen.status in (0, -signal.SIGHUP), seen.status
