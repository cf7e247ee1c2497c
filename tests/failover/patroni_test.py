# SPDX-License-Identifier: Apache-2.0
"""Patroni promotes the synchronous standby under load, and then the old primary comes back. One couponsd reaches
Postgres by the hosts of both servers, another one by the address of a HAProxy, and a third one by a PgBouncer in front
of that HAProxy."""

import concurrent.futures
import contextlib
import os
import threading
import time
import unittest

from tests.failover.patroni import Patroni
from tests.failover.pgbouncer import PgBouncer
from tests.harness import PATIENCE, wait_until
from tests.harness.postgres import with_search_path
from tests.outage.outage import Load, Outage, Refusals, assert_quiet, figure, print_figures

WELL_S = 5  # the longest time from the promotion until couponsd issues again
RATE = 300 // PATIENCE


class Failover(Outage):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Patroni()
        cls.addClassCleanup(cls.cluster.stop)
        cls.addClassCleanup(os.environ.__setitem__, "POSTGRES_URL", os.environ["POSTGRES_URL"])
        os.environ["POSTGRES_URL"] = cls.url(cls.cluster.hosts()) + "?target_session_attrs=read-write"

    @staticmethod
    def url(hosts):
        return f"postgresql://couponsd@{hosts}/couponsd"

    def setUp(self):
        self.old, self.new = self.cluster.primary_and_standby()
        super().setUp()
        self.addCleanup(self.tell_logs)

    def tell_logs(self):
        if any(error for _, error in self._outcome.result.failures + self._outcome.result.errors):
            print(self.cluster.logs())

    @contextlib.contextmanager
    def never_a_primary(self):
        """Asserts that, while the block runs, the old primary answers as a standby or does not answer."""
        seen, is_over = [], threading.Event()

        def watch():
            while not is_over.wait(0.02):
                seen.append(self.old.is_standby())
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
        self.assertIn(True, seen)
        self.assertNotIn(False, seen)

    def assert_it_issues_again(self, server, coupon, first_user, promoted, how):
        """Asserts that a request is accepted and its coupon issued within WELL_S after the promotion."""
        users = iter(range(first_user, first_user + 10**5))

        def accepted():
            user = next(users)
            return user if self.ctl_raw(server, "--timeout", 1000, "request", coupon, user)[0] == 0 else None
        user = wait_until(accepted, 30, 0.02, "accepted again")
        seconds = time.monotonic() - promoted
        self.assertEqual(self.ctl(server, "watch", coupon, user)[-1]["state"], "ISSUED")
        issued = time.monotonic() - promoted
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, 0.02, "ready again")
        figure("failover", f"{how}: accepts and issues again after the promotion", f"{seconds:.1f} s, {issued:.1f} s")
        self.assertLess(issued, WELL_S * PATIENCE)

    def fail_over(self, lose, how):
        """Loses the old primary and later gets it back. The couponsd with the hosts has the old primary first."""
        pooler = PgBouncer(f"127.0.0.1:{self.cluster.proxy_port}", "session", default_pool_size=60)
        self.addCleanup(pooler.remove)
        hosts = f"127.0.0.1:{self.old.port},127.0.0.1:{self.new.port}"
        self.sql(f"alter role couponsd set search_path = {self.schema}")  # PgBouncer refuses options in a URL
        ways = {"hosts": with_search_path(self.url(hosts), self.schema),
                "HAProxy": with_search_path(self.url(f"127.0.0.1:{self.cluster.proxy_port}"), self.schema),
                "PgBouncer": self.url(f"127.0.0.1:{pooler.port}")}
        servers = [self.start(postgres__url=url) for url in ways.values()]
        coupon = self.create(servers[0], 10**6)
        load = Load(self, servers, coupon, 30 * RATE, RATE)
        wait_until(lambda: self.accepted(coupon) > RATE, what="load")
        self.addCleanup(self.old.reset)
        lose()
        lost = time.monotonic()
        refusals = Refusals(self, "failover")
        wait_until(lambda: servers[0].get("/readyz")[0] == 503, 10, what="it is not ready")
        refusals.call(servers[0], "request", coupon, 10**7)
        refusals.call(servers[1], "status", coupon, 1)
        wait_until(lambda: self.new.is_standby() is False, 60, 0.02, "the standby is promoted")
        promoted = time.monotonic()
        figure("failover", f"{how}: promoted after", f"{promoted - lost:.1f} s")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            checks = [pool.submit(self.assert_it_issues_again, server, coupon, 10**6 * i, promoted, f"{how}, by {way}")
                      for i, (server, way) in enumerate(zip(servers, ways), 1)]
            for check in checks:
                check.result()
        with self.never_a_primary():
            self.old.reset()
            self.assertEqual(self.cluster.primary_and_standby(), (self.new, self.old))
        result = load.finish()
        self.assertLessEqual(set(result["answers"]), {"ACCEPTED", "ISSUED"})
        self.assert_nothing_lost(coupon)
        assert_quiet(self, servers)

    def test_the_primary_is_killed_and_comes_back(self):
        self.fail_over(self.old.kill, "primary killed")

    def test_the_primary_is_silent_and_is_reset(self):
        self.fail_over(self.old.freeze, "primary silent")


def tearDownModule():
    print_figures()


if __name__ == "__main__":
    unittest.main()
