"""Headers of strangers: each has a right answer, and nothing malformed goes on."""

import pathlib

from bounds import eventually, soon
from scenarios.deadlines import proxied
from scenarios.retries import nanoseconds
import http2

ON = "canopy on; canopy_timeout_header grpc-timeout X-Left; canopy_trace on; canopy_baggage on;"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def allowed(scene, number):
    """So many lines of headers, where this nginx has a limit."""
    known = b"max_headers" in pathlib.Path(scene.paths.nginx).read_bytes()
    return f"max_headers {number};" if known else ""


def passed_on(scene, headers, nginx_block=ON, raw=None):
    """What the upstream sees of a request with these headers."""
    upstream = scene.upstream()
    nginx = scene.nginx(nginx_block + proxied(upstream),
                        http="large_client_header_buffers 16 512k;")
    scene.last = nginx
    if raw is not None:
        connection = scene.connect(nginx)
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + raw + b"\r\n\r\n")
        found = connection.response()
    else:
        found = scene.get(nginx, "/", headers=headers)
    return found, upstream.requests[0] if upstream.requests else None


def each(scene, cases, check, block=ON):
    """All cases in one nginx, with a request each."""
    upstream = scene.upstream()
    nginx = scene.nginx(block + proxied(upstream), http="large_client_header_buffers 16 512k;")
    for headers, right in cases:
        seen = len(upstream.requests)
        found = scene.get(nginx, "/", headers=headers)
        request = upstream.requests[seen] if len(upstream.requests) > seen else None
        try:
            check(found, request, right)
        except (AssertionError, TypeError, AttributeError) as error:
            raise AssertionError(f"{headers}: {error}; {found}, {request and request.headers}") from error
    return nginx


def test_right_time_outs(scene):
    def check(found, request, most):
        assert found.status == 200
        assert len(request.all("grpc-timeout")) == 1
        value = nanoseconds(request.header("grpc-timeout"))
        assert most * 0.5 < value <= most, value

    hour = 3600 * 10**9
    each(scene, [([("grpc-timeout", text)], value) for text, value in (
        ("60S", 60 * 10**9), ("2000000H", 2000000 * hour), ("00000060S", 60 * 10**9),
        ("99999999m", 99999999 * 10**6), ("99999999u", 99999999 * 10**3))], check)


def test_time_outs_beyond_all_time_are_none(scene):
    def check(found, request, _):
        assert found.status == 200 and request.all("grpc-timeout") == [], request

    each(scene, [([("grpc-timeout", text)], None) for text in ("2562048H", "99999999H")], check)


def test_malformed_time_outs_are_absent_and_not_passed_on(scene):
    def check(found, request, _):
        assert found.status == 200
        assert request.all("grpc-timeout") == [] and request.all("x-left") == [], request

    bad = ["100000000n", "S", "", "1s", "1.5S", "1 S", "1S,2S", "-1S", "+1S", "0x1S", "1", "1SS",
           "\xff1S", "1S\t1", "9" * 10000 + "S", "１S".encode().decode("latin-1")]
    ms = ["1s", "-1", "1.5", "", "9" * 400, "1 2", "0x10", "1e3", "\xb2"]
    nginx = each(scene, [([("grpc-timeout", text)], None) for text in bad] +
                 [([("X-Left", text)], None) for text in ms], check)
    assert nginx.ends() == []


def test_of_two_deadlines_the_earlier(scene):
    def check(found, request, most):
        assert found.status == 200
        value = nanoseconds(request.header("grpc-timeout"))
        assert len(request.all("grpc-timeout")) == 1 and most * 0.5 < value <= most, value
        assert request.all("x-left") == [], "both go in the place of one"

    s = 10**9
    each(scene, [
        ([("grpc-timeout", "60S"), ("grpc-timeout", "20S")], 20 * s),
        ([("grpc-timeout", "20S"), ("grpc-timeout", "60S")], 20 * s),
        ([("grpc-timeout", "60S"), ("X-Left", "20000")], 20 * s),
        ([("X-Left", "60000"), ("grpc-timeout", "20S")], 20 * s),
        ([("X-Left", "60000"), ("x-left", "20000"), ("X-LEFT", "40000")], 20 * s),
        ([("grpc-timeout", "20S"), ("grpc-timeout", "nonsense")], 20 * s),
        ([("grpc-timeout", "nonsense"), ("grpc-timeout", "20S")], 20 * s),
        ([("grpc-timeout", f"{n + 20}S") for n in range(900)], 20 * s)], check)


def of(request, name="traceparent"):
    found = request.all(name)
    assert len(found) == 1, found
    return found[0]


def test_right_traces_go_on(scene):
    def check(_, request, right):
        flags, state = right
        version, trace, parent, sent = of(request).split("-")
        assert (version, trace, sent) == ("00", TRACE, flags), request.headers
        assert parent != "b7ad6b7169203331" and len(parent) == 16 and parent != "0" * 16
        assert request.header("tracestate") == state, request.headers

    head = PARENT[:-2]
    each(scene, [
        ([("traceparent", PARENT)], ("01", None)),
        ([("traceparent", head + "00")], ("00", None)),
        ([("traceparent", head + "ff")], ("03", None)),
        ([("traceparent", "cc" + PARENT[2:] + "-what-the-future-will-be-like")], ("01", None)),
        ([("traceparent", PARENT), ("tracestate", "a=1,b=2")], ("01", "a=1,b=2")),
        ([("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")], ("01", "a=1,b=2")),
        ([("traceparent", PARENT), ("tracestate", ",".join(f"k{n}=v" for n in range(33)))],
         ("01", None)),
        ([("traceparent", PARENT), ("tracestate", "no members here")], ("01", None))], check)


def test_wrong_traces_begin_anew(scene):
    def check(_, request, _right):
        version, trace, parent, _flags = of(request).split("-")
        assert version == "00" and trace not in (TRACE, "0" * 32) and parent != "0" * 16
        assert request.all("tracestate") == [], request.headers

    bad = [PARENT + "-x", PARENT.upper(), f"00-{'0' * 32}-b7ad6b7169203331-01",
           f"00-{TRACE}-{'0' * 16}-01", "ff" + PARENT[2:], PARENT[:-1], PARENT + "0", "",
           PARENT + "," + PARENT, "x" * 5000, PARENT.replace("-", "_")]
    each(scene, [([("traceparent", text), ("tracestate", "a=1")], None) for text in bad] +
         [([("traceparent", PARENT), ("traceparent", PARENT)], None),
          ([("traceparent", PARENT), ("traceparent", "nonsense")], None),
          ([("tracestate", "a=1")], None), ([], None)], check)


def test_baggage_within_its_limits(scene):
    def check(found, request, right):
        assert found.status == 200
        assert request.header("baggage") == right, len(request.header("baggage") or "")

    many = [f"k{n}=v" for n in range(65)]
    half = "h=" + "v" * 4094
    each(scene, [
        ([("baggage", "a=1,b=2;p=q")], "a=1,b=2;p=q"),
        ([("baggage", "a=1"), ("baggage", "b=2")], "a=1,b=2"),
        ([("baggage", ",".join(many[:64]))], ",".join(many[:64])),
        ([("baggage", ",".join(many))], ",".join(many[:64])),
        ([("baggage", "k=" + "v" * 8190)], "k=" + "v" * 8190),
        ([("baggage", "k=" + "v" * 8191)], None),
        ([("baggage", half), ("baggage", "i" + half[1:])], half),
        ([("baggage", "a=%zz")], "a=%zz"), ([("baggage", "a=b=c==")], "a=b=c==")], check)


def test_baggage_in_ten_thousand_lines(scene):
    found, request = passed_on(scene, [("baggage", f"k{n}=v") for n in range(10_000)],
                               ON + allowed(scene, 20_000))
    assert found.status == 200
    assert request.header("baggage").count(",") == 63, request.header("baggage")
    assert len(request.all("baggage")) == 1


def test_lists_of_many_headers(scene):
    """More headers than a part of nginx's list, with ours on the edges of the parts."""
    def check(found, request, _):
        assert found.status == 200
        assert nanoseconds(of(request, "grpc-timeout")) <= 60 * 10**9
        assert sum(name.startswith("x-other") for name, _ in request.headers) == 100

    others = [(f"X-Other-{n}", "o") for n in range(100)]
    cases = []
    for place in (0, 18, 19, 20, 21, 39, 40, 60, 100):
        headers = list(others)
        headers.insert(place, ("grpc-timeout", "60S"))
        cases.append((headers, None))
    each(scene, cases, check)


def test_bytes_that_no_header_may_have(scene):
    """nginx refuses some of these itself; what it lets through we do not pass on."""
    for raw in (b"grpc-timeout: 1S\0", b"grpc-timeout: 60S\rX: y", b"grpc-timeout: 60S\n\tfolded",
                b"traceparent: " + PARENT.encode() + b"\x01", b"baggage: a=\x7f",
                b"baggage: a=1\x00,b=2", b"baggage: a=\r\n X-Folded: 1", b"tracestate: a=\xff"):
        found, request = passed_on(scene, None, raw=raw)
        if request is None:
            assert found is None or found.status in (400, 504), (raw, found)
            continue
        for name in ("grpc-timeout", "traceparent", "tracestate", "baggage"):
            for value in request.all(name):
                assert value.isascii() and value.isprintable(), (raw, name, value)
        assert request.header("x-folded") is None


def test_bytes_that_no_header_may_have_on_a_stream(scene):
    upstream = scene.upstream()
    nginx = scene.nginx(ON + proxied(upstream), listen=" http2")
    for name, value in (("grpc-timeout", "60S\r\nX-Folded: 1"), ("baggage", "a=1\nX-Folded: 1"),
                        ("traceparent", PARENT + "\0"), ("grpc-timeout", "1\x7fS"),
                        ("tracestate", "a=\xff")):
        with http2.Connection(nginx.port) as connection:
            connection.get("/", headers=[(name, value)])
    for request in upstream.requests:
        assert request.header("x-folded") is None
        for name in ("grpc-timeout", "traceparent", "tracestate", "baggage"):
            assert all(value.isascii() and value.isprintable() for value in request.all(name))


def test_what_is_not_read_is_left_as_it_came(scene):
    headers = [("grpc-timeout", "nonsense"), ("traceparent", "x"), ("baggage", "y"), ("X-Left", "z")]
    _, request = passed_on(scene, headers, "canopy on; canopy_timeout 600s; canopy_send off;")
    for name, value in headers:
        assert request.header(name) == value, request.headers


def test_a_trace_off_and_deadlines_on(scene):
    _, request = passed_on(scene, [("grpc-timeout", "60S"), ("traceparent", PARENT)],
                           "canopy on; canopy_timeout_header grpc-timeout;")
    assert request.header("traceparent") == PARENT
    assert nanoseconds(request.header("grpc-timeout")) <= 60 * 10**9


def test_a_header_that_proxy_set_header_has_too(scene):
    """The operator's word is the last."""
    upstream = scene.upstream()
    nginx = scene.nginx(ON + proxied(upstream, "proxy_set_header grpc-timeout $canopy_grpc_timeout;"
                                               "proxy_set_header X-Trace $canopy_trace_id;"))
    scene.get(nginx, "/", headers=[("grpc-timeout", "60S"), ("traceparent", PARENT)])
    request = upstream.requests[0]
    assert len(request.all("grpc-timeout")) == 1, request.headers
    assert 0 < nanoseconds(request.header("grpc-timeout")) <= 60 * 10**9
    assert request.header("x-trace") == TRACE


def test_requests_that_nginx_refuses_make_no_contexts_for_ever(scene):
    nginx = scene.nginx(ON + f"canopy_timeout {soon()}ms; location / {{ return 200; }}")
    for data in (b"\0\0\0", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"X" * 100_000,
                 b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET /\r\n",
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        connection = scene.connect(nginx)
        connection.send(data)
        connection.sock.shutdown(1)
        connection.rest()
    eventually("no context", lambda: nginx.totals()["live"] == 0)


def test_a_time_out_that_is_read_and_not_sent(scene):
    """Neither as it came nor as what is left; the request has it all the same."""
    headers = [("grpc-timeout", "600S"), ("X-Other", "kept")]
    found, request = passed_on(scene, headers, "canopy on; canopy_timeout_header grpc-timeout; "
                               "canopy_send off;")
    assert found.status == 200, found
    assert request.header("grpc-timeout") is None and request.header("x-other") == "kept"
    assert scene.last.totals()["timeouts_received"] == 1
