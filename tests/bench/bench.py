"""bench.py: how fast couponsd is, each figure beside what could be had at best on this machine, in the same run.

Servers are those that POSTGRES_URL, REDIS_URL, KAFKA_BROKERS and SERVERS_DIR name; each measurement has couponsd
processes of its own there. Prints a Markdown table, or JSON. The exit code is 1 where something is wrong, such as an
answer that does not agree with what was asked, a ticket that is missing, or SQL for a refusal; not where couponsd is
too slow.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import bench_calls
import bench_report
import bench_stages
import bench_whole
from bench_servers import say

CALLS = ("echo", "null", "sold_out")
WARM_N = 20000
NAMES = (*CALLS, *bench_stages.NEEDS, "end_to_end", "latency", "memory")


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NAMES), metavar="NAME,...", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small and short: whether it works")
    parser.add_argument("--json", metavar="FILE", help="where to write all figures and rounds; -: instead of the table")
    parser.add_argument("--n", type=int, help="requests of a stage, and end to end (200000; quick: 20000)")
    parser.add_argument("--rounds", type=int, help="of each but the latencies (3; quick: 1)")
    parser.add_argument("--in-flight", type=int, default=1024, help="calls at a time, in all")
    parser.add_argument("--connections", type=int, default=2)
    options = parser.parse_args()
    options.only = tuple(options.only.split(","))
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    options.n = options.n or (20000 if options.quick else 200000)
    if options.n < 1000:
        parser.error("--n must be 1000 at least")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.warm = min(WARM_N, options.n // 10)
    options.call_seconds = 0.5 if options.quick else 2
    options.latency_seconds = 2 if options.quick else 10
    options.idle_seconds = 2 if options.quick else 10
    return options


def measure(options, results):
    """Fills `results` one after the other, so that what there is can be shown when a later one fails."""
    wanted = set(options.only)
    stages = wanted & set(bench_stages.NEEDS)
    if wanted - set(CALLS):
        say("warming up")
        bench_whole.end_to_end(argparse.Namespace(**{**vars(options), "n": min(WARM_N, options.n)}), 1)
    if wanted & set(CALLS):
        results["calls"] = bench_calls.measure(options, wanted)
    if stages:
        results["stages"] = bench_stages.measure(options, stages)
    if wanted & {"relay", "latency"}:
        results["idle"] = bench_whole.idle(options)
    if wanted & {"end_to_end", "latency", "memory"}:
        results["end_to_end"] = bench_whole.measure(options)
    if "latency" in wanted:
        rates = [one["per_s"] for one in results["end_to_end"]["one coupon"]]
        results["latency"] = bench_whole.latency(options, statistics.median(rates))
    if "memory" in wanted:
        results["memory"] = bench_whole.memory(options)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    query = """
        select name || ' ' || current_setting(name) from pg_settings
        where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers')"""
    shown = subprocess.run(["psql", os.environ["POSTGRES_URL"], "-X", "-At", "-c", query], capture_output=True,
                           text=True, check=True)
    return {"cores": os.cpu_count(), "model": model, "kernel": platform.release(),
            "postgres": shown.stdout.splitlines()}


def show(options, results, wrong):
    rows = bench_report.rows_of(results, options)
    if not rows:
        return
    whole = {"machine": machine(), "options": vars(options), "figures": [dataclasses.asdict(row) for row in rows],
             "rounds": results, "wrong": wrong and str(wrong)}
    if options.json != "-":
        print(f"{whole['machine']['cores']} cores ({whole['machine']['model']}); Postgres: "
              f"{', '.join(whole['machine']['postgres'])}\n{options.n:,} requests, {options.in_flight:,} in flight on "
              f"{options.connections} connections; rounds: {options.rounds}\n")
        print(bench_report.table(rows))
        print(bench_report.NOTES)
    if options.json:
        with sys.stdout if options.json == "-" else open(options.json, "w", encoding="utf-8") as file:
            json.dump(whole, file, indent=1)
            file.write("\n")


def main():
    options = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is stopped
    folder = None
    if "TEST_DIR" not in os.environ:
        folder = os.environ["TEST_DIR"] = tempfile.mkdtemp(prefix="couponsd-bench.")
    results, wrong = {}, None
    try:
        measure(options, results)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        wrong = error
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if folder and not wrong:
            shutil.rmtree(folder)
    show(options, results, wrong)
    if wrong:
        sys.exit(f"bench.py: {wrong}; logs are in {os.environ['TEST_DIR']}")


if __name__ == "__main__":
    main()
