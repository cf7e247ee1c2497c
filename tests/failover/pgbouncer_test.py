# SPDX-License-Identifier: Apache-2.0
"""PgBouncer in front of Postgres. couponsd works in session mode and refuses to start in the other modes."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from tests.failover.pgbouncer import PgBouncer
from tests.harness import wait_until
from tests.harness.processes import end
from tests.scenario.postgres_test import Postgres


class Pooled(Postgres):
    def pooler(self, mode, **settings):
        """Starts a PgBouncer. Returns it and the URL of the database through it."""
        pooler = PgBouncer(re.search(r"@([^/]+)/", self.own_url).group(1), mode, **settings)
        self.addCleanup(pooler.remove)
        return pooler, re.sub(r"@[^/]+/", f"@127.0.0.1:{pooler.port}/", self.own_url)

    def issued(self, coupon):
        return int(self.rows(f"select count(*) from user_coupon where coupon_id = {coupon}")[0][0])

    def test_in_session_mode_it_serves_and_outlives_the_pooler_and_its_sessions(self):
        pooler, url = self.pooler("session", default_pool_size=60)
        servers = [self.start(postgres__url=url), self.start(postgres__url=url)]
        coupon = self.create(servers[0], 10**6)
        for first, disturb in ((1, None), (2000, self.end_sessions), (4000, lambda: (pooler.kill(), pooler.start()))):
            with self.subTest(first):
                load = self.ctl_raw(servers, "bench", "--coupon", coupon, "--users", 1000, "--first-user", first,
                                    "--concurrency", 50, "--rate", 1000, "--retry", "--retry-for", 60000,
                                    background=True)
                if disturb:
                    before = self.issued(coupon)
                    wait_until(lambda: self.issued(coupon) > before + 100, what="load")
                    disturb()
                    self.assert_well_soon(servers[0], coupon, 10**6 + first)
                out, err = load.communicate(timeout=300)
                self.assertEqual(load.returncode, 0, out + err)
        accepted = int(self.rows(f"select accepted from admission where coupon_id = {coupon}")[0][0])
        self.assertGreater(accepted, 3000)
        wait_until(lambda: self.issued(coupon) == accepted, what="all are issued")
        self.assertEqual(self.rows(f"""select min(ticket), max(ticket), count(distinct ticket), count(distinct user_id)
                                       from user_coupon where coupon_id = {coupon}"""),
                         [["1", str(accepted), str(accepted), str(accepted)]])
        self.assertEqual(self.rows("select count(*) from dead_letter"), [["0"]])

    def assert_refused(self, url):
        err = self.assert_refused_start("event=start.failed", "backend=postgres", "pool_mode=session",
                                        postgres__url=url, server__startup_wait_ms=30000)
        self.assertNotIn("start.waiting", err)
        self.assertEqual(self.rows("select count(*) from pg_tables where schemaname = 'public'"), [["0"]])

    def test_other_modes_are_refused_with_the_reason(self):
        for mode in ("transaction", "statement"):
            for settings in ({}, {"server_round_robin": 1}, {"default_pool_size": 1}, {"processes": 4}):
                with self.subTest(mode, **settings):
                    self.assert_refused(self.pooler(mode, **settings)[1])

    def test_transaction_mode_is_refused_while_others_use_the_pool(self):
        for settings in ({}, {"server_round_robin": 1}):
            with self.subTest(**settings):
                _, url = self.pooler("transaction", **settings)
                with open(f"{tempfile.mkdtemp()}/script", "w", encoding="ascii") as script:
                    script.write("begin;\nselect 1;\ncommit;\n")
                self.addCleanup(shutil.rmtree, os.path.dirname(script.name))
                others = subprocess.Popen(
                    ["pgbench", "-n", "-f", script.name, "-c", "8", "-T", "60", "-M", "simple", url],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.addCleanup(end, others)
                wait_until(lambda: self.rows("select count(*) > 2 from pg_stat_activity where query ~ 'commit'")
                           == [["t"]], what="others use the pool")
                self.assert_refused(url)


if __name__ == "__main__":
    unittest.main()
