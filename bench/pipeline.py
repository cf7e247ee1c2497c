# SPDX-License-Identifier: Apache-2.0
"""All of couponsd at once, from the first request until the last coupon is issued: as fast as possible (end_to_end) and
on a timetable (latency); and the memory of one process (memory).

"Request to issued" runs, by Postgres' clock, from the ledger's record of a request to the issue of its coupon; both
times are the start of the transaction. The time before that belongs to the answer's latency, which bench_load measures
from the time that the request was due.
"""

import concurrent.futures
import time

from bench.programs import Wrong, echo_us, expect_accepted, load, say
from bench.stages import SHAPES, each, ids
from bench.stand import PARTITIONS, PATIENT, Disk, Stand, changed, cpu_now, memory_kib, settings
from bench.watch import Watch
from tests.harness.kafka import Topic

ISSUED_S = 120
OTHER_IN_FLIGHT = (2048,)
# name → coupons, requests in flight: batches of many requests for one coupon, of about ten for each, and of few
BATCHES = {"one coupon": (1, 1024), "100 coupons": (100, 1024), "1,000 coupons": (1000, 4096)}
CREATED_BY_SQL = 200  # from this number of coupons on: a call for each would take too long
WARM_IN_FLIGHT = 256  # few enough that no request waits too long and is refused
IDLE_PER_S = 20
OPEN_CONNECTIONS = 4  # by default, couponsd allows 10,000 calls on each
PATIENT_S = 600
REQUESTED = "outside.coupon.publish.requested.v1"


def issued_of(what):
    return f"select coalesce(sum(issued), 0)::bigint from issuance where {ids(what)}"


def warm_up(stand, server, options):
    """Fills pools and caches of plans. Returns how many coupons were issued."""
    what = stand.create_some(server, 1, options.warm)
    calm = changed(options, in_flight=min(WARM_IN_FLIGHT, options.in_flight))
    expect_accepted(load(server.grpc, what, requests=options.warm, options=calm), options.warm)
    with Watch(stand, issued_of(what)) as watch:
        watch.wait_for(options.warm, ISSUED_S)
    return options.warm


# --- end to end ---

def load_all(servers, what, n, loads, options):
    """Makes n requests by `loads` concurrent processes, each with its share of the users, spread over the servers."""
    coupons = int(what.split(":")[1])
    users = [n // coupons * i // loads for i in range(loads + 1)]
    part = changed(options, in_flight=options.in_flight // loads)
    with concurrent.futures.ThreadPoolExecutor(loads) as pool:
        return list(pool.map(lambda i: load(servers[i % len(servers)].grpc, what, first_user=users[i] + 1, options=part,
                                            requests=(users[i + 1] - users[i]) * coupons), range(loads)))


def as_fast_as_it_goes(stand, servers, what, n, options, loads=1):
    """Makes n requests for `what`, evenly spread, and waits until all are issued. The percentiles of the answers are
    those of the slower load process."""
    echo_before_us = echo_us()
    with Watch(stand, issued_of(what)) as watch:
        before = cpu_now(servers, watch)
        results = load_all(servers, what, n, loads, options)
        done = watch.wait_for(n, ISSUED_S)
        cpu = {name: value - before[name] for name, value in cpu_now(servers, watch).items()}
    for result in results:
        expect_accepted(result, result["requests"])
    cpu["load"] = sum(result["cpu_s"] for result in results)
    begin_us = min(result["begin_us"] for result in results)
    accepted_us = max(result["end_us"] for result in results) - begin_us
    return {"per_s": n / (done - begin_us / 1e6), "accepted_per_s": n * 1e6 / accepted_us,
            "cpu_us": {name: value * 1e6 / n for name, value in cpu.items()},
            "answer_us": {name: max(result["latency_us"][name] for result in results) for name in ("p50", "p99")},
            "in_flight": options.in_flight, "echo_us": (echo_before_us + echo_us()) / 2}


def end_to_end(options, coupons, in_flight):
    """One run of a new process."""
    n = each(options.n, coupons)
    with Stand() as stand:
        server = stand.start(**PATIENT)
        warm = warm_up(stand, server, options)
        what = (stand.insert_some(coupons, n // coupons) if coupons >= CREATED_BY_SQL
                else stand.create_some(server, coupons, n // coupons))
        one = as_fast_as_it_goes(stand, [server], what, n, changed(options, in_flight=in_flight))
        one["peak_kib"] = memory_kib(server.process, "VmHWM")
        stand.stop(server)
        stand.check_accepted(n + warm)
        stand.check_issued(n + warm)
    return one


def warm_broker(options, runs):
    """Warms up Kafka until its JVM has compiled the hot code. That takes 1.5 million coupons, and until then compiling
    costs twice as much CPU as the broker itself."""
    for number in range(runs):
        end_to_end(options, list(SHAPES.values())[number % len(SHAPES)], options.whole_in_flight)


def told(one):
    return (f"{one['per_s']:,.0f} coupons/s, CPU us "
            + ", ".join(f"{name} {value:.1f}" for name, value in one["cpu_us"].items())
            + f"; an echo {one['echo_us']:.1f} us")


def measure_batches(options):
    """Returns name → rounds."""
    results = {name: [] for name in BATCHES}
    for number in range(options.rounds):
        for name, (coupons, in_flight) in BATCHES.items():
            results[name].append(end_to_end(options, coupons, in_flight))
            say(f"{name}, {in_flight:,} in flight, round {number + 1} of {options.rounds}: {told(results[name][-1])}")
    return results


def measure(options):
    """Returns shape → rounds. A round may have others, measured with OTHER_IN_FLIGHT."""
    results = {shape: [] for shape in SHAPES}
    for number in range(options.rounds):
        for shape, coupons in SHAPES.items():
            one = end_to_end(options, coupons, options.whole_in_flight)
            results[shape].append(one)
            if "end_to_end" in options.only:
                one["others"] = [end_to_end(options, coupons, other) for other in OTHER_IN_FLIGHT
                                 if other != options.whole_in_flight]
            say(f"end to end, {shape}, round {number + 1} of {options.rounds}: {told(one)}")
    return results


# --- latency ---

def ledger_to_issued(stand, what):
    """Returns the percentiles in ms."""
    (p50, p99, p999), = stand.sql(f"""
        select p[1], p[2], p[3] from (
            select percentile_disc(array[0.5, 0.99, 0.999]) within group
                   (order by 1000 * extract(epoch from u.issue_time - r.accept_time)) p
            from issued u cross join lateral (
                select accept_time from publish_request
                where coupon_id = u.coupon_id and ticket between u.first_ticket and u.last_ticket
                offset 0) r -- by the index, and not each row beside each range
            where {ids(what)}) q""")
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999)}


def outbox_to_kafka(stand, topic, what):
    """Returns the number of events in the topic, and the times in ms from the outbox (the transaction's time, which the
    ledger has too) to the broker. The broker's times are whole ms, so half a ms is added."""
    appended = {int(ticket): float(ms) for ticket, ms in stand.sql(
        f"select ticket, 1000 * extract(epoch from accept_time) from publish_request where {ids(what)}")}
    first = int(what.split(":")[0])
    delays = sorted(message["timestamp"] + 0.5 - appended[message["ticket"]]
                    for message in topic.messages() if message["coupon"] == first)
    return len(delays), {"p50": delays[len(delays) // 2], "p99": delays[int(0.99 * len(delays))]}


def by_timetable(options, per_s, seconds, quiet=False):
    """Runs an open loop against a new process. `quiet`: at a very low rate, and also reads from the topic when the
    broker got each message."""
    n = max(int(per_s * seconds), 1)
    with Stand() as stand:
        topic = Topic(f"{stand.schema}.{REQUESTED}")
        if quiet:
            stand.create_topic(topic.name, PARTITIONS, "message.timestamp.type=LogAppendTime")
        server = stand.start()
        warm = warm_up(stand, server, options)
        what = stand.create_some(server, 1, n)
        with Disk() as disk:
            result = load(server.grpc, what, requests=n, rate=per_s, connections=1 if quiet else OPEN_CONNECTIONS,
                          deadline=PATIENT_S, options=options, **({"gather_us": 0} if quiet else {}))
        accepted = result["accepted"]
        if not accepted or set(result["outcomes"]) - {"OK", "OVERLOADED"} or quiet and accepted != n:
            raise Wrong(f"of {n} requests on a timetable, {accepted} were accepted: {result['outcomes']}")
        with Watch(stand, issued_of(what)) as watch:
            watch.wait_for(accepted, ISSUED_S)
        stand.stop(server)
        stand.check_accepted(accepted + warm)
        stand.check_issued(accepted + warm)
        one = {"asked_per_s": per_s, "requests": n, "accepted": accepted, "outcomes": result["outcomes"],
               "answer_ms": {name: result["accepted_latency_us"][name] / 1000 for name in ("p50", "p99", "p999")},
               "ledger_to_issued_ms": ledger_to_issued(stand, what), "disk_ms": disk.percentiles_ms()}
        if quiet:
            seen, one["outbox_to_kafka_ms"] = outbox_to_kafka(stand, topic, what)
            if seen != n:
                raise Wrong(f"of {n} requests, {seen} are in Kafka")
    say(f"{per_s:,.0f}/s on a timetable: answer p99 {one['answer_ms']['p99']:.1f} ms, from the ledger to issued p99 "
        f"{one['ledger_to_issued_ms']['p99']:.1f} ms; a flush of the disk p99 {one['disk_ms']['p99']:.1f} ms")
    return one


def idle(options):
    return by_timetable(options, IDLE_PER_S, options.idle_seconds, quiet=True)


def latency(options, capacity_per_s, target_per_s):
    """Also measures at half of the target's rate, which is the same on every machine."""
    rates = {"50 %": capacity_per_s * 0.5, "90 %": capacity_per_s * 0.9}
    if not options.quick:
        rates["half of the target"] = target_per_s * 0.5
    return {share: by_timetable(options, rate, options.latency_seconds) for share, rate in rates.items()}


# --- memory ---

# Memory of librdkafka for a message with its headers.
MESSAGE_BYTES = 700
# queued.max.messages.kbytes of a consumer; kafka_consumer.c sets it.
FETCHED_BYTES = 16 << 20
STREAMS = 2
SETTLED_S = 1


def buffers(users):
    """Returns the bytes that the settings allow for buffers: events handed to Kafka and not acknowledged
    (relay.in_flight_max for each of two streams), events fetched ahead (by each of issue.workers and by complete), and
    the winners of used-up coupons (8 bytes per user, up to gate.winners_max)."""
    have = settings()
    return {"sent": STREAMS * int(have["relay.in_flight_max"]) * MESSAGE_BYTES,
            "fetched": (int(have["issue.workers"]) + 1) * FETCHED_BYTES,
            "winners": 8 * min(int(have["gate.winners_max"]), users)}


def memory(options):
    """Measures a process after its start, before any request."""
    result = {"first_start_s": [], "start_s": [], "rss_kib": []}
    for _ in range(options.rounds):
        with Stand() as stand:
            server = stand.start()
            result["first_start_s"].append(server.start_s)
            stand.stop(server)
            server = stand.start()
            result["start_s"].append(server.start_s)
            time.sleep(SETTLED_S)
            result["rss_kib"].append(memory_kib(server.process, "VmRSS"))
            stand.stop(server)
    return result
