"""Drives the real binaries as a user would, on the servers that POSTGRES_URL, REDIS_URL and KAFKA_BROKERS name.

Each Scenario has a schema, a Redis database and a topic prefix of its own, so that scenarios run side by side.
Nothing sleeps for luck: wait_until waits for a condition, with a deadline.
"""

import json
import os
import random
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

BUILD = os.environ["BUILD_DIR"]
SANITIZED = os.environ.get("SANITIZER") in ("asan", "tsan")
# Sanitizers are slow; a deadline says that something hangs, not how fast it should be.
PATIENCE = 3 if SANITIZED else 1


def wait_until(condition, seconds=30, every=0.05, what="condition"):
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * PATIENCE} s: {what}")
        time.sleep(every)


class Couponsd:
    """One server process, on free ports. With a command line of another's, settings come from the environment."""

    def __init__(self, scenario, settings, grpc="127.0.0.1:0", command=None):
        self.log = tempfile.NamedTemporaryFile(
            "w+", dir=os.environ.get("TEST_DIR"), prefix="couponsd-", suffix=".log", delete=False)
        settings = {"grpc.listen": grpc, "http.listen": "127.0.0.1:0", **scenario.settings, **settings}
        environment = None
        if command:
            names = {key: f"COUPONSD_SET_{key.upper().replace('.', '_')}" for key in settings}
            environment = {**os.environ, **{names[key]: str(value) for key, value in settings.items()}}
        else:
            command = [f"{BUILD}/couponsd"]
            for key, value in settings.items():
                command += ["--set", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"ready grpc=(\S+) http=(\S+)\n", line)
        if not match:
            self.process.wait()
            raise AssertionError(f"no ready line but {line!r}; log: {self.text()}")
        self.grpc, self.http = match.groups()

    def text(self):
        with open(self.log.name) as log:
            return log.read()

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        return self.process.wait(60 * PATIENCE)

    def end(self):
        """Whatever has become of it: none outlives its test."""
        if self.process.poll() is None:
            self.kill()
        self.process.stdout.close()
        self.log.close()

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name, **labels):
        """The sum over all label sets that have these."""
        having = "".join(f'(?=[^}}]*{key}="{value}")' for key, value in labels.items())
        values = re.findall(rf"^{name}(?:{{{having}[^}}]*}}){'' if labels else '?'} (\S+)$", self.get("/metrics")[1],
                            re.M)
        return sum(float(value) for value in values)

    def check_log(self):
        found = re.search(r".*(Sanitizer|runtime error:).*", self.text())
        assert not found, f"{found.group(0)} in {self.log.name}"


def varints(data):
    """The integer fields of a protobuf message: number → value. Others are passed over."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            fields[tag >> 3] = varint()
        elif tag & 7 == 2:
            size = varint()
            at += size
        else:
            raise AssertionError(f"wire type {tag & 7} in {data.hex()}")
    return fields


class Topic:
    """A topic in Kafka, looked at without couponsd's code."""

    def __init__(self, name):
        self.name = name

    def run(self, command, *arguments):
        done = subprocess.run([f"{BUILD}/kafka_tool", os.environ["KAFKA_BROKERS"], command, self.name,
                               *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def partitions(self):
        return int(self.run("partitions"))

    def messages(self):
        """Each with partition, offset, timestamp, key, headers, and coupon and ticket of its event."""
        messages = [json.loads(line) for line in self.run("dump").splitlines()]
        for message in messages:
            fields = varints(bytes.fromhex(message["value"]))
            message["coupon"], message["ticket"] = fields.get(1), fields.get(4)
        return messages

    def lag(self, group):
        return int(self.run("lag", group))

    def produce(self, messages):
        """Each a pair of key and value, bytes or None."""
        def part(text):
            return struct.pack(">I", 0xFFFFFFFF if text is None else len(text))
        data = b"".join(part(key) + part(value) + (key or b"") + (value or b"") for key, value in messages)
        done = subprocess.run([f"{BUILD}/kafka_tool", os.environ["KAFKA_BROKERS"], "produce", self.name], input=data,
                              capture_output=True)
        assert done.returncode == 0, done.stderr

    def grow(self, partitions):
        self.run("grow", partitions)

    def delete(self):
        self.run("delete")


class Scenario(unittest.TestCase):
    def setUp(self):
        name = f"s{random.randrange(16**10):010x}"
        self.schema = name
        self.sql(f"create schema {name}", schema="public")
        self.redis_url = re.sub(r"/\d*$", f"/{random.randrange(1, 1024)}", os.environ["REDIS_URL"])
        separator = "&" if "?" in os.environ["POSTGRES_URL"] else "?"
        self.postgres_url = f"{os.environ['POSTGRES_URL']}{separator}options=-csearch_path%3D{name}"
        self.settings = {
            "postgres.url": self.postgres_url,
            "redis.url": self.redis_url,
            "kafka.brokers": os.environ["KAFKA_BROKERS"],
            "kafka.topic_prefix": f"{name}.",
        }
        # Flags of other tests in the same Redis database must not meet ours.
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

    def refused_start(self, *arguments):
        """Runs couponsd with these arguments; returns exit code, stdout, stderr."""
        done = subprocess.run([f"{BUILD}/couponsd", *arguments], capture_output=True, text=True, timeout=60 * PATIENCE)
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
        """The JSON objects that couponctl printed, which must end well."""
        code, out, err = self.ctl_raw(server, *arguments)
        self.assertEqual(code, 0, f"couponctl {arguments}: {out} {err}")
        return [json.loads(line) for line in out.splitlines()]

    def refusal(self, server, *arguments, code=1):
        """The error that couponctl printed, with its exit code."""
        exit_code, out, err = self.ctl_raw(server, *arguments)
        self.assertEqual(exit_code, code, f"couponctl {arguments}: {out} {err}")
        return json.loads(out.splitlines()[-1])["error"]

    def create(self, server, quantity, *arguments):
        self.next_id += 1
        return self.ctl(server, "create", "--id", self.next_id, "--quantity", quantity, *arguments)[0]["id"]

    def sql(self, statement, schema=None):
        """Rows as lists of text."""
        done = subprocess.run(
            ["psql", os.environ["POSTGRES_URL"], "-X", "-At", "-v", "ON_ERROR_STOP=1", "-q",
             "-c", f"set search_path = {schema or self.schema}", "-c", statement],
            capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.split("|") for line in done.stdout.splitlines()]

    def topic(self, name):
        """By its name behind the prefix."""
        return Topic(f"{self.schema}.{name}")

    def redis(self, *arguments):
        done = subprocess.run(["redis-cli", "-u", self.redis_url, *map(str, arguments)],
                              capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def assert_issued_exactly(self, coupon, quantity):
        """Tickets 1..quantity are issued, one a user, each to whom the ledger promised it."""
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
        """couponctl bench --log: what each request was told."""
        answers = []
        with open(path) as lines:
            for line in lines:
                coupon, user, request_id, outcome, ticket, _ = line.split()
                answers.append((int(coupon), int(user), request_id, outcome, int(ticket)))
        return answers
