# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the outage tests: the length of each outage, load that continues during it, calls that record how
they were refused, the figures printed at the end, and the conditions that hold after every outage.

With OUTAGE_FULL=1 (./dev outage), outages last as long as in an incident. Otherwise they last just long enough to show
their effect; where Kafka's session time-out matters, they outlast it.
"""

import json
import os
import re
import sys
import time
from collections import Counter

from tests.harness import BUILD, PATIENCE, CrowdScenario, wait_until
from tests.harness.kafka import PUBLISHED, REQUESTED
from tests.harness.private_servers import Servers

FULL = os.environ.get("OUTAGE_FULL") == "1"
KAFKA_S, POSTGRES_S, STOPPED_S, STORM_S = (60, 30, 60, 40) if FULL else (8, 4, 8, 6)
# Clients of these tests wait at most this long. couponsd gives up on a silent server sooner.
DEADLINE_MS = 5000
RATE = 1000 // PATIENCE
LANES = 16  # eight in each of two streams

figures = []  # (outage, what, figure)


def figure(outage, what, value):
    figures.append((outage, what, value))


def print_figures():
    widths = [max(len(row[column]) for row in figures) for column in (0, 1)] if figures else [0, 0]
    print(f"\nOutages, {'as long as in an incident' if FULL else 'shortened'}:\n", file=sys.stderr)
    for outage, what, value in figures:
        print(f"  {outage:{widths[0]}}  {what:{widths[1]}}  {value}", file=sys.stderr)
    print(file=sys.stderr, flush=True)


def ms(us):
    return f"{us / 1000:.1f} ms"


class Load:
    """couponctl bench in the background. It compares each answer with its request and logs it."""

    def __init__(self, test, servers, coupon, users, rate, retry=True, name="load", first_user=1):
        self.test, self.path = test, f"{test.answers}.{name}"
        test.addCleanup(lambda: os.path.exists(self.path) and os.unlink(self.path))
        self.process = test.ctl_raw(
            [server.grpc for server in servers], "--timeout", DEADLINE_MS, "bench", "--coupon", coupon, "--users",
            users, "--first-user", first_user, "--concurrency", 200, "--rate", rate, "--log", self.path, "--run", name,
            *(["--retry", "--retry-for", 120000] if retry else ["--no-wait"]), background=True)

    def finish(self):
        """Returns the counts of bench. For contradictory or lost answers, bench exits with 4."""
        out, err = self.process.communicate(timeout=400 * PATIENCE)
        self.test.assertEqual(self.process.returncode, 0, f"{out} {err}")
        with open(self.path, encoding="utf-8") as own, open(self.test.answers, "a", encoding="utf-8") as everything:
            everything.write(own.read())
        return json.loads(out.splitlines()[-1])


class Refusals:
    """Single calls, one after the other; records the answer to each and its time."""

    def __init__(self, test, outage):
        self.test, self.outage, self.seconds, self.tells = test, outage, [], Counter()

    def call(self, server, *arguments):
        """Makes a call that must be refused before its deadline, as the contract requires when a backend is down."""
        began = time.monotonic()
        code, out, err = self.test.ctl_raw(server, "--timeout", DEADLINE_MS, *arguments)
        self.seconds.append(time.monotonic() - began)
        error = json.loads(out.splitlines()[-1]).get("error") if out else None
        self.test.assertTrue(error, f"{arguments} was not refused: {code} {out} {err}")
        self.test.assertEqual((error["code"], error.get("reason"), error.get("metadata", {}).get("backend")),
                              ("UNAVAILABLE", "BACKEND_UNAVAILABLE", "postgres"), error)
        self.test.assertGreater(error.get("retry_after_ms", 0), 0, f"no RetryInfo: {error}")
        self.tells[arguments[0]] += 1

    def tell(self):
        ordered = sorted(self.seconds)
        figure(self.outage, "calls refused, each with RetryInfo", f"{len(ordered)} {dict(self.tells)}")
        figure(self.outage, "time to refusal, p50 and maximum (including couponctl's start)",
               f"{1000 * ordered[len(ordered) // 2]:.0f} ms, {1000 * ordered[-1]:.0f} ms")


class Outage(CrowdScenario):
    """A scenario on private servers, which all the tests of a run share, one after the other."""
    backends = None

    @classmethod
    def setUpClass(cls):
        if Outage.backends is None:
            Outage.backends = Servers()
            Outage.backends.up()
            Outage.backends.use()

    @classmethod
    def put_away(cls):
        if Outage.backends is not None:
            Outage.backends.down()
            Outage.backends = None

    def restarted(self, name):
        """Restarts the server after the test if the test left it down."""
        def again():
            try:
                self.backends.pid(name)
            except AssertionError:
                self.backends.start(name)
        self.addCleanup(again)

    def accepted(self, coupon):
        return int(self.sql(f"select coalesce(sum(accepted), 0) from admission where coupon_id = {coupon}")[0][0])

    def unsent(self):
        return int(self.sql("""select coalesce(sum(h.last_id - c.last_id), 0)
                               from outbox_head h join relay_cursor c using (stream, lane)""")[0][0])

    def lanes(self, server):
        return server.metric("couponsd_relay_lanes")

    def owner_and_other(self, servers):
        wait_until(lambda: sum(map(self.lanes, servers)) == LANES, what="every lane has a relay")
        return sorted(servers, key=self.lanes, reverse=True)

    def seconds_until(self, condition, seconds, what, every=0.02):
        began = time.monotonic()
        wait_until(condition, seconds, every, what)
        return time.monotonic() - began

    def assert_nothing_lost(self, coupon, ordered=True):
        """Checks that the tickets are 1 to k without gaps; that each was issued once, to the user to whom it was
        promised; that they include every ticket that a client was told; and that both topics have all of them, in order
        apart from repeats."""
        count = self.accepted(coupon)
        self.wait_for_issued(coupon, count, 60)
        self.assert_issued_exactly(coupon, count)
        self.assert_all_told_are_issued(coupon)
        ranges = self.sql(f"""select coalesce(sum(last_ticket - first_ticket + 1), 0) from issued
                              where coupon_id = {coupon}""")
        self.assertEqual(ranges, [[str(count)]], "no ticket was issued twice")
        self.assertEqual(self.sql("select count(*) from dead_letter"), [["0"]])
        self.assertEqual(self.sql("select count(*) from rejection"), [["0"]])
        wait_until(lambda: self.unsent() == 0, 30, what="all is sent")
        for name in (REQUESTED, PUBLISHED):
            tickets = [message["ticket"] for message in self.topic(name).messages() if message["coupon"] == coupon]
            first_seen = list(dict.fromkeys(tickets))
            self.assertEqual(sorted(first_seen), list(range(1, count + 1)), f"{name} has each ticket")
            if ordered:
                self.assertEqual(first_seen, sorted(first_seen), f"{name} is in order, apart from repeats")
        return count


def alive(server):
    return server.process.poll() is None


def assert_quiet(test, servers):
    """Asserts that no invariant was broken, no message was lost, and no process ended."""
    for server in servers:
        test.assertTrue(alive(server), server.log.name)
        test.assertEqual(server.metric("couponsd_reconcile_violations_total"), 0, server.log.name)
        test.assertFalse(re.search("level=error", server.text()), server.log.name)


def couponsd_with(**environment):
    """Returns a command for Scenario.start that libfaketime can be loaded into."""
    return ["env", *(f"{name}={value}" for name, value in environment.items()), f"{BUILD}/couponsd_libc_malloc"]
