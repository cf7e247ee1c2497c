# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md, followed word for word: every command of it runs against ./dev run, and prints what it shows. Only
ports and the folder of the servers are others, so that it runs beside other servers."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from tests.harness import BUILD, ROOT, wait_until

TUTORIAL = os.path.join(ROOT, "docs", "tutorial.md")
# What each run has of its own: times, ids, durations.
OF_A_RUN = [(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00)?", "TIME"),
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"), (r"[ \t]+", " "), (r"-{5,}", "-----"),
            (r"ticket \d+$", "ticket N")]


def free_ports(n):
    held = [socket.socket() for _ in range(n)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def blocks():
    """Commands (sh) and what they print (text), in the order of the tutorial."""
    with open(TUTORIAL, encoding="utf-8") as file:
        return re.findall(r"```(sh|text)\n(.*?)```", file.read(), re.S)


def normal(text):
    for pattern, to in OF_A_RUN:
        text = re.sub(pattern, to, text, flags=re.M)
    return [line.strip() for line in text.split("\n") if line.strip()]


class Tutorial(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.state = os.path.join(folder.name, "dev")
        os.mkdir(self.state)
        self.grpc, self.http, *second = free_ports(4)
        self.replaced = [("50051", str(self.grpc)), ("50052", str(second[0])), ("9465", str(second[1])),
                         (".dev/", self.state + "/"), ("build/release/", BUILD + "/")]
        self.environment = {**os.environ, "DEV_STATE": self.state, "COUPONCTL_SERVER": f"127.0.0.1:{self.grpc}"}

    def words(self, text):
        for of_the_tutorial, here in self.replaced:
            text = text.replace(of_the_tutorial, here)
        return text

    def start(self, command):
        """./dev run, with ports of its own."""
        self.assertEqual(command.strip(), "./dev run")
        log = open(os.path.join(self.state, "run.log"), "w+", encoding="utf-8")
        self.addCleanup(log.close)
        process = subprocess.Popen([os.path.join(ROOT, "dev"), "run", "--port", str(self.grpc), "--set",
                                    f"http.listen=127.0.0.1:{self.http}"], cwd=ROOT, env=self.environment, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)

        def stop():
            os.killpg(process.pid, signal.SIGINT)
            self.assertEqual(process.wait(60), 130)
        self.addCleanup(stop)

        def output():
            self.assertIsNone(process.poll(), "./dev run has ended")
            log.seek(0)
            return log.read()
        return output

    def test_every_command_prints_what_the_tutorial_shows(self):
        found = blocks()
        output = self.start(found[0][1])
        wanted = found[1][1].strip()
        wait_until(lambda: wanted in output(), seconds=300, what=wanted)
        shell = subprocess.Popen(["bash"], cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        self.addCleanup(shell.stdout.close)
        shell_text = ""
        for kind, text in found[2:]:
            if kind == "sh":
                shell.stdin.write(self.words(text) + "\necho '=== end'\n")
                shell.stdin.flush()
                shell_text = "".join(iter(shell.stdout.readline, "=== end\n"))
            else:
                lines = normal(shell_text)
                for line in normal(self.words(text)):
                    self.assertIn(line, lines, f"not in the output:\n{shell_text}")
        shell.stdin.close()
        self.assertEqual(shell.wait(60), 0)

    def test_the_languages_are_all_there(self):
        text = "".join(text for _, text in blocks())
        for language in ("python", "go", "java", "node"):
            self.assertIn(f"clients/{language}/smoke.sh build", text)


if __name__ == "__main__":
    unittest.main()
