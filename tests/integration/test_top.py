# SPDX-License-Identifier: Apache-2.0
"""nvmegw top: what it shows, and that the terminal is what it was, however it ends."""
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
import unittest

from stack import StackTest, binary, free_ports, tcp_upstream
from wire import wait_for

SCREEN_ON, SCREEN_OFF = b"\033[?1049h", b"\033[?1049l"


class Screen:
    """A terminal with nvmegw top on it."""

    def __init__(self, test, *args, rows=24, columns=100):
        self.ours, self.its = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.its)
        argv = [binary("nvmegw"), "-s", test.p.path("gateway.sock"), "top", "-d", "0.1", *args]
        self.p = subprocess.Popen(argv, stdin=self.its, stdout=self.its, stderr=self.its,
                                  env=dict(os.environ, NO_COLOR="1"), start_new_session=True,
                                  preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.out = b""
        test.addCleanup(self.close)

    def close(self):
        self.p.kill()
        self.p.wait()
        os.close(self.ours)
        os.close(self.its)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        os.set_blocking(self.ours, False)
        try:
            while True:
                self.out += os.read(self.ours, 65536)
        except BlockingIOError:
            return self.out

    def frames(self):
        """Whole ones, as lists of lines."""
        frames = self.read().split(b"\033[H")[1:-1]
        return [f.replace(b"\033[0m", b"").replace(b"\033[K", b"").replace(b"\033[J", b"")
                .decode().replace("\r", "").split("\n") for f in frames]

    def until(self, what):
        """Waits for a frame after now that is so."""
        seen = len(self.frames())
        wait_for(lambda: any(what(f) for f in self.frames()[seen:]))

    def key(self, text):
        os.write(self.ours, text.encode())

    def attributes(self):
        """Of which the system sets one itself while input waits to be read again."""
        now = termios.tcgetattr(self.its)
        now[3] &= ~termios.PENDIN
        return now


class Top(StackTest):
    def setUp(self):
        super().setUp()
        self.port, back = free_ports(2)
        self.back_end("back", back)
        self.gateway(self.port, [tcp_upstream(back, "a")])
        wait_for(lambda: self.usable() == 1)

    def in_order(self, screen, status):
        # What is not read holds up the writer, and even its end.
        wait_for(lambda: (screen.read(), screen.p.poll() is not None)[1])
        self.assertEqual(screen.p.returncode, status)
        self.assertEqual(screen.attributes(), screen.before)
        out = screen.read()
        self.assertEqual(out.count(SCREEN_ON), out.count(SCREEN_OFF))
        return out

    @staticmethod
    def stopped(screen):
        wait_for(lambda: os.waitid(os.P_PID, screen.p.pid,
                                   os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None)

    def drawn(self, *args, **kwargs):
        screen = Screen(self, *args, **kwargs)
        screen.until(lambda f: f[0].startswith("nvmegw top"))
        self.assertNotEqual(screen.attributes(), screen.before)
        return screen

    def test_batch(self):
        load = self.load(self.port, "--time", 300)
        wait_for(lambda: self.paths()[0]["reads"] > 0)
        out = self.cli("top", "-b", "-n", "2", "-d", "1").stdout
        frames = out.strip().split("\n\nnvmegw top")
        self.assertEqual(len(frames), 2)
        for frame in frames:
            self.assertRegex(frame, r"(?m)^ 1 +optimized +1/1 +[1-9]")
            self.assertRegex(frame, r"(?m)^a/1 +1 +optimized +[1-9]\S* +\S+ [KMG]iB/s +0 B/s")
            self.assertNotIn("sort", frame)
        lines = self.cli("top", "-o", "json", "-n", "2", "-d", "1").stdout.splitlines()
        self.assertEqual(len(lines), 2)
        for line in map(json.loads, lines):
            path, namespace, total = line["paths"][0], line["namespaces"][0], line["total"]
            for key in ("iops", "read_bytes_per_second", "mean_latency_us", "p99_latency_us"):
                self.assertGreater(path[key], 0)
                self.assertEqual(path[key], namespace[key])
                self.assertEqual(path[key], total[key])
            self.assertEqual(path["write_bytes_per_second"], 0)
            self.assertEqual(path["state"], "optimized")
            self.assertGreaterEqual(line["seconds"], 1)

    def test_wrong_usage(self):
        for words, part in ((["-d", "0"], "0.1 to 3600"), (["-d", "x"], "0.1"),
                            (["-d", "nan"], "0.1"), (["-n", "0"], "from 1"),
                            (["-n", "-1"], "from 1"), (["-o", "csv"], "CSV"),
                            ([], "--batch"), (["x"], "\"x\"")):
            out = self.cli("top", *words, check=False)
            self.assertEqual((out.returncode, out.stdout), (2, ""), words)
            self.assertIn(part, out.stderr)

    def test_keys(self):
        screen = self.drawn()
        screen.until(lambda f: "i iops (most first)" in f[2])
        screen.key("m")
        screen.until(lambda f: "m mean (most first)" in f[2])
        screen.key("m")
        screen.until(lambda f: "m mean (least first)" in f[2])
        screen.key("x\033[A\033[B\033[C")
        screen.key("q")
        self.in_order(screen, 0)

    def test_counted(self):
        self.in_order(self.drawn("-n", "3"), 0)

    def test_resized(self):
        screen = self.drawn(rows=24, columns=100)
        screen.until(lambda f: any(line.startswith("a/1") for line in f))
        screen.resize(8, 20)
        screen.p.send_signal(signal.SIGWINCH)
        screen.until(lambda f: len(f) <= 8 and max(map(len, f)) <= 20)
        screen.resize(30, 120)
        screen.p.send_signal(signal.SIGWINCH)
        screen.until(lambda f: any(len(line) > 60 for line in f))
        screen.key("q")
        self.in_order(screen, 0)

    def test_signals(self):
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
                      signal.SIGSEGV, signal.SIGABRT):
            screen = self.drawn()
            screen.p.send_signal(signo)
            self.in_order(screen, -signo)

    def test_interrupted_by_key(self):
        screen = self.drawn()
        screen.key("\x03")
        self.in_order(screen, -signal.SIGINT)

    def test_interrupted_while_the_daemon_thinks(self):
        screen = self.drawn()
        gateway = next(d for d in self.p.running if getattr(d, "daemon_name", "") == "gateway")
        gateway.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        for signo in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
            screen.p.send_signal(signo)
            if signo == signal.SIGTSTP:
                self.stopped(screen)  # a SIGCONT before that is lost
            time.sleep(0.1)
        gateway.send_signal(signal.SIGCONT)
        screen.until(lambda f: f[0].startswith("nvmegw top"))
        screen.key("q")
        self.in_order(screen, 0)

    def test_stopped_and_continued(self):
        screen = self.drawn()
        screen.p.send_signal(signal.SIGTSTP)
        self.stopped(screen)
        self.assertEqual(screen.attributes(), screen.before)
        screen.p.send_signal(signal.SIGCONT)
        screen.until(lambda f: f[0].startswith("nvmegw top"))
        self.assertNotEqual(screen.attributes(), screen.before)
        screen.key("q")
        self.in_order(screen, 0)

    def test_daemon_goes(self):
        screen = self.drawn()
        gateway = next(d for d in self.p.running if getattr(d, "daemon_name", "") == "gateway")
        self.end(gateway)
        out = self.in_order(screen, 3)
        self.assertIn(b"hung up", out.split(SCREEN_OFF)[1])


if __name__ == "__main__":
    unittest.main()
