# SPDX-License-Identifier: Apache-2.0
"""Postgres as in production: temporarily read-only, not up yet, with a rotated password, or with unusual schemas,
encodings and defaults. Each test has its own database."""

import contextlib
import os
import re
import subprocess
import tempfile
import time
import unittest

from tests.harness import BUILD, PATIENCE, Scenario, wait_until
from tests.harness.couponsd import http_get
from tests.harness.environment import server as environment_server
from tests.harness.ports import free_address, free_port
from tests.harness.postgres import psql

WELL_S = 2  # the longest time until couponsd serves again once Postgres does


class Postgres(Scenario):
    """A scenario with its own database, which the role `couponsd` owns."""
    encoding = "UTF8"

    def setUp(self):
        super().setUp()
        shared = environment_server("POSTGRES_URL")
        self.superuser = re.sub(r"//[^@/]*@", "//postgres@", shared)
        self.database = f"db_{self.schema}"
        self.role = f"role_{self.schema}"
        self.own_url = re.sub(r"/[^/?]*(\?.*)?$", f"/{self.database}", shared)
        self.own_superuser = re.sub(r"//[^@/]*@", "//postgres@", self.own_url)
        self.settings["postgres.url"] = self.own_url
        self.addCleanup(self.drop)
        self.create_database()

    def drop(self):
        self.admin(f"drop database if exists {self.database} with (force)")
        self.admin(f"drop role if exists {self.role}")

    def create_database(self):
        self.admin(f"create database {self.database} owner couponsd encoding '{self.encoding}' locale 'C'"
                   " template template0")

    def admin(self, *statements):
        return psql(self.superuser, *statements)

    def rows(self, *statements):
        return psql(self.own_url, *statements)

    def end_sessions(self):
        self.admin(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self.database}'")

    def login(self, password=None):
        """Creates a role that may use the database. Returns the role's URL."""
        groups, phrase = (" in role with_password", f" password '{password}'") if password else ("", "")
        self.admin(f"create role {self.role} login{groups}{phrase}",
                   f"alter database {self.database} owner to {self.role}")
        self.addCleanup(self.admin, f"alter database {self.database} owner to couponsd")
        return self.url_of(password)

    def url_of(self, password=None):
        return re.sub(r"//[^@/]*@", f"//{self.role}{':' + password if password else ''}@", self.own_url)

    def assert_unavailable(self, server, *arguments):
        told = self.refusal(server, "--timeout", 5000, *arguments, code=3)
        self.assertEqual((told["code"], told["reason"], told["metadata"]),
                         ("UNAVAILABLE", "BACKEND_UNAVAILABLE", {"backend": "postgres"}))
        self.assertGreater(told["retry_after_ms"], 0)

    def assert_all_unavailable(self, server, coupon):
        for arguments in (("request", coupon, 10**6), ("status", coupon, 1), ("get", coupon), ("pause", coupon)):
            self.assert_unavailable(server, *arguments)
        self.assertEqual(server.get("/readyz")[0], 503)
        self.assertEqual(server.get("/healthz")[0], 200)

    def assert_well_soon(self, server, coupon, first_user=2 * 10**6):
        """Asserts that within WELL_S couponsd accepts requests and /readyz says so."""
        began, users = time.monotonic(), iter(range(first_user, first_user + 10**5))
        wait_until(lambda: self.ctl_raw(server, "request", coupon, next(users))[0] == 0, 10, 0.02, "accepted again")
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, 0.02, "ready again")
        self.assertLess(time.monotonic() - began, WELL_S * PATIENCE)

    def assert_it_serves(self, server, *request):
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1, *request)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        return coupon

    @contextlib.contextmanager
    def starting(self, **settings):
        """Starts a couponsd that must wait for Postgres, alive but not ready. At the end of the block, Postgres must
        work."""
        settings["http__listen"] = free_address()
        with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
                [f"{BUILD}/couponsd", *self.set_arguments(**settings)], stdout=subprocess.PIPE, stderr=log,
                text=True) as process:
            self.addCleanup(lambda: process.poll() is None and process.kill())

            def told():
                log.seek(0)
                return log.read()
            wait_until(lambda: "event=start.waiting" in told() or process.poll() is not None, what="it waits")
            self.assertIsNone(process.poll(), told())
            statuses = [http_get(settings["http__listen"], path)[0] for path in ("/healthz", "/readyz")]
            self.assertEqual(statuses, [200, 503])
            yield
            self.assertRegex(process.stdout.readline(), "^ready ", told())
            process.terminate()
            self.assertEqual(process.wait(60), 0)

    def assert_refused_start(self, *parts, **settings):
        settings.setdefault("server__startup_wait_ms", 1000)
        code, _, err = self.refused_start(*self.set_arguments(**settings))
        self.assertEqual(code, 3, err)
        lines = [line for line in err.splitlines() if "level=error" in line]
        self.assertEqual(len(lines), 1, err)
        for part in parts:
            self.assertIn(part, lines[0])
        return err


class ReadOnly(Postgres):
    def set_read_only(self):
        self.admin(f"alter database {self.database} set default_transaction_read_only = on")

    def set_writable(self):
        self.admin(f"alter database {self.database} reset default_transaction_read_only")
        self.end_sessions()

    def test_a_database_that_is_read_only_for_a_while_is_an_outage_and_no_more(self):
        server = self.start()
        coupon = self.assert_it_serves(server)
        self.set_read_only()
        self.end_sessions()
        wait_until(lambda: server.get("/readyz")[0] == 503, 5, what="it is not ready")
        for _ in range(3):
            self.assert_all_unavailable(server, coupon)
        self.assertIn("read-only", server.get("/readyz")[1])
        self.admin(f"alter database {self.database} reset default_transaction_read_only")
        self.assert_well_soon(server, coupon)
        self.assertEqual(self.ctl(server, "status", coupon, 1)[0]["state"], "ISSUED")
        self.assertEqual(server.metric("couponsd_rpc_total", code="INTERNAL"), 0)
        self.assertEqual(self.rows("select count(*) from dead_letter"), [["0"]])

    def test_a_database_that_is_read_only_at_the_start_is_waited_for(self):
        self.set_read_only()
        self.assert_refused_start("backend=postgres", "read-only")
        with self.starting():
            self.set_writable()


class Idle(Postgres):
    def test_sessions_that_end_while_nobody_calls_cost_no_call(self):
        server = self.start()
        coupon = self.assert_it_serves(server)
        self.create(server, 1)
        calls = (("request", coupon, 2, "--request-id", "b"), ("request", coupon, 1, "--request-id", "another"), ("status", coupon, 1),
                 ("coupons", 1), ("get", coupon), ("verify", coupon))
        before = [self.ctl_raw(server, *call)[0] for call in calls]
        self.end_sessions()
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, what="it is ready")
        self.assertEqual([self.ctl_raw(server, *call)[0] for call in calls], before)
        self.assertEqual(server.metric("couponsd_refused_total", reason="BACKEND_UNAVAILABLE"), 0)


class NotYet(Postgres):
    """Something is missing at the start and appears while couponsd waits."""

    def test_a_database_that_is_created_later(self):
        self.admin(f"drop database {self.database}")
        with self.starting():
            self.create_database()

    def test_a_schema_that_is_created_later(self):
        self.settings["postgres.url"] = f"{self.own_url}?options=-csearch_path%3Dlate"
        with self.starting():
            self.rows("create schema late")

    def test_a_role_that_is_created_later_and_a_password_that_is_set_later(self):
        with self.starting(postgres__url=self.url_of("right")):
            self.login("wrong")
            self.admin(f"alter role {self.role} password 'right'")

    def test_a_login_that_is_allowed_later(self):
        url = self.login("right")
        for closed, opened in ((f"alter role {self.role} nologin", f"alter role {self.role} login"),
                               (f"alter database {self.database} allow_connections false",
                                f"alter database {self.database} allow_connections true"),
                               (f"alter role {self.role} connection limit 0",
                                f"alter role {self.role} connection limit -1")):
            with self.subTest(closed):
                self.admin(closed)
                with self.starting(postgres__url=url):
                    self.admin(opened)

    def test_what_never_comes_ends_the_start_with_its_reason(self):
        url = self.own_url.replace(self.database, "no_such_database")
        self.assert_refused_start("no_such_database", postgres__url=url)


class Rotation(Postgres):
    def write(self, url):
        with open(f"{self.path}.new", "w", encoding="ascii") as file:
            file.write(url + "\n")
        os.rename(f"{self.path}.new", self.path)

    def setUp(self):
        super().setUp()
        handle, self.path = tempfile.mkstemp(dir=os.environ.get("TEST_DIR"))
        os.close(handle)
        self.addCleanup(os.unlink, self.path)
        self.settings["postgres.url"] = f"file:{self.path}"

    def test_a_password_that_is_rotated_is_read_again(self):
        self.write(self.login("first"))
        server = self.start()
        coupon = self.assert_it_serves(server)
        self.assertEqual(self.ctl(server, "status", coupon, 1)[0]["state"], "ISSUED")
        self.write(self.url_of("second"))  # the file changes before the role
        self.assertEqual(self.ctl(server, "status", coupon, 1)[0]["state"], "ISSUED", "sessions live on")
        self.admin(f"alter role {self.role} password 'second'")
        self.end_sessions()
        self.assert_well_soon(server, coupon)
        self.admin(f"alter role {self.role} password 'third'")  # the role changes before the file
        self.end_sessions()
        wait_until(lambda: server.get("/readyz")[0] == 503, 5, what="it is not ready")
        self.assert_all_unavailable(server, coupon)
        self.write(self.url_of("third"))
        self.assert_well_soon(server, coupon, 3 * 10**6)
        for secret in ("first", "second", "third"):
            self.assertNotIn(secret, server.text())

    def test_a_file_that_is_broken_or_gone_leaves_the_last_url_in_force(self):
        self.write(self.login("first"))
        server = self.start()
        coupon = self.assert_it_serves(server)
        for text in ("", "postgres://u:s3cret@x:y@h/d"):
            self.write(text)
            self.end_sessions()
            self.assert_well_soon(server, coupon, 10**6 * (4 + len(text)))
        os.rename(self.path, f"{self.path}.gone")
        self.end_sessions()
        self.assert_well_soon(server, coupon, 10**8)
        os.rename(f"{self.path}.gone", self.path)
        self.assertNotIn("s3cret", server.text())

    def test_a_file_with_the_old_password_at_the_start_is_read_again(self):
        self.login("new")
        self.write(self.url_of("old"))
        with self.starting():
            self.write(self.url_of("new"))


class Names(Postgres):
    def test_a_schema_whose_name_needs_quotes(self):
        for schema in ('Coupon-Prod', 'select', 'a"b', '쿠폰'):
            with self.subTest(schema):
                quoted = '"' + schema.replace('"', '""') + '"'
                self.rows(f"create schema {quoted}")
                path = "".join(f"%{byte:02X}" for byte in quoted.encode())
                self.settings["postgres.url"] = f"{self.own_url}?options=-csearch_path%3D{path}"
                self.settings["kafka.topic_prefix"] = f"{self.schema}.{len(self.servers)}."
                server = self.start(outbox__rotate_ms=100, reconcile__interval_ms=100)
                coupon = self.assert_it_serves(server)
                report = self.ctl(server, "verify", coupon)
                self.assertTrue(report)
                wait_until(lambda: server.metric("couponsd_outbox_rotations_total") > 0, what="the outbox rotates")
                self.assertEqual(self.rows(f"select count(*) from {quoted}.user_coupon"), [["1"]])
                self.assertNotIn("level=error", server.text())
                self.assertEqual(server.stop(), 0)

    def test_the_guards_hold_whatever_the_search_path_of_a_session(self):
        server = self.start()
        coupon = self.assert_it_serves(server)
        epoch = "select min(epoch) from public.outbox_head"
        before = int(self.rows(epoch)[0][0])
        self.rows("set search_path = ''", f"update public.coupon set name = 'by hand' where id = {coupon}")
        self.assertGreater(int(self.rows(epoch)[0][0]), before)
        for statement, rule in (
                (f"insert into public.publish_request values ({coupon}, 7, 11, 'x', now())", "there is no ticket 11"),
                (f"insert into public.issued values ({coupon}, 5, 5, now())", "are not all in the ledger"),
                (f"insert into public.rejection values ({coupon}, 5, 1, now())", "is not in the ledger")):
            with self.assertRaisesRegex(AssertionError, rule):
                self.rows("set search_path = ''", statement)
        self.rows("create schema other", "create table other.admission (coupon_id bigint, quantity bigint)",
                  f"insert into other.admission values ({coupon}, 1000)")
        with self.assertRaisesRegex(AssertionError, "there is no ticket 11"):
            self.rows("set search_path = other, public",
                      f"insert into public.publish_request values ({coupon}, 7, 11, 'x', now())")
        path = "select current_setting('search_path')"
        before, after = self.rows("begin", "set local search_path = other", path, "insert into public.publish_request"
                                  f" values ({coupon}, 7, 2, 'x', now())", path, "rollback")
        self.assertEqual((before, after), (["other"], ["other"]))

    def test_the_schema_may_be_renamed(self):
        self.rows("create schema before")
        self.settings["postgres.url"] = f"{self.own_url}?options=-csearch_path%3Dbefore"
        server = self.start()
        self.assert_it_serves(server)
        self.assertEqual(server.stop(), 0)
        self.rows("alter schema before rename to after")
        self.settings["postgres.url"] = f"{self.own_url}?options=-csearch_path%3Dafter"
        self.assert_it_serves(self.start())


class Defaults(Postgres):
    """Defaults of the role, the database and the environment that differ from those of Postgres."""

    def test_the_encoding_of_the_environment_has_no_effect(self):
        for encoding in ("EUC_KR", "LATIN1", "SQL_ASCII"):
            with self.subTest(encoding):
                os.environ["PGCLIENTENCODING"] = encoding
                try:
                    server = self.start()
                finally:
                    del os.environ["PGCLIENTENCODING"]
                request_id = f"쿠폰-é-🎟-{encoding}"
                coupon = self.assert_it_serves(server, "--request-id", request_id)
                stored = self.rows(f"select request_id from publish_request where coupon_id = {coupon}")
                self.assertEqual(stored, [[request_id]])
                self.assertEqual(self.ctl(server, "status", coupon, 1)[0]["request_id"], request_id)
                self.assertEqual(server.stop(), 0)

    def test_defaults_of_the_role_that_would_fail_transactions_have_no_effect(self):
        url = self.login()
        self.admin(*(f"alter role {self.role} in database {self.database} set {setting}" for setting in (
            "default_transaction_isolation = 'serializable'", "lock_timeout = 1",
            "idle_in_transaction_session_timeout = 1", "idle_session_timeout = 100", "exit_on_error = on",
            "synchronous_commit = off", "client_min_messages = error")))
        servers = [self.start(postgres__url=url) for _ in range(2)]
        coupon = self.create(servers[0], 3000)
        loads = [self.ctl_raw(server, "bench", "--coupon", coupon, "--users", 1500, "--first-user", 1 + 10**4 * which,
                              "--concurrency", 50, background=True) for which, server in enumerate(servers)]
        for load in loads:
            out, err = load.communicate(timeout=120 * PATIENCE)
            self.assertEqual(load.returncode, 0, out + err)
        issued = f"select count(*) from user_coupon where coupon_id = {coupon}"
        wait_until(lambda: psql(self.own_superuser, issued) == [["3000"]], what="all are issued")
        for server in servers:
            self.assertNotIn("stage.interrupted", server.text())

    def test_times_beyond_the_calendar_are_no_limits(self):
        server = self.start(gate__cache_ms=0)
        self.next_id += 1
        coupon = self.create(server, 10)
        user = 0
        for open_time, expire_time, answer in (
                ("-infinity", "infinity", None), ("-infinity", "294276-12-31", None),
                ("4713-01-01 BC", "infinity", None),
                (None, "infinity", None), ("infinity", None, "NOT_OPEN"), ("294276-12-31", "infinity", "NOT_OPEN"),
                (None, "-infinity", "EXPIRED")):
            values = ["null" if time is None else f"'{time}'" for time in (open_time, expire_time)]
            with self.subTest(f"{values}"):
                self.rows(f"update coupon set open_time = {values[0]}, expire_time = {values[1]},"
                          f" version = version + 1 where id = {coupon}")
                self.assertEqual(self.ctl(server, "get", coupon)[0]["id"], coupon)
                user += 1

                def told():
                    code, out, _ = self.ctl_raw(server, "request", coupon, user)
                    return code == 0 if answer is None else f'"{answer}"' in out
                wait_until(told, 5, what=f"{answer or 'accepted'}")


class LongTransaction(Postgres):
    def test_a_transaction_that_keeps_the_outbox_from_rotating_is_told_and_costs_no_requests(self):
        server = self.start(outbox__rotate_ms=300, reconcile__interval_ms=100)
        coupon = self.create(server, 10**6)
        users = iter(range(1, 10**6))

        def seconds_locked():
            self.ctl(server, "request", coupon, next(users))
            return sum(server.metric("couponsd_outbox_locked_seconds", stream=stream)
                       for stream in ("requested", "published"))

        def rotations():
            seconds_locked()
            return server.metric("couponsd_outbox_rotations_total")
        wait_until(lambda: rotations() > 2, what="the outbox rotates")
        dump = subprocess.Popen(  # as pg_dump does
            ["psql", self.own_url, "-X", "-q", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (dump.poll() is None and dump.kill(), dump.wait()))
        dump.stdin.write("begin isolation level repeatable read read only;\n" + "".join(
            f"lock table outbox_{stream}_{which} in access share mode;\n"
            for stream in ("requested", "published") for which in (0, 1)))
        dump.stdin.flush()
        wait_until(lambda: seconds_locked() >= 2, what="the metric tells")
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        dump.communicate("commit;\n", timeout=30)
        before = rotations()
        wait_until(lambda: seconds_locked() == 0 and rotations() > before, what="the outbox rotates again")


    def test_a_snapshot_that_somebody_holds_is_told(self):
        server = self.start(reconcile__interval_ms=100)
        coupon = self.create(server, 10**6)
        holder = subprocess.Popen(["psql", self.own_url, "-X", "-q", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (holder.poll() is None and holder.kill(), holder.communicate()))
        holder.stdin.write("begin isolation level repeatable read; select 1;\n\\echo held\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "held\n":
            pass
        self.rows("do $$ begin for i in 1 .. 1100 loop perform txid_current(); commit; end loop; end $$")
        wait_until(lambda: server.metric("couponsd_postgres_snapshot_seconds") >= 2, what="the metric tells")
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        holder.communicate("commit;\n", timeout=30)
        wait_until(lambda: server.metric("couponsd_postgres_snapshot_seconds") == 0, what="it is over")


class Encoding(Postgres):
    def refused(self):
        err = self.assert_refused_start("backend=postgres", self.encoding, "UTF8", server__startup_wait_ms=30000)
        self.assertNotIn("start.waiting", err)


class Privileges(Postgres):
    def test_a_privilege_or_a_table_that_is_missing_for_a_while_makes_no_dead_letters(self):
        server = self.start(postgres__url=self.login())
        coupon = self.create(server, 10)
        for user, (broken, mended) in enumerate((
                (f"revoke insert on issued from {self.role}", f"grant insert on issued to {self.role}"),
                ("alter table issued rename to issued_", "alter table issued_ rename to issued")), 1):
            with self.subTest(broken):
                psql(self.own_superuser, broken)
                self.ctl(server, "request", coupon, user)
                wait_until(lambda: re.search("event=stage.interrupted stage=issue", server.text()), what="issue waits")
                psql(self.own_superuser, mended)
                self.assertEqual(self.ctl(server, "watch", coupon, user)[-1]["state"], "ISSUED")
        self.assertEqual(psql(self.own_superuser, "select count(*) from dead_letter"), [["0"]])


class EucKr(Encoding):
    encoding = "EUC_KR"

    def test_a_database_that_can_not_store_every_text_is_refused_at_the_start(self):
        self.refused()


class Latin1(Encoding):
    encoding = "LATIN1"

    def test_a_database_that_can_not_store_every_text_is_refused_at_the_start(self):
        self.refused()


class Ascii(Encoding):
    encoding = "SQL_ASCII"

    def test_a_database_without_an_encoding_keeps_texts_as_they_are(self):
        server = self.start()
        coupon = self.assert_it_serves(server, "--request-id", "쿠폰🎟")
        self.assertEqual(self.ctl(server, "status", coupon, 1)[0]["request_id"], "쿠폰🎟")


class Hosts(Postgres):
    def test_a_host_that_is_down_is_passed_over(self):
        host, port = re.search(r"@([^:/]+):(\d+)/", self.own_url).groups()
        url = self.own_url.replace(f"{host}:{port}", f"127.0.0.1:{free_port()},{host}:{port}")
        self.assert_it_serves(self.start(postgres__url=url))


if __name__ == "__main__":
    unittest.main()
