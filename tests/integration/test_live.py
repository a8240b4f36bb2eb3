# SPDX-License-Identifier: Apache-2.0
"""The configuration changes while verified I/O runs: what it is not about goes on untouched."""
import copy
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest

from stack import (BACK_NQN, GW_NQN, PATIENT, StackTest, binary, file_upstream, free_ports,
                   listener, tcp_upstream)
from wire import Proxy, admin, io_queue, wait_for

OTHER_NQN = GW_NQN + ":2"
HOST = "nqn.2014-08.org.example:host"  # of wire.py


class LiveTest(StackTest):
    """Two back-ends a and b on one image, and a gateway in front of those that are asked for."""

    def setUp(self):
        super().setUp()
        self.ports = free_ports(4)
        self.port = self.ports[2]
        for n, name in enumerate("ab"):
            self.back_end(name, self.ports[n], 1 + 100 * n, no_path_timeout=0)

    def upstream(self, name, **more):
        return tcp_upstream(self.ports["ab".index(name[0])], name,
                            **dict({"keep_alive_tmo": PATIENT}, **more))

    def start(self, *upstreams, **subsystem):
        self.config = self.gateway_config(self.port, [self.upstream(u) for u in upstreams],
                                          policy="round-robin", **subsystem)
        self.config.update(workers=2, pin=False)
        self.gw = self.daemon("gateway", self.config)
        self.ss = self.config["subsystems"][0]
        self.ups = self.ss["upstreams"]
        wait_for(lambda: self.usable() == len(upstreams))

    def start_again(self, path):
        """By the file as it is."""
        gw = self.p.start("gateway", [binary("nvmegwd"), "-c", path], [self.port])
        gw.daemon_name = "gateway"

    def write(self):
        return self.p.write_config("gateway", self.config)

    def apply(self):
        self.write()
        result = self.show("config", "apply")
        self.assertEqual(result["notes"], [], result)
        return result["changes"]

    def refused(self, *words, part):
        out = self.cli(*words, check=False)
        self.assertEqual((out.returncode, out.stdout), (1, ""), out)
        self.assertIn(part, out.stderr)

    def log(self):
        with open(self.p.path("gateway.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def started(self):
        """Verified load that lasts until stopped()."""
        load = self.verified(self.port, "--queues", 2, "--depth", 8, "--size", "8m", "--time", 300)
        wait_for(lambda: sum(p["writes"] for p in self.paths()) > 200)
        return load

    def stopped(self, load, retries=0):
        """The host has seen no error and right data."""
        self.goes_on()
        load.terminate()
        r = self.loaded(load)
        self.assertEqual((r["errors"], r["verify_failures"], r["unfinished"], r["retries"]),
                         (0, 0, 0, retries), r)
        self.assertGreater(r["blocks_verified"], 0, r)

    def path(self, name):
        return next(p for p in self.paths() if p["upstream"] == name)

    def life(self, name):
        """What is another after a reconnect."""
        p = self.path(name)
        return p["cntlid"], p["losses"], p["upstream_state"]


class Apply(LiveTest):
    def test_nothing_to_do(self):
        self.start("a")
        for words in (["check"], ["diff"], ["apply"]):
            self.assertIn("gateway.json", self.cli("config", *words).stdout)
        self.assertEqual(self.show("config", "diff")["changes"], [])
        self.assertEqual(self.show("config", "show"), json.loads(self.read()))

    def read(self):
        with open(self.p.path("gateway.json"), encoding="utf-8") as f:
            return f.read()

    def test_replaced_upstream(self):
        """The only path gives way to another one, and nobody notices."""
        self.start("a")
        load = self.started()
        self.ss["upstreams"] = [self.upstream("b")]
        changes = self.apply()
        self.assertEqual([(c["what"], c["name"], c["change"]) for c in changes],
                         [("upstream", "a", "removed"), ("upstream", "b", "added")])
        self.assertEqual([p["path"] for p in self.paths()], ["b/1"])
        self.assertEqual(self.path("b")["failovers"], 0)
        self.stopped(load)
        self.assertEqual(self.show("namespace", "list")[0]["retried"], 0)

    def test_changed_upstream_reconnects_alone(self):
        self.start("a", "b")
        load = self.started()
        before = self.life("a"), self.life("b")
        self.ups[0]["keep_alive_tmo"] = PATIENT + 10
        change, = self.apply()
        self.assertEqual((change["takes"], [k["key"] for k in change["keys"]]),
                         ("a reconnect", ["keep_alive_tmo"]))
        after = self.life("a"), self.life("b")
        self.assertNotEqual(before[0][0], after[0][0])
        self.assertEqual(before[1], after[1])
        self.assertEqual(self.usable(), 2)
        self.goes_on()
        namespace = self.show("namespace", "list")[0]
        self.assertEqual((namespace["retried"], namespace["fenced_total"]), (0, 0))
        self.stopped(load)

    def test_all_upstreams_change(self):
        """One after the other, so that there is always a path."""
        self.start("a", "b")
        load = self.started()
        for up in self.ups:
            up["queue_size"] = 64
        self.assertEqual(len(self.apply()), 2)
        self.stopped(load)
        namespace = self.show("namespace", "list")[0]
        self.assertEqual((namespace["held_max"], namespace["retried"]), (0, 0))

    def test_last_path_moves(self):
        """Its I/O waits, as for a path that is lost, and goes on at the other address."""
        self.start("a")
        load = self.started()
        self.ups[0]["trsvcid"] = self.ports[1]
        change, = self.apply()
        self.assertEqual(change["keys"][0]["from"], self.ports[0])
        self.stopped(load)
        self.assertEqual(self.path("a")["trsvcid"], self.ports[1])

    def test_last_path_goes_and_another_comes(self):
        """The namespace stays with its host as long as its I/O is held."""
        self.start("a", no_path_timeout=60)
        load = self.started()
        proxy = Proxy(self.ports[1])
        self.addCleanup(proxy.close)
        proxy.closed = True
        self.ss["upstreams"] = [tcp_upstream(proxy.port, "b")]
        self.write()
        notes = self.show("config", "apply")["notes"]
        self.assertIn("b is not connected", notes[0])
        self.assertIn("last usable path of 1 namespaces, like 1", notes[1])
        wait_for(lambda: self.show("namespace", "list")[0]["held"])
        proxy.closed = False
        wait_for(lambda: self.usable() == 1)
        self.stopped(load)

    def test_settings_at_once(self):
        self.start("a", "b")
        load = self.started()
        before = self.life("a"), self.life("b")
        self.ss.update(policy="failover", no_path_timeout=7, slow_path_factor=5, flap_hold=1,
                       slow_path_latency=3600,  # no path is slow, whatever the machine does
                       paths=[{"path": "b/1", "weight": 7, "admin": "standby"}])
        self.ups[0].update(weight=4, reconnect_delay=1)
        self.ups.reverse()
        self.config["log_level"] = "debug"
        self.assertNotIn("a reconnect", [c["takes"] for c in self.apply()])
        self.assertEqual((self.life("a"), self.life("b")), before)
        self.assertEqual(self.show("namespace", "list")[0]["policy"], "failover")
        self.assertEqual([p["path"] for p in self.paths()], ["b/1", "a/1"])
        self.assertEqual([p["weight"] for p in self.paths()], [7, 4])
        self.assertEqual(self.path("b")["admin"], "standby")
        del self.ss["paths"]
        self.apply()
        self.assertEqual((self.path("b")["admin"], self.path("b")["weight"]), ("enabled", 1))
        wait_for(lambda: self.path("a")["inflight"] == 0)  # b is the first now
        self.stopped(load)

    def test_what_takes_a_restart_is_refused_whole(self):
        self.start("a")
        self.config["workers"] = 3
        self.ss["policy"] = "numa"
        self.write()
        self.refused("config", "apply", part="workers")
        self.assertEqual(self.show("namespace", "list")[0]["policy"], "round-robin")
        diff = self.cli("config", "diff").stdout
        self.assertIn("workers 2 -> 3 (a restart)", diff)
        self.assertIn('policy "round-robin" -> "numa"', diff)

    def test_broken_file_changes_nothing(self):
        self.start("a")
        load = self.started()
        running = self.show("config", "show")
        with open(self.write(), "a", encoding="utf-8") as f:
            f.write("}")
        self.gw.send_signal(signal.SIGHUP)
        wait_for(lambda: "not applied, all goes on as before" in self.log())
        self.ups.append(self.upstream("a"))
        self.ss["polcy"] = "numa"
        self.write()
        out = self.cli("config", "apply", check=False)
        self.assertRegex(out.stderr, r"gateway.json:\d+: \$\.subsystems\[0\]\.polcy: unknown key")
        self.assertIn("$.subsystems[0].upstreams[1]: is the same as upstreams[0]", out.stderr)
        self.refused("config", "check", part="did you mean \"policy\"")
        self.assertEqual(self.show("config", "show"), running)
        self.stopped(load)

    def test_sighup_applies(self):
        self.start("a")
        self.ups.append(self.upstream("b"))
        self.write()
        self.gw.send_signal(signal.SIGHUP)
        wait_for(lambda: self.usable() == 2)
        wait_for(lambda: "applied, 1 changes" in self.log())

    def test_signals_at_the_start(self):
        """As soon as it listens it takes them, ready or not."""
        for _ in range(5):
            gw = self.gateway(self.ports[3], [file_upstream(self.p.path("disk.img"))])
            gw.send_signal(signal.SIGHUP)
            self.end(gw)

    def test_listeners(self):
        self.start("a")
        load = self.started()
        other = listener(self.ports[3])
        self.config["listeners"].append(other)
        self.apply()
        admin(self.ports[3], GW_NQN).sock.close()
        self.config["listeners"] = [other]
        self.apply()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), 5)
        self.assertEqual(len(self.show("status")["listeners"]), 1)
        self.stopped(load)  # came in by the one that has gone

    def test_listener_that_cannot_be(self):
        """Nothing changes, not even what was done before it showed."""
        self.start("a")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.config["listeners"] = [listener(self.ports[3]), listener(port)]
            self.ups.append(self.upstream("b"))
            self.write()
            self.refused("config", "apply", part=f"cannot listen on 127.0.0.1:{port}")
        admin(self.port, GW_NQN).sock.close()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.ports[3]), 5)
        self.assertEqual(len(self.paths()), 1)

    def test_file_that_cannot_be(self):
        self.start("a")
        self.ups.append(file_upstream(self.p.path("not/there.img"), name="f"))
        self.write()
        self.refused("config", "apply", part="not/there.img")
        self.assertEqual(len(self.paths()), 1)

    def test_hosts(self):
        """One that is denied loses its controller at once; others keep theirs."""
        self.start("a")
        load = self.started()
        bench, = self.show("controller", "list")
        h = admin(self.port, GW_NQN)
        self.ss["allowed_hosts"] = [bench["hostnqn"]]
        self.apply()
        wait_for(lambda: len(self.show("controller", "list")) == 1)
        with self.assertRaises((AssertionError, OSError)):
            admin(self.port, GW_NQN)
        h.sock.close()
        self.ss["allowed_hosts"].append(HOST)
        self.apply()
        admin(self.port, GW_NQN).sock.close()
        self.stopped(load)

    def test_subsystems(self):
        self.start("a")
        load = self.started()
        self.config["subsystems"].append({"nqn": OTHER_NQN, "upstreams": [
            file_upstream(self.p.path("other.img"), size="1MiB", name="f")]})
        self.apply()
        wait_for(lambda: self.usable() == 2)
        h = admin(self.port, OTHER_NQN)
        self.assertEqual(len(self.show("status")["subsystems"]), 2)
        self.config["subsystems"].pop()
        self.apply()
        self.assertEqual(len(self.show("status")["subsystems"]), 1)
        with self.assertRaises(AssertionError):
            admin(self.port, OTHER_NQN)
        h.sock.close()
        self.config["subsystems"].append({"nqn": OTHER_NQN, "upstreams": [
            file_upstream(self.p.path("other.img"), size="1MiB", name="f")]})
        self.apply()
        wait_for(lambda: self.usable() == 2)
        self.stopped(load)

    def test_namespaces(self):
        """One that is exported no more leaves its hosts, and comes back."""
        self.start("a")
        namespace, = self.show("namespace", "list")
        other = "11111111-2222-4333-8444-555555555555"
        self.ss["namespaces"] = [{"uuid": other}]
        self.apply()
        self.assertEqual(self.show("namespace", "list"), [])
        self.assertIn("not among", self.paths()[0]["reason"])
        self.ss["namespaces"] = [{"uuid": namespace["uuid"], "nsid": 7, "policy": "numa"}]
        self.apply()
        wait_for(lambda: self.usable() == 1)
        again, = self.show("namespace", "list")
        self.assertEqual((again["nsid"], again["policy"]), (7, "numa"))
        self.ss["namespaces"] = [{"uuid": other}]
        self.ss["export_all"] = True
        self.apply()
        wait_for(lambda: self.usable() == 1)

    def test_discovery_source(self):
        """What it has named is changed, drained and removed with it."""
        self.start("a")
        load = self.started()
        source = {"name": "found", "transport": "tcp", "traddr": "127.0.0.1", "discovery": True,
                  "trsvcid": self.ports[1], "reconnect_delay": 0.3}
        self.ups.append(source)
        self.apply()
        wait_for(lambda: self.usable() == 2)
        source["weight"] = 5
        self.apply()
        found = next(p for p in self.paths() if p["named_by"])
        self.assertEqual(found["weight"], 5)
        source["keep_alive_tmo"] = PATIENT + 10
        self.apply()
        wait_for(lambda: self.usable() == 2)
        self.ups.pop()
        self.apply()
        self.assertEqual([p["path"] for p in self.paths()], ["a/1"])
        self.stopped(load)


class TakenEffect(LiveTest):
    """An answer says that it is done: whoever asks then sees nothing that is still to come."""

    def then(self, method, params, *questions):
        """Asks for a change, and at once for what the daemon is to tell when it has answered."""
        requests = [(method, params), *((q, {}) for q in questions)]
        with socket.socket(socket.AF_UNIX) as s, s.makefile() as lines:
            s.settimeout(60)
            s.connect(self.p.path("gateway.sock"))
            s.sendall(b"".join(json.dumps({"jsonrpc": "2.0", "id": n, "method": m, "params": p})
                               .encode() + b"\n" for n, (m, p) in enumerate(requests)))
            answers = [json.loads(lines.readline()) for _ in requests]
        self.assertEqual(answers[0]["result"]["notes"], [])
        return [a["result"] for a in answers[1:]]

    def all_usable(self, paths):
        self.assertEqual([p["path"] for p in paths if not p["usable"]], [], paths)

    def slow(self, name, seconds):
        """An upstream that takes its time with every answer."""
        def late(pdu):
            time.sleep(seconds)
            return pdu
        proxy = Proxy(self.ports["ab".index(name)], mangle=late)
        self.addCleanup(proxy.close)
        return tcp_upstream(proxy.port, name, keep_alive_tmo=PATIENT)

    def test_upstream_and_its_namespace(self):
        self.start("a")
        up = file_upstream(self.p.path("more.img"), size="1MiB", name="f",
                           uuid="11111111-2222-4333-8444-555555555555")
        paths, = self.then("upstream.add", {"settings": up}, "path.list")
        self.all_usable(paths)
        self.assertEqual([p["nsid"] for p in paths], [1, 2])

    def test_upstreams_that_are_named(self):
        self.start("a")
        source = {"name": "found", "transport": "tcp", "traddr": "127.0.0.1", "discovery": True,
                  "trsvcid": self.ports[1]}
        paths, = self.then("upstream.add", {"settings": source}, "path.list")
        self.assertEqual(sum(p["usable"] for p in paths), 2, paths)

    def test_another_nsid(self):
        self.start("a", "b")
        load = self.started()
        namespace, = self.show("namespace", "list")
        self.ss["namespaces"] = [{"uuid": namespace["uuid"], "nsid": 7}]
        self.write()
        paths, namespaces = self.then("config.apply", {}, "path.list", "namespace.list")
        self.all_usable(paths)
        self.assertEqual([n["nsid"] for n in namespaces], [7])
        load.kill()  # its namespace has gone
        load.communicate()

    def test_new_subsystem(self):
        self.start("a")
        self.config["subsystems"].append({"nqn": OTHER_NQN, "upstreams": [self.slow("b", 0.02)]})
        self.write()
        paths, = self.then("config.apply", {}, "path.list")
        self.assertEqual(len(paths), 2)
        self.all_usable(paths)

    def test_new_subsystem_that_is_not_connected(self):
        self.start("a")
        self.end(next(d for d in self.p.running if getattr(d, "daemon_name", "") == "b"))
        self.config["subsystems"].append({"nqn": OTHER_NQN, "upstreams": [self.upstream("b")]})
        self.write()
        note, = self.show("config", "apply")["notes"]
        self.assertIn("upstream b is not connected: ", note)

    def test_denied_host(self):
        self.start("a", allowed_hosts=[HOST])
        h = admin(self.port, GW_NQN)
        queues = [io_queue(self.port, GW_NQN, h.cntlid, qid) for qid in (1, 2)]
        controllers, = self.then("host.deny", {"host": HOST}, "controller.list")
        self.assertEqual(controllers, [])
        for s in (h, *queues):
            s.sock.close()


class Hostile(LiveTest):
    def asked(self, method, params):
        """A connection that has sent that, without our tool."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(self.p.path("gateway.sock"))
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        s.sendall(json.dumps(request).encode() + b"\n")
        return s

    def ask(self, method, params):
        with self.asked(method, params) as s, s.makefile() as lines:
            return json.loads(lines.readline())

    def silent(self, name):
        """An upstream that takes connections and says nothing."""
        s = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(s.close)
        return tcp_upstream(s.getsockname()[1], name)

    def test_parameters(self):
        self.start("a")
        for params in ([], {"text": 5}, {"file": {}}, {"txt": ""}, {"file": "/etc/passwd"}):
            self.assertEqual(self.ask("config.apply", params)["error"]["code"], -32602, params)
        for text in ("", "[]", "{}", "\ud800", "[" * 100000, json.dumps({"listeners": 1 << 80}),
                     '{"listeners": 1e999}'):
            self.assertIn("error", self.ask("config.apply", {"text": text}), text[:20])
        self.assertIn("text:1: $.workers: is \"x\"",
                      self.ask("config.check", {"text": '{"workers": "x"}'})["error"]["message"])
        self.assertEqual(self.show("config", "diff")["changes"], [])

    def test_nonsense_for_every_method(self):
        """All are answered, and nothing has changed that can be told."""
        self.start("a")
        running = self.show("config", "show")
        names = {"upstream": "a", "path": "a/1", "controller": 1, "listener": "x", "host": HOST,
                 "settings": {}, "policy": "x", "weight": 1, "namespace": 1, "subsystem": GW_NQN}
        odd = [None, True, -1, 0, 1 << 62, 1.5, "", "x" * 100000, "\0", "a/1/../1", [], {"a": {}},
               {"name": "b", "transport": "tcp", "traddr": "127.0.0.1", "nqn": "x" * 300},
               {"name": {}, "transport": [], "traddr": 1}, {"\u0000": 1}]
        methods = ["upstream." + m for m in ("list", "show", "add", "remove", "connect",
                                             "disconnect")]
        methods += ["host.list", "host.allow", "host.deny", "listener.list", "listener.add",
                    "listener.remove", "controller.show", "controller.disconnect", "path.drain",
                    "path.weight", "policy.set", "config.check", "config.show", "subsystem.list"]
        for method in methods:
            for name in names:
                for value in odd:
                    answer = self.ask(method, {name: value})
                    self.assertTrue("error" in answer or "result" in answer, (method, name, value))
        self.assertEqual(self.show("config", "show"), running)

    def test_files(self):
        self.start("a")
        for name, part in ((self.p.dir, "directory"), (self.p.path("nope"), "No such file"),
                           ("/dev/zero", "bytes")):
            out = self.cli("config", "check", name, check=False)
            self.assertEqual(out.returncode, 2)
            self.assertIn(part, out.stderr)
        os.unlink(self.p.path("gateway.json"))
        self.refused("config", "apply", part="No such file")
        os.mkdir(self.p.path("gateway.json"))
        self.refused("config", "apply", part="no regular file")
        self.refused("config", "save", part="has been changed")
        os.rmdir(self.p.path("gateway.json"))
        os.mkfifo(self.p.path("gateway.json"))
        self.refused("config", "diff", part="no regular file")
        os.unlink(self.p.path("gateway.json"))
        self.cli("config", "save")
        self.assertEqual(self.show("config", "diff")["changes"], [])

    def test_second_apply_is_refused(self):
        self.start("a")
        self.ups.append(self.silent("b"))
        self.write()
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "config", "apply"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
            wait_for(lambda: len(self.paths()) == 2)
            self.refused("config", "apply", part="another change")
            self.assertEqual(self.show("config", "diff")["changes"], [])
            self.gw.send_signal(signal.SIGHUP)  # has its turn after that
            self.assertIn("not connected yet", first.communicate(timeout=60)[0])
        wait_for(lambda: "applied, 0 changes" in self.log())
        # One that is just connecting can go too, and its client before the answer.
        self.ups.pop()
        self.write()
        with self.asked("config.apply", {}):
            pass
        wait_for(lambda: not self.show("config", "diff")["changes"])
        wait_for(lambda: len(self.paths()) == 1)

    def test_ends_while_applying(self):
        self.start("a")
        self.ups.append(self.silent("b"))
        self.config["subsystems"].append(dict(copy.deepcopy(self.ss), nqn=OTHER_NQN,
                                              upstreams=[self.upstream("a")]))
        self.write()
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "config", "apply"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            wait_for(lambda: len(self.paths()) == 3)
            self.end(self.gw)


class Save(LiveTest):
    def test_runtime_changes_survive_a_restart(self):
        self.start("a", "b")
        self.cli("path", "standby", "a/1")
        self.cli("path", "weight", "b/1", "9")
        self.cli("policy", "set", "service-time")
        self.cli("log", "level", "notice")
        self.cli("policy", "set", "queue-depth", "--namespace", "1")
        diff = {(c["what"], c["name"]): c for c in self.show("config", "diff")["changes"]}
        self.assertEqual(diff["path", "a/1"]["keys"],
                         [{"key": "admin", "from": "standby", "to": "upstream",
                           "takes": "nothing"}])
        self.assertIn(("path", "b/1"), diff)
        self.assertIn(("daemon", None), diff)
        path = self.p.path("gateway.json")
        with open(path, encoding="utf-8") as f:
            before = f.read()
        os.chmod(path, 0o640)
        saved = self.show("config", "save")
        self.assertEqual(saved, {"file": os.path.realpath(path),
                                 "backup": os.path.realpath(path) + ".bak"})
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)
        with open(saved["backup"], encoding="utf-8") as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(self.show("config", "diff")["changes"], [])
        self.end(self.gw)
        self.start_again(path)
        wait_for(lambda: self.usable() == 2)
        self.assertEqual((self.path("a")["admin"], self.path("b")["weight"]), ("standby", 9))
        self.assertEqual(self.show("log", "show")["level"], "notice")
        self.assertEqual(self.show("namespace", "list")[0]["policy"], "queue-depth")
        self.assertEqual(self.show("status")["subsystems"][0]["policy"], "service-time")
        # As it was: nothing is left of what was set.
        self.cli("path", "enable", "a/1")
        self.cli("path", "weight", "b/1", "1")
        self.cli("policy", "set", "round-robin")
        self.assertEqual(self.show("config", "show")["subsystems"][0]["paths"], [])

    def test_what_was_written_meanwhile_is_kept(self):
        self.start("a")
        self.cli("policy", "set", "numa")
        self.config["workers"] = 1
        self.write()
        self.refused("config", "save", part="has been changed since")
        with open(self.p.path("gateway.json"), encoding="utf-8") as f:
            self.assertEqual(json.load(f)["workers"], 1)

    def test_by_a_symbolic_link(self):
        """What is saved is where the link leads, and the link stays."""
        self.start("a")
        self.end(self.gw)
        os.makedirs(self.p.path("real"))
        real, link = self.p.path("real/gw.json"), self.p.path("gateway.json")
        os.rename(link, real)
        os.symlink(real, link)
        self.start_again(link)
        wait_for(lambda: self.usable() == 1)
        self.cli("policy", "set", "numa")
        self.cli("config", "save")
        self.assertTrue(os.path.islink(link))
        with open(real, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["subsystems"][0]["policy"], "numa")

    def test_folder_that_cannot_be_written(self):
        self.start("a")
        path = self.p.path("gateway.json")
        os.mkdir(path + ".tmp")
        self.cli("policy", "set", "numa")
        self.refused("config", "save", part="is as it was")
        os.rmdir(path + ".tmp")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["subsystems"][0]["policy"], "round-robin")
        self.cli("config", "save")


class Runtime(LiveTest):
    """What commands change, without a file."""

    def edit(self, *words):
        out = self.cli(*words).stdout
        self.assertIn("config save", out)
        return out

    def running(self):
        return self.show("config", "show")["subsystems"][0]

    def test_path_added_saved_and_there_again(self):
        self.start("a")
        load = self.started()
        out = self.edit("upstream", "add", "name=b", "transport=tcp", "traddr=127.0.0.1",
                        f"trsvcid={self.ports[1]}", f"nqn={BACK_NQN}", "reconnect_delay=0.3")
        self.assertEqual(out.splitlines()[0], f"+ upstream b of {GW_NQN}")
        self.assertEqual(self.usable(), 2)
        self.goes_on()
        self.assertEqual([(c["what"], c["change"]) for c in self.show("config", "diff")["changes"]],
                         [("upstream", "removed")])
        self.cli("config", "save")
        self.stopped(load)
        self.end(self.gw)
        self.start_again(self.p.path("gateway.json"))
        wait_for(lambda: self.usable() == 2)

    def test_upstreams(self):
        self.start("a", "b")
        load = self.started()
        self.cli("path", "weight", "a/1", "5")
        table = self.cli("upstream", "list").stdout
        self.assertRegex(table, r"\na +tcp +127\.0\.0\.1:%d +live +1/1" % self.ports[0])
        up = self.show("upstream", "show", "a")
        self.assertEqual([p["path"] for p in up["path_list"]], ["a/1"])
        self.assertIn("path", self.cli("upstream", "show", "a").stdout)
        self.assertIn("disconnected until", self.cli("upstream", "disconnect", "a").stdout)
        self.assertEqual(self.show("upstream", "show", "a")["state"], "failed")
        self.assertEqual(self.show("config", "diff")["changes"][0]["what"], "path")
        self.cli("upstream", "connect", "a")
        self.assertEqual(self.usable(), 2)
        self.assertEqual(self.cli("-o", "csv", "config", "diff").stdout.splitlines()[0],
                         "what,subsystem,name,change,takes")
        self.edit("upstream", "remove", "a")
        self.assertEqual([p["path"] for p in self.paths()], ["b/1"])
        self.assertEqual(self.running().get("paths", []), [])
        self.assertEqual(self.show("namespace", "list")[0]["retried"], 0)
        self.stopped(load)
        self.refused("upstream", "remove", "b", part="the only one")
        self.refused("upstream", "remove", "c", part="upstream list")
        self.refused("upstream", "show", "c", part="upstream list")
        self.refused("upstream", "add", "name=b", "transport=tcp", "traddr=127.0.0.1", "nqn=x",
                     part="is the name of upstreams[0] too")
        self.refused("upstream", "add", "transport=tcp", part='has no "traddr"')
        self.refused("upstream", "add", "transport=tcp", "traddr=127.0.0.1", "nqn=x", "wieght=2",
                     part='did you mean "weight"')
        for words in (("upstream", "add"), ("upstream", "add", "x"), ("upstream", "add", "=x"),
                      ("upstream", "add", "a=1", "a=2"), ("upstream", "remove")):
            self.assertEqual(self.cli(*words, check=False).returncode, 2, words)

    def test_connect(self):
        """It ends when the paths are in use, or says why they are not."""
        self.start("a", "b")
        for _ in range(5):
            self.cli("upstream", "disconnect", "a")
            self.assertEqual(self.cli("upstream", "connect", "a").stdout,
                             "upstream a is live, and 1 of 1 paths are usable\n")
            self.assertEqual(self.usable(), 2)
            self.assertEqual(self.cli("path", "reset", "b/1").stdout,
                             "upstream b is connected anew\n")
            self.assertEqual(self.usable(), 2)
        self.cli("upstream", "add", "name=c", "transport=tcp", "traddr=127.0.0.1",
                 f"trsvcid={self.ports[3]}", "nqn=" + BACK_NQN, "reconnect_delay=60")
        self.assertRegex(self.cli("upstream", "connect", "c").stdout,
                         r"^upstream c is waiting to reconnect: .")
        # One that takes connections and says nothing
        with socket.create_server(("127.0.0.1", self.ports[3])):
            self.assertEqual(self.cli("upstream", "connect", "c").stdout,
                             "upstream c is not connected yet\n")

    def test_path_drain(self):
        self.start("a", "b")
        load = self.started()
        self.assertIn("no command is out on it", self.cli("path", "drain", "a/1").stdout)
        path = self.path("a")
        self.assertEqual((path["inflight"], path["admin"]), (0, "disabled"))
        self.assertEqual(self.running()["paths"], [{"path": "a/1", "admin": "disabled"}])
        self.stopped(load)
        self.refused("path", "drain", "c/1", part="path list")

    def test_hosts(self):
        self.start("a")
        self.assertEqual(self.show("host", "list"),
                         [{"hostnqn": None, "subsystem": GW_NQN, "controllers": 0}])
        self.refused("host", "allow", HOST, part="every host may connect")
        self.refused("host", "deny", HOST, part="every host may connect")
        self.ss["allowed_hosts"] = [HOST]
        self.apply()
        h = admin(self.port, GW_NQN)
        self.assertRegex(self.cli("host", "list").stdout, re.escape(HOST) + r" +1\n")
        controller, = self.show("controller", "list")
        cntlid = str(controller["cntlid"])
        self.assertEqual(self.show("controller", "show", cntlid)["hostnqn"], HOST)
        self.assertIn(HOST, self.cli("controller", "show", cntlid).stdout)
        self.edit("host", "deny", HOST)
        wait_for(lambda: not self.show("controller", "list"))
        h.sock.close()
        self.refused("host", "deny", HOST, part="host list")
        self.refused("host", "allow", "no spaces", part="NQN without spaces")
        self.edit("host", "allow", HOST)
        self.refused("host", "allow", HOST, part="already")
        h = admin(self.port, GW_NQN)
        cntlid = str(self.show("controller", "list")[0]["cntlid"])
        self.assertIn("host deny", self.cli("controller", "disconnect", cntlid).stdout)
        self.assertEqual(self.show("controller", "list"), [])
        h.sock.close()
        self.refused("controller", "show", "9", part="controller list")
        self.refused("controller", "show", "70000", part="from 1 to 65535")

    def test_listeners(self):
        self.start("a")
        load = self.started()
        self.edit("listener", "add", "transport=tcp", "traddr=127.0.0.1",
                  f"trsvcid={self.ports[3]}")
        names = [f"tcp/127.0.0.1:{p}" for p in (self.port, self.ports[3])]
        self.assertEqual([l["listener"] for l in self.show("listener", "list")], names)
        self.assertRegex(self.cli("listener", "list").stdout, re.escape(names[1]) + " +listening")
        h = admin(self.ports[3], GW_NQN)
        self.edit("listener", "remove", names[1])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.ports[3]), 5)
        self.assertEqual(h.identify(1)[0], 0)
        h.sock.close()
        self.refused("listener", "remove", names[1], part="listener list")
        self.refused("listener", "remove", names[0], part="the only one")
        self.refused("listener", "add", "transport=tcp", "traddr=127.0.0.1",
                     f"trsvcid={self.port}", part="is taken by listeners[0]")
        # The same place again
        self.edit("listener", "add", "transport=tcp", "traddr=127.0.0.1",
                  f"trsvcid={self.ports[3]}")
        admin(self.ports[3], GW_NQN).sock.close()
        self.stopped(load)

    def test_lists_in_another_order(self):
        """What is set goes to the entry that is meant, wherever it has moved."""
        self.start("a")
        uuid = self.show("namespace", "list")[0]["uuid"]
        other = "11111111-2222-4333-8444-555555555555"
        self.ss.update(allowed_hosts=["h1", "h2", HOST],
                       namespaces=[{"uuid": other, "policy": "numa"}, {"uuid": uuid}])
        self.apply()
        self.ss["allowed_hosts"].reverse()
        self.ss["namespaces"].reverse()
        self.assertEqual(self.apply(), [])
        self.cli("policy", "set", "queue-depth", "--namespace", "1")
        self.assertEqual(self.running()["namespaces"], [
            {"uuid": uuid, "policy": "queue-depth"}, {"uuid": other, "policy": "numa"}])
        self.edit("host", "deny", "h1")
        self.assertEqual(self.running()["allowed_hosts"], [HOST, "h2"])

    def test_two_subsystems(self):
        self.start("a")
        self.config["subsystems"].append({"nqn": OTHER_NQN, "upstreams": [
            file_upstream(self.p.path("other.img"), size="1MiB", name="a"),
            file_upstream(self.p.path("more.img"), size="1MiB", name="f")]})
        self.apply()
        self.assertEqual([s["nqn"] for s in self.show("subsystem", "list")], [GW_NQN, OTHER_NQN])
        self.assertIn(OTHER_NQN, self.cli("subsystem", "list").stdout)
        for words in (("upstream", "show", "a"), ("upstream", "remove", "a"),
                      ("upstream", "add", "x=1"), ("host", "allow", "h")):
            self.refused(*words, part="--subsystem")
        self.assertEqual(self.show("upstream", "show", "a", "--subsystem", OTHER_NQN)["transport"],
                         "file")
        self.edit("upstream", "remove", "a", "--subsystem", OTHER_NQN)
        self.edit("upstream", "add", "transport=file", "path=" + self.p.path("other.img"), "name=g",
                  "--subsystem", OTHER_NQN)
        self.assertEqual([u["name"] for u in self.show("upstream", "list")], ["a", "f", "g"])

    def test_named_by_discovery(self):
        self.start("a")
        self.edit("upstream", "add", "name=found", "transport=tcp", "traddr=127.0.0.1",
                  f"trsvcid={self.ports[1]}", "discovery=true", "reconnect_delay=0.3")
        wait_for(lambda: self.usable() == 2)
        name = next(p["upstream"] for p in self.paths() if p["named_by"])
        self.refused("upstream", "remove", name, part="discovery controller found")
        self.cli("path", "weight", name + "/1", "3")
        self.cli("upstream", "disconnect", "found")
        self.assertEqual(self.usable(), 2)
        self.edit("upstream", "remove", "found")
        self.assertEqual([p["path"] for p in self.paths()], ["a/1"])

    def completed(self, *words):
        """What is offered next; nothing when a busy machine needs more than a second for it."""
        argv = [binary("nvmegw"), "--complete", "-s", self.p.path("gateway.sock"), *words, ""]
        out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
        return [line.split("\t")[0] for line in out.splitlines()]

    def test_completion(self):
        self.start("a")
        self.ss["allowed_hosts"] = [HOST]
        self.apply()
        for words, offered in ((("upstream", "remove"), "a"), (("host", "deny"), HOST),
                               (("listener", "remove"), f"tcp/127.0.0.1:{self.port}"),
                               (("upstream", "add"), "transport="),
                               (("upstream", "add", "name=x"), "traddr="),
                               (("path", "drain"), "a/1"), (("config", "diff"), ":files")):
            self.assertIn(offered, wait_for(lambda: self.completed(*words)), words)  # noqa: B023

    def test_edit_during_an_apply(self):
        self.start("a")
        server = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
        self.addCleanup(server.close)
        argv = [binary("nvmegw"), "-s", self.p.path("gateway.sock"), "upstream", "add", "name=b",
                "transport=tcp", "traddr=127.0.0.1", "trsvcid=%d" % server.getsockname()[1],
                "nqn=" + BACK_NQN]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
            wait_for(lambda: len(self.paths()) == 2)
            self.refused("upstream", "remove", "a", part="another change")
            self.cli("path", "weight", "a/1", "2")
            self.assertIn("not connected yet", first.communicate(timeout=60)[0])
        self.edit("upstream", "remove", "b")
        self.assertEqual(self.path("a")["weight"], 2)


if __name__ == "__main__":
    unittest.main()
