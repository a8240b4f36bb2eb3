#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each kind of failure costs a host, over real TCP.

                       +-> network namespace a: back-end a \\
    load -> gateway ---|                                    > one disk image
    (verified)         +-> network namespace b: back-end b /

Every measurement has back-ends, a gateway and load of its own; the faults take turns within each
round. Exits with 1 when a host has seen an error or wrong data; times never decide, since they are
those of a machine that may have other things to do. With --write the table goes into
docs/failover.md.
"""
import argparse
import contextlib
import json
import os
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", where) for where in ("", "integration", "bench")]
import procs  # noqa: E402
from bench import machine  # noqa: E402
from netns import Netns  # noqa: E402
from procs import Failed, Procs, binary, free_ports, listener  # noqa: E402
from wire import Proxy, wait_for  # noqa: E402

BACK_NQN = "nqn.2024-01.org.example:failover-back"
GW_NQN = "nqn.2024-01.org.example:failover"
UUID = "9d0f6a17-4c1e-4b5a-8a35-7f2ce1d06b92"
SIZE = "4GiB"  # so much that the load rarely comes back to blocks of a lost write; mostly holes
PORT = 4420    # of both back-ends, in namespaces of their own
QUEUES, DEPTH = 2, 16
RATE = 60000    # I/Os a second at most: what is waited for is a path, not a core
INTERVAL = 0.1  # seconds of load that a progress line is about

KATO = 2         # keep_alive_tmo of the upstreams, seconds
RECONNECT = 0.5  # their reconnect_delay
OUTAGE = 2       # how long all paths are away
AFTER = 0.5      # how long after a fault gaps are still put down to it

BEGIN, END = "<!-- failover:begin -->", "<!-- failover:end -->"


class Delayer(Proxy):
    """Holds back all that the target sends by `delay` seconds."""

    delay = 0

    def pump(self, src, dst, from_target):
        if not from_target:
            super().pump(src, dst, from_target)
            return
        late = queue.SimpleQueue()
        threading.Thread(target=self.deliver, args=(late, dst), daemon=True).start()
        try:
            while data := src.recv(1 << 18):
                late.put((time.monotonic() + self.delay, data))
        except OSError:
            pass
        late.put(None)

    @staticmethod
    def deliver(late, dst):
        try:
            while item := late.get():
                time.sleep(max(item[0] - time.monotonic(), 0))
                dst.sendall(item[1])
            dst.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Load:
    """The load generator; there once I/O is being done."""

    def __init__(self, p, port):
        argv = [binary("nvmegw-bench"), "--addr", f"127.0.0.1:{port}", "--nqn", GW_NQN,
                "--wait", "10", "--rw", "mix", "--bs", "4k", "--queues", str(QUEUES),
                "--depth", str(DEPTH), "--rate", str(RATE), "--verify", "--apart",
                "--interval", str(INTERVAL), "--time", "600", "-o", "json"]
        self.p = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        p.running.append(self.p)
        self.lines = []  # with the times of their arrival
        begun = threading.Event()
        self.reader = threading.Thread(target=self.read, args=(begun,), daemon=True)
        self.reader.start()
        begun.wait()

    def read(self, begun):
        for line in self.p.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))
            begun.set()
        begun.set()

    def end(self):
        """Ends it as if its time were over; the result."""
        self.p.terminate()
        self.reader.join(120)
        result = self.lines[-1][1] if self.lines else {}
        if result.get("type") != "result" or result["error"]:
            raise Failed(f"the load ended early: {result}")
        return result

    def longest_gap(self, since, until):
        """In milliseconds. A line is about the interval before it, and about a gap that lasts."""
        return max(line["longest_pause_ms"] for at, line in self.lines
                   if line["type"] == "interval" and since <= at <= until + INTERVAL)


class Lab:
    """Two back-ends and a gateway."""

    def __init__(self, p, networks, policy, delayed):
        self.p = p
        self.net = dict(zip("ab", networks))
        self.back = {}
        self.port = free_ports(1)[0]
        for side in "ab":
            self.start_back(side)
        where = {side: (net.addr, PORT) for side, net in self.net.items()}
        self.slow = Delayer(PORT, addr=self.net["a"].addr) if delayed else None
        if delayed:
            where["a"] = ("127.0.0.1", self.slow.port)
        p.daemon("gateway", {
            "workers": 2, "pin": False, "listeners": [listener(self.port)],
            "subsystems": [{"nqn": GW_NQN, "policy": policy, "upstreams": [
                {"name": side, "transport": "tcp", "traddr": addr, "trsvcid": port,
                 "nqn": BACK_NQN, "keep_alive_tmo": KATO, "reconnect_delay": RECONNECT}
                for side, (addr, port) in where.items()]}]})
        self.wait_usable(2)

    def close(self):
        if self.slow:
            self.slow.close()

    def start_back(self, side):
        cntlid = 1 if side == "a" else 101
        self.back[side] = self.p.in_netns(self.net[side].name, "back-" + side, {
            "workers": 1, "pin": False, "listeners": [dict(listener(PORT), traddr="0.0.0.0")],
            "subsystems": [{"nqn": BACK_NQN, "cntlid_min": cntlid, "cntlid_max": cntlid + 98,
                            "no_path_timeout": 0,  # an array does not wait for paths, it answers
                            "upstreams": [{"transport": "file", "path": self.p.path("disk.img"),
                                           "size": SIZE, "uuid": UUID}]}]})

    def end_back(self, side, *, kill):
        back = self.back[side]
        if kill:
            self.p.kill(back)
            return
        back.terminate()
        self.p.reap(back)
        self.p.running.remove(back)

    def nvmegw(self, *args, daemon="gateway"):
        out = subprocess.run([binary("nvmegw"), "-s", self.p.path(daemon + ".sock"), "-o", "json",
                              *args], stdout=subprocess.PIPE, check=False, timeout=20)
        if out.returncode:
            raise Failed(f"nvmegw {' '.join(args)} failed on {daemon}:\n{self.p.log_tail(daemon)}")
        return json.loads(out.stdout)

    def path(self, side):
        return self.nvmegw("path", "show", side + "/1")

    def namespace(self):
        return self.nvmegw("namespace", "list")[0]

    def wait(self, what, otherwise):
        try:
            wait_for(what, interval=0.01)
        except AssertionError:
            raise Failed(f"{otherwise}:\n{self.p.log_tail('gateway')}") from None

    def wait_usable(self, count):
        def usable():
            return sum(ns["usable_paths"] for ns in self.nvmegw("namespace", "list"))
        self.wait(lambda: usable() == count, f"there are not {count} usable paths")


# ---- the faults ----

def nothing(lab):
    time.sleep(1)


def reset(lab):
    lab.net["a"].reset(PORT)


def kill(lab):
    lab.end_back("a", kill=True)
    lab.wait_usable(1)
    time.sleep(1)
    lab.start_back("a")


def silence(lab):
    lab.net["a"].drop()
    lab.wait_usable(1)
    time.sleep(1)
    lab.net["a"].heal()


def ana_change(lab):
    lab.nvmegw("path", "disable", "disk.img/1", daemon="back-a")
    lab.wait_usable(1)
    time.sleep(1)
    lab.nvmegw("path", "enable", "disk.img/1", daemon="back-a")


def slow(lab):
    lab.slow.delay = 0.2
    lab.wait(lambda: lab.path("a")["reason"].startswith("slow"), "path a is not found slow")
    time.sleep(1)
    lab.slow.delay = 0
    lab.wait(lambda: not lab.path("a")["reason"], "path a is still taken for slow")


def flap(lab):
    for n in range(10):
        lab.net["ab"[n % 2]].reset(PORT)
        time.sleep(0.3)


def lose_all(lab):
    for net in lab.net.values():
        net.refuse()
    lab.wait_usable(0)
    time.sleep(OUTAGE)
    for net in lab.net.values():
        net.heal()


def rolling_restart(lab):
    for side in "ab":
        lab.end_back(side, kill=False)
        lab.wait_usable(1)
        lab.start_back(side)
        lab.wait_usable(2)


class Fault:
    """
    losses: how often the gateway loses an upstream by it; target: of the
    longest gap, in ms; delayed: path a leads through a Delayer.
    """

    def __init__(self, name, run, policy="failover", *, losses=0, target=None, delayed=False):
        self.name, self.run, self.policy = name, run, policy
        self.losses, self.target, self.delayed = losses, target, delayed


FAULTS = (
    Fault("none", nothing),
    Fault("connections reset", reset, losses=1, target=50),
    Fault("back-end killed", kill, losses=1),
    Fault("packets dropped", silence, losses=1, target=KATO * 1000 + 100),
    Fault("ANA change", ana_change, target=50),
    Fault("slow path", slow, "round-robin", delayed=True),
    Fault("flapping", flap, "round-robin", losses=10),
    Fault("all paths lost", lose_all, losses=2),
    Fault("rolling restart", rolling_restart, losses=2),
)


def measure(networks, fault):
    with Procs("/dev/shm") as p, \
            contextlib.closing(Lab(p, networks, fault.policy, fault.delayed)) as lab:
        load = Load(p, lab.port)
        begin = time.monotonic()
        fault.run(lab)
        lab.wait_usable(2)
        end = time.monotonic()
        time.sleep(AFTER + INTERVAL)
        lab.wait(lambda: not lab.namespace()["fences"], "writes are fenced in for ever")
        r = load.end()
        paths = [lab.path(side) for side in "ab"]
        losses = sum(p["losses"] for p in paths)
        if losses < fault.losses:
            raise Failed(f"{fault.name}: upstreams were lost {losses} times, not {fault.losses}:\n"
                         f"{p.log_tail('gateway', 40)}")
        return {"gap": load.longest_gap(begin, end + AFTER),
                "command": r["latency_us"]["max"] / 1000,
                "errors": r["errors"] + r["unfinished"], "wrong": r["verify_failures"],
                "retries": r["retries"], "moved": sum(p["failovers"] for p in paths),
                "fenced": lab.namespace()["fenced_total"]}


def go_first():
    """This process and those that it starts take a core when they want one, if the kernel lets."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def run(faults, rounds):
    results = {fault.name: [] for fault in faults}
    with Netns() as a, Netns() as b:
        for n in range(rounds):
            for fault in faults:
                r = measure((a, b), fault)
                results[fault.name].append(r)
                print(f"round {n + 1} of {rounds}, {fault.name}: longest gap {r['gap']:.1f} ms, "
                      f"longest command {r['command']:.1f} ms, {r['moved']} commands moved",
                      file=sys.stderr)
    return results


# ---- what comes out ----

def time_cell(runs, key):
    values = [r[key] for r in runs]
    return f"{statistics.median(values):.1f} | {max(values):.1f}"


def sum_cell(runs, key):
    return str(sum(r[key] for r in runs))


def verdict(fault, runs):
    if any(r["errors"] or r["wrong"] for r in runs):
        return "**failed**"
    if fault.target is None:
        return "-"
    worst = max(r["gap"] for r in runs)
    return f"< {fault.target}: " + ("reached" if worst < fault.target else "**missed**")


def table(faults, results):
    out = ["| Fault | Policy | Longest gap, median ms | worst ms | Longest command, median ms | "
           "worst ms | Errors | Wrong reads | Retries by the host | Commands moved | "
           "Writes fenced | Target for the gap |", "|" + "---|" * 12]
    for fault in faults:
        runs = results[fault.name]
        out.append(f"| {fault.name} | {fault.policy} | {time_cell(runs, 'gap')} | "
                   f"{time_cell(runs, 'command')} | {sum_cell(runs, 'errors')} | "
                   f"{sum_cell(runs, 'wrong')} | {sum_cell(runs, 'retries')} | "
                   f"{sum_cell(runs, 'moved')} | {sum_cell(runs, 'fenced')} | "
                   f"{verdict(fault, runs)} |")
    return out


def write_doc(lines):
    path = os.path.join(procs.TOP, "docs", "failover.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="update docs/failover.md")
    parser.add_argument("fault", nargs="*", help="only those whose names contain one of the words")
    args = parser.parse_args()
    faults = [f for f in FAULTS
              if not args.fault or any(word in f.name for word in args.fault)]
    if not faults:
        parser.error("the faults are: " + ", ".join(f.name for f in FAULTS))
    go_first()
    results = run(faults, args.rounds)
    lines = [f"Measured by `make failover` on {machine()}; {args.rounds} rounds of each fault; "
             "counts are sums over the rounds.", "", *table(faults, results)]
    print("\n".join(lines))
    if args.write:
        write_doc(lines)
        print("\nwritten to docs/failover.md")
    return int(any(r["errors"] or r["wrong"] for runs in results.values() for r in runs))


if __name__ == "__main__":
    procs.run(main)
