#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVMe/RDMA on soft-RoCE with the peers of a real Linux kernel, nearly all in one guest.

    kernel nvme-rdma or nvme-tcp ---> nvmegwd ---> kernel nvmet over RDMA, over TCP,
                                              ---> or an nvmegwd with a file, over either

One host is a machine of its own, at the other end of a cable that is pulled out.

Hosts come by one network interface, eth0 with rxe0; the two kinds of upstreams have one each, up0
with rxe1 and up1. So each can be cut off alone.

Load runs for as long as a test has something to do to it, and not a second longer: the guest is
emulated, and all of this is part of every `make check`.
"""
import json
import os
import re
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../integration"), os.path.join(HERE, "..")]
from lab import LabError, VM, fio_jobs  # noqa: E402
from procs import binary  # noqa: E402
from rdma_peers import Peers  # noqa: E402
from wire import wait_for  # noqa: E402

ADDRESS = "10.0.2.15"  # the guest's own, for hosts
CABLE = ("10.8.0.1", "10.8.0.2")  # a host's and the gateway's end
UPSTREAMS = {"rdma": ("up0", "10.9.0.1"), "tcp": ("up1", "10.9.1.1")}
GW_NQN = "nqn.2014-08.org.example:gw"
BACK_NQN = "nqn.2014-08.org.example:back"
UUID = "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"
HOST_ID = "5d8f3c1e-0b52-4e0f-9a0b-1f6a55a3c9d2"
DISK_MIB = 96
PORTS = {"gateway": 4420, "nvmet-rdma": 4421, "nvmet-tcp": 4422, "file-rdma": 4423,
         "file-tcp": 4424}
NO_PATH_TIMEOUT = 25
FIO_STOPPED = 128  # what it ends with then
LOAD_MAX = 240  # s that load goes on when nobody stops it
POLL = 0.2  # s
DEBUG = "tcp,rdma,fabrics,upstream,path"  # not each I/O: it takes time and hides all else
STUCK = 30  # s that nothing waits in the kernel; longer than I/O waits for a path
PATIENCE = 60  # s; the guest is emulated, and a machine with other work emulates slowly

LIBS = "/usr/lib/x86_64-linux-gnu"
PROVIDER = (LIBS + "/libibverbs/librxe-rdmav34.so", "/etc/libibverbs.d/rxe.driver")
MODULES = ("crc32_generic", "rdma_rxe", "rdma_ucm", "nvme_rdma", "nvmet_rdma", "nvmet_tcp", "brd",
           "dummy")
HOST_MODULES = ("crc32_generic", "rdma_rxe", "nvme_rdma")

# Where verified I/O goes: each job has a part of the disk of its own. fio alone would write a block
# again, or read it to verify, while a write of it is still out: as soon as one takes longer than the
# job needs for all the others, as behind a fence. What it then finds may be made of both, by right.
# And with time_based instead of loops it would not look which of the writes to a block it finds.
# All else goes first, or what a test asks for takes three times as long.
FIO = f"""echo $$ >/run/fio.pid; renice -n 19 $$; \
exec fio --output-format=json --disk_util=0 --direct=1 \
--filename=/dev/nvme0n1 --ioengine=libaio --rw=randwrite --verify=crc32c --verify_fatal=1 \
--verify_backlog=16 --serialize_overlap=1 --loops=1000000 \
--runtime={LOAD_MAX} --size=16m --name=small --bs=4k --iodepth=16 --name=big --bs=64k --iodepth=4 \
--offset=16m --fsync=8 --name=huge --bs=512k --iodepth=2 --offset=32m --name=odd --bs=20k \
--iodepth=4 --offset=48m --size=15m"""

NVMET_SUBSYSTEM = """set -e
cd /sys/kernel/config/nvmet
mkdir subsystems/{nqn}
echo 1 >subsystems/{nqn}/attr_allow_any_host
mkdir subsystems/{nqn}/namespaces/1
echo -n {uuid} >subsystems/{nqn}/namespaces/1/device_uuid
echo -n {device} >subsystems/{nqn}/namespaces/1/device_path
echo 1 >subsystems/{nqn}/namespaces/1/enable"""

NVMET_PORTS = """set -e
cd /sys/kernel/config/nvmet
while read -r transport address service; do
	port=ports/$service
	mkdir $port
	echo ipv4 >$port/addr_adrfam
	echo $transport >$port/addr_trtype
	echo $address >$port/addr_traddr
	echo $service >$port/addr_trsvcid
done <<END
{ports}
END"""

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
    "flood": "disconnected",
    "io-flood": "disconnected",
    "io-short-capsule": "disconnected",
    "io-long-capsule": "disconnected",
    "io-no-connect": "status 0x400c",
}

BAD_DMESG = re.compile(r"I/O error|I/O Cmd|Buffer I/O|BUG:|WARNING:|Call Trace|blocked for more|"
                       r"failed with error|Mandatory keyed", re.I)


class Lab(unittest.TestCase):
    """One guest for all tests of a class; daemons and kernel targets anew for each."""

    GUEST = {}

    @classmethod
    def setUpClass(cls):
        cls.cable, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        cls.vm = VM(**cls.GUEST, cable=end, modules=MODULES, memory="1536M", files=PROVIDER,
                    programs=("rdma", *map(binary, ("nvmegwd", "nvmegw-bench", "vm/rdma_hostile",
                                                     "vm/rdma_controller", "vm/rdma_early"))),
                    brought=[binary(f"vm/preload_{n}.so") 
                             for n in ("no_windows", "poor_device", "other_vendor")],
                    cmdline=f"brd.rd_nr=1 brd.rd_size={DISK_MIB << 10} "
                            f"sysctl.kernel.hung_task_timeout_secs={STUCK}")
        cls.vm.__enter__()
        cls.addClassCleanup(cls.vm.__exit__)
        # For B=build/asan: the protection domain, 16 bytes, that librdmacm made on a device that
        # was taken away (rdma_dev.c); whole call chains, so that none of ours is taken for it.
        cls.vm.run("mkdir -p /run/state; echo leak:librdmacm >/run/lsan")
        for netdev, address in UPSTREAMS.values():
            cls.vm.run(f"ip link add {netdev} type dummy && ip link set {netdev} up && "
                       f"ip addr add {address}/24 dev {netdev}")
        ports = [f"{t} {UPSTREAMS[t][1]} {PORTS['nvmet-' + t]}" for t in UPSTREAMS]
        cls.vm.run(NVMET_SUBSYSTEM.format(nqn=BACK_NQN, uuid=UUID, device="/dev/ram0"))
        cls.vm.run(NVMET_PORTS.format(ports="\n".join(ports)))

    def setUp(self):
        self.daemons = {}
        self.link_add("rxe0", "eth0")
        self.link_add("rxe1", "up0")
        self.vm.run("dmesg -c >/dev/null; rm -rf /run/state/* /run/disk")
        self.rdma_upstream = {}  # more of its configuration
        self.expected_dmesg = "$^"
        self.addCleanup(self.clean)

    def clean(self):
        outcome = self._outcome.result
        failed = any(t is self for t, _ in outcome.failures + outcome.errors)
        try:
            if failed:
                self.tell()
            self.vm.status("killall fio; nvme disconnect-all; killall -9 nvmegwd; "
                           "rm -f /sys/kernel/config/nvmet/ports/*/subsystems/*", PATIENCE)
        except LabError:
            outcome.stop()  # a guest that is lost is of no use to any other test
            raise

    def tell(self):
        print(f"\n--- {self.id()}: dmesg\n" + self.vm.status("dmesg | tail -n 40")[1])
        for name, job in self.daemons.items():
            print(f"--- {name}\n{job.output()[-4000:]}")

    # ---- the guest's parts ----

    def hostile(self, case):
        return self.vm.run(f"rdma_hostile {ADDRESS} {PORTS['gateway']} {GW_NQN} {case}",
                           PATIENCE).strip()

    def link_add(self, name, netdev):
        self.vm.run(f"ip link set {netdev} up; rdma link show {name}/1 2>/dev/null || "
                    f"rdma link add {name} type rxe netdev {netdev}")
        wait_for(lambda: "state ACTIVE" in self.vm.run(f"rdma link show {name}/1"), PATIENCE)

    def port(self, kind, there):
        """A port of the kernel's target, with the subsystem or without."""
        at = f"/sys/kernel/config/nvmet/ports/{PORTS[kind]}/subsystems/"
        self.vm.run(f"test -e {at}{BACK_NQN} || "
                    f"ln -s /sys/kernel/config/nvmet/subsystems/{BACK_NQN} {at}" if there
                    else f"rm {at}{BACK_NQN}", PATIENCE)

    def daemon(self, name, config, env=""):
        config = dict({"workers": 2, "pin": False, "memory_mib": 16,
                       "state_dir": f"/run/state/{name}",
                       "control_socket": f"/run/{name}.sock"}, **config)
        if name == "gateway":
            config["http"] = {}
        self.vm.run(f"mkdir -p /run/state/{name}; cat >/run/{name}.json <<'END'\n"
                    f"{json.dumps(config)}\nEND")
        self.daemons[name] = self.vm.spawn(
            "export LSAN_OPTIONS=suppressions=/run/lsan "
            "ASAN_OPTIONS=fast_unwind_on_malloc=0:verify_asan_link_order=0 "
            f"UBSAN_OPTIONS=print_stacktrace=1 {env}; "
            f"sh -c 'echo $$ >/run/{name}.pid; exec nvmegwd -d {DEBUG} -c /run/{name}.json'")
        wait_for(lambda: "ready:" in self.daemons[name].output(), PATIENCE)

    def signal(self, name, which):
        """Ends it, and what the shell says of that."""
        self.vm.run(f"kill -{which} $(cat /run/{name}.pid)")
        return self.daemons.pop(name).wait(PATIENCE)

    def ends(self):
        """What the gateway has said of the ends of hosts' controllers and queues."""
        return "\n".join(line for line in self.daemons["gateway"].output().split("\n")
                         if ": ended: " in line)

    def end(self, name):
        status, out = self.signal(name, "TERM")
        self.assertEqual(status, 0, out)

    def back_end(self, name, transport, cntlid=1):
        disk = {"transport": "file", "path": "/run/disk", "size": f"{DISK_MIB}MiB", "uuid": UUID}
        self.daemon(name, {
            "workers": 1,
            "listeners": [self.at(transport, PORTS["file-" + transport], UPSTREAMS[transport][1])],
            "subsystems": [{"nqn": BACK_NQN, "cntlid_min": cntlid, "cntlid_max": cntlid + 98,
                            "upstreams": [disk]}]})

    @staticmethod
    def at(transport, port, address=ADDRESS):
        return {"transport": transport, "traddr": address, "trsvcid": port}

    def upstream(self, kind, **more):
        transport = kind.split("-")[1]
        if transport == "rdma":
            more = dict(self.rdma_upstream, **more)
        return dict({"name": kind, "nqn": BACK_NQN, "keep_alive_tmo": 4, "reconnect_delay": 0.5,
                     "connect_timeout": 30},
                    **self.at(transport, PORTS[kind], UPSTREAMS[transport][1]), **more)

    def gateway(self, *kinds, address=ADDRESS, config=(), env=""):
        """In front of one upstream of each kind."""
        for i, kind in enumerate(kinds):
            if kind.startswith("nvmet"):
                self.port(kind, True)
            else:
                self.back_end(kind, kind.split("-")[1], cntlid=100 * i + 1)
        self.daemon("gateway", dict({
            "listeners": [self.at(t, PORTS["gateway"], address) for t in ("rdma", "tcp")],
            "subsystems": [{"nqn": GW_NQN, "policy": "round-robin",
                            "no_path_timeout": NO_PATH_TIMEOUT,
                            "upstreams": [self.upstream(kind) for kind in kinds]}]},
            **dict(config)), env=env)
        self.wait_usable(*kinds)

    def state(self):
        """Of the gateway; its HTTP server is asked, for nvmegw takes ten times as long to start."""
        return self.vm.json("wget -q -O - http://127.0.0.1:8420/state.json")

    def paths(self):
        return self.state()["paths"]

    def usable(self):
        return {p["upstream"] for p in self.paths() if p["usable"]}

    def wait_usable(self, *kinds):
        """Until the paths of these upstreams are usable, and no others."""
        wait_for(lambda: self.usable() == set(kinds), PATIENCE, POLL)

    # ---- the host ----

    def connect(self, transport="rdma", host=None, address=ADDRESS):
        host = host or self.vm
        host.run(f"nvme connect -t {transport} -a {address} -s {PORTS['gateway']} -n {GW_NQN} "
                 "--reconnect-delay=1", PATIENCE)
        wait_for(lambda: host.status("test -b /dev/nvme0n1")[0] == 0, PATIENCE)

    def wait_no_controllers(self):
        wait_for(lambda: not self.state()["controllers"], PATIENCE, POLL)

    def disconnect(self, host=None):
        out = (host or self.vm).run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.assertIn("disconnected 1 controller(s)", out)
        self.wait_no_controllers()
        self.check_dmesg(self.vm)
        self.check_dmesg(host or self.vm)
        self.end("gateway")

    def check_dmesg(self, vm):
        lines = [line for line in vm.run("dmesg").splitlines()
                 if BAD_DMESG.search(line) and not re.search(self.expected_dmesg, line)]
        self.assertFalse(lines, "kernel messages:\n" + "\n".join(lines))

    def load(self, host=None):
        fio = (host or self.vm).spawn(f"sh -c '{FIO}'")
        wait_for(lambda: self.all_jobs_write(fio.vm), PATIENCE, POLL)
        self.wait_moving(*self.usable())
        return fio

    @staticmethod
    def all_jobs_write(host):
        """And some verify already."""
        out = host.status("for p in $(pidof fio); do cat /proc/$p/io; done")[1]
        return len(re.findall("^write_bytes: [1-9]", out, re.M)) == FIO.count("--name") and \
            re.search("^read_bytes: [1-9]", out, re.M)

    def counts(self):
        return {p["upstream"]: (p["reads"], p["writes"]) for p in self.paths()}

    def wait_moving(self, *kinds):
        """Until each of the paths has carried something both ways from now on."""
        before = self.counts()

        def moved():
            now = self.counts()
            return all(n > b for kind in kinds for n, b in zip(now[kind], before[kind]))
        wait_for(moved, PATIENCE, POLL)

    def end_load(self, fio):
        self.wait_moving(*self.usable())
        fio.vm.run("kill -INT $(cat /run/fio.pid)")
        status, out = fio.wait(PATIENCE)
        self.assertIn(status, (0, FIO_STOPPED), out)
        jobs = fio_jobs(0, out)
        for job in jobs:
            self.assertGreater(job["write"]["total_ios"], 0, job["jobname"])
        self.assertGreater(sum(job["read"]["total_ios"] for job in jobs), 0,
                           "nothing was verified")


class RdmaTest(Peers, Lab):
    PEERS_ADDRESS = ADDRESS

    # Counted, for no keep-alive and no retry of soft-RoCE is to come of what else is done here.
    GUEST = {"name": "rdma", "counted": True}

    # ---- who talks to whom ----

    def test_discovery(self):
        """The kernel target's discovery controller names upstreams to us, ours us to hosts."""
        self.port("nvmet-rdma", True)
        source = self.upstream("nvmet-rdma", discovery=True)
        del source["nqn"]
        self.daemon("gateway", {
            "listeners": [self.at(t, PORTS["gateway"]) for t in ("rdma", "tcp")],
            "subsystems": [{"nqn": GW_NQN, "upstreams": [source]}]})
        wait_for(lambda: any(p["usable"] for p in self.paths()), PATIENCE)
        log = self.vm.json(f"nvme discover -t rdma -a {ADDRESS} -s {PORTS['gateway']} -o json",
                           PATIENCE)["records"]
        found = {r["trtype"]: r for r in log if r["subnqn"] == GW_NQN}
        self.assertEqual(set(found), {"rdma", "tcp"})
        self.assertEqual(found["rdma"]["traddr"], ADDRESS)
        self.assertEqual(int(found["rdma"]["trsvcid"]), PORTS["gateway"])
        self.connect()
        self.end_load(self.load())
        self.disconnect()

    def test_no_windows(self):
        """A device without memory windows: only what asks for them is not connected to."""
        self.port("nvmet-rdma", True)
        # One controller for both; with the same source too they would be one upstream.
        asking = self.upstream("nvmet-rdma", name="asking", register_always=True,
                               host_traddr=UPSTREAMS["rdma"][1])
        self.daemon("gateway", {
            "listeners": [self.at(t, PORTS["gateway"]) for t in ("rdma", "tcp")],
            "subsystems": [{"nqn": GW_NQN, "upstreams": [asking, self.upstream("nvmet-rdma")]}]},
            env="LD_PRELOAD=/lab/preload_no_windows.so")
        self.wait_usable("nvmet-rdma")
        why = "register_always: device rxe1 has no memory windows of type 2"

        def told():
            path, = (p for p in self.paths() if p["upstream"] == "asking")
            return why in path["reason"] and why in path["upstream_reason"]
        wait_for(told, PATIENCE, POLL)
        self.assertIn(why, self.daemons["gateway"].output())
        self.connect()
        self.end_load(self.load())
        self.assertEqual(self.usable(), {"nvmet-rdma"})
        self.disconnect()

    def test_poor_device(self):
        """One that can do no more than it must: the same I/O, in more and smaller steps."""
        self.gateway("nvmet-rdma", config={"memory_mib": 4, "workers": 1, "requests": 64},
                     env="LD_PRELOAD=/lab/preload_poor_device.so")
        self.connect()
        fio = self.load()
        self.assertNotIn("a shared receive queue", self.daemons["gateway"].output())
        self.wait_moving("nvmet-rdma")
        self.end_load(fio)
        self.assertEqual(self.hostile("io-bad-key"), "disconnected")
        self.disconnect()

    def test_little_memory(self):
        """One worker with the least memory: data in scattered segments, and everybody waits."""
        self.rdma_upstream = {"register_always": True}
        self.gateway("nvmet-rdma", config={"memory_mib": 4, "workers": 1, "requests": 64})
        self.connect()
        fio = self.load()
        self.wait_moving("nvmet-rdma")
        time.sleep(4)
        self.end_load(fio)
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
                    address = UPSTREAMS["rdma"][1] if kind == "nvmet-rdma" else ADDRESS
                    out = self.vm.run(
                        f"nvmegw-bench --transport {transport} --addr {address}:{PORTS[kind]} "
                        f"--nqn {nqn} --queues 2 --depth 8 --bs {size} --rw mix --verify --time 1 "
                        f"--size 32m --wait 10 2>&1", PATIENCE)
                    self.assertNotIn("lost", out)
        self.check_dmesg(self.vm)
        self.end("gateway")

    # ---- hosts that do wrong ----

    def test_hostile_hosts(self):
        """Each gets what it deserves, and nobody else notices."""
        self.gateway("nvmet-tcp")
        self.connect()
        fio = self.load()
        for case, expected in HOSTILE.items():
            with self.subTest(case):
                self.assertEqual(self.hostile(case), expected)
        self.assertEqual(self.hostile("good"), "status 0x0")
        self.wait_moving("nvmet-tcp")
        self.end_load(fio)
        self.disconnect()

    def test_buffers_shared(self):
        """I/O queues take from their worker's buffers, and what hosts do wrong costs none of them."""
        self.gateway("nvmet-tcp", config={"workers": 1, "requests": 64})
        self.connect()
        fio = self.load()
        log = self.daemons["gateway"].output()
        self.assertEqual(len(re.findall("a shared receive queue", log)), 1, log)
        # More times than there are buffers: 64, 16 to spare and one for each queue
        self.vm.run(f"""for i in $(seq 30); do
            for case in io-flood io-long-capsule io-bad-key; do
                rdma_hostile {ADDRESS} {PORTS['gateway']} {GW_NQN} $case; done; done |
            grep -v disconnected && exit 1; true""", 3 * PATIENCE)
        self.end_load(fio)
        self.assertNotIn("controller 1 of", self.ends())
        self.disconnect()

    def test_buffers_that_may_be_lost(self):
        """A device that does not say what has become of them: others begin anew before long."""
        self.gateway("nvmet-tcp", config={"workers": 1},
                     env="LD_PRELOAD=/lab/preload_other_vendor.so")
        self.connect()
        fio = self.load()
        made = "a shared receive queue"
        self.assertEqual(self.daemons["gateway"].output().count(made), 1)
        for _ in range(16):  # as many as may be lost
            self.assertEqual(self.hostile("io-no-connect"), "status 0x400c")
        wait_for(lambda: not self.state()["status"]["connections_without_controller"], PATIENCE)
        self.assertEqual(self.daemons["gateway"].output().count(made), 1)
        self.assertEqual(self.hostile("io-no-connect"), "status 0x400c")
        self.assertEqual(self.daemons["gateway"].output().count(made), 2)
        self.wait_moving("nvmet-tcp")
        self.end_load(fio)
        self.assertNotIn("controller 1 of", self.ends())
        self.disconnect()

    # ---- paths that go ----

    def port_removed(self, kind):
        self.port(kind, False)
        yield
        self.port(kind, True)

    def link_delete_under_target(self):
        """Takes the device from the kernel's target and from the gateway, which is connected to it.

        Linux's target takes connections till the last moment, but ends only those that it has when
        it begins to let go of the device. Whoever connects in between stays for ever, and so does
        the removal, with locks that everybody needs. That is so in Linux 6.1 and long after. The
        gateway does come back at once when its connections end: so it sleeps till it is the only
        one who is waited for.
        """
        self.vm.run("kill -STOP $(cat /run/gateway.pid)")
        deletion = self.vm.spawn("rdma link delete rxe1")
        wait_for(lambda: "ib_uverbs_remove_one" in
                 self.vm.status("cat /proc/$(pidof rdma)/stack")[1], PATIENCE)
        self.vm.run("kill -CONT $(cat /run/gateway.pid)")
        self.assertEqual(deletion.wait(PATIENCE), (0, ""))

    def link_deleted(self, kind):
        if kind.startswith("nvmet"):
            self.link_delete_under_target()
        else:
            self.vm.run("rdma link delete rxe1", PATIENCE)
        yield
        self.link_add("rxe1", "up0")
        # The kernel's own port does not come back by itself.
        if kind.startswith("nvmet"):
            self.port(kind, False)
            self.port(kind, True)

    def netdev_down(self, kind):
        netdev, address = UPSTREAMS[kind.split("-")[1]]
        # The address goes too: TCP within one machine would get through all the same.
        self.vm.run(f"ip addr del {address}/24 dev {netdev} && ip link set {netdev} down")
        yield
        self.vm.run(f"ip addr add {address}/24 dev {netdev} && ip link set {netdev} up")
        # Soft-RoCE of Linux 6.1 makes no connections any more once a packet of its connection
        # manager could not leave, whoever asks for them: the kernel's own host hangs just so.
        if kind.endswith("rdma"):
            # Nobody is to connect to the kernel's target meanwhile, see above.
            self.port(kind, False)
            self.vm.run("rdma link delete rxe1", PATIENCE)
            self.link_add("rxe1", "up0")
            self.port(kind, True)

    def killed(self, kind):
        self.signal(kind, "KILL")
        yield
        self.back_end(kind, kind.split("-")[1], cntlid=self.cntlids[kind])

    def cut_one_by_one(self, host, kinds, cuts):
        """Load goes on over the other path while each in turn is cut off, and over both after."""
        self.gateway(*kinds)
        self.cntlids = {kind: 100 * i + 1 for i, kind in enumerate(kinds)}
        self.connect(host)
        fio = self.load()
        for kind, cut in cuts:
            with self.subTest(cut=cut.__name__, of=kind):
                others = [k for k in kinds if k != kind]
                steps = cut(kind)
                next(steps)
                self.wait_usable(*others)
                self.wait_moving(*others)
                next(steps, None)
                self.wait_usable(*kinds)
                self.wait_moving(*kinds)
        self.end_load(fio)
        self.disconnect()

    def cut_nvmet(self, host):
        self.cut_one_by_one(host, ("nvmet-rdma", "nvmet-tcp"), (
            ("nvmet-rdma", self.port_removed), ("nvmet-tcp", self.port_removed),
            ("nvmet-rdma", self.link_deleted),
            ("nvmet-rdma", self.netdev_down), ("nvmet-tcp", self.netdev_down)))

    def test_cut_nvmet_rdma_host(self):
        self.cut_nvmet("rdma")

    def test_cut_nvmet_tcp_host(self):
        self.rdma_upstream = {"register_always": True}
        self.cut_nvmet("tcp")

    def cut_files(self, host):
        self.cut_one_by_one(host, ("file-rdma", "file-tcp"), (
            ("file-rdma", self.killed), ("file-tcp", self.killed),
            ("file-rdma", self.link_deleted)))

    def test_cut_files_rdma_host(self):
        self.rdma_upstream = {"register_always": True}
        self.cut_files("rdma")

    def test_cut_files_tcp_host(self):
        self.cut_files("tcp")

    def test_back_end_killed(self):
        """The only path goes with its process, and comes back: held I/O goes on."""
        self.gateway("file-rdma")
        self.connect()
        fio = self.load()
        self.signal("file-rdma", "KILL")
        self.wait_usable()
        self.back_end("file-rdma", "rdma")
        self.wait_usable("file-rdma")
        self.wait_moving("file-rdma")
        self.end_load(fio)
        self.disconnect()

    def test_gateway_restarted(self):
        """Killed, and ended in order: the host reconnects to the new process over RDMA."""
        self.gateway("nvmet-tcp")
        self.connect()
        fio = self.load()
        self.expected_dmesg = "failed|Failed reconnect"
        self.signal("gateway", "KILL")
        self.gateway("nvmet-tcp")
        self.wait_moving("nvmet-tcp")
        self.end("gateway")
        self.gateway("nvmet-tcp")
        self.wait_moving("nvmet-tcp")
        self.end_load(fio)
        self.disconnect()

    def test_host_cut_off(self):
        """The interface that hosts come by goes down: their connections end, others can come."""
        self.gateway("nvmet-tcp")
        self.connect()
        self.expected_dmesg = "failed|Failed reconnect"
        self.vm.run("ip link set eth0 down")
        self.wait_no_controllers()
        self.vm.run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.vm.run("rdma link delete rxe0", PATIENCE)
        self.link_add("rxe0", "eth0")
        wait_for(lambda: "for RDMA\n" in self.daemons["gateway"].output(), PATIENCE)
        self.connect()
        self.end_load(self.load())
        self.disconnect()

    def test_cable_pulled(self):
        """A host that is a machine of its own: it goes on when the cable is in again, and when the
        device at the gateway's end, which others of its commands were under way on, is back."""
        host_end, here = CABLE
        self.vm.run(f"ip addr add {here}/24 dev eth1; ip link set eth1 up")
        self.link_add("rxe2", "eth1")
        self.addCleanup(self.vm.run, "rdma link delete rxe2", PATIENCE)
        self.gateway("nvmet-rdma", "nvmet-tcp", address=here)
        with VM("rdma-host", modules=HOST_MODULES, programs=("rdma",), files=PROVIDER,
                memory="768M", kernel="6.12", cable=self.cable, counted=True) as host:
            host.run(f"ip addr add {host_end}/24 dev eth1 && ip link set eth1 up && "
                     "rdma link add rxe0 type rxe netdev eth1; mkdir /etc/nvme; "
                     f"echo {HOST_ID} >/etc/nvme/hostid; "
                     f"echo nqn.2014-08.org.nvmexpress:uuid:{HOST_ID} >/etc/nvme/hostnqn")
            self.connect("rdma", host, here)
            fio = self.load(host)
            self.expected_dmesg = "failed|Failed reconnect"
            self.vm.plug(False)
            self.wait_no_controllers()
            self.vm.plug(True)
            self.wait_moving("nvmet-rdma", "nvmet-tcp")
            self.vm.run("rdma link delete rxe2", PATIENCE)
            self.wait_no_controllers()
            self.link_add("rxe2", "eth1")
            self.wait_moving("nvmet-rdma", "nvmet-tcp")
            self.end_load(fio)
            self.disconnect(host)

    def test_device_comes_later(self):
        """Without a device the gateway says so once and serves TCP; then RDMA too."""
        self.vm.run("rdma link delete rxe0; rdma link delete rxe1", PATIENCE)
        self.gateway("nvmet-tcp")
        out = self.daemons["gateway"].output()
        self.assertEqual(len(re.findall("no RDMA device", out)), 1, out)
        self.assertEqual(len(re.findall("cannot listen on .* for RDMA", out)), 1, out)
        self.connect("tcp")
        self.vm.run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.link_add("rxe0", "eth0")
        wait_for(lambda: "for RDMA\n" in self.daemons["gateway"].output(), PATIENCE)
        self.connect("rdma")
        self.end_load(self.load())
        self.disconnect()

    def test_module_comes_later(self):
        """What is used then lets go of the device all the same when that is taken away."""
        self.vm.run("rmmod rdma_ucm")
        self.addCleanup(self.vm.status, "test -e /sys/module/rdma_ucm || "
                                        "insmod /lib/modules/rdma_ucm.ko")
        self.gateway("nvmet-tcp", address="0.0.0.0")
        self.vm.run("insmod /lib/modules/rdma_ucm.ko")
        wait_for(lambda: "for RDMA\n" in self.daemons["gateway"].output(), PATIENCE)
        self.connect("rdma")
        self.vm.run(f"nvme disconnect -n {GW_NQN}", PATIENCE)
        self.wait_no_controllers()
        self.vm.run("rdma link delete rxe0", PATIENCE)
        self.end("gateway")


class OverbookedTest(Lab):
    # When there is no buffer soft-RoCE of Linux 6.1 sends again and again, and lets nobody else have
    # the processor that it does so on.
    GUEST = {"name": "rdma-overbooked"}

    def test_more_commands_than_buffers(self):
        """Ten times as many: the host is told to wait, and sends again."""
        self.gateway("nvmet-tcp", config={"workers": 1, "requests": 64})
        out = self.vm.run(
            f"nvmegw-bench --transport rdma --addr {ADDRESS}:{PORTS['gateway']} --nqn {GW_NQN} "
            "--queues 6 --depth 127 --bs 4k --rw mix --verify --time 2 --size 32m --wait 10 2>&1",
            PATIENCE)
        self.assertNotIn("lost", out)
        told = self.vm.run("cat /sys/class/infiniband/rxe0/ports/1/hw_counters/send_rnr_err")
        self.assertGreater(int(told), 0)
        self.check_dmesg(self.vm)
        self.end("gateway")

    def test_answers_not_taken(self):
        """Hosts that take none, or late, are not waited for and keep no more than is theirs."""
        patient = [dict(self.at(t, PORTS["gateway"], ADDRESS), handshake_timeout=PATIENCE,
                        stall_timeout=PATIENCE) for t in ("rdma", "tcp")]
        self.gateway("nvmet-tcp", config={"listeners": patient})
        self.assertEqual(self.hostile("deaf"), "disconnected")
        wait_for(lambda: "the host does not take the Connect's response" in
                 self.daemons["gateway"].output(), PATIENCE)
        self.assertEqual(self.hostile("io-late-connect"),
                         "status 0x400c, status 0x0, status 0x0")
        for case in ("trickle", "io-trickle"):
            self.assertEqual(self.hostile(case), "disconnected", case)
        self.connect()
        self.end_load(self.load())
        self.disconnect()


if __name__ == "__main__":
    unittest.main(verbosity=2)
