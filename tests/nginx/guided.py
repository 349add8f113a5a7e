"""An nginx as the guide shows it: its configuration, with places and ports of the test's own."""

import json
import os
import pathlib
import subprocess
import sys

import server

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/examples"))
import documents

TEMPORARY = "".join(f" {kind}_temp_path {{prefix}}/temp/{kind};" for kind in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


class Guided(server.Nginx):
    """`upstreams`: the two that it has."""

    def __init__(self, paths, options, upstreams):
        super().__init__(paths, options)
        self.upstreams = upstreams

    def changes(self):
        """What stands there of a machine, and what is to stand there in its place."""
        return {"modules/ngx_http_canopy_module.so": self.paths.modules[-1],
                "/run/": f"{self.prefix}/", "/var/log/nginx/": f"{self.prefix}/",
                "listen 8080": f"listen 127.0.0.1:{self.port}",
                "http://127.0.0.1:8080": f"http://127.0.0.1:{self.port}",
                "127.0.0.1:8081": f"127.0.0.1:{self.ports['status_port']}",
                "127.0.0.1:9001": self.upstreams[0], "127.0.0.1:9002": self.upstreams[1],
                "http {\n": f"http {{ {TEMPORARY.format(prefix=self.prefix)}\n"}

    def changed(self, text):
        for this, that in self.changes().items():
            text = text.replace(this, str(that))
        return text

    def configuration(self):
        return self.changed((ROOT / "tools/examples/nginx.conf").read_text())

    def command(self, *more):
        user = "user root root;" if os.geteuid() == 0 else ""
        return super().command("-g", f"daemon off; {user}", *more)

    def page(self, target):
        return super().page("/canopy" + target)

    def is_alive(self):
        try:
            return self.page("").status == 200
        except OSError:
            return False

    def totals(self):
        return json.loads(self.page("?format=json").body)

    def type(self, line):
        """The lines that the guide shows, of which `line` is the first; what they print."""
        blocks = [block for document in documents.DOCUMENTS
                  for block in documents.SHELL.findall(documents.read(document))
                  if block.startswith(line + "\n")]
        assert len(blocks) == 1, f"{len(blocks)} blocks begin with: {line}"
        path = f"{self.paths.tool.parent}:{os.environ['PATH']}"
        done = subprocess.run(["sh", "-e", "-c", self.changed(blocks[0])], cwd=self.prefix,
                              env={**os.environ, "PATH": path},
                              stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        return done.stdout
