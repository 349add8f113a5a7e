"""The deadline of a request: where it comes from, and that it ends what it ends."""

from bounds import soon
import upstream as up


def proxied(upstream, more="", where="/"):
    return f"location {where} {{ proxy_pass http://{upstream}; {more} }}\n"


def keepalive(upstream, name="kept"):
    return f"upstream {name} {{ server {upstream}; keepalive 8; }}\n"


def by_target(line):
    """What the last part of the target says."""
    scripts = {"never": up.never, "head": up.never_after_its_head, "half": up.never_after_half,
               "closes": up.closes, "resets": up.resets}
    scripts.get(line.target.split("?")[0].rsplit("/", 1)[-1], up.answers)(line)


def test_a_directive_ends_a_proxied_request(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms; {proxied(upstream)}")
    assert scene.get(nginx, "/a").status == 504
    upstream.await_left()
    assert nginx.await_log(1)[0]["status"] == 504
    assert len(nginx.ends()) == 1, nginx.ends()


def test_a_header_ends_a_proxied_request(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx("canopy on; canopy_timeout_header grpc-timeout X-Left-Ms;"
                        f"{proxied(upstream)}")
    for index, header in enumerate([("grpc-timeout", f"{soon()}m"), ("X-Left-Ms", str(soon()))]):
        assert scene.get(nginx, "/a", headers=[header]).status == 504
        upstream.await_left(index)


def test_a_header_that_no_directive_names_is_not_read(scene):
    nginx = scene.nginx("canopy on; location / { return 200 '[$canopy_left_ms]'; }")
    found = scene.get(nginx, "/", headers=[("grpc-timeout", "1n")])
    assert found.status == 200 and found.body in (b"[]", b"[-]"), found


def test_of_directive_and_header_the_earlier_counts(scene):
    nginx = scene.nginx("canopy on; canopy_timeout_header grpc-timeout; canopy_timeout_max 100s;"
                        "location / { return 200 $canopy_left_ms; }")
    for header, least, most in (("50S", 20e3, 50e3), ("1H", 70e3, 100e3), ("200S", 70e3, 100e3)):
        found = scene.get(nginx, "/", headers=[("grpc-timeout", header)])
        assert least < int(found.body) <= most, (header, found)
    assert 70e3 < int(scene.get(nginx, "/").body) <= 100e3


def test_the_directive_stands_where_no_header_does(scene):
    nginx = scene.nginx("canopy on; canopy_timeout_header grpc-timeout; canopy_timeout 50s;"
                        "location / { return 200 $canopy_left_ms; }"
                        "location /short { canopy_timeout 20s; return 200 $canopy_left_ms; }")
    assert 30e3 < int(scene.get(nginx, "/").body) <= 50e3
    found = scene.get(nginx, "/", headers=[("grpc-timeout", "90S")])
    assert 60e3 < int(found.body) <= 90e3, found


def test_a_location_tightens_it(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx("canopy on; canopy_timeout 600s;" + proxied(upstream) +
                        proxied(upstream, f"canopy_timeout {soon()}ms;", "/short"))
    assert scene.get(nginx, "/short").status == 504
    upstream.await_left()


def test_off_in_a_location_is_off(scene):
    upstream = scene.upstream(lambda line: line.reply(200, (line.header("grpc-timeout") or "").encode()))
    nginx = scene.nginx("canopy on; canopy_timeout_header grpc-timeout; canopy_timeout 600s;" +
                        proxied(upstream) + proxied(upstream, "canopy off;", "/off"))
    assert scene.get(nginx, "/off", headers=[("grpc-timeout", "1S")]).body in (b"1S", b"")
    assert scene.get(nginx, "/").body.endswith((b"u", b"m"))


def test_time_that_is_up_reaches_no_upstream(scene):
    upstream = scene.upstream()
    nginx = scene.nginx(f"canopy on; canopy_timeout_header grpc-timeout X-Ms; {proxied(upstream)}")
    for header in (("grpc-timeout", "0S"), ("grpc-timeout", "0m"), ("X-Ms", "0")):
        found = scene.get(nginx, "/up", headers=[header])
        assert found.status == 504, (header, found)
    assert scene.get(nginx, "/left", headers=[("grpc-timeout", "1M")]).status == 200
    assert upstream.targets() == ["/left"], upstream.targets()


def test_the_status_may_be_408(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms; canopy_timeout_status 408;"
                        f"{proxied(upstream)}")
    found = scene.get(nginx, "/")
    # nginx itself answers 408 without a word: what it logs is what counts.
    assert found is None or found.status == 408
    assert nginx.await_log(1)[0]["status"] == 408


def test_one_that_answers_in_time_is_left_alone(scene):
    upstream = scene.upstream()
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; {proxied(upstream)}")
    connection = scene.connect(nginx)
    for _ in range(20):
        found = connection.get("/")
        assert found.status == 200 and found.body == b"answered"
    assert nginx.ends() == []


def test_a_kept_upstream_is_closed_and_not_used_again(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; {proxied('kept')}" +
                        proxied("kept", f"canopy_timeout {soon()}ms;", "/short"),
                        http=keepalive(upstream))
    connection = scene.connect(nginx)
    assert connection.get("/a").body == b"answered"
    assert scene.get(nginx, "/short/never").status == 504
    upstream.await_left(1)
    assert scene.get(nginx, "/b").body == b"answered"
    first, late, after = upstream.await_requests(3)
    assert first.connection == late.connection != after.connection


def test_after_its_header_the_answer_is_cut(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms; {proxied('kept', 'proxy_buffering off;')}",
                        http=keepalive(upstream))
    for index, target in enumerate(("/head", "/half")):
        connection = scene.connect(nginx)
        found = connection.get(target)
        assert found.status == 200 and not found.whole, found
        assert connection.rest() == b""
        upstream.await_left(index)
    assert scene.get(nginx, "/answers").body == b"answered"
    assert len({request.connection for request in upstream.requests}) == 3


def test_a_buffered_answer_is_cut_or_none(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms; {proxied('kept')}",
                        http=keepalive(upstream))
    for index, target in enumerate(("/head", "/half")):
        connection = scene.connect(nginx)
        found = connection.get(target)
        assert found is None or not found.whole or found.status == 504, found
        assert connection.is_over(found)
        upstream.await_left(index)
    assert scene.get(nginx, "/answers").body == b"answered"


def test_byte_by_byte_to_the_end_or_to_the_deadline(scene):
    def drips(line):
        if line.target == "/short/slow":
            line.head(200, length=10**6)
            line.drip(b"x" * 10**6, 0.01)
        else:
            line.drip(b"HTTP/1.1 200 Told\r\nContent-Length: 3\r\n\r\nend")

    upstream = scene.upstream(drips)
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; proxy_buffering off; {proxied(upstream)}" +
                        proxied(upstream, f"canopy_timeout {soon()}ms;", "/short"))
    assert scene.get(nginx, "/slow").body == b"end"
    found = scene.get(nginx, "/short/slow")
    assert found.status == 200 and not found.whole
    upstream.await_left(1)


def test_a_connection_outlives_the_deadline_of_its_request(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; {proxied(upstream)}" +
                        proxied(upstream, f"canopy_timeout {soon()}ms;", "/short"))
    connection = scene.connect(nginx)
    for _ in range(3):
        assert connection.get("/short/never").status == 504
        assert connection.get("/a").body == b"answered"


def test_pipelined_requests_are_answered_in_turn(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; {proxied(upstream)}" +
                        proxied(upstream, f"canopy_timeout {soon()}ms;", "/short"))
    connection = scene.connect(nginx)
    for target in ("/1", "/short/never", "/2", "/short/never", "/3"):
        connection.ask(target)
    assert [connection.response().status for _ in range(5)] == [200, 504, 200, 504, 200]


def test_an_upstream_by_a_variable(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms; canopy_send grpc;
        set $to {upstream}; location / {{ proxy_pass http://$to; }}""")
    assert scene.get(nginx, "/never").status == 504
    upstream.await_left()
    assert upstream.requests[0].header("grpc-timeout"), upstream.requests[0].headers
    assert scene.get(nginx, "/a").body == b"answered"


def test_a_deadline_while_a_name_is_looked_up(scene):
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms;
            resolver 127.0.0.1:{silent.getsockname()[1]} ipv6=off; resolver_timeout 600s;
            set $to nobody.example; location / {{ proxy_pass http://$to; }}""")
        assert scene.get(nginx, "/").status == 504
        assert nginx.await_log(1)[0]["status"] == 504
        nginx.baseline["a socket"] += 1  # to the one who is asked, which stays


def test_an_upgraded_connection_is_cut(scene):
    def upgrades(line):
        line.write(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: told\r\n\r\n")
        line.write(line.sock.recv(100))
        line.until_left()

    upstream = scene.upstream(upgrades)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms;" +
                        proxied(upstream, "proxy_set_header Connection upgrade;"
                                          "proxy_set_header Upgrade told;"))
    connection = scene.connect(nginx)
    connection.ask("/", headers=[("Connection", "upgrade"), ("Upgrade", "told")])
    assert b" 101 " in connection.reader.until(b"\r\n\r\n")
    connection.send(b"there and back")
    assert connection.reader.exactly(14) == b"there and back"
    assert connection.rest() == b""
    upstream.await_left()


def test_deadlines_of_many_at_once(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; {proxied(upstream)}")
    connections = [scene.connect(nginx) for _ in range(100)]
    for connection in connections:
        connection.ask("/")
    assert {connection.response().status for connection in connections} == {504}
    for index in range(len(upstream.await_requests(100))):
        upstream.await_left(index)
