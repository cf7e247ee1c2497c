# SPDX-License-Identifier: Apache-2.0
"""Private Postgres, Redis and Kafka, which a test may kill because no other test uses them. servers.sh starts them, and
`use` names them in the environment, where the harness looks for servers. Signals go only to processes that were started
here."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from tests.harness.processes import descendants

HERE = os.path.dirname(os.path.abspath(__file__))
GONE_S = 20


def run(function, *arguments, environment=None):
    done = subprocess.run([f"{HERE}/private_servers.sh", function, *arguments], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})})
    if done.returncode:
        raise AssertionError(f"{function}: {done.stdout}{done.stderr}")
    return done.stdout


class Servers:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="couponsd-outage.")
        os.chmod(self.dir, 0o755)  # Postgres may run as another user

    def up(self):
        run("servers_up", self.dir)

    def use(self):
        with open(f"{self.dir}/env", encoding="utf-8") as file:
            for line in file:
                for name, value in re.findall(r"(\w+)=(\S+)", line if line.startswith("export") else ""):
                    os.environ[name] = value

    def down(self):
        for name in ("postgres", "redis", "kafka"):
            with contextlib.suppress(AssertionError, OSError):
                self.signal(name, signal.SIGCONT)
        run("servers_down", self.dir)
        run("servers_remove", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pid(self, name):
        """The server's pid, as servers.sh finds it: the process must work in the server's folder."""
        return int(run("running", self.dir, name))

    def signal(self, name, number):
        """Signals the server's descendants, the youngest generation first, and then the server."""
        for pid in descendants(self.pid(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, name):
        """Kills the server, and for Postgres also its children, as if the machine lost power."""
        pids = descendants(self.pid(name))
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + GONE_S
        # Postgres does not start while a zombie of the old server is left.
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            assert time.monotonic() < deadline, f"{name} does not end"
            time.sleep(0.01)

    def start(self, name, environment=None):
        run(f"start_{name}", self.dir, environment=environment)

    def starting(self, name):
        """Starts the server in the background. The caller waits for the returned process."""
        return subprocess.Popen([f"{HERE}/private_servers.sh", f"start_{name}", self.dir], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def postgres_answers(self):
        return subprocess.run(["pg_isready", "-q", "-t", "1"]).returncode == 0
