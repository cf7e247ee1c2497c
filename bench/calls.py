# SPDX-License-Identifier: Apache-2.0
"""Unary calls answered by the bare gRPC core (echo, the ceiling), by the bridge with nothing behind it (null), and by
couponsd when a coupon is sold out. Rounds alternate between the servers and start a new process each time. Only the
ratio within a round counts, because the machine's speed changes.

For sold out, it also counts couponsd's commands to Redis and its reads of Postgres.
"""

import contextlib
import os
import subprocess
import time

from bench.programs import Wrong, load, say, serving
from bench.stand import Stand
from tests.harness import BUILD, ROOT, wait_until
from tests.harness.processes import cpu_seconds

# A session of Postgres reports its counters when it ends, or after it was idle for TELLS_WHEN_IDLE_S.
TELLS_WHEN_IDLE_S, TELLS_AFTER_END_S = 11, 1
WARM_SHARE = 0.25  # duration of the warm-up, relative to the measurement
FIRST_LOSER, LATER_LOSER = 1000, 10**6
CACHE_S = 0.1  # gate.cache_ms: the gate reads a coupon's flag at most once per CACHE_S
TRUTH_S = 2  # and its row at most once per TRUTH_S, in case another process has changed it while Redis took no writes
# Commands of observers, not of couponsd.
NOT_OURS = ("info", "ping", "config", "client", "command", "hello", "select")


class Server:
    """A server process, its address, and bench_load's arguments for it."""

    def __init__(self, process, address, *what):
        self.process, self.address, self.what = process, address, what

    def before(self):
        pass

    def after(self, result):
        pass


class SoldOut(Server):
    """couponsd with a sold-out coupon."""

    def __init__(self, stand, coupon):
        self.stand, self.server = stand, stand.start()
        super().__init__(self.server.process, self.server.grpc, coupon)

    def counted(self):
        calls = self.stand.redis("info", "commandstats")
        stats = (line.split(":") for line in calls.splitlines() if line.startswith("cmdstat_"))
        return {
            "redis_commands": sum(int(value.split(",")[0].split("=")[1]) for name, value in stats
                                  if not name.removeprefix("cmdstat_").startswith(NOT_OURS)),
            "gate_redis_reads": self.server.metric("couponsd_gate_redis_reads_total"),
            "gate_postgres_reads": self.server.metric("couponsd_gate_postgres_reads_total"),
            "admit_batches": self.server.metric("couponsd_stage_batch_seconds_count", stage="admit"),
            "status_batches": self.server.metric("couponsd_stage_batch_seconds_count", stage="status"),
        }

    def before(self):
        self.start = self.counted()

    def after(self, result):
        """A refusal may take no SQL but a read of the coupon per TRUTH_S, and no Redis but one of its flag per CACHE_S."""
        n = result["answers"]
        if result["outcomes"] != {"SOLD_OUT": n}:
            raise Wrong(f"some answers were not SOLD_OUT: {result['outcomes']}")
        self.used = {name: value - self.start[name] for name, value in self.counted().items()}
        most = dict.fromkeys(self.used, 0) | {"gate_redis_reads": result["seconds"] / CACHE_S + 2,
                                              "gate_postgres_reads": result["seconds"] / TRUTH_S + 1}
        if any(value > most[name] for name, value in self.used.items() if name != "redis_commands"):
            raise Wrong(f"{n} refusals took more SQL or Redis than they may: {self.used}")


@contextlib.contextmanager
def sold_out(stand, coupon):
    server = SoldOut(stand, coupon)
    yield server
    stand.stop(server.server)


@contextlib.contextmanager
def program(what, *command):
    with serving(*command) as (process, address):
        yield Server(process, address, what)


def warm_up(server, options):
    load(server.address, *server.what, seconds=WARM_SHARE * options.call_seconds, first_user=FIRST_LOSER,
         options=options)


def round_of(server, options):
    """Measures calls per second and the server's CPU per call."""
    warm_up(server, options)
    server.before()
    before = cpu_seconds(server.process.pid)
    result = load(server.address, *server.what, seconds=options.call_seconds, first_user=LATER_LOSER, options=options)
    cpu = cpu_seconds(server.process.pid) - before
    server.after(result)
    return {"per_s": result["answers"] / result["seconds"], "cpu_us": cpu * 1e6 / result["answers"],
            "p99_us": result["latency_us"]["p99"], "answers": result["answers"]}


def sell_out(stand):
    """Makes a coupon of quantity 1 and the user who holds it."""
    server = stand.start()
    what = stand.create_some(server, 1, 1)
    coupon = what.split(":")[0]
    stand.ctl(server, "request", coupon, 1)
    stand.wait_for_issued(coupon, 1)
    wait_until(lambda: stand.redis("get", f"coupon:available:{coupon}") == "false", what="its flag is false")
    stand.stop(server)
    return what


def ledger_scans(stand):
    """Returns the number of scans of the ledger that sessions have reported so far."""
    return stand.number(f"""
        select coalesce(idx_scan, 0) + seq_scan from pg_stat_user_tables
        where schemaname = '{stand.schema}' and relname = 'publish_request'""")


def one_of(turn, options):
    with turn() as server:
        one = round_of(server, options)
        if isinstance(server, SoldOut):
            one["used"] = server.used
    return one


def by_statistics(stand, coupon, options):
    """Counts the scans of the ledger by Postgres' own statistics, independent of couponsd's metrics."""
    with sold_out(stand, coupon) as server:
        warm_up(server, options)
        time.sleep(TELLS_WHEN_IDLE_S)
        before = ledger_scans(stand)
        result = load(server.address, *server.what, seconds=options.call_seconds, first_user=LATER_LOSER,
                      options=options)
    time.sleep(TELLS_AFTER_END_S)
    return {"answers": result["answers"], "ledger_scans": ledger_scans(stand) - before}


def measure(options, wanted):
    """wanted: some of echo, null, sold_out; with options.peer also the refusal by grpc-go (bench/peer). Returns
    name → rounds, and with sold_out also "statistics"."""
    results = {name: [] for name in ("echo", "null", "sold_out") if name in wanted or name == "echo"}
    if options.peer and "sold_out" in wanted:
        results["peer"] = []
        peer = subprocess.run([os.path.join(ROOT, "bench", "peer", "build.sh")], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip()
    with contextlib.ExitStack() as stack:
        stand = coupon = None
        if "sold_out" in results:
            stand = stack.enter_context(Stand())
            coupon = sell_out(stand)
        turns = {"echo": lambda: program("--echo", f"{BUILD}/rpc_echo_raw", "--watch"),
                 "null": lambda: program("1:1", f"{BUILD}/bench_null"),
                 "sold_out": lambda: sold_out(stand, coupon),
                 "peer": lambda: program("1:1", peer)}
        for number in range(options.rounds):
            for name, rounds in results.items():
                rounds.append(one_of(turns[name], options))
            say(f"calls, round {number + 1} of {options.rounds}: " + ", ".join(
                f"{name} {rounds[-1]['per_s']:,.0f}/s" for name, rounds in results.items()))
        if "sold_out" in results:
            results["statistics"] = [by_statistics(stand, coupon, options)]
    return results
