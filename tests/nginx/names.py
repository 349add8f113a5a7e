"""A server of names: A records by name, each answer held back as long as it is told."""

import socket
import struct
import threading
import time


class Names:
    def __init__(self, addresses, held_s=0.0):
        self.addresses, self.held_s = addresses, held_s
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                question, client = self.sock.recvfrom(2048)
            except OSError:
                return
            threading.Thread(target=self.answer, args=(question, client), daemon=True).start()

    def answer(self, question, client):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        found = self.addresses.get(".".join(labels))
        code = 0 if found else 3  # there is no such name
        head = struct.pack("!HHHHH", 0x8180 | code, 1, len(found or ()), 0, 0)
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(one)
                           for one in found or ())
        time.sleep(self.held_s)
        self.sock.sendto(question[:2] + head + question[12:at + 5] + records, client)

    def close(self):
        self.sock.close()
