"""The client that goes, at each moment; and canopy_client_abort off."""

from bounds import eventually, soon
from scenarios.deadlines import by_target, keepalive, proxied
import upstream as up

LONG = "canopy on; canopy_timeout 600s;"


def leave_all_ways(scene, nginx, upstream, target):
    """By a close and by a reset; each is noticed above."""
    for leave in ("close", "reset"):
        seen = len(upstream.requests)
        connection = scene.connect(nginx)
        connection.ask(target)
        upstream.await_requests(seen + 1)
        if target.endswith(("/head", "/half")):
            connection.reader.until(b"\r\n\r\n")
        getattr(connection, leave)()
        upstream.await_left(seen)


def test_before_the_header(scene):
    upstream = scene.upstream(by_target)
    for buffering in ("on", "off"):
        nginx = scene.nginx(LONG + proxied("kept", f"proxy_buffering {buffering};"),
                            http=keepalive(upstream))
        leave_all_ways(scene, nginx, upstream, "/never")
        assert {line["status"] for line in nginx.await_log(2)} == {499}
        assert scene.get(nginx, "/a").body == b"answered"
        nginx.quit()


def test_behind_the_header(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied("kept", "proxy_buffering off;"), http=keepalive(upstream))
    leave_all_ways(scene, nginx, upstream, "/head")
    leave_all_ways(scene, nginx, upstream, "/half")
    nginx.await_log(4)
    assert scene.get(nginx, "/a").body == b"answered"


def test_in_the_middle_of_its_request(scene):
    upstream = scene.upstream(by_target, eager=True)
    for buffering in ("on", "off"):
        nginx = scene.nginx(LONG + proxied(upstream, f"proxy_request_buffering {buffering};"))
        for leave in ("close", "reset"):
            connection = scene.connect(nginx)
            connection.ask("/never", method="POST", body=1000)
            connection.send(b"b" * 10)
            eventually("a live context", lambda: nginx.totals()["live"] == 1)
            getattr(connection, leave)()
            eventually("no context", lambda: nginx.totals()["live"] == 0)
        nginx.quit()


def test_in_the_middle_of_its_head(scene):
    nginx = scene.nginx(LONG + "location / { return 200; }")
    for part in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHos"):
        connection = scene.connect(nginx)
        connection.send(part)
        connection.close()
    assert nginx.totals()["live"] == 0


def test_while_it_is_delayed(scene):
    """limit_req looks after its client itself, echo does not: the module has to."""
    nginx = scene.nginx(LONG + "location / { limit_req zone=slow burst=100; root html; }",
                        http="limit_req_zone $server_port zone=slow:64k rate=1r/m;")
    (nginx.prefix / "html/f").write_text("f")
    assert scene.get(nginx, "/f").status == 200
    connection = scene.connect(nginx)
    connection.ask("/f")
    eventually("a live context", lambda: nginx.totals()["live"] == 1)
    connection.close()
    eventually("no context", lambda: nginx.totals()["live"] == 0)
    assert nginx.await_log(2)[1]["status"] == 499


def test_while_an_included_part_is_awaited(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + "location / { ssi on; root html; }" + proxied(upstream, "", "/part"))
    (nginx.prefix / "html/page.html").write_text('<!--#include virtual="/part/never" -->')
    leave_all_ways(scene, nginx, upstream, "/page.html")


def test_while_leave_is_asked_for(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream, "auth_request /leave/never;") +
                        proxied(upstream, "internal;", "/leave"))
    leave_all_ways(scene, nginx, upstream, "/a")


def test_it_is_counted_and_told(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(LONG + proxied(upstream))
    leave_all_ways(scene, nginx, upstream, "/a")
    eventually("both told", lambda: len(nginx.ends()) == 2)
    found = nginx.totals()
    assert found["requests"] == 2 and found["client_gone"] == 2, found


def test_who_has_more_to_ask_has_not_gone(scene):
    """A pipelined request behind it is no reason to end it, nor is a half-closed
    connection taken for anything but what nginx takes it for."""
    def when_told(line):
        line.upstream.go_on.wait(60)
        line.reply(200, line.target.encode())

    import threading
    upstream = scene.upstream(when_told)
    upstream.go_on = threading.Event()
    nginx = scene.nginx(LONG + proxied(upstream))
    connection = scene.connect(nginx)
    connection.ask("/1")
    upstream.await_requests(1)
    connection.ask("/2")
    eventually("both are there", lambda: nginx.totals()["live"] >= 1)
    upstream.go_on.set()
    assert [connection.response().body for _ in range(2)] == [b"/1", b"/2"]
    assert nginx.ends() == []


def test_off_the_upstream_goes_on(scene):
    def when_told(line):
        line.upstream.go_on.wait(60)
        line.reply(200, b"all the same")
        line.upstream.replied.set()

    import threading
    for directive in ("canopy_client_abort off;", "proxy_ignore_client_abort on;"
                      "canopy_client_abort off;"):
        upstream = scene.upstream(when_told)
        upstream.go_on, upstream.replied = threading.Event(), threading.Event()
        nginx = scene.nginx(LONG + proxied(upstream, directive))
        connection = scene.connect(nginx)
        connection.ask("/")
        upstream.await_requests(1)
        connection.close()
        for _ in range(3):  # which is proof that nginx had its turn to notice
            assert nginx.totals()["live"] == 1
        upstream.go_on.set()
        assert scene.get(nginx, "/other").body == b"all the same"
        assert upstream.replied.wait(60)
        eventually("no context", lambda: nginx.totals()["live"] == 0)
        assert not upstream.requests[0].left.is_set()
        assert nginx.totals()["client_gone"] == 0
        nginx.quit()


def test_off_the_deadline_still_counts(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; canopy_client_abort off;" +
                        proxied(upstream))
    connection = scene.connect(nginx)
    connection.ask("/")
    upstream.await_requests(1)
    connection.close()
    upstream.await_left()
    assert nginx.totals()["deadline"] == 1


def test_crowds_that_leave_beside_the_deadline(scene):
    """The two ends of each in any order, and none twice."""
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(500)}ms; {proxied(upstream)}")
    connections = [scene.connect(nginx) for _ in range(200)]
    for index, connection in enumerate(connections):
        connection.ask("/")
        if index >= 50:
            (connections[index - 50].close if index % 2 else connections[index - 50].reset)()
    eventually("all ended", lambda: nginx.totals()["live"] == 0 and nginx.totals()["requests"])
    found = nginx.totals()
    assert found["deadline"] + found["client_gone"] == found["requests"], found
