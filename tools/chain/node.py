"""
A chain-node (node.cc) as a process: what it is told, and what it tells. It ends with who
started it, since its input does.
"""
import os
import subprocess
import threading

SOON = 30  # how long what must happen is waited for, in seconds


class Node:
    def __init__(self, program, *options):
        self.process = subprocess.Popen(
            [program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"})
        self.lines, self.news = [], threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.split())
                self.news.notify_all()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def find(self, word, call=None):
        return [line for line in self.lines
                if line[0] == word and (call is None or line[2:3] == [call])]

    def wait(self, word, call=None, count=1):
        """The latest such line, once there are so many."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.find(word, call)) >= count, SOON):
                raise AssertionError(f"no {word} {call or ''} in {self.lines[-20:]}")
            return self.find(word, call)[-1]

    def address(self):
        return "127.0.0.1:" + self.wait("listening")[1]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends it, and sees that it has given everything back."""
        if self.process.poll() is None:
            self.process.stdin.close()
            assert self.process.wait(SOON) == 0, f"it fails: {self.lines[-5:]}"
            self.reader.join(SOON)
            assert self.lines[-1] == ["gone", "0"], self.lines[-1]
        self.reader.join(SOON)
        self.process.stdout.close()

    def count(self, what):
        return len(os.listdir(f"/proc/{self.process.pid}/{what}"))
