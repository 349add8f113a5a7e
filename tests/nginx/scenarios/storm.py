"""Requests of all kinds at once, at random, with reloads in between: each is answered as its
own or not at all, none is made of another's bytes, and nothing is left."""

import random
import threading
import time

import bounds
from bounds import soon
import client
import http2
import upstream as up

TARGETS = ["answers", "answers", "answers", "never", "head", "half", "closes", "resets", "drips",
           "accel", "big", "early"]
PLACES = ["/plain", "/unbuffered", "/kept", "/retry", "/auth", "/error", "/named", "/rewrite",
          "/slow", "/limited", "/cached", "/mirrored", "/short"]
LOCATIONS = """
    canopy on; canopy_timeout_header grpc-timeout X-Left; canopy_timeout {short}ms;
    canopy_timeout_max {long}ms; canopy_trace on; canopy_baggage on;
    add_header X-Asked $request_uri always; root html; client_max_body_size 8m;
    proxy_next_upstream error timeout non_idempotent; proxy_next_upstream_tries 3;
    location /plain {{ proxy_pass http://kept; }}
    location /unbuffered {{ proxy_pass http://kept; proxy_buffering off; proxy_request_buffering off; }}
    location /kept {{ proxy_pass http://kept; canopy_client_abort off; }}
    location /retry {{ proxy_pass http://several; canopy_call_timeout {call}ms; }}
    location /auth {{ auth_request /leave; proxy_pass http://kept; }}
    location /leave {{ internal; proxy_pass http://kept; proxy_pass_request_body off;
        proxy_set_header Content-Length ""; }}
    location /error {{ error_page 502 504 = @late; proxy_intercept_errors on; proxy_pass http://kept; }}
    location @late {{ canopy_timeout {call}ms; rewrite ^ /plain/0/answers break; proxy_pass http://kept; }}
    location /named {{ try_files /nothing @named; }}
    location @named {{ proxy_pass http://kept; }}
    location /rewrite {{ rewrite ^/rewrite(.*)$ /unbuffered$1 last; }}
    location /slow {{ limit_rate 20k; proxy_pass http://kept; }}
    location /limited {{ limit_req zone=limited burst=20; proxy_pass http://kept; }}
    location /cached {{ proxy_cache cached; proxy_cache_lock on; proxy_cache_key $uri;
        rewrite ^/cached/\\d+/(.*) /plain/0/$1 break; proxy_pass http://kept; }}
    location /mirrored {{ mirror /mirror; proxy_pass http://kept; }}
    location /mirror {{ internal; proxy_pass http://kept; }}
    location /short {{ canopy_timeout {call}ms; proxy_pass http://kept; }}
    location /inner {{ internal; proxy_pass http://kept; }}
    location /returned {{ return 200 returned; }}
    location /pages {{ ssi on; }}
"""
# nginx takes a client that hangs up on it in the middle of a body that it discards for one
# that is idle, as long as keepalive_timeout: a socket that is left, but not for long.
HTTP = """
    keepalive_timeout 3s;
    proxy_cache_path {directory}/cache keys_zone=cached:1m; proxy_cache_valid 200 1s;
    limit_req_zone $server_port zone=limited:64k rate=200r/s;
    canopy_drain_timeout {long}ms; canopy_max_live 500;
    upstream kept {{ server {one}; keepalive 16; }}
    upstream several {{ zone several 64k; server {one} max_fails=0; server {two} max_fails=0;
        server {three} max_fails=0; keepalive 4; }}
    server {{ listen 127.0.0.1:OTHER_PORT http2; {locations} }}
"""
PAGE = '<!--#include virtual="/plain/0/{}" --> and <!--#include virtual="/unbuffered/0/{}" -->'
HEADERS = [("grpc-timeout", "60S"), ("grpc-timeout", "0S"), ("grpc-timeout", "nonsense"),
           ("grpc-timeout", "50m"), ("X-Left", "20"), ("X-Left", "-1"), ("baggage", "a=1,b=%zz"),
           ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
           ("traceparent", "00-00-00-00"), ("tracestate", "a=1,,b=2")]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 30


def plays(line):
    """An upstream's part, by the last word of the target."""
    what = line.target.split("?")[0].rsplit("/", 1)[-1]
    if what == "accel":
        line.reply(200, b"", [("X-Accel-Redirect", "/inner/0/" + random.choice(TARGETS[:9]))])
    elif what == "drips":
        line.head(200, length=200)
        line.drip(b"d" * 200)
    elif what == "big":
        line.reply(200, b"b" * random.choice((10, 100_000, 2_000_000)))
    elif what == "early":
        line.reply(200, b"early", [("Connection", "close")])
    else:
        {"never": up.never, "head": up.never_after_its_head, "half": up.never_after_half,
         "closes": up.closes, "resets": up.resets}.get(what, up.answers)(line)


class Clients:
    """Threads that ask until `number` requests were begun."""

    def __init__(self, nginx, number):
        self.nginx, self.left, self.begun = nginx, number, 0
        self.lock = threading.Lock()
        self.faults, self.statuses = [], {}
        self.threads = [threading.Thread(target=self.run, args=(random.randrange(1 << 30),))
                        for _ in range(12)]

    def take(self):
        with self.lock:
            if self.left <= 0:
                return None
            self.left -= 1
            self.begun += 1
            return self.begun

    def run(self, seed):
        dice = random.Random(seed)
        while self.take():
            try:
                dice.choice((self.several, self.several, self.half, self.streams))(dice)
            except (OSError, client.Ended):
                pass  # nginx may leave; what must not be is told below
            except Exception as error:
                with self.lock:
                    self.faults.append(repr(error))

    def target(self, dice):
        if dice.random() < 0.1:
            return f"/pages/page{dice.randrange(4)}.html"
        if dice.random() < 0.1:
            return "/returned"
        return f"{dice.choice(PLACES)}/{self.begun}/{dice.choice(TARGETS)}"

    def headers(self, dice):
        return dice.sample(HEADERS, dice.choice((0, 0, 1, 2, 3)))

    def check(self, target, found):
        if found is None:
            return False
        with self.lock:
            self.statuses[found.status] = self.statuses.get(found.status, 0) + 1
        asked = found.header("x-asked")
        if asked not in (target, None) or asked is None and found.status < 400:
            raise AssertionError(f"{target} was answered with {found}")
        return found.whole and found.header("connection") != "close"

    def several(self, dice):
        """Requests on a connection, pipelined or not; who goes may go in the middle."""
        with client.Connection(self.nginx.port) as one:
            targets = [self.target(dice) for _ in range(dice.choice((1, 1, 3)))]
            pipelined = dice.random() < 0.3
            bodies = [dice.choice((None, None, b"b" * 100, SMUGGLED, SMUGGLED * 100)) for _ in targets]
            for target, body in zip(targets, bodies):
                one.ask(target, method="POST" if body else "GET", body=body, headers=self.headers(dice))
                if not pipelined and not self.read(dice, one, target):
                    return
            if pipelined:
                for target in targets:
                    if not self.read(dice, one, target):
                        return

    def read(self, dice, one, target):
        luck = dice.random()
        if luck < 0.2:
            time.sleep(dice.random() * 0.05)
            (one.reset if luck < 0.1 else one.close)()
            return False
        return self.check(target, one.response())

    def half(self, dice):
        """A body that never comes to its end, with other requests' bytes in it."""
        with client.Connection(self.nginx.port) as one:
            target = self.target(dice)
            if dice.random() < 0.5:
                one.ask(target, method="POST", body=4_000_000, headers=self.headers(dice))
            else:
                one.ask(target, method="POST",
                        headers=[("Transfer-Encoding", "chunked"), *self.headers(dice)])
                one.send(b"100000\r\n")
            one.send(SMUGGLED)
            if dice.random() < 0.3:
                return
            self.check(target, one.response())
            one.send(SMUGGLED)
            rest = one.rest()
            if b"HTTP/1.1" in rest:
                raise AssertionError(f"{target}: more than one answer: {rest!r}")

    def streams(self, dice):
        with http2.Connection(self.nginx.ports["other_port"]) as one:
            numbers = []
            for _ in range(dice.randrange(1, 8)):
                headers = [(name.lower(), value) for name, value in self.headers(dice)]
                body = dice.choice((None, None, b"b" * 1000, False))
                numbers.append(one.ask(self.target(dice), method="GET" if body is None else "POST",
                                       body=body, headers=headers))
                if body is False:
                    one.data(numbers[-1], SMUGGLED)
            for number in numbers:
                luck = dice.random()
                if luck < 0.2:
                    one.cancel(number)
                elif luck < 0.9:
                    one.response(number)


def test_a_storm(scene):
    one, two, three = (scene.upstream(plays) for _ in range(3))
    locations = LOCATIONS.format(short=soon(400), long=soon(1500), call=soon(100))
    nginx = scene.nginx(locations, workers=2, http=HTTP.format(
        directory=scene.directory.name, long=soon(1500), one=one, two=two, three=three,
        locations=locations))
    pages = nginx.prefix / "html" / "pages"
    pages.mkdir()
    for index, names in enumerate((("answers", "answers"), ("never", "answers"),
                                   ("answers", "half"), ("big", "drips"))):
        (pages / f"page{index}.html").write_text(PAGE.format(*names))
    number = 8000 if bounds.THOROUGH else 300 if bounds.SLOWER > 1 else 1000
    clients, gone = Clients(nginx, number), set()
    for thread in clients.threads:
        thread.start()
    for share in range(1, 6):
        bounds.eventually("the storm goes on", lambda: clients.begun >= number * share // 6, 600)
        gone |= nginx.reload()
    for thread in clients.threads:
        thread.join()
    nginx.await_gone(gone)
    print(f"{clients.begun} begun, answered: {sorted(clients.statuses.items())}")
    assert not clients.faults, clients.faults[:10]
    for upstream in (one, two, three):
        assert not any("smuggled" in target for target in upstream.targets())
    assert not any("smuggled" in line["target"] for line in nginx.log())
    scene.await_no_contexts(nginx)
    found = nginx.totals()
    ends = ("answered", "deadline", "client_gone", "drained", "other", "lost")
    assert found["requests"] == sum(found[end] for end in ends), found
    assert found["lost"] == found["other"] == 0, found
