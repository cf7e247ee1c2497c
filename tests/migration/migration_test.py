# SPDX-License-Identifier: Apache-2.0
"""Upgrades. One test upgrades the schema under load by a rolling restart, with couponsd processes of both versions side
by side, and then goes back to the older couponsd. The other one starts couponsd on the last release's database.

`released` names the last migration of the last release. released.sql is a database that the last release left in the
middle of its work. COUPONSD_RELEASED may name the couponsd of the last release; by default, the test uses the current
couponsd, which knows all present migrations and no future ones. couponsd_next stands for the next release: the current
couponsd with one more migration, which does what migrations may do (docs/how-to/migrations.md).
"""

import os
import re
import subprocess
import sys
import time
import unittest

from tests.harness import BUILD, PATIENCE, CrowdScenario, wait_until
from tests.harness.ports import free_address
from tests.harness.restart_client import Call, Client, RestartScenario

HERE = os.path.dirname(os.path.abspath(__file__))
OLD = [os.environ.get("COUPONSD_RELEASED", f"{BUILD}/couponsd")]
NEW = [f"{BUILD}/couponsd_next"]
NEXT = "9999"
CALLS = 8  # in flight per server
RATE = 300 // PATIENCE
BACKUP_S = 2


class Rolling(RestartScenario):
    def setUp(self):
        super().setUp()
        self.addresses = [free_address() for _ in range(2)]
        self.servers_now = [self.start(grpc=address, command=OLD) for address in self.addresses]
        self.figures = []

    def tearDown(self):
        super().tearDown()
        for what, value in self.figures:
            print(f"  {what}: {value}", file=sys.stderr)

    def version(self):
        return self.sql("select max(version) from schema_migration")[0][0]

    def replace(self, which, command):
        self.assertEqual(self.servers_now[which].stop(), 0)
        self.servers_now[which] = self.start(grpc=self.addresses[which], command=command)

    def backup(self):
        """Reads a table for a while, as pg_dump does. A change of the table has to wait for it."""
        process = subprocess.Popen(
            ["psql", self.postgres_url, "-X", "-q", "-c", "begin", "-c", "select count(*) from publish_request", "-c",
             f"select pg_sleep({BACKUP_S})", "-c", "commit"], stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        wait_until(lambda: self.sql("""select 1 from pg_locks where relation = 'publish_request'::regclass
                                       and mode = 'AccessShareLock'"""), what="the backup has its lock")

    def load_on(self, server, coupon, first_user, seconds):
        return self.ctl_raw(server, "bench", "--coupon", coupon, "--users", seconds * RATE, "--first-user", first_user,
                            "--rate", RATE, "--no-wait", "--log", f"{self.answers}.{first_user}", background=True)

    def finish(self, process, first_user):
        out, err = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual(process.returncode, 0, f"{out} {err}")
        latencies, outcomes = [], set()
        with open(f"{self.answers}.{first_user}", encoding="utf-8") as lines:
            for line in lines:
                *_, outcome, _, us = line.split()
                outcomes.add(outcome)
                latencies.append(int(us))
        os.unlink(f"{self.answers}.{first_user}")
        self.assertLessEqual(outcomes, {"ACCEPTED", "ISSUED"}, "the server that keeps running answers every request")
        return sorted(latencies)

    def migrate_beside(self, coupon):
        """Replaces the first server by a new one, which migrates, while a backup delays it and the other server
        serves."""
        load = self.load_on(self.servers_now[1], coupon, 10**6, BACKUP_S + 3)
        wait_until(lambda: self.sql("select count(*) from publish_request where user_id >= 1000000") != [["0"]],
                   what="load")
        self.backup()
        began = time.monotonic()
        self.replace(0, NEW)
        self.figures.append(("stop of the old server until the new one has migrated and serves, despite a backup",
                             f"{time.monotonic() - began:.2f} s"))
        latencies = self.finish(load, 10**6)
        self.figures.append(("answers of the other server meanwhile: p50, p99 and the slowest of "
                             f"{len(latencies)}", ", ".join(
                                 f"{latencies[int(share * (len(latencies) - 1))] / 1000:.1f} ms"
                                 for share in (0.5, 0.99, 1))))
        self.assertLess(latencies[-1], 1_000_000 * PATIENCE, "a migration does not block requests for long")

    def side_by_side(self, coupon):
        """Checks that each server can do everything, alone and together with the other one."""
        for number, server in enumerate(self.servers_now):
            own = self.create(server, 5)
            other = self.servers_now[1 - number]
            for user in (1, 2):
                self.assertEqual(self.ctl(self.servers_now[user % 2], "request", own, user)[0]["ticket"], user)
            self.assertEqual(self.ctl(other, "watch", own, 2)[-1]["state"], "ISSUED")
            self.ctl(other, "pause", own)
            self.assertEqual(self.refusal(server, "request", own, 3)["reason"], "PAUSED")
            self.ctl(server, "resume", own)
            self.assertEqual(self.ctl(other, "add", own, 5)[0]["quantity"], 10)
        before = self.issued(coupon)
        wait_until(lambda: self.issued(coupon) > before + 200, what="both issue")

    def issued(self, coupon):
        return int(self.sql(f"select issued from issuance where coupon_id = {coupon}")[0][0])

    def test_two_servers_are_upgraded_one_after_the_other_under_load_and_back_again(self):
        first, second = self.servers_now
        old_version = self.version()
        ended = self.create(first, 5000)
        self.ctl([first, second], "bench", "--coupon", ended, "--users", 6000, "--log", self.answers)
        coupons = [self.create(first, 10**9) for _ in self.addresses]
        quiet = self.create(first, 10**9)
        clients = [Client(address, coupon, CALLS, coupon, 0)
                   for address, coupon in zip(self.addresses, coupons)]
        for client in clients:
            self.addCleanup(client.stop)
        for coupon in coupons:
            wait_until(lambda: self.issued(coupon) > 200, what="load")
        self.migrate_beside(quiet)
        self.assertEqual(self.version(), NEXT)
        self.side_by_side(coupons[0])
        self.replace(1, OLD)  # the old couponsd can also start on the newer schema, as after a crash
        self.side_by_side(coupons[1])
        self.replace(1, NEW)
        self.side_by_side(coupons[0])
        for which in (0, 1):  # go back to the old couponsd on the newer schema
            self.replace(which, OLD)
        self.side_by_side(coupons[1])
        self.assertEqual((old_version != NEXT, self.version()), (True, NEXT), "the schema stays")
        for client in clients:
            self.assertEqual(client.stop(), 0)
            self.assertEqual(client.lines("left"), ["left 0"])
            strange = [line for line in client.lines("tally") if not re.match(r"tally \w+ (OK|UNAVAILABLE) ", line)]
            self.assertEqual(strange, [], "clients see only OK and UNAVAILABLE")
        for client, coupon in zip(clients, coupons):
            calls = [Call(line) for line in client.lines("call")]
            count = self.assert_nobody_lost_a_ticket(coupon, calls)
            self.wait_for_issued(coupon, count)
            self.assert_issued_exactly(coupon, count)
            self.figures.append(("accepted and issued by both versions", count))
        self.assert_issued_exactly(ended, 5000)
        self.assert_all_told_are_issued(ended)
        self.assertEqual(self.sql("select count(*) from dead_letter"), [["0"]])

    def test_a_migration_that_older_servers_do_not_stand_keeps_them_from_starting(self):
        self.replace(0, NEW)
        self.sql(f"update setting set value = '{NEXT}' where key = 'schema.oldest.{NEXT}'")
        code, _, err = self.refused_start(*self.set_arguments())
        self.assertEqual(code, 3, err)
        self.assertRegex(err, rf"schema is at version {NEXT}; this couponsd knows version \d+, but would have to know "
                              rf"{NEXT}")
        coupon = self.create(self.servers_now[1], 1)  # the setting does not stop a running server
        self.ctl(self.servers_now[1], "request", coupon, 1)


class Released(CrowdScenario):
    """In released.sql, coupon 1 of 400 tickets is half issued, coupon 2 of 50 is sold out and issued, and requests wait
    in the outbox."""

    def restore(self):
        with open(f"{HERE}/released.sql", encoding="utf-8") as dump:
            text = dump.read().replace("released.", f"{self.schema}.").replace(
                "CREATE SCHEMA released;", "")
        done = subprocess.run(["psql", os.environ["POSTGRES_URL"], "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1"],
                              input=text, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_its_database_is_upgraded_with_all_that_was_in_it(self):
        self.restore()
        with open(f"{HERE}/released", encoding="ascii") as file:
            released = file.read().strip()
        self.assertEqual(self.sql("""select lpad(version::text, 4, '0') || '_' || name from schema_migration
                                     order by version desc limit 1"""), [[released]])
        ledger = self.sql("select coupon_id, user_id, ticket, request_id, accept_time from publish_request"
                          " order by 1, 3")
        unsent = self.sql("""select sum(h.last_id - c.last_id) from outbox_head h join relay_cursor c
                             using (stream, lane) where h.stream = 0""")
        self.assertGreater(int(unsent[0][0]), 0)
        server = self.start()
        for coupon, quantity in ((1, 400), (2, 50)):
            accepted = sum(row[0] == str(coupon) for row in ledger)
            self.wait_for_issued(coupon, accepted)
            self.assert_issued_exactly(coupon, accepted)
            self.ctl(server, "bench", "--coupon", coupon, "--first-user", 10**6, "--users", quantity)
            self.assert_issued_exactly(coupon, quantity)
        kept = self.sql("select coupon_id, user_id, ticket, request_id, accept_time from publish_request"
                        " where user_id < 1000000 order by 1, 3")
        self.assertEqual(kept, ledger)
        _, user, ticket, request_id, _ = ledger[0]
        again = self.ctl(server, "request", 1, user, "--request-id", request_id)[0]
        self.assertEqual((again["ticket"], again["state"]), (int(ticket), "ISSUED"))


if __name__ == "__main__":
    unittest.main()
