# SPDX-License-Identifier: Apache-2.0
"""The database alone guarantees that no user gets a coupon twice and that no more coupons are issued than exist, no
matter what a program writes. The tests write by SQL, with couponsd's own role."""

import os
import subprocess
import unittest

from tests.harness import ROOT, Scenario, wait_until

MIGRATIONS = os.path.join(ROOT, "src", "store", "migrations")
OTHER = 1  # a coupon id that no test uses


class Integrity(Scenario):
    def setUp(self):
        super().setUp()
        self.server = self.start(reconcile__stale_ms=86400000)
        self.coupon = self.create(self.server, 5)

    def try_sql(self, *statements):
        """Runs the statements in one transaction. Returns Postgres' error, or "" on success."""
        command = ["psql", self.postgres_url, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-1"]
        for statement in statements:
            command += ["-c", statement.format(c=self.coupon)]
        done = subprocess.run(command, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stderr

    def assert_done(self, *statements):
        self.assertEqual(self.try_sql(*statements), "", statements)

    def assert_refused(self, expected, *statements):
        said = self.try_sql(*statements)
        self.assertIn(expected, said, statements)

    @staticmethod
    def ledger(user, ticket):
        return f"insert into publish_request values ({{c}}, {user}, {ticket}, 'by hand', now())"

    @staticmethod
    def issued(first, last):
        return f"insert into issued values ({{c}}, {first}, {last}, now())"

    @staticmethod
    def rejected(ticket):
        return f"insert into rejection values ({{c}}, {ticket}, 1, now())"

    def test_the_role_is_the_one_that_couponsd_has(self):
        owner = self.sql("select tableowner from pg_tables where tablename = 'publish_request' "
                         f"and schemaname = '{self.schema}'")
        self.assertEqual(owner, self.sql("select current_user"))

    def test_no_more_are_promised_than_there_are(self):
        self.assert_done(*[self.ledger(user, user) for user in range(1, 6)])
        self.assert_refused("there is no ticket 6 of coupon", self.ledger(6, 6))
        self.assert_refused("there is no ticket 6 of coupon",
                            "insert into publish_request select {c}, 100 + n, n, 'r', now()"
                            " from generate_series(6, 6) n")
        self.assert_refused("there is no ticket", f"insert into publish_request values ({OTHER}, 1, 1, 'r', now())")
        one, other = self.create(self.server, 4), self.create(self.server, 2)
        several = f"insert into publish_request values ({one}, 9, 4, 'r', now()), ({other}, 9, %d, 'r', now())"
        self.assert_refused(f"there is no ticket 3 of coupon {other}", several % 3)
        self.assert_done(several % 2)
        self.assert_refused("publish_request_ticket_check", self.ledger(6, 0))
        self.assert_refused("publish_request_ticket_check", self.ledger(6, -1))
        self.assert_refused("admission_check", "update admission set accepted = 6 where coupon_id = {c}")
        self.assert_refused("never fall", "update admission set accepted = -1 where coupon_id = {c}")
        self.assert_refused("admission_check",
                            f"insert into coupon select {OTHER}, name, quantity, status, frozen, 0, null, null, 1, now()"
                            f" from coupon where id = {{c}}; insert into admission values ({OTHER}, 5, -1)")

    def test_a_user_is_in_the_ledger_once_and_so_is_a_ticket(self):
        self.assert_done(self.ledger(1, 1))
        self.assert_refused("publish_request_pkey", self.ledger(1, 2))
        self.assert_refused("publish_request_coupon_id_ticket_key", self.ledger(2, 1))
        self.assert_refused("publish_request_pkey", self.ledger(2, 2), self.ledger(2, 3))

    def test_the_ledger_and_what_is_issued_are_only_added_to(self):
        self.assert_done(self.ledger(1, 1), self.ledger(2, 2), self.issued(1, 1), self.rejected(2))
        for table in ("publish_request", "issued", "rejection"):
            self.assert_refused(f"{table} is only added to", f"delete from {table}")
            self.assert_refused(f"{table} is only added to", f"truncate {table}")
            self.assert_refused(f"{table} is only added to", f"update {table} set coupon_id = coupon_id")
        self.assert_refused("publish_request is only added to",
                            self.ledger(1, 1) + " on conflict (user_id, coupon_id) do update set ticket = 5")
        self.assert_refused("is only added to", "delete from admission where coupon_id = {c}")
        self.assert_refused("is only added to", "delete from issuance where coupon_id = {c}")
        self.assert_refused("violates foreign key", "delete from coupon where id = {c}")

    def test_quantity_and_counters_never_fall_and_are_the_same_everywhere(self):
        self.assert_done("update admission set accepted = 3 where coupon_id = {c}",
                         "update issuance set issued = 2, rejected = 1, highest = 3 where coupon_id = {c}")
        for table, change in (("admission", "accepted = 2"), ("admission", "quantity = 4"), ("issuance", "issued = 1"),
                              ("issuance", "rejected = 0"), ("issuance", "highest = 2"), ("issuance", "quantity = 4"),
                              ("admission", "coupon_id = 1")):
            self.assert_refused("never fall", f"update {table} set {change} where coupon_id = {{c}}")
        self.assert_refused("issuance_check", "update issuance set issued = 6 where coupon_id = {c}")
        for table, key in (("admission", "coupon_id"), ("issuance", "coupon_id"), ("coupon", "id")):
            self.assert_refused("violates foreign key", f"update {table} set quantity = 9 where {key} = {{c}}")
        self.assertEqual(self.ctl(self.server, "add", self.coupon, 4)[0]["quantity"], 9)

    def test_a_ticket_is_issued_once_if_the_ledger_has_it(self):
        self.assert_done(*[self.ledger(user, user) for user in range(1, 5)], self.issued(2, 3))
        for first, last in ((2, 3), (2, 2), (3, 3), (1, 2), (3, 4), (1, 4), (1, 3), (2, 4)):
            said = self.try_sql(self.issued(first, last))
            self.assertTrue("not all in the ledger and undecided" in said or "issued_pkey" in said, (first, last, said))
        self.assert_refused("not all in the ledger", self.issued(4, 5))
        self.assert_refused("not all in the ledger", self.issued(5, 5))
        self.assert_refused("not all in the ledger", self.issued(4, 1000))
        self.assert_refused("issued_check", self.issued(4, 3))
        self.assert_refused("issued_first_ticket_check", self.issued(0, 1))
        self.assert_refused("not all in the ledger", f"insert into issued values ({OTHER}, 1, 1, now())")
        self.assert_refused("not all in the ledger",
                            "insert into issued values ({c}, 1, 1, now()), ({c}, 4, 4, now()), ({c}, 3, 3, now())")
        self.assert_done("insert into issued values ({c}, 1, 1, now()), ({c}, 4, 4, now())")
        self.assertEqual(self.sql(f"select count(*) from user_coupon where coupon_id = {self.coupon}"), [["4"]])

    def test_a_ticket_is_issued_or_rejected_and_not_both(self):
        self.assert_done(*[self.ledger(user, user) for user in range(1, 6)], self.issued(1, 2), self.rejected(4))
        for first, last in ((4, 4), (3, 5), (3, 4), (4, 5)):
            self.assert_refused("not all in the ledger and undecided", self.issued(first, last))
        for ticket in (1, 2):
            self.assert_refused("is not in the ledger, or was issued", self.rejected(ticket))
        self.assert_refused("rejection_pkey", self.rejected(4))
        self.assert_refused("is not in the ledger, or was issued", self.rejected(6))
        self.assert_done(self.issued(3, 3), self.rejected(5))

    def test_the_guards_move_the_counters_in_whatever_order_rows_come(self):
        counters = ("select accepted, issued, rejected, highest from admission join issuance using (coupon_id)"
                    f" where coupon_id = {self.coupon}")
        self.assert_done(self.ledger(3, 3))
        self.assertEqual(self.sql(counters), [["3", "0", "0", "0"]])
        self.assert_done(self.ledger(1, 1), self.ledger(2, 2), self.ledger(5, 5), self.ledger(4, 4))
        self.assertEqual(self.sql(counters), [["5", "0", "0", "0"]])
        self.assert_done(self.issued(2, 3))
        self.assertEqual(self.sql(counters), [["5", "2", "0", "3"]])
        self.assert_done(self.rejected(5))
        self.assertEqual(self.sql(counters), [["5", "2", "1", "5"]])
        self.assert_refused("not all in the ledger and undecided", self.issued(5, 5))
        self.assert_done("insert into issued values ({c}, 1, 1, now()), ({c}, 4, 4, now())")
        self.assertEqual(self.sql(counters), [["5", "4", "1", "5"]])
        self.assert_refused("not in the ledger", self.rejected(1))
        self.assertEqual(self.sql(counters), [["5", "4", "1", "5"]])

    def test_a_coupon_without_counters_issues_nothing(self):
        coupon = [f"insert into coupon select {OTHER}, name, quantity, status, frozen, 0, null, null, 1, now()"
                  " from coupon where id = {c}", f"insert into admission values ({OTHER}, 5, 0)",
                  f"insert into publish_request values ({OTHER}, 1, 1, 'r', now())"]
        self.assert_refused("has no counters", *coupon, f"insert into issued values ({OTHER}, 1, 1, now())")
        self.assert_refused("has no counters", *coupon, f"insert into rejection values ({OTHER}, 1, 1, now())")

    def test_what_people_hold_is_not_written_but_follows(self):
        self.assert_done(self.ledger(1, 1), self.issued(1, 1))
        for statement in ("insert into user_coupon values ({c}, 2, 2, now())", "delete from user_coupon",
                          "update user_coupon set user_id = 2"):
            self.assert_refused("user_coupon", statement)

    def test_of_two_transactions_at_a_time_one_issues(self):
        self.assert_done(*[self.ledger(user, user) for user in range(1, 6)])
        psql = ["psql", self.postgres_url, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"]
        first, second = (subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          text=True) for _ in range(2))
        first.stdin.write(f"begin; {self.issued(1, 3).format(c=self.coupon)}; select 'written';\n")
        first.stdin.flush()
        self.assertEqual(first.stdout.readline(), "written\n")
        second.stdin.write(f"{self.issued(2, 4).format(c=self.coupon)};\n")
        second.stdin.flush()
        waiting = ("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                   f" and query like '%{self.coupon}, 2, 4%'")
        wait_until(lambda: self.sql(waiting) == [["1"]], what="the second session waits for the first")
        first.communicate("commit;\n")
        _, said = second.communicate()
        self.assertIn("not all in the ledger and undecided", said)
        self.assertEqual((first.returncode, second.returncode), (0, 3))
        self.assertEqual(self.sql(f"select count(*) from user_coupon where coupon_id = {self.coupon}"), [["3"]])

    def test_a_database_of_before_with_coupons_in_it_is_migrated(self):
        self.assertEqual(self.server.stop(), 0)
        self.sql(f"drop schema {self.schema} cascade; create schema {self.schema}", schema="public")
        self.sql("create table schema_migration (version integer primary key, name text not null,"
                 " apply_time timestamptz not null default now())")
        files = sorted(name for name in os.listdir(MIGRATIONS) if name < "0006")
        for name in files:
            with open(os.path.join(MIGRATIONS, name)) as file:
                self.sql(file.read())
            self.sql(f"insert into schema_migration values ({int(name[:4])}, '{name[5:-4]}')")
        self.sql(f"""
            insert into coupon (id, name, quantity, status, discount_rate, create_time)
                values ({self.coupon}, 'old', 9, 1, 0, now());
            insert into admission values ({self.coupon}, 9, 4);
            insert into issuance values ({self.coupon}, 9, 3, 1, 4);
            insert into publish_request select {self.coupon}, n, n, 'r', now() from generate_series(1, 4) n;
            insert into issued values ({self.coupon}, 1, 2, now()), ({self.coupon}, 4, 4, now());
            insert into rejection values ({self.coupon}, 3, 5, now());
            insert into dead_letter (topic, partition, message_offset, value, reason, create_time)
                values ('t', 0, 7, 'garbage', 'as it was', now())""")
        server = self.start()
        self.ctl(server, "request", self.coupon, 5)
        self.wait_for_issued(self.coupon, 4)
        self.ctl(server, "verify", self.coupon, "--no-topics")
        letter = self.ctl(server, "dead-letters")[0]
        self.assertEqual((letter["reason"], letter["offset"], letter["value_size"]), ("as it was", 7, 7))

    def test_couponsd_goes_on_beside_all_that(self):
        self.assert_refused("there is no ticket", self.ledger(9, 6))
        for user in range(1, 6):
            self.ctl(self.server, "request", self.coupon, user)
        self.assertEqual(self.refusal(self.server, "request", self.coupon, 6)["reason"], "SOLD_OUT")
        self.wait_for_issued(self.coupon, 5)
        self.assert_issued_exactly(self.coupon, 5)


if __name__ == "__main__":
    unittest.main()
