"""What ./dev bench runs and how it looks at it: couponsd with a schema, Redis database and topics of its own, programs
that serve or load, a number in Postgres as it changes, and the processor time of each.

Everything that is started here is stopped by whoever has started it, by its pid, also when the bench is interrupted.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "scenario"))

from compare import TICKS, cpu_seconds, server_pid  # noqa: E402
from harness import BUILD, Scenario, Topic, wait_until  # noqa: E402

# Short run names, and ids of ten digits: a request id then has about 20 bytes.
RUN = "b"
COUPON_IDS = range(2 * 10**9, 9 * 10**9)
WATCH_EVERY_S = 0.02
STOP_S = 20
PARTITIONS = 8  # kafka.partitions
# A couponsd that leaves all but accepting to others.
ALONE = {"relay__run": "false", "issue__run": "false", "complete__run": "false"}
# In a closed loop nobody is to be refused because a slow machine lets him wait.
PATIENT = {"flow__patience_ms": 0}
ECHO_S, ECHO_WARM_S, ECHO_IN_FLIGHT = 0.6, 0.2, 1024

began = time.monotonic()


class Wrong(AssertionError):
    """What was measured is not what it should be: no figure comes of it."""


def say(text):
    print(f"bench: {time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)


def changed(options, **some):
    return argparse.Namespace(**{**vars(options), **some})


class Disk:
    """While it is entered: how long it takes to write 8 KiB beside the servers and to have them on the disk, as each
    commit has to."""
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
        with tempfile.TemporaryFile(dir=os.environ["SERVERS_DIR"]) as file:
            while not self._stopping.wait(self.EVERY_S):
                began = time.monotonic()
                os.pwrite(file.fileno(), bytes(8192), 0)
                os.fdatasync(file.fileno())
                self._seconds.append(time.monotonic() - began)

    def percentiles_ms(self):
        ordered = sorted(self._seconds)
        return {name: 1000 * ordered[int(share * len(ordered))]
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}


def run_json(name, *arguments, timeout=600):
    """Runs one of our programs, which must end well; returns what its last line says."""
    done = subprocess.run([f"{BUILD}/{name}", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise Wrong(f"{name} {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def run_text(name, *arguments):
    return subprocess.run([f"{BUILD}/{name}", *arguments], capture_output=True, text=True, check=True).stdout


def settings():
    """couponsd's, by name, as they are unless one says otherwise."""
    values, section = {}, ""
    for line in run_text("couponsd", "--settings", "ini").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif re.match(r"#\w+ =", line):
            key, value = line[1:].split(" =", 1)
            values[f"{section}.{key}"] = value.strip()
    return values


def load_arguments(address, *what, options, **settings):
    """bench_load's; a closed loop unless a rate is given."""
    given = {"connections": options.connections, "run": RUN, **settings}
    if what != ("--echo",):
        what = ("--coupons", *what)
    else:
        del given["run"]
    if "rate" not in given:
        given.setdefault("in-flight", options.in_flight)
    return [address, *what, *(str(word) for key, value in given.items()
                              for word in (f"--{key.replace('_', '-')}", value))]


def check_load(result):
    if result["bad"] or result["answers"] != result["requests"]:
        raise Wrong(f"bench_load: {result}")
    return result


def load(address, *what, options, **settings):
    """What bench_load has counted."""
    return check_load(run_json("bench_load", *load_arguments(address, *what, options=options, **settings)))


@contextlib.contextmanager
def loading(address, *what, options, **settings):
    """bench_load while it runs: what its lines say, as they come. The last one is what it has counted."""
    process = subprocess.Popen([f"{BUILD}/bench_load", *load_arguments(address, *what, options=options, **settings)],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield map(json.loads, process.stdout)
        if process.wait():
            raise Wrong(f"bench_load ended with {process.returncode}")
    finally:
        end(process)
        process.stdout.close()


def echo_us():
    """CPU that the bare gRPC core takes for an echo: the speed of the machine, which changes within minutes, in the kind
    of work that this is."""
    options = argparse.Namespace(in_flight=ECHO_IN_FLIGHT, connections=2)
    with serving(f"{BUILD}/rpc_echo_raw", "--watch") as (process, address):
        load(address, "--echo", seconds=ECHO_WARM_S, options=options)
        before = own_cpu(process.pid)
        result = load(address, "--echo", seconds=ECHO_S, options=options)
        return (own_cpu(process.pid) - before) * 1e6 / result["answers"]


def expect_accepted(result, n):
    if result["accepted"] != n or result["outcomes"] != {"OK": n}:
        raise Wrong(f"of {n} requests {result['accepted']} were accepted: {result['outcomes']}")


# --- processes ---

@contextlib.contextmanager
def serving(*command):
    """A server that says "listening HOST:PORT"; yields the process and the address."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"listening (\S+)\n", line)
        if not found:
            raise Wrong(f"{command[0]} says {line!r}")
        yield process, found.group(1)
    finally:
        end(process)
        process.stdout.close()


def end(process):
    """Asks it to, and does not wait for ever."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory_kib(process, name):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


def own_cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / TICKS


def cpu_now(servers, watch):
    """Seconds so far of each that has a part in a coupon; but for the backend by which we look on. servers: couponsd"""
    return {"couponsd": sum(own_cpu(server.process.pid) for server in servers),
            "postgres": cpu_seconds(server_pid("postgres")) - own_cpu(watch.backend),
            "kafka": own_cpu(server_pid("kafka")), "redis": own_cpu(server_pid("redis"))}


# --- a number in Postgres ---

class Watch:
    """Asks for a number again and again, over a connection of its own. `changes` is when it had which value, the first
    one included; times are time.time() when the answer had come."""

    def __init__(self, stand, query):
        self.query = " ".join(query.split()) + ";\n"
        self.changes, self.failure = [], None
        self.changed = threading.Condition()
        self.stopping = False
        self.psql = subprocess.Popen(
            ["psql", stand.postgres_url, "-X", "-At", "-q", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        try:
            self.backend = self.ask("select pg_backend_pid();\n")
            self.look()
        except BaseException:
            self.close()
            raise
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.close()

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # a Ctrl-C is psql's too
            self.psql.stdin.close()
        end(self.psql)
        self.psql.stdout.close()

    def ask(self, query):
        self.psql.stdin.write(query)
        line = self.psql.stdout.readline()
        if not re.fullmatch(r"-?\d+\n", line):
            raise Wrong(f"{query.strip()}: {line!r}")
        return int(line)

    def look(self):
        value = self.ask(self.query)
        now = time.time()
        if not self.changes or self.changes[-1][1] != value:
            with self.changed:
                self.changes.append((now, value))
                self.changed.notify_all()

    def run(self):
        try:
            while not self.stopping:
                self.look()
                time.sleep(WATCH_EVERY_S)
        except (Wrong, OSError, ValueError) as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def wait_for(self, value, seconds):
        """Returns when it was first seen to have come so far."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while self.changes[-1][1] < value:
                if self.failure:
                    raise Wrong(str(self.failure))
                if not self.changed.wait(deadline - time.monotonic()):
                    raise Wrong(f"not within {seconds:.0f} s: {value} (but {self.changes[-1][1]}) by {self.query}")
            return next(at for at, seen in self.changes if seen >= value)

    def pace(self, upto):
        """Per second, from the first change until it has come so far."""
        end = next(i for i, (_, value) in enumerate(self.changes) if value >= upto)
        begin = 1 if end > 1 else 0  # 0: all of it between two looks
        (began_at, first), (ended_at, last) = self.changes[begin], self.changes[end]
        return (last - first) / (ended_at - began_at)


# --- couponsd ---

class Stand(Scenario):
    """A schema, a Redis database and topics, on which couponsd processes run, one after the other."""

    def runTest(self):
        """unittest wants one."""

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
                end(server.process)
                server.end()
            self.remove()

    def create_topic(self, name, partitions, *properties):
        """Before couponsd does."""
        run_text("bench_bare_producer", os.environ["KAFKA_BROKERS"], "create", name, str(partitions), *properties)

    def remove(self):
        self.sql(f"set client_min_messages = warning; drop schema {self.schema} cascade", schema="public")
        for name in ("outside.coupon.publish.requested.v1", "inside.coupon.published.v1"):
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
        """Coupons with ids that follow on; returns FIRST:COUNT as bench_load takes it."""
        first = self.next_id + 1
        for _ in range(n):
            self.create(server, quantity)
        return f"{first}:{n}"

    def insert_some(self, n, quantity):
        """The same by SQL, so that thousands are quick. They may be requested once the reconciler has set their flags,
        which this waits for."""
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
        """The ledger has n rows, and each coupon's tickets are 1, 2, 3, … to the last."""
        self.expect(f"{n}|t", f"""
            select coalesce(sum(rows), 0), bool_and(tickets = rows and first = 1 and last = rows and counted = rows)
            from (select coupon_id, count(*) rows, count(distinct ticket) tickets, min(ticket) first, max(ticket) last
                  from publish_request where {where} group by coupon_id) l
            join (select coupon_id, accepted counted from admission) a using (coupon_id)""", "the ledger")

    def check_issued(self, n, where="true"):
        """All n of the ledger are issued, each ticket once; nothing else is. Who holds it is who was promised it: the
        view takes that from the ledger."""
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
            raise Wrong(f"{what}: {row} and not {should}")


# A row for each coupon that is issued, as it would be without ranges.
ROWS_TABLE = """
    create table user_coupon_rows (
        coupon_id bigint not null, user_id bigint not null, ticket bigint not null check (ticket > 0),
        issue_time timestamptz not null, primary key (coupon_id, ticket), unique (user_id, coupon_id))"""


class Bare(Stand):
    """Tables that couponsd has made and nobody uses: where bench_bare_rows writes."""

    WRITTEN = {"accept": "select count(*), true from publish_request",
               "issue": "select sum(last_ticket - first_ticket + 1), true from issued",
               "issue_by_row": "select count(*), true from user_coupon_rows"}

    def __enter__(self):
        super().__enter__()
        self.stop(self.start(**ALONE))
        self.sql(ROWS_TABLE)
        # Rows for the sake of rows: they belong to no coupon's story, and are thrown away.
        for table in ("admission", "issuance", "publish_request", "issued"):
            self.sql(f"alter table {table} disable trigger user")
        return self

    def write(self, mode, rows, coupons, batch=1000):
        self.sql("""
            set client_min_messages = warning;
            truncate coupon, admission, issuance, publish_request, issued, user_coupon_rows, consumer_offset,
                     outbox_requested_0, outbox_published_0""")
        result = run_json("bench_bare_rows", mode, self.postgres_url, "--rows", rows, "--coupons", coupons,
                          "--batch", batch)
        self.expect(f"{rows}|t", self.WRITTEN[mode], f"what {mode} has written")
        return result["per_s"]

    def produce(self, messages, coupons):
        """Into a topic of its own; messages per second."""
        topic = Topic(f"{self.schema}.bare")
        self.create_topic(topic.name, PARTITIONS)
        try:
            return run_json("bench_bare_producer", os.environ["KAFKA_BROKERS"], "produce", topic.name, "--messages",
                            messages, "--coupons", coupons)["per_s"]
        finally:
            topic.delete()
