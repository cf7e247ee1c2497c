# SPDX-License-Identifier: Apache-2.0
"""Silent neighbors. Backends: their connections stay open but no byte comes; couponsd still answers probes and scrapes.
Readers of the log: nobody reads the pipe, or the disk is full; couponsd still serves requests."""

import contextlib
import os
import tempfile
import threading
import time
import unittest
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.proxy import Proxy
from tests.harness import BUILD, Scenario, wait_until
from tests.harness.environment import PATIENCE
from tests.harness.names import Names
from tests.harness.ports import free_port

PROMPT_S = 0.5  # time limit for an answer over HTTP
NOTICED_S = 3  # time limit for /readyz to report that Postgres is silent
STARTED_S = 6  # time limit for a start with a silent host, which the first connections do not know yet
WELL_S = 2  # time limit for /readyz to report that Postgres is back
PROBES = 8  # concurrent probes of each kind


class SilentBackends(Scenario):
    def setUp(self):
        super().setUp()
        ports = {name: urlsplit(url).port for name, url in
                 (("postgres", self.postgres_url), ("redis", self.redis_url))}
        self.proxy = Proxy({name: (0, port) for name, port in ports.items()})
        self.addCleanup(self.proxy.stop)
        self.settings["postgres.url"] = f"{self.through('postgres', self.postgres_url)}&sslmode=disable"
        self.settings["redis.url"] = self.through("redis", self.redis_url)

    def through(self, name, url):
        parts = urlsplit(url)
        user = f"{parts.username}@" if parts.username else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self.proxy.port(name)}"))

    def probe(self, server, path, answers):
        began = time.monotonic()
        answers.append((path, *server.get(path), time.monotonic() - began))

    def assert_prompt(self, server):
        """Checks that every endpoint answers promptly to concurrent probes of all kinds. Returns the answers of
        /readyz."""
        answers, threads = [], []
        for path in ("/readyz", "/healthz", "/metrics") * PROBES:
            threads.append(threading.Thread(target=self.probe, args=(server, path, answers)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 3 * PROBES)
        for path, status, _, seconds in answers:
            self.assertLess(seconds, PROMPT_S * PATIENCE, path)
            self.assertTrue(path == "/readyz" or status == 200, (path, status))
        return [(status, text) for path, status, text, _ in answers if path == "/readyz"]

    def test_probes_and_scrapes_are_answered_at_once_while_postgres_is_silent(self):
        server = self.start()
        coupon = self.create(server, 10)
        status, text = server.get("/readyz")
        self.assertEqual(status, 200)
        self.assertRegex(text, r"^ready; Postgres answered 0\.\d s ago\n$")
        self.proxy.disturb("postgres", "stall", 0)
        began = time.monotonic()
        self.ctl_raw(server, "--timeout", 1000, "request", coupon, 1, background=True)
        while time.monotonic() - began < NOTICED_S * PATIENCE:
            self.assert_prompt(server)
        for status, text in self.assert_prompt(server):
            self.assertEqual(status, 503)
            self.assertRegex(text, r"^postgres: (no answer for \d+\.\d s|.*silent.*|.*timeout expired)\n$")
        self.proxy.calm("postgres")
        began = time.monotonic()
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, 0.02, "ready again")
        self.assertLess(time.monotonic() - began, WELL_S * PATIENCE)

    def test_calls_are_refused_before_their_deadlines_while_postgres_is_silent(self):
        server = self.start()
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.proxy.disturb("postgres", "stall", 0)
        # The first call finds the connections silent. Later ones find that no new connection can be opened.
        answers = [self.ctl_raw(server, "--timeout", 2000 * PATIENCE, verb, coupon, user)[1]
                   for user in range(2, 6) for verb in ("request", "status")]
        in_time = [answer for answer in answers if "BACKEND_UNAVAILABLE" in answer]
        # couponsd answers 0.1 s before the deadline, which is not enough on a busy machine.
        self.assertGreaterEqual(len(in_time), len(answers) * 3 / 4, answers)
        self.proxy.calm("postgres")
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, 0.02, "ready again")
        self.ctl(server, "request", coupon, 2)

    def test_neither_a_silent_host_nor_a_name_without_an_answer_delays_the_good_host_of_postgres(self):
        command = Names(self, tempfile.mkdtemp(dir=os.environ.get("TEST_DIR")), is_silent=True).before
        parts = urlsplit(self.postgres_url)
        self.proxy.disturb("postgres", "stall", 0)
        hosts = f"pg.example.com:5432,127.0.0.1:{self.proxy.port('postgres')},{parts.hostname}:{parts.port}"
        user = f"{parts.username}@" if parts.username else ""
        url = urlunsplit(parts._replace(netloc=f"{user}{hosts}"))
        began = time.monotonic()
        server = self.start(command=[*command, f"{BUILD}/couponsd"], postgres__url=f"{url}&sslmode=disable")
        self.assertLess(time.monotonic() - began, STARTED_S * PATIENCE)
        coupon = self.create(server, 10)
        self.ctl(server, "--timeout", 1000 * PATIENCE, "request", coupon, 1)

    def test_a_silent_redis_delays_no_probe(self):
        server = self.start()
        coupon = self.create(server, 10)
        self.proxy.disturb("redis", "stall", 0)
        self.ctl(server, "request", coupon, 1)
        for status, text in self.assert_prompt(server):
            self.assertEqual(status, 200, text)


class SilentReaders(Scenario):
    def start_with_log(self, log, **settings):
        """Starts couponsd behind a shell that gives it `log`, a path, as its stderr."""
        return self.start(command=["sh", "-c", f'exec "{BUILD}/couponsd" 2>"{log}"'], **settings)

    def assert_it_serves(self, server):
        coupon = self.create(server, 100)
        for user in range(1, 11):
            self.ctl(server, "--timeout", 2000 * PATIENCE, "request", coupon, user)
        self.ctl(server, "watch", coupon, 10)
        self.assertEqual(server.get("/readyz")[0], 200)

    def test_a_full_pipe_that_nobody_reads_delays_nothing(self):
        pipe = os.path.join(tempfile.mkdtemp(dir=os.environ.get("TEST_DIR")), "log")
        os.mkfifo(pipe)
        end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, end)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"x" * 4096)
        # couponsd logs at the start that Redis is down, and each stage logs it again.
        server = self.start_with_log(pipe, redis__url=f"redis://127.0.0.1:{free_port()}/0")
        self.assert_it_serves(server)
        self.assertEqual(server.metric("couponsd_log_lost_lines_total"), 0)
        self.assertIn(b"x", os.read(end, 1 << 20))
        read = b""

        def has_told():
            nonlocal read
            with contextlib.suppress(BlockingIOError):
                read += os.read(end, 1 << 20)
            return b"event=start.without backend=redis" in read
        wait_until(has_told, 5, what="couponsd writes the delayed lines")

    def test_a_pipe_that_nobody_reads_does_not_delay_the_stop(self):
        pipe = os.path.join(tempfile.mkdtemp(dir=os.environ.get("TEST_DIR")), "log")
        os.mkfifo(pipe)
        end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, end)
        server = self.start_with_log(pipe)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"x")
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 5 * PATIENCE)

    def test_a_full_disk_loses_lines_and_counts_them(self):
        server = self.start_with_log("/dev/full", redis__url=f"redis://127.0.0.1:{free_port()}/0")
        self.assert_it_serves(server)
        self.assertGreaterEqual(server.metric("couponsd_log_lost_lines_total"), 1)


if __name__ == "__main__":
    unittest.main()
