# SPDX-License-Identifier: Apache-2.0
"""The daemon under a service manager: inherited sockets, restarts under load, the watchdog."""
import socket
import time
import unittest

from stack import GW_NQN, StackTest, free_ports, tcp_upstream
from wire import ICRESP, Host, icreq, wait_for

RECONNECT_DELAY = 0.3
GAP = 1.0         # s without a daemon
KEEP_ALIVE = 2    # s; the front gateway's fences last for 3 of it, and what is below for CQT:
IO_TIMEOUT = 2    # 1.5 of this and 3 KEEP_ALIVE
PATIENCE = 120    # s that a restart may take on a busy machine


class Service(StackTest):
    """host -> front gateway -> the gateway that is restarted -> back-end

    The front gateway is to the restarted one what a host is that reconnects by itself.
    """

    def setUp(self):
        super().setUp()
        self.ports = dict(zip(("back", "gateway", "front"), free_ports(3)))

    def start(self, manager, **env):
        config = self.gateway_config(self.ports["gateway"], [
            tcp_upstream(self.ports["back"], "a", io_timeout=IO_TIMEOUT,
                         keep_alive_tmo=KEEP_ALIVE)])
        return self.managed(manager, "gateway", config, **env)

    def front(self):
        self.gateway(self.ports["front"], [
            tcp_upstream(self.ports["gateway"], "gw", nqn=GW_NQN, reconnect_delay=RECONNECT_DELAY,
                         keep_alive_tmo=KEEP_ALIVE, connect_timeout=PATIENCE)], name="front",
            no_path_timeout=PATIENCE)
        wait_for(lambda: self.usable("front") == 1)

    def log(self, name):
        with open(self.p.path(name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def test_connection_in_the_gap_waits(self):
        manager = self.manager(self.ports["gateway"])
        self.back_end("back", self.ports["back"])
        gw = self.start(manager)
        self.end(gw)
        with socket.create_connection(("127.0.0.1", self.ports["gateway"]), 60) as early:
            early.sendall(icreq())
            early.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                early.recv(8)
            self.start(manager)
            early.settimeout(60)
            self.assertEqual(early.recv(1), bytes([ICRESP]))
        self.assertIn("listening on 127.0.0.1:%d" % self.ports["gateway"], self.log("gateway"))

    def test_restarts_under_load(self):
        manager = self.manager(self.ports["gateway"])
        self.back_end("back", self.ports["back"])
        gw = self.start(manager)
        self.front()
        load = self.load(self.ports["front"], "--rw", "mix", "--verify", "--queues", 2, "--depth",
                         16, "--size", "8m", "--time", 300)
        for gap in (0, GAP):
            self.goes_on(daemon="front")
            self.end(gw)
            time.sleep(gap)
            gw = self.start(manager)
            wait_for(lambda: self.usable("front") == 1)
        self.goes_on(daemon="front")
        load.terminate()
        r = self.loaded(load)
        self.assertEqual((r["errors"], r["verify_failures"], r["unfinished"], r["retries"]),
                         (0, 0, 0, 0), r)
        self.assertGreater(r["blocks_verified"], 0, r)
        self.assertNotIn("connecting failed", self.log("front"))
        self.assertNotIn("have not answered", self.log("gateway"))

    def test_sockets_of_no_listener(self):
        """They are named in the log, and the listeners without a socket open their own."""
        other = free_ports(1)[0]
        manager = self.manager(other)
        self.back_end("back", self.ports["back"])
        self.start(manager)
        with Host(self.ports["gateway"]):
            pass
        self.assertIn(f"inherited socket on 127.0.0.1:{other} is not used", self.log("gateway"))

    def test_watchdog_and_stop(self):
        manager = self.manager(self.ports["gateway"])
        self.back_end("back", self.ports["back"])
        gw = self.start(manager, WATCHDOG_USEC="200000")
        for _ in range(3):
            self.assertTrue(manager.told("WATCHDOG=1", 60))
        gw.terminate()
        self.assertTrue(manager.told("STOPPING=1", 60))
        gw.wait(60)


if __name__ == "__main__":
    unittest.main()
