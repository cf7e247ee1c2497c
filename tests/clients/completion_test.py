# SPDX-License-Identifier: Apache-2.0
"""couponctl's completion in the shells themselves: bash, zsh and fish."""

import os
import pty
import re
import select
import subprocess
import tempfile
import time
import unittest

from tests.harness import BUILD

COUPONCTL = os.path.join(BUILD, "couponctl")
WAIT_S = 20
BASH = """source <("$0" completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_couponctl
printf '%s\\n' "${COMPREPLY[@]}" """


def script(shell):
    return subprocess.run([COUPONCTL, "completion", shell], check=True, stdout=subprocess.PIPE, text=True).stdout


def run(*command, **how):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


def bash(*words):
    return run("bash", "--norc", "-c", BASH, COUPONCTL, *words).split()


def fish(line):
    with tempfile.TemporaryDirectory() as home:
        return [each.partition("\t")[0] for each in
                run("fish", "--no-config", "-c", f"{COUPONCTL} completion fish | source; complete -C '{line}'",
                    env={**os.environ, "HOME": home}).splitlines()]


class Zsh:
    """An interactive zsh in a pseudo terminal, since only that one completes."""

    def __init__(self, home):
        with open(os.path.join(home, "_couponctl"), "w") as file:
            file.write(script("zsh"))
        with open(os.path.join(home, ".zshrc"), "w") as file:
            file.write(f"fpath=({home} $fpath); PROMPT='ready> '; unsetopt beep; autoload -U compinit; compinit -u -D\n"
                       "zstyle ':completion:*' list-prompt ''; LISTMAX=0\n")
        self.child, self.fd = pty.fork()
        if self.child == 0:
            os.environ.update(HOME=home, ZDOTDIR=home, TERM="dumb", COLUMNS="200", LINES="200")
            os.execvp("zsh", ["zsh", "-i"])
        self.read_until("ready> ")

    def read_until(self, wanted):
        text, until = "", time.monotonic() + WAIT_S
        while not re.search(wanted, text):
            if not select.select([self.fd], [], [], max(until - time.monotonic(), 0))[0]:
                raise AssertionError(f"{wanted!r} did not come: {text!r}")
            text += os.read(self.fd, 65536).decode(errors="replace")
        return text

    def complete(self, line, wanted):
        os.write(self.fd, b"\x15" + line.encode() + b"\t")
        return self.read_until(wanted)

    def close(self):
        os.close(self.fd)
        os.waitpid(self.child, 0)


class Completion(unittest.TestCase):
    def verbs(self):
        text = run(COUPONCTL, "help")
        return re.findall(r"(?m)^  ([a-z-]+) ", text.partition("Verbs:")[2].partition("Options of every verb")[0])

    def test_each_shell_offers_every_verb(self):
        verbs = self.verbs()
        self.assertIn("dead-letters", verbs)
        self.assertEqual(sorted(bash("couponctl", "")), sorted(verbs))
        self.assertEqual(sorted(fish("couponctl ")), sorted(verbs))

    def test_bash_knows_options_words_and_files(self):
        self.assertEqual(bash("couponctl", "--server", "x", "pa"), ["pause"])
        self.assertEqual(bash("couponctl", "topics", "m"), ["migrate"])
        self.assertEqual(bash("couponctl", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(bash("couponctl", "create", "--qu"), ["--quantity"])
        self.assertEqual(bash("couponctl", "get", "--js"), ["--json"])
        self.assertEqual(bash("couponctl", "--ca", "/etc/host"), [each for each in bash("couponctl", "--ca", "/etc/host")
                                                                   if os.path.exists(each)])
        self.assertIn("/etc/hosts", bash("couponctl", "--ca", "/etc/host"))
        self.assertEqual(bash("couponctl", "--timeout", "pa"), [], "the value of an option is no verb")

    def test_fish_knows_options_and_words(self):
        self.assertEqual(fish("couponctl pa"), ["pause"])
        self.assertEqual(fish("couponctl topics m"), ["migrate"])
        self.assertEqual(fish("couponctl create --qu"), ["--quantity"])
        self.assertIn("--json", fish("couponctl get --"))
        self.assertNotIn("--quantity", fish("couponctl get --"))

    def test_zsh_knows_verbs_options_and_words(self):
        with tempfile.TemporaryDirectory() as home:
            zsh = Zsh(home)
            try:
                zsh.complete("couponctl pau", "couponctl pause ")
                zsh.complete("couponctl topics mig", "topics migrate ")
                zsh.complete("couponctl create --quan", "--quantity=?")
                listing = zsh.complete("couponctl res", "couponctl resume ")
                self.assertNotIn("_arguments", listing, "zsh reports an error of the script")
            finally:
                zsh.close()

    def test_an_unknown_shell_is_refused(self):
        done = subprocess.run([COUPONCTL, "completion", "tcsh"], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("bash, zsh and fish", done.stderr)


if __name__ == "__main__":
    unittest.main()
