# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven over its debugging pipe."""
import base64
import json
import os
import select
import shutil
import subprocess
import time

from wire import wait_for

ARGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-extensions", "--disable-default-apps", "--no-first-run", "--no-proxy-server",
        "--hide-scrollbars", "--remote-debugging-pipe"]


def found():
    return shutil.which("chromium")


class Browser:
    """One page. Messages are JSON that ends with a zero byte, on file descriptors 3 and 4."""

    def __init__(self, folder):
        theirs_in, self.out = os.pipe()
        self.inp, theirs_out = os.pipe()
        argv = [found(), *ARGS, "--user-data-dir=" + folder, "about:blank"]
        # Pipes may be 3 or 4 already: sh puts them there, whatever they are.
        script = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        if {theirs_in, theirs_out} & {3, 4}:
            theirs_in, theirs_out = (os.dup2(fd, fd + 100) for fd in (theirs_in, theirs_out))
            script = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        with open(os.path.join(folder, "log"), "wb") as log:
            self.process = subprocess.Popen(["/bin/bash", "-c", script, "browser", *argv],
                                            pass_fds=(theirs_in, theirs_out),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        self.buf, self.last_id, self.session, self.said = b"", 0, None, []
        target, *_ = wait_for(self.pages)
        self.session = self.ask("Target.attachToTarget", targetId=target["targetId"],
                                flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(domain + ".enable")

    def pages(self):
        return [t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]

    def close(self):
        self.session = None
        try:
            self.ask("Browser.close")
        except (OSError, EOFError, TimeoutError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self.inp)
        os.close(self.out)

    def message(self, deadline):
        while b"\0" not in self.buf:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.inp], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self.inp, 1 << 20)
            if not more:
                raise EOFError("the browser has ended")
            self.buf += more
        text, _, self.buf = self.buf.partition(b"\0")
        return json.loads(text)

    def ask(self, method, **params):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            m = self.message(deadline)
            if m.get("id") == self.last_id:
                if "error" in m:
                    raise RuntimeError(f"{method}: {m['error']}")
                return m["result"]
            if m.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(m["params"])

    def open(self, url, width=1920, height=1080, dark=False):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page."""
        r = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in r:
            raise RuntimeError(r["exceptionDetails"])
        return r["result"].get("value")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText")

    def wait_text(self, selector, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in (self.text(selector) or ""):
            if time.monotonic() > deadline:
                raise AssertionError(f"{selector} says {self.text(selector)!r}, not {text!r}")
            time.sleep(0.1)

    def screenshot(self, path, whole=False):
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as f:
            f.write(base64.b64decode(data["data"]))
