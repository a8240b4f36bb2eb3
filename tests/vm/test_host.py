#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Linux host on the gateway: what it sees, and a filesystem that lives through path loss.

    guest: nvme-tcp ---> gateway ---> back-end a \\
                                 ---> back-end b  > one disk image
"""
import os
import re
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../integration")]
from lab import HOST, VM, fio_jobs  # noqa: E402
from stack import GW_NQN, UUID, StackTest, file_upstream, free_ports, tcp_upstream  # noqa: E402
from wire import wait_for  # noqa: E402

DISK_MIB = 256
DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
NO_PATH_TIMEOUT = 25   # s that the gateway holds I/O; a Linux host would wait 30
PAUSE_MAX = 15         # s that I/O may stand still when one of two paths goes, which is not held

FIO = """fio --output-format=json --disk_util=0 --directory=/mnt --size=24m --direct=1 \
--ioengine=libaio --rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=64 --serialize_overlap=1 \
--loops=1000000 --runtime={seconds} \
--name=small --bs=4k --iodepth=16 --name=big --bs=64k --iodepth=4 --fsync=8"""

BAD_DMESG = re.compile(r"I/O error|I/O Cmd|EXT4-fs (error|warning)|Buffer I/O|BUG:|WARNING:|"
                       r"Call Trace|blocked for more|rejected|invalid|failed to", re.I)


def bad(result):
    return len(result.failures) + len(result.errors)


# Of the one path of a host with multipath: what may not be repeated, like reading ahead, fails with
# it and nobody is the worse for it. All else goes on, and the device itself says nothing.
PATH_LOST = "nvme0c0n1"


class HostTest(StackTest):
    """One guest for all tests of a class; back-ends and gateway anew for each test."""
    cmdline = ""
    connect_options = ""

    @classmethod
    def setUpClass(cls):
        cls.vm = VM(cls.__name__, cmdline=cls.cmdline)
        cls.vm.__enter__()
        cls.addClassCleanup(cls.vm.__exit__)

    def setUp(self):
        super().setUp()
        self.ports = dict(zip(("a", "b", "gateway"), free_ports(3)))
        self.backs = {}
        for side in ("a", "b"):
            self.start_back(side)
        self.start_gateway()
        wait_for(lambda: self.usable() == 2)
        self.vm.run("dmesg -c >/dev/null")
        self.expected_dmesg = "$^"
        self.addCleanup(self.show_failure)

    def tearDown(self):
        self.vm.status("killall fio; umount -l /mnt; nvme disconnect-all")
        super().tearDown()

    def run(self, result=None):
        self.result, self.bad_before = result, bad(result)
        return super().run(result)

    def show_failure(self):
        if bad(self.result) == self.bad_before:
            return
        print(f"\n--- {self.id()}: end of the host's kernel log\n"
              + self.vm.status("dmesg | tail -n 30")[1])
        for daemon in ("gateway", "back-a", "back-b"):
            print(f"--- end of {daemon}'s log\n" + self.p.log_tail(daemon))

    def start_back(self, side):
        disk = file_upstream(self.p.path("disk.img"), size=f"{DISK_MIB}MiB")
        self.backs[side] = self.back_end("back-" + side, self.ports[side],
                                         cntlid=1 if side == "a" else 101, upstream=disk)

    def start_gateway(self, manager=None):
        config = self.gateway_config(
            self.ports["gateway"], [tcp_upstream(self.ports[side], side) for side in ("a", "b")],
            policy="round-robin", no_path_timeout=NO_PATH_TIMEOUT)
        self.gw = self.managed(manager, "gateway", config) if manager else \
            self.daemon("gateway", config)

    def kill(self, *sides):
        for side in sides:
            self.p.kill(self.backs[side])
        wait_for(lambda: self.usable() == 2 - len(sides))

    def restore(self, *sides):
        for side in sides:
            self.start_back(side)
        wait_for(lambda: self.usable() == 2)

    # ---- in the guest ----

    @property
    def at(self):
        return f"-t tcp -a {HOST} -s {self.ports['gateway']}"

    def connect(self):
        self.vm.run(f"nvme connect {self.at} -n {GW_NQN} --reconnect-delay=1 "
                    + self.connect_options)
        wait_for(lambda: self.vm.status("test -b /dev/nvme0n1")[0] == 0)

    def disconnect(self):
        out = self.vm.run(f"nvme disconnect -n {GW_NQN}")
        self.assertIn("disconnected 1 controller(s)", out)
        wait_for(lambda: not self.show("controller", "list"))
        self.assertEqual(self.vm.run("ls /dev | grep ^nvme").split(), ["nvme-fabrics"])
        self.check_dmesg()

    def check_dmesg(self):
        lines = [line for line in self.vm.run("dmesg").splitlines()
                 if BAD_DMESG.search(line) and not re.search(self.expected_dmesg, line)]
        self.assertFalse(lines, "kernel messages of the host:\n" + "\n".join(lines))

    def live(self):
        return self.vm.run("cat /sys/class/nvme/nvme0/state").strip() == "live"

    def mkfs(self):
        self.vm.run("mkfs.ext4 -q /dev/nvme0n1 && mount /dev/nvme0n1 /mnt && "
                    "dd if=/dev/urandom of=/run/reference bs=1M count=8 && "
                    "cp /run/reference /mnt && sync")

    def fsck(self):
        """What was written is there, read from the device and not from the host's cache."""
        self.vm.run("umount /mnt && e2fsck -f -n /dev/nvme0n1 && echo 3 >/proc/sys/vm/drop_caches && "
                    "mount -o ro /dev/nvme0n1 /mnt && cmp /run/reference /mnt/reference && "
                    "umount /mnt")

    def fio(self, seconds):
        return self.vm.spawn(FIO.format(seconds=seconds))

    def fio_done(self, fio, pause_max):
        """It ended well: nothing lost, nothing wrong, and no I/O took longer than that."""
        jobs = fio_jobs(*fio.wait(240))
        for job in jobs:
            self.assertGreater(job["read"]["total_ios"], 0, "nothing was verified")
        pause = max(job[way]["lat_ns"]["max"] for job in jobs for way in ("read", "write")) / 1e9
        self.assertLess(pause, pause_max, "longest I/O in seconds")

    def lives_through_path_cut(self):
        self.connect()
        self.mkfs()
        fio = self.fio(20)
        for side in ("a", "b"):
            time.sleep(4)
            self.kill(side)
            time.sleep(2)
            self.restore(side)
        self.fio_done(fio, PAUSE_MAX)
        self.fsck()
        self.disconnect()


class Linux(HostTest):
    """The host with its own multipathing on, as it comes."""

    def test_discover(self):
        log = self.vm.json(f"nvme discover {self.at} -o json")["records"]
        found, = [r for r in log if r["subnqn"] == GW_NQN]
        self.assertEqual((found["trtype"], found["adrfam"], found["subtype"]),
                         ("tcp", "ipv4", "nvme subsystem"))
        self.assertEqual(int(found["trsvcid"]), self.ports["gateway"])
        self.assertLessEqual({r["subnqn"] for r in log}, {GW_NQN, DISCOVERY_NQN})
        self.check_dmesg()

    def test_what_the_host_sees(self):
        self.connect()
        for check in (self.namespace_list, self.id_ctrl, self.id_ns, self.subsystem, self.ana,
                      self.features, self.logs):
            with self.subTest(check.__name__):
                check()
        self.disconnect()

    def namespace_list(self):
        disks = self.vm.run("ls /sys/block").split()
        self.assertEqual([d for d in disks if re.fullmatch(r"nvme\d+n\d+", d)], ["nvme0n1"])
        device, = self.vm.json("nvme list -o json")["Devices"]
        self.assertEqual(device["DevicePath"], "/dev/nvme0n1")
        self.assertEqual(device["PhysicalSize"], DISK_MIB << 20)
        self.assertTrue(device["ModelNumber"].strip())
        self.assertTrue(device["SerialNumber"].strip())
        nsids = self.vm.json("nvme list-ns /dev/nvme0 -o json")["nsid_list"]
        self.assertEqual([n["nsid"] for n in nsids], [device["NameSpace"]])
        path, = self.show("namespace", "list")
        self.assertEqual(path["nsid"], device["NameSpace"])

    def id_ctrl(self):
        c = self.vm.json("nvme id-ctrl /dev/nvme0 -o json")
        self.assertEqual(c["subnqn"], GW_NQN)
        self.assertEqual(c["cntlid"], int(self.vm.run("cat /sys/class/nvme/nvme0/cntlid")))
        self.assertGreaterEqual(c["ver"], 0x10400)
        self.assertEqual(c["cntrltype"], 1)
        self.assertEqual((c["sqes"], c["cqes"]), (0x66, 0x44))
        self.assertTrue(c["cmic"] & 0x2, "CMIC: more than one controller")
        self.assertTrue(c["cmic"] & 0x8, "CMIC: ANA")
        self.assertTrue(1 <= c["nanagrpid"] <= c["anagrpmax"])
        self.assertGreater(c["anatt"], 0)
        self.assertTrue(1 <= c["mnan"] <= c["nn"])
        self.assertGreaterEqual(c["ioccsz"], 4 + 8192 // 16, "8 KiB of data in a capsule")
        self.assertGreaterEqual(c["iorcsz"], 1)
        for field in ("kas", "maxcmd", "acl", "aerl", "mdts", "sgls"):
            self.assertGreater(c[field], 0, field)
        self.assertTrue(c["oaes"] & 0x100, "OAES: namespace attribute notices")
        self.assertTrue(c["oaes"] & 0x800, "OAES: ANA change notices")

    def id_ns(self):
        n = self.vm.json("nvme id-ns /dev/nvme0n1 -o json")
        block = 1 << n["lbafs"][n["flbas"] & 0xf]["ds"]
        self.assertEqual(n["nsze"] * block, DISK_MIB << 20)
        self.assertTrue(0 < n["nuse"] <= n["ncap"] <= n["nsze"])
        self.assertTrue(n["nmic"] & 1, "NMIC: shared")
        self.assertGreater(n["anagrpid"], 0)
        descs = self.vm.json("nvme ns-descs /dev/nvme0n1 -o json")["ns-descs"]
        self.assertIn(UUID, [d.get("uuid") for d in descs])
        self.assertEqual(self.vm.run("cat /sys/block/nvme0n1/uuid").strip(), UUID)

    def subsystem(self):
        host, = self.vm.json("nvme list-subsys -o json")
        subsystem, = host["Subsystems"]
        path, = subsystem["Paths"]
        self.assertEqual(subsystem["NQN"], GW_NQN)
        self.assertEqual((path["Transport"], path["State"]), ("tcp", "live"))
        controller, = self.show("controller", "list")
        self.assertEqual(controller["hostnqn"], host["HostNQN"])

    def ana(self):
        log = self.vm.json("nvme ana-log /dev/nvme0 -o json")
        groups = log["ANA DESC LIST "]
        self.assertEqual(len(groups), log["ngrps"])
        nsids = [n["nsid"] for g in groups for n in g["NSIDS"]]
        self.assertEqual(len(nsids), 1)
        self.assertEqual([g["state"] for g in groups if g["NSIDS"]], ["optimized"])
        self.assertEqual(self.vm.run("cat /sys/block/nvme0c0n1/ana_state").strip(), "optimized")

    def feature(self, fid):
        out = self.vm.run(f"nvme get-feature /dev/nvme0 -f {fid}")
        return int(re.search(r"Current value:\s*(0x)?([0-9a-f]+)", out)[2], 16)

    def features(self):
        queues = self.feature(0x07)
        self.assertGreaterEqual(queues & 0xffff, 1, "submission queues, 0's based; 2 processors")
        self.assertEqual(queues >> 16, queues & 0xffff)
        self.assertEqual(self.feature(0x0b) & 0x900, 0x900, "ANA and namespace notices are on")
        self.assertEqual(self.feature(0x0f), 5000, "KATO, ms: the host's default")
        self.assertLessEqual(self.feature(0x06), 1, "volatile write cache")
        self.vm.run("nvme set-feature /dev/nvme0 -f 0x0f -v 6000")
        self.assertEqual(self.feature(0x0f), 6000)

    def logs(self):
        smart = self.vm.json("nvme smart-log /dev/nvme0 -o json")
        self.assertEqual(smart["critical_warning"], 0)
        self.vm.json("nvme error-log /dev/nvme0 -o json")
        self.vm.json("nvme fw-log /dev/nvme0 -o json")
        self.vm.json("nvme changed-ns-list-log /dev/nvme0 -o json")
        effects = self.vm.run("nvme get-log /dev/nvme0 --log-id=5 --log-len=4096 -b | od -v -An "
                              "-tx1 -w4").splitlines()
        for opcode in (0x02, 0x06, 0x0c):
            self.assertEqual(int(effects[opcode].split()[0], 16) & 1, 1, f"admin {opcode:#x}")
        for opcode in (0x00, 0x01, 0x02):
            self.assertEqual(int(effects[256 + opcode].split()[0], 16) & 1, 1, f"I/O {opcode:#x}")

    def test_commands(self):
        """Commands by the host's passthrough: those that we say we have work, others are refused,
        and neither disturbs the controller."""
        self.connect()
        oncs = self.vm.json("nvme id-ctrl /dev/nvme0 -o json")["oncs"]
        self.vm.run("head -c 4096 /dev/urandom >/run/a; head -c 4096 /dev/zero >/run/zero")
        block = int(self.vm.run("cat /sys/block/nvme0n1/queue/logical_block_size"))
        blocks = f"-s 8 -c {4096 // block - 1}"
        rw = blocks + " -z 4096"
        self.vm.run(f"nvme write /dev/nvme0n1 {rw} -d /run/a")
        self.vm.run(f"nvme read /dev/nvme0n1 {rw} -d /run/b && cmp /run/a /run/b")
        self.vm.run("nvme flush /dev/nvme0n1")
        if oncs & 0x01:
            self.vm.run(f"nvme compare /dev/nvme0n1 {rw} -d /run/a")
            self.assertIn("Compare Failure",
                          self.vm.status(f"nvme compare /dev/nvme0n1 {rw} -d /run/zero")[1])
        if oncs & 0x80:
            self.vm.run(f"nvme verify /dev/nvme0n1 {blocks}")
        if oncs & 0x04:
            self.vm.run("nvme dsm /dev/nvme0n1 -d -s 800 -b 8")
        if oncs & 0x08:
            self.vm.run(f"nvme write-zeroes /dev/nvme0n1 {blocks}")
            self.vm.run(f"nvme read /dev/nvme0n1 {rw} -d /run/b && cmp /run/zero /run/b")
        for command, status in (
                ("nvme admin-passthru /dev/nvme0 -o 0xc0", "Invalid Command Opcode"),
                ("nvme io-passthru /dev/nvme0n1 -o 0xc0 -n 1", "Invalid Command Opcode"),
                ("nvme get-log /dev/nvme0 --log-id=0xb0 --log-len=512", "Invalid Log Page"),
                ("nvme get-feature /dev/nvme0 -f 0xb0", "Invalid Field"),
                (f"nvme read /dev/nvme0n1 -s {DISK_MIB << 20} -c 0 -z {block} -d /run/b",
                 "LBA Out of Range")):
            code, out = self.vm.status(command)
            self.assertNotEqual(code, 0, command)
            self.assertRegex(out.lower(), status.lower().replace("command ", "(command )?"), command)
        self.assertTrue(self.live())
        self.expected_dmesg = "I/O Cmd"
        self.disconnect()

    def test_path_cut(self):
        self.lives_through_path_cut()

    def test_all_paths_lost(self):
        self.connect()
        self.mkfs()
        fio = self.fio(12)
        time.sleep(3)
        self.kill("a", "b")
        time.sleep(5)
        self.assertTrue(fio.running())
        self.restore("a", "b")
        self.fio_done(fio, NO_PATH_TIMEOUT)
        self.fsck()
        self.disconnect()

    def test_gateway_killed(self):
        """The host reconnects to the restarted gateway and finds the same namespace."""
        self.connect()
        self.mkfs()
        fio = self.fio(12)
        time.sleep(3)
        self.p.kill(self.gw)
        time.sleep(2)
        self.start_gateway()
        self.expected_dmesg = ("failed to connect socket|Failed reconnect|failed to send request|"
                               + PATH_LOST)
        self.fio_done(fio, 20)
        self.assertTrue(self.live())
        self.fsck()
        self.disconnect()

    def test_gateway_restarted(self):
        """In order, while its listening socket is held open: the host's first attempt succeeds."""
        self.end(self.gw)
        self.expected_dmesg = "failed to send request|" + PATH_LOST
        manager = self.manager(self.ports["gateway"])
        self.start_gateway(manager)
        wait_for(lambda: self.usable() == 2)
        self.connect()
        self.mkfs()
        fio = self.fio(14)
        for gap in (0, 2):
            time.sleep(4)
            self.end(self.gw)
            time.sleep(gap)
            self.start_gateway(manager)
            wait_for(self.live)
        self.fio_done(fio, 20)
        self.fsck()
        self.disconnect()

    def test_reset(self):
        """The host resets its controller under load."""
        self.connect()
        self.mkfs()
        fio = self.fio(8)
        for _ in range(2):
            time.sleep(2)
            self.vm.run("nvme reset /dev/nvme0")
            wait_for(self.live)
        self.fio_done(fio, 20)
        self.fsck()
        self.disconnect()


class LinuxWithoutMultipath(HostTest):
    """The host sees a plain device; digests on."""
    cmdline = "nvme_core.multipath=N"
    connect_options = "--hdr-digest --data-digest"

    def test_path_cut(self):
        self.assertEqual(self.vm.run("cat /sys/module/nvme_core/parameters/multipath"), "N\n")
        self.lives_through_path_cut()


if __name__ == "__main__":
    unittest.main(verbosity=2)
