# SPDX-License-Identifier: Apache-2.0
"""Each stage by itself, beside what its backend could do at best: accept beside bare libpq, the relay beside a bare
producer, issuing beside bare libpq.

One chain of couponsd processes on the same rows: the first accepts and leaves all else to others, so that its outbox
fills; the second only relays that; the third only issues what the second has sent. After each stage comes its ceiling,
in the same minute.
"""

from bench.programs import Wrong, expect_accepted, load, say
from bench.stand import ALONE, PATIENT, Bare, Stand, settings
from bench.watch import Watch

SHAPES = {"one coupon": 1, "100 coupons": 100}
NEEDS = {"accept": 0, "relay": 1, "issue": 2}
# Issuing has two ceilings: the rows that it writes, which are ranges of tickets, and a row for each coupon.
FIGURES = {"accept": ["accept"], "relay": ["relay"], "issue": ["issue", "issue_by_row"]}
UNBATCHED = {"accept": ["a transaction each"], "relay": [], "issue": [], "issue_by_row": []}
DRAIN_S = 120
UNBATCHED_SHARE = 40  # a batch of one is so slow that fewer will do


def ids(what):
    first, count = map(int, what.split(":"))
    return f"coupon_id between {first} and {first + count - 1}"


def each(n, coupons):
    """n, rounded down to a multiple of `coupons`"""
    return n // coupons * coupons


def accept(stand, options, coupons, n, warm_n, **changed):
    """Per second; the outbox keeps the rows. `warm_n` come before."""
    server = stand.start(**ALONE, **PATIENT, **changed)
    warm = stand.create_some(server, 1, warm_n)
    what = stand.create_some(server, coupons, n)
    load(server.grpc, warm, requests=warm_n, options=options)
    result = load(server.grpc, what, requests=n, options=options)
    expect_accepted(result, n)
    stand.stop(server)
    stand.check_accepted(n + warm_n)
    return result["accepted"] / result["seconds"]


def drain(stand, query, total, ahead, **changed):
    """A couponsd with only one stage at work, until the number is what it should be. Per second, but for the last ones:
    `ahead` are under way when the number first moves, and none when it has moved for the last time."""
    with Watch(stand, query) as watch:
        server = stand.start(**{**ALONE, **changed})
        watch.wait_for(total, DRAIN_S)
        stand.stop(server)
    if watch.changes[-1][1] != total:
        raise Wrong(f"{watch.changes[-1][1]} and not {total}: {query}")
    return watch.pace(total - min(ahead, total // 2))


def relay(stand, total):
    head = stand.number("select sum(last_id) from outbox_head where stream = 0")
    if head != total:
        raise Wrong(f"the outbox's heads say {head}, but {total} were accepted")
    return drain(stand, "select coalesce(sum(last_id), 0)::bigint from relay_cursor where stream = 0", total,
                 int(settings()["relay.in_flight_max"]), relay__run="true")


def issue(stand, total):
    rate = drain(stand, "select coalesce(sum(issued), 0)::bigint from issuance", total, 0, issue__run="true")
    stand.check_issued(total)
    return rate


def chain(bare, options, coupons, last):
    """One round of all stages up to `last`. stage → (its rate, its ceiling)"""
    n = each(options.n, coupons)
    total = n + options.warm
    rates = {}
    with Stand() as stand:
        rates["accept"] = (accept(stand, options, coupons, n, options.warm), bare.write("accept", n, coupons))
        if last >= NEEDS["relay"]:
            rates["relay"] = (relay(stand, total), bare.produce(n, coupons))
        if last >= NEEDS["issue"]:
            rate = issue(stand, total)
            rates["issue"] = (rate, bare.write("issue", n, coupons))
            rates["issue_by_row"] = (rate, bare.write("issue_by_row", n, coupons))
    return rates


def unbatched(bare, options):
    """What batching buys: the same with transactions of one request."""
    n = max(options.n // UNBATCHED_SHARE, 100)
    with Stand() as stand:
        rate = accept(stand, options, 1, n, n // 10, admit__batch_max=1)
    return rate, bare.write("accept", n, 1, batch=1)


def measure(options, wanted):
    """wanted: some of NEEDS. name → rounds of (rate, ceiling)"""
    stages = [stage for stage in NEEDS if stage in wanted]
    figures = [figure for stage in stages for figure in FIGURES[stage]]
    results = {f"{figure}, {shape}": [] for figure in figures for shape in (*SHAPES, *UNBATCHED[figure])}
    with Bare() as bare:
        for number in range(options.rounds):
            for shape, coupons in SHAPES.items():
                rates = chain(bare, options, coupons, NEEDS[stages[-1]])
                for figure in figures:
                    results[f"{figure}, {shape}"].append(rates[figure])
                say(f"{shape}, round {number + 1} of {options.rounds}: " + ", ".join(
                    f"{stage} {rate:,.0f}/s of {ceiling:,.0f}/s" for stage, (rate, ceiling) in rates.items()))
            for shape in UNBATCHED[stages[0]]:
                rates = unbatched(bare, options)
                results[f"accept, {shape}"].append(rates)
                say("{}: accept {:,.0f}/s of {:,.0f}/s".format(shape, *rates))
    return results
