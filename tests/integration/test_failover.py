# SPDX-License-Identifier: Apache-2.0
"""Paths die in every way under verified load: the host sees a pause, no error, and right data."""
import time
import unittest

from netns import Netns
from stack import BACK_NQN, GW_NQN, PATIENT, StackTest, file_upstream, free_ports, tcp_upstream
from wire import (CMD, R2T, Proxy, admin, io_queue, pdu, sgl_inline, sgl_transport, sqe,
                  wait_for)

READ, WRITE = 2, 1
PUT_OFF = 0x21  # Command Interrupted


class Failover(StackTest):
    def two_back_ends(self, policy="round-robin", keep_alive=2, **subsystem):
        """
        Back-ends a and b on one image, each behind a proxy, and the gateway in front. Like an array
        they do not hold commands that they cannot carry out.
        """
        self.ports = free_ports(3)
        self.back = {"a": self.back_end("a", self.ports[0], 1, no_path_timeout=0),
                     "b": self.back_end("b", self.ports[1], 101, no_path_timeout=0)}
        self.proxy = {"a": Proxy(self.ports[0]), "b": Proxy(self.ports[1])}
        for proxy in self.proxy.values():
            self.addCleanup(proxy.close)
        self.gw = self.gateway(
            self.ports[2], [tcp_upstream(proxy.port, name, keep_alive_tmo=keep_alive)
                            for name, proxy in self.proxy.items()], policy=policy, **subsystem)
        wait_for(lambda: self.usable() == 2)

    def mixed(self, *more, commands=500):
        """Verified load that goes on until clean(); there has been some already."""
        load = self.verified(self.ports[2], "--queues", 2, "--depth", 16, "--size", "8m",
                             "--time", 300, *more)
        self.goes_on(commands)
        return load

    def clean(self, load, expect_retries=None):
        """I/O goes on, and nothing was wrong with any of it."""
        self.goes_on(100)
        load.terminate()
        r = self.loaded(load)
        self.assertEqual(r["errors"], 0, r)
        self.assertEqual(r["verify_failures"], 0, r)
        self.assertEqual(r["unfinished"], 0, r)
        self.assertGreater(r["blocks_verified"], 0, r)
        if expect_retries is not None:
            self.assertEqual(r["retries"], expect_retries, r)
        return r

    def raw_queues(self, n):
        """I/O queues of one host, by hand."""
        host = admin(self.ports[2], GW_NQN)
        queues = [io_queue(self.ports[2], GW_NQN, host.cntlid, qid=i + 1, sqsize=127)
                  for i in range(n)]
        for h in [host] + queues:
            self.addCleanup(h.sock.close)
        return queues

    @staticmethod
    def rw(opcode, cid, slba, data_len, inline=False):
        descriptor = sgl_inline(data_len) if inline else sgl_transport(data_len)
        return pdu(CMD, sqe(opcode, cid, 1, descriptor, (slba, 0, data_len // 512 - 1, 0, 0, 0)),
                   bytes(data_len) if inline else b"")

    def done(self):
        return {p["upstream"]: p["reads"] + p["writes"] for p in self.paths()}

    def lose(self, side, commands=500):
        """Breaks its connections under I/O; it comes back."""
        def losses():
            return next(p["losses"] for p in self.paths() if p["upstream"] == side)
        before = losses()
        self.goes_on(commands)
        self.proxy[side].reset()
        wait_for(lambda: losses() > before)
        wait_for(lambda: self.usable() == 2)

    def moved(self):
        return sum(p["failovers"] for p in self.paths() if p.get("nsid"))

    def test_reset(self):
        self.two_back_ends()
        load = self.mixed()
        for _ in range(3):
            self.lose("a")
        self.clean(load, expect_retries=0)
        self.assertGreater(self.moved(), 0)

    def test_big_transfers_reset(self):
        """Reads that have partly gone to the host when their path dies go on where they were."""
        self.two_back_ends()
        load = self.mixed("--bs", "512k", "--depth", "4", commands=50)
        for side in ("a", "b", "a", "b", "a", "b"):
            self.lose(side, 50)
        self.clean(load, expect_retries=0)

    def test_digests_reset(self):
        self.ports = free_ports(2)
        self.back_end("a", self.ports[0])
        self.proxy = {"a": Proxy(self.ports[0]), "b": Proxy(self.ports[0])}
        for proxy in self.proxy.values():
            self.addCleanup(proxy.close)
        self.ports.append(self.ports[1])
        self.gateway(self.ports[2], [
            tcp_upstream(self.proxy["a"].port, "a", hdr_digest=True, data_digest=True),
            tcp_upstream(self.proxy["b"].port, "b", data_digest=True)], policy="round-robin")
        wait_for(lambda: self.usable() == 2)
        load = self.mixed("--hdr-digest", "--data-digest", "--bs", "16k")
        self.lose("a")
        self.lose("b")
        self.clean(load, expect_retries=0)

    def test_killed_and_restarted(self):
        self.two_back_ends()
        load = self.mixed()
        self.p.kill(self.back["a"])
        wait_for(lambda: self.usable() == 1)
        self.goes_on()
        self.back["a"] = self.back_end("a", self.ports[0], 1)
        wait_for(lambda: self.usable() == 2)
        self.goes_on()
        self.p.kill(self.back["b"])
        wait_for(lambda: self.usable() == 1)
        self.clean(load, expect_retries=0)

    def test_silent_drop(self):
        """Nothing is said any more: keep-alive (2 s) finds out."""
        self.two_back_ends(policy="failover")
        load = self.mixed()
        self.proxy["a"].silent = True
        wait_for(lambda: self.usable() == 1)
        r = self.clean(load, expect_retries=0)
        self.assertGreater(r["longest_pause_ms"], 100)
        self.proxy["a"].silent = False
        self.proxy["a"].reset()
        wait_for(lambda: self.usable() == 2)

    def test_flood_of_fenced_blocks(self):
        """
        A host that writes to the blocks of a lost write with all that its queues take: it waits, or
        is put off, and others have slots and buffers.
        """
        self.two_back_ends(policy="failover", keep_alive=60,
                           config={"workers": 1, "requests": 256, "memory_mib": 8})
        lost, *flood, other = self.raw_queues(4)
        self.proxy["a"].silent = True
        lost.send(self.rw(WRITE, 1, 0, 4096, inline=True))
        wait_for(lambda: any(p["inflight"] for p in self.paths()))
        self.proxy["a"].closed = True
        self.proxy["a"].reset()
        self.assertEqual(lost.response()[1], 0)
        self.assertEqual(self.show("namespace", "list")[0]["fences"], 1)
        for cid in range(126):
            for h in flood:
                h.send(self.rw(WRITE, cid, 0, 4096 if cid % 2 else 65536, inline=cid % 2))
        wait_for(lambda: self.show("namespace", "show", "1")["put_off"])
        self.assertEqual(other.command(READ, 1, 1, sgl_transport(65536), (0, 0, 127, 0, 0, 0))[1],
                         0)
        other.send(self.rw(WRITE, 2, 1024, 65536))
        kind, body, _ = other.response()
        self.assertEqual(kind, R2T)
        other.send_data(body, bytes(65536))
        self.assertEqual(other.response()[1], 0)
        namespace = self.show("namespace", "show", "1")
        self.assertEqual(namespace["fences"], 1)
        self.assertGreater(namespace["fenced"], 50)
        self.assertLessEqual(namespace["fenced"], 128)
        statuses = {PUT_OFF: 0, 0: 0}
        self.proxy["a"].silent = self.proxy["a"].closed = False  # the old controller is reset
        for h in flood:
            left = 126
            while left:
                answer = h.response()
                if isinstance(answer[1], bytes):  # an R2T
                    h.send_data(answer[1], bytes(65536))
                    continue
                statuses[answer[1]] += 1
                left -= 1
        self.assertGreater(statuses[0], 50, statuses)
        self.assertGreater(statuses[PUT_OFF], 0, statuses)

    def test_ana_change(self):
        """A back-end whose own path is switched off reports ANA inaccessible: I/O moves."""
        self.two_back_ends(policy="failover", keep_alive=PATIENT)
        load = self.mixed()
        back_path = self.paths("a")[0]["path"]
        self.cli("path", "disable", back_path, daemon="a")
        wait_for(lambda: self.usable() == 1)
        states = {p["upstream"]: p["ana_state"] for p in self.paths()}
        self.assertEqual(states, {"a": "inaccessible", "b": "optimized"})
        wait_for(lambda: self.done()["b"] > 0)
        self.cli("path", "enable", back_path, daemon="a")
        wait_for(lambda: self.usable() == 2)
        self.clean(load, expect_retries=0)

    def test_non_optimized_is_used_last(self):
        ports = free_ports(3)
        self.back_end("a", ports[0], 1,
                      file_upstream(self.p.path("disk.img"), ana_state="non-optimized"))
        self.back_end("b", ports[1], 101)
        self.ports = ports
        self.gateway(ports[2], [tcp_upstream(ports[0], "a", keep_alive_tmo=PATIENT),
                                tcp_upstream(ports[1], "b", keep_alive_tmo=PATIENT)],
                     policy="round-robin")
        wait_for(lambda: self.usable() == 2)
        self.clean(self.mixed())
        done = self.done()
        self.assertEqual(done["a"], 0)
        self.assertGreater(done["b"], 0)

    def test_admin_disable(self):
        self.two_back_ends(keep_alive=PATIENT)
        load = self.mixed()
        for path in ("a/1", "b/1"):
            self.goes_on()
            self.cli("path", "disable", path)
            self.assertEqual(self.usable(), 1)
            self.goes_on()
            self.cli("path", "enable", path)
        self.clean(load, expect_retries=0)

    def test_all_lost_and_back(self):
        """Held without an error, and gone on with when a path is back."""
        self.two_back_ends(no_path_timeout=120)
        load = self.mixed()
        for proxy in self.proxy.values():
            proxy.closed = True
            proxy.reset()
        wait_for(lambda: self.usable() == 0)
        ns = self.show("namespace", "list")[0]
        self.assertEqual(ns["ana_state"], "inaccessible")
        wait_for(lambda: self.show("namespace", "list")[0]["held"] > 0)
        time.sleep(1)
        for proxy in self.proxy.values():
            proxy.closed = False
        r = self.clean(load, expect_retries=0)
        self.assertGreater(r["longest_pause_ms"], 500)
        self.assertEqual(self.show("namespace", "list")[0]["held"], 0)

    def test_all_lost_for_too_long(self):
        """After no_path_timeout a host gets a path related status and may retry."""
        self.two_back_ends(no_path_timeout=0.5)
        load = self.mixed()
        for proxy in self.proxy.values():
            proxy.closed = True
            proxy.reset()
        wait_for(lambda: self.show("namespace", "list")[0]["failed_no_path"])
        for proxy in self.proxy.values():
            proxy.closed = False
        r = self.clean(load)
        self.assertGreater(r["retries"], 0)

    def test_flapping(self):
        self.two_back_ends()
        load = self.mixed()
        for n in range(20):
            time.sleep(0.2)
            self.proxy["ab"[n % 2]].reset()
        self.clean(load, expect_retries=0)
        wait_for(lambda: self.usable() == 2)

    def test_rolling_restart(self):
        """Back-ends are restarted in turn with SIGTERM."""
        self.two_back_ends()
        load = self.mixed()
        for side, cntlid in (("a", 1), ("b", 101)):
            self.goes_on()
            self.end(self.back[side])
            wait_for(lambda: self.usable() == 1)
            port = self.ports["ab".index(side)]
            self.back[side] = self.back_end(side, port, cntlid)
            wait_for(lambda: self.usable() == 2)
        self.clean(load, expect_retries=0)

    def test_identity_swap(self):
        """A back-end comes back with another namespace: its path must not be written to."""
        self.two_back_ends()
        load = self.mixed()
        self.p.kill(self.back["a"])
        other = self.p.path("other.img")
        self.back["a"] = self.back_end("a", self.ports[0], 1, file_upstream(
            other, uuid="11111111-2222-3333-4444-555555555555"))
        wait_for(lambda: len(self.show("namespace", "list")) == 2)
        self.clean(load, expect_retries=0)
        with open(other, "rb") as f:
            self.assertEqual(f.read().strip(b"\0"), b"")


class SilentNetwork(StackTest):
    """A network that drops packets."""

    def test_dropped_packets(self):
        network = Netns()
        self.addCleanup(network.close)
        ports = free_ports(3)
        config = {"workers": 1, "pin": False,
                  "listeners": [{"transport": "tcp", "traddr": "0.0.0.0", "trsvcid": ports[0]}],
                  "subsystems": [{"nqn": BACK_NQN, "cntlid_min": 1, "cntlid_max": 99,
                                  "upstreams": [file_upstream(self.p.path("disk.img"))]}]}
        far = self.p.in_netns(network.name, "far", config)
        far.daemon_name = "far"
        self.back_end("near", ports[1], 101)
        self.gateway(ports[2], [dict(tcp_upstream(ports[0], "far"), traddr=network.addr),
                                tcp_upstream(ports[1], "near", keep_alive_tmo=PATIENT)])
        wait_for(lambda: self.usable() == 2)
        load = self.verified(ports[2], "--size", "8m", "--time", 300)
        self.goes_on()
        network.drop()
        wait_for(lambda: self.usable() == 1)
        self.goes_on()
        load.terminate()
        r = self.loaded(load)
        self.assertEqual((r["errors"], r["verify_failures"], r["retries"]), (0, 0, 0), r)
        network.heal()
        wait_for(lambda: self.usable() == 2)


if __name__ == "__main__":
    unittest.main()
