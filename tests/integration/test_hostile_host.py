# SPDX-License-Identifier: Apache-2.0
"""Wrong and hostile hosts get what the specs say, and nobody else notices."""
import random
import struct
import unittest

from stack import GW_NQN, StackTest, file_upstream, free_ports, listener
from wire import (CMD, DISCOVERY_NQN, H2C_DATA, H2C_TERM, ICREQ, R2T, Closed, Host, admin,
                  icreq, io_queue, pdu, sgl, sgl_inline, sgl_transport, sqe, wait_for)

# Fatal error status of term-reqs (TCP transport 1.0, 3.6.2.2 and 3.6.2.3)
FES_FIELD, FES_SEQ, FES_HDGST, FES_RANGE, FES_LIMIT, FES_PARAM = 1, 2, 3, 4, 5, 6

READ, WRITE, FLUSH, COMPARE, WRITE_ZEROES, DSM, VERIFY = 2, 1, 0, 5, 8, 9, 0x0C
DNR = 0x4000


def rw(opcode, cid, slba, blocks, descriptor, nsid=1):
    return sqe(opcode, cid, nsid, descriptor, (slba & 0xFFFFFFFF, slba >> 32, blocks - 1, 0, 0, 0))


class HostileHost(StackTest):
    def setUp(self):
        super().setUp()
        self.port = free_ports(1)[0]
        self.daemon("gateway", {
            # Unless set, they are 30 and 10: tests of the former wait for less than that.
            "listeners": [dict(listener(self.port), stall_timeout=4, handshake_timeout=4,
                               max_connections=200)],
            "subsystems": [{"nqn": GW_NQN, "cntlid_min": 1, "cntlid_max": 60000,
                            "max_transfer_kib": 256,
                            "upstreams": [file_upstream(self.p.path("disk.img"), "64MiB")]}]})
        wait_for(lambda: self.usable() == 1)

    def queue(self, **kwargs):
        self.admin = admin(self.port, GW_NQN)
        self.addCleanup(self.admin.sock.close)
        h = io_queue(self.port, GW_NQN, self.admin.cntlid, **kwargs)
        self.addCleanup(h.sock.close)
        return h

    def works(self):
        """Somebody else's I/O is fine."""
        r = self.loaded(self.load(self.port, "--rw", "mix", "--verify", "--size", "1m", "--time",
                                  "0.3"))
        self.assertEqual((r["errors"], r["verify_failures"]), (0, 0))

    # ---- handshake ----

    def test_bad_first_pdus(self):
        for data, want in [
                (icreq(pfv=1), FES_PARAM),
                (icreq(hpda=32), FES_FIELD),
                (pdu(ICREQ, bytes(120), plen=127), FES_FIELD),
                (pdu(ICREQ, bytes(120), hlen=64), FES_FIELD),
                (pdu(CMD, sqe(0x7F, 0)), FES_SEQ),
                (pdu(0x33, bytes(16)), FES_FIELD),
        ]:
            with Host(self.port, data) as h:
                term = h.ended()
                self.assertIsNotNone(term, data[:8].hex())
                self.assertEqual(term[0], want, data[:8].hex())
        self.works()

    def test_second_icreq(self):
        with Host(self.port) as h:
            h.send(icreq())
            self.assertEqual(h.ended()[0], FES_SEQ)

    def test_garbage(self):
        rng = random.Random(7)
        for _ in range(60):
            with Host(self.port, b"") as h:
                try:
                    h.send(rng.randbytes(rng.randrange(1, 4000)))
                    h.sock.shutdown(1)
                    h.ended()
                except (ConnectionError, OSError):
                    pass
        for _ in range(60):
            with Host(self.port) as h:
                try:
                    h.send(rng.randbytes(rng.randrange(8, 4000)))
                    h.sock.shutdown(1)
                    h.ended()
                except (ConnectionError, OSError, AssertionError, struct.error):
                    pass
        self.works()

    def test_mutated_commands(self):
        """Valid conversations with random bytes changed: never a crash, never a hang."""
        rng = random.Random(11)
        for _ in range(150):
            try:
                with Host(self.port) as h:
                    h.connect(GW_NQN)
                    h.enable()
                    h.sock.settimeout(0.2)
                    data = bytearray(pdu(CMD, sqe(rng.choice([6, 2, 9, 10, 0x7F, 8, 12, 24]), 5,
                                                  rng.choice([0, 1, 0xFFFFFFFF]),
                                                  sgl_transport(4096),
                                                  [rng.randrange(16) for _ in range(6)])))
                    for _ in range(rng.randrange(4)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    h.send(bytes(data))
                    h.recv()
            except (Closed, OSError, AssertionError, struct.error, TypeError, ValueError):
                pass
        self.works()

    def test_half_a_handshake(self):
        with Host(self.port, icreq()[:50]) as h:
            h.ended()
        with Host(self.port) as h:
            h.ended()
        self.works()

    def test_ends_are_told(self):
        """What queues end for is in the log, unless host or gateway meant them to end."""
        log = self.p.path("gateway.log")

        def told():
            with open(log, encoding="utf-8") as f:
                return [line.split(" info: ")[1] for line in f if ": ended: " in line]

        with self.queue() as h:
            h.send(icreq())
            h.ended()
        first, = wait_for(told)
        self.assertRegex(first, fr"^controller {self.admin.cntlid}, queue 1 of host 127\.0\.0\.1:\d+: "
                                "ended: protocol error of the host: ")
        with self.queue() as h:
            h.sock.close()
        wait_for(lambda: not any(c["io_queues"] for c in self.show("controller", "list")))
        self.admin.sock.close()
        _, last = wait_for(lambda: len(told()) > 1 and told())
        self.assertRegex(last, f"^controller {self.admin.cntlid} of .*: closed by the host")

    # ---- Connect ----

    def test_silent_until_the_end(self):
        """The daemon does not wait for it, nor forget it: tearDown() looks at how it ends."""
        for said in (b"", icreq()[:20]):
            h = Host(self.port, b"")
            self.addCleanup(h.sock.close)
            h.send(said)
        self.works()

    def test_connect_refusals(self):
        bad = 0x4182  # Connect Invalid Parameters, DNR
        for kwargs, want in [
                ({"nqn": "nqn.2014-08.org.example:nobody"}, bad),
                ({"nqn": GW_NQN, "recfmt": 1}, 0x4180),
                ({"nqn": GW_NQN, "sqsize": 0}, bad),
                ({"nqn": GW_NQN, "cntlid": 5}, bad),
                ({"nqn": GW_NQN, "qid": 1, "cntlid": 77}, bad),
                ({"nqn": GW_NQN, "hostnqn": ""}, bad),
                ({"nqn": "x" * 250}, bad),
        ]:
            with Host(self.port) as h:
                status, _ = h.connect(**kwargs)
                self.assertEqual(status & 0x7FF, want & 0x7FF, (kwargs, hex(status)))
        self.works()

    def test_io_queue_of_another_host(self):
        h = admin(self.port, GW_NQN)
        with Host(self.port) as q:
            status, _ = q.connect(GW_NQN, qid=1, cntlid=h.cntlid,
                                  hostnqn="nqn.2014-08.org.example:thief")
            self.assertNotEqual(status, 0)
        with Host(self.port) as q:
            self.assertEqual(q.connect(GW_NQN, qid=1, cntlid=h.cntlid)[0], 0)
            with Host(self.port) as again:
                self.assertNotEqual(again.connect(GW_NQN, qid=1, cntlid=h.cntlid)[0], 0)
            with Host(self.port) as high:
                self.assertNotEqual(high.connect(GW_NQN, qid=500, cntlid=h.cntlid)[0], 0)
        h.sock.close()

    def test_commands_before_connect(self):
        with Host(self.port) as h:
            _, status, _ = h.command(0x06, 9, 0, sgl_transport(4096), (1, 0, 0, 0, 0, 0))
            self.assertEqual(status & 0xFF, 0x0C)  # Command Sequence Error

    def test_io_before_enable(self):
        with Host(self.port) as h:
            status, cntlid = h.connect(GW_NQN)
            self.assertEqual(status, 0)
            with Host(self.port) as q:
                self.assertNotEqual(q.connect(GW_NQN, qid=1, cntlid=cntlid)[0], 0)

    # ---- commands ----

    def status(self, h, capsule, data=b""):
        h.send(pdu(CMD, capsule, data))
        reply = h.response()
        return reply[1] & 0x7FF

    def test_bad_commands(self):
        h = self.queue()
        last = 64 * 2048  # blocks
        for what, capsule, data, want in [
                ("opcode", rw(0x77, 1, 0, 1, bytes(16)), b"", 0x01),
                ("nsid 0", rw(READ, 1, 0, 1, sgl_transport(512), 0), b"", 0x0B),
                ("nsid 9", rw(READ, 1, 0, 1, sgl_transport(512), 9), b"", 0x0B),
                ("nsid all", rw(READ, 1, 0, 1, sgl_transport(512), 0xFFFFFFFF), b"", 0x0B),
                ("range", rw(READ, 1, last, 1, sgl_transport(512)), b"", 0x80),
                ("range wrap", rw(READ, 1, (1 << 64) - 1, 2, sgl_transport(1024)), b"", 0x80),
                ("range end", rw(WRITE, 1, last - 1, 2, sgl_inline(1024)), bytes(1024), 0x80),
                ("short sgl", rw(READ, 1, 0, 8, sgl_transport(512)), b"", 0x0F),
                ("long sgl", rw(WRITE, 1, 0, 1, sgl_inline(1024)), bytes(1024), 0x0F),
                ("mdts", rw(READ, 1, 0, 1024, sgl_transport(512 * 1024)), b"", 0x02),
                ("sgl type", rw(READ, 1, 0, 1, sgl(0x77, 512)), b"", 0x11),
                ("keyed sgl", rw(READ, 1, 0, 1, sgl(0x40, 512)), b"", 0x11),
                ("inline offset", rw(WRITE, 1, 0, 1, sgl_inline(512, 512)), bytes(512), 0x16),
                ("fused", sqe(READ, 1, 1, sgl_transport(512), flags=0x41), b"", 0x02),
        ]:
            with self.subTest(what):
                self.assertEqual(self.status(h, capsule, data), want)
        self.assertEqual(self.status(h, rw(READ, 2, 0, 1, sgl_transport(512))), 0)

    def test_data_commands(self):
        """Each command of the set does what it says."""
        h = self.queue()
        block = bytes(range(256)) * 2
        self.assertEqual(self.status(h, rw(WRITE, 1, 5, 1, sgl_inline(512)), block), 0)
        self.assertEqual(self.status(h, rw(READ, 2, 5, 1, sgl_transport(512))), 0)
        self.assertEqual(h.data, block)
        self.assertEqual(self.status(h, rw(COMPARE, 3, 5, 1, sgl_inline(512)), block), 0)
        self.assertEqual(self.status(h, rw(COMPARE, 4, 5, 1, sgl_inline(512)), bytes(512)), 0x285)
        self.assertEqual(self.status(h, rw(VERIFY, 5, 5, 1, bytes(16))), 0)
        self.assertEqual(self.status(h, sqe(FLUSH, 6, 1)), 0)
        self.assertEqual(self.status(h, rw(WRITE_ZEROES, 7, 5, 1, bytes(16))), 0)
        self.assertEqual(self.status(h, rw(READ, 8, 5, 1, sgl_transport(512))), 0)
        self.assertEqual(h.data, bytes(512))
        self.assertEqual(self.status(h, rw(WRITE, 9, 5, 1, sgl_inline(512)), block), 0)
        dsm = sqe(DSM, 10, 1, sgl_inline(16), (0, 4, 0, 0, 0, 0))
        self.assertEqual(self.status(h, dsm, struct.pack("<IIQ", 0, 1, 5)), 0)
        self.assertEqual(self.status(h, rw(READ, 11, 5, 1, sgl_transport(512))), 0)
        self.assertEqual(h.data, bytes(512))

    # ---- data PDUs ----

    def write_wants_data(self, h, cid=1, length=16384):
        """Sends a write with its data elsewhere; the R2T's (cccid, ttag, offset, length)."""
        h.send(pdu(CMD, rw(WRITE, cid, 0, length // 512, sgl_transport(length))))
        kind, body, _ = h.response()
        self.assertEqual(kind, R2T)
        return struct.unpack_from("<HHII", body)

    @staticmethod
    def h2c(cid, ttag, offset, data, last=True, length=None):
        length = len(data) if length is None else length
        return pdu(H2C_DATA, struct.pack("<HHII4x", cid, ttag, offset, length), data,
                   flags=0x04 if last else 0)

    def test_r2t(self):
        h = self.queue()
        data = random.Random(1).randbytes(16384)
        cid, ttag, offset, length = self.write_wants_data(h)
        self.assertEqual((cid, offset, length), (1, 0, 16384))
        h.send(self.h2c(1, ttag, 0, data[:8192], False) + self.h2c(1, ttag, 8192, data[8192:]))
        self.assertEqual(h.response()[:2], (1, 0))
        self.assertEqual(self.status(h, rw(READ, 2, 0, 32, sgl_transport(16384))), 0)
        self.assertEqual(h.data, data)

    def test_bad_h2c_data(self):
        for what, build, fes in [
                ("ttag", lambda t: self.h2c(1, t ^ 0x101, 0, bytes(16384)), (FES_FIELD, FES_RANGE)),
                ("cid", lambda t: self.h2c(9, t, 0, bytes(16384)), (FES_FIELD,)),
                ("offset", lambda t: self.h2c(1, t, 512, bytes(8192)), (FES_SEQ,)),
                ("too long", lambda t: self.h2c(1, t, 0, bytes(32768)), (FES_RANGE, FES_LIMIT)),
                ("length", lambda t: self.h2c(1, t, 0, bytes(512), length=16384), (FES_FIELD, FES_RANGE)),
                ("last early", lambda t: self.h2c(1, t, 0, bytes(512)), (FES_SEQ,)),
        ]:
            with self.subTest(what):
                h = self.queue()
                _, ttag, _, _ = self.write_wants_data(h)
                h.send(build(ttag))
                term = h.ended()
                self.assertIsNotNone(term)
                self.assertIn(term[0], fes)
                self.admin.sock.close()
        self.works()

    def test_data_nobody_asked_for(self):
        h = self.queue()
        h.send(self.h2c(1, 0, 0, bytes(512)))
        self.assertIn(h.ended()[0], (FES_FIELD, FES_RANGE, FES_SEQ))

    def test_capsule_too_long(self):
        h = self.queue()
        h.send(pdu(CMD, rw(WRITE, 1, 0, 64, sgl_inline(32768)), bytes(32768)))
        self.assertIn(h.ended()[0], (FES_FIELD, FES_RANGE, FES_LIMIT))

    def test_pdus_of_the_other_direction(self):
        for kind in (1, 3, 5, 7, 9):
            h = self.queue()
            h.send(pdu(kind, bytes(16)))
            term = h.ended()
            self.assertIsNotNone(term, kind)
            self.admin.sock.close()

    def test_host_gives_up(self):
        h = self.queue()
        h.send(pdu(H2C_TERM, struct.pack("<HI", 1, 4) + bytes(10), b"\0" * 24))
        h.ended()
        self.works()

    def test_duplicate_cid(self):
        h = self.queue()
        _, ttag, _, _ = self.write_wants_data(h, cid=7)
        self.assertEqual(self.status(h, rw(READ, 7, 0, 1, sgl_transport(512))), 0x03)
        h.send(self.h2c(7, ttag, 0, bytes(16384)))  # the first one is unharmed
        self.assertEqual(h.response()[:2], (7, 0))

    # ---- greed ----

    def test_queue_overflow(self):
        """More commands out than the queue has: the connection ends, others go on."""
        h = self.queue(sqsize=7)
        h.send(b"".join(pdu(CMD, rw(WRITE, cid, 0, 32, sgl_transport(16384)))
                        for cid in range(50)))
        h.ended()
        self.works()

    def test_host_that_does_not_read(self):
        """Asks for much and reads nothing: bounded memory, and an end after stall_timeout."""
        h = self.queue(sqsize=127)
        try:
            for n in range(120):
                h.send(pdu(CMD, rw(READ, n, 0, 512, sgl_transport(256 * 1024))))
        except (ConnectionError, OSError):
            pass
        self.works()
        wait_for(lambda: all(c["hostnqn"] != "nqn.2014-08.org.example:host" or c["io_queues"] == 0
                             for c in self.show("controller", "list")), 25)
        self.works()

    def test_half_a_capsule(self):
        h = self.queue()
        h.send(pdu(CMD, rw(WRITE, 1, 0, 8, sgl_inline(4096)), bytes(4096))[:1000])
        self.works()
        h.ended(25)
        self.works()

    def test_many_connections(self):
        """Past max_connections the rest is closed; those before live on."""
        hosts = []
        try:
            for _ in range(260):
                try:
                    hosts.append(Host(self.port, b""))
                except OSError:
                    break
        finally:
            for h in hosts:
                h.sock.close()
        wait_for(lambda: self.try_host())
        self.works()

    def try_host(self):
        try:
            with Host(self.port):
                return True
        except (Closed, OSError):
            return False

    def test_keep_alive_timeout(self):
        h = admin(self.port, GW_NQN, kato=3000)
        q = io_queue(self.port, GW_NQN, h.cntlid)
        h.ended()
        q.ended()
        self.assertIn("no command within the keep-alive timeout", self.p.log_tail("gateway"))

    def test_admin_gone_takes_queues_along(self):
        h = self.queue()
        self.admin.sock.close()
        h.ended()
        wait_for(lambda: not self.show("controller", "list"))

    def test_discovery_controller_has_no_io(self):
        h = admin_discovery(self.port)
        with Host(self.port) as q:
            self.assertNotEqual(q.connect(DISCOVERY_NQN, qid=1, cntlid=h.cntlid)[0], 0)
        h.sock.close()

    def test_aer_limit(self):
        h = admin(self.port, GW_NQN)
        for cid in range(20, 30):
            h.send(pdu(CMD, sqe(0x0C, cid)))
        cid, status, _ = h.response()
        self.assertEqual(status & 0x7FF, 0x105)  # Asynchronous Event Request Limit Exceeded
        h.sock.close()

    def test_reset_and_shutdown(self):
        h = self.queue()
        self.assertEqual(self.admin.prop_set(0x14, 0x460000), 0)
        h.ended()  # a reset ends the I/O queues, and is over when the last has gone
        wait_for(lambda: not self.admin.prop_get(0x1C) & 1)
        self.admin.enable()
        q = io_queue(self.port, GW_NQN, self.admin.cntlid)
        self.assertEqual(self.status(q, rw(READ, 2, 0, 1, sgl_transport(512))), 0)
        self.assertEqual(self.admin.prop_set(0x14, 0x464001), 0)  # shutdown
        wait_for(lambda: self.admin.prop_get(0x1C) >> 2 & 3 == 2)
        q.sock.close()


def admin_discovery(port):
    h = Host(port)
    status, h.cntlid = h.connect(DISCOVERY_NQN)
    assert status == 0, hex(status)
    h.enable()
    return h


if __name__ == "__main__":
    unittest.main()
