"""A request that wanders, and the requests below it: one context for all of them."""

import time

from bounds import soon
from scenarios.deadlines import by_target, proxied
import upstream as up

SHORT = "canopy on; canopy_timeout {}ms;"
LONG = "canopy on; canopy_timeout_header grpc-timeout; canopy_timeout 600s;"


def short(some=300):
    return SHORT.format(soon(some))


def page(nginx, name, text):
    (nginx.prefix / "html" / name).write_text(text)


def test_an_error_page_of_nginx_itself(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(short() + proxied(upstream, "error_page 504 =503 /late;") +
                        "location /late { return 503 late; }")
    found = scene.get(nginx, "/")
    assert found.status == 503 and found.body == b"late", found
    upstream.await_left()


def test_an_error_page_in_a_file(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(short() + proxied(upstream, "error_page 504 /late.html;") +
                        "location = /late.html { internal; root html; }")
    page(nginx, "late.html", "late\n")
    found = scene.get(nginx, "/")
    assert found.status == 504 and found.body == b"late\n", found


def test_an_error_page_in_a_named_location(scene):
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(short() + proxied(upstream, "error_page 504 = @late;") +
                        "location @late { return 200 '$canopy_cause'; }")
    found = scene.get(nginx, "/")
    assert found.status == 200 and b"deadline" in found.body.lower(), found


def test_an_error_page_of_an_upstream_ends(scene):
    """It has a context of its own, with the time-out of its location."""
    upstream = scene.upstream(up.never)
    nginx = scene.nginx(short() + proxied(upstream, "error_page 504 = @late;") +
                        f"location @late {{ proxy_pass http://{upstream}; }}")
    found = scene.get(nginx, "/")
    assert found is not None and found.status == 504, found
    assert len(upstream.requests) == 2, upstream.requests
    upstream.await_left(1)


def test_an_error_page_of_an_upstream_answers(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + proxied(upstream, "error_page 504 = @late;") +
                        f"location @late {{ proxy_pass http://{upstream}/late; }}"
                        .replace("/late; }", "; rewrite ^ /late break; }"))
    connection = scene.connect(nginx)
    for _ in range(3):
        assert connection.get("/never").body == b"answered"
        assert connection.get("/a").body == b"answered"


def test_upstream_errors_are_intercepted(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + "proxy_intercept_errors on; error_page 502 504 =200 /late;" +
                        proxied(upstream) + "location /late { return 200 late; }")
    for target in ("/closes", "/never", "/resets"):
        assert scene.get(nginx, target).body == b"late", target


def test_a_named_location_keeps_the_context(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + f"""
        location / {{ try_files /nothing @then; }}
        location @then {{ proxy_pass http://{upstream}; }}""")
    assert scene.get(nginx, "/never").status == 504
    upstream.await_left()
    assert nginx.totals()["requests"] == 1


def test_a_rewrite_keeps_the_context(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + "rewrite ^/old/(.*) /new/$1;"
                        "location / { rewrite ^/new/(.*) /newer/$1 last; }" +
                        proxied(upstream, "", "/newer"))
    assert scene.get(nginx, "/old/never").status == 504
    upstream.await_left()
    assert upstream.targets() == ["/newer/never"]
    assert nginx.totals()["requests"] == 1


def test_try_files_and_an_index_keep_the_context(scene):
    nginx = scene.nginx(LONG + """root html; index nothing.html /last;
        location / { try_files $uri $uri/ /last; }
        location /last { return 200 $canopy_left_ms; }""")
    (nginx.prefix / "html" / "folder").mkdir()
    for target in ("/a", "/folder/"):
        found = scene.get(nginx, target, headers=[("grpc-timeout", "60S")])
        assert 0 < int(found.body) <= 60000, found
    assert nginx.totals()["requests"] == 2


def test_an_accelerated_redirect_keeps_the_context(scene):
    def sends_on(line):
        if line.target == "/first":
            line.reply(200, b"", [("X-Accel-Redirect", "/inner/never")])
        else:
            by_target(line)

    upstream = scene.upstream(sends_on)
    nginx = scene.nginx(short() + proxied(upstream) + proxied(upstream, "internal;", "/inner"))
    assert scene.get(nginx, "/first").status == 504
    upstream.await_left(1)
    assert upstream.targets() == ["/first", "/inner/never"]
    assert nginx.totals()["requests"] == 1


def test_an_accelerated_redirect_to_a_file(scene):
    upstream = scene.upstream(lambda line: line.reply(200, b"", [("X-Accel-Redirect", "/files/f")]))
    nginx = scene.nginx(LONG + proxied(upstream) + "location /files { internal; alias html; }")
    page(nginx, "f", "of a file")
    assert scene.get(nginx, "/").body == b"of a file"


def test_off_and_on_by_a_redirect(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(f"""location / {{ rewrite ^/go/(.*) /on/$1 last; return 200 off; }}
        location /on {{ canopy on; canopy_timeout {soon()}ms; proxy_pass http://{upstream}; }}
        location /on/off {{ rewrite ^ /off last; }}
        location /off {{ return 200 off; }}""")
    assert scene.get(nginx, "/").body == b"off"
    assert scene.get(nginx, "/go/never").status == 504
    assert scene.get(nginx, "/go/answers").body == b"answered"
    assert scene.get(nginx, "/on/off").body == b"off"


def test_the_request_for_leave_ends_with_its_request(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + proxied(upstream, "auth_request /leave/ok;", "/a") +
                        proxied(upstream, "auth_request /leave/never;", "/b") +
                        proxied(upstream, "internal;", "/leave"))
    assert scene.get(nginx, "/a").body == b"answered"
    assert scene.get(nginx, "/b").status == 504
    upstream.await_left(2)
    assert upstream.targets() == ["/leave/ok", "/a", "/leave/never"]


def test_a_request_that_has_leave_ends(scene):
    def leaves(line):
        if line.target.startswith("/leave"):
            line.reply(204)
        else:
            line.until_left()

    upstream = scene.upstream(leaves)
    nginx = scene.nginx(short() + proxied(upstream, "auth_request /leave;") +
                        proxied(upstream, "internal;", "/leave"))
    assert scene.get(nginx, "/a").status == 504
    upstream.await_left(1)


def included(names):
    return "".join(f'<!--#include virtual="/part/{name}" -->' for name in names)


def cut(found):
    return found is None or found.status == 504 or not found.whole


def test_included_parts_end_with_their_page(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + "location / { ssi on; root html; }" + proxied(upstream, "", "/part"))
    page(nginx, "well.html", "[" + included(["a", "b"]) + "]")
    assert scene.get(nginx, "/well.html").body == b"[answeredanswered]"
    for name, parts in (("first", ["never", "c"]), ("last", ["d", "never"]),
                        ("both", ["never", "never"]), ("half", ["half", "e"])):
        page(nginx, f"{name}.html", "[" + included(parts) + "]")
        found = scene.get(nginx, f"/{name}.html")
        assert cut(found), (name, found)
    for index, request in enumerate(upstream.requests):
        if request.target.rsplit("/", 1)[-1] in ("never", "half"):
            upstream.await_left(index)


def test_a_page_of_an_upstream_with_included_parts(scene):
    def pages(line):
        if line.target == "/page":
            line.reply(200, ("x" * 100 + included(["a", "never"])).encode(),
                       [("Content-Type", "text/html")])
        else:
            by_target(line)

    upstream = scene.upstream(pages)
    for buffering in ("on", "off"):
        nginx = scene.nginx(short() + f"proxy_buffering {buffering};" +
                            proxied("kept", "ssi on;") + proxied("kept", "", "/part"),
                            http=f"upstream kept {{ server {upstream}; keepalive 8; }}")
        connection = scene.connect(nginx)
        found = connection.get("/page")
        assert cut(found) and connection.is_over(found)
        assert scene.get(nginx, "/part/a").body == b"answered"
        nginx.quit()
    for index, request in enumerate(upstream.requests):
        if request.target.endswith("never"):
            upstream.await_left(index)


def test_parts_that_wait_for_each_other(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + "location / { ssi on; root html; }" + proxied(upstream, "", "/part"))
    page(nginx, "wait.html", '<!--#include virtual="/part/never" wait="yes" -->'
                             '<!--#include virtual="/part/a" set="kept" --><!--#echo var="kept" -->')
    assert cut(scene.get(nginx, "/wait.html"))
    upstream.await_left()


def test_parts_of_parts(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + "location / { ssi on; root html; }" + proxied(upstream, "", "/part"))
    page(nginx, "top.html", 'top <!--#include virtual="/middle.html" -->')
    page(nginx, "middle.html", 'middle <!--#include virtual="/below.html" -->')
    page(nginx, "below.html", "below " + included(["a", "never", "b"]))
    assert cut(scene.get(nginx, "/top.html"))


def test_what_is_added_before_and_behind_a_page(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + proxied(upstream, "", "/part") + """
        location /well { add_before_body /part/a; add_after_body /part/b; return 200 well;
            addition_types text/plain; }
        location /late { add_before_body /part/a; add_after_body /part/never;
            addition_types text/plain; return 200 late; }""")
    assert scene.get(nginx, "/well").status == 200
    assert cut(scene.get(nginx, "/late"))


def test_a_mirror_in_the_background(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short(1000) + proxied(upstream, "mirror /mirror;") +
                        f"location /mirror {{ internal; proxy_pass http://{upstream}/never; }}")
    assert scene.get(nginx, "/a").body == b"answered"
    bodies = sorted(request.target for request in upstream.await_requests(2))
    assert bodies == ["/a", "/never"]
    upstream.await_left([r.target for r in upstream.requests].index("/never"))


def test_a_mirror_goes_with_a_request_that_is_refused_another_try(scene):
    def late(line):
        if line.target == "/never":
            up.never(line)
        time.sleep(soon(1000) / 1000)
        up.closes(line)

    upstream = scene.upstream(late)
    nginx = scene.nginx(f"""canopy on; canopy_timeout 600s;
        location /mirror {{ internal; proxy_pass http://{upstream}/never; }}
        location / {{ mirror /mirror; canopy_timeout 300s; canopy_least {300000 - soon(500)}ms;
            proxy_pass http://two; }}""",
        http=f"upstream two {{ server {upstream}; server {upstream} backup; }}")
    assert scene.get(nginx, "/a").status == 504
    upstream.await_left([r.target for r in upstream.await_requests(2)].index("/never"))
    assert nginx.totals()["not_tried"] == 1


def test_an_action_after_the_request(scene):
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short() + proxied(upstream, "post_action /after;") +
                        f"location /after {{ internal; proxy_pass http://{upstream}/never; }}")
    assert scene.get(nginx, "/a").body == b"answered"
    assert scene.get(nginx, "/never").status == 504


def test_delayed_answers_of_echo(scene):
    if not any("echo" in str(path) for path in scene.paths.modules):
        raise scene.Skip("no module echo")
    nginx = scene.nginx(short() + "location / { echo_sleep 600; echo late; }"
                        "location /well { echo_sleep 0.01; echo well; }"
                        "location /cut { echo first; echo_flush; echo_sleep 600; echo late; }"
                        "location /both { echo_location /well; echo_location /; }")
    assert scene.get(nginx, "/well").body == b"well\n"
    assert scene.get(nginx, "/").status == 504
    assert cut(scene.get(nginx, "/cut"))
    assert cut(scene.get(nginx, "/both"))


def test_an_error_page_behind_a_body_that_is_gone(scene):
    """nginx closes the file of a body once it has the header of an answer."""
    upstream = scene.upstream(by_target)
    nginx = scene.nginx(short(1000) + "client_body_buffer_size 1k;" +
                        proxied(upstream, "error_page 504 = @late;") +
                        f"location @late {{ rewrite ^ /late break; proxy_pass http://{upstream}; }}")
    found = scene.get(nginx, "/head", method="POST", body=b"b" * 100_000)
    assert found is None or found.status in (200, 504), found
    found = scene.get(nginx, "/never", method="POST", body=b"b" * 100_000)
    assert found.body == b"answered", found
