# SPDX-License-Identifier: Apache-2.0
"""nvmegw as people and scripts use it."""
import csv
import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import termios
import threading
import unittest

from stack import (BACK_NQN, GW_NQN, PATIENT, UUID, StackTest, binary, file_upstream, free_ports,
                   listener, tcp_upstream)
from wire import Proxy, admin, wait_for


class Cli(StackTest):
    def on_terminal(self, *args, columns=0, **env):
        """Its output when stdout is a terminal, so wide."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
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
        self.ports = free_ports(1)
        self.back_end("gateway", self.ports[0])
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
                            (["status", "--subsystem", "q"], "--subsystem"),
                            (["path", "weight", "a/1"], "which weight"),
                            (["path", "weight", "a/1", "many"], "1 to 1000"),
                            (["path", "weight", "a/1", "2", "x"], "\"x\""),
                            (["path", "reset"], "which path"), (["policy", "set"], "round-robin"),
                            (["namespace", "show"], "namespace list"),
                            (["namespace", "show", "1.5"], "1.5"),
                            (["policy", "set", "numa", "--namespace", "x"], "namespace list"),
                            (["path", "list", "--namespace", "1"], "--namespace")):
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

    def csv(self, *args):
        """[header, rows]"""
        out = self.cli("-o", "csv", *args).stdout
        self.assertNotIn("\r", out)
        lines = list(csv.reader(out.splitlines(), strict=True))
        return lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]

    def test_csv(self):
        self.one_path()
        for words in (["path", "list"], ["path", "show", "disk.img/1"], ["namespace", "list"],
                      ["controller", "list"], ["version"], ["method", "list"], ["status"],
                      ["namespace", "show", "1"], ["path", "enable", "disk.img/1"]):
            header, rows = self.csv(*words)
            shown = self.show(*words)
            shown = shown["subsystems"] if words == ["status"] else shown
            shown = shown if isinstance(shown, list) else [shown]
            self.assertEqual(len(rows), len(shown), words)
            for row, o in zip(rows, shown):
                self.assertEqual([k for k in header if k in o],
                                 [k for k, v in o.items() if not self.nested(v)])
                for k in header:
                    if not re.search("seconds|bytes", k):
                        self.assertEqual(row[k], self.field(o.get(k)))

    @staticmethod
    def field(value):
        if isinstance(value, list):
            return " ".join(map(str, value))
        return {"None": "", "True": "true", "False": "false"}.get(str(value), str(value))

    @staticmethod
    def nested(value):
        return isinstance(value, dict) or (isinstance(value, list)
                                           and any(isinstance(v, dict) for v in value))

    def test_csv_of_nothing_has_a_header(self):
        port = free_ports(1)[0]
        self.gateway(port, [tcp_upstream(free_ports(1)[0], "a")])
        header, rows = self.csv("namespace", "list")
        self.assertEqual((header[0], rows), ("nsid", []))
        self.assertIn("uuid", header)

    def test_no_csv_of_a_document(self):
        self.one_path()
        out = self.cli("-o", "csv", "config", "show", check=False)
        self.assertEqual((out.returncode, out.stdout), (2, ""))
        self.assertIn("no CSV", out.stderr)

    def test_csv_quotes(self):
        """What peers call themselves, with all that CSV and terminals care about."""
        self.one_path()
        name = 'nqn.2014-08.org.example:a "b", c\x1b[31m'
        with admin(self.ports[0], BACK_NQN, hostnqn=name):
            out = self.cli("-o", "csv", "controller", "list").stdout
            self.assertIn('"nqn.2014-08.org.example:a ""b"", c?[31m"', out)
            _, rows = self.csv("controller", "list")
            self.assertEqual(rows[0]["hostnqn"], name.replace("\x1b", "?"))

    def test_logging(self):
        """What is asked for is logged from then on, and named."""
        self.one_path()
        self.assertEqual(self.cli("log", "show").stdout, "level  info\ndebug  none\n")
        self.assertEqual(self.show("log", "debug", "io,rpc")["debug"], ["io", "rpc"])
        self.cli("io", "read", "1", "0")
        wait_for(lambda: "debug: rpc: method io.read" in self.p.log_tail("gateway"))
        self.assertRegex(self.p.log_tail("gateway"), "debug: io: command 0: over disk.img/1")
        self.cli("log", "debug", "none")
        self.assertEqual(self.show("log", "level", "error"), {"level": "error", "debug": []})
        self.assertEqual(self.cli("log", "level", "loud", check=False).returncode, 1)
        self.assertEqual(self.cli("log", "debug", check=False).returncode, 2)
        out = subprocess.run([binary("nvmegwd"), "-c", "/nowhere", "-d", "tcp,nonsense"],
                             stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        self.assertEqual(out.returncode, 2)
        self.assertIn("nonsense", out.stderr)

    def test_colours(self):
        self.one_path()
        self.assertIn("\033[32moptimized\033[0m", self.on_terminal("path", "list"))
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
        self.assertEqual(lines[0].index("STATE"), lines[1].index("optimized"))
        self.assertEqual([l for l in lines if l != l.rstrip()], [])
        self.assertRegex(lines[1], r"\d+ s ago$")

    def test_fits_a_terminal(self):
        """A reason that does not goes on a line of its own, and only then."""
        self.one_path()
        self.cli("path", "disable", "disk.img/1")
        narrow = self.on_terminal("path", "list", columns=80, NO_COLOR="1").splitlines()
        self.assertEqual([len(narrow), narrow[2]], [3, "    disabled by the administrator"])
        self.assertNotIn("REASON", narrow[0])
        wide = self.on_terminal("path", "list", columns=200, NO_COLOR="1").splitlines()
        self.assertEqual(len(wide), 2)
        self.assertTrue(wide[1].endswith("ago  disabled by the administrator"), wide)
        for words in (["path", "list"], ["namespace", "list"], ["status"], ["path", "show",
                      "disk.img/1"], ["namespace", "show", "1"]):
            for line in self.on_terminal(*words, columns=120, NO_COLOR="1").splitlines():
                self.assertLessEqual(len(line), 120, line)

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
        table = self.cli("path", "list").stdout
        self.assertEqual(re.findall(r"^(nqn.*):$", table, re.M), [GW_NQN, other])
        self.assertNotIn("nqn", self.cli("path", "list", "--subsystem", other).stdout)
        self.assertEqual(len(self.show("namespace", "list", "--subsystem", other)), 1)
        for words in (["policy", "set", "numa"], ["policy", "set", "numa", "--namespace", "1"],
                      ["namespace", "show", "1"]):
            out = self.cli(*words, check=False)
            self.assertEqual(out.returncode, 1)
            self.assertIn("--subsystem", out.stderr)
        self.cli("policy", "set", "numa", "--subsystem", other)
        self.assertEqual({n["subsystem"]: n["policy"] for n in self.show("namespace", "list")},
                         {GW_NQN: "failover", other: "numa"})
        self.assertTrue(re.search(r"\b1/1\b.*\n.*\b0/1\b", self.cli("status").stdout))

    def test_socket_of_a_killed_daemon(self):
        port = free_ports(1)[0]
        gw = self.back_end("gateway", port)
        self.p.kill(gw)
        self.assertEqual(self.cli("status", check=False).returncode, 3)
        self.back_end("gateway", port)
        self.assertEqual(self.show("status")["pid"], self.p.running[-1].pid)


class Paths(StackTest):
    """What changes them, and what is shown of them, under I/O."""

    def two_paths(self, policy, keep_alive=PATIENT, **subsystem):
        """Paths a and b of one namespace, a through a proxy."""
        ports = free_ports(3)
        self.back_end("a", ports[0], 1)
        self.back_end("b", ports[1], 101)
        self.proxy = Proxy(ports[0])
        self.addCleanup(self.proxy.close)
        self.gateway(ports[2], [tcp_upstream(port, name, keep_alive_tmo=keep_alive)
                                for port, name in ((self.proxy.port, "a"), (ports[1], "b"))],
                     policy=policy, **subsystem)
        wait_for(lambda: self.usable() == 2)
        self.port = ports[2]

    def start(self, *args):
        """Load for as long as the test lasts; self.stop() ends it: its host saw nothing wrong."""
        return self.load(self.port, "--size", "8m", "--queues", 2, "--depth", 8, "--time", 300,
                         *args)

    def stop(self, load):
        load.terminate()
        result = self.loaded(load)
        self.assertEqual((result["errors"], result["retries"]), (0, 0), result)

    def counts(self):
        return {p["upstream"]: p["reads"] + p["writes"] for p in self.paths()}

    def shares(self, commands=2000):
        """Of the next commands: what part went over a."""
        before = self.counts()

        def done():
            now = self.counts()
            a, b = (now[u] - before[u] for u in "ab")
            return (a, b) if a + b >= commands else None

        a, b = wait_for(done)
        return a / (a + b)

    def path(self, name):
        return self.show("path", "show", name)

    def namespace(self):
        return self.show("namespace", "show", "1")

    def refused(self, part, *words):
        out = self.cli(*words, check=False)
        self.assertEqual((out.returncode, out.stdout), (1, ""))
        self.assertIn(part, out.stderr)

    def test_policy_under_io(self):
        self.two_paths("failover")
        load = self.start("--rw", "mix")
        self.assertEqual(self.shares(), 1)
        out = self.cli("policy", "set", "round-robin").stdout
        self.assertEqual(out, f"every namespace of {GW_NQN} has the policy round-robin\n")
        self.assertAlmostEqual(self.shares(), 0.5, delta=0.1)
        self.assertEqual(self.cli("policy", "set", "failover", "--namespace", "1").stdout,
                         f"namespace 1 of {GW_NQN} has the policy failover\n")
        self.assertAlmostEqual(self.shares(), 1, delta=0.02)
        self.assertEqual(self.namespace()["policy"], "failover")
        self.assertEqual(self.show("status")["subsystems"][0]["policy"], "round-robin")
        for policy in ("queue-depth", "service-time", "numa"):
            self.cli("policy", "set", policy)
            self.shares(500)
        self.stop(load)
        self.refused("queue-depth", "policy", "set", "best")
        self.refused("namespace list", "policy", "set", "numa", "--namespace", "5")
        self.refused("nvmegw status", "policy", "set", "numa", "--subsystem", "x")

    def test_standby_takes_io_only_alone(self):
        self.two_paths("round-robin")
        load = self.start("--rw", "mix")
        self.assertAlmostEqual(self.shares(), 0.5, delta=0.1)
        self.assertIn("only while no other", self.cli("path", "standby", "a/1").stdout)
        self.assertLess(self.shares(), 0.02)
        path = self.path("a/1")
        self.assertEqual((path["state"], path["admin"], path["usable"]),
                         ("standby", "standby", True))
        self.cli("path", "disable", "b/1")
        self.assertGreater(self.shares(), 0.98)
        self.cli("path", "enable", "b/1")
        self.assertLess(self.shares(), 0.02)
        self.cli("path", "enable", "a/1")
        self.assertAlmostEqual(self.shares(), 0.5, delta=0.1)
        self.stop(load)

    def test_weights_divide_io(self):
        self.two_paths("round-robin")
        load = self.start("--rw", "read")
        self.assertEqual(self.cli("path", "weight", "a/1", "4").stdout,
                         "path a/1 has the weight 4\n")
        self.assertAlmostEqual(self.shares(), 0.8, delta=0.05)
        self.cli("path", "weight", "b/1", "4")
        self.assertAlmostEqual(self.shares(), 0.5, delta=0.05)
        self.assertEqual(self.path("b/1")["weight"], 4)
        self.stop(load)
        self.cli("policy", "set", "failover")
        self.assertIn("does not use weights", self.cli("path", "weight", "a/1", "1000").stdout)
        self.refused("from 1 to 1000", "path", "weight", "a/1", "1001")
        self.refused("path list", "path", "weight", "c/1", "1")

    def lose(self, path="a/1"):
        losses = self.path(path)["losses"]
        self.proxy.reset()
        wait_for(lambda: self.path(path)["losses"] > losses)
        wait_for(lambda: self.usable() == 2)

    def test_flapping(self):
        """A path lost again and again is used last, says so, and is forgiven by a reset."""
        self.two_paths("failover", flap_hold=600)
        load = self.start("--rw", "read")
        for _ in range(3):
            self.assertEqual(self.path("a/1")["state"], "optimized")
            self.lose()
        path = self.path("a/1")
        self.assertEqual((path["state"], path["usable"], path["flaps"]), ("last", True, 3))
        self.assertIn("lost 3 times in a row", path["reason"])
        self.assertTrue(500 < path["damped_seconds"] <= 600, path)
        self.assertLess(self.shares(), 0.02)
        row = re.search("^a/1 .*$", self.cli("path", "list").stdout, re.M).group()
        self.assertRegex(row, r" last .*lost 3 times in a row; for \d+ min more$")
        self.assertRegex(self.cli("status").stdout, r"\na +127.*lost 3 times in a row")
        self.assertRegex(self.cli("path", "show", "a/1").stdout, r"flaps +3 in a row, used last")
        self.cli("path", "reset", "a/1")
        wait_for(lambda: self.path("a/1")["state"] == "optimized")
        path = self.path("a/1")
        self.assertEqual((path["reason"], path["flaps"], path["damped_seconds"], path["losses"]),
                         ("", 0, 0, 3))
        self.assertGreater(self.shares(), 0.98)
        self.stop(load)

    def test_reset_does_not_wait(self):
        self.two_paths("failover")
        self.cli("path", "reset", "b/1")
        self.assertEqual(self.usable(), 2)
        self.proxy.closed = True
        self.proxy.reset()
        wait_for(lambda: self.path("a/1")["state"] == "down")
        path = self.path("a/1")
        self.assertNotEqual(path["upstream_state"], "live")
        self.assertTrue(path["upstream_reason"])
        self.assertRegex(self.cli("status").stdout, r"\na +127\.")
        self.assertRegex(self.cli("path", "reset", "a/1").stdout,
                         r"^upstream a is waiting to reconnect: .")
        self.proxy.closed = False
        self.assertEqual(self.cli("path", "reset", "a/1").stdout,
                         "upstream a is connected anew\n")
        self.assertEqual(self.usable(), 2)
        self.assertNotIn("LOSSES", self.cli("status").stdout)

    def test_fences_are_shown(self):
        """
        From a reset under writes until the old controller cannot carry out any of them: by time,
        or at once when a new connection there can have it reset.
        """
        self.two_paths("failover", keep_alive=5)
        self.assertEqual(self.show("status")["quarantines"], [])
        load = self.start("--rw", "write", "--size", "1m")
        wait_for(lambda: self.counts()["a"] > 1000)
        self.proxy.silent = True  # so that writes are out for certain
        wait_for(lambda: self.path("a/1")["inflight"] == 16 or self.path("a/1")["losses"])
        self.proxy.silent, self.proxy.closed = False, True
        self.proxy.reset()
        wait_for(lambda: self.namespace()["fenced"])
        namespace = self.namespace()
        self.assertEqual(namespace["write_retry"], "fenced")
        self.assertGreater(namespace["fences"], 0)
        self.assertGreater(namespace["retried"], 0)
        status = self.show("status")
        self.assertGreater(status["subsystems"][0]["fences"], 0)
        lost = status["quarantines"][0]
        self.assertEqual((lost["upstream"], lost["writes_wait"]), ("a", True))
        self.assertTrue(0 < lost["seconds_left"] <= 15, lost)
        self.assertRegex(self.cli("status").stdout, r"LOST UPSTREAM.*\na +\d+ +\d+ s +yes\n")
        self.assertRegex(self.cli("namespace", "show", "1").stdout, r"writes fenced +\d+ now")
        self.proxy.closed = False
        wait_for(lambda: not self.show("status")["quarantines"])
        wait_for(lambda: self.namespace()["fences"] == 0)
        wait_for(lambda: self.namespace()["fenced"] == 0)
        self.assertGreaterEqual(self.namespace()["fenced_total"], namespace["fenced_total"])
        self.assertNotIn("LOST UPSTREAM", self.cli("status").stdout)
        self.stop(load)

    def test_all_that_is_known(self):
        self.two_paths("failover", persistent_loss=0.2, no_path_timeout=120)
        load = self.start("--rw", "mix", "--rate", 2000)
        wait_for(lambda: self.counts()["a"] > 500)
        path = self.path("a/1")
        self.assertEqual((path["uuid"], path["namespace_policy"], path["cntlid"]),
                         (UUID, "failover", 1))
        self.assertTrue(0 < path["p50_latency_us"] <= path["p99_latency_us"] <=
                        path["p999_latency_us"], path)
        self.assertGreater(path["average_latency_us"], 0)
        table = self.cli("path", "show", "a/1").stdout
        for part in (r"state +optimized\n", r"ANA state +optimized, group 1\n", f"UUID +{UUID}\n",
                     r"NQN +" + BACK_NQN, r"latency .* on average, 50% within .* 99\.9% within "):
            self.assertRegex(table, part)
        namespace = self.namespace()
        self.assertEqual([p["path"] for p in namespace["path_list"]], ["a/1", "b/1"])
        self.assertIsNone(namespace["without_path_seconds"])
        for path in ("a/1", "b/1"):
            self.cli("path", "disable", path)
        wait_for(lambda: self.namespace()["ana_state"] == "persistent-loss")
        wait_for(lambda: self.namespace()["held"])
        self.assertGreater(self.namespace()["without_path_seconds"], 0.1)
        table = self.cli("namespace", "show", "1").stdout
        self.assertRegex(table, r"paths +none of 2 usable, for ")
        self.assertRegex(table, r"held +[1-9]")
        self.assertRegex(table, r"\na/1 .* disabled by the administrator\n")
        self.cli("path", "enable", "b/1")
        wait_for(lambda: not self.namespace()["held"])
        self.stop(load)
        self.refused("namespace list", "namespace", "show", "2")


if __name__ == "__main__":
    unittest.main()
