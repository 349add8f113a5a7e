"""HTTP/2, and gRPC through grpc_pass."""

import http2
from bounds import eventually, soon
from scenarios.bodies import none_smuggled
from scenarios.deadlines import by_target, keepalive, proxied
from scenarios.retries import nanoseconds
import upstream as up

# An nginx without the module stands between: HTTP/2 on one side, a scripted upstream behind.
BACK = "keepalive_timeout 1s; grpc_read_timeout 600s; proxy_read_timeout 600s;"


def connect(scene, nginx, **more):
    return scene.keep(http2.Connection(nginx.port, **more))


def multiplexed(scene, server, **blocks):
    return scene.nginx(server, listen=" http2", **blocks)


def test_streams_end_each_by_its_own_deadline(scene):
    upstream = scene.upstream(by_target)
    nginx = multiplexed(scene, "canopy on; canopy_timeout 600s;" + proxied(upstream) +
                        proxied(upstream, f"canopy_timeout {soon()}ms;", "/short"))
    with connect(scene, nginx) as connection:
        late = [connection.ask("/short/never") for _ in range(5)]
        lives = connection.ask("/never")
        well = [connection.ask("/a") for _ in range(5)]
        assert [connection.response(one).status for one in well] == [200] * 5
        assert [connection.response(one).status for one in late] == [504] * 5
        assert not connection.streams[lives].is_over()
        assert connection.get("/b").body == b"answered"
        connection.cancel(lives)
        eventually("no context", lambda: nginx.totals()["live"] == 0)
        assert connection.get("/c").body == b"answered"
        assert connection.goaway is None


def test_a_stream_is_cut_behind_its_header(scene):
    upstream = scene.upstream(by_target)
    nginx = multiplexed(scene, f"canopy on; canopy_timeout {soon()}ms; proxy_buffering off;" +
                        proxied("kept"), http=keepalive(upstream))
    with connect(scene, nginx) as connection:
        for _ in range(3):
            found = connection.get("/half")
            assert found.status == 200 and found.reset is not None or not found.ended, found
            if not found.is_over():
                connection = connect(scene, nginx)  # nginx closes the connection, which is allowed
    for index, _ in enumerate(list(upstream.requests)):
        upstream.await_left(index)


def test_a_stream_that_is_reset_and_a_connection_that_goes(scene):
    upstream = scene.upstream(up.never)
    nginx = multiplexed(scene, "canopy on; canopy_timeout 600s;" + proxied(upstream))
    with connect(scene, nginx) as connection:
        connection.cancel(connection.ask("/1"))
        two = connection.ask("/2")
        upstream.await_requests(1)
        eventually("both came", lambda: "/2" in upstream.targets())
        connection.cancel(two)
        eventually("no context", lambda: nginx.totals()["live"] == 0)
        for _ in range(5):
            connection.ask("/3")
        eventually("five came", lambda: upstream.targets().count("/3") == 5)
    eventually("no context", lambda: nginx.totals()["live"] == 0)
    for index, _ in enumerate(list(upstream.requests)):
        upstream.await_left(index)


def test_a_body_half_sent_on_a_stream(scene):
    for buffering in ("on", "off"):
        upstream = scene.upstream(by_target, eager=True)
        nginx = multiplexed(scene, f"canopy on; canopy_timeout {soon()}ms; {proxied(upstream)}"
                            f"proxy_request_buffering {buffering};")
        with connect(scene, nginx) as connection:
            half = connection.ask("/never", method="POST", body=False)
            connection.data(half, b"b" * 1000)
            found = connection.response(half)
            assert found.status == 504, found
            connection.data(half, b"GET /smuggled HTTP/1.1\r\n\r\n" * 10)
            assert connection.get("/a").body == b"answered"
        none_smuggled(nginx, upstream)
        nginx.quit()


def test_a_stream_without_a_window(scene):
    """The client takes no byte: the deadline comes while the stream waits to write."""
    upstream = scene.upstream(lambda line: line.reply(200, b"w" * 100_000))
    nginx = multiplexed(scene, f"canopy on; canopy_timeout {soon()}ms; {proxied(upstream)}")
    with connect(scene, nginx, window=0) as connection:
        one = connection.ask("/")
        eventually("it ended", lambda: nginx.totals()["deadline"] == 1)
        eventually("no context", lambda: nginx.totals()["live"] == 0)
        found = connection.response(one)
        assert found.body == b"" and not found.ended, found


def test_headers_of_streams_are_read(scene):
    nginx = multiplexed(scene, "canopy on; canopy_timeout_header grpc-timeout;"
                        "location / { return 200 $canopy_left_ms; }")
    with connect(scene, nginx) as connection:
        found = connection.get("/", headers=[("grpc-timeout", "60S")])
        assert 0 < int(found.body) <= 60000
        assert connection.get("/", headers=[("grpc-timeout", "0S")]).status == 504


def test_a_hundred_streams_and_a_reload(scene):
    upstream = scene.upstream(up.never)
    nginx = multiplexed(scene, f"canopy on; canopy_timeout {soon(1500)}ms; {proxied(upstream)}")
    with connect(scene, nginx) as connection:
        streams = [connection.ask("/") for _ in range(100)]
        upstream.await_requests(100)
        nginx.reload()
        assert {connection.response(one).status for one in streams} == {504}


# ---------------------------------------------------------------------- gRPC

def grpc(scene, script, front, http=""):
    """A front with the module, and what stands behind it."""
    upstream = scene.upstream(script)
    back = scene.nginx(BACK + proxied(upstream), listen=" http2")
    return upstream, multiplexed(scene, front, http=http + f"upstream back {{ server 127.0.0.1:{back.port};"
                                 " keepalive 4; }" + BACK)


def replies(line):
    line.reply(200, b"\0\0\0\0\0", [("Content-Type", "application/grpc"), ("grpc-status", "0")])


def call(connection, path="/service/Method", timeout="60S"):
    return connection.ask(path, method="POST", body=b"\0\0\0\0\0", headers=[
        ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", timeout)])


PASS = "location / { grpc_pass grpc://back; }"


def test_a_call_is_told_what_is_left(scene):
    upstream, nginx = grpc(scene, replies, "canopy on; canopy_timeout_header grpc-timeout;" + PASS)
    with connect(scene, nginx) as connection:
        for _ in range(3):
            found = connection.response(call(connection))
            assert found.status == 200 and found.body == b"\0\0\0\0\0", found
    for request in upstream.requests:
        assert len(request.all("grpc-timeout")) == 1
        assert 0 < nanoseconds(request.header("grpc-timeout")) <= 60 * 10**9


def test_a_call_ends_by_its_deadline(scene):
    upstream, nginx = grpc(scene, up.never, "canopy on; canopy_timeout_header grpc-timeout;" + PASS)
    with connect(scene, nginx) as connection:
        found = connection.response(call(connection, timeout=f"{soon()}m"))
        assert found.status == 504, found
        upstream.await_left()
        assert connection.response(call(connection, timeout="0m")).status == 504
        assert len(upstream.requests) == 1


def test_calls_over_several_upstreams_are_told_less_each_time(scene):
    """What nginx has not sent it may send to another; a call that was sent it does not."""
    gone = [scene.upstream() for _ in range(3)]
    for one in gone:
        one.stop()
    talking = scene.upstream(replies)
    back = scene.nginx(BACK + proxied(talking), listen=" http2")
    servers = "".join(f"server {one} max_fails=0;" for one in (*gone, f"127.0.0.1:{back.port}"))
    nginx = multiplexed(scene, f"""canopy on; canopy_timeout_header grpc-timeout;
        canopy_call_timeout {soon(30000)}ms;
        location / {{ grpc_pass grpc://several; grpc_next_upstream error timeout non_idempotent; }}""",
        http=BACK + f"upstream several {{ {servers} keepalive 4; }}")
    with connect(scene, nginx) as connection:
        for _ in range(4):
            found = connection.response(call(connection))
            assert found.status == 200 and found.body == b"\0\0\0\0\0", found
    for request in talking.requests:
        assert nanoseconds(request.header("grpc-timeout")) <= soon(30000) * 10**6
        assert request.body == b"\0\0\0\0\0", request.body
    assert nginx.totals()["tries"] >= 7


def test_a_call_that_was_sent_ends_by_the_time_out_of_its_try(scene):
    upstream, nginx = grpc(scene, up.never, "canopy on; canopy_timeout_header grpc-timeout;"
                           f"canopy_call_timeout {soon()}ms;" + PASS)
    with connect(scene, nginx) as connection:
        assert connection.response(call(connection)).status == 504
    upstream.await_left()
    assert nanoseconds(upstream.requests[0].header("grpc-timeout")) <= soon() * 10**6


def test_a_call_that_its_client_cancels(scene):
    upstream, nginx = grpc(scene, up.never, "canopy on; canopy_timeout_header grpc-timeout;" + PASS)
    with connect(scene, nginx) as connection:
        one = call(connection)
        upstream.await_requests(1)
        connection.cancel(one)
        upstream.await_left()
        eventually("no context", lambda: nginx.totals()["live"] == 0)
    assert nginx.totals()["client_gone"] == 1


def test_a_call_that_is_cut_in_its_answer(scene):
    def half(line):
        line.head(200, [("Content-Type", "application/grpc")], length=1000)
        line.write(b"\0" * 100)
        line.until_left()

    upstream, nginx = grpc(scene, half, "canopy on; canopy_timeout_header grpc-timeout;" + PASS)
    with connect(scene, nginx) as connection:
        found = connection.response(call(connection, timeout=f"{soon()}m"))
        assert found.status == 200 and not found.ended, found
    upstream.await_left()


def test_a_mirror_whose_client_has_gone(scene):
    """What was answered, and has a request in the background still, ends with that."""
    upstream = scene.upstream(by_target)
    nginx = multiplexed(scene, f"canopy on; canopy_timeout {soon(1000)}ms;" +
                        proxied(upstream, "mirror /mirror;") +
                        f"location /mirror {{ internal; proxy_pass http://{upstream}/never; }}")
    with connect(scene, nginx) as connection:
        assert connection.get("/a").status == 200
        upstream.await_requests(2)
    upstream.await_left([r.target for r in upstream.requests].index("/never"))
    eventually("no context", lambda: nginx.totals()["live"] == 0)
