"""A program on a terminal of its own, and what that shows, by pyte."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


class Terminal:
    """Reads what the program writes, for as long as something is waited for."""

    def __init__(self, command, rows, columns, environment, patience_s):
        import pyte  # where there is none a scenario is skipped
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.patience_s = patience_s
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], command, {"TERM": "xterm-256color", **environment})

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, for_s):
        """False: the program has let go of its terminal."""
        if select.select([self.fd], [], [], for_s)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            self.raw += data
            self.stream.feed(data)
            return bool(data)
        return True

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def until(self, is_so, what):
        end = time.monotonic() + self.patience_s
        while not is_so():
            assert time.monotonic() < end, f"never {what}:\n{self.text()}"
            assert self.read(0.1) or is_so(), f"it ended before {what}:\n{self.text()}"

    def until_shown(self, *parts):
        self.until(lambda: all(part in self.text() for part in parts), parts)

    def style(self, row):
        """How the first character of a line is shown."""
        return self.screen.buffer[row][0]

    def wait(self):
        """Its exit status, once it ends by itself."""
        end = time.monotonic() + self.patience_s
        while self.status is None:
            assert time.monotonic() < end, f"it does not end:\n{self.text()}"
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        while self.read(0.05) and select.select([self.fd], [], [], 0)[0]:
            pass
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
