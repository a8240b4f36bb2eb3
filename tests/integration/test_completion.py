# SPDX-License-Identifier: Apache-2.0
"""What the shells offer: all that the tool takes and nothing else, and names that there are."""
import os
import re
import socket
import subprocess
import time
import unittest

from stack import GW_NQN, StackTest, binary, file_upstream, free_ports, listener
from procs import BIN, TOP
from wire import wait_for

SCRIPTS = os.path.join(TOP, "etc/completion")
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
NAME = "array:one"  # bash would break a word at the colon

BASH = """
source {lib}
source {scripts}/nvmegw.bash
# Only the line editor has this one.
compopt() {{ :; }}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_LINE="$*" COMP_LINE=${{COMP_LINE// : /:}} COMP_POINT=${{#COMP_LINE}} COMP_TYPE=9
_nvmegw nvmegw "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

# The parts of its line editor that the function uses.
ZSH = """
_describe() {{ print -rl -- ${{(P)2}} }}
_files() {{ print -rl -- files }}
words=("$@") CURRENT=$# PREFIX="$@[-1]"
source {scripts}/_nvmegw
"""

FISH = """
source {scripts}/nvmegw.fish
complete -C "$argv"
"""


class Completion(StackTest):
    def setUp(self):
        super().setUp()
        self.socket = self.p.path("gateway.sock")

    def offered(self, *words):
        """[(word, what it is)] for the last word, as it is so far."""
        start = time.monotonic()
        out = subprocess.run([binary("nvmegw"), "--complete", *words], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.seconds = time.monotonic() - start
        return [tuple(line.split("\t")) for line in out.stdout.splitlines()]

    def words(self, *words):
        return [offer[0] for offer in self.offered(*words)]

    @staticmethod
    def answer(ask, *words):
        """
        The same of names that the daemon knows. The tool waits a second for them, and offers none
        when a busy machine needs longer.
        """
        return wait_for(lambda: ask(*words))

    def shell(self, *argv):
        out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             check=False, timeout=60, cwd=self.p.dir,
                             env=dict(os.environ, PATH=BIN + ":" + os.environ["PATH"],
                                      HOME=self.p.dir))
        self.assertEqual(out.stderr, "")
        return [line for line in out.stdout.splitlines() if line]

    def bash(self, *words):
        script = BASH.format(lib=BASH_COMPLETION, scripts=SCRIPTS)
        return self.shell("bash", "--norc", "-c", script, "bash", "nvmegw", *words)

    def zsh(self, *words):
        return self.shell("zsh", "-f", "-c", ZSH.format(scripts=SCRIPTS), "zsh", "nvmegw", *words)

    def fish(self, *words):
        return self.shell("fish", "--no-config", "-c", FISH.format(scripts=SCRIPTS),
                          " ".join(("nvmegw", *words)))

    def two_subsystems(self):
        port, = free_ports(1)
        self.daemon("gateway", {"listeners": [listener(port)], "subsystems": [
            {"nqn": GW_NQN, "upstreams": [file_upstream(self.p.path("a.img"), name=NAME)]},
            {"nqn": GW_NQN + ":2", "upstreams": [file_upstream(self.p.path("b.img"), name="b")]}]})
        wait_for(lambda: self.usable() == 2)

    def help(self):
        return self.cli("--help").stdout

    def commands(self):
        """[(its words, its arguments)] by the tool's help."""
        listed = re.search(r"Commands:\n(.*?)\n\n", self.help(), re.S)[1]
        names = [line[2:].split("  ")[0].split() for line in listed.splitlines()]
        return [([w for w in name if w.islower()], [w for w in name if w.isupper()])
                for name in names]

    def test_every_command(self):
        commands = self.commands()
        self.assertGreater(len(commands), 7)
        for before in {tuple(words[:n]) for words, _ in commands for n in range(len(words))}:
            said = [words[len(before)] for words, _ in commands
                    if tuple(words[:len(before)]) == before and len(words) > len(before)]
            self.assertEqual(self.words(*before, ""), list(dict.fromkeys(said)), before)
        for words, args in commands:
            self.assertIn(words[-1], self.words(*words[:-1], words[-1][:2]))
            if not args:
                self.assertEqual(self.words(*words, ""), [], words)

    def test_every_option(self):
        options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.help(), re.M)
        self.assertGreater(len(options), 4)
        self.assertEqual(self.words("-"), options)
        self.assertEqual(self.words("path", "list", "--so"), ["--socket"])

    def test_fixed_values(self):
        outputs = re.search(r"--output ([\w|]+)", self.help())[1].split("|")
        policies = re.split(r",\s+|\s+or\s+",
                            re.search(r"POLICY is ([^.]*)\.", self.help())[1])
        self.assertEqual(self.words("-o", ""), outputs)
        self.assertEqual(self.words("--output", outputs[0][:1]), outputs[:1])
        self.assertEqual(self.words("policy", "set", ""), policies)

    def test_live_names(self):
        self.two_subsystems()
        paths = [NAME + "/1", "b/1"]
        at = ("-s", self.socket)
        for words, names in ((("path", "show", ""), paths), (("path", "enable", "b"), paths[1:]),
                             (("path", "weight", ""), paths), (("path", "weight", "b/1", ""), []),
                             (("path", "show", "b/1", ""), []), (("path", "show", "nope"), []),
                             (("path", "list", "--subsystem", ""), [GW_NQN, GW_NQN + ":2"]),
                             (("namespace", "show", ""), ["1", "1"])):
            for line in ((*at, *words), (*words[:2], *at, *words[2:])):
                offered = self.answer(self.words, *line) if names else self.words(*line)
                self.assertEqual(offered, names, line)

    def test_shells(self):
        self.two_subsystems()
        at = ("-s", self.socket)
        show = (*at, "path", "show")
        self.assertEqual(self.bash("path", "en"), ["enable"])
        self.assertEqual(self.answer(self.bash, *show, "ar"), [NAME + "/1"])
        # What stands before the last colon is on the line already.
        self.assertEqual(self.answer(self.bash, *show, *NAME.partition(":")[:2], "o"), ["one/1"])
        self.assertIn("gateway.sock", self.bash("-s", "gateway.so"))
        self.assertEqual(self.zsh("path", "en"), ["enable:let I/O use the path"])
        self.assertEqual(self.answer(self.zsh, *show, "ar")[0].split("/")[0],
                         NAME.replace(":", r"\:"))
        self.assertEqual(self.zsh("-s", ""), ["files"])
        self.assertEqual(self.fish("path", "en"), ["enable\tlet I/O use the path"])
        self.assertEqual(self.answer(self.fish, *show, "ar")[0].split("\t")[0], NAME + "/1")
        self.assertEqual(self.fish(*show, "nope"), [])
        self.assertIn("gateway.sock", [s.split("\t")[0] for s in self.fish("-s", "gateway.so")])

    def test_no_daemon(self):
        self.assertEqual(self.words("-s", self.socket, "path", "show", ""), [])

    def test_daemon_that_does_not_answer(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.socket)
            s.listen()
            self.assertEqual(self.words("-s", self.socket, "path", "show", ""), [])
            self.assertLess(self.seconds, 15)  # a command would wait for 20


if __name__ == "__main__":
    unittest.main()
