# SPDX-License-Identifier: Apache-2.0
"""Data that grows with the age of an installation and must not slow it down or stop it: ended coupons, lists of users'
coupons, refused crowds, and event ids."""

import re
import time
import unittest

from tests.harness import Scenario, wait_until

LIVE = "select count(*) from live_coupon"
OTHERS = 200  # as in flow/upkeep/reconcile.c


class Ended(Scenario):
    def setUp(self):
        super().setUp()
        self.server = self.start(reconcile__interval_ms=100)

    def insert_ended(self, n):
        first, last = self.next_id + 1, self.next_id + n
        self.next_id = last
        self.sql(f"""
            begin;
            insert into coupon (id, name, quantity, status, discount_rate, create_time)
                select id, 'ended', 1, 3, 0, clock_timestamp() from generate_series({first}, {last}) id;
            insert into admission (coupon_id, quantity) select id, 1 from generate_series({first}, {last}) id;
            insert into issuance (coupon_id, quantity) select id, 1 from generate_series({first}, {last}) id;
            commit""")

    def wait_for_live(self, n):
        wait_until(lambda: self.sql(LIVE) == [[str(n)]], 60, what=f"{n} live coupons")

    def sweeps(self):
        """Returns the number of sweeps, and of coupons that they have checked."""
        return [self.server.metric(f"couponsd_stage_batch_size_{what}", stage="reconcile") for what in ("count", "sum")]

    def looked_at(self, n):
        """Returns the average number of coupons in each of the next n sweeps."""
        sweeps, coupons = self.sweeps()
        wait_until(lambda: self.sweeps()[0] >= sweeps + n, what=f"{n} sweeps")
        later_sweeps, later_coupons = self.sweeps()
        return (later_coupons - coupons) / (later_sweeps - sweeps)

    def wait_for_flag(self, coupon, value):
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == value, what=f"the flag is {value}")

    def test_a_sweep_costs_what_is_live_and_not_what_has_ended(self):
        live = self.create(self.server, 1)
        self.insert_ended(1200)
        ended = self.next_id
        self.wait_for_flag(ended, "false")
        self.wait_for_live(1)
        self.assertLessEqual(self.looked_at(10), OTHERS + 1)
        self.redis("del", f"coupon:available:{live}", f"coupon:available:{ended}")
        self.wait_for_flag(live, "true")
        self.wait_for_flag(ended, "false")  # the slow pass over all coupons restores it

    def test_what_an_ended_coupon_gets_makes_it_live_again(self):
        coupon = self.create(self.server, 1)
        self.ctl(self.server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        self.wait_for_live(0)
        self.ctl(self.server, "add", coupon, 1)
        self.assertEqual(self.sql(LIVE), [["1"]])
        # If someone tampers with the list, the pass over all coupons repairs it.
        self.sql("delete from live_coupon")
        self.wait_for_live(1)


class Lookups(Scenario):
    def waits(self, relation):
        """Returns a row if a session waits for a lock on the table or view."""
        return self.sql(f"select 1 from pg_locks where relation = '{self.schema}.{relation}'::regclass and not granted")

    def test_repeats_do_not_wait_behind_lists(self):
        server = self.start(postgres__statement_timeout_ms=60000)
        coupon = self.create(server, 10)
        first = self.ctl(server, "request", coupon, 1, "--request-id", "a")[0]
        self.wait_for_issued(coupon, 1)
        release = self.hold("alter view user_coupon set (security_barrier = true)")  # only lists read the view
        lists = [self.ctl_raw(server, "coupons", 1, background=True) for _ in range(3)]
        wait_until(lambda: self.waits("user_coupon"), what="a list waits")
        again = self.ctl(server, "request", coupon, 1, "--request-id", "a")[0]
        self.assertEqual((again["ticket"], again["state"]), (first["ticket"], "ISSUED"))
        self.assertTrue(self.waits("user_coupon"))
        release()
        for process in lists:
            out, err = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 0, err)
            self.assertIn(f'"coupon_id":{coupon}', re.sub(r'[ "]', "", out).replace("coupon_id", '"coupon_id"'))

    def test_users_without_a_ticket_who_watch_cost_one_query_together(self):
        timeout_s, users = 1, 20
        server = self.start(postgres__statement_timeout_ms=timeout_s * 1000)
        coupon = self.create(server, 1)
        release = self.hold("lock table coupon in access exclusive mode")  # each query takes until the time-out
        began = time.monotonic()
        watchers = [self.ctl_raw(server, "watch", coupon, user, background=True) for user in range(1, users + 1)]
        for process in watchers:
            out, _ = process.communicate(timeout=60)
            self.assertIn("BACKEND_UNAVAILABLE", out)
        self.assertLess(time.monotonic() - began, users * timeout_s / 2)
        release()
        self.assertEqual(self.refusal(server, "watch", coupon, 1)["reason"], "REQUEST_NOT_FOUND")


class Ids(Scenario):
    def test_a_lane_goes_on_behind_its_2_to_the_40th_event(self):
        self.start().stop()
        for table in ("outbox_head", "relay_cursor"):
            self.sql(f"update {table} set last_id = 2::bigint ^ 40 - 5")
        server = self.start()
        coupon = self.create(server, 300)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 300)
        self.assert_issued_exactly(coupon, 300)
        wait_until(lambda: self.sql("select max(last_id) from relay_cursor where stream = 1")
                   == [[str(2**40 - 5 + 300)]], what="the cursors have passed")
        self.assertEqual(server.metric("couponsd_relay_rewinds_total"), 0)


if __name__ == "__main__":
    unittest.main()
