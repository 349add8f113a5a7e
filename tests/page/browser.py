"""A headless Chromium, spoken to by a pipe: no port, no driver, no profile that stays."""
import contextlib
import json
import os
import select
import subprocess
import time

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync",
           "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
           "--no-default-browser-check", "--hide-scrollbars", "--remote-debugging-pipe"]


class Failed(Exception):
    """The browser said no, or nothing in time."""


class Browser:
    """One tab of it. Everything that it tells of errors and requests is in `events`."""

    def __init__(self, read, write, patience_s):
        self.read, self.write, self.patience_s = read, write, patience_s
        self.pending, self.last, self.session, self.events = b"", 0, None, []

    def message(self, until):
        while b"\0" not in self.pending:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise Failed(f"no answer in {self.patience_s} s")
            part = os.read(self.read, 1 << 20)
            if not part:
                raise Failed("the browser has gone")
            self.pending += part
        text, self.pending = self.pending.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.patience_s
        while True:
            answer = self.message(until)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def open_tab(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def evaluate(self, script):
        """What an expression in the page comes to, promises waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script):
        """Waits until an expression is true."""
        end = time.monotonic() + self.patience_s
        while not self.evaluate(script):
            if time.monotonic() > end:
                raise Failed(f"never true: {script}")
            time.sleep(0.02)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name)

    def size(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)

    def media(self, media="", scheme="light"):
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": scheme}])


@contextlib.contextmanager
def browser(program, profile, patience_s):
    to_read, to_write = os.pipe(), os.pipe()  # the browser reads from 3 and writes to 4
    def its_ends():
        reads, writes = os.dup(to_read[0]), os.dup(to_write[1])
        os.dup2(reads, 3)
        os.dup2(writes, 4)
    process = subprocess.Popen([program, *OPTIONS, f"--user-data-dir={profile}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=its_ends,
                               env={**os.environ, "HOME": profile})
    os.close(to_read[0])
    os.close(to_write[1])
    tab = Browser(to_write[0], to_read[1], patience_s)
    try:
        tab.open_tab()
        yield tab
    finally:
        os.close(to_read[1])
        os.close(to_write[0])
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
