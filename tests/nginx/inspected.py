"""What a worker tells on the socket that `canopy_inspect` gives it."""

import json
import os
import re
import signal
import socket

import bounds


class Worker:
    def __init__(self, path):
        self.path = path

    def ask(self, command):
        """Its answer, and how it ended: 0 or a negative errno."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(bounds.PATIENCE)
            one.connect(str(self.path))
            one.sendall(command.encode() + b"\n")
            answer = b""
            while more := one.recv(65536):
                answer += more
        text, _, status = answer.rpartition(b"\0")
        assert re.fullmatch(rb"-?\d+\n", status), f"cut off: {answer}"
        return text.decode(), int(status)

    def told(self, command):
        text, status = self.ask(command)
        assert status == 0, (command, status, text)
        return text

    def contexts(self, name=None):
        """Those that live and are called so, as the dump has them."""
        found = json.loads(self.told("dump json"))["contexts"]
        return [one for one in found if "err" not in one and one.get("name") == name]


def folder(nginx):
    return nginx.prefix / "canopy"


def workers(nginx):
    """Those that answer, by pid."""
    return {int(path.name): Worker(path) for path in folder(nginx).iterdir()}


def worker(nginx):
    """Of the one that there is."""
    pid, = bounds.eventually("a worker listens", lambda: set(workers(nginx)) ==
                             set(nginx.workers()) and nginx.workers())
    return Worker(folder(nginx) / str(pid))


def lose_folder(nginx):
    """Puts a file in its place, and has a worker begin beside that, which finds no folder."""
    one = worker(nginx)
    one.path.unlink()
    folder(nginx).rmdir()
    folder(nginx).write_text("")
    os.kill(int(one.path.name), signal.SIGKILL)
    bounds.eventually("the log tells of it",
                      lambda: "canopy: nobody is answered on" in nginx.errors())
    bounds.eventually("it serves", nginx.is_alive)
    nginx.forgive()
    folder(nginx).unlink()
