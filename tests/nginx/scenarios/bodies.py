"""Bodies that are under way when the deadline comes: what is left of them is nobody's
request, on either side of nginx."""

from bounds import soon
from scenarios.deadlines import by_target, proxied
import upstream as up

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def none_smuggled(nginx, *upstreams):
    for line in nginx.log():
        assert "smuggled" not in line["target"], line
    for one in upstreams:
        assert not any("smuggled" in target for target in one.targets()), one.targets()


def half_a_body(scene, nginx, target, first=b"f" * 100, size=100_000):
    """Sends some of it, waits for the answer, then goes on with what looks like requests."""
    connection = scene.connect(nginx)
    connection.ask(target, method="POST", body=size)
    connection.send(first)
    found = connection.response()
    for _ in range(20):
        connection.send(SMUGGLED * 20)
    rest = connection.rest()
    assert b"HTTP/1.1" not in rest, rest
    return found


def test_the_deadline_in_the_middle_of_a_body(scene):
    for buffering in ("on", "off"):
        upstream = scene.upstream(by_target, eager=True)
        nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms;" +
                            proxied(upstream, f"proxy_request_buffering {buffering};"))
        found = half_a_body(scene, nginx, "/answered-early-or-not/never")
        assert found is None or found.status == 504, found
        assert nginx.await_log(1)[0]["status"] == 504, nginx.log()
        none_smuggled(nginx, upstream)
        nginx.quit()


def test_the_deadline_in_the_middle_of_a_chunked_body(scene):
    for buffering in ("on", "off"):
        upstream = scene.upstream(up.never, eager=True)
        nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms;" +
                            proxied(upstream, f"proxy_request_buffering {buffering};"))
        connection = scene.connect(nginx)
        connection.ask("/", method="POST", headers=[("Transfer-Encoding", "chunked")])
        connection.send(b"10000\r\n" + b"c" * 1000)
        found = connection.response()
        assert found is None or found.status == 504, found
        connection.send(SMUGGLED * 100)
        assert b"HTTP/1.1" not in connection.rest()
        assert nginx.await_log(1)[0]["status"] == 504
        none_smuggled(nginx, upstream)
        nginx.quit()


def test_a_whole_body_and_then_the_deadline(scene):
    for buffering in ("on", "off"):
        upstream = scene.upstream(by_target)
        nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms;" +
                            proxied(upstream, f"proxy_request_buffering {buffering};"))
        connection = scene.connect(nginx)
        for body in (b"b" * 10, b"b" * 1_000_000):
            assert connection.get("/never", method="POST", body=body).status == 504
            found = connection.get("/a", method="POST", body=body)
            assert found.body == b"answered", (buffering, found)
        none_smuggled(nginx, upstream)
        nginx.quit()


def test_an_upstream_that_does_not_read(scene):
    """The deadline comes while nginx cannot write: its buffers and the kernel's are full."""
    upstream = scene.upstream(lambda line: line.upstream.stopping.wait(60), eager=True)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; client_max_body_size 64m;" +
                        proxied(upstream, "proxy_request_buffering off;"))
    connection = scene.connect(nginx)
    connection.ask("/", method="POST", body=32 << 20)
    import threading
    sender = threading.Thread(target=connection.send, args=(b"b" * (32 << 20),))
    sender.start()
    assert nginx.await_log(1)[0]["status"] in (504, 499)
    connection.close()
    sender.join()


def test_an_answer_before_the_end_of_the_body(scene):
    """The upstream answers early and the rest of the body is thrown away, as nginx does it."""
    upstream = scene.upstream(lambda line: line.reply(200, b"early", [("Connection", "close")]),
                              eager=True)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms;" +
                        proxied(upstream, "proxy_request_buffering off;"))
    found = half_a_body(scene, nginx, "/")
    assert found is None or found.status in (200, 504, 502), found
    none_smuggled(nginx)


def test_a_body_that_is_thrown_away(scene):
    """`return` answers at once; the deadline comes while the body is thrown away."""
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms; location / {{ return 200 at-once; }}")
    connection = scene.connect(nginx)
    connection.ask("/", method="POST", body=100_000)
    assert connection.response().body == b"at-once"
    connection.send(b"b" * 1000)
    assert connection.rest() == b""
    again = scene.connect(nginx)
    again.ask("/", method="POST", body=1000)
    assert again.response().body == b"at-once"
    again.send(b"b" * 1000)  # the whole of it: the connection stays, for what follows
    found = again.get("/next")
    assert found is None or found.body == b"at-once"
    none_smuggled(nginx)


def test_a_client_that_reads_nothing(scene):
    """A file and an answer that do not fit into what the kernel takes."""
    upstream = scene.upstream(lambda line: line.reply(200, b"a" * (32 << 20)))
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; proxy_max_temp_file_size 0;"
                        + proxied(upstream) + "location /file { root html; }")
    with (nginx.prefix / "html" / "file").open("wb") as file:
        file.truncate(64 << 20)
    for target in ("/file", "/unread"):
        connection = scene.connect(nginx)
        connection.ask(target)
        nginx.await_log(1 if target == "/file" else 2)
        found = connection.response()
        assert found.status == 200 and not found.whole, target


def test_an_answer_to_disk(scene):
    """Buffered in a file of nginx's: that goes too."""
    def pours(line):
        line.head(200, length=64 << 20)
        line.write(b"a" * (16 << 20))
        line.until_left()

    upstream = scene.upstream(pours)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; {proxied(upstream)}")
    connection = scene.connect(nginx)
    connection.ask("/")
    nginx.await_log(1)
    assert not connection.response().whole
    upstream.await_left()
    assert not [path for path in (nginx.prefix / "temp/proxy").rglob("*") if path.is_file()]


def test_a_slow_limit_of_rate(scene):
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon(1000)}ms;
        location / {{ root html; limit_rate 1000; }}""")
    (nginx.prefix / "html" / "slow").write_bytes(b"s" * 1_000_000)
    found = scene.get(nginx, "/slow")
    assert found.status == 200 and not found.whole


def test_a_body_of_a_client_that_waits_for_leave(scene):
    upstream = scene.upstream(up.answers)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; {proxied(upstream)}")
    connection = scene.connect(nginx)
    connection.ask("/", method="POST", body=1000, headers=[("Expect", "100-continue")])
    found = connection.response()  # that skips the 100
    assert found is None or found.status == 504, found
    assert upstream.targets() == []


def test_a_body_put_into_a_file(scene):
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms;
        location / {{ root html; dav_methods PUT; }}""")
    found = half_a_body(scene, nginx, "/put-by-post")
    assert found is not None
    connection = scene.connect(nginx)
    connection.ask("/put", method="PUT", body=10_000)
    connection.send(b"p" * 100)
    found = connection.response()
    assert found is None or found.status == 504, found
    connection.send(SMUGGLED * 10)
    assert b"HTTP/1.1" not in connection.rest()
    assert not (nginx.prefix / "html/put").exists()
    none_smuggled(nginx)
