#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The systemd units: right, tight, and not too tight for the daemon."""
import ctypes
import ctypes.util
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "integration")]
from stack import BACK_NQN, StackTest, binary, file_upstream, free_ports, tcp_upstream  # noqa: E402
from procs import TOP  # noqa: E402
from wire import wait_for  # noqa: E402

UNITS = os.path.join(TOP, "etc/systemd")
EXPOSURE_MAX = 1.6  # of 10, see systemd-analyze(1)

SCMP_ACT_KILL_PROCESS, SCMP_ACT_ALLOW = 0x80000000, 0x7FFF0000


def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=60)


def unit(name):
    with open(os.path.join(UNITS, name), encoding="utf-8") as f:
        return f.read()


def settings(name, key):
    return re.findall(rf"^{key}=(.*)$", unit(name), re.M)


def system_calls(group):
    """Of a group of systemd's, those in groups in it too."""
    names = set()
    for line in run("systemd-analyze", "syscall-filter", group).stdout.splitlines()[1:]:
        name = line.split("#")[0].strip()
        names |= system_calls(name) if name.startswith("@") else {name} - {""}
    return names


def allowed_calls():
    allowed = set()
    for line in settings("nvmegwd.service", "SystemCallFilter"):
        calls = set().union(*(system_calls(group) for group in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    # As systemd adds them to each list.
    return allowed | system_calls("@default") | {"execve"}


class Filter:
    """The unit's list of system calls, where any other ends the process."""

    def __init__(self, calls):
        self.lib = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(SCMP_ACT_KILL_PROCESS)))
        for call in calls:
            number = self.lib.seccomp_syscall_resolve_name(call.encode())
            if number >= 0:  # else: not of this machine
                self.lib.seccomp_rule_add(self.context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0)

    def load(self):
        if self.lib.seccomp_load(self.context):
            raise OSError("cannot load the filter")


class Units(StackTest):
    def installed(self):
        """A folder with the units as they are installed."""
        folder = tempfile.mkdtemp(dir=self.p.dir)
        for name in ("nvmegwd.service", "nvmegwd.socket"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(unit(name).replace("@sbindir@/nvmegwd", binary("nvmegwd"))
                        .replace("@bindir@/nvmegw ", binary("nvmegw") + " "))
        return folder

    def test_systemd_understands_them(self):
        folder = self.installed()
        out = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                  folder + "/nvmegwd.service", folder + "/nvmegwd.socket")
        self.assertEqual((out.returncode, out.stdout), (0, ""))

    def test_exposure(self):
        out = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                  self.installed() + "/nvmegwd.service")
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", out.stdout)
        self.assertIsNotNone(exposure, out.stdout)
        self.assertLessEqual(float(exposure[1]), EXPOSURE_MAX, out.stdout)

    def test_command_line(self):
        line, = settings("nvmegwd.service", "ExecStart")
        program, *options = line.split()
        self.assertEqual(program, "@sbindir@/nvmegwd")
        config = self.p.write_config("gateway", self.gateway_config(
            free_ports(1)[0], [file_upstream(self.p.path("disk.img"))]))
        out = run(binary("nvmegwd"), "-t",
                  *[config if o == "/etc/nvmegw/nvmegw.json" else o for o in options])
        self.assertEqual(out.returncode, 0, out.stdout)

    def test_reload(self):
        """The command that the unit has for it, at the default socket."""
        line, = settings("nvmegwd.service", "ExecReload")
        self.assertEqual(line.split()[0], "@bindir@/nvmegw")
        config = self.gateway_config(free_ports(1)[0], [file_upstream(self.p.path("disk.img"))])
        self.daemon("gateway", config)
        self.assertIn("gateway.json", self.cli(*line.split()[1:]).stdout)
        self.assertIn("/etc/nvmegw", settings("nvmegwd.service", "ReadWritePaths")[0])

    def test_version_of_the_package(self):
        out = run(binary("nvmegwd"), "--version").stdout.split()
        with open(os.path.join(TOP, "etc/debian/changelog"), encoding="utf-8") as f:
            self.assertEqual(re.match(r"nvmegw \((.*?)\)", f.readline())[1], out[1])

    def test_address_of_the_socket(self):
        """It is that of the example that says how to begin."""
        stream, = settings("nvmegwd.socket", "ListenStream")
        with open(os.path.join(TOP, "etc/nvmegw.json"), encoding="utf-8") as f:
            address, port = re.search(r'"traddr": "([^"]+)", "trsvcid": (\d+)', f.read()).groups()
        self.assertEqual(stream, f"{address}:{port}")

    def filtered(self, name, config):
        """A daemon that may do what the unit lets it do, and dies when it tries anything else."""
        config = dict({"workers": 2, "pin": True}, **config)
        argv = [binary("nvmegwd"), "-c", self.p.write_config(name, config)]
        proc = self.p.start(name, argv, [int(l["trsvcid"]) for l in config["listeners"]],
                            preexec_fn=Filter(allowed_calls()).load)
        proc.daemon_name = name
        return proc

    def test_the_daemon_needs_no_more(self):
        """Both kinds of upstreams, load, the control socket, and an end in order."""
        ports = free_ports(2)
        self.assertNotIn("ptrace", allowed_calls())
        self.filtered("back", dict(
            self.gateway_config(ports[0], [file_upstream(self.p.path("disk.img"))], nqn=BACK_NQN),
            log_level="debug"))
        self.filtered("gateway", self.gateway_config(ports[1], [tcp_upstream(ports[0], "a")]))
        wait_for(lambda: self.usable() == 1)
        self.loaded(self.load(ports[1], "--rw", "mix", "--verify", "--size", "4m", "--time", 1))
        for words in (("status",), ("path", "list"), ("namespace", "list"), ("path", "reset", "a/1"),
                      ("path", "weight", "a/1", "5"), ("config", "diff"), ("config", "save"),
                      ("config", "apply")):
            self.cli(*words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
