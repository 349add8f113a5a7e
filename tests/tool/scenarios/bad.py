"""What is typed wrong, and processes that do not answer as they should."""

import os
import shutil
import socket
import threading
import time

from server import Server, hangs, moment, says
from stage import Skip, refused


def test_what_is_typed_wrong_is_told_without_a_process(stage):
    for words, part in [
            ([], "there is no command"), (["frob"], "there is no command 'frob'"),
            (["tree", "all"], "tree does not take 'all'"), (["dump"], "dump needs text, json"),
            (["dump", "xml"], "'xml' is not text"), (["leaks", "old"], "'old' is not"),
            (["leaks", "5y"], "'5y' is not"), (["leaks", "1h", "xml"], "'xml' is not json"),
            (["context"], "context needs an id"), (["context", "x"], "'x' is not an id"),
            (["context", "0"], "'0' is not an id"), (["cancel"], "cancel needs an id"),
            (["context", "18446744073709551616"], "is not an id"),
            (["cancel", "5", "two\nlines"], "is not a text of one line"),
            (["trace"], "trace needs a time"), (["trace", "soon"], "'soon' is not a time"),
            (["--interval", "1ms", "top"], "'1ms' is not a time"),
            (["--timeout", "-3", "top"], "'-3' is not a time"),
            (["--pid", "1x", "tree"], "'1x' is not the number"),
            (["--pid", "5", "-s", "x", "tree"], "one of --socket, --pid and --core")]:
        environment = None if "--pid" in words else {"CANOPY_SOCKET": stage.path()}
        refused(stage.run(*words, environment=environment), 2, part)
    refused(stage.run("tree"), 2, "which process?")
    refused(stage.run("tree", environment={"CANOPY_SOCKET": ""}), 2, "which process?")


def test_help_and_version_need_no_process(stage):
    done = stage.run("--help")
    assert done.returncode == 0 and "cancel ID [TEXT...]" in done.stdout, done
    done = stage.run("--version")
    assert done.returncode == 0 and done.stdout.startswith("canopy 1."), done


def test_a_socket_that_is_not_there_is_told(stage):
    refused(stage.run("-s", stage.path(), "tree"), 1, stage.path(), "no such socket")
    refused(stage.run("-s", stage.path(), "top", "--once"), 1, "no such socket")
    refused(stage.run("-s", "/" + 120 * "x", "tree"), 1, "at most 107 bytes")


def test_a_socket_that_nobody_listens_on_is_told(stage):
    left = socket.socket(socket.AF_UNIX)
    left.bind(stage.path())
    left.close()
    refused(stage.run("-s", stage.path(), "tree"), 1, "nobody listens there")


def test_a_socket_of_somebody_else_is_told(stage):
    if os.getuid() != 0:
        raise Skip("only root can be somebody else")
    process = stage.process()
    os.chmod(stage.directory, 0o755)
    stage.tool = shutil.copy(stage.tool, stage.path("canopy"))  # where others may come by
    done = stage.run("-s", process.path, "tree", user=65534, group=65534, extra_groups=[])
    refused(done, 1, "permission denied")
    os.chmod(process.path, 0o666)  # who can connect all the same is not answered
    done = stage.run("-s", process.path, "tree", user=65534, group=65534, extra_groups=[])
    assert done.returncode == 1 and done.stdout == "" and done.stderr, done


def bad_answers(stage, words, cases):
    for number, (answer, part) in enumerate(cases):
        server = Server(stage.path(f"bad{number}"), says(answer))
        refused(stage.run("-s", server.path, *words), 1, part)


def test_answers_that_are_none_are_told(stage):
    bad_answers(stage, ["tree"], [
        (b"", "cut off"), (b"half of a tr", "cut off"), (b"\0", "without a status"),
        (b"tree\n\0", "without a status"), (b"tree\n\0" + b"0", "without a status"),
        (b"tree\n\0" + b"yes\n", "without a status"), (b"tree\n\0" + b"7\n", "without a status"),
        (b"tree\n\0" + b"-99999999999999999999\n", "behind its end"),
        (b"tree\n\0" + b"0\nmore", "without a status"),
        (b"tree\n\0" + b"0\n" + b"x" * 100000, "behind its end"),
        (b"\0" + b"-12\n", "Cannot allocate memory"), (b"\0" + b"-22\n", "does not know")])


def test_what_came_before_it_was_cut_off_is_printed(stage):
    server = Server(stage.path(), says(b"first line\n" + b"x" * 100000))
    done = stage.run("-s", server.path, "tree")
    refused(done, 1, "cut off")
    assert done.stdout == "first line\n" + "x" * 100000


def test_what_a_process_says_to_no_is_no_answer(stage):
    server = Server(stage.path(), says(b"not at night\x1b[2J\n\0" + b"-1\n"))
    done = stage.run("-s", server.path, "cancel", "5")
    refused(done, 1, "cancel 5: not at night")
    assert done.stdout == "" and "\x1b" not in done.stderr


def test_top_is_told_what_is_no_json(stage):
    bad_answers(stage, ["top", "--once"], [
        (b"{\0" + b"0\n", "no JSON"), (b"\0" + b"0\n", "no JSON"),
        (b"[" * 100000 + b"\0" + b"0\n", "no JSON"), (b"{\"a\":\"\xff\"}\0" + b"0\n", "no JSON"),
        (b"{\"now_ns\":1e400,\"pid\":1}\0" + b"0\n", "no JSON"),
        (b"[1]\0" + b"0\n", "no answer to top"), (b"{\"pid\":7}\0" + b"0\n", "no answer to top"),
        (b"no\n\0" + b"-22\n", "says no"), (b"{}", "cut off"),
        (b"{\"x\":\"" + b"x" * (17 << 20), "Message too long")])


def test_top_takes_what_has_other_types_for_not_told(stage):
    strange = moment(stats=[1], causes={"a": 1}, oldest=[1, None, {"id": 5, "made_ns": "x"}],
                     leaks=[[]] * 70, program=5)
    server = Server(stage.path(), says(strange))
    done = stage.run("-s", server.path, "top", "--once", "-i", "50ms")
    assert done.returncode == 0 and "LONGEST AT WORK" in done.stdout, done


def test_a_process_that_hangs_is_given_up(stage):
    server = Server(stage.path(), hangs)
    for words in (["tree"], ["top", "--once"]):
        begin = time.monotonic()
        refused(stage.run("-s", server.path, "-t", "300ms", *words), 1, "no answer for 0.3 s")
        assert time.monotonic() - begin >= 0.3


def full_queue(stage):
    """A listener, and those of whom its queue is full."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(stage.path())
    listener.listen(0)
    fill = []
    for _ in range(2):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(stage.path())
        except BlockingIOError:
            pass
        fill.append(one)
    return listener, fill


def test_a_process_that_accepts_nobody_is_given_up(stage):
    _listener, _fill = full_queue(stage)
    refused(stage.run("-s", stage.path(), "-t", "300ms", "tree"), 1, "no answer for 0.3 s")


def test_the_longest_patience_is_no_deafness(stage):
    listener, fill = full_queue(stage)

    def make_room():
        time.sleep(0.5)
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(4096):
                    connection.sendall(b"tree\n\0" + b"0\n")
                    return

    threading.Thread(target=make_room, daemon=True).start()
    for one in fill:
        one.close()
    done = stage.run("-s", stage.path(), "-t", "700h", "tree")  # more ms than an int has
    assert done.returncode == 0 and done.stdout == "tree\n", done


def test_a_slow_process_is_waited_for_as_long_as_it_says_something(stage):
    def slowly(connection, _):
        for byte in b"slow\n":
            time.sleep(0.1)
            connection.sendall(bytes([byte]))
        connection.sendall(b"\0" + b"0\n")

    server = Server(stage.path(), slowly)
    done = stage.run("-s", server.path, "-t", "60s", "tree")
    assert (done.returncode, done.stdout) == (0, "slow\n"), done


def test_a_huge_answer_goes_through_in_little_memory(stage):
    size = 300 << 20

    def much(connection, _):
        piece = b"x" * (1 << 20)
        for _ in range(size >> 20):
            connection.sendall(piece)
        connection.sendall(b"\0" + b"0\n")

    server = Server(stage.path(), much)
    out, write_end = os.pipe()
    counted = []

    def count():
        while data := os.read(out, 1 << 20):
            counted.append(len(data))

    reader = threading.Thread(target=count)
    reader.start()
    pid = os.posix_spawn(stage.tool, [str(stage.tool), "-s", server.path, "dump", "json"],
                         stage.environment, file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 1)])
    os.close(write_end)
    _, status, usage = os.wait4(pid, 0)
    reader.join()
    assert status == 0 and sum(counted) == size
    sanitized = any(name.endswith("SAN_OPTIONS") for name in stage.environment)
    assert sanitized or usage.ru_maxrss < 32 << 10, usage.ru_maxrss


def test_a_command_that_is_too_long_is_not_sent(stage):
    server = Server(stage.path(), says(b"yes\n\0" + b"0\n"))
    longest = 4096 - len("cancel 5 \n")
    done = stage.run("-s", server.path, "cancel", "5", "x" * longest)
    assert done.returncode == 0 and len(server.lines[0]) == 4095, done
    refused(stage.run("-s", server.path, "cancel", "5", "x" * (longest + 1)), 1, "4095 bytes")
    assert len(server.lines) == 1
