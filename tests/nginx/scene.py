"""What a scenario is given: servers to start, and the looks at what they leave behind."""

import contextlib
import pathlib
import ssl
import subprocess
import tempfile

import bounds
import client
import server
import upstream


class Skip(Exception):
    """What the scenario needs is not here."""


class Paths:
    """Of what is tested: nginx, the modules that it loads, where canopy is looked for first, and
    the command `canopy`."""

    def __init__(self, nginx, module, more=(), library=None, tool=None):
        self.nginx, self.tool = nginx, tool
        self.modules = [*more, module]
        self.environment = {"LD_LIBRARY_PATH": str(library)} if library else {}


class Scene:
    Skip = Skip

    def __init__(self, paths, wrapper):
        self.paths, self.wrapper = paths, wrapper
        self.servers, self.upstreams, self.clients = [], [], []
        self.directory = tempfile.TemporaryDirectory(prefix="canopy-nginx-")

    # ------------------------------------------------------------------- parts

    def upstream(self, script=upstream.answers, **more):
        made = upstream.Upstream(script, **more)
        self.upstreams.append(made)
        return made

    def nginx(self, server_block="", **blocks):
        made = server.Nginx(self.paths, self.wrapper, server=server_block, **blocks)
        self.servers.append(made)
        return made.start()

    def keep(self, made):
        """A client, to be closed at the end where the scenario does not do it."""
        self.clients.append(made)
        return made

    def connect(self, nginx, **more):
        return self.keep(client.Connection(nginx.port, **more))

    def get(self, nginx, target, **more):
        """One request on a connection of its own."""
        with client.Connection(nginx.port) as one:
            return one.get(target, **more)

    def certificate(self):
        """Of a server called localhost; the file has its key too."""
        path = pathlib.Path(self.directory.name) / "certificate.pem"
        if not path.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                            "/CN=localhost", "-keyout", path, "-out", f"{path}.crt"],
                           check=True, capture_output=True)
            with path.open("ab") as file:
                file.write(pathlib.Path(f"{path}.crt").read_bytes())
        return path

    def tls_server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate())
        return context

    def tls_client(self, *protocols):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    # ------------------------------------------------------------- what is left

    def settle(self):
        """
        That nothing is left: clients leave, contexts end, upstreams hang up what nginx
        keeps; then each worker has open what it had at first, and says nothing as it ends.
        """
        for one in self.clients:
            one.close()
        for nginx in self.servers:
            if nginx.is_running():
                self.await_no_contexts(nginx)
        for one in self.upstreams:
            one.stop()
        for nginx in self.servers:
            if nginx.is_running():
                self.await_no_files(nginx)
                nginx.quit()
        self.judge()

    @staticmethod
    def await_no_contexts(nginx):
        try:
            bounds.eventually("no context", lambda: nginx.totals()["live"] == 0)
        except AssertionError:
            raise AssertionError(f"contexts are left: {nginx.totals()}") from None

    @staticmethod
    def await_no_files(nginx):
        def more():
            return {pid: found for pid in nginx.workers()
                    if (found := server.open_files(pid) - nginx.baseline)}
        try:
            bounds.eventually("no file", lambda: not more())
        except AssertionError:
            left = more()
            raise AssertionError(f"files are left open: {left}, of the sockets "
                                 f"{[server.sockets(pid) for pid in left]}") from None

    def judge(self):
        wrong = [fault for one in self.upstreams for fault in one.faults]
        for nginx in self.servers:
            wrong += nginx.wrong()
            wrong += valgrind_errors(nginx.prefix)
        if wrong:
            raise AssertionError("\n".join(map(str, wrong)))

    def show(self):
        """For who wants to know why it failed."""
        for nginx in self.servers:
            print(f"--- {nginx.prefix}/error.log\n{nginx.errors()[-6000:]}", *nginx.wrong(), sep="\n")
            with contextlib.suppress(Exception):
                print(f"--- access.log\n" + "\n".join(map(str, nginx.log()[-50:])))
        for one in self.upstreams:
            print(f"--- upstream {one}: {one.requests[-50:]} {one.faults}")

    def clear(self):
        for nginx in self.servers:
            nginx.kill()
            nginx.remove()
        for one in self.upstreams:
            one.stop()
        self.directory.cleanup()


def valgrind_errors(prefix):
    found = []
    for path in sorted(prefix.glob("valgrind.*")):
        text = path.read_text(errors="replace")
        if "ERROR SUMMARY: 0 errors" not in text:
            found.append(f"valgrind:\n{text[:6000]}")
    return found
