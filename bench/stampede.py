# SPDX-License-Identifier: Apache-2.0
"""A crowd presses at noon: 300,000 people want 10,000 coupons over 20,000 connections that open within 10 s. The load
is open loop, from one thread (bench/stampede.c says how people behave). Each answer is checked, then what the database
has, and that couponsd has cut off nobody.
"""

import argparse
import bisect
import collections
import dataclasses
import os
import resource
import subprocess
import tempfile
import threading
import time

from bench import report, runner, svg
from bench.programs import STOP_S, Wrong, say
from bench.stand import Stand, memory_kib
from tests.harness import BUILD, wait_until
from tests.harness.processes import cpu_seconds, end

BIN_S, SAMPLE_S = 0.5, 0.25
SPARE_FILES = 1000  # of couponsd and the load, besides connections
SMALL = {"people": 3000, "quantity": 100, "connections": 300, "seconds": 2, "sources": 2}
MIB_WANTED = 128
Answer = collections.namedtuple("Answer", "person kind due sent at retries outcome ticket greatest")
PRESS, TWICE, REPEAT = range(3)


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench stampede", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300000)
    parser.add_argument("--quantity", type=int, default=10000)
    parser.add_argument("--connections", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=10, help="time in which connections open; noon is its middle")
    parser.add_argument("--sources", type=int, default=32, help="addresses that the crowd comes from (up to 250)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of couponsd")
    parser.add_argument("--small", action="store_true", help="a small crowd, to test the bench")
    parser.add_argument("--svg", metavar="FILE", help="draw charts here")
    parser.add_argument("--json", metavar="FILE", help="write figures and samples here; -: to stdout, instead of the table")
    options = parser.parse_args()
    if options.small:
        vars(options).update(SMALL)
    return options


def raise_file_limit(n):
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, max(n, hard)))
        except (ValueError, OSError) as error:
            raise Wrong(f"{n} open files are needed; the hard limit is {hard}") from error


class Samples(threading.Thread):
    """Samples couponsd until it is stopped."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.rows, self.stopping = pid, [], threading.Event()

    def run(self):
        while True:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
            self.rows.append((time.time(), rss / 1024, cpu_seconds(self.pid)))
            if self.stopping.wait(SAMPLE_S):
                return


def crowd(server, coupon, options, results):
    """Runs the load. Returns its answers."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        samples = Samples(server.process.pid)
        samples.start()
        process = subprocess.Popen(
            [f"{BUILD}/bench_stampede", server.grpc, *map(str, (
                coupon, options.people, options.connections, options.seconds, options.sources, log))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate()
        finally:
            end(process, patience_s=STOP_S)
            samples.stopping.set()
            samples.join()
        if process.returncode:
            raise Wrong(f"{err.strip()}; cut: {server.metric('couponsd_rpc_connections_cut_total'):.0f}, refused: "
                        f"{server.metric('couponsd_rpc_connections_refused_total'):.0f}")
        results["load"] = runner.json.loads(out)
        results["samples"] = [((at - results["load"]["begin_us"] / 1e6), rss, cpu) for at, rss, cpu in samples.rows]
        answers, results["retried"], results["opened"] = [], [], []
        with open(log, encoding="ascii") as lines:
            for line in lines:
                words = line.split()
                if words[0] in "RC":
                    results["retried" if words[0] == "R" else "opened"].append(int(words[1]) / 1e6)
                else:
                    answers.append(Answer(*map(int, words[:6]), words[6], *map(int, words[7:])))
        return answers


def must(holds, what):
    if not holds:
        raise Wrong(what)


def check_answers(answers, people, quantity):
    """Checks what each person was told. Returns the winners' tickets by person."""
    n = min(quantity, people)
    first = {answer.person: answer for answer in answers if answer.kind == PRESS}
    must(len(first) == people, f"{len(first)} of {people} people have an answer")
    tickets = {person: answer.ticket for person, answer in first.items() if answer.outcome == "OK"}
    must(sorted(tickets.values()) == list(range(1, n + 1)), f"{len(tickets)} winners instead of {n}, or wrong tickets")
    for answer in answers:
        won = answer.person in tickets
        should = {PRESS: "OK", TWICE: "ALREADY_REQUESTED", REPEAT: "OK"}[answer.kind] if won else "SOLD_OUT"
        must(answer.outcome == should, f"{answer} instead of {should}")
        if answer.kind == REPEAT and won:
            must(answer.ticket == tickets[answer.person], f"{answer}: the first answer had {tickets[answer.person]}")
        if answer.kind == PRESS and won:
            must(answer.ticket > answer.greatest, f"{answer}: a ticket that was known before is greater")
    return tickets


def check_database(stand, coupon, tickets, answers, begin_us):
    """Checks the ledger against the answers, and that nobody was told SOLD_OUT before the last ticket."""
    rows = stand.sql(f"select user_id, ticket from publish_request where coupon_id = {coupon}")
    must({int(user) - 1: int(ticket) for user, ticket in rows} == tickets, "the ledger has other winners")
    last_us = stand.number(f"""
        select (extract(epoch from max(accept_time)) * 1000000)::bigint from publish_request
        where coupon_id = {coupon}""") - begin_us
    early = min((answer.at for answer in answers if answer.outcome == "SOLD_OUT"), default=last_us)
    must(early >= last_us, f"SOLD_OUT {last_us - early} us before the last ticket")


def measure(options, results):
    raise_file_limit(options.connections + SPARE_FILES)
    settings = dict(word.split("=", 1) for word in options.set)
    if options.connections > 16384:
        settings.setdefault("grpc.max_connections", "0")
    with Stand() as stand:
        server = stand.start(**settings)
        coupon = stand.create(server, options.quantity)
        before = cpu_seconds(server.process.pid)
        answers = crowd(server, coupon, options, results)
        results["cpu_s"] = cpu_seconds(server.process.pid) - before
        results["peak_mib"] = memory_kib(server.process, "VmHWM") / 1024
        results["answers"] = answers
        for name in ("cut", "refused"):
            n = server.metric(f"couponsd_rpc_connections_{name}_total")
            must(n == 0, f"{n:.0f} connections were {name}")
        tickets = check_answers(answers, options.people, options.quantity)
        check_database(stand, coupon, tickets, answers, results["load"]["begin_us"])
        wait_until(lambda: stand.number(f"select count(*) from user_coupon where coupon_id = {coupon}") == len(tickets),
                   what="all winners have coupons")
        stand.ctl(server, "verify", coupon)
        stand.check_issued(len(tickets))
        stand.stop(server)
        say("all answers are right")
    results["checked"] = len(answers)


# --- output ---

def percentile(ordered, share):
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def by_bin(values, seconds=BIN_S):
    """values: (time in s, value). Returns the lists of values by bin, from 0 on."""
    bins = collections.defaultdict(list)
    for at, value in values:
        bins[int(at / seconds)].append(value)
    return [bins[i] for i in range(max(bins, default=-1) + 1)]


def rows_of(results, options):
    row, presses = report.Row, [answer for answer in results["answers"] if answer.kind == PRESS]
    for outcome, name in (("OK", "a yes"), ("SOLD_OUT", "a no")):
        ms = sorted((answer.at - answer.due) / 1000 for answer in presses if answer.outcome == outcome)
        for figure, value in (("p50", percentile(ms, 0.5)), ("p99", percentile(ms, 0.99)), ("max", percentile(ms, 1))):
            if value is not None:
                yield row(f"stampede.{outcome.lower()}_{figure}_ms", f"{name}, from the press, {figure}", value, "ms")
    seconds = by_bin(((answer.at / 1e6, (answer.at - answer.due) / 1000) for answer in presses), 1)
    yield row("stampede.worst_second_ms", "the greatest p99 of a second",
              max(percentile(sorted(one), 0.99) for one in seconds if one), "ms")
    yield row("stampede.most_answers", "answers in the busiest second", max(map(len, seconds)), "/s")
    late = sorted((answer.sent - answer.due) / 1000 for answer in presses)
    yield row("stampede.late_p99_ms", "sent after the timetable, p99", percentile(late, 0.99), "ms")
    yield row("stampede.retries", "retries", len(results["retried"]))
    yield row("stampede.cpu_us", "CPU of couponsd an answer",
              results["cpu_s"] * 1e6 / (len(results["answers"]) + len(results["retried"])), "us")
    yield row("stampede.load_cpu_s", "CPU of the load", results["load"]["cpu_s"], "s")
    yield row("stampede.peak_mib", "couponsd's memory, peak RSS", results["peak_mib"], "MiB")
    correct = row("stampede.checked", "answers, all of them right", results.get("checked", 0))
    correct.ok, correct.target = "checked" in results, "all"
    yield correct


def drawing(results, options):
    answers, panel = results["answers"], svg.Panel

    def rate(times):
        return [((i + 0.5) * BIN_S, len(one) / BIN_S) for i, one in enumerate(by_bin((at, 1) for at in times))]

    bins = [sorted(one) for one in by_bin((a.at / 1e6, (a.at - a.due) / 1000) for a in answers if a.kind == PRESS)]
    samples = [sample for sample in results["samples"] if sample[0] >= 0]
    return svg.draw(
        f"{options.people:,} people, {options.quantity:,} coupons, {options.connections:,} connections",
        f"one couponsd; noon is at {options.seconds / 2:g} s; latencies from the press to the final answer",
        "seconds since the first connection", [
            panel("Presses and retries", "per second", {
                "presses": rate(a.due / 1e6 for a in answers if a.kind == PRESS), "retries": rate(results["retried"])}),
            panel("Answers", "per second", {"no": rate(a.at / 1e6 for a in answers if a.outcome == "SOLD_OUT"),
                                            "yes": rate(a.at / 1e6 for a in answers if a.outcome == "OK")}),
            panel(f"Final answers, of each {BIN_S:g} s", "ms", {
                name: [((i + 0.5) * BIN_S, percentile(one, share)) for i, one in enumerate(bins)]
                for name, share in (("p50", 0.5), ("p99", 0.99))}),
            panel("Connections", "open", {"open": [
                (at, bisect.bisect(results["opened"], at)) for at, _, _ in samples]}),
            panel("Memory of couponsd, RSS", "MiB", {"RSS": [(at, rss) for at, rss, _ in samples]},
                  (MIB_WANTED, f"wanted: {MIB_WANTED} MiB")),
            panel("CPU of couponsd", "cores", {"CPU": [
                (at, (cpu - cpu0) / (at - at0)) for (at0, _, cpu0), (at, _, cpu) in zip(samples, samples[1:])]})])


def show(options, results, wrong):
    if "answers" not in results:
        return
    rows = list(rows_of(results, options))
    whole = runner.whole_of(options, wrong, figures=[dataclasses.asdict(row) for row in rows],
                            samples=results["samples"])
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n")
        print(report.table(rows))
    runner.write_json(options.json, whole)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(drawing(results, options))


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
