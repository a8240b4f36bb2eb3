# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP by hand: just enough of a host to be a wrong or hostile one, and a proxy that lies."""
import os
import select
import socket
import struct
import threading
import time

ICREQ, ICRESP, H2C_TERM, C2H_TERM, CMD, RSP, H2C_DATA, C2H_DATA, R2T = 0, 1, 2, 3, 4, 5, 6, 7, 9
HDR = struct.Struct("<BBBBI")  # type, flags, hlen, pdo, plen

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"


def pdu(kind, body, data=b"", flags=0, hlen=None, pdo=None, plen=None):
    """A PDU with a consistent header, save where the caller wants a wrong one."""
    length = 8 + len(body)
    hlen = length if hlen is None else hlen
    pdo = (length if data else 0) if pdo is None else pdo
    plen = length + len(data) if plen is None else plen
    return HDR.pack(kind, flags, hlen, pdo, plen) + body + data


def icreq(pfv=0, hpda=0, digest=0, maxr2t=0):
    return pdu(ICREQ, struct.pack("<HBBI", pfv, hpda, digest, maxr2t) + bytes(112))


def sqe(opcode, cid, nsid=0, sgl=bytes(16), cdw=(0, 0, 0, 0, 0, 0), flags=0x40):
    return struct.pack("<BBHI16x16s6I", opcode, flags, cid, nsid, sgl, *cdw)


def sgl(kind, length, addr=0):
    return struct.pack("<QI3xB", addr, length, kind)


def sgl_inline(length, offset=0):
    return sgl(0x01, length, offset)


def sgl_transport(length):
    return sgl(0x5A, length)


class Closed(Exception):
    """The other end has closed the connection."""


class Host:
    """One connection to a target."""

    def __init__(self, port, icreq_pdu=None, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        if icreq_pdu is None:
            self.send(icreq())
            kind, _, body, _ = self.recv()
            assert kind == ICRESP, kind
            self.maxh2c = struct.unpack_from("<I", body, 4)[0]
        elif icreq_pdu:
            self.send(icreq_pdu)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def take(self, n):
        while len(self.buf) < n:
            try:
                got = self.sock.recv(1 << 16)
            except ConnectionResetError as e:
                raise Closed from e
            if not got:
                raise Closed
            self.buf += got
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def recv(self):
        """(type, flags, body, data)"""
        kind, flags, hlen, pdo, plen = HDR.unpack(self.take(8))
        rest = self.take(plen - 8)
        return kind, flags, rest[:hlen - 8], rest[pdo - 8:] if pdo else b""

    def ended(self, seconds=30):
        """Reads until the other end closes; the term-req it sent before as (fes, fei), or None."""
        self.sock.settimeout(seconds)
        term = None
        try:
            while True:
                kind, _, body, _ = self.recv()
                if kind == C2H_TERM:
                    term = struct.unpack_from("<HI", body)
        except Closed:
            return term

    def response(self):
        """The next completion as (cid, status, result), data gathered in self.data."""
        self.data = b""
        while True:
            kind, flags, body, data = self.recv()
            if kind == C2H_DATA:
                self.data += data
                if flags & 0x08:
                    return struct.unpack_from("<H", body)[0], 0, 0
            elif kind == RSP:
                result, _, _, cid, status = struct.unpack("<QHHHH", body)
                return cid, status >> 1 & 0x7FF, result
            elif kind == C2H_TERM:
                raise Closed
            else:
                return kind, body, data

    def command(self, *args, data=b"", **kwargs):
        self.send(pdu(CMD, sqe(*args, **kwargs), data))
        return self.response()

    def send_data(self, r2t, data):
        """What that R2T (its body) asks for, in one PDU."""
        cid, ttag, offset, length = struct.unpack_from("<HHII", r2t)
        self.send(pdu(H2C_DATA, struct.pack("<HHII4x", cid, ttag, offset, length),
                      data[offset:offset + length], flags=0x04))

    def connect(self, nqn, qid=0, cntlid=0xFFFF, hostnqn="nqn.2014-08.org.example:host",
                hostid=b"\1" * 16, sqsize=31, kato=0, cattr=0, recfmt=0):
        """Fabrics Connect; (status, cntlid or the result)"""
        data = struct.pack("<16sH238x256s256s256x", hostid, cntlid, nqn.encode(), hostnqn.encode())
        _, status, result = self.command(
            0x7F, 0, 1, sgl_inline(len(data)),
            (recfmt | qid << 16, sqsize | cattr << 16, kato, 0, 0, 0), data=data)
        return status, result if status else result & 0xFFFF

    def prop_set(self, offset, value):
        return self.command(0x7F, 1, 0, cdw=(0, offset, value, 0, 0, 0))[1]

    def prop_get(self, offset, eight=False):
        return self.command(0x7F, 1, 4, cdw=(int(eight), offset, 0, 0, 0, 0))[2]

    def enable(self):
        assert self.prop_set(0x14, 0x460001) == 0
        wait_for(lambda: self.prop_get(0x1C) & 1)

    def identify(self, cns, nsid=0):
        _, status, _ = self.command(0x06, 2, nsid, sgl_transport(4096), (cns, 0, 0, 0, 0, 0))
        return status, self.data

    def log_page(self, lid, length, offset=0, nsid=0xFFFFFFFF):
        _, status, _ = self.command(0x02, 3, nsid, sgl_transport(length),
                                    ((length // 4 - 1) << 16 | lid, 0, offset, 0, 0, 0))
        return status, self.data


def admin(port, nqn, **kwargs):
    """An enabled controller; its admin connection has .cntlid."""
    h = Host(port)
    status, h.cntlid = h.connect(nqn, **kwargs)
    assert status == 0, hex(status)
    h.enable()
    assert h.command(0x09, 4, cdw=(7, 3 << 16 | 3, 0, 0, 0, 0))[1] == 0
    return h


def io_queue(port, nqn, cntlid, qid=1, **kwargs):
    h = Host(port)
    status, _ = h.connect(nqn, qid=qid, cntlid=cntlid, **kwargs)
    assert status == 0, hex(status)
    return h


class Pair:
    """The two connections that a proxy makes one of, until both of its pumps have ended."""

    def __init__(self, *sockets):
        self.sockets = sockets
        self.pumps = 2
        self.broken = False  # both are to end with RST


class Proxy:
    """
    Forwards a port to another. mangle(pdu bytes) may return other bytes for each PDU that the
    target sends; reset() breaks all connections with RST; `silent` drops bytes without a word;
    `closed` refuses.
    """

    def __init__(self, target, mangle=None, addr="127.0.0.1"):
        self.target, self.mangle = (addr, target), mangle
        self.silent = self.closed = False
        self.pairs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                down, _ = self.listener.accept()
            except OSError:
                return
            if self.closed:
                refuse(down)
                continue
            try:
                up = socket.create_connection(self.target, 30)
            except OSError:
                refuse(down)
                continue
            up.settimeout(None)
            for s in (up, down):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.start(Pair(up, down))

    def start(self, pair):
        """Its pumps, unless the proxy has closed while it connected."""
        up, down = pair.sockets
        with self.lock:
            if self.closed:
                refuse(up)
                refuse(down)
                return
            self.pairs.append(pair)
        threading.Thread(target=self.pump, args=(pair, down, up, False), daemon=True).start()
        threading.Thread(target=self.pump, args=(pair, up, down, True), daemon=True).start()

    def pump(self, pair, src, dst, from_target):
        buf = b""
        try:
            while True:
                data = src.recv(1 << 18)
                if not data or pair.broken:
                    break
                if self.silent:
                    continue
                if from_target and self.mangle:
                    buf += data
                    data = b""
                    while len(buf) >= 8 and len(buf) >= (n := HDR.unpack_from(buf)[4]):
                        data += self.mangle(buf[:n])
                        buf = buf[n:]
                dst.sendall(data)
        except OSError:
            pass
        self.ended(pair)

    def ended(self, pair):
        """One of its pumps; only when both have is a number free for another connection."""
        with self.lock:
            pair.pumps -= 1
            last = not pair.pumps
            if last and pair in self.pairs:
                self.pairs.remove(pair)
        for s in pair.sockets:
            if last:
                s.close()
            elif not pair.broken:
                shut(s, socket.SHUT_RDWR)

    def reset(self):
        with self.lock:  # those that are listed are open
            for pair in self.pairs:
                pair.broken = True
                for s in pair.sockets:
                    no_linger(s)
                    shut(s, socket.SHUT_RD)  # its pump sees that, its peer does not
            self.pairs.clear()

    def close(self):
        self.closed = True
        # The thread must be out of accept() before its number is another socket's: a call that is
        # begun again finds whatever has that number by then.
        shut(self.listener, socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        self.reset()


def shut(sock, how):
    try:
        sock.shutdown(how)
    except OSError:  # it has ended already
        pass


def no_linger(sock):
    """At its close the peer sees a connection reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refuse(sock):
    no_linger(sock)
    sock.close()


def wait_for(what, seconds=60, interval=0.05):
    """Until what() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {getattr(what, '__name__', what)}")
        time.sleep(interval)
