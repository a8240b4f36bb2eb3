#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVMe/RDMA on soft-RoCE, in one guest: the gateway against what the kernel offers for the same.

    direct:   host ------------------------------------> nvmet
    kernel:   host --> nvmet on a multipath device =====> nvmet
    gateway:  host --> nvmegwd ==========================> nvmet    (=: two paths)

Host and back-end are the kernel's in all of them. The guest has one processor, and its time is that
of the instructions it executes (lab.VM, counted): so what is compared is work, and the numbers are
the same whatever else the machine does. With --write the table goes into docs/performance.md.
"""
import argparse
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../vm"), os.path.join(HERE, "..")]
import bench  # noqa: E402
import test_rdma as lab  # noqa: E402
from lab import fio_jobs  # noqa: E402

RE_NQN = "nqn.2014-08.org.example:re-export"
RE_UUID = "9a1f1f60-77a1-4a0b-8a52-6c1f0e3f4a11"
SECOND_PORT, RE_PORT = 4431, 4432
WAYS = ("direct", "kernel", "gateway")

#            name                               options of fio
WORKLOADS = (
    ("4 KiB random read, depth 16", "--rw=randread --bs=4k --iodepth=16"),
    ("4 KiB random write, depth 16", "--rw=randwrite --bs=4k --iodepth=16"),
    ("64 KiB random read, depth 4", "--rw=randread --bs=64k --iodepth=4"),
    ("64 KiB random write, depth 4", "--rw=randwrite --bs=64k --iodepth=4"),
)
FIO = ("fio --output-format=json --disk_util=0 --direct=1 --ioengine=libaio --time_based "
       "--norandommap --runtime={seconds} --name=load --filename={device} {options}")

BEGIN, END = "<!-- bench-rdma:begin -->", "<!-- bench-rdma:end -->"


class Lab(lab.RdmaTest):
    """The guest of the tests, with an additional port of the back-end and a place to re-export."""

    GUEST = {"name": "bench", "counted": True}

    def runTest(self):
        """For unittest's constructor alone."""

    def __enter__(self):
        self.setUpClass()
        self.setUp()
        self.vm.run(lab.NVMET_PORTS.format(ports=f"rdma {lab.UPSTREAMS['rdma'][1]} {SECOND_PORT}\n"
                                          f"rdma {lab.ADDRESS} {RE_PORT}"))
        return self

    def __exit__(self, *_):
        self.vm.__exit__()

    def export(self, port, nqn, there=True):
        at = f"/sys/kernel/config/nvmet/ports/{port}/subsystems/{nqn}"
        self.vm.run(f"ln -s /sys/kernel/config/nvmet/subsystems/{nqn} {at}" if there
                    else f"rm {at}", lab.PATIENCE)

    def nvme_connect(self, address, port, nqn):
        self.vm.run(f"nvme connect -t rdma -a {address} -s {port} -n {nqn} -i 1", lab.PATIENCE)

    def device_of(self, nqn):
        """The multipath device of a subsystem that the guest is connected to."""
        return "/dev/" + self.vm.run(
            "cd /sys/class/nvme-subsystem; for i in 1 2 3 4 5 6 7 8 9 10; do "
            f"for s in nvme-subsys*; do [ \"$(cat $s/subsysnqn)\" = {nqn} ] && "
            "ls $s | grep -x 'nvme[0-9]*n1' && exit; done; sleep 0.5; done; exit 1",
            lab.PATIENCE).strip()

    # ---- the ways: each yields the device that the load goes to ----

    def direct(self):
        self.nvme_connect(lab.UPSTREAMS["rdma"][1], lab.PORTS["nvmet-rdma"], lab.BACK_NQN)
        yield self.device_of(lab.BACK_NQN)
        self.vm.run("nvme disconnect-all", lab.PATIENCE)

    def kernel(self):
        for port in (lab.PORTS["nvmet-rdma"], SECOND_PORT):
            self.nvme_connect(lab.UPSTREAMS["rdma"][1], port, lab.BACK_NQN)
        behind = self.device_of(lab.BACK_NQN)
        self.vm.run("for f in /sys/class/nvme-subsystem/*/iopolicy; do echo round-robin >$f; done")
        self.vm.run(lab.NVMET_SUBSYSTEM.format(nqn=RE_NQN, uuid=RE_UUID, device=behind))
        self.export(RE_PORT, RE_NQN)
        self.nvme_connect(lab.ADDRESS, RE_PORT, RE_NQN)
        yield self.device_of(RE_NQN)
        self.vm.run(f"nvme disconnect -n {RE_NQN}", lab.PATIENCE)
        self.export(RE_PORT, RE_NQN, False)
        self.vm.run(f"cd /sys/kernel/config/nvmet/subsystems/{RE_NQN}; "
                    f"echo 0 >namespaces/1/enable; rmdir namespaces/1; cd ..; rmdir {RE_NQN}")
        self.vm.run("nvme disconnect-all", lab.PATIENCE)

    def gateway_way(self):
        ups = [dict(self.upstream("nvmet-rdma"), name=f"path{port}", trsvcid=port)
               for port in (lab.PORTS["nvmet-rdma"], SECOND_PORT)]
        self.daemon("gateway", {
            "workers": 1, "log_level": "notice",
            "listeners": [self.at("rdma", lab.PORTS["gateway"])],
            "subsystems": [{"nqn": lab.GW_NQN, "policy": "round-robin", "upstreams": ups}]})
        self.wait_usable(*(up["name"] for up in ups))
        self.nvme_connect(lab.ADDRESS, lab.PORTS["gateway"], lab.GW_NQN)
        yield self.device_of(lab.GW_NQN)
        self.vm.run("nvme disconnect-all", lab.PATIENCE)
        self.end("gateway")

    # ---- measuring ----

    def idle(self):
        """Seconds that the processor had nothing to do, and seconds since the start."""
        fields = [int(f) for f in self.vm.run("head -n1 /proc/stat").split()[1:9]]
        return fields[3] + fields[4], sum(fields)

    def measure(self, device, options, seconds):
        """IOPS, and the processor's time for one I/O in microseconds."""
        idle, total = self.idle()
        job = fio_jobs(0, self.vm.run(FIO.format(seconds=seconds, device=device, options=options),
                                      20 * lab.PATIENCE))[0]
        idle, total = (now - before for now, before in zip(self.idle(), (idle, total)))
        ios = job["read"]["total_ios"] + job["write"]["total_ios"]
        return (job["read"]["iops"] + job["write"]["iops"],
                (total - idle) / total * 1e6 * job["job_runtime"] / 1000 / ios)

    def round(self, results, seconds):
        for way in WAYS:
            steps = {"direct": self.direct, "kernel": self.kernel,
                     "gateway": self.gateway_way}[way]()
            device = next(steps)
            for name, options in WORKLOADS:
                result = self.measure(device, options, seconds)
                print(f"{name:30} {way:8} {result[0]:8.0f} IOPS {result[1]:8.1f} us/IO", flush=True)
                results.setdefault((name, way), []).append(result)
            next(steps, None)


def table(results, args):
    lines = ["Measured by `make bench-rdma` in a guest of one emulated processor, Linux 6.1; "
             f"{args.rounds} rounds of {args.time} s of the guest's time, medians.", "",
             "| Load | Way | IOPS, direct = 1 | CPU per I/O, direct = 1 | "
             "CPU added per I/O, kernel = 1 |",
             "|---|---|---|---|---|"]
    for name, _ in WORKLOADS:
        iops, cpu = ({way: statistics.median(r[i] for r in results[name, way]) for way in WAYS}
                     for i in (0, 1))
        for way in WAYS:
            added = "-" if way == "direct" else \
                f"{(cpu[way] - cpu['direct']) / (cpu['kernel'] - cpu['direct']):.2f}"
            lines.append(f"| {name} | {way} | {iops[way] / iops['direct']:.2f} | "
                         f"{cpu[way] / cpu['direct']:.2f} | {added} |")
    return "\n".join(lines)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    ap.add_argument("--time", type=int, default=3, help="of the guest's seconds per load")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--write", action="store_true", help="into docs/performance.md")
    args = ap.parse_args()
    results = {}
    with Lab() as guest:
        guest.export(lab.PORTS["nvmet-rdma"], lab.BACK_NQN)
        guest.export(SECOND_PORT, lab.BACK_NQN)
        for _ in range(args.rounds):
            guest.round(results, args.time)
    text = table(results, args)
    print(text)
    if args.write:
        bench.write_doc(BEGIN, END, text.splitlines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
