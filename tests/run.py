#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run all tests, or those whose name contains one of the words given.

One line per program; what it printed goes to build/check/NAME.log, and its end to the terminal
when it failed. Closes with the sum: N passed, N failed.
"""
import concurrent.futures
import fnmatch
import glob
import os
import re
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = "build/check"
FAILED_LINES = 60
AT_ONCE = 3  # most of them wait for something most of the time

# Seconds after which a program hangs. No test is about them: a slow machine is no failure.
LONG, SHORT = 1800, 600

# Where threads hand things to each other: these also run under ThreadSanitizer.
TSAN_UNITS = ("test_fetch_quota", "test_loop", "test_state", "test_tcp*", "*thread*")

# Path loss, admin changes and hosts that come and go, with all threads.
TSAN_INTEGRATION = ("test_admin_io.AdminIo.test_there_and_back",
                    "test_failover.Failover.test_reset",
                    "test_failover.Failover.test_killed_and_restarted",
                    "test_failover.Failover.test_admin_disable",
                    "test_gateway.Gateway.test_hosts_come_and_go_under_path_changes",
                    "test_gateway.Gateway.test_ends_under_load",
                    "test_live.Apply.test_replaced_upstream",
                    "test_live.Apply.test_settings_at_once",
                    "test_live.Apply.test_all_upstreams_change",
                    "test_live.Apply.test_subsystems",
                    "test_live.Hostile.test_ends_while_applying",
                    "test_live.Save.test_runtime_changes_survive_a_restart")

ENV = dict(os.environ,
           ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1",
           UBSAN_OPTIONS="print_stacktrace=1",
           TSAN_OPTIONS="halt_on_error=1")


RUNNING = set()


class Test:
    def __init__(self, name, argv, seconds, flavour="release"):
        self.name, self.argv, self.seconds = name, argv, seconds
        self.env = dict(ENV, B="build/" + flavour)
        self.log = os.path.join(LOGS, name.replace("/", "-") + ".log")

    def run(self):
        """(passed, failed)"""
        with open(self.log, "wb") as log:
            p = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True)
            RUNNING.add(p)
            try:
                status = p.wait(self.seconds)
            except subprocess.TimeoutExpired:
                status = None
                log.write(f"\nkilled after {self.seconds} s\n".encode())
            finally:
                end_group(p)
                RUNNING.discard(p)
        passed, failed = count(self.text())
        if status != 0 and not failed:
            failed = 1
        elif not passed and not failed:
            passed = 1
        return passed, failed

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


def end_group(p):
    """Nothing that a test started may outlive it."""
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    p.wait()


def count(text):
    """What the program says of itself: "N passed, N failed", or unittest's or cmocka's summaries."""
    said = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
    if said:
        return int(said[-1][0]), int(said[-1][1])
    ran = re.findall(r"^Ran (\d+) tests? in ", text, re.M)
    if ran:
        bad = re.findall(r"^FAILED \(.*\)$", text, re.M)[-1:]
        failed = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", "".join(bad))))
        return max(int(ran[-1]) - failed, 0), failed
    return tuple(sum(map(int, re.findall(r"\[  " + word + r"  \] (\d+) test\(s\)", text)))
                 for word in ("PASSED", "FAILED"))


def units(flavour, patterns=("*",)):
    for program in sorted(glob.glob(f"build/{flavour}/unit/test_*")):
        name = os.path.basename(program)
        # A folder that was built before a test went away still has its program.
        if os.path.exists(f"tests/unit/{name}.c") and \
                any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            yield Test(f"unit/{flavour}/{name}", [program], SHORT, flavour)


def tests():
    """The longest first, since few run at a time."""
    yield Test("vm/rdma", ["python3", "tests/vm/test_rdma.py"], LONG)
    yield Test("integration/asan", ["tests/integration/run"], LONG, "asan")
    yield Test("integration/release", ["tests/integration/run"], LONG)
    yield Test("vm/host", ["python3", "tests/vm/test_host.py"], LONG)
    yield Test("vm/service", ["python3", "tests/vm/test_service.py"], LONG)
    yield Test("integration/tsan", ["tests/integration/run", *TSAN_INTEGRATION], LONG, "tsan")
    yield Test("sim/release", ["tests/sim/run", "20000"], LONG)
    yield Test("sim/asan", ["tests/sim/run", "1000"], LONG, "asan")
    yield Test("format", ["make", "-s", "format-check"], SHORT)
    yield Test("man", ["make", "-s", "man"], SHORT)
    yield Test("systemd-units", ["python3", "tests/units.py"], SHORT)
    yield from units("asan")
    yield from units("tsan", TSAN_UNITS)


def tests_on_request():
    """Not for every time: only when they are named."""
    yield Test("package", ["tests/package.sh"], LONG)


def run(test):
    """Runs it and tells how it went, in one piece."""
    start = time.monotonic()
    ok, bad = test.run()
    text = (f"{test.name:34} {'FAILED' if bad else 'ok':8}{ok + bad:4} tests "
            f"{time.monotonic() - start:7.1f} s\n")
    if bad:
        text += "".join(test.text().splitlines(True)[-FAILED_LINES:]) + f"--- end of {test.log}\n"
    sys.stdout.write(text)
    sys.stdout.flush()
    return ok, bad


def main(words):
    os.chdir(TOP)
    os.makedirs(LOGS, exist_ok=True)
    chosen = list(tests())
    if words:
        chosen = [t for t in [*chosen, *tests_on_request()]
                  if any(word in t.name for word in words)]
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    try:
        results = list(pool.map(run, chosen))
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for p in list(RUNNING):
            end_group(p)
        return 130
    passed, failed = (sum(r[i] for r in results) for i in (0, 1))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
