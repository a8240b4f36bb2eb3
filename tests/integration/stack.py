# SPDX-License-Identifier: Apache-2.0
"""Back-ends, a gateway and load, as the integration tests set them up."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import control_api  # noqa: E402
import procs  # noqa: E402
import schema  # noqa: E402
from manager import Manager  # noqa: E402
from procs import Procs, binary, free_ports, listener  # noqa: E402,F401
from wire import wait_for  # noqa: E402

BACK_NQN = "nqn.2014-08.org.example:back"
GW_NQN = "nqn.2014-08.org.example:gw"
UUID = "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"


def file_upstream(path, size="64MiB", **more):
    return dict({"transport": "file", "path": path, "size": size, "uuid": UUID}, **more)


PATIENT = 20  # s of keep-alive, where nothing is to be lost, however busy the machine is


def tcp_upstream(port, name, **more):
    return dict({"name": name, "transport": "tcp", "traddr": "127.0.0.1", "trsvcid": port,
                 "nqn": BACK_NQN, "keep_alive_tmo": 2, "reconnect_delay": 0.3}, **more)


def schemas():
    doc = control_api.load()
    return control_api.resolved(doc["methods"], doc["$defs"])


class StackTest(unittest.TestCase):
    """Each test has a scratch folder; every process still running must end well at its end."""

    def setUp(self):
        self.p = Procs()
        self.addCleanup(self.p.__exit__)

    def tearDown(self):
        for proc in list(self.p.running):
            if getattr(proc, "daemon_name", None):
                self.end(proc)

    def end(self, proc):
        """SIGTERM, and a clean exit: no crash, no sanitizer report, no leak."""
        proc.terminate()
        self.p.reap(proc, 60)
        self.p.running.remove(proc)
        self.assertEqual(proc.returncode, 0, self.p.log_tail(proc.name, 60))

    def daemon(self, name, config):
        proc = self.p.daemon(name, dict({"workers": 2, "pin": False}, **config))
        proc.daemon_name = name
        return proc

    def manager(self, *ports):
        manager = Manager(self.p, ports)
        self.addCleanup(manager.close)
        return manager

    def managed(self, manager, name, config, **env):
        """A daemon that the service manager starts."""
        config = dict({"workers": 2, "pin": False}, **config)
        argv = [binary("nvmegwd"), "-c", self.p.write_config(name, config)]
        proc = manager.start(name, argv, **env)
        proc.daemon_name = name
        return proc

    def back_end(self, name, port, cntlid=1, upstream=None, **subsystem):
        upstream = upstream or file_upstream(self.p.path("disk.img"))
        return self.daemon(name, {
            "workers": 1, "listeners": [listener(port)],
            "subsystems": [dict({"nqn": BACK_NQN, "cntlid_min": cntlid,
                                 "cntlid_max": cntlid + 98, "upstreams": [upstream]},
                                **subsystem)]})

    @staticmethod
    def gateway_config(port, upstreams, **subsystem):
        more = subsystem.pop("config", {})
        # What a busy machine makes slow is not what these tests are about.
        subsystem.setdefault("slow_path_factor", 0)
        return dict({
            "listeners": [listener(port)],
            "subsystems": [dict({"nqn": GW_NQN, "upstreams": upstreams}, **subsystem)]}, **more)

    def gateway(self, port, upstreams, name="gateway", **subsystem):
        return self.daemon(name, self.gateway_config(port, upstreams, **subsystem))

    def cli(self, *args, daemon="gateway", check=True):
        out = subprocess.run([binary("nvmegw"), "-s", self.p.path(daemon + ".sock"), *args],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             check=False, timeout=60)
        if check:
            self.assertEqual(out.returncode, 0, out.stderr)
        return out

    def show(self, *args, daemon="gateway"):
        """The result of a command, which is what its schema says."""
        result = json.loads(self.cli("-o", "json", *args, daemon=daemon).stdout)
        known = schemas()
        method = ".".join(args[:2]) if ".".join(args[:2]) in known else args[0]
        schema.check(known[method]["result"], result, method)
        return result

    def paths(self, daemon="gateway"):
        return self.show("path", "list", daemon=daemon)

    def usable(self, daemon="gateway"):
        return sum(bool(p["usable"]) for p in self.paths(daemon))

    def load(self, port, *args, nqn=GW_NQN):
        """Starts the load generator; self.loaded() gets its result."""
        argv = [binary("nvmegw-bench"), "--addr", f"127.0.0.1:{port}", "--nqn", nqn, "--wait", "60",
                "-o", "json", *map(str, args)]
        load = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for clean_up in (load.stderr.close, load.stdout.close, load.wait, load.kill):
            self.addCleanup(clean_up)
        return load

    def verified(self, port, *args):
        """
        A verified mix of reads and writes; apart, because two back-ends of ours are two processes
        with one image, and neither keeps a block whole for the other's commands.
        """
        return self.load(port, "--rw", "mix", "--verify", "--apart", *args)

    def goes_on(self, commands=500, daemon="gateway"):
        """Waits until I/O has gone on by that many commands."""
        def done():
            return sum(p["reads"] + p["writes"] for p in self.paths(daemon))

        def gone_on():
            nonlocal before
            now = done()
            before = min(before, now)  # less when a path has gone, with what went over it
            return now > before + commands

        before = done()
        wait_for(gone_on)

    def loaded(self, load, seconds=180):
        out, err = load.communicate(timeout=seconds)
        self.assertEqual(load.returncode, 0, out + err)
        return json.loads(out.strip().splitlines()[-1])
