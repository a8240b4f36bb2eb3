# SPDX-License-Identifier: Apache-2.0
"""nvmegw events: what is told, and how it ends."""
import fcntl
import json
import signal
import socket
import subprocess
import sys
import termios
import threading
import unittest

import schema
from stack import GW_NQN, StackTest, binary, free_ports, schemas, tcp_upstream
from wire import admin, wait_for


class Events(StackTest):
    def setUp(self):
        super().setUp()
        self.port, back = free_ports(2)
        self.back = self.back_end("back", back)
        self.gateway(self.port, [tcp_upstream(back, "a")])
        wait_for(lambda: self.usable() == 1)

    def watch(self, *args, **kwargs):
        """
        A subscriber; what it prints can be read without a limit of time, since one that does not go
        on is killed. Whoever wants what happens next asks for --last, and has missed nothing.
        """
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "events", *args]
        p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             **kwargs)
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        patience = threading.Timer(120, p.kill)
        patience.start()
        self.addCleanup(patience.cancel)
        return p

    @staticmethod
    def until(p, wanted):
        """Reads events as JSON until there is one of the type wanted."""
        of_schema = schemas()["events.subscribe"]["result"]["properties"]["events"]["items"]
        for line in p.stdout:
            event = json.loads(line)
            schema.check(of_schema, event)
            if event.get("type") == wanted:
                return event
        raise AssertionError(f"ended without {wanted}: {p.stderr.read()}")

    def ended(self, p, status, said=r"^nvmegw: listening for events\n$"):
        p.wait(60)
        self.assertEqual(p.returncode, status)
        err = p.stderr.read()
        self.assertRegex(err, said)

    def test_as_it_happens(self):
        p = self.watch("-o", "json", "--last", "4096")
        self.assertEqual(self.until(p, "daemon.start")["seq"], 1)
        self.until(p, "namespace.added")
        self.assertEqual(self.until(p, "path.up")["path"], "a/1")
        self.cli("path", "standby", "a/1")
        self.assertEqual(self.until(p, "path.admin")["admin"], "standby")
        with admin(self.port, GW_NQN):
            event = self.until(p, "host.connected")
            self.assertEqual(event["subsystem"], GW_NQN)
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.until(p, "host.disconnected")
        self.cli("upstream", "disconnect", "a")
        self.assertEqual(self.until(p, "upstream.state")["state"], "failed")
        self.cli("upstream", "connect", "a")
        self.assertEqual(self.until(p, "path.up")["path"], "a/1")
        self.end(self.back)
        self.assertEqual(self.until(p, "path.down")["path"], "a/1")
        p.send_signal(signal.SIGINT)
        self.ended(p, 0)

    def test_only_some(self):
        p = self.watch("-o", "json", "--last", "4096", "--type", "path.admin,policy")
        self.cli("path", "standby", "a/1")
        self.assertEqual(json.loads(p.stdout.readline())["type"], "path.admin")
        self.cli("policy", "set", "numa")
        self.assertEqual(json.loads(p.stdout.readline())["type"], "policy.set")
        out = self.cli("events", "--type", "path,nonsense", check=False)
        self.assertEqual((out.returncode, out.stdout), (1, ""))
        self.assertIn("types[1]", out.stderr)

    def test_tells_when_it_listens(self):
        """What happens after that is not missed; where the events go it does not tell."""
        for output in ("json", "csv", "table"):
            p = self.watch("-o", output, "--type", "path.admin")
            self.assertEqual(p.stderr.readline(), "nvmegw: listening for events\n")
            self.cli("path", "standby", "a/1")
            line = p.stdout.readline()
            if output == "csv":
                line = p.stdout.readline()
            self.assertIn("path.admin", line)
            p.terminate()
            self.ended(p, 0, "^$")

    def test_configuration(self):
        p = self.watch("-o", "json", "--last", "4096", "--type", "config")
        self.cli("config", "apply")
        event = self.until(p, "config.applied")
        self.assertEqual(event["changes"], 0)
        self.assertTrue(event["file"].endswith(".json"), event)
        broken = self.p.path("broken.json")
        with open(broken, "w", encoding="ascii") as f:
            f.write("{")
        self.assertNotEqual(self.cli("config", "apply", broken, check=False).returncode, 0)
        event = self.until(p, "config.refused")
        self.assertEqual(event["file"], broken)
        self.assertIn(broken + ":1", event["reason"])
        people = self.watch("--last", "2", "--type", "config")
        self.assertRegex(people.stdout.readline(), r"config\.applied +/.*\.json, 0 changes\n$")
        self.assertRegex(people.stdout.readline(), r"config\.refused +/.*broken\.json: .")

    def test_for_people(self):
        p = self.watch("--last", "100")
        line = p.stdout.readline()
        self.assertRegex(line, r"^\S+Z  daemon\.start +nvmegwd [0-9.]+\n$")
        line = next(line for line in p.stdout if "path.up" in line)
        self.assertIn("a/1 of namespace 1: optimized", line)
        p.terminate()
        self.ended(p, 0)

    def test_csv(self):
        p = self.watch("-o", "csv", "--last", "4096")
        self.assertTrue(p.stdout.readline().startswith("seq,time,type,path,subsystem,"))
        self.assertRegex(p.stdout.readline(), "^1,[^,]*Z,daemon.start,,,")
        p.terminate()
        self.ended(p, 0)

    def test_reader_has_had_enough(self):
        """A pipe that is closed ends it, before there is anything more to write."""
        p = self.watch("--last", "1")
        p.stdout.readline()
        p.stdout.close()
        self.ended(p, 0)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            out = subprocess.run([binary("nvmegw"), "-s", self.p.path("gateway.sock"), "events",
                                  "--last", "9"], stdout=full, stderr=subprocess.PIPE, text=True,
                                 check=False, timeout=60)
        self.assertEqual(out.returncode, 1)
        self.assertIn("No space left", out.stderr)

    def test_daemon_goes(self):
        p = self.watch("-o", "json", "--last", "1")
        p.stdout.readline()
        gateway = next(d for d in self.p.running if getattr(d, "daemon_name", "") == "gateway")
        self.end(gateway)
        self.until(p, "daemon.stop")
        p.stdout.read()
        self.ended(p, 3, "daemon at .*gateway.sock has gone")

    def talk(self, text):
        """Says it all and waits for one answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.p.path("gateway.sock"))
            s.sendall(text.encode())
            s.settimeout(120)
            s.recv(65536)

    def much_happens(self):
        """More than is kept (EVENTS_KEPT) and goes into sockets and pipes."""
        requests = "".join(json.dumps({"jsonrpc": "2.0", "method": "policy.set",
                                       "params": {"policy": "numa"}}) + "\n" for _ in range(10000))
        self.talk(requests + json.dumps({"jsonrpc": "2.0", "id": 1, "method": "version"}) + "\n")

    def test_interrupted_while_nobody_reads(self):
        """In the middle of writing to a full pipe."""
        p = self.watch("-o", "json", "--last", "1")
        p.stdout.readline()
        self.much_happens()

        looks = [0]

        def full():
            """Nothing more goes in; how much that is depends on the pieces that it came in."""
            count = fcntl.ioctl(p.stdout, termios.FIONREAD, bytes(4))
            looks.append(int.from_bytes(count, sys.byteorder))
            return looks[-1] == looks[-2] > 16384
        wait_for(full)
        p.send_signal(signal.SIGINT)
        self.ended(p, 0)

    def test_stopped_for_a_while(self):
        """A subscriber that takes nothing holds nobody up, and learns what it has lost."""
        p = self.watch("-o", "json", "--last", "1")
        p.stdout.readline()
        p.send_signal(signal.SIGSTOP)
        self.much_happens()
        p.send_signal(signal.SIGCONT)
        self.assertTrue(any("lost" in json.loads(line) for line in p.stdout))
        p.send_signal(signal.SIGINT)
        self.ended(p, 0)

    def test_no_daemon(self):
        out = self.cli("events", "-s", "/nowhere", check=False)
        self.assertEqual((out.returncode, out.stdout), (3, ""))
        for last in ("-1", "4097", "many"):
            out = self.cli("events", "--last", last, check=False)
            self.assertIn(out.returncode, (1, 2))
        out = self.cli("status", "--last", "3", check=False)
        self.assertEqual(out.returncode, 2)
        self.assertIn("--last", out.stderr)


if __name__ == "__main__":
    unittest.main()
