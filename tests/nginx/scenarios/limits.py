"""Limits of nginx's own and of the module's."""

from bounds import eventually, soon
from scenarios.deadlines import by_target, proxied
import upstream as up


def test_a_delayed_request_ends_with_its_deadline(scene):
    upstream = scene.upstream()
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms;
        location / {{ limit_req zone=slow burst=100; proxy_pass http://{upstream}; }}
        location /else {{ return 200 else; }}""",
        http="limit_req_zone $server_port zone=slow:64k rate=1r/m;")
    connection = scene.connect(nginx)
    assert connection.get("/").body == b"answered"
    for _ in range(2):
        found = connection.get("/")
        assert found.status == 504, found
        found = connection.get("/else")
        assert found.status == 200 and found.body == b"else", found
    assert upstream.targets() == ["/"]


def test_refused_requests_have_contexts_too(scene):
    nginx = scene.nginx("""canopy on; canopy_timeout 600s; root html;
        location / { limit_req zone=slow; }""",
        http="limit_req_zone $server_port zone=slow:64k rate=1r/m;")
    (nginx.prefix / "html/f").write_text("f")
    assert sorted(scene.get(nginx, "/f").status for _ in range(5)) == [200, 503, 503, 503, 503]
    assert nginx.totals()["requests"] == 5


def test_connections_that_are_limited_come_back(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon()}ms;" +
                        proxied(upstream, "limit_conn all 1;"),
                        http="limit_conn_zone $server_port zone=all:64k;")
    for _ in range(3):
        assert scene.get(nginx, "/never").status == 504
        assert eventually("room", lambda: scene.get(nginx, "/a").status == 200)


def test_as_many_live_as_there_may_be(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx("canopy on; canopy_timeout 600s;" + proxied(upstream) +
                        "location /off { canopy off; return 200 off; }",
                        http="canopy_max_live 3;")
    holders = [scene.connect(nginx) for _ in range(3)]
    for holder in holders:
        holder.ask("/never")
    upstream.await_requests(3)
    beyond = scene.connect(nginx)
    for _ in range(3):
        assert beyond.get("/a").status == 503
    assert nginx.totals()["refused"] == 3
    holders.pop().close()
    eventually("room", lambda: nginx.totals()["live"] == 2)
    assert beyond.get("/a").body == b"answered"
    assert nginx.totals()["live"] == 2
    assert len(upstream.requests) == 4


def test_refused_beyond_the_limit_with_an_error_page_and_a_body(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx("canopy on; canopy_timeout 600s; error_page 503 /sorry;" +
                        proxied(upstream) + "location /sorry { return 503 sorry; }",
                        http="canopy_max_live 1;")
    holder = scene.connect(nginx)
    holder.ask("/never")
    upstream.await_requests(1)
    found = scene.get(nginx, "/a", method="POST", body=b"GET /smuggled HTTP/1.1\r\n\r\n" * 100)
    assert found.status == 503 and found.body == b"sorry", found
    assert upstream.targets() == ["/never"]


def test_ten_times_as_many_as_there_may_be(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; {proxied(upstream)}",
                        http="canopy_max_live 20;")
    connections = [scene.connect(nginx) for _ in range(200)]
    for connection in connections:
        connection.ask("/never")
    statuses = [connection.response().status for connection in connections]
    assert set(statuses) == {503, 504} and statuses.count(504) >= 20, statuses
    assert nginx.totals()["refused"] == statuses.count(503)
