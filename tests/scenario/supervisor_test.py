# SPDX-License-Identifier: Apache-2.0
"""couponsd under a service manager: its reports to the manager, signals, and the limits that the manager sets."""

import configparser
import contextlib
import ctypes
import os
import re
import signal
import socket
import tempfile
import time
import unittest
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.proxy import Proxy
from tests.harness import BUILD, ROOT, Scenario, wait_until
from tests.harness.environment import PATIENCE, SANITIZED

WATCHDOG_S = 0.6
SILENT_S = 3  # Postgres is silent for this time
STUCK_S = 120  # STUCK_MS in src/supervisor.c
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # waitpid's __WALL: threads, too


def thread_id(process, name):
    threads = f"/proc/{process.pid}/task"
    for tid in os.listdir(threads):
        with open(f"{threads}/{tid}/comm", encoding="ascii") as comm:
            if comm.read().strip() == name:
                return int(tid)
    raise AssertionError(f"there is no thread {name}")


@contextlib.contextmanager
def stopped_thread(process, name):
    """Stops one thread of a child process and leaves the others running, as a deadlock would. Kills the process at the
    end of the block."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    tid = thread_id(process, name)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of thread {name}")
    try:
        yield
    finally:
        process.kill()
        while os.WIFSTOPPED(os.waitpid(tid, WALL)[1]):  # the process does not end before its tracer learns of this
            pass
        process.wait()


class Manager(Scenario):
    def listen(self, path):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.settimeout(10 * PATIENCE)
        return manager

    def start_under(self, name, **settings):
        return self.start(command=["env", f"NOTIFY_SOCKET={name}", f"WATCHDOG_USEC={int(WATCHDOG_S * 10**6)}",
                                   f"{BUILD}/couponsd"], **settings)

    def test_it_reports_ready_then_answers_the_watchdog_and_reports_its_stop(self):
        path = os.path.join(tempfile.mkdtemp(dir=os.environ.get("TEST_DIR")), "notify")
        for name, address in ((path, path), (f"@{self.schema}", f"\0{self.schema}")):
            with self.subTest(name=name):
                manager = self.listen(address)
                server = self.start_under(name)
                self.assertEqual(manager.recv(100), b"READY=1")
                for _ in range(3):
                    self.assertEqual(manager.recv(100), b"WATCHDOG=1")
                server.process.send_signal(signal.SIGTERM)
                while (state := manager.recv(100)) == b"WATCHDOG=1":
                    pass
                self.assertEqual(state, b"STOPPING=1")
                self.assertEqual(server.process.wait(60), 0)

    def test_a_silent_postgres_does_not_silence_the_watchdog(self):
        parts = urlsplit(self.postgres_url)
        proxy = Proxy({"postgres": (0, parts.port)})
        self.addCleanup(proxy.stop)
        url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port('postgres')}"))
        manager = self.listen(f"\0{self.schema}")
        server = self.start_under(f"@{self.schema}", postgres__url=f"{url}&sslmode=disable")
        coupon = self.create(server, 10)
        proxy.disturb("postgres", "stall", 0)
        self.ctl_raw(server, "--timeout", 1000, "request", coupon, 1, background=True)
        manager.settimeout(WATCHDOG_S * PATIENCE)
        until = time.monotonic() + SILENT_S
        while time.monotonic() < until:
            self.assertIn(manager.recv(100), (b"READY=1", b"WATCHDOG=1"))
        proxy.calm("postgres")

    def test_a_stuck_thread_ends_the_answers_so_that_the_manager_restarts_couponsd(self):
        manager = self.listen(f"\0{self.schema}")
        server = self.start_under(f"@{self.schema}", postgres__statement_timeout_ms=5000,
                                  postgres__connect_timeout_s=1, admit__retry_ms=0)
        coupon = self.create(server, 10)
        release = self.hold("update outbox_head set last_id = last_id")
        self.ctl_raw(server, "--timeout", 1000, "request", coupon, 1, background=True)
        wait_until(lambda: self.sql("select 1 from pg_locks where locktype = 'tuple' and relation = "
                                    f"'{self.schema}.outbox_head'::regclass"), what="admit waits for its lane")
        with stopped_thread(server.process, "admit"):
            release()
            manager.settimeout(WATCHDOG_S)
            began = last = time.monotonic()
            while "event=watchdog.stuck" not in server.text():
                self.assertLess(time.monotonic() - began, STUCK_S + 2 * 6 + 10 * PATIENCE)
                with contextlib.suppress(TimeoutError):
                    if manager.recv(100) == b"WATCHDOG=1":
                        last = time.monotonic()
            self.assertGreater(last - began, STUCK_S)
            self.assertRegex(server.text(), r"event=watchdog\.stuck thread=admit")
            manager.settimeout(5 * WATCHDOG_S)
            with self.assertRaises(TimeoutError):
                while True:
                    manager.recv(100)

    def test_sighup_is_told_in_the_log_and_changes_nothing(self):
        server = self.start()
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reload.not_needed" in server.text(), what="it says so")
        coupon = self.create(server, 1)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["ticket"], 1)
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(server.stop(), 0)

    def test_a_limit_of_a_billion_open_files_costs_neither_time_nor_memory(self):
        """Some containers have such a limit. The kernel may not allow it in a test, so a library fakes it."""
        began = time.monotonic()
        server = self.start(command=["env", f"LD_PRELOAD={BUILD}/billion_files.so",
                                      "ASAN_OPTIONS=verify_asan_link_order=0", f"{BUILD}/couponsd"])
        self.assertLess(time.monotonic() - began, 20 * PATIENCE)
        coupon = self.create(server, 1)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["ticket"], 1)
        self.assertEqual(server.stop(), 0)
        text = server.text()
        self.assertIn("billion_files: 1000000000 told\n", text)
        self.assertIn("billion_files: 1048576 set\n", text)
        resident = int(re.search(r"billion_files: (\d+) MiB at most", text).group(1))
        if not SANITIZED:  # sanitizers use much memory themselves
            self.assertLess(resident, 200)


class Unit(unittest.TestCase):
    def test_systemd_restarts_it_however_often_it_fails_unless_its_settings_are_wrong(self):
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read(os.path.join(ROOT, "packaging", "couponsd.service.in"), encoding="utf-8")
        self.assertEqual(unit["Unit"]["StartLimitIntervalSec"], "0")
        self.assertNotIn("StartLimitBurst", unit["Unit"])
        for key, value in {"Restart": "on-failure", "RestartSec": "1", "RestartPreventExitStatus": "2",
                           "TimeoutStartSec": "infinity", "Type": "notify", "WatchdogSec": "30"}.items():
            self.assertEqual(unit["Service"][key], value, key)


if __name__ == "__main__":
    unittest.main()
