"""An nginx of its own: a prefix in a directory that goes with it, ports that nobody else
has, started, told, looked into and stopped by its pid."""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bounds
import client

CONFIGURATION = """
daemon {daemon}; master_process on; worker_processes {workers};
{user}
{modules}
error_log {prefix}/error.log info;
pid {prefix}/nginx.pid;
lock_file {prefix}/lock;
working_directory {prefix};
{main}
events {{ worker_connections 2048; {events} }}
http {{
    client_body_temp_path {prefix}/temp/body;
    proxy_temp_path {prefix}/temp/proxy;
    fastcgi_temp_path {prefix}/temp/fastcgi;
    uwsgi_temp_path {prefix}/temp/uwsgi;
    scgi_temp_path {prefix}/temp/scgi;
    log_format told escape=json '{{"at": $msec, "target": "$request_uri", "status": $status,'
        ' "server": $server_port, "bytes": $bytes_sent, "took": $request_time{logged}}}';
    access_log {prefix}/access.log told;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    lingering_timeout 2s;
    {http}
    server {{
        listen 127.0.0.1:{status_port};
        canopy off;
        access_log off;
        location = /alive {{ return 204; }}
        location = /status {{ canopy_status; }}
        location = /json {{ canopy_status json; }}
        location = /prometheus {{ canopy_status prometheus; }}
        location = /html {{ canopy_status html; }}
    }}
    server {{
        listen 127.0.0.1:{port}{listen};
        {server}
    }}
}}
"""

# In the log of an nginx that nothing is wrong with, these do not stand.
WRONG = re.compile(r"^\S+ \S+ \[(?:alert|crit|emerg)\].*|.*exited on signal.*", re.MULTILINE)


def free_port():
    """Below those that the kernel gives to clients, so that none of them takes it first."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def exists(pid):
    """Whether it runs: who has ended and was not waited for does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def unix_sockets(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {line.split()[6] for line in lines}


def open_files(pid):
    """What a process has open, counted by kind; the channels between processes left out."""
    kinds = collections.Counter()
    channels = unix_sockets(pid)
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        inode = re.fullmatch(r"socket:\[(\d+)\]", target)
        if inode and inode[1] in channels:
            continue
        kinds["a socket" if inode else re.sub(r"^pipe:.*", "a pipe", target)] += 1
    return kinds


def sockets(pid):
    """Each of a process's TCP sockets as (from, to, state), as the kernel has them."""
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink(fd)))
    lines = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [(line[1], line[2], line[3]) for line in lines if line[9] in inodes]


class Nginx:
    def __init__(self, paths, options, **blocks):
        """`paths`: of nginx, of the module; `options`: valgrind's words, or none; `blocks`:
        what the configuration has in its places."""
        self.paths, self.wrapper = paths, options
        self.prefix = pathlib.Path(tempfile.mkdtemp(prefix="canopy-nginx-"))
        self.blocks = {"daemon": "off", "workers": 1, "main": "", "events": "", "http": "",
                       "server": "", "listen": "", "logged": "", "modules": "", "as_user": "root root",
                       **blocks}
        if "as_user" in blocks:
            self.prefix.chmod(0o711)
        self.ports = {}
        self.process = self.baseline = None
        self.forgiven = 0
        for directory in ("temp", "html"):
            (self.prefix / directory).mkdir()

    # ----------------------------------------------------------- configuration

    def configuration(self):
        modules = "".join(f"load_module {path};\n" for path in self.paths.modules)
        user = f"user {self.blocks['as_user']};" if os.geteuid() == 0 else ""
        fill = {"prefix": self.prefix, "user": user,
                **self.ports, **self.blocks, "modules": modules + self.blocks["modules"]}
        return CONFIGURATION.format(**fill).replace("OTHER_PORT", str(self.ports["other_port"]))

    def configure(self, **blocks):
        """Writes it anew, for the next reload."""
        self.blocks.update(blocks)
        (self.prefix / "nginx.conf").write_text(self.configuration())

    @property
    def port(self):
        return self.ports["port"]

    @property
    def is_daemon(self):
        return self.blocks["daemon"] == "on"

    # ------------------------------------------------------------ start and end

    def command(self, *more):
        return [*self.wrapper(self.prefix), self.paths.nginx, "-p", str(self.prefix),
                "-c", str(self.prefix / "nginx.conf"), "-e", str(self.prefix / "error.log"), *more]

    def start(self):
        for _ in range(5):  # as somebody may take a port between our look and its bind
            self.ports = {name: free_port() for name in ("port", "status_port", "other_port")}
            self.configure()
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.paths.environment},
                                            stdout=subprocess.DEVNULL,
                                            stderr=(self.prefix / "stderr").open("ab"))
            if self.await_start():
                return self
            (self.prefix / "error.log").write_text("")
        raise AssertionError(f"nginx does not start:\n{self.errors()}")

    def await_start(self):
        def answers():
            if self.process.poll() is not None and (self.process.returncode or not self.is_daemon):
                return "gone"
            return self.is_alive()

        if bounds.eventually("nginx starts", answers) == "gone":
            if "Address already in use" in self.errors():
                return False
            raise AssertionError(f"nginx does not start:\n{self.errors()}")
        self.baseline = self.idle_files()
        return True

    def is_alive(self):
        try:
            with client.Connection(self.ports["status_port"]) as one:
                found = one.get("/alive", headers=[("Connection", "close")])
                return found and found.status == 204
        except OSError:
            return False

    def idle_files(self):
        """Of the first worker, once the looks of our own at it are over."""
        seen = None
        for _ in range(100):
            found = open_files(bounds.eventually("a worker is there", self.workers)[0])
            if found == seen:
                return found
            seen = found
            time.sleep(0.02)
        raise AssertionError("a worker without work opens and closes")

    def errors(self):
        return "".join((self.prefix / name).read_text(errors="replace")
                       for name in ("stderr", "error.log") if (self.prefix / name).exists())

    def pid(self, ending=""):
        """Of the master in charge; 0 where there is none, as while one takes over."""
        try:
            pid = int((self.prefix / f"nginx.pid{ending}").read_text())
            return pid if exists(pid) else 0
        except (OSError, ValueError):
            return 0

    def workers(self):
        """Those that take connections, of the master that is in charge."""
        found = []
        for pid in children(self.pid() or "none"):
            try:
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if self.wrapper(self.prefix) or title.startswith(b"nginx: worker process\0"):
                found.append(pid)
        return found

    def tell(self, number):
        pid = self.pid()
        assert pid, "no nginx to tell"
        os.kill(pid, number)

    def quit(self):
        """Stops it as an operator does who lets requests end."""
        self.tell(signal.SIGQUIT)
        self.await_end()

    def is_running(self):
        if not self.is_daemon:
            return self.process.poll() is None
        return self.pid() != 0

    def await_end(self):
        if self.is_daemon:
            bounds.eventually("nginx ends", lambda: not self.is_running())
            return
        bounds.eventually("nginx ends", lambda: self.process.poll() is not None)
        if self.process.returncode != 0:
            raise AssertionError(f"nginx ended with {self.process.returncode}")

    def reload(self):
        """Until workers with the new configuration have the place of all others."""
        before = set(self.workers())
        self.tell(signal.SIGHUP)
        bounds.eventually("new workers", lambda: set(self.workers()) - before)
        return before

    def await_gone(self, pids):
        bounds.eventually("they end", lambda: not any(map(exists, pids)))

    def kill(self):
        """What is left of it, where a scenario failed in the middle."""
        if self.is_daemon:
            for pid in filter(None, (self.pid(), self.pid(".oldbin"))):
                os.kill(pid, signal.SIGTERM)
                self.await_gone([pid])
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(bounds.PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def remove(self):
        shutil.rmtree(self.prefix, ignore_errors=True)

    # -------------------------------------------------------------- looks at it

    def page(self, target):
        with client.Connection(self.ports["status_port"]) as one:
            return one.get(target, headers=[("Connection", "close")])

    def totals(self):
        found = self.page("/json")
        if found is None or found.status != 200:
            raise AssertionError(f"no status page: {found}")
        return json.loads(found.body)

    def log(self):
        """The requests that nginx says it had."""
        path = self.prefix / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def await_log(self, number):
        return bounds.eventually(f"{number} lines in the log of requests",
                                 lambda: len(self.log()) >= number and self.log())

    def ends(self):
        """What the module says of contexts that ended: (cause, the whole line)."""
        return re.findall(r"canopy: request ended: ([^,\n]+)(.*)", self.errors())

    def wrong(self):
        """What stands in the log of errors and must not."""
        return WRONG.findall(self.errors())[self.forgiven:]

    def forgive(self):
        """What stands there by now is what the scenario brought about."""
        self.forgiven += len(self.wrong())
