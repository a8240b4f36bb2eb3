#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVMe/RDMA on soft-RoCE with the peers of a real Linux kernel, all in one guest.

    kernel nvme-rdma or nvme-tcp ---> nvmegwd ---> kernel nvmet over RDMA, over TCP,
                                              ---> or an nvmegwd with a file, over either
"""
import json
import os
import re
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../integration"), os.path.join(HERE, "..")]
from lab import VM, fio_jobs  # noqa: E402
from procs import binary  # noqa: E402
from wire import wait_for  # noqa: E402

ADDRESS = "10.0.2.15"  # the guest's own
GW_NQN = "nqn.2014-08.org.example:gw"
BACK_NQN = "nqn.2014-08.org.example:back"
UUID = "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"
DISK_MIB = 96
PORTS = {"gateway": 4420, "nvmet-rdma": 4421, "nvmet-tcp": 4422, "file-rdma": 4423,
         "file-tcp": 4423}
NO_PATH_TIMEOUT = 25
PATIENCE = 60  # s; the guest is emulated, and a machine with other work emulates slowly

LIBS = "/usr/lib/x86_64-linux-gnu"
PROVIDER = (LIBS + "/libibverbs/librxe-rdmav34.so", "/etc/libibverbs.d/rxe.driver")
MODULES = ("crc32_generic", "rdma_rxe", "rdma_ucm", "nvme_rdma", "nvmet_rdma", "nvmet_tcp", "brd")

# Where verified I/O goes: each job has a part of the disk of its own.
FIO = """fio --output-format=json --disk_util=0 --filename=/dev/nvme0n1 --direct=1 --ioengine=libaio \
--rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=16 --time_based \
--runtime={seconds} --size=16m --name=small --bs=4k --iodepth=16 --name=big --bs=64k --iodepth=4 \
--offset=16m --fsync=8 --name=huge --bs=512k --iodepth=2 --offset=32m --name=odd --bs=20k \
--iodepth=4 --offset=48m --size=15m"""

NVMET = """set -e
cd /sys/kernel/config/nvmet
mkdir subsystems/{nqn}
echo 1 >subsystems/{nqn}/attr_allow_any_host
mkdir subsystems/{nqn}/namespaces/1
echo -n {uuid} >subsystems/{nqn}/namespaces/1/device_uuid
echo -n /dev/ram0 >subsystems/{nqn}/namespaces/1/device_path
echo 1 >subsystems/{nqn}/namespaces/1/enable
for transport in rdma:{rdma} tcp:{tcp}; do
	port=ports/${{transport#*:}}
	mkdir $port
	echo ipv4 >$port/addr_adrfam
	echo ${{transport%:*}} >$port/addr_trtype
	echo {address} >$port/addr_traddr
	echo ${{transport#*:}} >$port/addr_trsvcid
done"""

# What a host on raw verbs does (rdma_hostile.c), and what it gets
HOSTILE = {
    "good": "status 0x0",
    "recfmt": "rejected 2",
    "qid": "rejected 3",
    "hsqsize-0": "rejected 4",
    "hsqsize-big": "rejected 4",
    "hrqsize": "rejected 5",
    "no-connect": "status 0x400c",
    "short-capsule": "disconnected",
    "long-capsule": "disconnected",
    "no-sgl": "status 0x4002",
    "bad-type": "status 0x4011",
    "segment-type": "status 0x4011",
    "read-in-capsule": "status 0x4011",
    "data-missing": "status 0x400f",
    "bad-offset": "status 0x4016",
    "bad-key": "disconnected",
    "bad-address": "disconnected",
    "bad-read-key": "disconnected",
    "huge-length": "status 0x4002",
}

BAD_DMESG = re.compile(r"I/O error|I/O Cmd|Buffer I/O|BUG:|WARNING:|Call Trace|blocked for more|"
                       r"failed with error|Mandatory keyed", re.I)


class RdmaTest(unittest.TestCase):
    """One guest for all; daemons and kernel targets anew for each test."""

    @classmethod
    def setUpClass(cls):
        cls.vm = VM("rdma", modules=MODULES, memory="1536M", files=PROVIDER,
                    programs=("rdma", *map(binary, ("nvmegwd", "nvmegw", "nvmegw-bench",
                                                     "vm/rdma_hostile"))),
                    cmdline=f"brd.rd_nr=1 brd.rd_size={DISK_MIB << 10}")
        cls.vm.__enter__()
        cls.addClassCleanup(cls.vm.__exit__)
        # For B=build/asan: librdmacm's protection domain of a device that was taken away
        cls.vm.run("mkdir -p /run/state; echo leak:librxe >/run/lsan")
        cls.vm.run(NVMET.format(nqn=BACK_NQN, uuid=UUID, rdma=PORTS["nvmet-rdma"],
                                tcp=PORTS["nvmet-tcp"], address=ADDRESS))

    def setUp(self):
        self.daemons = {}
        self.link_add()
        self.vm.run("dmesg -c >/dev/null; rm -rf /run/state/* /run/disk")
        self.expected_dmesg = "$^"
        self.addCleanup(self.clean)

    def clean(self):
        outcome = self._outcome.result
        failed = any(t is self for t, _ in outcome.failures + outcome.errors)
        if failed:
            print(f"\n--- {self.id()}: dmesg\n" + self.vm.status("dmesg | tail -n 40")[1])
            for name, job in self.daemons.items():
                print(f"--- {name}\n{job.output()[-4000:]}")
        self.vm.status("killall fio; nvme disconnect-all; killall -9 nvmegwd; "
                       "rm -f /sys/kernel/config/nvmet/ports/*/subsystems/*", PATIENCE)

    # ---- the guest's parts ----

    def link_add(self):
        self.vm.run("rdma link show rxe0/1 2>/dev/null || rdma link add rxe0 type rxe netdev eth0")
        wait_for(lambda: "state ACTIVE" in self.vm.run("rdma link show rxe0/1"), PATIENCE)

    def port(self, kind, there):
        """A port of the kernel's target, with the subsystem or without."""
        at = f"/sys/kernel/config/nvmet/ports/{PORTS[kind]}/subsystems/"
        self.vm.run(f"test -e {at}{BACK_NQN} || "
                    f"ln -s /sys/kernel/config/nvmet/subsystems/{BACK_NQN} {at}" if there
                    else f"rm {at}{BACK_NQN}", PATIENCE)

    def daemon(self, name, config):
        config = dict({"workers": 2, "pin": False, "memory_mib": 16, "log_level": "debug",
                       "state_dir": f"/run/state/{name}",
                       "control_socket": f"/run/{name}.sock"}, **config)
        self.vm.run(f"mkdir -p /run/state/{name}; cat >/run/{name}.json <<'END'\n"
                    f"{json.dumps(config)}\nEND")
        self.daemons[name] = self.vm.spawn(
            f"export LSAN_OPTIONS=suppressions=/run/lsan; "
            f"sh -c 'echo $$ >/run/{name}.pid; exec nvmegwd -c /run/{name}.json'")
        wait_for(lambda: "ready:" in self.daemons[name].output(), PATIENCE)

    def signal(self, name, which):
        """Ends it, and what the shell says of that."""
        self.vm.run(f"kill -{which} $(cat /run/{name}.pid)")
        return self.daemons.pop(name).wait(PATIENCE)

    def end(self, name):
        status, out = self.signal(name, "TERM")
        self.assertEqual(status, 0, out)

    def back_end(self, name, transport, cntlid=1):
        disk = {"transport": "file", "path": "/run/disk", "size": f"{DISK_MIB}MiB", "uuid": UUID}
        self.daemon(name, {
            "workers": 1, "listeners": [self.at(transport, PORTS["file-" + transport])],
            "subsystems": [{"nqn": BACK_NQN, "cntlid_min": cntlid, "cntlid_max": cntlid + 98,
                            "upstreams": [disk]}]})

    @staticmethod
    def at(transport, port):
        return {"transport": transport, "traddr": ADDRESS, "trsvcid": port}

    def upstream(self, kind, **more):
        return dict({"name": kind, "nqn": BACK_NQN, "keep_alive_tmo": 10, "reconnect_delay": 0.5,
                     "connect_timeout": 30}, **self.at(kind.split("-")[-1], PORTS[kind]), **more)

    def gateway(self, *kinds, listeners=("rdma", "tcp"), usable=None, config=()):
        """In front of one upstream of each kind."""
        for kind in kinds:
            if kind.startswith("nvmet"):
                self.port(kind, True)
            else:
                self.back_end(kind, kind.split("-")[1])
        self.daemon("gateway", dict({
            "listeners": [self.at(t, PORTS["gateway"]) for t in listeners],
            "subsystems": [{"nqn": GW_NQN, "policy": "round-robin",
                            "no_path_timeout": NO_PATH_TIMEOUT,
                            "upstreams": [self.upstream(kind) for kind in kinds]}]}, **dict(config)))
        self.wait_usable(len(kinds) if usable is None else usable)

    def paths(self):
        return self.vm.json("nvmegw -s /run/gateway.sock -o json path list")

    def wait_usable(self, n):
        wait_for(lambda: sum(bool(p["usable"]) for p in self.paths()) == n, PATIENCE)

    # ---- the host ----

    def connect(self, transport="rdma"):
        self.vm.run(f"nvme connect -t {transport} -a {ADDRESS} -s {PORTS['gateway']} -n {GW_NQN} "
                    "--reconnect-delay=1", PATIENCE)
        wait_for(lambda: self.vm.status("test -b /dev/nvme0n1")[0] == 0, PATIENCE)

    def disconnect(self):
        out = self.vm.run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.assertIn("disconnected 1 controller(s)", out)
        wait_for(lambda: not self.vm.json("nvmegw -s /run/gateway.sock -o json controller list"),
                 PATIENCE)
        self.check_dmesg()
        self.end("gateway")

    def check_dmesg(self):
        lines = [line for line in self.vm.run("dmesg").splitlines()
                 if BAD_DMESG.search(line) and not re.search(self.expected_dmesg, line)]
        self.assertFalse(lines, "kernel messages:\n" + "\n".join(lines))

    def fio(self, seconds):
        return self.vm.spawn(FIO.format(seconds=seconds))

    def fio_done(self, fio):
        jobs = fio_jobs(*fio.wait(2 * PATIENCE))
        for job in jobs:
            self.assertGreater(job["write"]["total_ios"], 0, job["jobname"])
        self.assertGreater(sum(job["read"]["total_ios"] for job in jobs), 0,
                           "nothing was verified")

    def verify_over(self, *kinds, transport="rdma"):
        self.gateway(*kinds)
        self.connect(transport)
        self.fio_done(self.fio(8))
        for path in self.paths():
            self.assertGreater(path["reads"], 0, path)
            self.assertGreater(path["writes"], 0, path)
        self.disconnect()

    # ---- who talks to whom ----

    def test_discover(self):
        self.gateway("nvmet-rdma")
        log = self.vm.json(f"nvme discover -t rdma -a {ADDRESS} -s {PORTS['gateway']} -o json",
                           PATIENCE)["records"]
        found = {r["trtype"]: r for r in log if r["subnqn"] == GW_NQN}
        self.assertEqual(set(found), {"rdma", "tcp"})
        self.assertEqual(found["rdma"]["traddr"], ADDRESS)
        self.assertEqual(int(found["rdma"]["trsvcid"]), PORTS["gateway"])
        self.check_dmesg()

    def test_upstream_nvmet_rdma(self):
        self.verify_over("nvmet-rdma")

    def test_upstream_nvmet_tcp(self):
        self.verify_over("nvmet-tcp")

    def test_upstream_file_rdma(self):
        self.verify_over("file-rdma")

    def test_upstream_file_tcp(self):
        self.verify_over("file-tcp")

    def test_tcp_host(self):
        self.verify_over("nvmet-rdma", "nvmet-tcp", transport="tcp")

    def test_discovery_source(self):
        """The upstreams are found by the kernel target's own discovery controller."""
        self.port("nvmet-rdma", True)
        source = self.upstream("nvmet-rdma", discovery=True)
        del source["nqn"]
        self.daemon("gateway", {
            "listeners": [self.at("rdma", PORTS["gateway"])],
            "subsystems": [{"nqn": GW_NQN, "upstreams": [source]}]})
        self.wait_usable(1)
        self.connect()
        self.fio_done(self.fio(4))
        self.disconnect()

    def test_little_memory(self):
        """One worker with the least memory: data in scattered segments, and everybody waits."""
        self.gateway("nvmet-rdma", config={"memory_mib": 4, "workers": 1, "requests": 64})
        self.connect()
        self.fio_done(self.fio(10))
        self.disconnect()

    def test_bench(self):
        """Our own initiator as host, on the kernel's target and on ours; both transports to ours."""
        self.vm.run(f"dd if=/dev/zero of=/dev/ram0 bs=1M count={DISK_MIB} conv=fsync", PATIENCE)
        self.gateway("file-rdma")
        self.port("nvmet-rdma", True)
        for transport, kind, nqn in (("rdma", "nvmet-rdma", BACK_NQN), ("rdma", "gateway", GW_NQN),
                                     ("tcp", "gateway", GW_NQN)):
            for size in ("4k", "256k"):
                with self.subTest(transport=transport, to=kind, size=size):
                    out = self.vm.run(
                        f"nvmegw-bench --transport {transport} --addr {ADDRESS}:{PORTS[kind]} "
                        f"--nqn {nqn} --queues 2 --depth 8 --bs {size} --rw mix --verify --time 3 "
                        f"--size 32m --wait 10 2>&1", PATIENCE)
                    self.assertNotIn("lost", out)
        self.check_dmesg()
        self.end("gateway")

    # ---- hosts that do wrong ----

    def hostile(self, case):
        return self.vm.run(f"rdma_hostile {ADDRESS} {PORTS['gateway']} {GW_NQN} {case}",
                           PATIENCE).strip()

    def test_hostile_hosts(self):
        """Each gets what it deserves, and nobody else notices."""
        self.gateway("nvmet-tcp")
        self.connect()
        fio = self.fio(30)
        for case, expected in HOSTILE.items():
            with self.subTest(case):
                self.assertEqual(self.hostile(case), expected)
        self.assertEqual(self.hostile("good"), "status 0x0")
        self.fio_done(fio)
        self.disconnect()

    # ---- paths that go ----

    def test_port_removed(self):
        """One path over RDMA and one over TCP; the kernel target takes away each in turn."""
        self.gateway("nvmet-rdma", "nvmet-tcp")
        self.connect()
        fio = self.fio(20)
        for kind in ("nvmet-rdma", "nvmet-tcp"):
            time.sleep(3)
            self.port(kind, False)
            self.wait_usable(1)
            time.sleep(1)
            self.port(kind, True)
            self.wait_usable(2)
        self.fio_done(fio)
        self.disconnect()

    def test_back_end_killed(self):
        """The only path goes with its process, and comes back: held I/O goes on."""
        self.gateway("file-rdma")
        self.connect()
        fio = self.fio(12)
        time.sleep(3)
        self.signal("file-rdma", "KILL")
        self.wait_usable(0)
        self.back_end("file-rdma", "rdma")
        self.wait_usable(1)
        self.fio_done(fio)
        self.disconnect()

    def test_link_deleted(self):
        """The RDMA device goes in the middle of I/O; the other path is over TCP, as the host is."""
        self.gateway("nvmet-rdma", "nvmet-tcp")
        self.connect("tcp")
        fio = self.fio(20)
        time.sleep(3)
        self.vm.run("rdma link delete rxe0", PATIENCE)
        self.wait_usable(1)
        time.sleep(2)
        self.link_add()
        # The kernel's own port does not come back by itself.
        self.port("nvmet-rdma", False)
        self.port("nvmet-rdma", True)
        self.wait_usable(2)
        self.fio_done(fio)
        self.disconnect()

    def test_gateway_killed(self):
        """The host reconnects to the new process over RDMA."""
        self.gateway("nvmet-tcp")
        self.connect()
        fio = self.fio(12)
        time.sleep(3)
        self.signal("gateway", "KILL")
        self.expected_dmesg = "failed|Failed reconnect"
        self.gateway("nvmet-tcp")
        self.fio_done(fio)
        self.disconnect()

    def test_device_comes_later(self):
        """Without a device the gateway says so once and serves TCP; then RDMA too."""
        self.vm.run("rdma link delete rxe0", PATIENCE)
        self.gateway("nvmet-tcp")
        out = self.daemons["gateway"].output()
        self.assertEqual(len(re.findall("no RDMA device", out)), 1, out)
        self.assertEqual(len(re.findall("cannot listen on .* for RDMA", out)), 1, out)
        self.connect("tcp")
        self.vm.run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.link_add()
        wait_for(lambda: "for RDMA\n" in self.daemons["gateway"].output(), PATIENCE)
        self.connect("rdma")
        self.fio_done(self.fio(3))
        self.disconnect()


if __name__ == "__main__":
    unittest.main(verbosity=2)
