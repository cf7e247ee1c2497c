# SPDX-License-Identifier: Apache-2.0
"""./dev bench: measures how fast couponsd is, each figure beside its ceiling: the best that this machine could do,
measured in the same run.

It uses the servers that POSTGRES_URL, REDIS_URL, KAFKA_BROKERS and SERVERS_DIR name, and starts new couponsd processes
for each measurement. It prints a Markdown table, or JSON. The exit code is 1 if something is wrong, such as an answer
that does not match its request, a missing ticket, or SQL for a refusal. Slowness does not change the exit code.
"""

import argparse
import dataclasses
import statistics

from bench import calls, lone, pipeline, pollers, report, runner, stages
from bench.programs import say

CALLS = ("echo", "null", "sold_out")
WARM_N = 20000
# The calls in flight for a single stage, and for all stages together, which hold a batch each.
IN_FLIGHT, IN_FLIGHT_WHOLE = 1024, 4096
NAMES = (*CALLS, "pollers", *stages.NEEDS, "lone", "end_to_end", "batches", "latency", "memory")


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NAMES), metavar="NAME,...", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small and short, to test that it works")
    parser.add_argument("--json", metavar="FILE", help="write all figures and rounds here; -: stdout, no table")
    parser.add_argument("--n", type=int, help="requests per stage, and end to end (200000; quick: 20000)")
    parser.add_argument("--rounds", type=int, help="rounds of everything but the latencies (3; quick: 1)")
    parser.add_argument("--in-flight", type=int, help="concurrent calls in total (1024; end to end 4096)")
    parser.add_argument("--peer", action="store_true", help="beside sold_out, the same refusal by grpc-go (needs Go)")
    parser.add_argument("--connections", type=int, default=2)
    options = parser.parse_args()
    options.only = tuple(options.only.split(","))
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    options.n = options.n or (20000 if options.quick else 200000)
    if options.n < 1000:
        parser.error("--n must be at least 1000")
    options.whole_in_flight = options.in_flight or IN_FLIGHT_WHOLE
    options.in_flight = options.in_flight or IN_FLIGHT
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.warm = min(WARM_N, options.n // 10)
    options.warm_runs = 1 if options.quick else 8
    options.call_seconds = 0.5 if options.quick else 2
    options.latency_seconds = 2 if options.quick else 10
    options.idle_seconds = 2 if options.quick else 10
    options.lone_n, options.lone_slices = (200, 2) if options.quick else (1000, 5)
    return options


def measure(options, results):
    """Fills `results` step by step, so that the earlier ones can be shown if a later one fails."""
    wanted = set(options.only)
    chosen = wanted & set(stages.NEEDS)
    if wanted - {*CALLS, "pollers"}:
        say("warming up")
        pipeline.warm_broker(options, options.warm_runs)
    if wanted & set(CALLS):
        results["calls"] = calls.measure(options, wanted)
    if "pollers" in wanted:
        results["pollers"] = pollers.measure(options)
    if chosen:
        results["stages"] = stages.measure(options, chosen)
    if wanted & {"relay", "latency"}:
        results["idle"] = pipeline.idle(options)
    if "lone" in wanted:
        results["lone"] = lone.measure(options)
    if wanted & {"end_to_end", "latency", "memory"}:
        results["end_to_end"] = pipeline.measure(options)
    if "batches" in wanted:
        results["batches"] = pipeline.measure_batches(options)
    if "latency" in wanted:
        rates = [one["per_s"] for one in results["end_to_end"]["one coupon"]]
        results["latency"] = pipeline.latency(options, statistics.median(rates), report.COUPONS_PER_S)
    if "memory" in wanted:
        results["memory"] = pipeline.memory(options)


def show(options, results, wrong):
    rows = report.rows_of(results, options)
    if not rows:
        return
    whole = runner.whole_of(options, wrong, figures=[dataclasses.asdict(row) for row in rows], rounds=results)
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n{options.n:,} requests on {options.connections} connections, "
              f"{options.in_flight:,} in flight, {options.whole_in_flight:,} end to end; rounds: {options.rounds}\n")
        print(report.table(rows))
        print(report.NOTES)
    runner.write_json(options.json, whole)


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
