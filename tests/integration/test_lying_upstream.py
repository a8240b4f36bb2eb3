# SPDX-License-Identifier: Apache-2.0
"""An upstream that lies costs its own path, and the host sees nothing but right data."""
import struct
import threading
import unittest

from stack import PATIENT, StackTest, free_ports, tcp_upstream
from wire import C2H_DATA, HDR, R2T, RSP, Proxy, wait_for


class Liar:
    """Changes one PDU of a kind, on any connection, once armed."""

    def __init__(self, kind, change):
        self.kind, self.change = kind, change
        self.armed = False
        self.lies = 0
        self.lock = threading.Lock()

    def __call__(self, pdu):
        if pdu[0] != self.kind or len(pdu) < 24:
            return pdu
        with self.lock:  # of each connection there is a thread
            if not self.armed:
                return pdu
            lie = self.change(pdu)
            if lie != pdu:
                self.armed = False
                self.lies += 1
            return lie


def patch(fmt, offset, value):
    def change(pdu):
        out = bytearray(pdu)
        struct.pack_into(fmt, out, offset, value)
        return bytes(out)
    return change


def flip_last(pdu):
    return pdu[:-1] + bytes([pdu[-1] ^ 0x40])


def early_success(pdu):
    """A completion in place of the data of a read."""
    cid = struct.unpack_from("<H", pdu, 8)[0]
    return HDR.pack(RSP, 0, 24, 0, 24) + struct.pack("<QHHHH", 0, 0, 1, cid, 0)


def longer(pdu):
    """More data than the header says, as if it were past the buffer."""
    offset, length = struct.unpack_from("<II", pdu, 12)
    extra = bytes(4096)
    _, flags, hlen, pdo, plen = HDR.unpack_from(pdu)
    return (HDR.pack(C2H_DATA, flags, hlen, pdo, plen + len(extra)) + pdu[8:12] +
            struct.pack("<II", offset, length + len(extra)) + pdu[20:] + extra)


class LyingUpstream(StackTest):
    def losses(self):
        return {p["upstream"]: p["losses"] for p in self.paths()}

    def lie(self, kind, change, bs="4k", **upstream):
        ports = free_ports(3)
        liar = Liar(kind, change)
        self.back_end("a", ports[0], 1)
        self.back_end("b", ports[1], 101)
        proxy = Proxy(ports[0], liar)
        self.addCleanup(proxy.close)
        self.gateway(ports[2], [tcp_upstream(proxy.port, "a", keep_alive_tmo=PATIENT, **upstream),
                                tcp_upstream(ports[1], "b", keep_alive_tmo=PATIENT)])
        wait_for(lambda: self.usable() == 2)
        load = self.verified(ports[2], "--size", "16m", "--time", 300, "--rate", 5000, "--bs", bs)
        self.goes_on()
        liar.armed = True
        wait_for(lambda: self.losses()["a"])
        wait_for(lambda: self.usable() == 2)
        self.goes_on()
        load.terminate()
        r = self.loaded(load)
        self.assertEqual((r["errors"], r["verify_failures"], r["retries"]), (0, 0, 0), r)
        self.assertEqual(liar.lies, 1)
        self.assertEqual(self.losses(), {"a": 1, "b": 0})
        self.assertEqual(self.usable(), 2)

    def test_wrong_cid_in_response(self):
        self.lie(RSP, patch("<H", 20, 0x7777))

    def test_wrong_cid_in_data(self):
        self.lie(C2H_DATA, patch("<H", 8, 0x7777))

    def test_wrong_offset(self):
        self.lie(C2H_DATA, patch("<I", 12, 512))

    def test_length_beyond_pdu(self):
        self.lie(C2H_DATA, patch("<I", 16, 1 << 20))

    def test_data_past_the_buffer(self):
        self.lie(C2H_DATA, longer)

    def test_response_without_data(self):
        self.lie(C2H_DATA, early_success)

    def test_unknown_type(self):
        self.lie(RSP, patch("<B", 0, 0x42))

    def test_tiny_plen(self):
        self.lie(RSP, patch("<I", 4, 3))

    def test_wrong_hlen(self):
        self.lie(C2H_DATA, patch("<B", 2, 8))

    def test_r2t_too_long(self):
        self.lie(R2T, patch("<I", 16, 1 << 24), bs="64k")

    def test_r2t_wrong_offset(self):
        self.lie(R2T, patch("<I", 12, 4096), bs="64k")

    def test_r2t_zero_length(self):
        self.lie(R2T, patch("<I", 16, 0), bs="64k")

    def test_r2t_wrong_cid(self):
        self.lie(R2T, patch("<H", 8, 0x7777), bs="64k")

    def test_data_digest_error(self):
        self.lie(C2H_DATA, flip_last, data_digest=True)

    def test_header_digest_error(self):
        self.lie(RSP, flip_last, hdr_digest=True)


if __name__ == "__main__":
    unittest.main()
