# SPDX-License-Identifier: Apache-2.0
"""A private Postgres: with a standby that takes over, read-only for open sessions, and with messages in a language
other than English."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from tests.harness import PATIENCE, CrowdScenario, wait_until
from tests.harness.ports import free_port
from tests.harness.postgres import psql
from tests.harness.private_servers import Servers, run

WELL_S = 2  # the longest time until couponsd serves again once Postgres takes writes
LOCALE = "ko_KR.UTF-8"


class OwnPostgres(CrowdScenario):
    """A scenario with a Postgres that all tests of the class share. Redis and Kafka are shared with all scenarios."""
    environment = None  # of Postgres

    @classmethod
    def setUpClass(cls):
        cls.own = Servers()
        cls.addClassCleanup(shutil.rmtree, cls.own.dir, ignore_errors=True)
        cls.port = run("choose_ports", ":").strip()
        with open(f"{cls.own.dir}/postgres.port", "w", encoding="ascii") as file:
            file.write(f"{cls.port}\n")
        cls.own.start("postgres", cls.environment)
        cls.addClassCleanup(run, "stop", cls.own.dir, "postgres", "INT", "QUIT")
        cls.addClassCleanup(os.environ.__setitem__, "POSTGRES_URL", os.environ["POSTGRES_URL"])
        os.environ["POSTGRES_URL"] = cls.url("couponsd", cls.port)

    @staticmethod
    def url(user, ports, database="couponsd"):
        hosts = ",".join(f"127.0.0.1:{port}" for port in str(ports).split(","))
        return f"postgresql://{user}@{hosts}/{database}"

    def admin(self, *statements, port=None):
        return psql(self.url("postgres", port or self.port), *statements)

    def assert_unavailable(self, server, *arguments):
        told = self.refusal(server, "--timeout", 5000, *arguments, code=3)
        self.assertEqual((told["code"], told["reason"], told["metadata"]),
                         ("UNAVAILABLE", "BACKEND_UNAVAILABLE", {"backend": "postgres"}))

    def assert_well_soon(self, server, coupon):
        began, users = time.monotonic(), iter(range(10**7, 10**7 + 10**5))
        wait_until(lambda: self.ctl_raw(server, "request", coupon, next(users))[0] == 0, 10, 0.02, "accepted again")
        wait_until(lambda: server.get("/readyz")[0] == 200, 10, 0.02, "ready again")
        self.assertLess(time.monotonic() - began, WELL_S * PATIENCE)


class OpenSessions(OwnPostgres):
    def test_open_sessions_that_become_read_only_are_an_outage_and_no_more(self):
        server = self.start()
        coupon = self.create(server, 10**6)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        for user in (2, 3):  # twice, because the second time it affects other sessions
            self.admin("alter system set default_transaction_read_only = on", "select pg_reload_conf()")
            self.addCleanup(self.admin, "alter system reset default_transaction_read_only", "select pg_reload_conf()")
            wait_until(lambda: server.get("/readyz")[0] == 503, 5, what="it is not ready")
            self.assert_unavailable(server, "request", coupon, user)
            self.assert_unavailable(server, "pause", coupon)
            self.admin("alter system reset default_transaction_read_only", "select pg_reload_conf()")
            self.assert_well_soon(server, coupon)
        self.assertEqual(server.metric("couponsd_rpc_total", code="INTERNAL"), 0)
        self.assertEqual(self.sql("select count(*) from dead_letter"), [["0"]])


class Standby(OwnPostgres):
    def setUp(self):
        super().setUp()
        self.standby_port = free_port()
        self.standby = f"{self.own.dir}/{self.schema}"
        self.bin = os.environ.get("DEV_POSTGRES_BIN") or subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        self.copy_primary()
        self.start_standby()
        self.addCleanup(self.tool, "pg_ctl", "-D", self.standby, "-s", "-w", "-m", "immediate", "stop")

    def copy_primary(self):
        """Does what pg_basebackup does. The versions of Postgres that ./dev matrix fetches come without it."""
        primary = run("cluster", self.own.dir).strip()
        label = self.admin("select pg_backup_start('standby', true)", f"\\! cp -a '{primary}' '{self.standby}'",
                           "select labelfile from pg_backup_stop(false)")
        os.unlink(f"{self.standby}/postmaster.pid")
        files = {"backup_label": "\n".join("|".join(row) for row in label[1:]) + "\n", "standby.signal": "",
                 "postgresql.auto.conf": f"primary_conninfo = '{self.url('postgres', self.port, 'postgres')}'\n"}
        for name, content in files.items():
            with open(f"{self.standby}/{name}", "w", encoding="ascii") as file:
                file.write(content)
            if os.geteuid() == 0:
                shutil.chown(f"{self.standby}/{name}", "postgres", "postgres")

    def start_standby(self):
        self.tool("pg_ctl", "-D", self.standby, "-l", f"{self.standby}/log", "-s", "-w", "-t", "60", "-o",
                  f"-c port={self.standby_port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
                  " -c max_connections=300", "start")  # as many as the primary has

    def tool(self, name, *arguments):
        run("as_postgres", f"{self.bin}/{name}", *arguments)

    def test_the_host_that_takes_writes_is_found_again_after_a_failover_and_nothing_is_lost(self):
        self.admin("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        wait_until(lambda: self.admin("select sync_state from pg_stat_replication") == [["sync"]], what="it follows")
        url = f"{self.url('couponsd', f'{self.standby_port},{self.port}')}?options=-csearch_path%3D{self.schema}"
        server, other = self.start(postgres__url=url), self.start(postgres__url=url)
        coupon = self.create(server, 10**6)
        load = self.ctl_raw([server.grpc, other.grpc], "--timeout", 5000, "bench", "--coupon", coupon, "--users", 6000,
                            "--concurrency", 50, "--rate", 1000 // PATIENCE, "--log", self.answers, "--retry",
                            "--retry-for", 60000, background=True)
        wait_until(lambda: int(self.sql(f"select accepted from admission where coupon_id = {coupon}")[0][0]) > 500,
                   what="load")
        self.own.kill("postgres")
        wait_until(lambda: server.get("/readyz")[0] == 503, 10, what="it is not ready")
        self.assert_unavailable(server, "request", coupon, 10**6)
        self.assertEqual(psql(self.url("postgres", self.standby_port), "alter system reset synchronous_standby_names",
                              "select pg_reload_conf()", "select pg_promote(true, 30)")[-1], ["t"])
        self.assert_well_soon(server, coupon)
        out, err = load.communicate(timeout=300 * PATIENCE)
        self.assertEqual(load.returncode, 0, out + err)
        self.assertEqual(set(json.loads(out.splitlines()[-1])["answers"]) - {"ACCEPTED", "ISSUED"}, set())
        os.environ["POSTGRES_URL"] = self.url("couponsd", self.standby_port)
        accepted = int(self.sql(f"select accepted from admission where coupon_id = {coupon}")[0][0])
        self.wait_for_issued(coupon, accepted, 60)
        self.assert_issued_exactly(coupon, accepted)
        self.assert_all_told_are_issued(coupon)
        self.assertEqual(self.sql("select count(*) from dead_letter"), [["0"]])

    def test_a_commit_that_waits_for_the_standby_is_refused_in_time_and_has_one_effect(self):
        self.admin("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        self.addCleanup(self.admin, "alter system reset synchronous_standby_names", "select pg_reload_conf()")
        wait_until(lambda: self.admin("select sync_state from pg_stat_replication") == [["sync"]], what="it follows")
        server = self.start(admit__retry_ms=1000)
        coupon = self.create(server, 100)
        self.ctl(server, "request", coupon, 1)
        self.admin("select pg_wal_replay_pause()", port=self.standby_port)  # a pause does not block commits
        self.ctl(server, "request", coupon, 2)
        self.admin("select pg_wal_replay_resume()", port=self.standby_port)
        self.tool("pg_ctl", "-D", self.standby, "-s", "-w", "-m", "fast", "stop")
        for _ in range(3):
            began = time.monotonic()
            self.assert_unavailable(server, "request", coupon, 3, "--request-id", "three")
            self.assertLess(time.monotonic() - began, 5 * PATIENCE)
        self.assertLess(int(self.admin("select count(*) from pg_stat_activity where application_name = 'couponsd'")[0][0]),
                        40, "abandoned sessions do not pile up")
        self.start_standby()
        self.assert_well_soon(server, coupon)
        answer = self.ctl(server, "request", coupon, 3, "--request-id", "three")[0]
        self.assertEqual(answer["ticket"], 3)
        accepted = int(self.sql(f"select accepted from admission where coupon_id = {coupon}")[0][0])
        self.wait_for_issued(coupon, accepted)
        self.assert_issued_exactly(coupon, accepted)

    def test_a_standby_alone_is_waited_for_even_if_the_url_allows_any_server(self):
        self.sql("create table if not exists anything (id int)")
        url = f"{self.url('couponsd', self.standby_port)}?options=-csearch_path%3D{self.schema}"
        wait_until(lambda: psql(f"{url}", "select count(*) from pg_namespace where nspname = '" + self.schema + "'")
                   == [["1"]], what="the standby has the schema")
        for more in ("", "&target_session_attrs=any", "&target_session_attrs=prefer-standby"):
            code, _, err = self.refused_start(
                *self.set_arguments(postgres__url=url + more, server__startup_wait_ms=1000))
            self.assertEqual(code, 3, err)
            self.assertRegex(err, "event=start.waiting .*read-only")
            self.assertRegex(err, "event=start.failed .*read-only")


class Messages(OwnPostgres):
    """Postgres with messages in Korean."""

    @classmethod
    def setUpClass(cls):
        locales = tempfile.mkdtemp(prefix="couponsd-locales.")
        cls.addClassCleanup(shutil.rmtree, locales)
        os.chmod(locales, 0o755)
        try:
            subprocess.run(["localedef", "--no-archive", "-i", "ko_KR", "-f", "UTF-8", f"{locales}/{LOCALE}"],
                           check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise unittest.SkipTest(f"needs the sources of locales (Debian's package locales): {error}") from error
        cls.environment = {"LOCPATH": locales}
        super().setUpClass()
        psql(cls.url("postgres", cls.port), f"alter system set lc_messages = '{LOCALE}'", "select pg_reload_conf()")

    def test_errors_are_understood_in_any_language(self):
        role = f"{self.schema}_role"
        done = subprocess.run(["psql", self.url("couponsd", self.port), "-c", "select nonsense"], capture_output=True,
                              text=True)
        if done.stderr.isascii():
            self.skipTest("needs the translations of Postgres")
        url = re.sub("//couponsd@", f"//{role}:right@", self.settings["postgres.url"])
        for statement in (None, f"create role {role} login in role with_password password 'wrong';"
                                f" grant all on schema {self.schema} to {role}"):
            if statement:
                self.admin(statement)
            code, _, err = self.refused_start(*self.set_arguments(postgres__url=url, server__startup_wait_ms=500))
            self.assertEqual(code, 3, err)
            self.assertRegex(err, "event=start.waiting .*[가-힣]")
        self.admin(f"alter role {role} password 'right'")
        server = self.start(postgres__url=url)
        coupon = self.create(server, 10**6)
        self.ctl(server, "request", coupon, 1)
        self.admin(f"alter role {role} nologin",
                   f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
        wait_until(lambda: server.get("/readyz")[0] == 503, 10, what="it is not ready")
        self.assert_unavailable(server, "request", coupon, 2)
        self.admin(f"alter role {role} login")
        self.assert_well_soon(server, coupon)


if __name__ == "__main__":
    unittest.main()
