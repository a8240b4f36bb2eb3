# SPDX-License-Identifier: Apache-2.0
"""Start, watch and stop the daemons that the demo and the benchmark are made of."""
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(TOP, os.environ.get("B", "build/release"))


class Failed(Exception):
    """What is shown to the user as the reason."""


def binary(name):
    path = os.path.join(BIN, name)
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not there: run make first")
    return path


class Ports:
    """
    Ports of this process alone, for as long as it lives; test programs run side by side. Those that
    the kernel gives to connections are not among them: between looking and listening it would.
    """
    BLOCK = 200
    FIRST = 10000

    def __init__(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            end = int(f.read().split()[0])
        for first in range(self.FIRST, end - self.BLOCK + 1, self.BLOCK):
            self.mark = socket.socket(socket.AF_UNIX)
            try:
                self.mark.bind(f"\0nvmegw-test-ports-{first}")
            except OSError:
                self.mark.close()
                continue
            self.order = itertools.cycle(range(first, first + self.BLOCK))
            return
        raise Failed("no ports are free: too many tests run at the same time")

    def next(self):
        for _ in range(self.BLOCK):
            port = next(self.order)
            with socket.socket() as s:
                # As the daemon does: connections that have ended are not in its way.
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("", port))
                    return port
                except OSError:
                    pass
        raise Failed("no port is free")


_ports = None


def free_ports(count):
    """Ports that nobody listens on and nobody else is given, all different."""
    global _ports
    _ports = _ports or Ports()
    return [_ports.next() for _ in range(count)]


def raise_nofile():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Procs:
    """A scratch folder and the processes that live in it; all gone at the end of the with block."""

    def __init__(self, base=None):
        self.dir = tempfile.mkdtemp(prefix="nvmegw-", dir=base)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.running:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.running:
            self.reap(p)
        shutil.rmtree(self.dir, ignore_errors=True)

    @staticmethod
    def reap(p, seconds=5):
        try:
            p.wait(seconds)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, name, argv, ports, **how):
        """Run argv, its output in NAME.log, and wait until it listens on all of the ports; how
        goes to Popen."""
        with open(self.path(name + ".log"), "ab") as log:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)
        p.name = name
        self.running.append(p)
        deadline = time.monotonic() + 60
        for port in ports:
            self.wait_port(p, port, deadline)
        return p

    def wait_port(self, p, port, deadline):
        while not listening(port):
            if p.poll() is not None:
                raise Failed(f"{p.name} ended with status {p.returncode}:\n{self.log_tail(p.name)}")
            if time.monotonic() > deadline:
                raise Failed(f"{p.name} does not listen on port {port}:\n{self.log_tail(p.name)}")
            time.sleep(0.02)

    def write_config(self, name, config):
        """NAME.json, with a control socket and a state folder of its own."""
        config = dict(config, control_socket=self.path(name + ".sock"),
                      state_dir=self.path(name + ".state"))
        os.makedirs(config["state_dir"], exist_ok=True)
        with open(self.path(name + ".json"), "w", encoding="utf-8") as f:
            json.dump(config, f, indent=2)
        return self.path(name + ".json")

    def daemon(self, name, config):
        """Start an nvmegwd and wait until it listens."""
        argv = [binary("nvmegwd"), "-c", self.write_config(name, config)]
        return self.start(name, argv, [int(l["trsvcid"]) for l in config["listeners"]])

    def in_netns(self, netns, name, config):
        """The same inside a network namespace, whose listening sockets are not ours to see."""
        argv = ["ip", "netns", "exec", netns, binary("nvmegwd"), "-c",
                self.write_config(name, config)]
        return self.start(name, argv, [])

    def kill(self, p):
        p.kill()
        p.wait()
        self.running.remove(p)

    def log_tail(self, name, lines=15):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])


def listening(port):
    """Whether a TCP socket listens on the port; asks the kernel, so nobody sees a connection."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        next(f)
        return any(int(w[1].split(":")[1], 16) == port and w[3] == "0A"
                   for w in map(str.split, f))


def listener(port):
    return {"transport": "tcp", "traddr": "127.0.0.1", "trsvcid": port}


def run(main):
    """main() as a program: what Failed says on stderr, status 1; Ctrl-C is no traceback."""
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"failed: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
