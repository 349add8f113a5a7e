"""Caches, TLS, threads, and the other protocols of upstreams."""

import threading

from bounds import eventually, soon
from scenarios.deadlines import by_target, keepalive, proxied
import upstream as up

CACHE = "proxy_cache_path {} keys_zone=cached:1m; proxy_cache_valid 200 600s;"


def cached(scene, server, upstream):
    directory = scene.directory.name + "/cache"
    return scene.nginx(f"proxy_cache cached; {server}", http=CACHE.format(directory) +
                       f"upstream kept {{ server {upstream}; keepalive 8; }}")


def test_a_cache_is_filled_and_read(scene):
    upstream = scene.upstream(by_target)
    nginx = cached(scene, "canopy on; canopy_timeout 600s;" + proxied("kept"), upstream)
    for _ in range(5):
        assert scene.get(nginx, "/a").body == b"answered"
    assert upstream.targets() == ["/a"]
    assert nginx.totals()["requests"] == 5


def test_a_deadline_leaves_nothing_in_a_cache(scene):
    upstream = scene.upstream(by_target)
    nginx = cached(scene, f"canopy on; canopy_timeout {soon()}ms;" + proxied("kept"), upstream)
    for _ in range(2):
        for target in ("/never", "/half"):
            found = scene.get(nginx, target)
            assert found is None or found.status == 504 or not found.whole
    assert sorted(upstream.targets()) == ["/half", "/half", "/never", "/never"]


def test_who_waits_for_another_to_fill_a_cache(scene):
    """The lock of a cache: of those that wait one ends by its deadline and one by its
    client, and neither is who fills it. Whose client goes while he fills it goes on, as
    nginx has it, for the others; to his deadline."""
    upstream = scene.upstream(by_target)
    lock = "proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s;"
    nginx = cached(scene, f"canopy on; canopy_timeout_header X-Left; canopy_timeout 600s; {lock}" +
                   proxied("kept"), upstream)
    first = scene.connect(nginx)
    first.ask("/never", headers=[("X-Left", "12000")])
    upstream.await_requests(1)
    assert scene.get(nginx, "/never", headers=[("X-Left", str(soon()))]).status == 504
    goes = scene.connect(nginx)
    goes.ask("/never")
    eventually("it waits", lambda: nginx.totals()["live"] == 2)
    goes.close()
    eventually("it has gone", lambda: nginx.totals()["live"] == 1)
    assert len(upstream.requests) == 1
    first.close()
    upstream.await_left()
    assert scene.get(nginx, "/never", headers=[("X-Left", str(soon()))]).status == 504
    assert len(upstream.requests) == 2


def test_a_stale_answer_where_the_deadline_would_end_it(scene):
    """proxy_cache_use_stale updating, with an update in the background, which ends as well."""
    upstream = scene.upstream(lambda line: line.upstream.answer(line))
    upstream.answer = lambda line: line.reply(200, b"fresh", [("Cache-Control", "max-age=1")])
    nginx = cached(scene, f"""canopy on; canopy_timeout {soon(1000)}ms;
        proxy_cache_use_stale updating timeout; proxy_cache_background_update on;""" +
                   proxied("kept"), upstream)
    assert scene.get(nginx, "/a").body == b"fresh"
    upstream.answer = up.never
    eventually("it is stale", lambda: scene.get(nginx, "/a").body == b"fresh"
               and len(upstream.requests) > 1)
    upstream.await_left(1)


def test_a_mirror_that_waits_for_a_cache_holds_nobody(scene):
    upstream = scene.upstream(by_target)
    nginx = cached(scene, f"""canopy on; canopy_timeout {soon(1000)}ms; proxy_cache_key one;
        proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s;
        location /fills {{ canopy off; proxy_pass http://kept/never; }}
        location /mirror {{ internal; proxy_pass http://kept/never; }}
        location / {{ mirror /mirror; proxy_cache off; proxy_pass http://kept; }}""", upstream)
    first = scene.connect(nginx)
    first.ask("/fills")
    upstream.await_requests(1)
    assert scene.get(nginx, "/never").status == 504
    goes = scene.connect(nginx)
    goes.ask("/never?goes")
    upstream.await_requests(3)
    goes.close()
    upstream.await_left(2)
    first.close()


def test_slices_of_a_cached_file(scene):
    def sliced(line):
        first, last = (int(n) for n in line.header("range").removeprefix("bytes=").split("-"))
        if first >= 2000:
            line.until_left()
            return
        line.reply(206, b"s" * (last - first + 1),
                   [("Content-Range", f"bytes {first}-{last}/4000"), ("ETag", '"same"')])

    upstream = scene.upstream(sliced)
    if b"http_slice_module" not in nginx_options(scene):
        raise scene.Skip("an nginx without slices")
    nginx = cached(scene, f"canopy on; canopy_timeout {soon(1000)}ms;" +
                   proxied("kept", "slice 1000; proxy_set_header Range $slice_range;"
                                   "proxy_cache_key $uri$slice_range; proxy_cache_valid 206 600s;"),
                   upstream)
    found = scene.get(nginx, "/a")
    assert found.status == 200 and not found.whole, found
    assert len(upstream.requests) == 3


def nginx_options(scene):
    import subprocess
    return subprocess.run([scene.paths.nginx, "-V"], capture_output=True, check=True).stderr


# ----------------------------------------------------------------------- TLS

def test_tls_on_both_sides(scene):
    upstream = scene.upstream(by_target, tls=scene.tls_server())
    pem = scene.certificate()
    nginx = scene.nginx(f"""ssl_certificate {pem}; ssl_certificate_key {pem};
        canopy on; canopy_timeout_header X-Left; proxy_buffering off;
        location / {{ proxy_pass https://kept; }}""",
        listen=" ssl", http=keepalive(upstream))
    tls = scene.tls_client()
    connection = scene.connect(nginx, tls=tls)
    assert connection.get("/a").body == b"answered"
    assert connection.get("/never", headers=[("X-Left", str(soon()))]).status == 504
    assert connection.get("/b").body == b"answered"
    found = connection.get("/half", headers=[("X-Left", str(soon()))])
    assert found.status == 200 and not found.whole
    for leave in ("close", "reset"):
        seen = len(upstream.requests)
        gone = scene.connect(nginx, tls=tls)
        gone.ask("/never")
        upstream.await_requests(seen + 1)
        getattr(gone, leave)()
        upstream.await_left(seen)


def test_tls_with_a_body_half_sent(scene):
    upstream = scene.upstream(up.never, eager=True)
    pem = scene.certificate()
    nginx = scene.nginx(f"""ssl_certificate {pem}; ssl_certificate_key {pem};
        canopy on; canopy_timeout {soon()}ms; {proxied(upstream, 'proxy_request_buffering off;')}""",
        listen=" ssl")
    connection = scene.connect(nginx, tls=scene.tls_client())
    connection.ask("/", method="POST", body=100_000)
    connection.send(b"b" * 1000)
    found = connection.response()
    assert found is None or found.status == 504
    for _ in range(10):
        connection.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
    assert b"HTTP/1.1" not in connection.rest()
    assert len(nginx.await_log(1)) == 1


def test_a_deadline_in_the_handshake_with_an_upstream(scene):
    """The upstream accepts, and says nothing of TLS."""
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms;
        location / {{ proxy_pass https://{upstream}; }}""")
    upstream.serve = lambda sock, number: upstream.stopping.wait(60)
    assert scene.get(nginx, "/").status == 504


# ------------------------------------------------------------------- threads

def test_files_read_by_threads(scene):
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon(1000)}ms; root html;
        aio threads; sendfile off; output_buffers 2 64k;
        location /slow {{ limit_rate 10000; }}""")
    for name in ("quick", "slow"):
        (nginx.prefix / "html" / name).write_bytes(b"f" * 4_000_000)
    quick = [scene.connect(nginx) for _ in range(10)]
    slow = [scene.connect(nginx) for _ in range(10)]
    for connection in slow:
        connection.ask("/slow")
    for connection in quick:
        connection.ask("/quick")
    for connection in quick:
        assert len(connection.response().body) == 4_000_000
    for connection in slow:
        found = connection.response()
        assert found.status == 200 and not found.whole


def test_threads_that_write_what_is_buffered(scene):
    def pours(line):
        line.head(200, length=8 << 20)
        for _ in range(64):
            line.write(b"p" * (64 << 10))
        line.until_left()

    upstream = scene.upstream(pours)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon(1000)}ms; aio threads; aio_write on;
        {proxied(upstream)}""")
    connections = [scene.connect(nginx) for _ in range(5)]
    for connection in connections:
        connection.ask("/")
    for connection in connections:
        found = connection.response()
        assert found is None or not found.whole or found.status == 504
    for index in range(len(upstream.requests)):
        upstream.await_left(index)


# ----------------------------------------------------------- other protocols

def records(sock):
    """FastCGI's: pairs of type and content, until the one that ends the input."""
    def exactly(size):
        data = b""
        while len(data) < size:
            more = sock.recv(size - len(data))
            if not more:
                return None
            data += more
        return data

    while head := exactly(8):
        content = exactly(int.from_bytes(head[4:6], "big"))
        exactly(head[6])
        yield head[1], content
        if head[1] == 5 and not content:
            return


def parameters(data):
    found = {}
    while data:
        sizes = []
        for _ in range(2):
            if data[0] & 0x80:
                sizes.append(int.from_bytes(data[:4], "big") & 0x7fffffff)
                data = data[4:]
            else:
                sizes.append(data[0])
                data = data[1:]
        name, value, data = data[:sizes[0]], data[sizes[0]:sum(sizes)], data[sum(sizes):]
        found[name.decode()] = value.decode("latin-1")
    return found


class FastCgi:
    """Each connection is served once: answered, or held until nginx leaves it."""

    def __init__(self, scene, answer):
        self.upstream, self.answer = scene.upstream(), answer
        self.upstream.serve = self.serve
        self.seen, self.left = [], threading.Semaphore(0)

    def serve(self, sock, _number):
        got = list(records(sock))
        self.seen.append((parameters(b"".join(data for kind, data in got if kind == 4)),
                          b"".join(data for kind, data in got if kind == 5)))
        if self.answer:
            text = b"Content-Type: text/plain\r\n\r\nby fastcgi"
            sock.sendall(b"\1\6\0\1" + len(text).to_bytes(2, "big") + b"\0\0" + text +
                         b"\1\3\0\1\0\x08\0\0" + bytes(8))
        elif not sock.recv(1):
            self.left.release()
        sock.close()


def test_fastcgi_is_told_and_ended(scene):
    silent, talking = FastCgi(scene, False), FastCgi(scene, True)
    nginx = scene.nginx(f"""canopy on; canopy_timeout_header grpc-timeout; canopy_send grpc;
        canopy_call_timeout {soon()}ms;
        location / {{ fastcgi_pass several; }}
        location /late {{ canopy_call_timeout 0; fastcgi_pass {silent.upstream}; }}""",
        http=f"fastcgi_next_upstream error timeout non_idempotent; upstream several {{"
             f" server {silent.upstream} max_fails=0; server {talking.upstream} max_fails=0; }}")
    for _ in range(2):
        found = scene.get(nginx, "/", method="POST", body=b"body" * 1000,
                          headers=[("grpc-timeout", "60S")])
        assert found.body == b"by fastcgi", found
    for told, body in silent.seen + talking.seen:
        assert told["HTTP_GRPC_TIMEOUT"][-1] in "num", told
        assert body == b"body" * 1000
    assert scene.get(nginx, "/late", headers=[("grpc-timeout", f"{soon()}m")]).status == 504
    for _ in silent.seen:
        assert silent.left.acquire(timeout=60)


def test_what_says_nothing_in_other_protocols(scene):
    upstream = scene.upstream(up.never)
    upstream.serve = lambda sock, number: upstream.stopping.wait(600)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms; canopy_send grpc;
        location /uwsgi {{ uwsgi_pass {upstream}; }}
        location /scgi {{ scgi_pass {upstream}; }}
        location /fastcgi {{ fastcgi_pass {upstream}; }}
        location /memcached {{ set $memcached_key a; memcached_pass {upstream}; }}""")
    for target in ("/uwsgi", "/scgi", "/fastcgi", "/memcached"):
        assert scene.get(nginx, target).status == 504, target
