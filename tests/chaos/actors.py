# SPDX-License-Identifier: Apache-2.0
"""Actors, which carry out the schedule, each on its own thread: couponsd processes that start and die, servers that
fail and come back, connections that are disturbed, administrators. An actor that is told to stop first finishes its
step, which repairs what it broke, and records the time of that repair."""

import os
import re
import signal
import subprocess
import threading
import time

from tests.harness import PATIENCE

DIED = re.compile(r"^fault\.died point=(\S+) pass=(\d+)$", re.M)
START_S = 60  # a couponsd process that has not printed "ready" by then is stuck


class Journal:
    """Records each event with the seconds since the start, counts kills, and collects violations."""

    def __init__(self, path):
        self.begin = time.monotonic()
        self.file = open(path, "w")
        self.lock = threading.Lock()
        self.violations, self.kills, self.hit = [], {}, {}

    def note(self, text):
        with self.lock:
            print(f"{time.monotonic() - self.begin:9.3f}  {text}", file=self.file, flush=True)

    def kill(self, what):
        with self.lock:
            self.kills[what] = self.kills.get(what, 0) + 1

    def died_at(self, point):
        with self.lock:
            self.hit[point] = self.hit.get(point, 0) + 1

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
        self.note(f"VIOLATION: {text}")


class Actor(threading.Thread):
    def __init__(self, world, name):
        super().__init__(name=name, daemon=True)
        self.world, self.journal, self.stopping = world, world.journal, threading.Event()
        self.repaired_at = time.monotonic()

    def note(self, text):
        self.journal.note(f"{self.name}: {text}")

    def pause(self, seconds):
        """Returns False when it is time to stop."""
        return not self.stopping.wait(seconds)

    def run(self):
        try:
            self.act()
        except Exception as problem:  # a defect of this test must not look like success
            self.journal.violation(f"{self.name} gave up: {problem!r}")
        self.repaired_at = time.monotonic()


class Couponsd(Actor):
    def __init__(self, world, name, lives):
        super().__init__(world, f"couponsd-{name}")
        self.lives, self.number, self.process, self.log = lives, 0, None, None

    def act(self):
        for life in self.lives:
            if self.stopping.is_set():
                break
            self.begin(life)
            self.await_death(life)
            self.pause(life.down_s)
        self.begin(None)

    def begin(self, life):
        self.number += 1
        self.log = os.path.join(self.world.dir, f"{self.name}-{self.number:03}.log")
        fault = f"{life.point}:{life.passes}" if life and life.point else ""
        self.note(f"start {self.number}{', dies at ' + fault if fault else ''}")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.world.couponsd_command(self.name), stdout=log, stderr=log,
                                            env={**os.environ, "COUPONSD_FAULT": fault})

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def is_ready(self):
        return "\nready " in "\n" + self.text()

    def await_death(self, life):
        until = time.monotonic() + life.limit_s * PATIENCE
        while self.process.poll() is None and time.monotonic() < until and not self.stopping.is_set():
            time.sleep(0.02)
        by_us = self.process.poll() is None
        if by_us:
            self.process.kill()
        code = self.process.wait()
        died = DIED.search(self.text())
        if died:
            self.journal.died_at(died.group(1))
            self.note(f"died at {died.group(1)}, pass {died.group(2)}")
        elif by_us:
            self.note("kill -9")
        if died or by_us:
            self.journal.kill("couponsd")
        if code != -signal.SIGKILL:
            self.journal.violation(f"{self.name} ended by itself with {code}; its log is {self.log}")

    def await_ready(self):
        until = time.monotonic() + START_S * PATIENCE
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.journal.violation(f"{self.name} is not ready; its log is {self.log}")
                return
            time.sleep(0.02)
        self.repaired_at = time.monotonic()

    def end(self):
        """Stops it as a user would: it must exit cleanly."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                code = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                code = "a kill, 30 s after SIGTERM"
            if code != 0:
                self.journal.violation(f"{self.name} ended with {code}; its log is {self.log}")


class Server(Actor):
    """Postgres, Redis or Kafka. It signals only a process that works in the run's own folder."""

    SIGNALS = {"postgres": signal.SIGQUIT, "redis": signal.SIGKILL, "kafka": signal.SIGKILL}

    def __init__(self, world, name, outages):
        super().__init__(world, name)
        self.outages = outages

    def pid(self):
        with open(os.path.join(self.world.dir, f"{self.name}.pid")) as file:
            pid = int(file.read().split()[0])
        home = os.readlink(f"/proc/{pid}/cwd")
        if not home.startswith(self.world.dir) and home != self.world.postgres_home():
            raise RuntimeError(f"process {pid} works in {home}, so it is not ours")
        return pid

    def act(self):
        for outage in self.outages:
            if not self.pause(outage.after_s):
                break
            self.fail(outage)

    def fail(self, outage):
        pid = self.pid()
        os.kill(pid, self.SIGNALS[self.name])
        self.journal.kill(self.name)
        while os.path.exists(f"/proc/{pid}") and not is_zombie(pid):
            time.sleep(0.01)
        lost = self.name == "redis" and not outage.keep_data
        if lost:
            self.world.drop_redis_data()
        self.note(f"{'SIGQUIT' if self.name == 'postgres' else 'kill -9'}{', its data is dropped' if lost else ''}")
        self.pause(outage.down_s)
        self.world.servers("start", self.name)
        self.note("is back")


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Network(Actor):
    def __init__(self, world, name, disturbances):
        super().__init__(world, f"network to {name}")
        self.target, self.disturbances = name, disturbances

    def act(self):
        for disturbance in self.disturbances:
            if not self.pause(disturbance.after_s):
                break
            self.note(f"{disturbance.what} for {disturbance.seconds:.2f} s")
            self.world.proxy.disturb(self.target, disturbance.what, disturbance.delay_s)
            self.pause(disturbance.seconds)
            self.world.proxy.calm(self.target)


class Administrator(Actor):
    """Asks the couponsd processes alternately until one makes the change; the request_id prevents a second change."""

    def __init__(self, world, changes):
        super().__init__(world, "administrator")
        self.changes, self.added, self.garbage = changes, {}, 0

    def act(self):
        for number, change in enumerate(self.changes):
            if not self.pause(change.after_s):
                break
            coupon = self.world.changed_coupons[change.coupon]
            if change.what == "add":
                self.insist("add", coupon, change.quantity, "--request-id", f"add-{number}")
                self.added[coupon] = self.added.get(coupon, 0) + change.quantity
            elif change.what == "pause":
                self.insist("pause", coupon)
                self.pause(change.seconds)
                self.insist("resume", coupon)
            elif self.world.put_garbage():
                self.garbage += 1

    def insist(self, verb, *operands):
        until = time.monotonic() + 60
        for turn in range(10**6):
            if self.world.ctl(turn, verb, *operands):
                self.note(f"{verb} {' '.join(map(str, operands))}")
                return
            if time.monotonic() > until:
                raise RuntimeError(f"no couponsd would {verb}")
            time.sleep(0.1)
