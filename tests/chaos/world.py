# SPDX-License-Identifier: Apache-2.0
"""The run's own folder, servers, proxy and coupons, and the queries to them. Actors and checks use it."""

import os
import shutil
import struct
import subprocess
import tempfile
import time

from tests.chaos.proxy import Proxy
from tests.chaos.schedule import SERVERS
from tests.harness import BUILD
from tests.harness.kafka import PUBLISHED, REQUESTED
from tests.harness.ports import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
GARBAGE = "garbage"
NO_KEY = 0xFFFFFFFF  # kafka_tool's length for a null key
MANY = 10**9

# id → (quantity, weight among the requests). First the coupons that administrators change, then the others.
CHANGED = {1: (500, 10), 2: (3000, 10), 3: (20000, 15), 4: (MANY, 60)}
OTHERS = {11: (1, 3), 12: (50, 5), 13: (2000, 10), 14: (10000, 15), 15: (50000, 30), 16: (MANY, 120), 17: (MANY, 120)}
COUPONS = {**CHANGED, **OTHERS}


class World:
    changed_coupons = tuple(CHANGED)

    def __init__(self, journal_of):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="couponsd-chaos.", dir=os.environ.get("TEST_DIR")))
        os.chmod(self.dir, 0o755)  # Postgres may run as another user
        self.journal = journal_of(self.path("journal.log"))
        self.servers_log = open(self.path("servers.log"), "a")
        self.grpc = {name: free_port() for name in "ab"}
        self.http = {name: free_port() for name in "ab"}
        self.proxy = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read().strip()

    # --- servers ---

    def up(self):
        with open(self.path("kafka_proxy.port"), "w") as file:
            print(free_port(), file=file)
        self.servers("up")
        ports = {name: int(self.read(f"{name}.port")) for name in SERVERS}
        self.postgres_port, self.redis_port = ports["postgres"], ports["redis"]
        listen = {"postgres": 0, "redis": 0, "kafka": int(self.read("kafka_proxy.port"))}
        self.proxy = Proxy({name: (listen[name], ports[name]) for name in SERVERS})

    def servers(self, verb, *names):
        done = subprocess.run([os.path.join(HERE, "servers.sh"), verb, self.dir, *names], stdout=self.servers_log,
                              stderr=self.servers_log, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"servers.sh {verb} {' '.join(names)} failed; see {self.servers_log.name}")

    def down(self):
        if self.proxy:
            self.proxy.stop()
        self.servers("down")

    def postgres_home(self):
        home = self.read("postgres.dir")
        return home if home.startswith("/") else self.path(home)

    def remove(self):
        shutil.rmtree(self.postgres_home(), ignore_errors=True)
        shutil.rmtree(self.dir)

    def drop_redis_data(self):
        shutil.rmtree(self.path("appendonlydir"), ignore_errors=True)

    # --- couponsd ---

    def couponsd_command(self, name):
        name = name.removeprefix("couponsd-")
        settings = {
            "grpc.listen": f"127.0.0.1:{self.grpc[name]}",
            "http.listen": f"127.0.0.1:{self.http[name]}",
            "postgres.url": f"postgresql://couponsd@127.0.0.1:{self.proxy.port('postgres')}/couponsd",
            "redis.url": f"redis://127.0.0.1:{self.proxy.port('redis')}/0",
            "kafka.brokers": f"127.0.0.1:{self.proxy.port('kafka')}",
            # Nobody serves the partitions of a killed process until its session ends. The lag must be gone 5 s after
            # the last repair, so the session must be shorter than 6 s, the brokers' default minimum.
            "kafka.session.timeout.ms": 2000,
            "outbox.rotate_ms": 500,
        }
        command = [f"{BUILD}/couponsd_faults"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        return command

    def grpc_addresses(self):
        return [f"127.0.0.1:{port}" for port in self.grpc.values()]

    def ctl(self, turn, verb, *operands):
        """Tries once, on one of the couponsd processes. Returns False if the call failed."""
        server = self.grpc_addresses()[turn % len(self.grpc)]
        done = subprocess.run([f"{BUILD}/couponctl", "--server", server, "--timeout", "3000", "--json", verb,
                               *map(str, operands)], capture_output=True, text=True)
        return done.returncode == 0

    def create_coupons(self):
        for coupon, (quantity, _) in COUPONS.items():
            for turn in range(100):
                if self.ctl(0, "create", "--id", coupon, "--quantity", quantity, "--request-id", f"create-{coupon}"):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"coupon {coupon} could not be created")

    # --- queries; they bypass the proxy, except for Kafka, which tells its clients to use it ---

    def sql(self, query):
        """Yields the rows as lists of text."""
        process = subprocess.Popen(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.postgres_port), "-U",
             "couponsd", "couponsd", "-c", f"copy ({query}) to stdout"], stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            yield line.rstrip("\n").split("\t")
        if process.wait() != 0:
            raise RuntimeError(f"psql failed: {query}")

    def numbers(self, query):
        for row in self.sql(query):
            yield tuple(map(int, row))

    def kafka(self, command, *arguments):
        """Yields the lines that kafka_tool prints."""
        brokers = f"127.0.0.1:{self.proxy.port('kafka')}"
        process = subprocess.Popen([f"{BUILD}/kafka_tool", brokers, command, *arguments], stdout=subprocess.PIPE,
                                   stderr=self.servers_log, text=True)
        for line in process.stdout:
            yield line
        if process.wait() != 0:
            raise RuntimeError(f"kafka_tool {command} failed; see {self.servers_log.name}")

    def put_garbage(self):
        message = struct.pack(">II", NO_KEY, len(GARBAGE)) + GARBAGE.encode()
        return subprocess.run([f"{BUILD}/kafka_tool", f"127.0.0.1:{self.proxy.port('kafka')}", "produce", REQUESTED],
                              input=message, stderr=self.servers_log).returncode == 0

    def flags(self):
        """Returns coupon → (value, version) as Redis has them."""
        keys = [f"coupon:{kind}:{coupon}" for coupon in COUPONS for kind in ("available", "available_version")]
        done = subprocess.run(["redis-cli", "-p", str(self.redis_port), "mget", *keys], capture_output=True, text=True,
                              check=True)
        lines = done.stdout.split("\n")
        return {coupon: (lines[2 * i], lines[2 * i + 1]) for i, coupon in enumerate(COUPONS)}

    def true_flags(self):
        rows = self.sql("""
            select id, available, 2 * version + (not available)::int from (
                select c.id, c.version, c.status = 1 and not c.frozen and a.accepted < a.quantity as available
                from coupon c join admission a on a.coupon_id = c.id) f""")
        return {int(coupon): ("true" if value == "t" else "false", version) for coupon, value, version in rows}

    def lags(self):
        """Returns the amount of unfinished work by kind; all are 0 when it is quiet."""
        (unissued, outbox), = self.numbers("""
            select (select sum(a.accepted - s.issued - s.rejected)
                    from admission a join issuance s using (coupon_id))::bigint,
                   (select sum(h.last_id - c.last_id)
                    from outbox_head h join relay_cursor c using (stream, lane))::bigint""")
        lags = {"unissued": unissued, "outbox": outbox}
        if unissued or outbox:
            return lags  # the topics lag too until these are 0, so asking Kafka would tell us nothing new
        for topic, group in ((REQUESTED, "coupon-issuer"), (PUBLISHED, "coupon-completer")):
            lags[group] = int("".join(self.kafka("lag", topic, group)))
        truth, flags = self.true_flags(), self.flags()
        lags["wrong flags"] = sum(flags[coupon] != truth[coupon] for coupon in truth)
        return lags
