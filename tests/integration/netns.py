# SPDX-License-Identifier: Apache-2.0
"""A network namespace as the other end of a cable: packets can be dropped, connections broken."""
import ipaddress
import os
import subprocess

from stack import free_ports

NETWORK = int(ipaddress.ip_address("198.18.0.0"))  # 32768 links of 4 addresses, RFC 2544


class Netns:
    """A namespace and a veth pair to it; self.addr is its end's address."""

    def __init__(self):
        unique = free_ports(1)[0]
        net = NETWORK + unique % 32768 * 4
        self.name = f"nvmegw-{unique}"
        self.addr = str(ipaddress.ip_address(net + 2))
        self.leave()  # of a test that was killed: the name is ours alone
        self.ip("netns", "add", self.name)
        try:
            self.ip("-n", self.name, "link", "set", "lo", "up")
            self.ip("link", "add", self.name, "type", "veth", "peer", "name", "up0",
                    "netns", self.name)
            self.ip("addr", "add", f"{ipaddress.ip_address(net + 1)}/30", "dev", self.name)
            self.ip("link", "set", self.name, "up")
            self.ip("-n", self.name, "addr", "add", self.addr + "/30", "dev", "up0")
            self.ip("-n", self.name, "link", "set", "up0", "up")
        except BaseException:
            self.leave()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """The veth pair goes along."""
        self.ip("netns", "del", self.name)

    def leave(self):
        """The same of what may be there or not."""
        if os.path.exists("/run/netns/" + self.name):
            self.close()

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], stdout=subprocess.DEVNULL, check=True)

    def run(self, *argv):
        self.ip("netns", "exec", self.name, *argv)

    def on_arrival(self, verdict):
        self.run("nft", "add table ip cut; add chain ip cut in "
                 "{ type filter hook input priority 0; }; add rule ip cut in " + verdict)

    def drop(self):
        """Nothing that is sent to it arrives any more, without a word."""
        self.on_arrival("drop")

    def refuse(self):
        """All TCP that is sent to it is answered with a reset."""
        self.on_arrival("meta l4proto tcp reject with tcp reset")

    def heal(self):
        self.run("nft", "delete table ip cut")

    def reset(self, port):
        """Breaks the connections to a port in it, at its end: the other end gets RST at once."""
        self.run("ss", "-K", "-H", "-n", "-t", "sport", "=", str(port))
