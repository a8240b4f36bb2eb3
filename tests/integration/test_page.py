# SPDX-License-Identifier: Apache-2.0
"""The status page in a real browser. Screenshots are left in build/check/page-*.png."""
import os
import re
import struct
import tempfile
import unittest
import urllib.request
import zlib

from browser import Browser
from stack import GW_NQN, StackTest, file_upstream, free_ports, listener, procs, tcp_upstream
from wire import Host, wait_for


def colours(path):
    """How many different pixels a picture has; of 8 bits RGB or RGBA, as the browser writes it."""
    with open(path, "rb") as f:
        data = f.read()
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    assert depth == 8 and kind in (2, 6)
    at, packed = 8, b""
    while at < len(data):
        size, = struct.unpack_from(">I", data, at)
        if data[at + 4:at + 8] == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += 12 + size
    # What is the same as before or beside is near zero, whatever filter a line has.
    raw = zlib.decompress(packed)
    assert len(raw) == height * (1 + width * (3 if kind == 2 else 4))
    return len(set(raw))


class Page(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="nvmegw-browser-")
        cls.browser = Browser(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.folder.cleanup()

    def setUp(self):
        super().setUp()
        self.browser.said.clear()

    def tearDown(self):
        self.browser.ask("Page.navigate", url="about:blank")
        super().tearDown()

    def stack(self, **more):
        self.ports = free_ports(4)
        self.backs = [self.back_end("a", self.ports[0], 1), self.back_end("b", self.ports[1], 101)]
        self.http = self.ports[3]
        self.gateway(self.ports[2], [tcp_upstream(self.ports[0], "a"),
                                     tcp_upstream(self.ports[1], "b")],
                     policy="round-robin", config={"http": {"trsvcid": self.http}}, **more)
        wait_for(lambda: self.usable() == 2)

    def open(self, **how):
        self.browser.open(f"http://127.0.0.1:{self.http}/", **how)

    def picture(self, name):
        folder = os.path.join(procs.TOP, "build", "check")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"page-{os.path.basename(procs.BIN)}-{name}.png")
        self.browser.screenshot(path)
        self.assertGreater(colours(path), 30, path)

    def quiet(self):
        """No error, no violation of the policy."""
        self.assertEqual(self.browser.said, [])

    def ground(self):
        return self.browser.run("getComputedStyle(document.body).backgroundColor")

    def test_from_well_to_all_lost(self):
        self.stack(no_path_timeout=60)
        load = self.load(self.ports[2], "--rw", "mix", "--queues", 1, "--depth", 4, "--time", 300)
        b = self.browser
        self.open()
        b.wait_text("#word", "All well")
        b.wait_text("#say", "1 host, 1 namespace, 2 of 2 paths usable")
        b.wait_text("#now", "MB/s")
        b.wait_text(".path .lat", "s")
        wait_for(lambda: b.run("document.querySelectorAll('.links .flow').length") >= 3)
        self.assertIn("a/1", b.text("#picture"))
        self.assertIn("optimized", b.text(".path .state"))
        self.assertIn("127.0.0.1", b.text(".host"))
        self.picture("well-light")
        light = self.ground()
        self.open(dark=True)
        b.wait_text("#word", "All well")
        self.assertNotEqual(self.ground(), light)
        self.picture("well-dark")
        self.p.kill(self.backs[0])
        b.wait_text("#word", "Degraded")
        b.wait_text("#attention", "a/1 is down")
        self.assertEqual(b.text(".path[data-level=bad] .state"), "DOWN")
        self.assertEqual(b.run("document.querySelector('.path[data-level=bad] use').href.baseVal"),
                         "#bad")
        self.picture("degraded-dark")
        self.p.kill(self.backs[1])
        b.wait_text("#word", "No path left")
        b.wait_text("#attention", "Namespace 1 has no path")
        b.wait_text("#attention", "4 commands wait")
        self.assertIn("No path left", b.run("document.title"))
        self.quiet()

    def test_daemon_gone(self):
        self.stack()
        self.open()
        self.browser.wait_text("#word", "All well")
        self.end(next(p for p in self.p.running if p.name == "gateway"))
        self.browser.wait_text("#word", "No contact")
        self.assertIn("a/1", self.browser.text("#picture"))

    def test_narrow(self):
        """Nothing but tables is wider than the window."""
        self.stack()
        for width in (1920, 1280, 800, 400):
            self.open(width=width, height=1000)
            self.browser.wait_text("#word", "All well")
            self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width)
            self.assertEqual(self.browser.run(
                "[...document.querySelectorAll('.card')].filter((c) => "
                "c.scrollWidth > c.clientWidth).length"), 0, f"cut off at {width}")
            self.picture(f"{width}")
        self.quiet()

    def test_many(self):
        """Chips instead of cards; every path is there."""
        ports = free_ports(3)
        ups = [file_upstream(self.p.path(f"d{i}.img"), "1MiB",
                             uuid=f"0c7e6a52-93d1-4b57-8f0c-{i:012x}") for i in range(20)]
        for i in (0, 1):
            self.daemon(f"b{i}", {"workers": 1, "listeners": [listener(ports[i])], "subsystems": [
                {"nqn": "nqn.2014-08.org.example:back", "cntlid_min": 1 + 100 * i,
                 "cntlid_max": 100 + 100 * i, "upstreams": ups}]})
        self.http = ports[2]
        self.gateway(free_ports(1)[0], [tcp_upstream(ports[i], f"b{i}") for i in (0, 1)],
                     config={"http": {"trsvcid": self.http}})
        wait_for(lambda: self.usable() == 40)
        self.open()
        self.browser.wait_text("#say", "20 namespaces, 40 of 40 paths usable")
        self.assertEqual(self.browser.run("document.querySelectorAll('.dense .path').length"), 40)
        self.picture("many")
        self.quiet()

    def test_names_are_only_text(self):
        """A host may call itself anything."""
        self.stack()
        name = "nqn.2014-08.org.example:<img src=x onerror=alert(1)></td><script>x"
        host = Host(self.ports[2])
        self.addCleanup(host.sock.close)
        self.assertEqual(host.connect(GW_NQN, hostnqn=name)[0], 0)
        self.open()
        self.browser.wait_text("#tables", name)
        self.browser.wait_text(".host .small", name)
        self.assertEqual(self.browser.run("document.images.length"), 0)
        self.assertEqual(self.browser.run("document.scripts.length"), 1)
        self.quiet()

    def test_policy(self):
        """What the page must not do, the browser does not let it."""
        self.stack()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/", timeout=60) as r:
            policy, text = r.headers["Content-Security-Policy"], r.read().decode()
        self.assertNotIn("unsafe", policy)
        self.assertIn("default-src 'none'", policy)
        self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/)", text), [])
        self.assertEqual(re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\bon\w+=",
                                    text), [])
        self.open()
        self.browser.wait_text("#word", "All well")
        self.quiet()
        self.browser.run("document.body.append(Object.assign(document.createElement('script'), "
                         "{textContent: 'document.title = 1'}))")
        self.assertNotEqual(self.browser.run("document.title"), "1")


if __name__ == "__main__":
    unittest.main()
