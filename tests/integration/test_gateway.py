# SPDX-License-Identifier: Apache-2.0
"""The gateway as its users see it: configuration, discovery, namespaces, the admin's tool."""
import json
import os
import signal
import socket
import struct
import subprocess
import time
import unittest

from stack import (BACK_NQN, GW_NQN, UUID, StackTest, binary, file_upstream, free_ports, listener,
                   tcp_upstream)
from wire import (C2H_DATA, CMD, DISCOVERY_NQN, Host, Proxy, admin, io_queue, pdu, sqe,
                  wait_for)

OTHER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


class Gateway(StackTest):
    def check_config(self, text):
        path = self.p.path("try.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return subprocess.run([binary("nvmegwd"), "-t", "-c", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60)

    def test_config_check(self):
        good = {"state_dir": self.p.path("s"), "listeners": [listener(4420)],
                "subsystems": [{"nqn": GW_NQN, "upstreams": [tcp_upstream(4421, "a")]}]}
        out = self.check_config(json.dumps(good))
        self.assertEqual(out.returncode, 0, out.stdout)
        self.assertFalse(os.path.exists(self.p.path("s")), "-t must not touch anything")
        bad = json.loads(json.dumps(good))
        bad["subsystems"][0]["upstreams"][0]["trsvcid"] = 70000
        bad["subsystems"][0]["colour"] = "blue"
        out = self.check_config(json.dumps(bad, indent=1))
        self.assertNotEqual(out.returncode, 0)
        self.assertRegex(out.stdout, r"try\.json:\d+: \$\.subsystems\[0\]\.upstreams\[0\]\.trsvcid")
        self.assertRegex(out.stdout, r"try\.json:\d+: \$\.subsystems\[0\]\.colour")
        out = self.check_config('{ "listeners": [ }')
        self.assertNotEqual(out.returncode, 0)
        self.assertRegex(out.stdout, r"try\.json:1")

    def test_one_namespace_of_four_paths(self):
        ports = free_ports(5)
        for n, name in enumerate("ab"):
            self.daemon(name, {
                "workers": 1, "listeners": [listener(ports[2 * n]), listener(ports[2 * n + 1])],
                "subsystems": [{"nqn": BACK_NQN, "cntlid_min": 1 + 100 * n,
                                "cntlid_max": 99 + 100 * n,
                                "upstreams": [file_upstream(self.p.path("disk.img"))]}]})
        self.gateway(ports[4], [tcp_upstream(ports[n], f"p{n}") for n in range(4)])
        wait_for(lambda: self.usable() == 4)
        namespaces = self.show("namespace", "list")
        self.assertEqual(len(namespaces), 1)
        self.assertEqual(namespaces[0]["uuid"], UUID)
        h = admin(ports[4], GW_NQN)
        status, data = h.identify(2)
        self.assertEqual((status, struct.unpack_from("<3I", data)), (0, (1, 0, 0)))
        status, data = h.identify(3, 1)
        self.assertIn(bytes.fromhex(UUID.replace("-", "")), data)
        h.sock.close()

    def test_nsids_are_stable(self):
        """Across a restart, also when only the later namespace is there at first."""
        ports = free_ports(3)
        self.back_end("a", ports[0])
        self.back_end("b", ports[1], upstream=file_upstream(self.p.path("b.img"), uuid=OTHER))
        ups = [tcp_upstream(ports[0], "a"),
               dict(tcp_upstream(ports[1], "b"))]
        gw = self.gateway(ports[2], ups[:1])
        wait_for(lambda: self.usable() == 1)
        self.end(gw)
        gw = self.gateway(ports[2], ups)
        wait_for(lambda: self.usable() == 2)
        before = {n["uuid"]: n["nsid"] for n in self.show("namespace", "list")}
        self.assertEqual(before, {UUID: 1, OTHER: 2})
        self.p.kill(gw)
        gw = self.gateway(ports[2], ups[1:])
        wait_for(lambda: self.usable() == 1)
        self.assertEqual(self.show("namespace", "list")[0]["nsid"], 2)

    def test_discovery_for_hosts(self):
        ports = free_ports(1)
        self.back_end("gateway", ports[0])
        h = Host(ports[0])
        self.assertEqual(h.connect(DISCOVERY_NQN)[0], 0)
        h.enable()
        status, data = h.log_page(0x70, 4096, nsid=0)
        self.assertEqual(status, 0)
        _, numrec, _ = struct.unpack_from("<QQH", data)
        entries = [data[1024 * (n + 1):1024 * (n + 2)] for n in range(numrec)]
        nvm = [e for e in entries if e[2] == 2]
        self.assertEqual(len(nvm), 1)
        self.assertEqual(nvm[0][0], 3)  # TCP
        self.assertEqual(nvm[0][256:512].rstrip(b"\0").decode(), BACK_NQN)
        self.assertEqual(nvm[0][32:64].strip(b" \0").decode(), str(ports[0]))
        self.assertEqual(nvm[0][512:768].strip(b" \0").decode(), "127.0.0.1")
        h.sock.close()

    def test_upstreams_by_discovery(self):
        ports = free_ports(3)
        self.daemon("back", {
            "workers": 1, "listeners": [listener(ports[0]), listener(ports[1])],
            "subsystems": [{"nqn": BACK_NQN, "upstreams": [
                file_upstream(self.p.path("disk.img"))]}]})
        self.gateway(ports[2], [{"name": "found", "transport": "tcp", "traddr": "127.0.0.1",
                                 "trsvcid": ports[0], "discovery": True,
                                 "reconnect_delay": 0.3}])
        wait_for(lambda: self.usable() == 2)
        self.assertEqual(len(self.show("namespace", "list")), 1)
        r = self.loaded(self.load(ports[2], "--rw", "mix", "--verify", "--size", "1m", "--time",
                                  "0.5"))
        self.assertEqual((r["errors"], r["verify_failures"]), (0, 0))

    def test_namespace_selection(self):
        ports = free_ports(3)
        self.back_end("a", ports[0])
        self.back_end("b", ports[1], upstream=file_upstream(self.p.path("b.img"), uuid=OTHER))
        self.gateway(ports[2], [tcp_upstream(ports[0], "a"), tcp_upstream(ports[1], "b")],
                     namespaces=[{"nsid": 7, "uuid": OTHER}])
        wait_for(lambda: self.usable() == 1)
        self.assertEqual([n["nsid"] for n in self.show("namespace", "list")], [7])

    def test_allowed_hosts(self):
        port = free_ports(1)[0]
        self.back_end("gateway", port, allowed_hosts=["nqn.2014-08.org.example:friend"])
        with Host(port) as h:
            status, _ = h.connect(BACK_NQN)
            self.assertEqual(status & 0x7FF, 0x184)  # Connect Invalid Host
        with Host(port) as h:
            self.assertEqual(h.connect(BACK_NQN, hostnqn="nqn.2014-08.org.example:friend")[0], 0)

    def test_size_mismatch_is_shown(self):
        ports = free_ports(3)
        self.back_end("a", ports[0], 1)
        self.back_end("b", ports[1], 101, file_upstream(self.p.path("b.img"), size="32MiB"))
        self.gateway(ports[2], [tcp_upstream(ports[0], "a")])
        wait_for(lambda: self.usable() == 1)
        self.end(next(p for p in self.p.running if p.name == "gateway"))
        self.gateway(ports[2], [tcp_upstream(ports[0], "a"), tcp_upstream(ports[1], "b")])
        # The first that is connected says which size it has.
        wait_for(lambda: self.usable() == 1 and any("size" in p["reason"] for p in self.paths()))
        self.assertEqual(len(self.show("namespace", "list")), 1)

    def test_late_upstream_raises_an_event(self):
        """A host learns of a namespace that appears while it is connected."""
        ports = free_ports(2)
        self.gateway(ports[1], [tcp_upstream(ports[0], "a")])
        h = admin(ports[1], GW_NQN)
        self.assertEqual(h.command(0x09, 7, cdw=(0x0B, 0x900, 0, 0, 0, 0))[1], 0)
        h.send(pdu(CMD, sqe(0x0C, 40)) + pdu(CMD, sqe(0x0C, 41)))
        self.assertEqual(struct.unpack_from("<I", h.identify(2)[1])[0], 0)
        self.back_end("back", ports[0])
        events = {h.response()[2] & 0xFFFFFF for _ in range(2)}
        self.assertEqual(events, {0x040002, 0x0C0302})  # namespace attribute, ANA change
        self.assertEqual(struct.unpack_from("<I", h.identify(2)[1])[0], 1)
        status, data = h.log_page(0x04, 4096)
        self.assertEqual((status, struct.unpack_from("<I", data)[0]), (0, 1))
        h.sock.close()

    def test_size_limits_pass_through(self):
        """Write Zeroes that an upstream bounds are bounded for hosts, over two gateways as well."""
        asked = []

        def bounded(answer):
            if answer[0] != C2H_DATA or len(answer) != 24 + 4096:
                return answer
            out = bytearray(answer)
            if answer[24 + 768:].startswith(BACK_NQN.encode()):
                asked.append("controller")
                out[24 + 520] &= ~8  # ONCS: no Write Zeroes but for ...
            elif asked == ["controller"]:
                asked.append("limits")
                out[24 + 1] = 2  # WZSL: ... up to 16 KiB
            return bytes(out)

        ports = free_ports(3)
        self.back_end("back", ports[0])
        proxy = Proxy(ports[0], bounded)
        self.addCleanup(proxy.close)
        self.gateway(ports[1], [tcp_upstream(proxy.port, "a")], name="inner")
        wait_for(lambda: self.usable("inner") == 1)
        self.gateway(ports[2], [tcp_upstream(ports[1], "inner", nqn=GW_NQN)])
        wait_for(lambda: self.usable() == 1)
        for port in ports[1:]:
            h = admin(port, GW_NQN)
            self.assertEqual(h.identify(1)[1][520] & 8, 0)
            self.assertEqual(h.identify(6)[1][:16], b"\0\2" + bytes(14))
            q = io_queue(port, GW_NQN, h.cntlid)
            for blocks, status in ((32, 0), (33, 2)):
                self.assertEqual(q.command(0x08, 1, 1, cdw=(0, 0, blocks - 1, 0, 0, 0))[1], status)
            q.sock.close()
            h.sock.close()

    def test_no_upstream_of_itself(self):
        port, = free_ports(1)
        self.gateway(port, [tcp_upstream(port, "me", nqn=GW_NQN)])
        wait_for(lambda: "this gateway itself" in self.paths()[0]["reason"])

    def test_unreachable_upstream_is_shown(self):
        ports = free_ports(2)
        self.gateway(ports[1], [tcp_upstream(ports[0], "a")])
        wait_for(lambda: "refused" in self.paths()[0]["reason"].lower())
        table = self.cli("path", "list").stdout
        self.assertIn("a", table)
        self.assertIn("refused", table.lower())

    def test_cli(self):
        ports = free_ports(2)
        self.back_end("back", ports[0])
        self.gateway(ports[1], [tcp_upstream(ports[0], "a")])
        wait_for(lambda: self.usable() == 1)
        h = admin(ports[1], GW_NQN)
        for words in (["status"], ["path", "list"], ["path", "show", "a/1"], ["namespace", "list"],
                      ["controller", "list"], ["version"], ["--help"], ["path", "--help"]):
            self.assertTrue(self.cli(*words).stdout.strip(), words)
            if "help" not in words[-1] and words != ["version"]:
                json.loads(self.cli("-o", "json", *words).stdout)
        hosts = self.show("controller", "list")
        self.assertEqual([c["hostnqn"] for c in hosts], ["nqn.2014-08.org.example:host"])
        self.assertEqual(hosts[0]["cntlid"], h.cntlid)
        h.sock.close()
        out = self.cli("path", "disable", "nowhere/1", check=False)
        self.assertEqual(out.returncode, 1)
        self.assertIn("nowhere/1", out.stderr)
        self.assertEqual(self.cli("path", "frobnicate", check=False).returncode, 2)
        self.end(next(p for p in self.p.running if p.name == "gateway"))
        out = self.cli("status", check=False)
        self.assertEqual(out.returncode, 3)

    def test_control_socket_survives_nonsense(self):
        port = free_ports(1)[0]
        self.back_end("gateway", port)
        for junk in (b"hello\n", b"{}\n", b"[1]\n", b'{"jsonrpc":"2.0","id":1,"method":5}\n',
                     b"\0\xff" * 500 + b"\n", b'{"a":' * 3000 + b"\n", b"x" * 200000):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            s.connect(self.p.path("gateway.sock"))
            try:
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
                s.recv(1 << 16)
            except OSError:
                pass
            s.close()
        self.assertTrue(self.show("status"))

    def test_second_daemon_is_refused(self):
        ports = free_ports(2)
        self.back_end("gateway", ports[0])
        with open(self.p.path("gateway.json"), encoding="utf-8") as f:
            config = json.load(f)
        config["listeners"][0]["trsvcid"] = ports[1]
        with open(self.p.path("twin.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        out = subprocess.run([binary("nvmegwd"), "-c", self.p.path("twin.json")], timeout=60,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertNotEqual(out.returncode, 0)
        self.assertTrue(self.show("status"))

    def test_ends_under_load(self):
        """SIGTERM in the middle of everything is a clean end."""
        ports = free_ports(2)
        self.back_end("back", ports[0])
        gw = self.gateway(ports[1], [tcp_upstream(ports[0], "a")])
        wait_for(lambda: self.usable() == 1)
        load = self.load(ports[1], "--rw", "mix", "--queues", 4, "--time", 300)
        self.goes_on()
        self.end(gw)
        load.send_signal(signal.SIGKILL)
        load.communicate()

    def test_hosts_come_and_go_under_path_changes(self):
        ports = free_ports(2)
        self.back_end("back", ports[0])
        proxy = Proxy(ports[0])
        self.addCleanup(proxy.close)
        self.gateway(ports[1], [tcp_upstream(proxy.port, "a")])
        wait_for(lambda: self.usable() == 1)
        for n in range(8):
            load = self.load(ports[1], "--rw", "mix", "--queues", 2, "--time", 20)
            time.sleep(0.4)
            proxy.reset()
            if n % 2:
                time.sleep(0.3)
            load.kill()
            load.communicate()
        wait_for(lambda: not self.show("controller", "list"))
        wait_for(lambda: self.usable() == 1)
        r = self.loaded(self.load(ports[1], "--rw", "mix", "--verify", "--size", "1m", "--time",
                                  "0.5"))
        self.assertEqual((r["errors"], r["verify_failures"]), (0, 0))


if __name__ == "__main__":
    unittest.main()
