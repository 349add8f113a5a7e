"""A client of HTTP/2 without a library: several streams on a connection, each begun, fed,
reset or left half open as a scenario wants it. Of what is answered it reads the status,
the body and the end."""

import collections
import struct

import bounds
import client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
CONTINUATION = 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4
CANCEL = 8
# Of HPACK's static table; other statuses come as text.
STATUSES = {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def integer(value, bits):
    """As HPACK writes one."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    found = [most]
    value -= most
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])


def literal(name, value):
    """A header, in words, that no table keeps."""
    name, value = name.encode("latin-1"), value.encode("latin-1")
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def status_in(block):
    """nginx writes it first, behind a change of the table's size."""
    while block and block[0] & 0xe0 == 0x20:
        block = block[1:]
    if block[0] in STATUSES:
        return STATUSES[block[0]]
    if block[0] in (0x08, 0x18, 0x48) and block[1] == 3:
        return int(block[2:5])
    raise AssertionError(f"no status in {block!r}")


class Stream:
    def __init__(self):
        self.status = self.reset = None
        self.body = b""
        self.ended = False

    def is_over(self):
        return self.ended or self.reset is not None

    def __repr__(self):
        return f"status {self.status}, {len(self.body)} bytes, ended {self.ended}, reset {self.reset}"


class Connection(client.Socket):
    def __init__(self, port, tls=None, window=1 << 30):
        super().__init__(port, tls, bounds.PATIENCE)
        self.streams = collections.defaultdict(Stream)
        self.next, self.goaway, self.block = 1, None, b""
        self.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window)) +
                  frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 30) - 1)))

    def ask(self, path, method="GET", headers=(), body=None, scheme="http"):
        """Begins a stream, and gives its number; `body` False: it stays open."""
        number, self.next = self.next, self.next + 2
        block = b"".join(literal(name, value) for name, value in
                         ((":method", method), (":scheme", scheme), (":path", path),
                          (":authority", "localhost"), *headers))
        parts = [block[i:i + 16000] for i in range(0, len(block), 16000)]
        for index, part in enumerate(parts):
            flags = END_HEADERS if index == len(parts) - 1 else 0
            if index == 0 and body is None:
                flags |= END_STREAM
            self.send(frame(CONTINUATION if index else HEADERS, flags, number, part))
        if body:
            self.data(number, body, end=True)
        return number

    def data(self, number, body, end=False):
        self.send(frame(DATA, END_STREAM if end else 0, number, body))

    def cancel(self, number):
        self.send(frame(RST_STREAM, 0, number, struct.pack(">I", CANCEL)))

    def read(self):
        """One frame."""
        head = self.reader.exactly(9)
        payload = self.reader.exactly(int.from_bytes(head[:3], "big"))
        self.take(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload)

    def take(self, kind, flags, number, payload):
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                block, self.block = self.block, b""
                if self.streams[number].status is None:
                    self.streams[number].status = status_in(block)
        elif kind == DATA:
            self.streams[number].body += payload
        elif kind == RST_STREAM:
            self.streams[number].reset = struct.unpack(">I", payload)[0]
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.streams[number].ended = True

    def response(self, number):
        """Once the stream is over; as it is where the connection is, before."""
        try:
            while not self.streams[number].is_over():
                self.read()
        except client.Ended:
            pass
        return self.streams[number]

    def get(self, path, **more):
        return self.response(self.ask(path, **more))

    def until_end(self):
        try:
            while True:
                self.read()
        except client.Ended:
            return

    def close(self):
        self.sock.close()
