# SPDX-License-Identifier: Apache-2.0
"""compare.py: compares couponsd with the design it replaces (predecessor.c), on the same servers, with the same load.

It prints a Markdown table. It uses the Postgres and Kafka that POSTGRES_URL, KAFKA_BROKERS and SERVERS_DIR name, and
starts a private Redis for each run, with Debian's default persistence. The exit code is 1 if either design breaks its
promise: couponsd loses and oversells nothing, the predecessor oversells nothing.
"""

import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

from tests.harness import BUILD, environment, wait_until
from tests.harness.ports import free_address, free_port
from tests.harness.postgres import psql, with_search_path
from tests.harness.processes import cpu_seconds_with_children, end, server_pid

YES = {"ACCEPTED", "ISSUED"}

PREDECESSOR_TABLES = """
    create table coupon (id bigint primary key, name text, quantity bigint not null, status smallint not null);
    create table user_coupon (coupon_id bigint, user_id bigint, request_time timestamptz not null,
                              issue_time timestamptz not null, primary key (coupon_id, user_id));"""


# --- the servers ---

def sql(statement, schema=None):
    """Returns the rows as lists of text."""
    before = [f"set search_path = {schema}"] if schema else []
    return psql(environment.server("POSTGRES_URL"), *before, statement)


class Redis:
    """A private Redis, which can be killed. It makes snapshots as in Debian's redis.conf and no append-only file."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder.name,
             "--save", "3600 1 300 100 60 10000"], stdout=subprocess.DEVNULL)
        wait_until(lambda: self.run("ping") == "PONG", 10, what="Redis answers")

    def run(self, *arguments):
        return subprocess.run(["redis-cli", "-p", str(self.port), *map(str, arguments)],
                              capture_output=True, text=True).stdout.strip()

    def numbers(self):
        """Returns the commands run so far, and the peak memory."""
        calls = sum(int(calls) for name, calls in re.findall(r"cmdstat_(\S+?):calls=(\d+)", self.run("info", "commandstats"))
                    if name not in ("info", "ping", "config|get"))
        return calls, int(re.search(r"used_memory_peak:(\d+)", self.run("info", "memory")).group(1))

    def kill_and_start(self):
        end(self.process, signal.SIGKILL)
        self.start()

    def stop(self):
        end(self.process)
        self.folder.cleanup()


# --- the two services ---

class Service:
    """A service process with its own schema. `interval`: seconds between the predecessor's batches."""

    def __init__(self, redis, interval):
        self.redis, self.interval = redis, interval
        self.schema = f"compare{random.randrange(16**8):08x}"
        sql(f"create schema {self.schema}")
        self.postgres = with_search_path(environment.server("POSTGRES_URL"), self.schema)
        self.address = free_address()
        self.prepare()
        self.start()

    def prepare(self):
        pass

    def start(self):
        self.log = tempfile.NamedTemporaryFile("w+", prefix=f"{self.name}-", suffix=".log")
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=self.log, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            with open(self.log.name, encoding="utf-8") as log:
                sys.exit(f"compare.py: {self.name} did not start: {log.read()}")

    def kill_and_start(self):
        end(self.process, signal.SIGKILL)
        self.start()

    def stop(self):
        end(self.process)

    def drop(self):
        sql(f"set client_min_messages = warning; drop schema {self.schema} cascade")

    def ctl(self, *arguments):
        return [f"{BUILD}/couponctl", "--server", self.address, "--json", *map(str, arguments)]

    def issued(self, coupon):
        done = subprocess.run(self.ctl("get", coupon), capture_output=True, text=True)
        return json.loads(done.stdout).get("issued", 0)

    def sql(self, statement):
        return sql(statement, self.schema)


class Couponsd(Service):
    name = "couponsd"
    uses_cpu_of = ("service", "postgres", "redis", "kafka")
    # user, time of the request's record, time of issue
    issued_rows = """select u.user_id, extract(epoch from p.accept_time), extract(epoch from u.issue_time)
                     from user_coupon u join publish_request p using (coupon_id, ticket) where coupon_id = {}"""

    def command(self):
        settings = {"grpc.listen": self.address, "http.listen": "127.0.0.1:0", "postgres.url": self.postgres,
                    "redis.url": f"redis://{self.redis.address}/0",
                    "kafka.brokers": environment.server("KAFKA_BROKERS"), "kafka.topic_prefix": f"{self.schema}."}
        return [f"{BUILD}/couponsd", *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]

    def create(self, quantity):
        done = subprocess.run(self.ctl("create", "--quantity", quantity), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["id"]

    def wait_for_quiet(self, coupon):
        def is_quiet():
            (accepted, issued), = self.sql(f"""
                select (select count(*) from publish_request where coupon_id = {coupon}),
                       (select count(*) from user_coupon where coupon_id = {coupon})""")
            return accepted == issued
        wait_until(is_quiet, 60, what="couponsd has issued everything it accepted")


class Predecessor(Service):
    name = "predecessor"
    uses_cpu_of = ("service", "postgres", "redis")
    issued_rows = """select user_id, extract(epoch from request_time), extract(epoch from issue_time)
                     from user_coupon where coupon_id = {}"""

    def prepare(self):
        sql(PREDECESSOR_TABLES, self.schema)

    def command(self):
        return [f"{BUILD}/predecessor", "--listen", self.address, "--postgres", self.postgres,
                "--redis", self.redis.address, "--interval-ms", str(int(self.interval * 1000))]

    def create(self, quantity):
        coupon = random.randrange(1, 2**40)
        self.sql(f"insert into coupon values ({coupon}, 'compare', {quantity}, 1)")
        return coupon

    def wait_for_quiet(self, coupon):
        """Waits until nobody is waiting for the coupon: the sorted set is empty or gone."""
        wait_until(lambda: self.redis.run("zcard", f"coupon:requests:{coupon}") == "0", 3 * self.interval + 10,
                   what="the predecessor has run its batches")


# --- one run ---

# A session of Postgres reports its counters when it ends, or after it was idle for TELLS_WHEN_IDLE_S.
TELLS_WHEN_IDLE_S = 11

Counters = collections.namedtuple("Counters", "wal_bytes postgres kafka service redis commands")


def counters(service, redis):
    (wal,), = sql("select pg_current_wal_lsn() - '0/0'")
    return Counters(int(wal), cpu_seconds_with_children(server_pid("postgres")), cpu_seconds_with_children(server_pid("kafka")),
                    cpu_seconds_with_children(service.process.pid), cpu_seconds_with_children(redis.process.pid), redis.numbers()[0])


def database():
    """Returns the transactions and written rows that sessions have reported so far."""
    (transactions, rows), = sql("""
        select xact_commit + xact_rollback, tup_inserted + tup_updated + tup_deleted
        from pg_stat_database where datname = current_database()""")
    return int(transactions), int(rows)


def answers(log):
    """Returns user → (outcome, latency in seconds) from the log of couponctl bench."""
    log.seek(0)
    return {int(user): (outcome, int(latency) / 1e6)
            for _, user, _, outcome, _, latency in map(str.split, log) if not user.startswith("#")}


def percentile(values, share):
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def measure(kind, options):
    """Runs a crowd for one coupon. Returns the figures for the table."""
    redis = Redis()
    service = kind(redis, options.interval)
    try:
        coupon = service.create(options.quantity)
        time.sleep(TELLS_WHEN_IDLE_S)
        transactions, written = database()
        before = counters(service, redis)
        polls = 0
        with tempfile.NamedTemporaryFile("r") as log:
            bench = subprocess.run(
                service.ctl("bench", "--coupon", coupon, "--users", options.users, "--concurrency",
                            options.concurrency, "--no-wait", "--log", log.name), capture_output=True, text=True)
            said = answers(log)
        load = json.loads(bench.stdout.splitlines()[-1])
        deadline = time.monotonic() + 3 * options.interval + 60
        while service.issued(coupon) < options.quantity and time.monotonic() < deadline:
            polls += 1
            time.sleep(0.5)
        service.wait_for_quiet(coupon)
        after = counters(service, redis)
        memory = redis.numbers()[1]
        rows = [(int(user), float(taken), float(issued))
                for user, taken, issued in service.sql(service.issued_rows.format(coupon))]
        service.stop()
        time.sleep(1)  # its sessions report their counters when they end
        transactions, written = (now - then for now, then in zip(database(), (transactions, written)))
    finally:
        service.stop()
        redis.stop()
        service.drop()
    used = Counters(*(now - then for now, then in zip(after, before)))
    yes = {user for user, (outcome, _) in said.items() if outcome in YES}
    winners = {user for user, _, _ in rows}
    # Estimates the send time as the time it was recorded minus the answer's latency.
    delays = [issued - taken + said[user][1] for user, taken, issued in rows]
    span = max(issued for _, _, issued in rows) - min(taken for _, taken, _ in rows)
    per_1000 = 1000 / len(rows)
    return {
        "requests": len(said), "issued": len(rows), "users": len(winners), "yes": len(yes),
        "yes_for_nothing": len(yes - winners), "delay_p50": percentile(delays, 0.5),
        "delay_p99": percentile(delays, 0.99), "answer_p99": load["answer_us"]["p99"] / 1e6,
        "accepted_per_s": len(yes) / (load["accepted_seconds"] or load["seconds"]),
        "issued_per_s": len(rows) / span, "transactions": (transactions - polls) * per_1000,
        "rows": written * per_1000, "wal_bytes": used.wal_bytes * per_1000, "commands": used.commands * per_1000,
        "memory": memory, "cpu": {name: getattr(used, name) * per_1000 for name in kind.uses_cpu_of},
    }


def lose(kind, victim, options):
    """Runs a crowd with a coupon for everybody and kills the victim with kill -9 in the middle. Returns how many users
    were told yes, and how many of them have no coupon."""
    redis = Redis()
    service = kind(redis, min(options.interval, 5))
    try:
        coupon = service.create(options.victims)
        with tempfile.NamedTemporaryFile("r") as log:
            bench = subprocess.Popen(
                service.ctl("bench", "--coupon", coupon, "--users", options.victims, "--rate", options.victims / 2,
                            "--retry", "--no-wait", "--log", log.name), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            wait_until(lambda: os.path.getsize(log.name) > 0, 30, what="the load has begun")
            time.sleep(1)  # half of the load, which takes 2 s
            (service if victim == "service" else redis).kill_and_start()
            bench.wait()
            said = answers(log)
        service.wait_for_quiet(coupon)
        have = {int(user) for user, in service.sql(f"select user_id from user_coupon where coupon_id = {coupon}")}
    finally:
        service.stop()
        redis.stop()
        service.drop()
    yes = {user for user, (outcome, _) in said.items() if outcome in YES}
    return len(yes), len(yes - have)


# --- the table ---

def seconds(value):
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def table(results, losses, options):
    def row(label, show):
        return [label, *(show(results[kind.name]) for kind in (Predecessor, Couponsd))]

    def cpu(result):
        return ", ".join(f"{name} {1000 * value:.0f}" for name, value in result["cpu"].items())

    def lost(victim):
        return [f"lost by kill -9 of {victim}, of those told yes",
                *(f"{losses[kind.name, victim][1]:,} of {losses[kind.name, victim][0]:,}" for kind in (Predecessor, Couponsd))]

    return [
        ["", f"predecessor, a batch each {options.interval:g} s", "couponsd"],
        row("request to issued, p50", lambda r: seconds(r["delay_p50"])),
        row("request to issued, p99", lambda r: seconds(r["delay_p99"])),
        row("answer, p99", lambda r: seconds(r["answer_p99"])),
        row("accepted/s", lambda r: f"{r['accepted_per_s']:,.0f}"),
        row("issued/s, first request to last coupon", lambda r: f"{r['issued_per_s']:,.0f}"),
        row("told yes", lambda r: f"{r['yes']:,} of {r['requests']:,}"),
        row("told yes, and got nothing", lambda r: f"{r['yes_for_nothing']:,}"),
        lost("service"), lost("redis"),
        row("Postgres: transactions per 1,000 coupons", lambda r: f"{r['transactions']:,.1f}"),
        row("Postgres: rows written per 1,000 coupons", lambda r: f"{r['rows']:,.0f}"),
        row("Postgres: WAL per 1,000 coupons", lambda r: f"{r['wal_bytes'] / 1024:,.0f} KiB"),
        row("CPU per 1,000 coupons, ms", cpu),
        row("Redis: commands per 1,000 coupons", lambda r: f"{r['commands']:,.0f}"),
        row("Redis: peak memory", lambda r: f"{r['memory'] / 1048576:.1f} MiB"),
        ["to operate", "the service (one, or a lock around its jobs), 2 jobs, Postgres, Redis (as durable as a database)",
         "the service (any number), Postgres, Kafka, Redis (may be lost at any time)"],
    ]


def broken(results, losses, options):
    for name, result in results.items():
        if result["issued"] != options.quantity or result["users"] != result["issued"]:
            yield f"{name} issued {result['issued']} coupons to {result['users']} users, not {options.quantity}"
    if results["couponsd"]["yes_for_nothing"]:
        yield "couponsd told a user yes but did not issue"
    for victim in ("service", "redis"):
        if losses["couponsd", victim][1]:
            yield f"couponsd lost requests by kill -9 of {victim}"


def main():
    parser = argparse.ArgumentParser(prog="./dev bench compare")
    parser.add_argument("--quantity", type=int, default=10000)
    parser.add_argument("--users", type=int, default=30000, help="who ask for it")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--interval", type=float, default=60, help="seconds between the predecessor's batches")
    parser.add_argument("--victims", type=int, default=5000, help="number of users that ask while a process is killed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {kind.name: measure(kind, options) for kind in (Predecessor, Couponsd)}
    losses = {(kind.name, victim): lose(kind, victim, options)
              for kind in (Predecessor, Couponsd) for victim in ("service", "redis")}
    if options.json:
        print(json.dumps({"results": results, "losses": {" ".join(key): value for key, value in losses.items()}}))
    else:
        head, *rows = table(results, losses, options)
        for cells in (head, ["---"] * len(head), *rows):
            print(f"| {' | '.join(cells)} |")
    problems = list(broken(results, losses, options))
    if problems:
        sys.exit("\n".join(f"compare.py: {problem}" for problem in problems))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"compare.py: {error}")
