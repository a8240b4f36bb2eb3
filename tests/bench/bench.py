#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gateway against a bare TCP relay, in front of the same back-end, in one go.

    direct:   load generator ------------> back-end
    relay:    load generator -> relay ---> back-end
    gateway:  load generator -> gateway -> back-end

The three take turns within each round, so that what else the machine does hits all of them; each
number shown is the median over the rounds. With --write the table goes into docs/performance.md.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import procs  # noqa: E402
from procs import Failed, Procs, binary, free_ports, listener  # noqa: E402

BACK_NQN = "nqn.2024-01.org.example:bench-back"
GW_NQN = "nqn.2024-01.org.example:bench"
UUID = "5b9c2f1e-7a44-4d0e-9d1b-3f0a6c2b8e11"
DISK = "1GiB"
WAYS = ("direct", "relay", "gateway")

#            name                            options of nvmegw-bench
WORKLOADS = (
    ("4 KiB random read, depth 32", "--bs 4k --depth 32 --rw read"),
    ("128 KiB random read, depth 16", "--bs 128k --depth 16 --rw read"),
    ("4 KiB random read, depth 1", "--bs 4k --depth 1 --rw read"),
    ("4 KiB random write, depth 32", "--bs 4k --depth 32 --rw write"),
)
CPU_JUDGED = WORKLOADS[:2]
LATENCY_JUDGED = WORKLOADS[2]

TARGET_CPU = 1.5      # gateway's CPU per I/O over the relay's
TARGET_LATENCY = 1.5  # what the gateway adds at depth 1 over what the relay adds
TARGET_IDLE = 0.5     # per cent of a core, IDLE_QUEUES connected
TARGET_RSS = 32       # KiB per idle host queue
IDLE_QUEUES = 64
RSS_CONTROLLERS, RSS_QUEUES = 8, 128

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def cpu_ns(pid):
    """CPU time of a process with all its threads, past ones too: its clock, as
    clock_getcpuclockid(3) names it."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def status_sum(pid, *fields):
    """Sum of fields of /proc/PID/task/*/status over the tasks."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as f:
            total += sum(int(l.split()[1]) for l in f if l.split(":")[0] in fields)
    return total


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(l.split()[1]) for l in f if l.startswith("VmRSS:"))


class Lab:
    """Back-end, relay and gateway, and where to reach each way."""

    def __init__(self, p):
        back_port, relay_port, gw_port = free_ports(3)
        self.procs = p
        self.back = p.daemon("back-end", {
            "workers": 1, "pin": False, "listeners": [listener(back_port)],
            "subsystems": [{"nqn": BACK_NQN, "upstreams": [
                {"transport": "file", "path": p.path("disk.img"), "size": DISK, "uuid": UUID}]}]})
        self.relay = p.start("relay", [binary("nvmegw-relay"), f"127.0.0.1:{relay_port}",
                                       f"127.0.0.1:{back_port}"], [relay_port])
        self.gateway = p.daemon("gateway", {
            "workers": 1, "pin": False,
            "listeners": [dict(listener(gw_port), max_connections=4096)],
            "subsystems": [{"nqn": GW_NQN, "max_io_queues": RSS_QUEUES, "upstreams": [
                {"transport": "tcp", "traddr": "127.0.0.1", "trsvcid": back_port,
                 "nqn": BACK_NQN}]}]})
        self.where = {"direct": (back_port, BACK_NQN), "relay": (relay_port, BACK_NQN),
                      "gateway": (gw_port, GW_NQN)}
        self.middle = {"direct": None, "relay": self.relay, "gateway": self.gateway}

    def argv(self, way, options):
        port, nqn = self.where[way]
        return [binary("nvmegw-bench"), "--addr", f"127.0.0.1:{port}", "--nqn", nqn,
                "--wait", "10", "-o", "json", *options.split()]

    def measure(self, way, options, seconds):
        """One run: the generator's result, with the CPU time that each process used for it."""
        watched = {"back": self.back, "middle": self.middle[way]}
        before = {k: cpu_ns(v.pid) for k, v in watched.items() if v}
        out = subprocess.run(self.argv(way, f"{options} --time {seconds}"),
                             stdout=subprocess.PIPE, check=False)
        if out.returncode:
            raise Failed(f"{way}, {options}: {out.stdout.decode()}")
        r = json.loads(out.stdout)
        for k, t in before.items():
            r[k + "_us"] = (cpu_ns(watched[k].pid) - t) / 1e3 / r["ios"]
        r["own_us"] = r["cpu_seconds"] * 1e6 / r["ios"]
        return r


def median_of(runs):
    def mid(f):
        return statistics.median(map(f, runs))
    m = {"iops": mid(lambda r: r["iops"]), "bps": mid(lambda r: r["bytes_per_second"]),
         "own": mid(lambda r: r["own_us"]), "back": mid(lambda r: r["back_us"]),
         "middle": mid(lambda r: r.get("middle_us", 0))}
    for p in ("p50", "p99", "p99.9"):
        m[p] = mid(lambda r, p=p: r["latency_us"][p])
    return m


def run_load(lab, args):
    results = {}
    lab.measure("gateway", "--bs 1m --depth 8 --rw write --pattern seq", 1)  # no holes in the file
    for name, options in WORKLOADS:
        runs = {w: [] for w in WAYS}
        for n in range(args.rounds):
            for way in WAYS:
                print(f"\r{name}: round {n + 1} of {args.rounds}, {way}     ", end="",
                      file=sys.stderr, flush=True)
                runs[way].append(lab.measure(way, options, args.time))
        results[name] = {w: median_of(r) for w, r in runs.items()}
    print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return results


class Idle:
    """nvmegw-bench --idle: queues that are connected and do nothing, until closed."""

    def __init__(self, lab, queues):
        self.p = subprocess.Popen(lab.argv("gateway", f"--idle --queues {queues} --time 600"),
                                  stdout=subprocess.PIPE)
        if b"connected" not in self.p.stdout.readline():
            raise Failed(f"{queues} idle queues did not connect:\n"
                         f"{lab.procs.log_tail('gateway')}")

    def close(self):
        self.p.terminate()
        self.p.wait()
        self.p.stdout.close()


def run_idle(lab, seconds):
    pid = lab.gateway.pid
    switches = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    idle = Idle(lab, IDLE_QUEUES)
    time.sleep(0.5)
    cpu, ctx = cpu_ns(pid), status_sum(pid, *switches)
    time.sleep(seconds)
    cpu, ctx = cpu_ns(pid) - cpu, status_sum(pid, *switches) - ctx
    before = rss_kib(pid)
    more = [Idle(lab, RSS_QUEUES) for _ in range(RSS_CONTROLLERS)]
    time.sleep(0.5)
    grown = rss_kib(pid) - before
    for i in [idle, *more]:
        i.close()
    return {"cpu": cpu / 1e7 / seconds, "switches": ctx / seconds,
            "rss": grown / (RSS_CONTROLLERS * RSS_QUEUES), "rss_total": before}


def judge(value, limit):
    return "reached" if value <= limit else "**short**"


def table(results, idle):
    out = ["| Load | Way | IOPS | MB/s | p50 µs | p99 µs | p99.9 µs | generator µs/IO | "
           "relay or gateway µs/IO | back-end µs/IO |", "|" + "---|" * 10]
    for name, ways in results.items():
        for way, m in ways.items():
            middle = f"{m['middle']:.2f}" if way != "direct" else "-"
            out.append(f"| {name} | {way} | {m['iops']:.0f} | {m['bps'] / 1e6:.0f} | "
                       f"{m['p50']:.1f} | {m['p99']:.1f} | {m['p99.9']:.1f} | {m['own']:.2f} | "
                       f"{middle} | {m['back']:.2f} |")
    out += ["", "| What | Relay | Gateway | Ratio | Target | |", "|---|---|---|---|---|---|"]
    for name, _ in CPU_JUDGED:
        r, g = (results[name][w]["middle"] for w in ("relay", "gateway"))
        out.append(f"| CPU per I/O, {name} | {r:.2f} µs | {g:.2f} µs | {g / r:.2f} | "
                   f"<= {TARGET_CPU} | {judge(g / r, TARGET_CPU)} |")
    d, r, g = (results[LATENCY_JUDGED[0]][w]["p50"] for w in WAYS)
    ratio = (g - d) / max(r - d, 0.1)
    out.append(f"| Latency added at depth 1 (p50) | {r - d:.1f} µs | {g - d:.1f} µs | {ratio:.2f} | "
               f"<= {TARGET_LATENCY} | {judge(ratio, TARGET_LATENCY)} |")
    out.append(f"| CPU with {IDLE_QUEUES} idle queues | - | {idle['cpu']:.3f} % of a core, "
               f"{idle['switches']:.1f} context switches/s | - | < {TARGET_IDLE} % | "
               f"{judge(idle['cpu'], TARGET_IDLE)} |")
    out.append(f"| Resident memory per idle queue, over {RSS_CONTROLLERS * RSS_QUEUES} queues | - | "
               f"{idle['rss']:.1f} KiB | - | < {TARGET_RSS} KiB | "
               f"{judge(idle['rss'], TARGET_RSS)} |")
    return out


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    kernel = ".".join(platform.release().split(".")[:2]).split("-")[0]
    return f"{os.cpu_count()} cores ({model}), Linux {kernel}"


def write_doc(begin, end, lines):
    path = os.path.join(procs.TOP, "docs", "performance.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if begin not in text or end not in text:
        raise Failed(f"docs/performance.md has no {begin} and {end}")
    head, tail = text.split(begin)[0], text.split(end)[1]
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + begin + "\n" + "\n".join(lines) + "\n" + end + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=float, default=4, help="seconds of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="update docs/performance.md")
    args = parser.parse_args()
    procs.raise_nofile()
    with Procs("/dev/shm") as p:
        lab = Lab(p)
        results = run_load(lab, args)
        idle = run_idle(lab, 5)
    lines = [f"Measured by `make bench` on {machine()}; {args.rounds} rounds of "
             f"{args.time:g} s, medians.", "", *table(results, idle)]
    print("\n".join(lines))
    if args.write:
        write_doc(BEGIN, END, lines)
        print("\nwritten to docs/performance.md")
    return 0


if __name__ == "__main__":
    procs.run(main)
