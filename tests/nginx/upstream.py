"""A server of HTTP/1 that does as it is told: each request is given to a function of the
scenario's, on a thread of its connection's own, which answers, dawdles, leaves or never
comes back. It remembers what it saw, request by request, so that a request which nobody
sent shows, and the end of a connection that should have been closed too."""

import re
import select
import socket
import threading
import time

import bounds
import client


class Exchange(client.Message):
    """A request as it came, and what can be done about it."""

    def __init__(self, upstream, connection, position, head):
        self.upstream = upstream
        self.connection = connection  # its number
        self.position = position      # of the request on it, from 0
        self.came = time.monotonic()
        self.left = threading.Event()  # nginx has closed the connection beneath it
        self.body = b""
        self.first, self.headers = client.parse_head(head)
        self.method, self.target = (self.first.split(" ") + ["", ""])[:2]

    def __repr__(self):
        return f"[{self.connection}.{self.position}] {self.first}"


class Line(Exchange):
    """The same with its connection in hand: what scripts are given."""

    def bind(self, sock, reader):
        self.sock, self.reader = sock, reader
        return self

    def read_body(self):
        def keep(data):
            self.body += data

        try:
            if self.header("transfer-encoding") == "chunked":
                client.read_chunks(self.reader, keep)
            else:
                keep(self.reader.exactly(int(self.header("content-length") or 0)))
        except client.Ended:
            self.left.set()
            raise

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.left.set()
            raise client.Ended from error

    def head(self, status=200, headers=(), length=None):
        lines = [f"HTTP/1.1 {status} Told"] + [f"{name}: {value}" for name, value in headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def reply(self, status=200, body=b"", headers=()):
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    def drip(self, data, pause=0.001):
        for byte in data:
            self.write(bytes([byte]))
            time.sleep(pause)

    def until_left(self, within=None):
        """Waits until nginx closes the connection; true, or false where it does not."""
        end = time.monotonic() + (within or bounds.PATIENCE)
        while not self.upstream.stopping.is_set() and time.monotonic() < end:
            if not select.select([self.sock], [], [], 0.05)[0]:
                continue
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.left.set()
                return True
            if not self.upstream.eager:
                self.upstream.fault(f"{self}: bytes behind it: {data!r}")
        return False

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        raise client.Ended

    def reset(self):
        client.reset(self.sock)
        raise client.Ended


# ------------------------------------------------------------------- scripts

def answers(line):
    line.reply(200, b"answered")


def never(line):
    line.until_left()


def never_after_its_head(line):
    line.head(200, length=1000)
    line.until_left()


def never_after_half(line):
    line.head(200, length=1000)
    line.write(b"h" * 500)
    line.until_left()


def closes(line):
    line.close()


def resets(line):
    line.reset()


class Upstream:
    """
    `script` is called with each request. Where `eager`, before its body is read, which is
    then the script's to read, by read_body.
    """

    def __init__(self, script=answers, eager=False, tls=None):
        self.script, self.eager, self.tls = script, eager, tls
        self.requests, self.faults = [], []
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self.socks, self.threads = set(), []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def fault(self, what):
        with self.changed:
            self.faults.append(what)

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                number = self.connections
                self.socks.add(sock)
            thread = threading.Thread(target=self.serve, args=(sock, number), daemon=True)
            with self.changed:
                self.threads = [one for one in self.threads if one.is_alive()] + [thread]
            thread.start()

    def serve(self, sock, number):
        bare = sock
        try:
            sock.settimeout(bounds.PATIENCE)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
                with self.changed:
                    self.socks.add(sock)
            reader = client.Reader(sock)
            position = 0
            while not self.stopping.is_set():
                self.serve_one(sock, reader, number, position)
                position += 1
        except (client.Ended, OSError):
            pass
        except Exception as error:  # a script's own, or what is no HTTP
            self.fault(f"connection {number}: {error!r}")
        finally:
            sock.close()
            with self.changed:
                self.socks -= {sock, bare}
                self.changed.notify_all()

    def serve_one(self, sock, reader, number, position):
        try:
            head = reader.until(b"\r\n\r\n")
        except TimeoutError:
            raise client.Ended from None
        line = Line(self, number, position, head).bind(sock, reader)
        if not re.fullmatch(r"[A-Z]+ \S+ HTTP/1\.[01]", line.first):
            self.fault(f"no request: {head!r}")
        with self.changed:
            self.requests.append(line)
            self.changed.notify_all()
        if not self.eager:
            line.read_body()
        self.script(line)
        if line.header("connection") == "close" or line.first.endswith("/1.0"):
            line.close()

    def await_requests(self, number):
        """Waits until so many have come, and gives them."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= number, bounds.PATIENCE):
                raise AssertionError(f"{number} requests did not come, but: {self.requests}")
            return list(self.requests)

    def await_left(self, index=0):
        """Waits until nginx has closed the connection of that request."""
        if not self.await_requests(index + 1)[index].left.wait(bounds.PATIENCE):
            raise AssertionError(f"the upstream still has its connection: {self.requests[index]}")

    def targets(self):
        with self.changed:
            return [request.target for request in self.requests]

    def stop(self):
        if self.stopping.is_set():
            return
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # which wakes who accepts; a close does not
        self.acceptor.join(bounds.PATIENCE)
        self.listener.close()
        with self.changed:
            socks, threads = list(self.socks), list(self.threads)
        for sock in socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            thread.join(bounds.PATIENCE)
            if thread.is_alive():
                self.fault("a script does not end")
