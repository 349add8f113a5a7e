"""Totals: what they count, that they never go down, and the three ways to see them."""

import html.parser
import os
import re
import shutil
import signal
import subprocess
import sys

from bounds import eventually, soon
from scene import Skip
from scenarios.deadlines import by_target, proxied
from scenarios.ends import hold
import client
import exposition
import server
import upstream as up

ENDS = ("answered", "deadline", "client_gone", "drained", "other", "lost")
LONG = "canopy on; canopy_timeout 600s;"
PREFIX = "nginx_canopy_"


def all_are_over(nginx):
    """The totals once nothing is live."""
    return eventually("nothing is live",
                      lambda: (found := nginx.totals())["live"] == 0 and found)


def adds_up(totals):
    assert totals["requests"] == totals["live"] + sum(totals[end] for end in ENDS), totals


def counted(totals, **expected):
    found = {name: totals[name] for name in expected}
    assert found == expected, found
    adds_up(totals)


def prometheus(nginx):
    found = nginx.page("/prometheus")
    return exposition.samples(found.body.decode())


def kill_worker(nginx, pid):
    os.kill(pid, signal.SIGKILL)
    eventually("it is gone", lambda: not server.exists(pid))


# ---------------------------------------------------------------- what is counted

def test_each_end_is_counted_once(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"""canopy on; canopy_timeout_header grpc-timeout x-ms; canopy_trace on;
        canopy_baggage on; canopy_send grpc; {proxied(upstream)}""")
    assert scene.get(nginx, "/a").status == 200
    assert scene.get(nginx, "/a", headers=[("grpc-timeout", "60S"), ("x-ms", "9000")]).status == 200
    assert scene.get(nginx, "/never", headers=[("grpc-timeout", f"{soon()}m")]).status == 504
    with client.Connection(nginx.port) as one:
        one.ask("/never")
        upstream.await_requests(4)
    totals = all_are_over(nginx)
    counted(totals, requests=4, answered=2, deadline=1, client_gone=1, drained=0, other=0, lost=0,
            refused=0, tries=4, retries=0, timeouts_received=2, timeouts_sent=2)
    assert totals["lateness_seconds"]["count"] == 1
    assert sum(bool(request.header("grpc-timeout")) for request in upstream.requests) == 2


def test_malformed_headers_are_counted_by_kind(scene):
    nginx = scene.nginx("""canopy on; canopy_timeout_header grpc-timeout x-ms; canopy_trace on;
        canopy_baggage on; location / { return 200; }""")
    for name, value in [("grpc-timeout", "1s"), ("grpc-timeout", "S"), ("x-ms", "1.5"),
                        ("traceparent", "00"), ("tracestate", "=="), ("baggage", "==")]:
        assert scene.get(nginx, "/", headers=[(name, value)]).status == 200
    counted(all_are_over(nginx), requests=6, answered=6, malformed_grpc_timeout=2,
            malformed_ms_timeout=1, malformed_traceparent=1, malformed_tracestate=1,
            malformed_baggage=1, timeouts_received=0)


def test_tries_retries_and_what_is_not_tried_are_counted(scene):
    silent, talking = scene.upstream(up.never), scene.upstream()
    nginx = scene.nginx(f"""canopy on; canopy_timeout 60s; canopy_call_timeout {soon()}ms;
        canopy_send grpc; location / {{ proxy_pass http://both; }}
        location /late {{ canopy_least 600s; proxy_pass http://both; }}""",
                        http=f"upstream both {{ server {silent} max_fails=0; server {talking} backup; }}")
    assert scene.get(nginx, "/").status == 200
    assert scene.get(nginx, "/late").status == 504
    counted(all_are_over(nginx), requests=2, answered=1, deadline=1, tries=2, retries=1,
            call_timeouts=1, not_tried=1, timeouts_sent=2, timeouts_received=0)


def test_a_refused_request_is_no_request(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(LONG + proxied(upstream), http="canopy_max_live 1;")
    held = hold(scene, nginx, upstream, 1)
    assert scene.get(nginx, "/").status == 503
    assert nginx.totals()["live"] == 1
    held[0].close()
    counted(all_are_over(nginx), requests=1, client_gone=1, refused=1)


def test_an_error_page_is_part_of_its_request(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms; {proxied(upstream)}
        error_page 504 /late; location = /late {{ canopy_timeout 60s; return 200 late; }}""")
    assert scene.get(nginx, "/a").status in (200, 504)
    counted(all_are_over(nginx), requests=1, deadline=1)


# ------------------------------------------------------------- that they never go down

class Watch:
    """Looks at totals again and again: those that count never go down."""

    GAUGES = ("live", "workers", "since")

    def __init__(self, nginx):
        self.nginx, self.last = nginx, {}

    def look(self):
        totals = self.nginx.totals()
        down = {name: (self.last[name], value) for name, value in totals.items()
                if isinstance(value, int) and name not in self.GAUGES
                and value < self.last.get(name, 0)}
        assert not down, f"they went down: {down}"
        assert totals["since"] == self.last.get("since", totals["since"])
        self.last = totals
        return totals


def test_they_stay_over_reloads_and_deaths(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), workers=2, http="canopy_drain_timeout 1ms;")
    watch = Watch(nginx)
    for turn in range(4):
        held = hold(scene, nginx, upstream, 2)
        assert scene.get(nginx, "/a").status == 200
        watch.look()
        if turn % 2:
            for pid in nginx.workers():
                kill_worker(nginx, pid)
        else:
            nginx.reload()
        for one in held:
            one.close()
        eventually("two new workers", lambda: watch.look()["workers"] == 2)
        eventually("nothing is live", lambda: watch.look()["live"] == 0)
    counted(watch.look(), requests=12, lost=4)
    nginx.forgive()


def test_what_a_killed_worker_had_is_lost_at_once(scene):
    """Also of one that is not replaced: it was about to leave."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream))
    held = hold(scene, nginx, upstream, 3)
    old = nginx.workers()[0]
    nginx.reload()
    eventually("both are there", lambda: nginx.totals()["workers"] == 2)
    counted(nginx.totals(), requests=3, live=3, lost=0)
    kill_worker(nginx, old)
    counted(eventually("it is known", lambda: (found := nginx.totals())["workers"] == 1 and found),
            requests=3, live=0, lost=3)
    nginx.forgive()
    nginx.reload()  # whose worker has the place of the one that was killed
    assert scene.get(nginx, "/a").status == 200
    eventually("one is there", lambda: nginx.totals()["workers"] == 1)
    counted(all_are_over(nginx), requests=4, live=0, lost=3, answered=1)
    for one in held:
        one.close()


def test_workers_that_end_at_once_lose_theirs(scene):
    """As nginx's own stop: no page is left to say so; the next worker's says it of this."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream))
    held = hold(scene, nginx, upstream, 2)
    old = nginx.workers()[0]
    os.kill(old, signal.SIGTERM)
    eventually("it is gone", lambda: not server.exists(old))
    eventually("another is there", lambda: nginx.workers() and nginx.is_alive())
    counted(all_are_over(nginx), requests=2, lost=2)
    for one in held:
        one.close()


# ----------------------------------------------------------------------- the page

class Page(html.parser.HTMLParser):
    """The numbers of a page by their ids, and what it loads from elsewhere."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.numbers, self.loads, self.open, self.at, self.title = {}, [], [], None, ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.loads += [value for name, value in attributes if name in ("src", "href")
                       and not value.startswith("?")]
        self.at = named.get("id")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{tag} closes {self.open}"
        self.at = None

    def handle_data(self, data):
        if self.open and self.open[-1] == "title":
            self.title += data
        if self.at:
            self.numbers[self.at] = int(data)


def test_three_formats_say_the_same(scene):
    nginx = scene.nginx(f"{LONG} location / {{ return 200; }} location /late {{ canopy_timeout 1ms; "
                        "proxy_pass http://127.0.0.1:1; }")
    for target in ("/", "/", "/late"):
        scene.get(nginx, target)
    totals = all_are_over(nginx)
    page = Page(nginx.page("/html").body.decode())
    assert page.loads == []
    assert {name: totals[name] for name in page.numbers} == page.numbers
    numbers = {name for name, value in totals.items() if isinstance(value, int)}
    assert numbers - set(page.numbers) == {"workers", "since"}
    metrics = prometheus(nginx)
    assert metrics[PREFIX + "requests_total"] == totals["requests"] == 3
    assert metrics[PREFIX + "requests_live"] == 0
    for end in ENDS:
        assert metrics[f'{PREFIX}requests_ended_total{{cause="{end}"}}'] == totals[end]
    lateness = totals["lateness_seconds"]
    for limit, value in lateness["at_most"].items():
        assert metrics[f'{PREFIX}lateness_seconds_bucket{{le="{limit}"}}'] == value
    assert metrics[PREFIX + "lateness_seconds_count"] == lateness["count"]


def test_prometheus_finds_no_fault(scene):
    """By its own tool, where that is installed."""
    promtool = shutil.which("promtool")
    if not promtool:
        raise Skip("no promtool")
    text = scene.nginx(LONG).page("/prometheus").body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True,
                          check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_asks_gets_the_format_that_he_asks_for(scene):
    nginx = scene.nginx(LONG)
    scrape = ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,"
              "*/*;q=0.1")
    types = {"html": "text/html; charset=utf-8", "json": "application/json",
             "prometheus": "text/plain; version=0.0.4; charset=utf-8"}
    for target, accept, kind in [
            ("/status", None, "html"), ("/status", "*/*", "html"),
            ("/status", "text/html,application/xhtml+xml,*/*;q=0.8", "html"),
            ("/status", "application/json", "json"), ("/status", "Application/JSON", "json"),
            ("/status", scrape, "prometheus"), ("/status?format=json", "text/html", "json"),
            ("/status?format=html", scrape, "html"), ("/status?format=prometheus", None, "prometheus"),
            ("/json", "text/html", "json"), ("/json?format=html", None, "json"),
            ("/html", scrape, "html"), ("/prometheus", "text/html", "prometheus")]:
        with client.Connection(nginx.ports["status_port"]) as one:
            found = one.get(target, headers=[("Accept", accept)] if accept else [])
        assert found.status == 200 and found.header("content-type") == types[kind], (target, found)
        assert found.header("cache-control") == "no-store"
    for bad in ("", "xml", "json%20", "JSON"):
        assert nginx.page(f"/status?format={bad}").status == 400, bad


def test_a_page_is_for_get_and_head(scene):
    nginx = scene.nginx(LONG + "location = /totals { canopy_status; allow 127.0.0.2; deny all; }")
    assert scene.get(nginx, "/totals").status == 403
    with client.Connection(nginx.ports["status_port"]) as one:
        whole, head = one.get("/json"), one.get("/json", method="HEAD")
        assert head.status == 200 and head.body == b""
        assert head.header("content-length") == whole.header("content-length")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert one.get("/json", method=method, body=b"a=b").status == 405, method
        assert one.get("/json").body == whole.body


def test_a_page_goes_on_within_an_if(scene):
    nginx = scene.nginx(LONG + "location = /totals { canopy_status json; if ($arg_x) { set $y 1; } }")
    for target in ("/totals", "/totals?x=1"):
        assert scene.get(nginx, target).header("content-type") == "application/json", target


def test_a_name_of_the_host_is_text(scene):
    """Whatever it is. It comes in lower case from nginx."""
    name = "a\"<b>&'\\c"
    wrapper = ["unshare", "--uts", sys.executable, "-c", "import os, socket, sys;"
               "socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])", name]
    if subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode != 0:
        raise Skip("no leave to give a host's name")
    nginx = server.Nginx(scene.paths, lambda prefix: wrapper, server=LONG)
    scene.servers.append(nginx)
    nginx.start()
    assert nginx.totals()["host"] == name
    assert Page(nginx.page("/html").body.decode()).title == f"canopy on {name}"
    nginx.quit()


# -------------------------------------------------------------------- variables

SAID = ("[$canopy_cause|$canopy_cause_code|$canopy_left_ms|$canopy_deadline|$canopy_grpc_timeout|"
        "$canopy_ms_timeout|$canopy_traceparent|$canopy_trace_id|$canopy_tries]")


def said(scene, nginx, upstream, target, **more):
    """What they are as a try is made ready."""
    assert scene.get(nginx, target, **more).status == 200
    value = upstream.requests[-1].header("x-said")
    return value.strip("[]").split("|")


def test_variables_tell_what_is_left_and_which_trace(scene):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    upstream = scene.upstream()
    on = f"proxy_pass http://{upstream}; canopy on;"
    nginx = scene.nginx(f"""proxy_set_header X-Said '{SAID}';
        location / {{ proxy_pass http://{upstream}; }}
        location /on {{ {on} canopy_timeout_header grpc-timeout; canopy_trace on;
            canopy_reserve 1s; }}
        location /try {{ {on} canopy_timeout 600s; canopy_call_timeout 5s; }}
        location /none {{ {on} }}""")
    assert said(scene, nginx, upstream, "/") == [""] * 9
    headers = [("grpc-timeout", "600S"), ("traceparent", trace)]
    cause, code, left, deadline, grpc, ms, parent, trace_id, tries = said(
        scene, nginx, upstream, "/on", headers=headers)
    assert (cause, code, tries) == ("", "", "0")
    assert 590000 <= int(left) <= 600000 and abs(int(ms) - (int(left) - 1000)) <= 1
    assert re.fullmatch(r"\d{8}u|\d{6}m", grpc), grpc
    assert parent == trace and trace_id == trace[3:35]
    now_ms = int(float(nginx.await_log(2)[-1]["at"]) * 1000)
    assert abs(int(deadline) - now_ms - int(left)) < 10000
    assert said(scene, nginx, upstream, "/try")[4:6] == ["5000000u", "5000"]
    assert said(scene, nginx, upstream, "/none") == [""] * 8 + ["0"]


def test_variables_tell_in_the_log_how_it_ended(scene):
    silent = scene.upstream(up.never)
    nginx = scene.nginx(f"""canopy on; canopy_timeout {soon()}ms; canopy_call_timeout {soon(100)}ms;
        {proxied(silent)}""", logged=', "cause": "$canopy_cause", "code": "$canopy_cause_code",'
                        ' "tries": "$canopy_tries", "left": "$canopy_left_ms"',
                        http=f"upstream both {{ server {silent} max_fails=0; }}")
    assert scene.get(nginx, "/a").status == 504
    line = nginx.await_log(1)[0]
    assert line["tries"] == "1", line
    with client.Connection(nginx.port) as one:
        one.ask("/b")
        silent.await_requests(2)
    line = nginx.await_log(2)[1]
    assert (line["cause"], line["code"]) in [("the client has gone", "-104"),
                                             ("", "")], line


def test_a_new_binary_has_totals_of_its_own(scene):
    """Beside the old one's, which stay the old one's."""
    nginx = scene.nginx(LONG + "location / { return 200; }", daemon="on")
    for _ in range(3):
        assert scene.get(nginx, "/").status == 200
    counted(all_are_over(nginx), requests=3, workers=1)
    old, worker = nginx.pid(), nginx.workers()[0]
    nginx.tell(signal.SIGUSR2)
    eventually("a new master", lambda: nginx.is_running() and nginx.pid() != old and nginx.workers())
    os.kill(old, signal.SIGWINCH)
    nginx.await_gone([worker])
    counted(nginx.totals(), requests=0, lost=0, workers=1)
    assert scene.get(nginx, "/").status == 200
    new, worker = nginx.pid(), nginx.workers()[0]
    os.kill(old, signal.SIGHUP)  # taken back: the old one has workers again
    eventually("both have", lambda: server.children(old) != [new])
    os.kill(new, signal.SIGQUIT)
    nginx.await_gone([new, worker])
    counted(eventually("the old one", lambda: nginx.is_alive() and nginx.totals()), requests=3)
