# SPDX-License-Identifier: Apache-2.0
"""Metrics as Prometheus takes them, and the alerts and the dashboard that are made of them."""
import json
import os
import re
import socket
import subprocess
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request

from stack import GW_NQN, PATIENT, StackTest, file_upstream, free_ports, procs, tcp_upstream
from wire import wait_for

ALERTS = os.path.join(procs.TOP, "etc", "prometheus-alerts.yml")
DASHBOARD = os.path.join(procs.TOP, "etc", "grafana-nvmegw.json")
GUIDE = os.path.join(procs.TOP, "docs", "admin-guide.md")
METRIC = r"\b(?:nvmegw|process)_[a-z_]+"


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def promtool(*args, text=None):
    out = subprocess.run(["promtool", *args], input=text, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    return out.returncode, out.stdout


def expressions():
    """All of the dashboard, with its variables filled in as Grafana would."""
    board = json.loads(read(DASHBOARD))
    found = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    assert len(found) > 20
    for name, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$subsystem", ".*")):
        found = [e.replace(name, value) for e in found]
    return found


class Files(StackTest):
    def test_alert_rules(self):
        status, said = promtool("check", "rules", ALERTS)
        self.assertEqual(status, 0, said)
        with open(self.p.path("alerts.yml"), "w", encoding="utf-8") as f:
            f.write(read(os.path.join(procs.TOP, "tests", "integration", "alerts.yml"))
                    .replace("RULES", ALERTS))
        status, said = promtool("test", "rules", self.p.path("alerts.yml"))
        self.assertEqual(status, 0, said)

    def test_dashboard_expressions(self):
        """As recording rules, promtool can check them."""
        rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(expressions())]
        with open(self.p.path("board.yml"), "w", encoding="utf-8") as f:
            json.dump({"groups": [{"name": "board", "rules": rules}]}, f)
        status, said = promtool("check", "rules", self.p.path("board.yml"))
        self.assertEqual(status, 0, said)

    def test_every_alert_is_in_the_guide(self):
        alerts = re.findall(r"- alert: (\w+)", read(ALERTS))
        described = re.findall(r"^\*\*(Nvmegw\w+)\*\*", read(GUIDE), re.M)
        self.assertGreater(len(alerts), 10)
        self.assertEqual(alerts, described)


class Metrics(StackTest):
    def stack(self, workers=2):
        self.ports = free_ports(5)
        self.back_end("a", self.ports[0], 1)
        self.backs = [self.p.running[-1], self.back_end("b", self.ports[1], 101)]
        self.http = self.ports[3]
        self.gateway(self.ports[2], [tcp_upstream(self.ports[0], "a", keep_alive_tmo=PATIENT),
                                     tcp_upstream(self.ports[1], "b", keep_alive_tmo=PATIENT)],
                     policy="round-robin",
                     config={"http": {"trsvcid": self.http}, "workers": workers})
        wait_for(lambda: self.usable() == 2)

    def get(self, path="/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=60) as r:
            return r.read().decode()

    def value(self, name, **labels):
        """Of the one sample with these labels."""
        found = []
        for line in self.get().splitlines():
            m = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if m and m.group(1) == name:
                has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m.group(2) or ""))
                if labels.items() <= has.items():
                    found.append(float(m.group(3)))
        self.assertEqual(len(found), 1, (name, labels))
        return found[0]

    def test_text(self):
        """promtool finds nothing to complain of, and what was done is there."""
        self.stack()
        self.loaded(self.load(self.ports[2], "--rw", "mix", "--queues", 2, "--depth", 4,
                              "--size", "4m", "--time", 1))
        # When the host has shut down, its caches are flushed.
        wait_for(lambda: all(p["others"] and not p["inflight"] for p in self.paths()))
        text = self.get()
        self.assertEqual(promtool("check", "metrics", text=text), (0, ""))
        shown = self.show("status")["subsystems"][0]
        self.assertEqual(self.value("nvmegw_subsystem_reads_total", subsystem=GW_NQN),
                         shown["reads"])
        for path in self.paths():
            labels = {"path": path["path"], "subsystem": GW_NQN}
            done = self.value("nvmegw_path_latency_seconds_count", **labels)
            self.assertGreater(done, 0)
            self.assertEqual(self.value("nvmegw_path_latency_seconds_bucket", le="+Inf", **labels),
                             done)
            self.assertEqual(sum(self.value(f"nvmegw_path_{kind}_total", **labels)
                                 for kind in ("reads", "writes", "others")), done)
            average = self.value("nvmegw_path_latency_seconds_sum", **labels) / done
            self.assertAlmostEqual(average, path["average_latency_us"] / 1e6, delta=2e-6)
        buckets = [int(n) for n in re.findall(
            r'^nvmegw_path_latency_seconds_bucket\{path="a/1".*\} (\d+)$', text, re.M)]
        self.assertEqual(buckets, sorted(buckets))
        guide = re.sub(r"`nvmegw_\w+_\.\.\.`", "", read(GUIDE))
        used = set(re.findall(METRIC, read(ALERTS) + " ".join(expressions()) + guide))
        there = set(re.findall(METRIC, text))
        self.assertEqual(used - there, set(), "these metrics are used, but there are none")

    def test_path_lost(self):
        self.stack()
        self.p.kill(self.backs[0])
        wait_for(lambda: self.value("nvmegw_path_state", path="a/1", state="down") == 1)
        self.assertEqual(self.value("nvmegw_path_state", path="a/1", state="optimized"), 0)
        self.assertEqual(self.value("nvmegw_path_usable", path="b/1"), 1)
        self.assertEqual(self.value("nvmegw_upstream_state", upstream="a", state="live"), 0)
        self.assertEqual(self.value("nvmegw_upstream_losses_total", upstream="a"), 1)
        self.assertEqual(self.value("nvmegw_namespace_usable_paths"), 1)

    def test_read_only_and_local(self):
        self.stack()
        for method in ("POST", "PUT", "DELETE"):
            with self.assertRaises(urllib.error.HTTPError) as e:
                urllib.request.urlopen(urllib.request.Request(
                    f"http://127.0.0.1:{self.http}/", data=b"x", method=method), timeout=60)
            self.assertEqual(e.exception.code, 405)
            e.exception.close()
        with self.assertRaises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(urllib.request.Request(
                f"http://127.0.0.1:{self.http}/state.json", headers={"Host": "evil.example"}),
                timeout=60)
        self.assertEqual(e.exception.code, 421)
        e.exception.close()

    @staticmethod
    def open_files(pid):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                yield os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:  # closed meanwhile: one of the state's, or of a connection
                pass

    def test_off_unless_configured(self):
        port = free_ports(1)[0]
        self.gateway(port, [file_upstream(self.p.path("disk.img"))])
        wait_for(lambda: self.usable() == 1)
        mine = set(self.open_files(self.p.running[-1].pid))
        with open(f"/proc/{self.p.running[-1].pid}/net/tcp", encoding="ascii") as f:
            listens = [w[1] for w in map(str.split, f)
                       if w[3] == "0A" and f"socket:[{w[9]}]" in mine]
        self.assertEqual([int(a.split(":")[1], 16) for a in listens], [port])

    def resident(self):
        return self.value("process_resident_memory_bytes")

    def test_clients_that_stall_or_flood(self):
        """They cost neither I/O nor memory, and others are still answered."""
        self.stack()
        load = self.load(self.ports[2], "--rw", "write", "--verify", "--queues", 2, "--depth", 8,
                         "--size", "4m", "--time", 300)
        self.goes_on()
        before = self.resident()
        stalled = []
        for _ in range(200):
            s = socket.create_connection(("127.0.0.1", self.http), 10)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.addCleanup(s.close)
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
            stalled.append(s)
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", self.http), 5) as s:
                        s.sendall(b"GET /state.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
                        s.recv(100)
                except OSError:
                    pass

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for t in threads:
            t.start()
        for _ in range(10):
            self.show("status")  # the tool waits for 20 s
        stop.set()
        for t in threads:
            t.join()
        # Sanitizers keep what was freed.
        limit = 64 << 20 if os.path.basename(procs.BIN) == "release" else 512 << 20
        self.assertLess(self.resident() - before, limit)
        self.goes_on()
        load.terminate()
        r = self.loaded(load)
        self.assertEqual((r["errors"], r["verify_failures"], r["retries"]), (0, 0, 0), r)
        self.assertEqual(self.value("nvmegw_path_usable", path="a/1"), 1)
        self.assertEqual(self.value("nvmegw_upstream_losses_total", upstream="a"), 0)

    # ---- a real Prometheus ----

    def prometheus(self):
        port = self.ports[4]
        with open(self.p.path("prometheus.yml"), "w", encoding="utf-8") as f:
            json.dump({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                       "rule_files": [ALERTS],
                       "scrape_configs": [{"job_name": "nvmegw", "static_configs": [
                           {"targets": [f"127.0.0.1:{self.http}"]}]}]}, f)
        self.p.start("prometheus", [
            "prometheus", "--config.file=" + self.p.path("prometheus.yml"),
            "--storage.tsdb.path=" + self.p.path("tsdb"), "--log.level=warn",
            f"--web.listen-address=127.0.0.1:{port}"], [])
        self.prometheus_url = f"http://127.0.0.1:{port}/api/v1/query?"

    def ask(self, expr):
        """[(labels, value)]; nothing while Prometheus starts."""
        try:
            with urllib.request.urlopen(
                    self.prometheus_url + urllib.parse.urlencode({"query": expr}), timeout=60) as r:
                answer = json.load(r)
        except OSError:  # with those of urllib, and a timeout
            return []
        return [(s["metric"], float(s["value"][1])) for s in answer["data"]["result"]]

    def test_scraped(self):
        """From the loss of all paths to the alert, as somebody on call would see it."""
        self.stack()
        self.prometheus()
        wait_for(lambda: self.ask('up{job="nvmegw"} == 1'))
        load = self.load(self.ports[2], "--rw", "mix", "--queues", 1, "--depth", 4, "--rate", 2000,
                         "--time", 300)
        wait_for(lambda: self.ask('sum(rate(nvmegw_path_reads_total[5s])) > 0'))
        p99 = "histogram_quantile(0.99, rate(nvmegw_path_latency_seconds_bucket[5s]))"
        wait_for(lambda: self.ask(p99 + " > 0"))
        load.terminate()
        self.loaded(load)
        self.assertEqual(self.ask('ALERTS{alertstate="firing"}'), [])
        for back in self.backs:
            self.p.kill(back)
        firing = 'ALERTS{alertname="NvmegwNamespaceWithoutPath",alertstate="firing"}'
        wait_for(lambda: self.ask(firing))
        self.assertEqual(self.ask(firing)[0][0]["nsid"], "1")
        wait_for(lambda: self.ask('ALERTS{alertname="NvmegwUpstreamDown"}'))


if __name__ == "__main__":
    unittest.main()
