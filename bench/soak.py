# SPDX-License-Identifier: Apache-2.0
"""soak.py: tests that couponsd stays stable under a long load on a timetable. Each second it samples accepted requests,
issued coupons, the p99 of the answers, memory, the sizes of tables, and the backlog of the outbox.

It uses the servers that POSTGRES_URL, REDIS_URL, KAFKA_BROKERS and SERVERS_DIR name. It prints a Markdown table, or
JSON, and draws charts (--svg). The exit code is 1 if something is wrong, such as a missing ticket, or if memory, the
outbox's tables or its backlog grow.
"""

import argparse
import dataclasses
import statistics
import time

from bench import pipeline, report, runner, svg
from bench.pipeline import OPEN_CONNECTIONS
from bench.programs import Wrong, check_load, echo_us, loading, say
from bench.stand import Stand, memory_kib

WARM_N = 20000
CAPACITY_N = 100000
MIB = 1 << 20
END_S = 60  # time limit for sending and issuing the rest
PATIENT_S = 600
SAY_EVERY_S = 30
# Bytes of an event in one stream: its prefix of 20 bytes, the event, and its share of unfilled pages and of the index.
EVENT_BYTES = 128
STREAMS = 2
# A segment is written for outbox.rotate_ms (10 s) and then drained for the same time; a slow sweep may come in between.
OUTBOX_S = 30
MEMORY_MORE = 1.1
SAMPLE = """
    select (select coalesce(sum(issued), 0)::bigint from issuance),
           (select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
            where relnamespace = current_schema::regnamespace and relkind = 'r'
                  and relname ~ '^outbox_(requested|published)_'),
           pg_total_relation_size('publish_request') + pg_total_relation_size('issued'),
           (select coalesce(sum(h.last_id - k.last_id), 0)::bigint
            from outbox_head h join relay_cursor k using (stream, lane))"""


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=10000, metavar="R",
                        help="requests per second (10000); up to 1: a share of the rate of a closed loop")
    parser.add_argument("--coupons", type=int, default=1, help="number of coupons, requested in rotation (1)")
    parser.add_argument("--svg", metavar="FILE", help="draw charts here")
    parser.add_argument("--json", metavar="FILE", help="write all samples here; -: to stdout, instead of the table")
    options = parser.parse_args()
    if options.minutes < 0.1 or options.rate <= 0 or options.coupons < 1:
        parser.error("--minutes must be at least 0.1, --rate above 0, --coupons at least 1")
    options.warm, options.n = WARM_N, CAPACITY_N
    options.connections, options.in_flight = OPEN_CONNECTIONS, 2048
    return options


class Samples(list):
    """One sample per second, from its creation on."""

    def __init__(self, stand, server):
        self.stand, self.server, self.began = stand, server, time.time()
        self.last = None
        self.take({})
        self.clear()  # the first sample serves only as the start of the differences

    def take(self, answered):
        """answered: a line of bench_load, or None."""
        issued, outbox, ledger, lag = map(int, self.stand.sql(SAMPLE)[0])
        now = time.time()
        rotations = self.server.metric("couponsd_outbox_rotations_total")
        before, self.last = self.last or (now - 1, issued, answered.get("at_s", 0), rotations), (
            now, issued, answered.get("at_s", 0), rotations)
        seconds = answered["at_s"] - before[2] if answered else 1
        latency = answered.get("latency_us")
        self.append({
            "at_s": now - self.began, "accepted_per_s": answered.get("accepted", 0) / seconds,
            "refused": answered.get("answers", 0) - answered.get("accepted", 0),
            "issued_per_s": (issued - before[1]) / (now - before[0]), "issued": issued,
            "p50_ms": latency and latency["p50"] / 1000, "p99_ms": latency and latency["p99"] / 1000,
            "rss_mib": memory_kib(self.server.process, "VmRSS") / 1024, "outbox_mib": outbox / MIB,
            "ledger_mib": ledger / MIB, "lag_rows": lag, "rotations": rotations - before[3], "loaded": bool(answered)})

    def say(self):
        now = self[-1]
        say(f"{now['at_s']:.0f} s: {now['accepted_per_s']:,.0f} accepted/s, {now['issued_per_s']:,.0f} issued/s, p99 "
            f"{now['p99_ms'] or 0:.1f} ms, couponsd {now['rss_mib']:.0f} MiB, outbox {now['outbox_mib']:.0f} MiB, "
            f"{now['lag_rows']:,} unsent")


def request(stand, server, options, results):
    """Waits until everything accepted is issued. Returns the number of coupons."""
    n = int(options.rate * options.minutes * 60)
    what = stand.create_some(server, options.coupons, n // options.coupons + 1)
    samples = results["samples"] = Samples(stand, server)
    should = samples.last[1]
    with loading(server.grpc, what, requests=n, rate=options.rate, every=1, options=options,
                 deadline=options.minutes * 60 + PATIENT_S) as lines:
        for line in lines:
            if "requests" in line:
                results["load"] = check_load(line)
                continue
            samples.take(line)
            if len(samples) % SAY_EVERY_S == 0:
                samples.say()
    if "load" not in results or set(results["load"]["outcomes"]) - {"OK", "OVERLOADED"}:
        raise Wrong(f"not all requests on the timetable were accepted: {results.get('load')}")
    should += results["load"]["accepted"]
    deadline = time.monotonic() + END_S
    while True:
        samples.take({})
        if samples[-1]["issued"] >= should and samples[-1]["lag_rows"] == 0 or time.monotonic() > deadline:
            break
        time.sleep(1)
    samples.say()
    return results["load"]["accepted"]


def measure(options, results):
    if options.rate <= 1:
        options.rate *= pipeline.end_to_end(options, 1, options.in_flight)["per_s"]
        say(f"requests per second: {options.rate:,.0f}")
    results["echo_us"] = [echo_us()]
    with Stand() as stand:
        server = stand.start()
        warm = pipeline.warm_up(stand, server, options)
        accepted = request(stand, server, options, results)
        results["echo_us"].append(echo_us())
        results["violations"] = server.metric("couponsd_reconcile_violations_total")
        stand.stop(server)
        say("checking the accepted requests and issued coupons")
        stand.check_accepted(accepted + warm)
        stand.check_issued(accepted + warm)
    results["checked"] = accepted + warm


# --- output ---

def title(options):
    return f"couponsd for {options.minutes:g} minutes at {options.rate:,.0f} requests a second"


def bound_mib(options):
    return OUTBOX_S * options.rate * EVENT_BYTES * STREAMS / MIB


def third(samples, number, name):
    """The median over a third of the load's duration."""
    size = max(len(samples) // 3, 1)
    return statistics.median(sample[name] for sample in samples[number * size:(number + 1) * size])


def rows_of(results, options):
    samples = results["samples"]
    loaded = [sample for sample in samples if sample["loaded"]]
    row, spread = report.Row, report.spread

    def of(name):
        return [sample[name] for sample in loaded]

    yield spread("soak.accepted_per_s", "accepted", of("accepted_per_s"), "/s")
    yield spread("soak.issued_per_s", "issued", of("issued_per_s"), "/s")
    yield row("soak.refused", "refused as OVERLOADED", sum(of("refused")))
    yield spread("soak.p50_ms", "answer, p50 of a second", of("p50_ms"), "ms")
    yield spread("soak.p99_ms", "answer, p99 of a second", of("p99_ms"), "ms")
    yield spread("soak.rss_mib", "couponsd's memory, RSS", of("rss_mib"), "MiB")
    yield row("soak.rss_growth", "the same: last third beside the first",
              third(loaded, 2, "rss_mib") / third(loaded, 0, "rss_mib")).need(at_most=MEMORY_MORE)
    yield row("soak.outbox_mib", "outbox, all tables: the greatest", max(of("outbox_mib")), "MiB").need(
        at_most=round(bound_mib(options)))
    yield row("soak.rotations", "outbox: segments truncated", sum(sample["rotations"] for sample in samples))
    yield row("soak.lag_rows", "outbox: unsent, the greatest", max(of("lag_rows")), "events")
    yield row("soak.lag_end_rows", "the same: at the end", samples[-1]["lag_rows"], "events").need(at_most=0)
    yield row("soak.ledger_bytes", "ledger and what is issued, growth a coupon",
              (samples[-1]["ledger_mib"] - samples[0]["ledger_mib"]) * MIB /
              max(samples[-1]["issued"] - samples[0]["issued"], 1), "bytes")
    yield row("soak.violations", "violations that the reconciler has found", results.get("violations", 0)).need(
        at_most=0)
    correct = row("soak.checked", "coupons accepted, each issued once, without gaps", results.get("checked", 0))
    correct.ok, correct.target = "checked" in results, "all"
    yield correct


NOTES = """
Figures are medians (least to greatest) of the seconds. The outbox may take the space of {seconds} s of requests, at
{bytes} bytes per event in each of two streams. CPU of an echo by the bare gRPC core: {first:.1f} us before and
{last:.1f} us after."""


def drawing(results, options):
    samples = results["samples"]

    def line(name):
        return [(sample["at_s"], sample[name]) for sample in samples]

    def rate(name):
        return [(sample["at_s"], sample[name] if sample["loaded"] else None) for sample in samples]

    rotated = [sample["at_s"] for sample in samples if sample["rotations"]]
    panel = svg.Panel
    bound = bound_mib(options)
    return svg.draw(
        title(options),
        f"one process; coupons: {options.coupons:,}; a sample each second", "seconds since the first request", [
            panel("Coupons", "per second", {"accepted": rate("accepted_per_s"), "issued": rate("issued_per_s")}),
            panel("Answer, 99th percentile of each second", "ms", {"p99": line("p99_ms")}),
            panel("Memory of couponsd, RSS", "MiB", {"RSS": line("rss_mib")}),
            panel("Outbox, its four tables with indexes", "MiB", {"size": line("outbox_mib")},
                  (bound, f"bound: {OUTBOX_S} s of requests, {bound:,.0f} MiB"), (rotated, "a segment truncated")),
            panel("Ledger and what is issued, with indexes", "MiB", {"size": line("ledger_mib")}),
            panel("Outbox, what Kafka has not acknowledged", "events", {"unsent": line("lag_rows")})])


def show(options, results, wrong):
    if not any(sample["loaded"] for sample in results.get("samples", [])):
        return
    rows = list(rows_of(results, options))
    whole = runner.whole_of(options, wrong, figures=[dataclasses.asdict(row) for row in rows], rounds=results)
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n{title(options)}\n")
        print(report.table(rows))
        print(NOTES.format(seconds=OUTBOX_S, bytes=EVENT_BYTES, first=results["echo_us"][0],
                           last=results["echo_us"][-1]))
    runner.write_json(options.json, whole)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(drawing(results, options))
    runner.end_if_short(rows, wrong, "outside the limits")


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
