# SPDX-License-Identifier: Apache-2.0
"""Each stage by itself, beside the ceiling of its backend: accepting beside bare libpq, the relay beside a bare
producer, issuing beside bare libpq.

A chain of couponsd processes works on the same rows. The first one only accepts, so that the outbox fills. The second
one only relays the outbox. The third one only issues what the second one has sent. The ceiling of a stage is measured
right after it, in the same minute.
"""

from bench.programs import Wrong, expect_accepted, load, say
from bench.stand import ALONE, PATIENT, Bare, Stand, settings
from bench.watch import Watch

SHAPES = {"one coupon": 1, "100 coupons": 100}
NEEDS = {"accept": 0, "relay": 1, "issue": 2}
# Issuing has two ceilings: libpq writing ranges of tickets, as couponsd does, and libpq writing a row per coupon.
FIGURES = {"accept": ["accept"], "relay": ["relay"], "issue": ["issue", "issue_by_row"]}
UNBATCHED = {"accept": ["a transaction each"], "relay": [], "issue": [], "issue_by_row": []}
DRAIN_S = 120
UNBATCHED_SHARE = 40  # a batch of one is slow, so 1/UNBATCHED_SHARE of the requests suffices


def ids(what):
    first, count = map(int, what.split(":"))
    return f"coupon_id between {first} and {first + count - 1}"


def each(n, coupons):
    """Rounds n down to a multiple of `coupons`."""
    return n // coupons * coupons


def accept(stand, options, coupons, n, warm_n, **changed):
    """Returns accepted requests per second, after a warm-up of `warm_n`. The outbox keeps the rows."""
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
    """Runs a couponsd with only one stage until the query's number reaches `total`. Returns the rate per second without
    the last `ahead` items, because `ahead` items are in flight when the number first changes and none at its last
    change."""
    with Watch(stand, query) as watch:
        server = stand.start(**{**ALONE, **changed})
        watch.wait_for(total, DRAIN_S)
        stand.stop(server)
    if watch.changes[-1][1] != total:
        raise Wrong(f"{watch.changes[-1][1]} instead of {total}: {query}")
    return watch.pace(total - min(ahead, total // 2))


def relay(stand, total):
    head = stand.number("select sum(last_id) from outbox_head where stream = 0")
    if head != total:
        raise Wrong(f"the outbox's heads have {head}, but {total} were accepted")
    return drain(stand, "select coalesce(sum(last_id), 0)::bigint from relay_cursor where stream = 0", total,
                 int(settings()["relay.in_flight_max"]), relay__run="true")


def issue(stand, total):
    rate = drain(stand, "select coalesce(sum(issued), 0)::bigint from issuance", total, 0, issue__run="true")
    stand.check_issued(total)
    return rate


def chain(bare, options, coupons, last):
    """Runs one round of all stages up to `last`. Returns stage → (its rate, its ceiling)."""
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
    """Measures the gain of batching: accepts with transactions of one request."""
    n = max(options.n // UNBATCHED_SHARE, 100)
    with Stand() as stand:
        rate = accept(stand, options, 1, n, n // 10, admit__batch_max=1)
    return rate, bare.write("accept", n, 1, batch=1)


def measure(options, wanted):
    """wanted: some of NEEDS. Returns name → rounds of (rate, ceiling)."""
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
