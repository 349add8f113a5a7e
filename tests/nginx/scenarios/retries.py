"""Tries: each is told what is left now, has a time of its own, and is not made for nothing."""

import re

from bounds import soon
import upstream as up

UNITS_NS = {"H": 3600 * 10**9, "M": 60 * 10**9, "S": 10**9, "m": 10**6, "u": 10**3, "n": 1}


def nanoseconds(value):
    """What a grpc-timeout says."""
    found = re.fullmatch(r"(\d{1,8})([HMSmun])", value or "")
    assert found, f"no grpc-timeout: {value!r}"
    return int(found[1]) * UNITS_NS[found[2]]


def several(*upstreams, more=""):
    servers = "".join(f"server {one} max_fails=0;" for one in upstreams)
    return f"upstream several {{ {servers} {more} }}\n"


def told(upstreams, name="grpc-timeout"):
    """What each was told, in the order of their coming."""
    requests = sorted((request for one in upstreams for request in one.requests),
                      key=lambda request: request.came)
    return [request.header(name) for request in requests]


def test_a_time_out_of_a_call_leads_to_the_next_upstream(scene):
    silent, talking = scene.upstream(up.never), scene.upstream()
    nginx = scene.nginx(f"canopy on; canopy_timeout 600s; canopy_call_timeout {soon()}ms;"
                        "location / { proxy_pass http://several; }", http=several(silent, talking))
    for _ in range(2):  # whichever is the first
        assert scene.get(nginx, "/").body == b"answered"
    assert len(silent.requests) >= 1 and len(talking.requests) == 2
    silent.await_left()
    assert nginx.ends() == []


def test_each_try_is_told_less(scene):
    dead = [scene.upstream(up.never) for _ in range(3)]
    nginx = scene.nginx(f"""canopy on; canopy_timeout_header grpc-timeout;
        canopy_call_timeout {soon(200)}ms; canopy_send grpc;
        location / {{ proxy_pass http://several; }}""", http=several(*dead))
    assert scene.get(nginx, "/", headers=[("grpc-timeout", f"{soon(60000)}m")]).status == 504
    values = [nanoseconds(value) for value in told(dead)]
    assert len(values) == 3
    assert all(value <= soon(200) * 10**6 for value in values), values


def test_what_is_left_shrinks_from_try_to_try(scene):
    def slowly_closes(line):
        line.until_left(0.1)
        line.close()

    dead = [scene.upstream(slowly_closes) for _ in range(3)]
    nginx = scene.nginx("""canopy on; canopy_timeout_header grpc-timeout; canopy_send grpc;
        location / { proxy_pass http://several; }""", http=several(*dead))
    assert scene.get(nginx, "/", headers=[("grpc-timeout", "60S")]).status == 502
    values = [nanoseconds(value) for value in told(dead)]
    assert len(values) == 3
    assert 60 * 10**9 >= values[0] >= values[1] + 90 * 10**6 >= values[2] + 180 * 10**6, values


def test_it_shrinks_in_milliseconds_and_beside_a_body(scene):
    def slowly_resets(line):
        line.until_left(0.1)
        line.reset()

    dead, last = [scene.upstream(slowly_resets) for _ in range(2)], scene.upstream()
    nginx = scene.nginx("""canopy on; canopy_timeout_header X-Left; canopy_send ms X-Left;
        proxy_next_upstream error non_idempotent;
        location / { proxy_pass http://several; }""", http=several(*dead, last))
    for _ in range(3):
        found = scene.get(nginx, "/", method="POST", body=b"b" * 100_000,
                          headers=[("X-Left", "60000")])
        assert found.body == b"answered", found
    for one in (*dead, last):
        for request in one.requests:
            assert request.body == b"b" * 100_000, (request, len(request.body))
            assert len(request.all("x-left")) == 1
    first = sorted((r for one in (*dead, last) for r in one.requests), key=lambda r: r.came)[:3]
    values = [int(request.header("x-left")) for request in first]
    assert 60000 >= values[0] and values == sorted(values, reverse=True), values


def test_a_kept_connection_that_was_closed_is_tried_again(scene):
    def once(line):
        line.reply(200, b"once")
        if line.position == 0 and line.target == "/1":
            line.close()

    upstream = scene.upstream(once)
    nginx = scene.nginx("""canopy on; canopy_timeout 600s; canopy_send grpc;
        location / { proxy_pass http://several; }""", http=several(upstream, more="keepalive 4;"))
    connection = scene.connect(nginx)
    for target in ("/1", "/2", "/3", "/4"):
        assert connection.get(target).body == b"once"
    assert upstream.targets() == ["/1", "/2", "/3", "/4"]
    assert all(nanoseconds(value) <= 600 * 10**9 for value in told([upstream]))


def test_the_deadline_cuts_tries_off(scene):
    dead = [scene.upstream(up.never) for _ in range(3)]
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon(500)}ms;
        canopy_call_timeout {soon(300)}ms;
        location / {{ proxy_pass http://several; }}""", http=several(*dead))
    assert scene.get(nginx, "/").status == 504
    assert sum(len(one.requests) for one in dead) == 2
    for one in dead:
        if one.requests:
            one.await_left()


def test_with_less_than_the_least_no_upstream_is_tried(scene):
    dead = [scene.upstream(up.never) for _ in range(3)]
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon(60000)}ms; canopy_least {soon(59900)}ms;
        canopy_call_timeout {soon(300)}ms;
        location / {{ proxy_pass http://several; }}
        location /much {{ canopy_least {soon(70000)}ms; proxy_pass http://several; }}""",
        http=several(*dead))
    assert scene.get(nginx, "/").status == 504
    assert sum(len(one.requests) for one in dead) == 1
    assert scene.get(nginx, "/much").status == 504
    assert sum(len(one.requests) for one in dead) == 1


def test_the_reserve_is_kept_back(scene):
    upstream = scene.upstream()
    nginx = scene.nginx("""canopy on; canopy_timeout_header grpc-timeout; canopy_send grpc;
        canopy_reserve 20s; location / { proxy_pass http://several; }""", http=several(upstream))
    assert scene.get(nginx, "/", headers=[("grpc-timeout", "60S")]).status == 200
    assert 10 * 10**9 < nanoseconds(told([upstream])[0]) <= 40 * 10**9
    assert scene.get(nginx, "/", headers=[("grpc-timeout", "10S")]).status == 504
    assert len(upstream.requests) == 1


def test_refused_connections_lead_on_and_end_as_nginx_says(scene):
    gone = scene.upstream()
    gone.stop()
    talking = scene.upstream()
    nginx = scene.nginx("""canopy on; canopy_timeout 600s;
        location / { proxy_pass http://several; }
        location /none { proxy_pass http://gone; }""",
        http=several(gone, talking) + f"upstream gone {{ server {gone}; }}")
    assert scene.get(nginx, "/").body == b"answered"
    assert scene.get(nginx, "/").body == b"answered"
    assert scene.get(nginx, "/none").status == 502


def test_balancers_are_told_what_they_ask(scene):
    """Each of nginx's own, over a dead and a live one, with a call's time-out between."""
    dead, live = scene.upstream(up.never), scene.upstream()
    for balancer in ("", "least_conn;", "ip_hash;", "hash $uri consistent;", "random two;",
                     "zone shared 64k;", "zone shared 64k; least_conn; keepalive 4;"):
        nginx = scene.nginx(f"""canopy on; canopy_timeout 600s; canopy_call_timeout {soon()}ms;
            location / {{ proxy_pass http://several; }}""",
            http=f"upstream several {{ {balancer.replace('keepalive 4;', '')} server {dead} max_fails=0;"
                 f" server {live} max_fails=0;"
                 f" {'keepalive 4;' if 'keepalive' in balancer else ''} }}")
        for target in "/a", "/b", "/c":
            assert scene.get(nginx, target).body == b"answered", balancer
        nginx.quit()


def test_a_failure_of_a_call_is_counted_against_its_server(scene):
    """max_fails sees a call's time-out: the dead one is tried once, not at each request."""
    dead, live = scene.upstream(up.never), scene.upstream()
    nginx = scene.nginx(f"""canopy on; canopy_timeout 600s; canopy_call_timeout {soon()}ms;
        location / {{ proxy_pass http://counted; }}""",
        http=f"upstream counted {{ server {dead} max_fails=1 fail_timeout=600s; server {live}; }}")
    for _ in range(6):
        assert scene.get(nginx, "/").body == b"answered"
    assert len(dead.requests) == 1 and len(live.requests) == 6
