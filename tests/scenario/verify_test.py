# SPDX-License-Identifier: Apache-2.0
"""couponctl verify finds the defects of a coupon, and none in a good one."""

import json
import unittest

from tests.harness import Scenario, wait_until

REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"
ALL = ["ledger", "users", "quantity", "counters", "issued", "rejected", "waiting", "dead letters", "outbox requested",
       "outbox published", "flag", "topic requested", "topic published"]


class Verify(Scenario):
    def coupon_of(self, server, issued, quantity=10):
        coupon = self.create(server, quantity)
        for user in range(1, issued + 1):
            self.ctl(server, "request", coupon, user)
        self.wait_for_issued(coupon, issued)
        return coupon

    def verify(self, server, coupon, *arguments, code=0):
        """Returns check → (result, detail)."""
        exit_code, out, err = self.ctl_raw(server, "verify", coupon, *arguments)
        checks = {each["check"]: (each["result"], each["detail"]) for each in map(json.loads, out.splitlines())}
        self.assertEqual(exit_code, code, f"{checks} {err}")
        return checks

    def wait_until_sent(self):
        waiting = "select sum(h.last_id - c.last_id) from outbox_head h join relay_cursor c using (stream, lane)"
        wait_until(lambda: self.sql(waiting) == [["0"]], what="the outbox is empty")

    def assert_wrong(self, server, coupon, *names, arguments=("--no-topics",)):
        """Asserts that exactly these checks fail."""
        checks = self.verify(server, coupon, *arguments, code=4)
        self.assertEqual({name for name, (result, _) in checks.items() if result != "OK"}, set(names), checks)
        return checks

    def by_hand(self, *statements):
        """Runs statements without the tables' triggers."""
        tables = ("publish_request", "issued", "rejection", "admission", "issuance")
        for table in tables:
            self.sql(f"alter table {table} disable trigger user")
        for statement in statements:
            self.sql(statement)
        for table in tables:
            self.sql(f"alter table {table} enable trigger user")

    def test_of_a_sound_coupon_all_holds_and_is_told_with_numbers(self):
        server = self.start()
        coupon, empty, sold_out = self.coupon_of(server, 5), self.create(server, 3), self.coupon_of(server, 3, 3)
        for each, issued in ((coupon, 5), (empty, 0), (sold_out, 3)):
            checks = self.verify(server, each)
            self.assertEqual(list(checks), ALL)
            self.assertEqual(checks["ledger"][1], f"{issued} tickets, the highest is {issued}")
        self.assertIn("all 3 tickets are there; read ", checks["topic published"][1])
        self.assertEqual(list(self.verify(server, coupon, "--no-topics")), ALL[:-2])
        self.assertIn("is false in Redis, and false by Postgres", checks["flag"][1])

    def test_a_migration_and_topics_of_their_own_are_followed(self):
        server = self.start(kafka__partitions=2)
        coupon = self.coupon_of(server, 3)
        self.ctl(server, "topics", "migrate", "--to", "v2", "--partitions", 5)
        self.ctl(server, "request", coupon, 4)
        self.wait_for_issued(coupon, 4)
        self.wait_until_sent()
        self.assertIn("of 2 partitions", self.verify(server, coupon)["topic requested"][1])
        wait_until(lambda: self.ctl_raw(server, "topics", "delete", "v1")[0] == 0, what="v1 is drained")
        checks = self.verify(server, coupon, code=1)
        self.assertEqual(checks["topic requested"][0], "SKIPPED")
        self.assertIn("3 of 4 tickets were not found, the first is 1: older versions of the topic are gone",
                      checks["topic requested"][1])
        other = self.start(kafka__topic_strategy="per_coupon", kafka__coupon_partitions=3)
        self.assertEqual(server.stop(), 0)
        coupon = self.coupon_of(other, 5)
        self.wait_until_sent()
        self.assertIn("of 4 partitions", self.verify(other, coupon)["topic requested"][1])

    def test_what_is_wrong_in_postgres_is_found(self):
        server = self.start(reconcile__interval_ms=3600000, reconcile__stale_ms=1000)
        cases = [
            ("delete from publish_request where coupon_id = {c} and ticket = 2", {"ledger", "counters", "issued"}),
            ("update publish_request set ticket = 7, accept_time = '2001-01-01' where coupon_id = {c} and ticket = 3",
             {"ledger", "issued", "waiting"}),
            ("update admission set accepted = 4 where coupon_id = {c}", {"counters"}),
            ("update issuance set issued = 2 where coupon_id = {c}", {"counters"}),
            ("delete from issued where coupon_id = {c} and first_ticket = 1;"
             " insert into issued values ({c}, 1, 2, now())", {"issued", "counters"}),
            ("insert into rejection values ({c}, 2, 1, now())", {"rejected", "counters"}),
            ("update publish_request set accept_time = now() - interval '1 hour' where coupon_id = {c};"
             " delete from issued where coupon_id = {c}; update issuance set issued = 0 where coupon_id = {c}",
             {"waiting"}),
            ("update coupon set frozen = true where id = {c}", {"waiting", "flag"}),
        ]
        for statement, names in cases:
            with self.subTest(statement):
                coupon = self.coupon_of(server, 3)
                self.by_hand(statement.format(c=coupon))
                self.assert_wrong(server, coupon, *names)

    def test_a_wrong_flag_is_found(self):
        server = self.start(reconcile__interval_ms=3600000)
        coupon = self.coupon_of(server, 3)
        self.redis("set", f"coupon:available:{coupon}", "false")
        self.assert_wrong(server, coupon, "flag")
        self.redis("del", f"coupon:available:{coupon}")
        self.assertIn("is missing in Redis", self.assert_wrong(server, coupon, "flag")["flag"][1])

    def test_events_that_kafka_never_got_are_found(self):
        server = self.start(reconcile__stale_ms=86400000)
        coupon = self.coupon_of(server, 3)
        self.wait_until_sent()
        self.sql(f"update admission set accepted = 5 where coupon_id = {coupon};"
                 f"insert into publish_request select {coupon}, n, n, 'r', now() from generate_series(4, 5) n;"
                 f"insert into issued values ({coupon}, 4, 4, now());"
                 f"update issuance set issued = 4, highest = 4 where coupon_id = {coupon}")
        checks = self.assert_wrong(server, coupon, "topic requested", "topic published", arguments=())
        self.assertIn("2 of 5 tickets were not found, the first is 4", checks["topic requested"][1])
        self.assertIn("1 of 4 tickets were not found, the first is 4", checks["topic published"][1])

    def test_what_waits_in_the_outbox_is_not_missed_in_the_topic(self):
        server = self.start(relay__run="false")
        coupon = self.create(server, 10)
        for user in (1, 2):
            self.ctl(server, "request", coupon, user)
        checks = self.verify(server, coupon)
        self.assertIn("2 events are not in Kafka yet", checks["outbox requested"][1])
        self.assertEqual(checks["topic requested"], ("OK", "no ticket has to be there"))

    def test_what_is_no_coupon_is_refused(self):
        server = self.start()
        self.assertEqual(self.refusal(server, "verify", self.next_id + 99)["reason"], "COUPON_NOT_FOUND")
        self.assertEqual(self.refusal(server, "verify", 0)["reason"], "INVALID_FIELD")
        self.assertEqual(self.ctl_raw(server, "verify")[0], 2)


if __name__ == "__main__":
    unittest.main()
