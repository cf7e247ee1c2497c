# SPDX-License-Identifier: Apache-2.0
"""snapshot.py: measures the cost of a long foreign transaction, such as a backup by pg_dump. Requests come at a steady
rate, first for two minutes without such a transaction, then for some minutes while one holds a snapshot and locks every
table for reading. Until it ends, Postgres removes no old row version, and the outbox cannot rotate.

It compares the last minute of each part with the first one: latencies, and the blocks that Postgres reads per batch in
the tables that each batch changes, which do not depend on the machine's other work. It uses the servers that
POSTGRES_URL, REDIS_URL, KAFKA_BROKERS and SERVERS_DIR name, and prints a Markdown table, or JSON. The exit code is 1 if
something is wrong, or if answers in the last minute under the snapshot take more than twice as long as in the first.
"""

import argparse
import contextlib
import dataclasses
import statistics
import subprocess

from bench import pipeline, report, runner
from bench.pipeline import OPEN_CONNECTIONS
from bench.programs import Wrong, check_load, loading, say
from bench.stand import Stand

WARM_N = 20000
MINUTE_S = 60
PATIENT_S = 600
LIMIT = 2
# Tables whose rows each batch changes.
HOT = ("outbox_head", "admission", "issuance", "consumer_offset", "relay_cursor")
BLOCKS = f"""
    select coalesce(sum(heap_blks_read + heap_blks_hit), 0)::bigint from pg_statio_user_tables
    where schemaname = current_schema and relname in ({", ".join(f"'{name}'" for name in HOT)})"""


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench snapshot", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="under the snapshot (10)")
    parser.add_argument("--without", type=float, default=2, metavar="MINUTES", help="before it (2)")
    parser.add_argument("--rate", type=float, default=2000, metavar="R", help="requests per second (2000)")
    parser.add_argument("--window", type=float, default=MINUTE_S, metavar="S",
                        help="seconds at the start and at the end that are compared (60)")
    parser.add_argument("--json", metavar="FILE", help="write all samples here; -: to stdout, instead of the table")
    options = parser.parse_args()
    if min(options.minutes, options.without) * MINUTE_S < 2 * options.window or options.rate <= 0:
        parser.error("each part must be at least two windows long, and --rate must be above 0")
    options.warm, options.connections, options.in_flight = WARM_N, OPEN_CONNECTIONS, 2048
    return options


@contextlib.contextmanager
def held(stand):
    """A transaction like pg_dump's."""
    tables = ", ".join(name for name, in stand.sql(
        f"select tablename from pg_tables where schemaname = '{stand.schema}'"))
    process = subprocess.Popen(["psql", stand.postgres_url, "-X", "-q", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        process.stdin.write("begin isolation level repeatable read read only;"
                            f"lock table {tables} in access share mode; select 1;\n\\echo held\n")
        process.stdin.flush()
        if "held\n" not in iter(process.stdout.readline, ""):
            raise Wrong("psql could not take a snapshot")
        yield
    finally:
        process.communicate("commit;\n", timeout=MINUTE_S)


def part(stand, server, options, minutes, samples):
    """Adds one sample per second."""
    n = int(options.rate * minutes * MINUTE_S)
    what = stand.create_some(server, 1, n + 1)
    with loading(server.grpc, what, requests=n, rate=options.rate, every=1, options=options,
                 deadline=minutes * MINUTE_S + PATIENT_S) as lines:
        for line in lines:
            if "requests" in line:
                load = check_load(line)
                continue
            if line.get("latency_us"):
                samples.append({**{name: line["latency_us"][name] / 1000 for name in ("p50", "p99")},
                                "blocks": int(stand.sql(BLOCKS)[0][0]),
                                "batches": server.metric("couponsd_stage_batch_size_count", stage="admit")})
            if len(samples) % MINUTE_S == 0 and samples:
                last = samples[-MINUTE_S:]
                say(f"{len(samples)} s: p50 {median(last, 'p50'):.1f} ms, p99 {median(last, 'p99'):.1f} ms; " + ", ".join(
                    f"{name} {stand.sql(size_of(name))[0][0]} KiB" for name in HOT))
    if set(load["outcomes"]) - {"OK", "OVERLOADED"}:
        raise Wrong(f"not all requests on the timetable were accepted: {load['outcomes']}")


def size_of(table):
    return f"select pg_total_relation_size('{table}') / 1024"


def measure(options, results):
    with Stand() as stand:
        server = stand.start()
        pipeline.warm_up(stand, server, options)
        part(stand, server, options, options.without, results.setdefault("without", []))
        with held(stand):
            part(stand, server, options, options.minutes, results.setdefault("held", []))
        results["locked_s"] = server.metric("couponsd_outbox_locked_seconds", stream="requested")
        stand.stop(server)


def median(samples, name):
    return statistics.median(sample[name] for sample in samples)


def blocks_per_batch(samples):
    """Returns the blocks read, by Postgres' statistics, which busy sessions report every second."""
    return (samples[-1]["blocks"] - samples[0]["blocks"]) / (samples[-1]["batches"] - samples[0]["batches"])


def rows_of(results, options):
    window = int(options.window)
    for key, what in (("without", "without"), ("held", "under the snapshot")):
        samples = results.get(key)
        for name in ("p50", "p99") if samples else ():
            first, last = median(samples[:window], name), median(samples[-window:], name)
            yield report.Row(f"snapshot.{key}.{name}_first_ms", f"answer, {name} of a second, {what}: first {window} s",
                             first, "ms")
            yield report.Row(f"snapshot.{key}.{name}_last_ms", f"the same: last {window} s", last, "ms")
            ratio = report.Row(f"snapshot.{key}.{name}_ratio", "the same: last beside first", last / first)
            yield ratio.need(at_most=LIMIT) if key == "held" else ratio
        if samples:
            first, last = blocks_per_batch(samples[:window]), blocks_per_batch(samples[-window:])
            yield report.Row(f"snapshot.{key}.blocks_first", f"blocks of rows that each batch changes, read for a batch, "
                             f"{what}: first {window} s", first)
            yield report.Row(f"snapshot.{key}.blocks_last", f"the same: last {window} s", last)
            ratio = report.Row(f"snapshot.{key}.blocks_ratio", "the same: last beside first", last / first)
            yield ratio.need(at_most=LIMIT) if key == "held" else ratio
    if "locked_s" in results:
        yield report.Row("snapshot.locked_s", "how long the outbox could not rotate", results["locked_s"], "s")


def show(options, results, wrong):
    rows = list(rows_of(results, options))
    whole = runner.whole_of(options, wrong, figures=[dataclasses.asdict(row) for row in rows], rounds=results)
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n{options.rate:,.0f} requests a second; {options.without:g} minutes without, "
              f"{options.minutes:g} under the snapshot\n")
        print(report.table(rows))
    runner.write_json(options.json, whole)
    runner.end_if_short(rows, wrong, "too slow")


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
