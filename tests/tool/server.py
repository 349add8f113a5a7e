"""Processes that listen and are not as they should be."""

import json
import os
import socket
import threading
import time


class Server:
    """Does `behave(connection, line)` with whoever comes, in a thread of its own."""

    def __init__(self, path, behave):
        self.behave = behave
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.path = path
        self.lines = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve_one(connection)
                except OSError:  # it went
                    pass

    def serve_one(self, connection):
        line = b""
        while not line.endswith(b"\n"):
            data = connection.recv(65536)
            if not data:
                return
            line += data
        self.lines.append(line.decode().rstrip("\n"))
        self.behave(connection, line)

    def close(self):
        self.listener.close()
        os.unlink(self.path)


def says(answer):
    """These bytes, whatever was asked."""
    return lambda connection, _: connection.sendall(answer)


def hangs(connection, _):
    """Nothing at all, for as long as anybody asks."""
    connection.recv(1)


def moment(**changes):
    """What `top` is told, with fixed numbers."""
    now = time.monotonic_ns()
    told = {"canopy": 1, "now_ns": now, "pid": 4711, "program": "fake",
            "stats": {"live": 3, "memory_bytes": 1048576, "made": 10, "gone": 7},
            "causes": [], "oldest": [], "leaks": []}
    return json.dumps({**told, **changes}).encode() + b"\0" + b"0\n"
