# SPDX-License-Identifier: Apache-2.0
"""What systemd is to a daemon, for the tests: it holds the listening sockets, and is told things."""
import fcntl
import os
import select
import socket
import subprocess
import time

from procs import Failed


class Manager:
    """Sockets that outlive the daemons they are passed to, and a notification socket."""

    def __init__(self, p, ports, address="127.0.0.1"):
        self.p = p
        self.sockets = []
        for port in ports:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            s.listen(128)
            self.sockets.append(s)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(p.path("notify.sock"))

    def close(self):
        for s in (*self.sockets, self.notify):
            s.close()

    def start(self, name, argv, **env):
        """Run argv with the sockets, and wait until it says that it is ready."""
        count = len(self.sockets)
        env = dict(os.environ, NOTIFY_SOCKET=self.p.path("notify.sock"), LISTEN_FDS=str(count), **env)

        # The shell puts them where they belong. Between fork and exec of ours nothing may be done with
        # low numbers: they may be what subprocess needs there, or what threads leave behind.
        high = [fcntl.fcntl(s, fcntl.F_DUPFD_CLOEXEC, 100) for s in self.sockets]
        moves = " ".join(f"{3 + n}<&{fd} {fd}<&-" for n, fd in enumerate(high))
        # Only the child knows its process ID.
        argv = ["bash", "-c", f'export LISTEN_PID=$$; exec "$@" {moves}', "bash", *argv]
        with open(self.p.path(name + ".log"), "ab") as log:
            proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                    pass_fds=high)
        for fd in high:
            os.close(fd)
        proc.name = name
        self.p.running.append(proc)
        if not self.told("READY=1", 60):
            raise Failed(f"{name} does not become ready:\n{self.p.log_tail(name)}")
        return proc

    def told(self, what, seconds):
        """Whether the daemon says it within that time."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.notify], [], [], left)[0]:
                return False
            if what in self.notify.recv(4096).decode().split("\n"):
                return True
