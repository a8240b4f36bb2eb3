# SPDX-License-Identifier: Apache-2.0
"""nvmegw io: blocks for diagnosis."""
import base64
import os
import subprocess
import unittest

from stack import StackTest, binary, free_ports, tcp_upstream
from wire import wait_for


class AdminIo(StackTest):
    def start(self, **config):
        ports = free_ports(3)
        for n in range(2):
            self.back_end(f"back{n}", ports[n], cntlid=1 + 100 * n)
        self.gateway(ports[2], [tcp_upstream(ports[n], "ab"[n]) for n in range(2)], config=config)
        wait_for(lambda: self.usable() == 2)

    def raw(self, *args, data=b""):
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "io", *map(str, args)]
        return subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, timeout=60)

    def test_there_and_back(self):
        self.start(admin_writes=True)
        data = os.urandom(32768)
        out = self.raw("write", 1, 100, "--yes-write", data=data)
        self.assertEqual((out.returncode, out.stderr), (0, b""))
        self.assertIn(b"64 blocks of 512 bytes from LBA 100 on written over ", out.stdout)
        self.assertEqual(self.raw("read", 1, 100, "--blocks", 64, "-o", "raw").stdout, data)
        for path in ("a/1", "b/1"):
            r = self.show("io", "read", "1", "101", "--path", path)
            self.assertEqual((r["path"], r["blocks"]), (path, 1))
            self.assertEqual(base64.b64decode(r["data"]), data[512:1024])
        longest = self.raw("read", 1, 0, "--blocks", 128, "-o", "raw").stdout
        self.assertEqual(longest, bytes(51200) + data[:65536 - 51200])

    def test_hex(self):
        self.start(admin_writes=True)
        self.raw("write", 1, 0, "--yes-write", data=b"hello\x1b[31m\x00\xff\n" + bytes(498) + b"x")
        lines = self.cli("io", "read", "1", "0").stdout.splitlines()
        self.assertRegex(lines[0], r"^namespace 1, 1 block of 512 bytes from LBA 0 on read over ")
        self.assertEqual(lines[1], "00000000  68 65 6c 6c 6f 1b 5b 33  31 6d 00 ff 0a 00 00 00  "
                                   "|hello.[31m......|")
        self.assertEqual(lines[3], "*")
        self.assertTrue(lines[4].startswith("000001f0  00 ") and lines[4].endswith("x|"))
        self.assertEqual(lines[5], "00000200")

    def test_writes_are_guarded(self):
        self.start()
        data = bytes(512)
        for args, given, status, part in (
                (["--yes-write"], data, 1, b"admin_writes"), ([], data, 2, b"--yes-write"),
                (["--yes-write"], b"", 2, b"standard input"),
                (["--yes-write"], bytes(32769), 2, b"32768"),
                (["--yes-write", "--path", "a/1"], data, 2, b"--path")):
            out = self.raw("write", 1, 0, *args, data=given)
            self.assertEqual((out.returncode, out.stdout), (status, b""), args)
            self.assertIn(part, out.stderr)
        self.assertEqual(sum(p["writes"] for p in self.paths()), 0)

    def test_refused(self):
        self.start(admin_writes=True)
        for args, status, part in ((["read", 1], 2, b"which block"),
                                   (["read", 1, "x"], 2, b"number of a block"),
                                   (["read", 9, 0], 1, b"no namespace 9"),
                                   (["read", 1, 0, "--path", "c/1"], 1, b"no path c/1"),
                                   (["read", 1, 131072], 1, b"131072 blocks"),
                                   (["read", 1, -1], 2, b"nvmegw --help"),
                                   (["read", 1, 0, "--blocks", 0], 1, b"1 to 128")):
            out = self.raw(*args)
            self.assertEqual((out.returncode, out.stdout), (status, b""), out.stderr)
            self.assertIn(part, out.stderr)
        out = self.raw("write", 1, 0, "--yes-write", data=bytes(513))
        self.assertEqual(out.returncode, 1)
        self.assertIn(b"whole blocks of 512", out.stderr)
        out = self.cli("path", "list", "-o", "raw", check=False)
        self.assertEqual((out.returncode, out.stdout), (2, ""))


if __name__ == "__main__":
    unittest.main()
