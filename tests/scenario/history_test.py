# SPDX-License-Identifier: Apache-2.0
"""What grows with the age of an installation, and must not slow it down or stop it: coupons that have ended, and the ids
of events."""

import unittest

from tests.harness import Scenario, wait_until

LIVE = "select count(*) from live_coupon"
OTHERS = 200  # as in flow/reconcile.c


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
        """The number of sweeps, and of coupons that they have looked at."""
        return [self.server.metric(f"couponsd_stage_batch_size_{what}", stage="reconcile") for what in ("count", "sum")]

    def looked_at(self, n):
        """Coupons in each of the next n sweeps, on average."""
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
        self.wait_for_flag(ended, "false")  # after a while

    def test_what_an_ended_coupon_gets_makes_it_live_again(self):
        coupon = self.create(self.server, 1)
        self.ctl(self.server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        self.wait_for_live(0)
        self.ctl(self.server, "add", coupon, 1)
        self.assertEqual(self.sql(LIVE), [["1"]])
        # Somebody has tampered with the list: the pass over all coupons finds it.
        self.sql("delete from live_coupon")
        self.wait_for_live(1)


if __name__ == "__main__":
    unittest.main()
