"""Upstreams that nginx makes as it goes, by a variable; and whose headers those are that go on."""

import contextlib
import socket
import threading
import time

from bounds import soon
from names import Names
from scenarios.retries import nanoseconds
import upstream as up

ON = "canopy on; canopy_timeout_header grpc-timeout; canopy_trace on;"


@contextlib.contextmanager
def named(scene, addresses, location, held_s=0.0, **more):
    names = Names({"several.test": addresses}, held_s)
    nginx = scene.nginx(f"""{ON} resolver 127.0.0.1:{names.port} ipv6=off valid=1s;
        location / {{ set $name several.test; {location} }}""", **more)
    nginx.baseline["a socket"] += 1  # which nginx keeps to ask for names
    try:
        yield nginx
    finally:
        names.close()


def test_what_is_left_once_a_name_is_known(scene):
    upstream = scene.upstream()
    with named(scene, ["127.0.0.1"], f"proxy_pass http://$name:{upstream.port};", 0.2) as nginx:
        found = scene.get(nginx, "/", headers=[("grpc-timeout", "600S")])
        assert found.body == b"answered", found
    assert nanoseconds(upstream.requests[0].header("grpc-timeout")) <= (600 - 0.2) * 10**9
    assert len(upstream.requests[0].all("traceparent")) == 1


def test_too_little_is_left_once_a_name_is_known(scene):
    upstream = scene.upstream()
    with named(scene, ["127.0.0.1"], f"canopy_least 599900ms;"
               f"proxy_pass http://$name:{upstream.port};", 0.2) as nginx:
        found = scene.get(nginx, "/", headers=[("grpc-timeout", "600S")])
        assert found.status == 504, found
        assert nginx.totals()["not_tried"] == 1
    assert upstream.requests == []


def test_a_name_that_is_none(scene):
    with named(scene, ["127.0.0.1"], "set $name none.test; proxy_pass http://$name:1;") as nginx:
        assert scene.get(nginx, "/", headers=[("grpc-timeout", "600S")]).status == 502
        assert nginx.totals()["tries"] == 0


def listens_elsewhere(upstream, port):
    upstream.listener.shutdown(socket.SHUT_RDWR)
    upstream.acceptor.join()
    upstream.listener.close()
    upstream.listener = socket.create_server(("127.0.0.2", port), backlog=64)
    upstream.acceptor = threading.Thread(target=upstream.accept, daemon=True)
    upstream.acceptor.start()


def test_addresses_of_a_name_are_tried_in_turn(scene):
    talking, silent = scene.upstream(), scene.upstream(up.never)
    listens_elsewhere(silent, talking.port)
    with named(scene, ["127.0.0.2", "127.0.0.1"], f"canopy_call_timeout {soon()}ms;"
               f"proxy_pass http://$name:{talking.port};") as nginx:
        for _ in range(8):
            found = scene.get(nginx, "/", headers=[("grpc-timeout", "600S")])
            assert found.body == b"answered", found
            if silent.requests:
                break
    requests = silent.requests + talking.requests
    assert silent.requests, "nginx begins with either address"
    assert all(nanoseconds(one.header("grpc-timeout")) <= soon() * 10**6 for one in requests)
    spans = [one.header("traceparent").split("-")[2] for one in requests]
    assert len(set(spans)) == len(spans), spans
    silent.await_left()


def test_an_address_in_a_variable_behind_a_body(scene):
    upstream = scene.upstream()
    nginx = scene.nginx(f"{ON} set $at {upstream}; location / {{ proxy_pass http://$at; }}")
    connection = scene.connect(nginx)
    connection.ask("/", method="POST", headers=[("grpc-timeout", "600S")], body=10)
    connection.send(b"01234")
    time.sleep(0.2)
    connection.send(b"56789")
    assert connection.response().body == b"answered"
    assert upstream.requests[0].body == b"0123456789"
    assert nanoseconds(upstream.requests[0].header("grpc-timeout")) <= (600 - 0.2) * 10**9


# ------------------------------------------------------------ whose headers go on

def read_netstring(sock):
    data = b""
    while b":" not in data:
        data += sock.recv(65536)
    size, _, rest = data.partition(b":")
    while len(rest) < int(size) + 1:
        rest += sock.recv(65536)
    return rest[:int(size)]


def test_no_other_spelling_reaches_a_cgi(scene):
    """To which `-` and `_` are alike, and both upper case."""
    came = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            came.append(read_netstring(sock))
            sock.sendall(b"Status: 200\r\nContent-Length: 2\r\n\r\nok")
            sock.close()
    threading.Thread(target=serve, daemon=True).start()
    nginx = scene.nginx(f"""{ON} canopy_baggage on; underscores_in_headers on;
        location / {{ scgi_pass 127.0.0.1:{listener.getsockname()[1]}; }}""")
    found = scene.get(nginx, "/", headers=[
        ("grpc-timeout", "600S"), ("grpc_timeout", "99999999S"), ("Grpc_Timeout", "99999998S"),
        ("trace_parent", "kept"), ("TRACEPARENT", "bad")])
    listener.close()
    assert found.body == b"ok", found
    fields = came[0].split(b"\0")
    names = fields[0::2]
    assert names.count(b"HTTP_GRPC_TIMEOUT") == 1 and names.count(b"HTTP_TRACEPARENT") == 1, fields
    assert b"9999999" not in came[0] and b"bad" not in came[0], fields
    assert fields[names.index(b"HTTP_TRACE_PARENT") * 2 + 1] == b"kept"


def redirects(line):
    if line.target.startswith("/go/"):
        line.reply(200, headers=[("X-Accel-Redirect", line.target.removeprefix("/go"))])
    else:
        line.reply(200, b"answered")


def test_another_location_sees_what_the_client_sent(scene):
    upstream = scene.upstream(redirects)
    nginx = scene.nginx(f"""{ON}
        location /go/ {{ canopy_call_timeout 10s; proxy_pass http://{upstream}; }}
        location /off {{ canopy off; proxy_pass http://{upstream}; }}
        location /reads {{ canopy_timeout_header grpc-timeout x-ms; proxy_pass http://{upstream}; }}
    """)
    sent = [("grpc-timeout", "600000m"), ("traceparent", "none"), ("x-other", "one")]
    for target in ("/off", "/reads"):
        assert scene.get(nginx, "/go" + target, headers=sent).body == b"answered"
    told, off, _, reads = upstream.requests
    assert nanoseconds(told.header("grpc-timeout")) <= 10 * 10**9
    assert [off.all(name) for name, _ in sent] == [[value] for _, value in sent], off.headers
    assert nanoseconds(reads.header("grpc-timeout")) > 10 * 10**9, reads.headers
    assert reads.header("x-other") == "one" and reads.all("traceparent") != ["none"]
