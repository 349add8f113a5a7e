"""A client of HTTP/1 that can do what no library lets one do: half a request, bytes that
belong to nobody, and leaving at any moment. Everything it waits for is bounded in time."""

import socket
import struct

import bounds


class Message:
    """A request or a response, of which `headers` are known."""

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name):
        return (self.all(name) or [None])[0]


class Response(Message):
    """What came: `whole` is false where the connection ended in the middle of it."""

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""
        self.whole = True

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}{'' if self.whole else ' (cut)'}"


class Ended(Exception):
    """The other side has closed or reset the connection."""


class Reader:
    """Buffered reads of a socket."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, BrokenPipeError) as error:
            raise Ended from error
        except TimeoutError:
            raise
        except OSError as error:  # what a TLS connection that was cut says
            raise Ended from error
        if not data:
            raise Ended
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def rest(self):
        """All that comes until the end."""
        try:
            while True:
                self.more()
        except Ended:
            data, self.buffer = self.buffer, b""
            return data


def parse_head(head):
    """The first line, and the headers with names in lower case."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip(" \t")))
    return first, headers


def read_chunks(reader, into):
    while True:
        size = int(reader.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            while reader.until(b"\r\n"):
                pass
            return
        into(reader.exactly(size))
        reader.exactly(2)


def reset(sock):
    """Closes it so that the other side gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Socket:
    """A connection to a server, whatever is spoken on it."""

    def __init__(self, port, tls, patience):
        self.sock = socket.create_connection(("127.0.0.1", port), patience)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.reader = Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (ConnectionError, BrokenPipeError):
            pass  # what there is to see of it, the response shows


class Connection(Socket):
    def __init__(self, port, tls=None, patience=None):
        super().__init__(port, tls, patience or bounds.PATIENCE)

    def ask(self, target, method="GET", headers=(), body=None):
        """Sends a request, or its head where `body` is a length that is to come."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {body if isinstance(body, int) else len(body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.send(head + (body if isinstance(body, bytes) else b""))

    def response(self, to="GET"):
        """The next one; None where the connection has ended before its first byte."""
        try:
            while True:
                first, headers = parse_head(self.reader.until(b"\r\n\r\n"))
                found = Response(int(first.split(" ")[1]), headers)
                if found.status >= 200:
                    break
        except Ended:
            if self.reader.buffer:
                raise AssertionError(f"cut in the head: {self.reader.buffer!r}") from None
            return None
        if to != "HEAD" and found.status not in (204, 304):
            self.read_body(found)
        return found

    def read_body(self, found):
        def keep(data):
            found.body += data

        length = found.header("content-length")
        try:
            if found.header("transfer-encoding") == "chunked":
                read_chunks(self.reader, keep)
            elif length is not None:
                keep(self.reader.exactly(int(length)))
            else:
                keep(self.reader.rest())
        except Ended:
            keep(self.reader.buffer)
            self.reader.buffer = b""
            found.whole = False

    def get(self, target, **more):
        self.ask(target, **more)
        return self.response(more.get("method", "GET"))

    def is_over(self, found):
        """Whether that response is all of an answer, or the connection has ended with it."""
        return found is not None and found.whole or self.rest() == b""

    def rest(self):
        """What still comes, until the other side ends the connection."""
        return self.reader.rest()

    def close(self):
        self.sock.close()

    def reset(self):
        reset(self.sock)
