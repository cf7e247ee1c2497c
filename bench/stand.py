# SPDX-License-Identifier: Apache-2.0
"""The stand of ./dev bench: couponsd with its own schema, Redis database and topics, and the measurement of CPU time
and of the disk.

Each context manager stops the processes that it has started, by pid, even if the bench is interrupted.
"""

import argparse
import os
import random
import re
import tempfile
import threading
import time

from bench.programs import STOP_S, Wrong, run_json, run_text
from tests.harness import Scenario, environment, wait_until
from tests.harness.kafka import PUBLISHED, REQUESTED, Topic
from tests.harness.processes import cpu_seconds, cpu_seconds_with_children, end, server_pid

COUPON_IDS = range(2 * 10**9, 9 * 10**9)
PARTITIONS = 8  # kafka.partitions
# Settings of a couponsd that only accepts.
ALONE = {"relay__run": "false", "issue__run": "false", "complete__run": "false"}
# In a closed loop no request may be refused because a slow machine keeps it waiting.
PATIENT = {"flow__patience_ms": 0}


def changed(options, **some):
    return argparse.Namespace(**{**vars(options), **some})


class Disk:
    """Measures, while it is entered, how long it takes to write and flush 8 KiB on the servers' disk, as each commit
    does."""
    EVERY_S = 0.02

    def __enter__(self):
        self._seconds, self._stopping = [], threading.Event()
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _probe(self):
        with tempfile.TemporaryFile(dir=environment.server("SERVERS_DIR")) as file:
            while not self._stopping.wait(self.EVERY_S):
                began = time.monotonic()
                os.pwrite(file.fileno(), bytes(8192), 0)
                os.fdatasync(file.fileno())
                self._seconds.append(time.monotonic() - began)

    def percentiles_ms(self):
        ordered = sorted(self._seconds)
        return {name: 1000 * ordered[int(share * len(ordered))]
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}


def settings():
    """Returns the default settings of couponsd, by name."""
    values, section = {}, ""
    for line in run_text("couponsd", "--settings", "ini").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif re.match(r"#\w+ =", line):
            key, value = line[1:].split(" =", 1)
            values[f"{section}.{key}"] = value.strip()
    return values


def memory_kib(process, name):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


def cpu_now(servers, watch):
    """Returns the CPU seconds so far of each program that handles coupons, except the backend that serves our own
    queries. servers: the couponsd processes."""
    return {"couponsd": sum(cpu_seconds(server.process.pid) for server in servers),
            "postgres": cpu_seconds_with_children(server_pid("postgres")) - cpu_seconds(watch.backend),
            "kafka": cpu_seconds(server_pid("kafka")), "redis": cpu_seconds(server_pid("redis"))}


# --- couponsd ---

class Stand(Scenario):
    """A schema, a Redis database and topics for couponsd processes."""

    def runTest(self):
        """unittest requires a method."""

    def __enter__(self):
        self.setUp()
        self.next_id = random.choice(COUPON_IDS)
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.tearDown()
        finally:
            for server in self.servers:
                end(server.process, patience_s=STOP_S)
                server.end()
            self.remove()

    def create_topic(self, name, partitions, *properties):
        """Creates the topics before couponsd does."""
        run_text("bench_bare_producer", environment.server("KAFKA_BROKERS"), "create", name, str(partitions), *properties)

    def remove(self):
        self.sql(f"set client_min_messages = warning; drop schema {self.schema} cascade", schema="public")
        for name in (REQUESTED, PUBLISHED):
            topic = Topic(f"{self.schema}.{name}")
            if topic.partitions():
                topic.delete()

    def start(self, *arguments, **settings):
        self.began = time.monotonic()
        server = super().start(*arguments, **settings)
        server.start_s = time.monotonic() - self.began
        return server

    def stop(self, server):
        code = server.stop()
        if code:
            raise Wrong(f"couponsd ended with {code}; its log is {server.log.name}")

    def create_some(self, server, n, quantity):
        """Creates coupons with consecutive ids. Returns FIRST:COUNT for bench_load."""
        first = self.next_id + 1
        for _ in range(n):
            self.create(server, quantity)
        return f"{first}:{n}"

    def insert_some(self, n, quantity):
        """Creates coupons by SQL, which is quick even for thousands. Waits until the reconciler has set their flags,
        because they cannot be requested before that."""
        first, last = self.next_id + 1, self.next_id + n
        self.next_id = last
        self.sql(f"""
            begin;
            insert into coupon (id, name, quantity, status, discount_rate, create_time)
                select id, 'bench', {quantity}, 1, 0, clock_timestamp() from generate_series({first}, {last}) id;
            insert into admission (coupon_id, quantity) select id, {quantity} from generate_series({first}, {last}) id;
            insert into issuance (coupon_id, quantity) select id, {quantity} from generate_series({first}, {last}) id;
            commit""")
        for coupon in (first, last):
            wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", what="its flag is true")
        return f"{first}:{n}"

    def number(self, query):
        return int(self.sql(query)[0][0])

    def check_accepted(self, n, where="true"):
        """Checks that the ledger has n rows and that each coupon's tickets are 1, 2, 3, … without gaps."""
        self.expect(f"{n}|t", f"""
            select coalesce(sum(rows), 0), bool_and(tickets = rows and first = 1 and last = rows and counted = rows)
            from (select coupon_id, count(*) rows, count(distinct ticket) tickets, min(ticket) first, max(ticket) last
                  from publish_request where {where} group by coupon_id) l
            join (select coupon_id, accepted counted from admission) a using (coupon_id)""", "the ledger")

    def check_issued(self, n, where="true"):
        """Checks that all n tickets of the ledger, and no others, are issued, each once. The holders need no check,
        because the view takes them from the ledger."""
        self.expect(f"{n}|t", f"""
            set enable_memoize = off; -- it would purge its cache for each row
            select coalesce(sum(rows), 0), bool_and(first = 1 and last = rows and counted = rows)
            from (select coupon_id, count(*) rows, min(ticket) first, max(ticket) last
                  from user_coupon where {where} group by coupon_id) u
            join (select coupon_id, issued counted from issuance) i using (coupon_id)""", "what is issued")
        self.expect(f"{n}|t", f"""
            select coalesce(sum(last_ticket - first_ticket + 1), 0),
                   coalesce(bool_and(first_ticket = before + 1), true)
            from (select *, coalesce(lag(last_ticket) over (partition by coupon_id order by first_ticket), 0) before
                  from issued where {where}) r""", "the ranges that are issued, none twice")

    def expect(self, should, query, what):
        row = "|".join(self.sql(query)[0])
        if row != should:
            raise Wrong(f"{what}: {row} instead of {should}")


# A table with a row per issued coupon, as couponsd would need it without ranges.
ROWS_TABLE = """
    create table user_coupon_rows (
        coupon_id bigint not null, user_id bigint not null, ticket bigint not null check (ticket > 0),
        issue_time timestamptz not null, primary key (coupon_id, ticket), unique (user_id, coupon_id))"""


class Bare(Stand):
    """Tables that couponsd has made and nobody uses, for bench_bare_rows."""

    WRITTEN = {"accept": "select count(*), true from publish_request",
               "issue": "select sum(last_ticket - first_ticket + 1), true from issued",
               "issue_by_row": "select count(*), true from user_coupon_rows"}

    def __enter__(self):
        super().__enter__()
        self.stop(self.start(**ALONE))
        self.sql(ROWS_TABLE)
        # The rows contradict the other tables, so the triggers would refuse them.
        for table in ("admission", "issuance", "publish_request", "issued"):
            self.sql(f"alter table {table} disable trigger user")
        return self

    def write(self, mode, rows, coupons, batch=1000):
        self.sql("""
            set client_min_messages = warning;
            truncate coupon, live_coupon, admission, issuance, publish_request, issued, user_coupon_rows,
                     consumer_offset, outbox_requested_0, outbox_published_0""")
        result = run_json("bench_bare_rows", mode, self.postgres_url, "--rows", rows, "--coupons", coupons,
                          "--batch", batch)
        self.expect(f"{rows}|t", self.WRITTEN[mode], f"what {mode} has written")
        return result["per_s"]

    def produce(self, messages, coupons):
        """Produces into a new topic. Returns messages per second."""
        topic = Topic(f"{self.schema}.bare")
        self.create_topic(topic.name, PARTITIONS)
        try:
            return run_json("bench_bare_producer", environment.server("KAFKA_BROKERS"), "produce", topic.name, "--messages",
                            messages, "--coupons", coupons)["per_s"]
        finally:
            topic.delete()
