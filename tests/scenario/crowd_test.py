# SPDX-License-Identifier: Apache-2.0
"""Crowds on two servers at once. A kill -9 in the middle changes nothing."""

import unittest

from tests.harness import CrowdScenario, wait_until


class Crowd(CrowdScenario):
    def test_five_thousand_at_a_thousand_through_two_servers(self):
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 1000)
        result = self.ctl(servers, "bench", "--coupon", coupon, "--users", 5000, "--concurrency", 200, "--repeat", 10,
                          "--log", self.answers)[0]
        self.assert_issued_exactly(coupon, 1000)
        outcomes = {}
        for _, user, _, outcome, ticket in self.read_answers(self.answers):
            outcomes.setdefault(user, set()).add(("ticket", ticket) if ticket else outcome)
        self.assertEqual(len(outcomes), 5000)
        for user, answers in outcomes.items():
            self.assertEqual(len(answers), 1, f"user {user} was answered differently on repeating: {answers}")
        self.assertEqual(sum(1 for answers in outcomes.values() if answers == {"SOLD_OUT"}), 4000)
        self.assertEqual(set(result["answers"]) - {"ACCEPTED", "ISSUED", "SOLD_OUT"}, set())
        self.assert_all_told_are_issued(coupon)
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "false", what="the flag is false")
        owned = [server.metric("couponsd_relay_lanes") for server in servers]
        self.assertEqual(sum(owned), 16, f"each of the 8 lanes of both streams has one relay: {owned}")

    def test_kill_nine_in_the_middle_loses_nothing_and_issues_nothing_twice(self):
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 3000)
        # Slow enough for a kill in the middle of the run.
        bench = self.ctl_raw([server.grpc for server in servers], "bench", "--coupon", coupon, "--users", 8000,
                             "--concurrency", 100, "--rate", 2000, "--retry", "--log", self.answers, background=True)
        ledger = f"select count(*) from publish_request where coupon_id = {coupon}"
        for which, at_least in ((0, 300), (1, 1200), (0, 2000)):
            wait_until(lambda: int(self.sql(ledger)[0][0]) >= at_least, what=f"{at_least} accepted")
            servers[which].kill()
            servers[which] = self.start(grpc=servers[which].grpc)
        out, err = bench.communicate(timeout=300)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.wait_for_issued(coupon, 3000)
        self.assert_issued_exactly(coupon, 3000)
        self.assertEqual(len(self.told(coupon)), 3000)
        self.assert_all_told_are_issued(coupon)

    def test_one_server_killed_and_started_again_alone(self):
        server = self.start()
        coupon = self.create(server, 2000)
        bench = self.ctl_raw(server.grpc, "bench", "--coupon", coupon, "--users", 4000, "--concurrency", 100, "--rate",
                             2000, "--retry", "--log", self.answers, background=True)
        ledger = f"select count(*) from publish_request where coupon_id = {coupon}"
        wait_until(lambda: int(self.sql(ledger)[0][0]) >= 500, what="500 accepted")
        server.kill()
        self.start(grpc=server.grpc)
        out, err = bench.communicate(timeout=300)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.wait_for_issued(coupon, 2000)
        self.assert_issued_exactly(coupon, 2000)
        self.assert_all_told_are_issued(coupon)


if __name__ == "__main__":
    unittest.main()
