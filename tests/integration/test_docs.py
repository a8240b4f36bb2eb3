# SPDX-License-Identifier: Apache-2.0
"""What is written about the configuration is what the program knows of it.

The keys come from the tables in gateway/config*.c, their types and bounds from what the program says
when it refuses a value, and both must be in nvmegw.json(5). The examples must be right.
"""
import glob
import json
import os
import re
import shlex
import subprocess
import unittest

import schema
from stack import StackTest, binary, control_api, free_ports, schemas
from procs import TOP
from wire import wait_for

# Each table of keys, and the section of the man page that describes it.
TABLES = {
    ("config.c", "fields"): "THE WHOLE FILE",
    ("config_http.c", "fields"): "HTTP",
    ("config_listener.c", "fields"): "LISTENERS",
    ("config_subsystem.c", "fields"): "SUBSYSTEMS",
    ("config_subsystem.c", "namespace_fields"): "NAMESPACES",
    ("config_subsystem.c", "path_fields"): "SINGLE PATHS",
    ("config_upstream.c", "fields"): "UPSTREAMS",
}
# Sub-sections of UPSTREAMS
KINDS = {"NETWORK": "Over a network", "TCP": "Over TCP", "RDMA": "Over RDMA",
         "FILE_KIND": "Of files"}
TABLE = re.compile(r"^static const struct cfg_field (\w+)\[\] = \{\n(.*?)^\};$", re.M | re.S)
FIELD = re.compile(r'\{(?:\.name = )?"(\w+)",\s*(?:\.type = )?(CFG_\w+)(.*?)\},\n', re.S)
WORDS = re.compile(r'^static const struct cfg_word (\w+)\[\] = \{\s*\{"([^"]*)"', re.M)

FILE = {"transport": "file", "path": "/some/disk"}
TCP = {"transport": "tcp", "traddr": "192.0.2.1", "nqn": "nqn.2014-08.org.example:array"}
LISTENER = {"transport": "tcp", "traddr": "127.0.0.1"}
SUBSYSTEM = {"nqn": "nqn.2014-08.org.example:gw", "upstreams": [FILE]}


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


class Key:
    """One entry of a table: section of the man page, name, and what the table says of it."""

    def __init__(self, section, name, kind, rest, words):
        only = re.search(r"\.only = (\w+)", rest)
        self.section = KINDS[only.group(1)] if only else section
        self.name, self.kind = name, kind
        self.required = ".required = true" in rest
        self.default = self.default_of(rest, words)

    def default_of(self, rest, words):
        """As in the man page; None: not a fixed value."""
        value = re.search(r"\.def = ([^,}\s]+)", rest)
        text = re.search(r'\.text = ("[^"]*")', rest)
        if text:
            return text.group(1)
        if self.kind == "CFG_WORD":
            return '"' + words[re.search(r"\.words = (\w+)", rest).group(1)] + '"'
        if self.kind == "CFG_BOOL":
            return value.group(1) if value else "false"
        if value:
            return value.group(1) if "." in value.group(1) else str(int(value.group(1), 0))
        number = self.kind in ("CFG_UINT", "CFG_SECONDS") and ".min" not in rest
        return "0" if number else None

    def __str__(self):
        return f"{self.name} ({self.section})"


def keys_of_tables():
    keys = []
    for path in sorted(glob.glob(os.path.join(TOP, "gateway", "config*.c"))):
        source, file = read(path), os.path.basename(path)
        words = dict(WORDS.findall(source))
        for table, body in TABLE.findall(source):
            keys += [Key(TABLES[file, table], *field, words) for field in FIELD.findall(body)]
    return keys


def entries_of_man():
    """{(section, key): the rest of its line, without markup}"""
    entries, section = {}, None
    for line in read("docs", "man", "nvmegw.json.5.scd").splitlines():
        heading = re.match(r"##? (.*)", line)
        entry = re.match(r"\*(\w+)\*: (.*)", line)
        if heading:
            section = heading.group(1)
        if entry:
            text = re.sub(r"\*|\\|\b_|_\b", "", entry.group(2))
            assert (section, entry.group(1)) not in entries, entry.group(1) + " is there twice"
            entries[section, entry.group(1)] = text
    return entries


def examples(*path, language=""):
    """The code blocks that are JSON objects."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", read(*path), re.M | re.S)
    return [json.loads(block) for block in blocks if block.startswith("{")]


class Docs(StackTest):
    def check(self, config):
        """What nvmegwd -t says of it, by JSON path."""
        path = self.p.path("try.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        out = subprocess.run([binary("nvmegwd"), "-t", "-c", path], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
        said = dict(re.findall(r"^\S+try\.json:\d+: (\S+?): (.*)$", out.stdout, re.M))
        self.assertEqual(out.returncode, 1 if said else 0, out.stdout)
        return said

    def expected(self, keys):
        """{(section, key): what is expected of its value, as the program says}"""
        found = {}
        for section, config, path in (
                ("THE WHOLE FILE", lambda o: dict(o, listeners=[LISTENER], subsystems=[SUBSYSTEM]),
                 "$"),
                ("HTTP", lambda o: {"http": o, "listeners": [LISTENER],
                                    "subsystems": [SUBSYSTEM]}, "$.http"),
                ("LISTENERS", lambda o: {"listeners": [o], "subsystems": [SUBSYSTEM]},
                 "$.listeners[0]"),
                ("SUBSYSTEMS", lambda o: {"listeners": [LISTENER], "subsystems": [o]},
                 "$.subsystems[0]"),
                ("NAMESPACES", lambda o: {"listeners": [LISTENER], "subsystems": [
                    dict(SUBSYSTEM, namespaces=[o])]}, "$.subsystems[0].namespaces[0]"),
                ("SINGLE PATHS", lambda o: {"listeners": [LISTENER], "subsystems": [
                    dict(SUBSYSTEM, paths=[o])]}, "$.subsystems[0].paths[0]"),
                ("UPSTREAMS", lambda o: self.with_upstream(o), "$.subsystems[0].upstreams[0]"),
                ("Over a network", lambda o: self.with_upstream(dict(o, transport="rdma")),
                 "$.subsystems[0].upstreams[0]"),
                ("Over TCP", lambda o: self.with_upstream(dict(o, transport="tcp")),
                 "$.subsystems[0].upstreams[0]"),
                ("Over RDMA", lambda o: self.with_upstream(dict(o, transport="rdma")),
                 "$.subsystems[0].upstreams[0]"),
                ("Of files", lambda o: self.with_upstream(dict(o, transport="file")),
                 "$.subsystems[0].upstreams[0]")):
            said = self.check(config({k.name: None for k in keys if k.section == section}))
            for k in keys:
                if k.section != section:
                    continue
                problem = said.get(f"{path}.{k.name}", "is null, expected an array")
                found[section, k.name] = re.fullmatch("is null, expected (.*)", problem).group(1)
        return found

    @staticmethod
    def with_upstream(up):
        return {"listeners": [LISTENER], "subsystems": [dict(SUBSYSTEM, upstreams=[up])]}

    def test_every_key_is_in_the_man_page(self):
        keys, entries = keys_of_tables(), entries_of_man()
        self.assertGreater(len(keys), 60)
        self.assertEqual({k.section for k in keys}, set(TABLES.values()) | set(KINDS.values()))
        expected = self.expected(keys)
        for k in keys:
            line = entries.pop((k.section, k.name), None)
            what = expected[k.section, k.name]
            default = "required" if k.required else "default " + (k.default or "...")
            ideal = f"*{k.name}*: {what}; {default}"
            self.assertIsNotNone(line, f"nvmegw.json(5) has no {k}, should be: {ideal}")
            said, _, rest = line.partition("; ")
            self.assertEqual(said, what, f"{k}, should be: {ideal}")
            if k.required or k.default:
                self.assertRegex(rest, "^" + re.escape(default) + "($|,)", f"should be: {ideal}")
            else:
                self.assertRegex(rest, "^default .", f"should be: {ideal}")
        self.assertEqual(list(entries), [], "nvmegw.json(5) describes what is no key")

    def test_examples_are_right(self):
        """Those of etc, of the man page and of README."""
        files = sorted(f for f in glob.glob(os.path.join(TOP, "etc", "*.json"))
                       if not os.path.basename(f).startswith("grafana-"))
        self.assertIn("backend-file.json", map(os.path.basename, files))
        for file in files:
            self.assertEqual(self.check(json.loads(read(file))), {}, file)
        in_man = examples("docs", "man", "nvmegw.json.5.scd")
        self.assertGreater(len(in_man), 1)
        for config in in_man:
            self.assertEqual(self.check(config), {})
        in_readme = examples("README.md", language="json")
        self.assertEqual(in_readme[0], json.loads(read("etc", "nvmegw.json")))
        for upstream in in_readme[1:]:
            self.assertEqual(self.check(self.with_upstream(upstream)), {})

    def test_control_api(self):
        """The schemas are right, what the daemon says is them, and the document is made of them."""
        for name, method in schemas().items():
            self.assertEqual(set(method), {"description", "params", "result"}, name)
            self.assertIs(method["params"]["additionalProperties"], False)
            for part in ("params", "result"):
                schema.check_schema(method[part], f"{name} {part}")
        self.back_end("gateway", free_ports(1)[0])
        listed = {m.pop("method"): m for m in self.show("method", "list")}
        self.assertEqual(listed, schemas())
        text, ideal = control_api.written()
        self.assertEqual(text, ideal, "tests/control_api.py --write brings it up to date")

    def test_commands_are_right(self):
        """Those with a prompt: the tool gets as far as to look for the daemon."""
        n = 0
        for path in sorted(glob.glob(os.path.join(TOP, "docs", "*.md"))):
            with open(path, encoding="utf-8") as f:
                lines = re.findall(r"^\$ nvmegw (.*)$", f.read(), re.M)
            for line in lines:
                words = shlex.split(line.split(" | ")[0])
                out = self.cli("-s", "/nowhere", *words, check=False)
                self.assertEqual(out.returncode, 3, f"{path}: {line}: {out.stderr}")
                n += 1
        self.assertGreater(n, 10)

    def test_local_examples_work_together(self):
        """With folders and ports of their own, and a smaller disk."""
        ports = free_ports(3)
        back, gateway = (json.loads(read("etc", name + ".json"))
                         for name in ("backend-file", "gateway-local"))
        for n in range(2):
            back["listeners"][n]["trsvcid"] = ports[n]
            gateway["subsystems"][0]["upstreams"][n]["trsvcid"] = ports[n]
        gateway["listeners"][0]["trsvcid"] = ports[2]
        back["subsystems"][0]["upstreams"][0].update(path=self.p.path("disk.img"), size="1MiB")
        self.daemon("back", back)
        self.daemon("gateway", gateway)
        wait_for(lambda: self.usable() == 2)
        self.assertEqual(len(self.show("namespace", "list")), 1)


if __name__ == "__main__":
    unittest.main()
