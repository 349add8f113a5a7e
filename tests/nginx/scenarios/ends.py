"""How a worker leaves: drained, reloaded, upgraded, killed; with requests in hand."""

import os
import pathlib
import signal
import threading

from bounds import eventually, soon
from scenarios.deadlines import by_target, proxied
import client
import server
import upstream as up

LONG = "canopy on; canopy_timeout 600s;"


def drain(some=300):
    return f"canopy_drain_timeout {soon(some)}ms;"


def hold(scene, nginx, upstream, number=3, target="/never"):
    """Requests that are with the upstream."""
    seen = len(upstream.requests)
    held = [scene.connect(nginx) for _ in range(number)]
    for one in held:
        one.ask(target)
    upstream.await_requests(seen + number)
    return held


def test_a_drain_ends_what_lives(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(LONG + proxied(upstream), http=drain())
    held = hold(scene, nginx, upstream)
    nginx.quit()
    assert [one.response().status for one in held] == [503] * 3
    assert [line["status"] for line in nginx.log()] == [503] * 3
    for index in range(3):
        upstream.await_left(index)


def test_a_drain_beside_idle_connections_ends_at_once(scene):
    """600 s would be for those that live, and none does."""
    nginx = scene.nginx(LONG + "location / { return 200; }", http="canopy_drain_timeout 600s;")
    idle = [scene.connect(nginx) for _ in range(3)]
    for one in idle:
        assert one.get("/").status == 200
    nginx.quit()
    assert all(one.rest() == b"" for one in idle)


def test_without_a_limit_a_drain_waits(scene):
    def when_told(line):
        line.upstream.go_on.wait(60)
        line.reply(200, b"in the end")

    upstream = scene.upstream(when_told)
    upstream.go_on = threading.Event()
    nginx = scene.nginx(LONG + proxied(upstream))
    held = hold(scene, nginx, upstream)
    workers = nginx.workers()
    nginx.tell(signal.SIGQUIT)
    eventually("it takes nobody else", lambda: not nginx.is_alive())
    assert all(map(server.exists, workers))
    upstream.go_on.set()
    assert [one.response().body for one in held] == [b"in the end"] * 3
    nginx.await_end()


def test_a_deadline_in_a_worker_that_drains(scene):
    """The worker must not leave beneath the request, and its clock goes on."""
    upstream = scene.upstream(up.never)
    for more in ("", "canopy_drain_timeout 600s;"):
        seen = len(upstream.requests)
        nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1000)}ms; {proxied(upstream)}", http=more)
        held = hold(scene, nginx, upstream)
        nginx.quit()
        assert [one.response().status for one in held] == [504] * 3
        for index in range(3):
            upstream.await_left(seen + index)


def test_a_drain_of_answers_half_sent(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + "proxy_buffering off;" + proxied(upstream), http=drain())
    held = hold(scene, nginx, upstream, target="/half")
    for one in held:
        one.reader.until(b"\r\n\r\n")
    nginx.quit()
    for index, one in enumerate(held):
        assert len(one.rest()) <= 500
        upstream.await_left(index)


def test_a_drain_of_bodies_half_sent(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(LONG + proxied(upstream), http=drain())
    held = [scene.connect(nginx) for _ in range(3)]
    for one in held:
        one.ask("/", method="POST", body=1000)
        one.send(b"b" * 10)
    eventually("three live", lambda: nginx.totals()["live"] == 3)
    nginx.tell(signal.SIGQUIT)
    for one in held:
        found = one.response()
        assert found is None or found.status == 503, found
        one.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        assert b"HTTP/1.1" not in one.rest()
    nginx.await_end()
    assert upstream.targets() == []


def test_a_reload_drains_the_old_worker_alone(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=drain())
    held = hold(scene, nginx, upstream)
    gone = nginx.reload()
    assert [one.response().status for one in held] == [503] * 3
    nginx.await_gone(gone)
    young = hold(scene, nginx, upstream, 2)
    assert scene.get(nginx, "/a").body == b"answered"
    found = nginx.totals()
    assert found["live"] == 2 and found["drained"] == 3 and found["requests"] == 6, found
    for one in young:
        one.close()


def test_a_reload_without_a_limit_lets_them_end(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"canopy on; canopy_timeout {soon(1500)}ms; {proxied(upstream)}")
    held = hold(scene, nginx, upstream)
    gone = nginx.reload()
    assert [one.response().status for one in held] == [504] * 3
    nginx.await_gone(gone)
    assert nginx.totals()["drained"] == 0


def test_reloads_that_change_what_canopy_is(scene):
    """On, off, on again, another limit, no limit: with a request over each change."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=drain(200))
    for server_block, http in (("", ""), ("canopy on;", drain(100)), ("canopy on;", ""),
                               (LONG, drain(150) + "canopy_max_live 5;"), (LONG, drain(200))):
        held = hold(scene, nginx, upstream, 1)
        nginx.configure(server=server_block + proxied(upstream), http=http)
        gone = nginx.reload()
        held[0].close()
        nginx.await_gone(gone)
        assert scene.get(nginx, "/a").body == b"answered"


def test_a_bad_configuration_leaves_the_old_worker(scene):
    nginx = scene.nginx(LONG + "location / { return 200 $canopy_left_ms; }")
    before = nginx.workers()
    nginx.configure(server="canopy on; canopy_timeout_header 'a b'; location / { return 200; }")
    nginx.tell(signal.SIGHUP)
    eventually("nginx says so", lambda: "is no name of a header" in nginx.errors())
    assert nginx.workers() == before and scene.get(nginx, "/").status == 200
    # That line is an [emerg], and the only one.
    assert len(nginx.wrong()) == 1, nginx.wrong()
    nginx.forgive()


def test_times_that_are_none_in_nanoseconds_are_refused(scene):
    nginx = scene.nginx(LONG + "location / { return 200 $canopy_left_ms; }")
    for name in ("timeout", "timeout_max", "call_timeout", "reserve", "least", "drain_timeout"):
        nginx.configure(**{"server": "", "http": "",
                           "http" if name == "drain_timeout" else "server": f"canopy_{name} 120000d;"})
        nginx.tell(signal.SIGHUP)
        eventually("nginx says so", lambda: f'"canopy_{name}" directive is too long' in nginx.errors())
    nginx.configure(server="canopy on; canopy_timeout 50000d; location / { return 200 $canopy_left_ms; }",
                    http="")
    nginx.reload()
    eventually("it is taken", lambda: int(scene.get(nginx, "/").body) > 600000)
    nginx.forgive()


def test_reloads_under_load(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied("kept"), workers=2, http=drain(2000) +
                        f"upstream kept {{ server {upstream}; keepalive 8; }}")
    stop, failed, answered = threading.Event(), [], []

    def load():
        while not stop.is_set():
            try:
                with client.Connection(nginx.port) as one:
                    for _ in range(5):
                        found = one.get("/a")
                        if found is None:
                            break  # nginx may close what idles in a worker that leaves
                        answered.append(found.status)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    gone = set()
    for number in range(5):
        gone |= nginx.reload()
        eventually("more answers", lambda: len(answered) > 50 * (number + 1))
    stop.set()
    for thread in threads:
        thread.join()
    nginx.await_gone(gone)
    assert set(answered) == {200} and not failed, (set(answered), failed[:5])
    found = nginx.totals()
    assert found["requests"] == len(nginx.log()) and found["drained"] == 0, found


def test_a_binary_upgrade(scene):
    """USR2, then QUIT to the old one: it ends what it has, the new one is untouched."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), daemon="on", http=drain())
    held = hold(scene, nginx, upstream)
    old, workers = nginx.pid(), nginx.workers()
    nginx.tell(signal.SIGUSR2)
    eventually("a new master", lambda: nginx.is_running() and nginx.pid() != old and nginx.workers())
    os.kill(old, signal.SIGWINCH)
    assert [one.response().status for one in held] == [503] * 3
    nginx.await_gone(workers)
    os.kill(old, signal.SIGQUIT)
    nginx.await_gone([old])
    young = hold(scene, nginx, upstream, 2)
    assert scene.get(nginx, "/a").body == b"answered"
    assert nginx.totals()["live"] == 2
    for one in young:
        one.close()


def test_an_upgrade_that_is_taken_back(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), daemon="on")
    old = nginx.pid()
    nginx.tell(signal.SIGUSR2)
    eventually("a new master", lambda: nginx.is_running() and nginx.pid() != old and nginx.workers())
    new = nginx.pid()
    held = hold(scene, nginx, upstream, 4)
    os.kill(new, signal.SIGTERM)
    nginx.await_gone([new])
    eventually("the old one again", lambda: nginx.is_running() and nginx.pid() == old)
    for one in held:
        one.close()
    assert scene.get(nginx, "/a").body == b"answered"


def test_a_worker_that_is_killed_leaves_no_slot(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), main="worker_shutdown_timeout 600s;")
    for _ in range(5):
        held = hold(scene, nginx, upstream)
        worker = nginx.workers()
        os.kill(worker[0], signal.SIGKILL)
        eventually("another worker", lambda: nginx.workers() and nginx.workers() != worker)
        eventually("no context", lambda: nginx.totals()["live"] == 0)
        for one in held:
            assert one.response() is None
        assert scene.get(nginx, "/a").body == b"answered"
    nginx.forgive()  # that a worker was killed stands in the log as an alert


def test_a_fast_end_with_requests_in_hand(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream))
    held = hold(scene, nginx, upstream, target="/never") + hold(scene, nginx, upstream, target="/half")
    nginx.tell(signal.SIGTERM)
    nginx.await_end()
    for one in held:
        one.close()


def test_many_reloads_leave_no_slot_and_no_file(scene):
    """More of them than any table of slots would have room for by accident."""
    nginx = scene.nginx(LONG + "location / { return 200; }", workers=2)
    master = pathlib.Path(f"/proc/{nginx.pid()}/fd")
    before, asked = None, 0
    for number in range(40):
        gone = nginx.reload()
        nginx.await_gone(gone)
        assert scene.get(nginx, "/").status == 200
        asked += 1
        if number == 4:
            before = len(list(master.iterdir()))
    assert len(list(master.iterdir())) <= before
    found = nginx.totals()
    assert found["requests"] == asked and found["live"] == 0, found
