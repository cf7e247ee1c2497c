# SPDX-License-Identifier: Apache-2.0
"""A scenario drives the real binaries as a user would, on the servers that POSTGRES_URL, REDIS_URL and KAFKA_BROKERS name.

Each scenario has a schema, a Redis database and a topic prefix of its own, so that scenarios run side by side.
A scenario waits for a condition with a deadline (wait_until) and does not sleep.
"""

import json
import os
import random
import re
import subprocess
import tempfile
import unittest

from tests.harness import environment
from tests.harness.couponsd import Couponsd
from tests.harness.environment import BUILD, PATIENCE
from tests.harness.kafka import Topic
from tests.harness.postgres import psql, with_search_path
from tests.harness.waiting import wait_until


class Scenario(unittest.TestCase):
    def setUp(self):
        name = f"s{random.randrange(16**10):010x}"
        self.schema = name
        self.sql(f"create schema {name}", schema="public")
        self.redis_url = re.sub(r"/\d*$", f"/{random.randrange(1, 1024)}", environment.server("REDIS_URL"))
        self.postgres_url = with_search_path(environment.server("POSTGRES_URL"), name)
        self.settings = {
            "postgres.url": self.postgres_url,
            "redis.url": self.redis_url,
            "kafka.brokers": environment.server("KAFKA_BROKERS"),
            "kafka.topic_prefix": f"{name}.",
        }
        # Other tests may use the same Redis database: no two tests share a coupon id.
        self.next_id = random.randrange(1, 2**40) * 1000
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            if server.process.poll() is None:
                code = server.stop()
                self.assertEqual(code, 0, f"SIGTERM should end in 0; log {server.log.name}")
        for server in self.servers:
            server.check_log()

    def start(self, grpc="127.0.0.1:0", command=None, **settings):
        settings = {key.replace("__", "."): value for key, value in settings.items()}
        server = Couponsd(self, settings, grpc, command)
        self.addCleanup(server.end)
        self.servers.append(server)
        return server

    def refused_start(self, *arguments, before=()):
        """Runs couponsd with these arguments, behind the command `before`; returns exit code, stdout, stderr."""
        done = subprocess.run([*before, f"{BUILD}/couponsd", *arguments], capture_output=True, text=True,
                              timeout=60 * PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def set_arguments(self, **settings):
        settings = {key.replace("__", "."): value for key, value in settings.items()}
        merged = {**self.settings, "grpc.listen": "127.0.0.1:0", "http.listen": "127.0.0.1:0", **settings}
        return [word for key, value in merged.items() for word in ("--set", f"{key}={value}")]

    def ctl_raw(self, server, *arguments, background=False):
        servers = server if isinstance(server, list) else [server]
        command = [f"{BUILD}/couponctl"]
        for one in servers:
            command += ["--server", one if isinstance(one, str) else one.grpc]
        command += ["--json", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if background:
            self.addCleanup(lambda: (process.poll() is None and process.kill(), process.communicate()))
            return process
        out, err = process.communicate(timeout=300 * PATIENCE)
        assert "Sanitizer" not in err, err
        return process.returncode, out, err

    def ctl(self, server, *arguments):
        """Runs couponctl, which must exit with 0; returns the JSON objects that it printed."""
        code, out, err = self.ctl_raw(server, *arguments)
        self.assertEqual(code, 0, f"couponctl {arguments}: {out} {err}")
        return [json.loads(line) for line in out.split("\n") if line]

    def refusal(self, server, *arguments, code=1):
        """Runs couponctl, which must exit with `code`; returns the error that it printed."""
        exit_code, out, err = self.ctl_raw(server, *arguments)
        self.assertEqual(exit_code, code, f"couponctl {arguments}: {out} {err}")
        return json.loads(out.splitlines()[-1])["error"]

    def create(self, server, quantity, *arguments):
        self.next_id += 1
        return self.ctl(server, "create", "--id", self.next_id, "--quantity", quantity, *arguments)[0]["id"]

    def sql(self, statement, schema=None):
        """Rows as lists of text."""
        return psql(environment.server("POSTGRES_URL"), f"set search_path = {schema or self.schema}", statement)

    def hold(self, *statements):
        """Runs statements in a transaction. Returns a function that ends the transaction."""
        process = subprocess.Popen(["psql", self.postgres_url, "-X", "-q", "-v", "ON_ERROR_STOP=1"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.poll() is None and process.kill(), process.communicate()))
        process.stdin.write("begin;" + ";".join(statements) + ";\\echo held\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "held\n")
        return lambda: process.communicate("rollback;\n", timeout=30)

    def topic(self, name):
        """name: without the prefix of this scenario"""
        return Topic(f"{self.schema}.{name}")

    def redis(self, *arguments):
        done = subprocess.run(["redis-cli", "-u", self.redis_url, *map(str, arguments)],
                              capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def assert_issued_exactly(self, coupon, quantity):
        """Tickets 1 to quantity are issued, one a user, each to the user to whom the ledger promised it."""
        rows = self.sql(f"""
            select count(*), count(distinct user_id), min(ticket), max(ticket), count(distinct ticket)
            from user_coupon where coupon_id = {coupon}""")
        self.assertEqual(rows, [[str(quantity), str(quantity), "1", str(quantity), str(quantity)]])
        strangers = self.sql(f"""
            select count(*) from user_coupon u full join publish_request p using (coupon_id, ticket)
            where coupon_id = {coupon} and (u.user_id is distinct from p.user_id)""")
        self.assertEqual(strangers, [["0"]], "ledger and coupons held must agree")

    def wait_for_issued(self, coupon, count, seconds=30):
        wait_until(lambda: self.sql(f"select count(*) from user_coupon where coupon_id = {coupon}") == [[str(count)]],
                   seconds, what=f"{count} issued")

    def read_answers(self, path):
        """The lines of couponctl bench --log: the answer to each request."""
        answers = []
        with open(path) as lines:
            for line in lines:
                coupon, user, request_id, outcome, ticket, _ = line.split()
                answers.append((int(coupon), int(user), request_id, outcome, int(ticket)))
        return answers


class CrowdScenario(Scenario):
    """A scenario whose load logs the answer to each request in the file `answers`."""

    def setUp(self):
        super().setUp()
        handle, self.answers = tempfile.mkstemp(dir=os.environ.get("TEST_DIR"), suffix=".answers")
        os.close(handle)

    def told(self, coupon):
        """user → ticket, as the answers say. No user may have been answered with two tickets."""
        told = {}
        for answered_coupon, user, _, outcome, ticket in self.read_answers(self.answers):
            if answered_coupon == coupon and outcome in ("ACCEPTED", "ISSUED"):
                self.assertEqual(told.setdefault(user, ticket), ticket, f"user {user} was told two tickets")
        return told

    def assert_all_told_are_issued(self, coupon):
        issued = {int(user): int(ticket) for user, ticket in
                  self.sql(f"select user_id, ticket from user_coupon where coupon_id = {coupon}")}
        for user, ticket in self.told(coupon).items():
            self.assertEqual(issued.get(user), ticket, f"user {user} was promised ticket {ticket}")
