# SPDX-License-Identifier: Apache-2.0
"""Stops and starts under load, again and again: clients see only OK and UNAVAILABLE, and nothing is lost."""

import re
import time
import unittest
from collections import Counter

from tests.harness import wait_until
from tests.harness.ports import free_address
from tests.harness.restart_client import Call, Client, RestartScenario

RESTARTS = 20
CALLS = 24  # concurrent calls
WATCHES = 20
ACCEPTED = 500  # requests that a server accepts before it is stopped
WATCH = re.compile(r'watch \d+ (\d+) (\S+) (-?\d+) ".*"')
HINT = ("UNAVAILABLE", "1000")


class Restart(RestartScenario):
    # With WAITING, the reconciler ignores the requests of hold(); with SEARCHING, it resends them.
    WAITING = {"reconcile__stale_ms": 86400000}
    SEARCHING = {"reconcile__stale_ms": 1000, "reconcile__interval_ms": 100}
    # After DRAIN_S the server would cancel the remaining calls. A faster stop shows that it has finished all of them.
    DRAIN_S = 10

    def hold(self, server):
        """Makes a coupon with accepted requests whose events were lost, so that watches on them stay open."""
        coupon = self.create(server, WATCHES)
        self.sql(f"""
            update admission set accepted = {WATCHES} where coupon_id = {coupon};
            insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)
            select {coupon}, n, n, 'held-' || n, now() from generate_series(1, {WATCHES}) n""")
        return coupon

    def wait_until_under_way(self, server, client, restart):
        wait_until(lambda: server.metric("couponsd_watched") == WATCHES, what="all watches are open")
        wait_until(lambda: client.lines("health").count("health SERVING") > restart, what="the health stream is open")
        wait_until(lambda: server.metric("couponsd_accepted_total") >= ACCEPTED, what=f"{ACCEPTED} accepted")

    def restart_often(self, address, coupon, held, server):
        """Restarts the server again and again. Returns the client, whose calls have all been answered, and the last
        server."""
        client = Client(address, coupon, CALLS, held, WATCHES)
        self.addCleanup(client.stop)
        for restart in range(RESTARTS):
            self.wait_until_under_way(server, client, restart)
            begun = time.monotonic()
            self.assertEqual(server.stop(), 0, server.log.name)
            self.assertLess(time.monotonic() - begun, self.DRAIN_S, server.log.name)
            self.assertIn("event=stop.done", server.text())
            server = self.start(grpc=address, server__drain_ms=self.DRAIN_S * 1000, **self.WAITING)
        self.wait_until_under_way(server, client, RESTARTS)
        self.assertEqual(client.stop(), 0)
        self.assertEqual(client.lines("left"), ["left 0"], "each call has a final answer")
        return client, server

    def assert_streams_end_with_a_hint(self, client):
        """Checks the streams that were open. Without a server to connect to, a stream's end has no RetryInfo."""
        watches = [WATCH.fullmatch(line).groups() for line in client.lines("watch")]
        self.assertEqual([watch for watch in watches if watch[0] != "0" and watch[1:] != HINT], [])
        self.assertGreaterEqual(sum(watch[1:] == HINT for watch in watches), RESTARTS * WATCHES)

    def assert_health_spoke_first(self, client):
        """All streams share a connection, so the client sees the server's actions in their order."""
        told = Counter()
        words = [line.split(" ")[1] for line in client.lines("health")]
        for before, word, after in zip(words, words[1:], words[2:]):
            told[before, word, after] += before == "SERVING"
        self.assertEqual(+told, {("SERVING", "NOT_SERVING", "end"): RESTARTS})
        health = None
        for line in client.lines("health", "watch"):
            kind, word, *_ = line.split(" ")
            if kind == "health":
                health = word
            else:
                self.assertNotEqual(health, "SERVING", f"before health said so: {line}")

    def test_twenty_restarts_at_load_lose_nothing_and_show_nothing_but_ok_and_unavailable(self):
        address = free_address()
        server = self.start(grpc=address, server__drain_ms=self.DRAIN_S * 1000, **self.WAITING)
        coupon, held = self.create(server, 10**9), self.hold(server)
        client, server = self.restart_often(address, coupon, held, server)
        calls = [Call(line) for line in client.lines("call")]
        self.assertGreater(len(calls), RESTARTS * ACCEPTED)
        accepted = self.assert_nobody_lost_a_ticket(coupon, calls)
        server.stop()
        self.start(**self.SEARCHING)
        self.wait_for_issued(coupon, accepted)
        self.wait_for_issued(held, WATCHES)
        self.assert_issued_exactly(coupon, accepted)
        self.assert_issued_exactly(held, WATCHES)
        with self.subTest("open streams end with UNAVAILABLE and RetryInfo"):
            self.assert_streams_end_with_a_hint(client)
        with self.subTest("health says NOT_SERVING before its stream ends"):
            self.assert_health_spoke_first(client)
        with self.subTest("clients see only OK and UNAVAILABLE"):
            tallies = [line for line in client.lines("tally") if not re.match(r"tally \w+ (OK|UNAVAILABLE) ", line)]
            self.assertEqual(tallies, [])


if __name__ == "__main__":
    unittest.main()
