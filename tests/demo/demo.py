#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nvmegw's main job, on this machine: four paths in, one namespace out, one side killed under load.

                          +-> 127.0.0.1:a1 \\
    load generator        |-> 127.0.0.1:a2  > back-end A \\
    (verifies what it ->  gateway                         > one disk image
     reads)               |-> 127.0.0.1:b1 \\             /
                          +-> 127.0.0.1:b2  > back-end B /

With KEEP=1 in the environment everything stays up afterwards, for a real host to connect.
"""
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import procs  # noqa: E402
from procs import Procs, binary, free_ports, listener  # noqa: E402

BACK_NQN = "nqn.2024-01.org.example:demo-back"
GW_NQN = "nqn.2024-01.org.example:demo"
UUID = "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"
DISK = "256MiB"

# Seconds of the load at which things happen
KILL, LOOK, RESTORE, LOOK_AGAIN, LOAD_END = 4, 6, 8, 12, 14
PAUSE_MAX = 5000  # ms that I/O may stand still when half the paths go


class Demo:
    def __init__(self, p):
        ports = free_ports(5)
        self.p = p
        self.back_ports = {"A": ports[0:2], "B": ports[2:4]}
        self.port = ports[4]
        self.backs = {}
        self.problems = []

    def start_back(self, side):
        cntlid = 1 if side == "A" else 1001
        self.backs[side] = self.p.daemon("back-end-" + side, {
            "workers": 1, "pin": False,
            "listeners": [listener(port) for port in self.back_ports[side]],
            "subsystems": [{
                "nqn": BACK_NQN, "cntlid_min": cntlid, "cntlid_max": cntlid + 998,
                "upstreams": [{"transport": "file", "path": self.p.path("disk.img"), "size": DISK,
                               "uuid": UUID}]}]})

    def start_gateway(self):
        self.gateway = self.p.daemon("gateway", {
            "workers": 1, "pin": False, "listeners": [listener(self.port)],
            "subsystems": [{
                "nqn": GW_NQN, "policy": "round-robin",
                "upstreams": [{"name": f"{side}{n + 1}", "transport": "tcp",
                               "traddr": "127.0.0.1", "trsvcid": port, "nqn": BACK_NQN,
                               "reconnect_delay": 1}
                              for side, ports in self.back_ports.items()
                              for n, port in enumerate(ports)]}]})

    def nvmegw(self, *args):
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), *args]
        out = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
        self.expect(out.returncode == 0, f"nvmegw {' '.join(args)} failed")
        return out.stdout.decode()

    def expect(self, ok, what):
        if not ok:
            self.problems.append(what)

    def usable_paths(self):
        return sum(bool(path["usable"]) for path in json.loads(self.nvmegw("path", "list", "-o",
                                                                           "json")))

    def show_paths(self, when, expected):
        print(f"\n--- {when}: nvmegw path list")
        print(self.nvmegw("path", "list"))
        usable = self.usable_paths()
        self.expect(usable == expected, f"{when}: {usable} usable paths, not {expected}")

    def wait_paths(self, expected, seconds=10):
        tick = threading.Event()
        for _ in range(seconds * 10):
            if self.usable_paths() == expected:
                return
            tick.wait(0.1)

    def kill_back(self):
        print("\n*** back-end A is killed (kill -9): two of the four paths go\n")
        self.p.kill(self.backs["A"])

    def restore_back(self):
        print("\n*** back-end A is started again\n")
        self.start_back("A")

    def load(self):
        """
        The load, with what happens during it; the generator's result. Reads and writes keep apart:
        A and B are two processes, and neither keeps a block whole for the other's commands.
        """
        events = {KILL: self.kill_back,
                  LOOK: lambda: self.show_paths("back-end A is down", 2),
                  RESTORE: self.restore_back,
                  LOOK_AGAIN: lambda: self.show_paths("back-end A is back", 4)}
        argv = [binary("nvmegw-bench"), "--addr", f"127.0.0.1:{self.port}", "--nqn", GW_NQN,
                "--wait", "10", "--rw", "mix", "--bs", "4k", "--depth", "32", "--size", "128m",
                "--verify", "--apart", "--interval", "1", "--time", str(LOAD_END), "-o", "json"]
        result = {}
        print(f"{'second':>6} {'IOPS':>9} {'MB/s':>8} {'longest pause':>14} {'errors':>7}")
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as bench:
            self.p.running.append(bench)
            for line in bench.stdout:
                result = json.loads(line)
                if result["type"] != "interval":
                    continue
                second = round(result["seconds"])
                print(f"{second:6} {result['iops']:9.0f} {result['bytes_per_second'] / 1e6:8.1f} "
                      f"{result['longest_pause_ms']:11.1f} ms {result['errors']:7}")
                self.expect(result["iops"] > 0 or result["longest_pause_ms"] < PAUSE_MAX,
                            f"no I/O in second {second}")
                for due in [at for at in events if at <= second]:
                    events.pop(due)()
        self.expect(bench.returncode == 0,
                    f"the load generator ended with status {bench.returncode}")
        return result

    def judge(self, r):
        if r.get("type") != "result":
            self.problems.append("the load generator gave no result")
            return
        print(f"\n{r['ios']} I/Os, {r['bytes_per_second'] / 1e6:.1f} MB/s on average; "
              f"longest pause {r['longest_pause_ms']:.1f} ms")
        print(f"{r['errors']} errors seen by the host; {r['blocks_verified']} blocks verified, "
              f"{r['readback_ios']} I/Os read back at the end, {r['verify_failures']} wrong")
        self.expect(not r["error"], str(r["error"]))
        self.expect(r["ios"] > 0, "no I/O was done")
        self.expect(r["errors"] == 0, f"the host saw {r['errors']} I/O errors")
        self.expect(r["verify_failures"] == 0, f"{r['verify_failures']} reads had wrong data")
        self.expect(r["unfinished"] == 0, f"{r['unfinished']} I/Os never came back")
        self.expect(r["blocks_verified"] > 0, "nothing was verified")
        self.expect(r["longest_pause_ms"] < PAUSE_MAX,
                    f"I/O stood still for {r['longest_pause_ms']:.0f} ms")

    def run(self):
        print(__doc__.split("\n\n")[1], "\n")
        self.start_back("A")
        self.start_back("B")
        self.start_gateway()
        self.wait_paths(4)
        self.show_paths("all is well", 4)
        self.judge(self.load())
        for name, p in (("gateway", self.gateway), *self.backs.items()):
            self.expect(p.poll() is None, f"{name} has died")

    def verdict(self):
        for side in ("gateway", "back-end-A", "back-end-B") if self.problems else ():
            print(f"\n--- last lines of {side}'s log\n{self.p.log_tail(side)}", end="")
        print("\nDEMO PASSED" if not self.problems else
              "\nDEMO FAILED: " + "; ".join(self.problems))

    def keep(self):
        print(f"\nIt stays up until Ctrl-C. On this machine, as root, with nvme-cli:\n"
              f"    modprobe nvme-tcp\n"
              f"    nvme connect -t tcp -a 127.0.0.1 -s {self.port} -n {GW_NQN}\n"
              f"    nvme disconnect -n {GW_NQN}\n"
              f"The gateway's view: {binary('nvmegw')} -s {self.p.path('gateway.sock')} status")
        signal.pause()


def main():
    procs.raise_nofile()
    with Procs() as p:
        demo = Demo(p)
        try:
            demo.run()
        except procs.Failed as e:
            demo.problems.append(str(e))
        demo.verdict()
        if os.environ.get("KEEP") and not demo.problems:
            demo.keep()
    return 1 if demo.problems else 0


if __name__ == "__main__":
    procs.run(main)
