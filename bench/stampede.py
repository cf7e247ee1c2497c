# SPDX-License-Identifier: Apache-2.0
"""stampede.py: a crowd asks for the coupons of one campaign. Connections open within ten seconds; at noon the people
begin to press, most of them within the first seconds, by a timetable that waits for nobody. Clients repeat a call that
was refused for the moment, after the time that the refusal names. Some people press twice, some repeat their call.

Each answer is checked: the winners and their tickets, the order, that nobody else has a ticket and all of them are told
SOLD_OUT, and not before the last ticket is given; that no connection was cut off; and that Postgres, couponctl verify
and the answers agree. The exit code is 1 if anything is wrong.

It uses the servers that POSTGRES_URL, REDIS_URL, KAFKA_BROKERS and SERVERS_DIR name. It prints a Markdown table, or
JSON, and draws charts (--svg).
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import tempfile

from bench import report, runner, svg
from bench.programs import STOP_S, Wrong, echo_us, say
from bench.stand import Stand, cpu_now, memory_kib
from bench.watch import Watch
from tests.harness import BUILD
from tests.harness.processes import cpu_seconds, end

# couponsd keeps a sixteenth of its file descriptors from clients, and needs some for its servers and log.
OWN_FILES = 300
RESERVED = 16
MEMORY_MIB = 128
VERIFY_MS = 60000
NO_LIMIT = 0


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench stampede", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300000, metavar="N")
    parser.add_argument("--coupons", type=int, default=10000, metavar="N")
    parser.add_argument("--connections", type=int, default=20000, metavar="N", help="20000, or what the files allow")
    parser.add_argument("--addresses", type=int, default=64, metavar="N", help="addresses of the clients (64)")
    parser.add_argument("--connect-s", type=float, default=10, metavar="S", help="all connections open within (10)")
    parser.add_argument("--noon-s", type=float, default=8, metavar="S", help="the first people press then (8)")
    parser.add_argument("--peak-s", type=float, default=1.5, metavar="S", help="the peak comes this long after noon")
    parser.add_argument("--every", type=float, default=0.5, metavar="S", help="a sample (0.5)")
    parser.add_argument("--deadline", type=float, default=120, metavar="S")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of couponsd")
    parser.add_argument("--svg", metavar="FILE", help="draw charts here")
    parser.add_argument("--json", metavar="FILE", help="write all samples here; -: to stdout, instead of the table")
    options = parser.parse_args()
    if not 0 < options.coupons < options.people or options.connections < 1:
        parser.error("there must be more people than coupons, and a connection")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = most - most // RESERVED - OWN_FILES
    if options.connections > fitting:
        say(f"of {options.connections:,} connections, {fitting:,} fit: a process here may have {most:,} files open")
        options.connections = fitting
    return options


def settings(options):
    """grpc.max_connections would refuse connections above 16,384."""
    return {"grpc__max_connections": NO_LIMIT} | dict(
        item.replace(".", "__").split("=", 1) for item in options.set)


# --- the run ---

def crowd(stand, server, options, coupon, log):
    """Runs the load. Returns its result and the samples."""
    command = [f"{BUILD}/bench_stampede", server.grpc, "--coupon", coupon, "--log", log, "--run", stand.schema[:8]]
    for name in ("people", "connections", "addresses", "connect_s", "noon_s", "peak_s", "every", "deadline"):
        command += [f"--{name.replace('_', '-')}", getattr(options, name)]
    samples, result = [], None
    before, last_s = cpu_seconds(server.process.pid), 0
    load = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in load.stdout:
            one = json.loads(line)
            if "at_s" not in one:
                result = one
                continue
            now = cpu_seconds(server.process.pid)
            one["cpu"] = (now - before) / max(one["at_s"] - last_s, 0.001)
            one["seconds"] = one["at_s"] - last_s
            one["rss_mib"] = memory_kib(server.process, "VmRSS") / 1024
            before, last_s = now, one["at_s"]
            samples.append(one)
        _, why = load.communicate()
    finally:
        end(load, patience_s=STOP_S)
    return result, samples, why.strip()


def cut_off(server):
    return {name: server.metric(f"couponsd_rpc_connections_{name}_total") for name in ("cut", "refused")}


def check_answers(stand, options, coupon, log):
    """Compares the answers with the ledger: the same users, request ids and tickets."""
    with open(log, encoding="ascii") as lines:
        presses = [line.split() for line in lines]
    told = {(user, request_id, ticket) for user, request_id, kind, answer, ticket in presses
            if answer == "OK" and kind != "repeat"}
    stored = {tuple(row) for row in stand.sql(
        f"select user_id, request_id, ticket from publish_request where coupon_id = {coupon}")}
    if told != stored:
        raise Wrong(f"the answers and the ledger differ in {len(told ^ stored)} tickets, such as {min(told ^ stored)}")
    if len({user for user, *_ in told}) != options.coupons:
        raise Wrong(f"{len({user for user, *_ in told})} winners instead of {options.coupons}")
    refused = {user for user, _, _, answer, _ in presses if answer == "SOLD_OUT"}
    if len(refused) != options.people - options.coupons or refused & {user for user, *_ in told}:
        raise Wrong(f"{len(refused)} people were told SOLD_OUT, of {options.people - options.coupons}")


def check_first_no(stand, coupon, load):
    """Nobody may be refused before the transaction of the last ticket has begun."""
    last_us = stand.number(f"""
        select (extract(epoch from max(accept_time)) * 1000000)::bigint from publish_request
        where coupon_id = {coupon}""")
    if load["first_no_us"] <= last_us:
        raise Wrong(f"SOLD_OUT was told {last_us - load['first_no_us']} us before the last ticket was given")


def check(stand, server, options, coupon, log, results):
    load, why = results["load"], results.pop("why")
    if why or load is None:
        raise Wrong(f"{why}; couponsd cut off {results['cut']}")
    if load["winners"] != options.coupons or load["max_ticket"] != options.coupons:
        raise Wrong(f"{load['winners']} winners and tickets up to {load['max_ticket']}, not {options.coupons}")
    if any(results["cut"].values()):
        raise Wrong(f"couponsd cut off connections: {results['cut']}")
    if load["ready"] != options.connections:
        raise Wrong(f"{load['ready']} of {options.connections} connections are open at the end")
    check_answers(stand, options, coupon, log)
    check_first_no(stand, coupon, load)
    where = f"coupon_id = {coupon}"
    stand.check_accepted(options.coupons, where)
    stand.check_issued(options.coupons, where)
    stand.ctl(server, "verify", coupon, "--topics-timeout", VERIFY_MS)
    results["checked"] = options.people


def measure(options, results):
    results["echo_us"] = [echo_us()]
    with Stand() as stand, tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "answers")
        server = stand.start(**settings(options))
        results["idle_mib"] = memory_kib(server.process, "VmRSS") / 1024
        coupon = stand.create_some(server, 1, options.coupons).split(":")[0]
        issued = f"select coalesce(sum(issued), 0)::bigint from issuance where coupon_id = {coupon}"
        with Watch(stand, issued) as watch:
            before = cpu_now([server], watch)
            results["load"], results["samples"], results["why"] = crowd(stand, server, options, coupon, log)
            results["cut"] = cut_off(server)
            if not results["why"]:
                watch.wait_for(options.coupons, options.deadline)
            after = cpu_now([server], watch)
        results["cpu_s"] = {name: after[name] - before[name] for name in after}
        results["refused"] = {name: server.metric(f"couponsd_{name}_total") for name in ("refused", "refused_early")}
        results["peak_mib"] = memory_kib(server.process, "VmHWM") / 1024
        check(stand, server, options, coupon, log, results)
        stand.stop(server)
    results["echo_us"].append(echo_us())


# --- output ---

def title(options):
    return (f"{options.people:,} people, {options.coupons:,} coupons, {options.connections:,} connections from "
            f"{options.addresses} addresses")


def latency(key, what, load):
    ms = {name: load[name] / 1000 for name in ("p50", "p99", "max")}
    return report.Row(key, what, ms["p99"], "ms", percentiles=ms)


def worst(samples, name):
    return max(sample[name] / sample["seconds"] for sample in samples)


def rows_of(results, options):
    load, samples = results["load"], results["samples"]
    row = report.Row
    calls = load["calls"]
    yield latency("stampede.yes_ms", "a yes: from the press to the final answer", load["yes_us"])
    yield latency("stampede.no_ms", "a no: the same", load["no_us"])
    yield latency("stampede.repeat_ms", "a repeat with the same request id", load["repeat_us"])
    second = load["worst_second"]
    yield row("stampede.worst_second_ms", "the worst second: p99", second["p99"] / 1000, "ms",
              note=f"{second['n']:,} answers, max {second['max'] / 1000:,.0f} ms, ended at {second['at_s']:.0f} s")
    yield row("stampede.presses_per_s", "presses: the most in a sample", worst(samples, "presses"), "/s")
    yield row("stampede.answers_per_s", "answers: the most in a sample",
              max((one["yes"] + one["no"] + one["repeats"]) / one["seconds"] for one in samples), "/s")
    yield row("stampede.yes_per_s", "yes: the most in a sample", worst(samples, "yes"), "/s")
    yield row("stampede.retries", "calls that were refused for the moment and repeated", load["retries"])
    yield row("stampede.peak_mib", "couponsd's memory, the greatest RSS", results["peak_mib"], "MiB",
              note=f"{results['idle_mib']:.0f} MiB before").need(at_most=MEMORY_MIB)
    yield row("stampede.connection_kib", "the same: growth a connection",
              (results["peak_mib"] - results["idle_mib"]) * 1024 / options.connections, "KiB")
    yield row("stampede.cpu_us", "couponsd's CPU a call", results["cpu_s"]["couponsd"] * 1e6 / calls, "us",
              note=f"{results['refused'].get('refused_early', 0):,.0f} of {calls:,} refused on the doorstep")
    yield row("stampede.load_cpu_us", "the load's CPU a call", load["cpu_s"] * 1e6 / calls, "us")
    yield latency("stampede.late_ms", "the load's own lateness", load["late_us"])
    yield row("stampede.cut", "connections that couponsd cut off or refused", sum(results["cut"].values())).need(
        at_most=0)
    correct = row("stampede.checked", "people whose answers are right", results.get("checked", 0))
    correct.ok, correct.target = "checked" in results, "all"
    yield correct


def drawing(results, options):
    samples = results["samples"]
    panel = svg.Panel

    def rate(name):
        return [(one["at_s"], one[name] / one["seconds"]) for one in samples]

    def answers(name):
        return [(one["at_s"], one["answers_us"][name] / 1000 if one["answers_us"]["n"] else None) for one in samples]

    def line(name):
        return [(one["at_s"], one[name]) for one in samples]

    return svg.draw(
        title(options), f"one couponsd, 2 cores shared with the load and all servers; a sample every {options.every:g} s; "
        f"noon is at {options.noon_s:g} s", "seconds", [
            panel("Presses, and answers that refuse", "per second", {"presses": rate("presses"), "no": rate("no")}),
            panel("Answers that accept, and calls to be repeated", "per second",
                  {"yes": rate("yes"), "retries": rate("retries")}),
            panel("Answer, from the press on", "ms", {"p50": answers("p50"), "p99": answers("p99")}),
            panel("Connections", "open", {"open": line("connections")}),
            panel("Memory of couponsd, RSS", "MiB", {"RSS": line("rss_mib")}),
            panel("CPU of couponsd", "cores", {"CPU": line("cpu")})])


def show(options, results, wrong):
    if not results.get("samples") or not results.get("load"):
        return
    rows = list(rows_of(results, options))
    whole = runner.whole_of(options, wrong, figures=[dataclasses.asdict(row) for row in rows], rounds=results)
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n{title(options)}\n")
        print(report.table(rows))
        print(f"\nCPU in s: {', '.join(f'{name} {seconds:.1f}' for name, seconds in results['cpu_s'].items())}, load "
              f"{results['load']['cpu_s']:.1f}; an echo took {', '.join(f'{one:.1f}' for one in results['echo_us'])} us")
    runner.write_json(options.json, whole)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(drawing(results, options))


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
