# SPDX-License-Identifier: Apache-2.0
"""
The package on a real Debian system, as its admin would use it: installed, configured, restarted,
upgraded and purged, with the kernel of the same machine as a host that checks what it reads.

usage: tests/vm/test_service.py; after "make deb"
"""
import glob
import json
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integration"))
sys.path.insert(0, HERE)
from lab import HOST, TOP, VM, debian_disk, fio_jobs  # noqa: E402
from stack import BACK_NQN, GW_NQN, StackTest, file_upstream, free_ports  # noqa: E402
from wire import wait_for  # noqa: E402

PACKAGES = ("nvme-cli", "fio", "procps")
PATIENCE = 120  # s for what systemd does on a machine that is emulated

# No filesystem: what is lost shows at once, and nothing is cached. Again and again until it is told
# to stop.
FIO = """rm -f /run/stop; while [ ! -e /run/stop ]; do fio --output-format=json --disk_util=0 --filename=/dev/nvme0n1 --direct=1 \
--ioengine=libaio --rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=64 --serialize_overlap=1 \
--loops=1000000 --runtime=5 --size=16m --name=small --bs=4k --iodepth=8 \
--name=big --bs=64k --iodepth=4 --offset=16m || [ $? = 134 ] || exit; done"""

# Of the device itself: what its one path (nvme0c0n1) lost while the daemon was away is sent again.
BAD_DMESG = re.compile(r"I/O error, dev nvme0n1|Buffer I/O|BUG:|WARNING:|Call Trace|"
                       r"blocked for more", re.I)


def bad(result):
    return len(result.failures) + len(result.errors)


class Appliance(StackTest):
    @classmethod
    def setUpClass(cls):
        debs = glob.glob(os.path.join(TOP, "build/deb/nvmegw_*.deb"))
        if len(debs) != 1:
            raise RuntimeError("one package has to be in build/deb: make deb")
        cls.deb = "/lab/" + os.path.basename(debs[0])
        cls.vm = VM("service", modules=("virtio_blk",), brought=debs,
                    drives=[debian_disk(debs[0], PACKAGES)],
                    cmdline="lab.root=/dev/vda net.ifnames=0 systemd.show_status=0")
        cls.vm.__enter__()
        cls.addClassCleanup(cls.vm.__exit__)

    def setUp(self):
        super().setUp()
        ports = free_ports(2)
        self.port = dict(zip("ab", ports))
        self.backs = {"a": self.back_end("a", ports[0], 1), "b": self.back_end("b", ports[1], 101)}
        self.addCleanup(self.show_failure)

    def run(self, result=None):
        self.result, self.bad_before = result, bad(result)
        return super().run(result)

    def show_failure(self):
        if bad(self.result) == self.bad_before:
            return
        print("\n--- the service's journal\n"
              + self.vm.status("journalctl -u 'nvmegwd*' --no-pager | tail -n 60")[1]
              + "--- the kernel's\n" + self.vm.status("dmesg | tail -n 30")[1])

    # ---- in the guest ----

    def nvmegw(self, *args):
        return self.vm.json("nvmegw -o json " + " ".join(args))

    def usable_paths(self):
        status, out = self.vm.status("nvmegw -o json path list")
        return {p["upstream"] for p in json.loads(out) if p["usable"]} if status == 0 else set()

    def wait_for_paths(self, *names):
        wait_for(lambda: self.usable_paths() == set(names), PATIENCE)

    def is_active(self):
        return self.vm.status("systemctl is-active nvmegwd")[1].strip()

    def configure(self, *upstreams):
        config = {
            "listeners": [{"transport": "tcp", "traddr": "127.0.0.1", "trsvcid": 4420}],
            "subsystems": [{"nqn": GW_NQN, "policy": "round-robin", "slow_path_factor": 0,
                            "no_path_timeout": 25, "upstreams": [
                                {"name": name, "transport": "tcp", "traddr": HOST,
                                 "trsvcid": self.port[name], "nqn": BACK_NQN}
                                for name in upstreams]}]}
        self.vm.run(f"cat >/etc/nvmegw/nvmegw.json <<'END'\n{json.dumps(config, indent=2)}\nEND\n"
                    "nvmegwd -t -c /etc/nvmegw/nvmegw.json")

    def written(self):
        return self.nvmegw("status")["subsystems"][0]["writes"]

    def under_load(self, change):
        """Does it while a host writes and verifies: no error, and no complaint of the kernel."""
        fio = self.vm.spawn(FIO)
        for step in (lambda: None, change):
            step()
            seen = self.written()
            wait_for(lambda: self.written() > seen + 200, PATIENCE)  # noqa: B023
        self.assertTrue(fio.running(), "the load ended early")
        self.vm.run("touch /run/stop")
        for job in fio_jobs(*fio.wait(PATIENCE)):
            self.assertGreater(job["read"]["total_ios"], 0, "nothing was verified")
        bad = [line for line in self.vm.run("dmesg").splitlines() if BAD_DMESG.search(line)]
        self.assertFalse(bad, "\n".join(bad))

    # ---- steps ----

    def install(self):
        self.vm.run(f"dpkg -i {self.deb}", PATIENCE)
        self.assertEqual(self.vm.run("systemctl is-enabled nvmegwd").strip(), "enabled")
        self.assertEqual(self.is_active(), "inactive")  # there is nothing to run with

    def first_start(self):
        self.configure("a", "b")
        self.vm.run("sed -i 's/^ListenStream=.*/ListenStream=127.0.0.1:4420/' "
                    "$(systemctl show -P FragmentPath nvmegwd.socket) && systemctl daemon-reload && "
                    "systemctl enable --now nvmegwd.socket && systemctl start nvmegwd", PATIENCE)
        self.wait_for_paths("a", "b")
        self.assertEqual(self.vm.run("ps -o user= -C nvmegwd").strip(), "nvmegw")
        self.vm.run(f"nvme connect -t tcp -a 127.0.0.1 -s 4420 -n {GW_NQN} --reconnect-delay=1",
                    PATIENCE)
        wait_for(lambda: self.vm.status("test -b /dev/nvme0n1")[0] == 0, PATIENCE)
        self.assertEqual(len(self.nvmegw("controller", "list")), 1)

    def pid(self):
        return self.vm.run("systemctl show -P MainPID nvmegwd").strip()

    def another_process(self, change):
        before = self.pid()
        change()
        wait_for(lambda: self.pid() not in ("0", before), PATIENCE)
        self.wait_for_paths("a", "b")

    def restart(self):
        self.another_process(lambda: self.vm.run("systemctl restart nvmegwd", PATIENCE))

    def upgrade(self):
        self.another_process(lambda: self.vm.run(f"dpkg -i {self.deb}", PATIENCE))

    def crash(self):
        self.another_process(lambda: self.vm.run("systemctl kill -s KILL nvmegwd", PATIENCE))

    def replace_a_back_end(self):
        """The one that goes is cut off only when nothing uses it any more."""
        self.configure("b")
        self.vm.run("systemctl reload nvmegwd", PATIENCE)
        self.wait_for_paths("b")
        self.end(self.backs["a"])
        self.backs["a"] = self.back_end("a", self.port["a"], 201,
                                        file_upstream(self.p.path("disk.img")))
        self.configure("a", "b")
        self.vm.run("systemctl reload nvmegwd", PATIENCE)
        self.wait_for_paths("a", "b")

    def is_confined(self):
        out = self.vm.run("systemd-analyze security --no-pager nvmegwd.service", PATIENCE)
        self.assertLess(float(re.search(r"exposure level for \S+: ([\d.]+)", out)[1]), 2, out)
        errors = self.vm.run("journalctl -q -u nvmegwd -p err --no-pager -o cat")
        self.assertNotIn("permitted", errors)
        self.assertNotIn("denied", errors)

    def purge(self):
        self.vm.run("nvme disconnect-all", PATIENCE)
        self.vm.run("DEBIAN_FRONTEND=noninteractive dpkg --purge nvmegw", PATIENCE)
        self.assertEqual(self.is_active(), "inactive")
        self.assertEqual(self.vm.status("test -e /var/lib/nvmegw -o -e /run/nvmegw")[0], 1)
        self.assertEqual(self.vm.status("systemctl list-unit-files 'nvmegw*' --no-legend")[1], "")

    def test_life_of_an_appliance(self):
        self.install()
        self.first_start()
        self.under_load(self.restart)
        self.under_load(self.upgrade)
        self.under_load(self.replace_a_back_end)
        self.under_load(self.crash)
        self.is_confined()
        self.purge()


if __name__ == "__main__":
    unittest.main(verbosity=2)
