# SPDX-License-Identifier: Apache-2.0
"""nvmegw as people and scripts use it."""
import json
import os
import pty
import re
import socket
import subprocess
import threading
import unittest

from stack import (BACK_NQN, GW_NQN, StackTest, binary, file_upstream, free_ports, listener,
                   tcp_upstream)
from wire import wait_for


class Cli(StackTest):
    def on_terminal(self, *args, **env):
        """Its output when stdout is a terminal."""
        ours, its = pty.openpty()
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), *args]
        clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        with subprocess.Popen(argv, stdout=its, env=dict(clean, **env)) as p:
            os.close(its)
            out = b""
            while True:
                try:
                    out += os.read(ours, 65536)
                except OSError:  # the other end has been closed
                    break
        os.close(ours)
        self.assertEqual(p.returncode, 0)
        return out.decode()

    def fake_daemon(self, answer):
        """Says one thing to whoever asks, and hangs up."""
        server = socket.socket(socket.AF_UNIX)
        server.bind(self.p.path("gateway.sock"))
        server.listen()

        def serve():
            s, _ = server.accept()
            s.recv(65536)
            s.sendall(answer)
            s.close()

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(server.close)
        self.addCleanup(thread.join)

    def one_path(self):
        port = free_ports(1)[0]
        self.back_end("gateway", port)
        wait_for(lambda: self.usable() == 1)

    def test_help_at_every_level(self):
        for words in ([], ["path"], ["path", "show"], ["status"], ["path", "show", "a/1"]):
            out = self.cli(*words, "--help")
            self.assertTrue(out.stdout.startswith("usage: nvmegw"), out.stdout)
            self.assertEqual(out.stderr, "")
        self.assertNotIn("controller list", self.cli("path", "--help").stdout)
        self.assertIn("controller list", self.cli("nonsense", "--help").stdout)
        self.assertIn("nvmegw", self.cli("--version").stdout)

    def test_wrong_usage(self):
        for words, part in (([], "missing"), (["path"], "path list"), (["frobnicate"], "status"),
                            (["path", "list", "x"], "\"x\""), (["path", "show"], "which path"),
                            (["-o", "xml", "status"], "xml"), (["--nope"], "--help"),
                            (["status", "--subsystem", "q"], "--subsystem")):
            out = self.cli(*words, check=False)
            self.assertEqual((out.returncode, out.stdout), (2, ""), words)
            self.assertIn(part, out.stderr)

    def test_no_daemon(self):
        out = self.cli("status", check=False)
        self.assertEqual(out.returncode, 3)
        self.assertIn("gateway.sock", out.stderr)
        self.assertIn("nvmegwd running?", out.stderr)
        out = self.cli("-s", "x" * 200, "status", check=False)
        self.assertEqual(out.returncode, 3)

    def test_odd_daemons(self):
        for answer, status, part in ((b"", 3, "hung up"), (b"nonsense\n", 3, "JSON"),
                                     (b"{}\n", 1, "without a result"),
                                     (b'{"error":{"message":"no cake today"}}\n', 1, "cake")):
            self.fake_daemon(answer)
            out = self.cli("status", check=False)
            self.assertEqual(out.returncode, status, out.stderr)
            self.assertIn(part, out.stderr)
            os.unlink(self.p.path("gateway.sock"))

    def test_options_before_or_after(self):
        self.one_path()
        first = self.cli("-o", "json", "path", "list").stdout
        last = self.cli("path", "list", "-o", "json").stdout
        self.assertEqual(json.loads(first)[0]["path"], json.loads(last)[0]["path"])

    def test_colours(self):
        self.one_path()
        self.assertIn("\033[32musable\033[0m", self.on_terminal("path", "list"))
        self.assertNotIn("\033", self.on_terminal("path", "list", NO_COLOR="1"))
        self.assertNotIn("\033", self.cli("path", "list").stdout)
        self.cli("path", "disable", "disk.img/1")
        self.assertIn("\033[31mdisabled\033[0m", self.on_terminal("path", "list"))

    def test_table_is_aligned(self):
        self.one_path()
        lines = self.cli("path", "list").stdout.splitlines()
        self.assertTrue(lines[0].startswith("PATH"))
        self.assertTrue(lines[0].endswith("REASON"))
        self.assertNotIn("SUBSYSTEM", lines[0])
        self.assertEqual(lines[0].index("STATE"), lines[1].index("usable"))
        self.assertEqual([l for l in lines if l != l.rstrip()], [])
        self.assertRegex(lines[1], r"\d+ s ago$")

    def test_full_disk(self):
        self.one_path()
        with open("/dev/full", "w", encoding="ascii") as full:
            argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "path", "list"]
            out = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(out.returncode, 1)
        self.assertIn(b"No space left", out.stderr)

    def test_admin_state(self):
        self.one_path()
        out = self.cli("path", "disable", "disk.img/1").stdout
        self.assertIn("path disk.img/1 is disabled", out)
        self.assertIn("no usable path", out)
        path = self.show("path", "show", "disk.img/1")
        self.assertEqual((path["admin"], path["usable"]), ("disabled", False))
        self.assertIn("disabled", path["reason"])
        self.assertEqual(self.cli("path", "enable", "disk.img/1").stdout,
                         "path disk.img/1 is enabled and usable\n")

    def test_paths_of_discovery(self):
        ports = free_ports(2)
        self.back_end("back", ports[0])
        self.gateway(ports[1], [{"name": "found", "transport": "tcp", "traddr": "127.0.0.1",
                                 "trsvcid": ports[0], "discovery": True,
                                 "reconnect_delay": 0.3}])
        wait_for(lambda: self.usable() == 1)
        source, path = sorted(self.paths(), key=lambda p: p["usable"])
        self.assertEqual((source["path"], source["nsid"], source["discovery"]),
                         ("found", None, True))
        self.assertEqual(path["named_by"], "found")
        shown = self.show("path", "show", path["path"])
        self.assertEqual(shown["upstream_nqn"], BACK_NQN)

    def test_the_same_name_twice(self):
        ports = free_ports(2)
        other = GW_NQN + ":2"
        self.daemon("gateway", {"listeners": [listener(ports[0])], "subsystems": [
            {"nqn": GW_NQN, "upstreams": [file_upstream(self.p.path("a.img"), name="x")]},
            {"nqn": other, "upstreams": [file_upstream(self.p.path("b.img"), name="x")]}]})
        wait_for(lambda: self.usable() == 2)
        out = self.cli("path", "disable", "x/1", check=False)
        self.assertEqual(out.returncode, 1)
        self.assertIn("--subsystem", out.stderr)
        self.cli("path", "disable", "x/1", "--subsystem", other)
        self.assertEqual({p["subsystem"]: p["usable"] for p in self.paths()},
                         {GW_NQN: True, other: False})
        self.assertIn("SUBSYSTEM", self.cli("path", "list").stdout)
        self.assertEqual(len(self.show("namespace", "list", "--subsystem", other)), 1)
        self.assertTrue(re.search(r"\b1/1\b.*\n.*\b0/1\b", self.cli("status").stdout))

    def test_socket_of_a_killed_daemon(self):
        port = free_ports(1)[0]
        gw = self.back_end("gateway", port)
        self.p.kill(gw)
        self.assertEqual(self.cli("status", check=False).returncode, 3)
        self.back_end("gateway", port)
        self.assertEqual(self.show("status")["pid"], self.p.running[-1].pid)


if __name__ == "__main__":
    unittest.main()
