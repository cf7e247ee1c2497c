# SPDX-License-Identifier: Apache-2.0
"""Turns the measurements of ./dev bench into rows: a figure (the median of its rounds, with the least and the
greatest), its ceiling, its target, and whether it meets the target. The table and the JSON show these rows.
"""

import dataclasses
import statistics

from bench.pipeline import buffers
from bench.programs import Wrong
from bench.stages import SHAPES

MIB_KIB = 1024
CEILINGS = {"accept": "bare libpq", "relay": "bare librdkafka", "issue": "bare libpq",
            "issue_by_row": "bare libpq, by row"}
# Without "issue": see STAGE_NOTES.
SHARES = {"accept": 0.7, "relay": 0.5, "issue_by_row": 0.7}
STAGES = {"issue": "issue, {}, beside the rows it writes (ranges)",
          "issue_by_row": "issue, {}, beside a row for each coupon"}
STAGE_NOTES = {"issue": "not judged", "issue_by_row": "the target was made for a row each"}
CALL_SHARES = {"null": 0.8}
CALLS = {"echo": "echo of the bare gRPC core", "null": "the bridge, nothing behind it", "sold_out": "sold out",
         "peer": "the same refusal by grpc-go"}
POLLERS_WHAT = {"sold_out": "sold out", "accept": "accept"}
REFUSALS_PER_S, REFUSAL_CPU_US = 250000, 6  # with the load on the same two cores
REFUSAL_COSTS = {"redis_commands": "all commands of Redis", "gate_redis_reads": "the gate's looks at flags",
                 "gate_postgres_reads": "the gate's queries", "admit_batches": "admit's transactions",
                 "status_batches": "status' queries"}
COUPONS_PER_S = 60000
BATCHES_PER_S = {"one coupon": 60000, "100 coupons": 50000, "1,000 coupons": 45000}
BATCHES_SERVERS_US = {"100 coupons": 38}
CPU_US = {"all": 33, "couponsd": 15, "postgres": 12}
TARGETS_ECHO_US = 11  # CPU of an echo on the machine that the targets refer to
LONE_ANSWER_MS, LONE_OF_FLUSH, LONE_CPU_US = 0.9, 1.5, 1000
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}
SERVERS = ("couponsd", "postgres", "kafka", "redis")
PROCESSES = (*SERVERS, "load")
ABOVE_BUFFERS_MIB = 64


@dataclasses.dataclass
class Row:
    key: str
    what: str
    value: float
    unit: str = ""
    low: float = None
    high: float = None
    ceiling: float = None
    ceiling_is: str = ""
    ratio: float = None
    target: str = ""
    ok: bool = None
    percentiles: dict = None  # `value` is the percentile that has the target
    note: str = ""

    def need(self, at_least=None, at_most=None, of_ceiling=None):
        """Sets the target."""
        if of_ceiling:
            self.target, self.ok = f">= {of_ceiling:g} of it", self.ratio >= of_ceiling
        elif at_least:
            self.target, self.ok = f">= {at_least:,g}", self.value >= at_least
        else:
            self.target, self.ok = f"<= {at_most:,g}", self.value <= at_most
        return self


def spread(key, what, values, unit, **more):
    return Row(key, what, statistics.median(values), unit, min(values), max(values), **more)


def beside(key, what, pairs, unit, ceiling_is):
    """A row from rounds of (value, ceiling). Its ratio is the median of the rounds' ratios."""
    row = spread(key, what, [value for value, _ in pairs], unit)
    row.ceiling = statistics.median(ceiling for _, ceiling in pairs)
    row.ceiling_is = ceiling_is
    row.ratio = statistics.median(value / ceiling for value, ceiling in pairs)
    return row


# --- measurements to rows ---

def of_calls(results):
    for name in filter(results.get, CALLS):
        speeds = [one["per_s"] for one in results[name]]
        if name == "echo":
            yield spread("echo.per_s", f"{CALLS[name]}, calls", speeds, "/s")
        else:
            pairs = list(zip(speeds, (one["per_s"] for one in results["echo"])))
            row = beside(f"{name}.per_s", f"{CALLS[name]}, answers", pairs, "/s", "echo")
            if name in CALL_SHARES:
                row.need(of_ceiling=CALL_SHARES[name])
            elif name == "sold_out":
                row.need(at_least=REFUSALS_PER_S)
            yield row
        cpu = spread(f"{name}.cpu_us", "the same: server's CPU a call", [one["cpu_us"] for one in results[name]], "us")
        yield cpu.need(at_most=REFUSAL_CPU_US) if name == "sold_out" else cpu
    if results.get("peer"):
        yield beside("sold_out.beside_peer", "sold out, answers",
                     [(ours["per_s"], peer["per_s"]) for ours, peer in zip(results["sold_out"], results["peer"])], "/s",
                     "grpc-go")
    for name, label in REFUSAL_COSTS.items() if "sold_out" in results else ():
        yield spread(f"sold_out.{name}", f"the same: {label}, of 100,000 refusals",
                     [one["used"][name] * 1e5 / one["answers"] for one in results["sold_out"]], "")
    for one in results.get("statistics", []):
        yield Row("sold_out.ledger_scans", "the same: looks into the ledger, by Postgres, of 100,000 refusals",
                  one["ledger_scans"] * 1e5 / one["answers"])


def of_pollers(results):
    for what, by in results.items():
        for pollers, rounds in by.items():
            key = f"pollers.{what}_{pollers}"
            yield spread(f"{key}.per_s", f"{POLLERS_WHAT[what]}, grpc.pollers = {pollers}",
                         [one["per_s"] for one in rounds], "/s")
            yield spread(f"{key}.cpu_us", "the same: server's CPU a call", [one["cpu_us"] for one in rounds], "us")
        pairs = list(zip(by[1], by[2]))
        yield spread(f"pollers.{what}.rates", "the same: rate with two beside one",
                     [two["per_s"] / one["per_s"] for one, two in pairs], "", note="the load shares the cores")
        yield spread(f"pollers.{what}.scaling", "the same: 2 x CPU a call with one / with two",
                     [2 * one["cpu_us"] / two["cpu_us"] for one, two in pairs], "", note="with cores to spare")


def of_stages(results):
    for name, pairs in results.items():
        stage, shape = name.split(", ")
        what = STAGES.get(stage, f"{stage}, {{}}").format(shape)
        row = beside(name.replace(", ", ".").replace(" ", "_"), what, pairs, "rows/s", CEILINGS[stage])
        row.note = STAGE_NOTES.get(stage, "")
        yield row.need(of_ceiling=SHARES[stage]) if stage in SHARES and shape in SHAPES else row


def of_speed(rows, rounds):
    """Notes the machine's speed on each row."""
    values = [one["echo_us"] for one in rounds]
    for row in rows:
        row.note = f"an echo took {min(values):.1f} to {max(values):.1f} us"
        yield row


def cpu_of(name, rounds):
    """name: of a process; "all" that were measured, or "servers", which is all but the load."""
    if name == "all":
        return [sum(one["cpu_us"].values()) for one in rounds]
    names = SERVERS if name == "servers" else (name,)
    return [sum(one["cpu_us"][each] for each in names) for one in rounds]


def of_end_to_end(results):
    for shape, rounds in results.items():
        key = f"end_to_end.{shape.replace(' ', '_')}"
        scales = [one["echo_us"] / TARGETS_ECHO_US for one in rounds]
        rates = [one["per_s"] for one in rounds]
        rows = [spread(f"{key}.per_s", f"end to end, {shape}, {rounds[0]['in_flight']:,} in flight", rates,
                       "coupons/s").need(at_least=COUPONS_PER_S),
                spread(f"{key}.scaled_per_s", f"the same: scaled to an echo of {TARGETS_ECHO_US} us",
                       [rate * scale for rate, scale in zip(rates, scales)], "coupons/s").need(at_least=COUPONS_PER_S),
                spread(f"{key}.accepted_per_s", "the same: accepted", [one["accepted_per_s"] for one in rounds], "/s")]
        for name in ("all", *PROCESSES):
            row = spread(f"{key}.cpu_us.{name}", f"the same: CPU a coupon, {name}", cpu_of(name, rounds), "us")
            rows.append(row.need(at_most=CPU_US[name]) if name in CPU_US else row)
        for name, most in CPU_US.items():
            rows.append(spread(f"{key}.scaled_cpu_us.{name}", f"the same: CPU a coupon, {name}, scaled so",
                               [value / scale for value, scale in zip(cpu_of(name, rounds), scales)], "us").need(
                                   at_most=most))
        yield from of_speed(rows, rounds)
        for others in zip(*(one.get("others", ()) for one in rounds)):
            rate = spread(f"{key}.per_s_at_{others[0]['in_flight']}",
                          f"end to end, {shape}, {others[0]['in_flight']:,} in flight",
                          [one["per_s"] for one in others], "coupons/s")
            yield from of_speed([rate], others)


def of_batches(results):
    for name, rounds in results.items():
        key = f"batches.{name.replace(' ', '_').replace(',', '')}"
        rows = [spread(f"{key}.per_s", f"batches, {name}, {rounds[0]['in_flight']:,} in flight",
                       [one["per_s"] for one in rounds], "coupons/s").need(at_least=BATCHES_PER_S[name]),
                spread(f"{key}.scaled_per_s", f"the same: scaled to an echo of {TARGETS_ECHO_US} us",
                       [one["per_s"] * one["echo_us"] / TARGETS_ECHO_US for one in rounds], "coupons/s")]
        for process in ("servers", *PROCESSES):
            row = spread(f"{key}.cpu_us.{process}", f"the same: CPU a coupon, {process}", cpu_of(process, rounds), "us")
            of_servers = process == "servers" and name in BATCHES_SERVERS_US
            rows.append(row.need(at_most=BATCHES_SERVERS_US[name]) if of_servers else row)
        yield from of_speed(rows, rounds)


def percentiles(key, what, values, judged="p99", at_most=None):
    row = Row(key, what, values[judged], "ms", percentiles=values)
    if at_most:
        row.need(at_most=at_most)
        row.target = f"{PERCENTILES[judged]} {row.target}"
    return row


def of_latency(results, idle):
    half = {"at_most": 20}, {"at_most": 50}
    limits = {"idle": ({}, {"judged": "p50", "at_most": 5}), "50 %": half, "half of the target": half}
    for share, one in {"idle": idle, **results}.items():
        key = f"latency.{share.replace(' %', '').replace(' ', '_')}"
        of_answer, of_issued = limits.get(share, ({}, {}))
        issued = one["ledger_to_issued_ms"]
        yield percentiles(f"{key}.answer_ms", f"{share}, {one['asked_per_s']:,.0f}/s: answer", one["answer_ms"],
                          **of_answer)
        yield percentiles(f"{key}.issued_ms", "the same: from the ledger to issued", issued, **of_issued)
        yield percentiles(f"{key}.issued_bound_ms", "the same: that and the answer, added",
                          {name: issued[name] + one["answer_ms"][name] for name in issued})
        yield percentiles(f"{key}.disk_ms", "the disk meanwhile: 8 KiB written and flushed", one["disk_ms"])
        yield Row(f"{key}.overloaded", "the same: refused as OVERLOADED",
                  100 * one["outcomes"].get("OVERLOADED", 0) / one["requests"], "%")


def of_outbox(idle):
    yield percentiles("relay.idle_ms", "relay, idle: from the outbox to Kafka", idle["outbox_to_kafka_ms"],
                      judged="p50", at_most=3)


def of_lone(slices, idle_cpu_ms):
    answers = [(one["answer_ms"]["p50"], one["flush_ms"]) for one in slices]
    row = beside("lone.answer_ms", "one caller, one call after the other: answer, p50", answers, "ms", "ms: a flush")
    row.target = f"<= {LONE_ANSWER_MS:g}, or <= {LONE_OF_FLUSH:g} of it"
    row.ok = row.value <= LONE_ANSWER_MS or row.ratio <= LONE_OF_FLUSH
    yield row
    yield spread("lone.answer_p99_ms", "the same: p99", [one["answer_ms"]["p99"] for one in slices], "ms")
    for name in ("all", *idle_cpu_ms):
        cpu = spread(f"lone.cpu_us.{name}", f"the same: CPU a call, {name}", cpu_of(name, slices), "us")
        yield cpu.need(at_most=LONE_CPU_US) if name == "all" else cpu
    yield spread("lone.switches", "the same: context switches of couponsd, a call",
                 [one["switches"] for one in slices], "")
    for name, value in idle_cpu_ms.items():
        yield Row(f"lone.idle_cpu_ms.{name}", f"nobody calls: CPU a second, {name}", value, "ms")


def of_memory(starts, whole, users):
    yield spread("memory.first_start_ms", "start: exec to ready, an empty database and no topics",
                 [1000 * value for value in starts["first_start_s"]], "ms")
    yield spread("memory.start_ms", "start: exec to ready", [1000 * value for value in starts["start_s"]], "ms")
    yield spread("memory.rss_mib", "couponsd's memory: RSS after the start",
                 [value / MIB_KIB for value in starts["rss_kib"]], "MiB")
    if whole:
        room = sum(buffers(users).values()) / (1 << 20)
        peaks = [one["peak_kib"] / MIB_KIB for rounds in whole.values() for one in rounds]
        yield spread("memory.peak_mib", "couponsd's memory: VmHWM, end to end", peaks, "MiB", ceiling=room,
                     ceiling_is="of buffers").need(at_most=round(room + ABOVE_BUFFERS_MIB))


def rows_of(results, options):
    """Yields the rows of all measurements, in the order in which a coupon passes the stages."""
    rows = []
    if "calls" in results:
        rows += of_calls(results["calls"])
    if "pollers" in results:
        rows += of_pollers(results["pollers"])
    if "stages" in results:
        rows += of_stages(results["stages"])
    if "idle" in results and "relay" in options.only:
        rows += of_outbox(results["idle"])
    if "lone" in results:
        rows += of_lone(**results["lone"])
    if "end_to_end" in results and "end_to_end" in options.only:
        rows += of_end_to_end(results["end_to_end"])
    if "batches" in results:
        rows += of_batches(results["batches"])
    if "latency" in results:
        rows += of_latency(results["latency"], results["idle"])
    if "memory" in results:
        rows += of_memory(results["memory"], results.get("end_to_end"), options.n)
    broken = [row.key for row in rows if not isinstance(row.value, (int, float)) or row.value != row.value]
    if broken:
        raise Wrong(f"no figure for {', '.join(broken)}")
    return rows


# --- the table ---

def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cells(row):
    figure = f"{number(row.value)} {row.unit}".strip()
    if row.percentiles:
        figure = ", ".join(f"{PERCENTILES[name]} {number(value)}" for name, value in row.percentiles.items()) + " ms"
    elif row.low != row.high:
        figure += f" ({number(row.low)} to {number(row.high)})"
    return [row.what, figure, f"{number(row.ceiling)} {row.ceiling_is}".strip(),
            "" if row.ratio is None else f"{row.ratio:.2f}", row.target,
            "" if row.ok is None else "ok" if row.ok else "short", row.note]


NOTES = """
Figures are medians (least to greatest) of the rounds; ratios are medians of the rounds' ratios. CPU includes the load,
except that of one caller, which runs until the coupon is issued and complete has read its event.
Issuing writes a row per range of tickets. Its target dates from when it wrote a row per coupon, and is judged against
bare libpq that does the same. The comparison with the rows that it writes now is shown but not judged.
"Echo" is the CPU of an echo by the bare gRPC core right before and after the runs: it shows the machine's speed. The
end-to-end targets refer to a machine on which an echo takes 11 us; scaled figures are estimates for such a machine.
Closed loops run with flow.patience_ms = 0; all other settings are the defaults.
Latencies are from an open loop: an answer counts from the time that its request was due. "From the ledger to issued"
runs from accept_time, the start of the batch that recorded the request, to issue_time, the start of the batch that
issued the coupon; earlier time belongs to the answer's latency. Kafka's times are whole ms, so 0.5 ms is added.
Memory is compared with its buffers: relay.in_flight_max events of 700 bytes per stream, 16 MiB of fetched messages for
each of issue.workers and for complete, and 8 bytes per winner."""


def grid(lines):
    """Returns the table in Markdown; the first line is the head."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths))} |" for line in lines)


def table(rows):
    return grid([["", "figure", "ceiling", "ratio", "should be", "", "note"], *map(cells, rows)])
