# SPDX-License-Identifier: Apache-2.0
"""growth.py: measures how couponsd's speed changes with more of something: earlier coupons, concurrent coupons, lanes,
or instances.

Each comparison alternates between a baseline and a variant, each time with new processes and a new schema. Only the
ratio within a pair counts, because the machine's speed changes. It uses the servers that POSTGRES_URL, REDIS_URL,
KAFKA_BROKERS and SERVERS_DIR name, and prints a Markdown table, or JSON. The exit code is 1 if something is wrong, such
as a missing ticket. A bad ratio does not change the exit code.
"""

import argparse
import dataclasses
import statistics

from bench import pipeline, report, runner
from bench.programs import say
from bench.stages import each, ids
from bench.stand import ALONE, PATIENT, Stand

WARM_N = 10000
LIMIT = 0.2  # allowed deviation, relative to the baseline
OLD_QUANTITY = 100_000  # quantity of each earlier coupon
RANGE = 1000  # tickets per row of `issued`


@dataclasses.dataclass(frozen=True)
class Case:
    """loads: number of load processes."""
    old_rows: int = 0
    coupons: int = 100
    lanes: int = 8
    instances: int = 1
    loads: int = 1


# axis → the field of Case that varies, its name for people, the baseline, the variants
AXES = {
    "rows": ("old_rows", "issued before", Case(old_rows=10_000), [Case(old_rows=100_000), Case(old_rows=2_000_000)]),
    "coupons": ("coupons", "coupons", Case(coupons=1), [Case(coupons=100), Case(coupons=10_000)]),
    "lanes": ("lanes", "lanes", Case(), [Case(lanes=1), Case(lanes=32)]),
    "instances": ("instances", "instances", Case(loads=2), [Case(loads=2, instances=2)]),
}
# figure → the function that takes it from a run, and whether more is better
FIGURES = {
    "rate": (lambda one: one["per_s"], True),
    "couponsd": (lambda one: one["cpu_us"]["couponsd"], False),
    "postgres": (lambda one: one["cpu_us"]["postgres"], False),
    "kafka": (lambda one: one["cpu_us"]["kafka"], False),
    "p99": (lambda one: one["answer_us"]["p99"] / 1000, False),
    "echo": (lambda one: one["echo_us"], None),
}
TEXTS = {"rate": ("coupons a second", "/s"), "couponsd": ("CPU a coupon, couponsd", "us"),
         "postgres": ("CPU a coupon, Postgres", "us"), "kafka": ("CPU a coupon, Kafka", "us"),
         "p99": ("p99 of the answer", "ms"), "echo": ("CPU of a bare echo", "us")}


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench growth", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(AXES), metavar="NAME,...", help=f"some of {', '.join(AXES)}")
    parser.add_argument("--quick", action="store_true", help="small and short, to test that it works")
    parser.add_argument("--json", metavar="FILE", help="write all runs here; -: to stdout, instead of the table")
    parser.add_argument("--n", type=int, help="coupons issued per run (100000; quick: 20000)")
    parser.add_argument("--pairs", type=int, help="pairs of runs per variant (3; quick: 1)")
    parser.add_argument("--in-flight", type=int, default=2048, help="concurrent calls in total (2048)")
    parser.add_argument("--connections", type=int, default=2, help="connections per load process (2)")
    options = parser.parse_args()
    options.only = tuple(options.only.split(","))
    unknown = set(options.only) - set(AXES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(AXES)}")
    options.n = options.n or (20000 if options.quick else 100000)
    if options.n < max(case.coupons * case.loads for *_, variants in AXES.values() for case in variants):
        parser.error("--n must be at least 10000")
    options.pairs = options.pairs or (1 if options.quick else 3)
    options.warm = min(WARM_N, options.n // 10)
    options.whole_in_flight = options.in_flight
    return options


# --- a run ---

def without_indexes(stand, table, statement):
    """Fills a table without its keys and then recreates them, which is much faster. It also disables the triggers,
    which check each statement and are too slow for one of millions of rows."""
    keys = stand.sql(f"""
        select conname, pg_get_constraintdef(oid) from pg_constraint
        where conrelid = '{table}'::regclass and contype in ('p', 'u')""")
    drop = ", ".join(f"drop constraint {name}" for name, _ in keys)
    add = ", ".join(f"add constraint {name} {definition}" for name, definition in keys)
    stand.sql(f"""
        set synchronous_commit = off; set maintenance_work_mem = '128MB';
        alter table {table} disable trigger user, {drop}; {statement};
        alter table {table} enable trigger user, {add}""")


def add_old(stand, rows):
    """Adds earlier coupons, one per OLD_QUANTITY rows, fully requested and issued. Users 1, 2, … have one of each, like
    the users of the run."""
    quantity = min(rows, OLD_QUANTITY)
    first, last = stand.next_id + 1, stand.next_id + rows // quantity
    stand.next_id = last
    old = f"(select id, {quantity}::bigint quantity from generate_series({first}, {last}) id) old"
    stand.sql(f"""
        insert into coupon (id, name, quantity, status, discount_rate, create_time)
            select id, 'old', quantity, 1, 0, clock_timestamp() from {old};
        insert into admission (coupon_id, quantity, accepted) select id, quantity, quantity from {old};
        insert into issuance (coupon_id, quantity, issued, highest)
            select id, quantity, quantity, quantity from {old}""")
    without_indexes(stand, "publish_request", f"""
        insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)
            select id, n, n, 'b-' || id || '-' || n, clock_timestamp() from {old}, generate_series(1, quantity) n""")
    stand.sql(f"""
        insert into issued (coupon_id, first_ticket, last_ticket, issue_time)
            select id, n, least(n + {RANGE} - 1, quantity), clock_timestamp()
            from {old}, generate_series(1, quantity, {RANGE}) n""")
    stand.sql("vacuum (analyze) publish_request")  # as autovacuum would have done by then
    stand.check_accepted(rows)


def run(case, options):
    n = each(options.n, case.coupons * case.loads)
    with Stand() as stand:
        if case.old_rows:
            stand.stop(stand.start(**ALONE, flow__lanes=case.lanes))
            add_old(stand, case.old_rows)
        servers = [stand.start(**PATIENT, flow__lanes=case.lanes) for _ in range(case.instances)]
        for server in servers:
            pipeline.warm_up(stand, server, options)
        what = stand.insert_some(case.coupons, n // case.coupons)
        one = pipeline.as_fast_as_it_goes(stand, servers, what, n, options, case.loads)
        for server in servers:
            stand.stop(server)
        stand.check_accepted(n, ids(what))
        stand.check_issued(n, ids(what))
    return one


def measure(options, results):
    say("warming up")
    pipeline.warm_broker(options, 1 if options.quick else 8)
    for field, label, baseline, variants in map(AXES.get, options.only):
        for variant in variants:
            name = f"{label}: {getattr(variant, field):,}, beside {getattr(baseline, field):,}"
            pairs = results[name] = []
            for number in range(options.pairs):
                pairs.append((run(baseline, options), run(variant, options)))
                rates = [one["per_s"] for one in pairs[-1]]
                say(f"{name}, pair {number + 1} of {options.pairs}: {rates[1]:,.0f} coupons/s beside {rates[0]:,.0f}; "
                    f"an echo {pairs[-1][1]['echo_us']:.1f} us and {pairs[-1][0]['echo_us']:.1f} us")


# --- output ---

def figures_of(name, pairs):
    for figure, (value_of, more_is_better) in FIGURES.items():
        values = [(value_of(baseline), value_of(variant)) for baseline, variant in pairs]
        ratios = [variant / baseline for baseline, variant in values]
        ratio, ok = statistics.median(ratios), None
        if more_is_better is not None:
            ok = ratio >= 1 - LIMIT if more_is_better else ratio <= 1 + LIMIT
        yield {"variant": name, "figure": figure, "baseline": statistics.median(baseline for baseline, _ in values),
               "value": statistics.median(variant for _, variant in values), "ratio": ratio,
               "least": min(ratios), "most": max(ratios), "ok": ok}


def cells(figure):
    what, unit = TEXTS[figure["figure"]]
    number = report.number
    should = {"rate": f">= {1 - LIMIT:g}", "echo": ""}.get(figure["figure"], f"<= {1 + LIMIT:g}")
    return [figure["variant"] if figure["figure"] == "rate" else "", what, f"{number(figure['value'])} {unit}",
            f"{number(figure['baseline'])} {unit}",
            f"{figure['ratio']:.2f} ({figure['least']:.2f} to {figure['most']:.2f})", should,
            "" if figure["ok"] is None else "ok" if figure["ok"] else "short"]


NOTES = f"""
Ratios are medians (least to greatest) of the ratios within the pairs; the other figures are medians. "ok" means within
{LIMIT:.0%} of the baseline. By default there are 100 coupons, 8 lanes and 1 instance. flow.patience_ms = 0. "Echo" is
the CPU of an echo by the bare gRPC core, before and after a run; a ratio far from 1 means that the machine's speed
changed within the pair."""


def show(options, results, wrong):
    figures = [figure for name, pairs in results.items() if pairs for figure in figures_of(name, pairs)]
    if not figures:
        return
    whole = runner.whole_of(options, wrong, figures=figures, runs=results)
    if options.json != "-":
        print(f"{runner.machine_text(whole)}\n{options.n:,} coupons in a run, {options.in_flight:,} in flight; "
              f"pairs: {options.pairs}\n")
        print(report.grid([["", "", "figure", "baseline", "ratio", "should be", ""], *map(cells, figures)]))
        print(NOTES)
    runner.write_json(options.json, whole)


def main():
    options = read_arguments()
    runner.run(lambda results: measure(options, results), lambda results, wrong: show(options, results, wrong))


if __name__ == "__main__":
    main()
