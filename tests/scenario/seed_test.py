# SPDX-License-Identifier: Apache-2.0
"""The basic test, a crowd larger than the coupon, and the errors and reads around it."""

import time
import unittest

from tests.harness import Scenario, wait_until


class Seed(Scenario):
    def test_a_coupon_of_one_is_issued_and_its_flag_becomes_false(self):
        server = self.start()
        coupon = self.create(server, 1)
        self.redis("set", f"coupon:available:{coupon}", "true")
        status = self.ctl(server, "request", coupon, 42, "--request-id", "r")[0]
        self.assertEqual((status["state"], status["ticket"]), ("ACCEPTED", 1))
        deadline = time.monotonic() + 30
        while True:
            rows = self.sql(f"select user_id, ticket from user_coupon where coupon_id = {coupon}")
            if rows == [["42", "1"]] and self.redis("get", f"coupon:available:{coupon}") == "false":
                break
            self.assertLess(time.monotonic(), deadline, "not issued and completed within 30 s")
            time.sleep(0.5)

    def test_answers_are_binding_and_repeats_get_the_first_one(self):
        server = self.start()
        coupon = self.create(server, 2)
        first = self.ctl(server, "request", coupon, 7, "--request-id", "a")[0]
        self.ctl(server, "request", coupon, 8, "--request-id", "b")
        watched = self.ctl(server, "watch", coupon, 7)
        self.assertEqual(watched[-1]["state"], "ISSUED")
        again = self.ctl(server, "request", coupon, 7, "--request-id", "a")[0]
        self.assertEqual((again["ticket"], again["accept_time"], again["state"]),
                         (first["ticket"], first["accept_time"], "ISSUED"))
        other = self.refusal(server, "request", coupon, 7, "--request-id", "another")
        self.assertEqual((other["reason"], other["code"], other["metadata"]["ticket"]),
                         ("ALREADY_REQUESTED", "ALREADY_EXISTS", "1"))
        sold_out = self.refusal(server, "request", coupon, 9)
        self.assertEqual((sold_out["reason"], sold_out["code"]), ("SOLD_OUT", "FAILED_PRECONDITION"))
        self.assertEqual(sold_out["metadata"]["coupon_id"], str(coupon))

    def test_each_refusal_of_the_contract_has_its_code_and_details(self):
        server = self.start()
        closed, paused = self.create(server, 5), self.create(server, 5, "--paused")
        future = self.create(server, 5, "--open", "2999-01-01T00:00:00Z")
        expired = self.create(server, 5, "--open", "2001-01-01T00:00:00Z", "--expire", "2002-01-01T00:00:00Z")
        self.ctl(server, "close", closed)
        for coupon, reason in ((closed, "CLOSED"), (paused, "PAUSED"), (expired, "EXPIRED"), (future, "NOT_OPEN")):
            for _ in range(2):  # answered by Postgres first, then by the cache
                error = self.refusal(server, "request", coupon, 1)
                self.assertEqual((error["reason"], error["code"]), (reason, "FAILED_PRECONDITION"))
        self.assertTrue(error["metadata"]["open_time"].startswith("2999-01-01T00:00:00"))
        self.assertEqual(self.refusal(server, "request", self.next_id + 999, 1)["reason"], "COUPON_NOT_FOUND")
        self.assertEqual(self.refusal(server, "get", self.next_id + 999)["reason"], "COUPON_NOT_FOUND")
        self.assertEqual(self.refusal(server, "status", paused, 1)["reason"], "REQUEST_NOT_FOUND")
        self.assertEqual(self.refusal(server, "watch", paused, 1)["reason"], "REQUEST_NOT_FOUND")
        bad = self.refusal(server, "request", 0, -1, "--request-id", "x" * 200)
        self.assertEqual((bad["reason"], bad["code"]), ("INVALID_FIELD", "INVALID_ARGUMENT"))
        self.assertEqual({field["field"] for field in bad["fields"]}, {"coupon_id", "user_id", "request_id"})

    def test_pausing_resuming_topping_up_and_closing_change_what_is_answered(self):
        server = self.start()
        coupon = self.create(server, 1)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.refusal(server, "request", coupon, 2)["reason"], "SOLD_OUT")
        flag = f"coupon:available:{coupon}"
        wait_until(lambda: self.redis("get", flag) == "false", what="the flag is false")
        added = self.ctl(server, "add", coupon, 2, "--request-id", "more")[0]
        self.assertEqual((added["quantity"], added["available"]), (3, True))
        self.assertEqual(self.ctl(server, "add", coupon, 2, "--request-id", "more")[0]["quantity"], 3)
        self.assertEqual(self.redis("get", flag), "true")
        self.assertEqual(self.ctl(server, "request", coupon, 2)[0]["ticket"], 2)
        self.assertEqual(self.ctl(server, "pause", coupon)[0]["status"], "PAUSED")
        self.assertEqual(self.refusal(server, "request", coupon, 3)["reason"], "PAUSED")
        self.assertEqual(self.ctl(server, "resume", coupon)[0]["status"], "PUBLISHABLE")
        self.assertEqual(self.ctl(server, "request", coupon, 3)[0]["ticket"], 3)
        self.assertEqual(self.ctl(server, "close", coupon)[0]["status"], "CLOSED")
        self.assertEqual(self.refusal(server, "resume", coupon)["reason"], "CLOSED")
        self.assertEqual(self.refusal(server, "add", coupon, 1)["reason"], "CLOSED")
        self.ctl(server, "watch", coupon, 3)
        self.assert_issued_exactly(coupon, 3)

    def test_lists_are_paged_and_creating_twice_by_request_id_makes_one(self):
        server = self.start()
        one = self.ctl(server, "create", "--quantity", 3, "--name", "tea", "--request-id", "c1")[0]
        two = self.ctl(server, "create", "--quantity", 3, "--name", "tea", "--request-id", "c1")[0]
        self.assertEqual(one["id"], two["id"])
        reused = self.refusal(server, "create", "--quantity", 4, "--request-id", "c1")
        self.assertEqual(reused["reason"], "INVALID_FIELD")
        coupons = [self.create(server, 3) for _ in range(5)]
        self.assertEqual(self.refusal(server, "create", "--quantity", 1, "--id", coupons[0])["reason"], "COUPON_EXISTS")
        listed = [coupon["id"] for coupon in self.ctl(server, "list", "--page-size", 2)]
        self.assertEqual(listed, sorted([one["id"], *coupons]))
        for coupon in coupons:
            self.ctl(server, "request", coupon, 77)
            self.ctl(server, "watch", coupon, 77)
        held = self.ctl(server, "coupons", 77, "--page-size", 2)
        self.assertEqual([row["coupon_id"] for row in held], coupons)
        self.assertTrue(all(row["ticket"] == 1 and row["issue_time"] for row in held))


if __name__ == "__main__":
    unittest.main()
