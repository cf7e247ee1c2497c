# SPDX-License-Identifier: Apache-2.0
"""Redis, Kafka or Postgres is down, empty, silent, or out of disk space. Afterwards nothing is missing."""

import os
import signal
import subprocess
import time

from tests.harness import PATIENCE, wait_until
from tests.harness.private_servers import Servers, run
from tests.outage.outage import (KAFKA_S, POSTGRES_S, RATE, Load, Outage, Refusals, alive, assert_quiet, figure, ms)


class Redis(Outage):
    def setUp(self):
        super().setUp()
        self.restarted("redis")

    def measure(self, server, what):
        """Loads one hot coupon with more users than it has tickets, first in a closed loop, then at a fixed rate."""
        coupon = self.create(server, 10000)
        fast = self.ctl(server, "bench", "--coupon", coupon, "--users", 12000, "--concurrency", 256, "--log",
                        self.answers)[0]
        self.assertEqual(fast["answers"], {"ACCEPTED": 10000, "SOLD_OUT": 2000})
        self.assert_issued_exactly(coupon, 10000)
        calm = self.create(server, 10000)
        even = self.ctl(server, "bench", "--coupon", calm, "--users", 3000, "--rate", RATE, "--log", self.answers)[0]
        self.assertEqual(even["answers"], {"ACCEPTED": 3000})
        figure("Redis gone", f"{what}: accepted in a closed loop; p99 at {RATE} per second",
               f"{fast['accepted_per_s']:.0f}/s, {ms(even['answer_us']['p99'])}")
        return coupon, calm

    def test_gone_requests_are_answered_from_postgres(self):
        server = self.start()
        before = self.measure(server, "with Redis")
        self.backends.kill("redis")
        without = self.measure(server, "without")
        self.assertEqual(server.get("/readyz")[0], 200)
        self.backends.start("redis")
        flags = dict(zip((*before, *without), ("false", "true", "false", "true")))
        seconds = self.seconds_until(
            lambda: all(self.redis("get", f"coupon:available:{id}") == flag for id, flag in flags.items()), 5,
            "the flags are back")
        figure("Redis gone", "all flags are correct again after its return", f"{seconds:.2f} s")
        for coupon in flags:
            self.assert_nothing_lost(coupon)
        assert_quiet(self, [server])

    def test_flushed_its_flags_are_rebuilt_within_two_seconds(self):
        server = self.start()
        sold_out = self.create(server, 10)
        self.ctl(server, "bench", "--coupon", sold_out, "--users", 20)
        coupons = [self.create(server, 10**6) for _ in range(50)]
        flags = {sold_out: "false", **{coupon: "true" for coupon in coupons}}
        keys = [f"coupon:available:{id}" for id in flags]
        wait_until(lambda: self.redis("mget", *keys).split() == list(flags.values()), what="all have a flag")
        load = Load(self, [server], coupons[0], 3 * RATE, RATE, retry=False)
        wait_until(lambda: self.accepted(coupons[0]) > RATE / 2, what="load")
        self.redis("flushall")
        seconds = self.seconds_until(lambda: self.redis("mget", *keys).split() == list(flags.values()), 2,
                                     "they are rebuilt")
        figure("Redis flushed", f"{len(keys)} flags rebuilt after", f"{seconds:.2f} s")
        result = load.finish()
        self.assertEqual(result["answers"], {"ACCEPTED": 3 * RATE})
        figure("Redis flushed", f"p99 of the answers during it, at {RATE} per second", ms(result["answer_us"]["p99"]))
        self.assert_nothing_lost(coupons[0])
        assert_quiet(self, [server])


class Kafka(Outage):
    def test_gone_requests_are_accepted_and_the_backlog_is_drained_in_order(self):
        self.restarted("kafka")
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 10**6)
        load = Load(self, servers, coupon, (KAFKA_S + 2) * RATE, RATE, retry=False)
        wait_until(lambda: self.accepted(coupon) > RATE, what="load")
        self.backends.kill("kafka")
        gone, at = time.monotonic(), self.accepted(coupon)
        while time.monotonic() - gone < KAFKA_S:
            time.sleep(0.5)
            for server in servers:
                self.assertTrue(alive(server))
        accepted, unsent = self.accepted(coupon) - at, self.unsent()
        self.assertGreater(accepted, 0.8 * KAFKA_S * RATE, "requests are accepted without Kafka")
        result = load.finish()
        self.assertEqual(result["answers"], {"ACCEPTED": (KAFKA_S + 2) * RATE})
        self.backends.start("kafka")
        seconds = self.seconds_until(lambda: self.unsent() == 0, 60, "the backlog is drained")
        self.wait_for_issued(coupon, (KAFKA_S + 2) * RATE, 60)
        figure("Kafka gone", f"accepted during {KAFKA_S} s of it; p99", f"{accepted}; {ms(result['answer_us']['p99'])}")
        figure("Kafka gone", f"backlog of {unsent} drained after its return", f"{seconds:.1f} s")
        self.assert_nothing_lost(coupon)
        assert_quiet(self, servers)


class Postgres(Outage):
    def setUp(self):
        super().setUp()
        self.restarted("postgres")

    def refuse_for(self, seconds, servers, coupon, outage):
        """Makes all kinds of calls, alternating between the servers."""
        wait_until(lambda: all(server.get("/readyz")[0] == 503 for server in servers), 5, what="none is ready")
        refusals, user, end = Refusals(self, outage), 10**6, time.monotonic() + seconds
        while time.monotonic() < end:
            user += 1
            for call in (("request", coupon, user), ("status", coupon, 1), ("get", coupon)):
                refusals.call(servers[user % 2], *call)
            self.assertEqual([server for server in servers if not alive(server)], [])
            self.assertEqual(servers[user % 2].get("/readyz")[0], 503)
        refusals.tell()

    def until_accepted(self, server, coupon, since, outage):
        user = 2 * 10**6

        def is_accepted():
            nonlocal user
            user += 1
            return self.ctl_raw(server, "request", coupon, user)[0] == 0
        wait_until(is_accepted, 10, 0.01, "requests are accepted again")
        seconds = time.monotonic() - since
        figure(outage, "requests accepted again after its return", f"{seconds:.2f} s")
        self.assertLess(seconds, 2 * PATIENCE)

    def test_gone_calls_are_refused_in_time_and_accepted_soon_after_its_return(self):
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 10**6)
        patient = Load(self, servers, coupon, (POSTGRES_S + 2) * RATE // 4, RATE // 4, name="patient")
        hasty = Load(self, servers, coupon, 3 * RATE // 4, RATE // 4, retry=False, name="hasty",
                     first_user=10**5)
        wait_until(lambda: self.accepted(coupon) > RATE // 4, what="load")
        self.backends.kill("postgres")
        self.refuse_for(POSTGRES_S, servers, coupon, "Postgres gone")
        starting = self.backends.starting("postgres")
        wait_until(self.backends.postgres_answers, 60, 0.01, "Postgres is back")
        self.until_accepted(servers[0], coupon, time.monotonic(), "Postgres gone")
        self.assertEqual(starting.wait(60), 0)
        told = hasty.finish()
        self.assertLessEqual(set(told["answers"]), {"ACCEPTED", "ISSUED", "BACKEND_UNAVAILABLE"})
        figure("Postgres gone", "calls in flight: slowest answer", ms(told["answer_us"]["max"]))
        self.assertEqual(set(patient.finish()["answers"]) - {"ACCEPTED", "ISSUED"}, set(), "retries succeed")
        self.assert_nothing_lost(coupon)
        assert_quiet(self, servers)

    def test_silent_calls_are_refused_in_time(self):
        """Postgres is stopped by SIGSTOP: the kernel accepts connections, but nobody answers."""
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 10**6)
        load = Load(self, servers, coupon, (POSTGRES_S + 2) * RATE // 4, RATE // 4, retry=False)
        wait_until(lambda: self.accepted(coupon) > RATE // 8, what="load")
        self.backends.signal("postgres", signal.SIGSTOP)
        self.addCleanup(self.backends.signal, "postgres", signal.SIGCONT)
        self.refuse_for(POSTGRES_S, servers, coupon, "Postgres silent")
        self.backends.signal("postgres", signal.SIGCONT)
        self.until_accepted(servers[0], coupon, time.monotonic(), "Postgres silent")
        told = load.finish()
        self.assertLessEqual(set(told["answers"]), {"ACCEPTED", "ISSUED", "BACKEND_UNAVAILABLE", "OVERLOADED"})
        figure("Postgres silent", "calls in flight: slowest answer", ms(told["answer_us"]["max"]))
        self.assert_nothing_lost(coupon)
        assert_quiet(self, servers)


class DiskFull(Outage):
    """Postgres on its own small disk."""
    MIB = 192

    def setUp(self):
        super().setUp()
        self.small = Servers()
        self.addCleanup(self.small.down)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.MIB}m,mode=755", "tmpfs", self.small.dir],
                                 capture_output=True, text=True)
        if mounted.returncode:
            self.skipTest(f"needs a file system of limited size: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.small.dir], check=True)
        self.addCleanup(self.stop_small)
        port = run("choose_ports", ":").strip()
        with open(f"{self.small.dir}/postgres.port", "w", encoding="ascii") as file:
            file.write(f"{port}\n")
        self.small.start("postgres")
        url = f"postgresql://couponsd@127.0.0.1:{port}/couponsd"
        before = os.environ["POSTGRES_URL"]
        self.addCleanup(os.environ.__setitem__, "POSTGRES_URL", before)
        os.environ["POSTGRES_URL"] = url
        self.sql(f"create schema {self.schema}", schema="public")
        self.settings["postgres.url"] = f"{url}?options=-csearch_path%3D{self.schema}"

    def stop_small(self):
        run("stop", self.small.dir, "postgres", "INT", "QUIT")

    def fill(self):
        with open(f"{self.small.dir}/ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 16))
                    ballast.flush()
            except OSError:
                pass
            finally:
                try:
                    ballast.close()
                except OSError:
                    pass

    def free(self):
        os.unlink(f"{self.small.dir}/ballast")

    def is_running(self):
        try:
            return bool(self.small.pid("postgres"))
        except AssertionError:
            return False

    def test_full_nothing_is_lost_and_all_goes_on_once_there_is_room(self):
        server = self.start(outbox__rotate_ms=500)
        coupon = self.create(server, 10**6)
        load = Load(self, [server], coupon, 8 * RATE, RATE)
        wait_until(lambda: self.accepted(coupon) > RATE, what="load")
        self.fill()
        refused = 'couponsd_rpc_total'
        seconds = self.seconds_until(
            lambda: server.metric(refused, method="RequestPublish", code="UNAVAILABLE") > 0, 20, "calls are refused")
        figure("Postgres' disk full", "first call refused as UNAVAILABLE after", f"{seconds:.1f} s")
        told = self.refusal(server, "--timeout", "8000", "request", coupon, 10**7, code=3)
        self.assertEqual((told["code"], told["reason"]), ("UNAVAILABLE", "BACKEND_UNAVAILABLE"))
        time.sleep(2)  # so that the write-ahead log runs into the full disk too
        self.assertTrue(alive(server))
        crashed = not self.is_running()
        self.free()
        if crashed:  # Postgres could not even recover; the operator who frees the disk restarts it
            self.small.start("postgres")
        began = time.monotonic()
        user = 10**7

        def is_accepted():
            nonlocal user
            user += 1
            return self.ctl_raw(server, "--timeout", "5000", "request", coupon, user)[0] == 0
        wait_until(is_accepted, 30, 0.05, "requests are accepted again")
        figure("Postgres' disk full", f"{'it crashed, was restarted;' if crashed else 'it stayed up;'} accepted after",
               f"{time.monotonic() - began:.2f} s")
        self.assertEqual(set(load.finish()["answers"]) - {"ACCEPTED", "ISSUED"}, set())
        self.assert_nothing_lost(coupon)
        assert_quiet(self, [server])
