"""canopy_inspect: what a worker tells of its requests, and who may end them from outside."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import threading

from bounds import eventually, soon
from inspected import folder, lose_folder, worker, workers
from scenarios.deadlines import by_target, proxied
from scenarios.ends import drain, hold
import client
import upstream as up

LONG = "server_name orders; canopy on; canopy_timeout 600s;"
INSPECT = "canopy_inspect canopy{};".format
ECANCELED = -125


def ended_by(nginx, number):
    return eventually(f"{number} ends in the log", lambda: len(nginx.ends()) == number and
                      [cause for cause, _ in nginx.ends()])


def test_a_tree_shows_what_is_stuck(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream, "", "/a") + proxied(upstream, "", "/b") +
                        proxied(upstream, "canopy_call_timeout 500s;", "/try"), http=INSPECT(""))
    for target, number in (("/a/never", 2), ("/b/never", 1), ("/try/never", 1)):
        hold(scene, nginx, upstream, number, target)
    one = worker(nginx)
    assert [len(one.contexts(f"orders {name}")) for name in ("/a", "/b", "/try")] == [2, 1, 1]
    requests, = one.contexts("requests")
    request, = one.contexts("orders /try")
    assert request["parent"] == requests["id"] and request["children"] == 1, request
    tried, = one.contexts("try")
    assert tried["parent"] == request["id"], tried
    lines = one.told("tree").splitlines()
    depths = {name: len(line) - len(line.lstrip()) for line in lines
              for name in ("nginx worker", "requests", "orders /try", "try")
              if f'"{name}"' in line or f" {name} " in line}
    assert len(depths) == 4, lines


def test_an_operator_ends_one_request(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream, "", "/a") + proxied(upstream, "", "/b"),
                        http=INSPECT(" cancel"), logged=', "cause": "$canopy_cause"')
    held, = hold(scene, nginx, upstream, 1, "/a/never")
    other, = hold(scene, nginx, upstream, 1, "/b/never")
    one = worker(nginx)
    request, = one.contexts("orders /a")
    one.told(f"cancel {request['id']} stuck since three")
    upstream.await_left(0)
    assert held.rest() == b""
    line = nginx.await_log(1)[0]
    assert line["status"] == 499 and line["cause"] == "stuck since three", line
    assert ended_by(nginx, 1) == ["stuck since three"]
    found = nginx.totals()
    assert found["other"] == 1 and found["live"] == 1, found
    assert one.contexts("orders /b") and not upstream.requests[1].left.is_set()
    assert one.ask(f"cancel {request['id']}")[1] < 0  # it has ended, or is gone
    causes = json.loads(one.told("causes json"))["causes"]
    assert [cause["cancels"] for cause in causes if cause.get("cause") == "stuck since three"] == [1]
    other.close()


def test_the_end_of_a_try_is_the_next_ones_turn(scene):
    silent, talking = scene.upstream(up.never), scene.upstream()
    nginx = scene.nginx(LONG + proxied("both", "canopy_call_timeout 500s;"), http=INSPECT(" cancel") +
                        f"upstream both {{ server {silent}; server {talking} backup; }}")
    held, = hold(scene, nginx, silent, 1, "/")
    one = worker(nginx)
    tried, = one.contexts("try")
    one.told(f"cancel {tried['id']}")
    assert held.response().body == b"answered"
    silent.await_left()


def test_the_end_of_all_requests_is_not_that_of_the_next(scene):
    """Nor is the end of the worker's root."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=INSPECT(" cancel") + drain())
    one = worker(nginx)
    for name, ends in (("requests", True), ("requests", True), ("nginx worker", False)):
        held = hold(scene, nginx, upstream, 3)
        above = one.contexts(name)
        one.told(f"cancel {above[0]['id']}")
        if ends:
            assert [connection.rest() for connection in held] == [b""] * 3
        assert eventually("another is served", lambda: scene.get(nginx, "/a")).body == b"answered"
    assert nginx.totals()["live"] == 3
    nginx.quit()  # those are drained as ever
    assert nginx.ends()[-1][0] == "the worker has to leave", nginx.ends()


def test_nobody_ends_what_may_not_be_ended(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=INSPECT(""))
    hold(scene, nginx, upstream, 1)
    request, = worker(nginx).contexts("orders /")
    text, status = worker(nginx).ask(f"cancel {request['id']}")
    assert status == -1 and text.count("\n") == 1, (text, status)
    assert nginx.totals()["live"] == 1


def test_operators_race_with_everything(scene):
    """Who cancels by id races with deadlines, answers, clients that leave, and the drain."""
    upstream = scene.upstream(lambda line: up.never(line) if "never" in line.target else
                              up.answers(line))
    nginx = scene.nginx(f"server_name orders; canopy on; canopy_timeout {soon(40)}ms;" +
                        proxied(upstream, f"canopy_call_timeout {soon(30)}ms;"),
                        http=INSPECT(" cancel") + drain(100))
    one, over = worker(nginx), threading.Event()

    def cancel():
        while not over.is_set():
            for found in one.contexts("orders /") + one.contexts("try"):
                one.ask(f"cancel {found['id']} an operator")

    operators = [threading.Thread(target=cancel, daemon=True) for _ in range(2)]
    for operator in operators:
        operator.start()
    for index in range(150):
        connection = client.Connection(nginx.port)
        connection.ask("/never" if index % 3 else "/", headers=[("Connection", "close")])
        if index % 2:
            connection.rest()
        connection.close()
    over.set()
    for operator in operators:
        operator.join()
    eventually("no context", lambda: nginx.totals()["live"] == 0)
    assert nginx.totals()["requests"] == 150


# ------------------------------------------------------------------- the sockets

def test_each_worker_has_a_socket(scene):
    nginx = scene.nginx(LONG + "location / { return 200; }", http=INSPECT(""), workers=3)
    eventually("all listen", lambda: set(workers(nginx)) == set(nginx.workers()))
    for pid, one in workers(nginx).items():
        assert json.loads(one.told("top"))["pid"] == pid
        status = one.path.stat()
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(folder(nginx).stat().st_mode) == 0o700
    nginx.quit()
    assert list(folder(nginx).iterdir()) == []


def test_over_a_reload_old_and_new_are_there(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=INSPECT(" cancel"))
    worker(nginx)
    held = hold(scene, nginx, upstream, 2)
    old, = nginx.reload()
    assert eventually("both listen", lambda: old in workers(nginx) and len(workers(nginx)) == 2)
    request, other = workers(nginx)[old].contexts("orders /")
    workers(nginx)[old].told(f"cancel {request['id']}")
    assert [request["id"] for request in workers(nginx)[old].contexts("orders /")] == [other["id"]]
    for one in held:  # with the last one the old worker goes
        one.close()
    nginx.await_gone([old])
    assert set(workers(nginx)) == set(nginx.workers())
    nginx.configure(http="")
    nginx.await_gone(nginx.reload())
    assert workers(nginx) == {}


def test_what_a_killed_worker_leaves_is_removed(scene):
    nginx = scene.nginx(LONG + "location / { return 200; }", http=INSPECT(""))
    before = worker(nginx)
    pid = int(before.path.name)
    os.kill(pid, signal.SIGKILL)
    nginx.await_gone([pid])
    eventually("another worker listens", lambda: set(workers(nginx)) == set(nginx.workers())
               and pid not in workers(nginx))
    assert worker(nginx).told("stats")
    nginx.forgive()


def test_a_worker_that_is_stopped_at_once_takes_its_socket_along(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=INSPECT(" cancel"))
    worker(nginx)
    hold(scene, nginx, upstream, 2)
    nginx.tell(signal.SIGTERM)
    nginx.await_end()
    assert workers(nginx) == {}


def test_workers_have_no_more_rights_than_theirs(scene):
    """They listen as a user that is not root; that user and root are answered, others not."""
    if os.geteuid() != 0:
        raise scene.Skip("who is not root cannot be somebody else")
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(LONG + proxied(upstream), http=INSPECT(""), as_user="nobody nogroup")
    one = worker(nginx)
    assert one.path.owner() == folder(nginx).owner() == "nobody"
    assert one.told("stats")  # root

    def as_user(name):
        import pwd
        user = pwd.getpwnam(name)
        script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                  "s.sendall(b'stats\\n')\nprint(s.recv(65536))")
        return subprocess.run(["python3", "-c", script, str(one.path)], user=user.pw_uid,
                              group=user.pw_gid, extra_groups=[], capture_output=True, text=True)

    assert "live" in as_user("nobody").stdout
    refused = as_user("daemon")
    assert refused.returncode != 0 and "PermissionError" in refused.stderr, refused


# ---------------------------------------------------------------- configurations

def tested(nginx, **blocks):
    """What `nginx -t` says to a configuration, and its exit status."""
    nginx.configure(**blocks)
    done = subprocess.run([nginx.paths.nginx, "-t", "-p", str(nginx.prefix), "-c",
                           str(nginx.prefix / "nginx.conf")], capture_output=True, text=True,
                          env={**os.environ, **nginx.paths.environment}, timeout=60)
    return done.returncode, done.stderr


def test_bad_folders_are_told_of(scene):
    nginx = scene.nginx(LONG + "location / { return 200; }", http=INSPECT(" cancel"))
    worker(nginx)
    assert tested(nginx)[0] == 0  # beside one that runs, with its socket there
    (nginx.prefix / "taken").mkdir()
    (nginx.prefix / "taken/nginx.pid").write_text("1")
    (nginx.prefix / "file").write_text("")
    owner = (nginx.prefix / "taken").stat()
    for directive, message in [
            ("canopy_inspect;", "invalid number of arguments"),
            ("canopy_inspect canopy cancle;", 'takes a folder, and "cancel" or nothing'),
            ("canopy_inspect canopy; canopy_inspect other;", "is duplicate"),
            ('canopy_inspect "";', "needs the path of a folder"),
            (f"canopy_inspect /{'a' * 100};", "has too long a path for sockets"),
            ("canopy_inspect taken;", 'needs a folder of its own, and "nginx.pid" is in'),
            ("canopy_inspect file;", "Not a directory"),
            ("canopy_inspect none/below;", "No such file or directory"),
            ("canopy_inspect temp/body;", "the same path name")]:
        status, told = tested(nginx, http=directive)
        assert status != 0 and message in told, (directive, told)
    assert (nginx.prefix / "taken").stat().st_uid == owner.st_uid
    status, told = tested(nginx, http="", server="canopy_inspect canopy;")
    assert status != 0 and "not allowed here" in told, told
    nginx.configure(http=INSPECT(" cancel"), server=LONG)
    assert worker(nginx).told("stats")  # what runs goes on


def test_a_folder_that_cannot_be_had_stops_no_worker(scene):
    """It is the master that makes it; what happens to it later is told, and no more."""
    nginx = scene.nginx(LONG + "location / { return 200; }", http=INSPECT(""))
    lose_folder(nginx)
    assert scene.get(nginx, "/").status == 200


def test_off_nothing_is_there(scene):
    nginx = scene.nginx(LONG + "location / { return 200; }")
    pid, = nginx.workers()
    assert not folder(nginx).exists()
    tasks = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/comm")]
    assert not [task for task in tasks if "listen" in task], tasks
    nginx.configure(server="location / { return 200; }", http=INSPECT(""))  # no context anywhere
    nginx.await_gone(nginx.reload())
    assert scene.get(nginx, "/").status == 200 and workers(nginx) == {}
