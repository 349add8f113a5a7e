"""What the guide shows to operators works, and what it tells of is there."""

import json
import re

from bounds import eventually, soon
from guided import ROOT, Guided
from inspected import lose_folder
import exposition
import upstream as up

GUIDE = (ROOT / "include/canopy/guide.md").read_text()


def guided(scene, *scripts):
    upstreams = [scene.upstream(script) for script in scripts]
    nginx = Guided(scene.paths, scene.wrapper, upstreams)
    scene.servers.append(nginx)
    return nginx.start(), upstreams


def by_target(line):
    (up.never if "slow" in line.target else up.answers)(line)


def requests(upstreams):
    return sorted((request for one in upstreams for request in one.requests),
                  key=lambda request: request.came)


def test_the_configuration_of_the_guide_works(scene):
    nginx, upstreams = guided(scene, by_target, by_target)
    assert scene.get(nginx, "/", headers=[("x-timeout-ms", "1")]).body == b"answered"
    assert 5000 < int(requests(upstreams)[0].header("x-timeout-ms")) <= 9980
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = [("grpc-timeout", "20S"), ("traceparent", trace), ("baggage", "user=alice")]
    assert scene.get(nginx, "/internal/", headers=headers).status == 200
    told = requests(upstreams)[1]
    assert re.fullmatch(r"1\d{6}u", told.header("grpc-timeout"))  # of the try's 2 s, less 20 ms
    assert told.header("traceparent")[:36] == trace[:36] != told.header("traceparent")
    assert told.header("baggage") == "user=alice"
    assert scene.get(nginx, "/internal/", headers=[("x-timeout-ms", "40")]).status == 504
    assert len(requests(upstreams)) == 2
    lines = eventually("three lines", lambda: len(
        text := (nginx.prefix / "access.log").read_text().splitlines()) == 3 and text)
    assert re.search(r'200 \d\.\d+ tries=1 left_ms=\d+ cause="-" trace=0af76519', lines[1]), lines
    assert re.search(r'504 .* tries=0 .* cause="too little time left to try"', lines[2]), lines


def test_a_slow_upstream_of_the_guide_is_left_for_the_next(scene):
    nginx, upstreams = guided(scene, up.never, up.answers)
    assert [scene.get(nginx, "/internal/", headers=[("grpc-timeout", "20S")]).status
            for _ in range(2)] == [200] * 2
    upstreams[0].await_left()


def test_lines_of_the_guide_can_be_typed(scene):
    nginx, upstreams = guided(scene, by_target, by_target)

    def type_block(line):
        return nginx.type(line)

    printed = type_block("curl -s -H 'grpc-timeout: 200m' http://127.0.0.1:8080/internal/slow")
    assert "504 Gateway Time-out" in printed and "</html>" in printed
    assert json.loads(printed.splitlines()[-1])["deadline"] == 1
    assert len(requests(upstreams)) == 1


def test_what_is_stuck_is_seen_as_the_guide_says(scene):
    if not scene.paths.tool.exists():
        raise scene.Skip("the command `canopy` is not built")
    nginx, upstreams = guided(scene, up.never, up.never)
    held = [scene.connect(nginx) for _ in range(2)]
    held[0].ask("/")
    held[1].ask("/internal/", headers=[("grpc-timeout", "20S")])
    eventually("both are with an upstream", lambda: len(requests(upstreams)) == 2)

    def type_block(line):
        return nginx.type(line)

    printed = type_block("for worker in /run/nginx.canopy/*; do")
    for name in ("requests", "/", "/internal/", "try"):
        assert f'"{name}"' in printed, printed
    assert printed.count('"nginx worker"') == len(nginx.workers())
    for one in held:
        one.close()


def columns(title):
    """The tables of a section of the chapter: the names in their first two cells."""
    section = GUIDE.split(f"\n### {title}\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (`.*)", section, re.MULTILINE)
    return [[re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")[:2]] for row in rows]


def test_the_guide_tells_of_all_totals(scene):
    nginx = scene.nginx("canopy on;")
    rows = columns("Totals")
    numbers = set(nginx.totals()) - {"canopy", "nginx", "host"}
    assert {name for names, _ in rows for name in names} == numbers
    text = nginx.page("/prometheus").body.decode()
    found = {re.sub(r"^nginx_canopy_", "", name) for name in exposition.samples(text)
             if not re.search(r"_(bucket|sum|count)\b|_info\b", name)} | {"lateness_seconds"}
    assert {name for _, names in rows for name in names} == found


def test_the_guide_tells_of_what_is_logged(scene):
    """Each line that it has, and each cause in them."""
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(f"""canopy on; canopy_timeout_header grpc-timeout;
        location / {{ proxy_pass http://{upstream}; }}
        location /late {{ canopy_timeout 1s; canopy_least 600s; proxy_pass http://{upstream}; }}""",
        http=f"canopy_max_live 1; canopy_drain_timeout {soon()}ms; canopy_inspect canopy;")
    lose_folder(nginx)

    def await_end():  # which may come after the answer has
        eventually("it is over", lambda: nginx.totals()["live"] == 0)

    for target, value in [("/", f"{soon()}m"), ("/late", "never")]:
        scene.get(nginx, target, headers=[("grpc-timeout", value)])
        await_end()
    for leaves in (True, False):
        one = scene.connect(nginx)
        one.ask("/")
        upstream.await_requests(2 + (not leaves))
        if leaves:
            scene.get(nginx, "/")
            one.close()
            await_end()
    nginx.quit()
    logged = nginx.errors()
    rows = columns("What clients get, and what logs say")
    lines = [names[0] for names, _ in rows if names[0].startswith("canopy: ")]
    causes = [names[0] for names, _ in rows if re.search(r"^[a-z ]+$", names[0])]
    assert len(lines) == 4 and len(causes) == 4, (lines, causes)
    for line in lines:
        pattern = re.escape(line).replace("CAUSE", f"(?:{'|'.join(causes)})")
        pattern = re.sub(r"\bN\b", r"\\d+", pattern)
        assert re.search(re.sub(r"NAME|ADDRESS|PATH", r"\\S+", pattern), logged), line
    for cause in causes:
        assert f"canopy: request ended: {cause}, " in logged, cause
