# SPDX-License-Identifier: Apache-2.0
"""Watches a number in Postgres as it changes."""

import contextlib
import re
import subprocess
import threading
import time

from bench.programs import STOP_S, Wrong
from tests.harness.processes import end

EVERY_S = 0.02


class Watch:
    """Queries a number again and again, on its own connection. `changes` has the time and value of each change, and the
    first value; times are time.time() when the answer came."""

    def __init__(self, stand, query):
        self.query = " ".join(query.split()) + ";\n"
        self.changes, self.failure = [], None
        self.changed = threading.Condition()
        self.stopping = False
        self.psql = subprocess.Popen(
            ["psql", stand.postgres_url, "-X", "-At", "-q", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        try:
            self.backend = self.ask("select pg_backend_pid();\n")
            self.look()
        except BaseException:
            self.close()
            raise
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.close()

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # Ctrl-C ends psql too
            self.psql.stdin.close()
        end(self.psql, patience_s=STOP_S)
        self.psql.stdout.close()

    def ask(self, query):
        self.psql.stdin.write(query)
        line = self.psql.stdout.readline()
        if not re.fullmatch(r"-?\d+\n", line):
            raise Wrong(f"{query.strip()}: {line!r}")
        return int(line)

    def look(self):
        value = self.ask(self.query)
        now = time.time()
        if not self.changes or self.changes[-1][1] != value:
            with self.changed:
                self.changes.append((now, value))
                self.changed.notify_all()

    def run(self):
        try:
            while not self.stopping:
                self.look()
                time.sleep(EVERY_S)
        except (Wrong, OSError, ValueError) as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def wait_for(self, value, seconds):
        """Waits until the number reaches the value. Returns the time when it was first seen there."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while self.changes[-1][1] < value:
                if self.failure:
                    raise Wrong(str(self.failure))
                if not self.changed.wait(deadline - time.monotonic()):
                    raise Wrong(f"{self.changes[-1][1]} instead of {value} after {seconds:.0f} s: {self.query}")
            return next(at for at, seen in self.changes if seen >= value)

    def pace(self, upto):
        """Returns the rate per second from the first change until the number reaches the value."""
        end = next(i for i, (_, value) in enumerate(self.changes) if value >= upto)
        begin = 1 if end > 1 else 0  # 0: the whole change came between two queries
        (began_at, first), (ended_at, last) = self.changes[begin], self.changes[end]
        return (last - first) / (ended_at - began_at)
