# SPDX-License-Identifier: Apache-2.0
"""One caller that makes one request after the other: how long an answer takes, beside a flush of the disk in the same
minute, and the CPU of all programs for a call, until its coupon is issued and complete has read its event.

The disk is measured between the slices of calls and not beside them, since both would wait for each other.
"""

import os
import statistics
import tempfile
import time

from bench.pipeline import ISSUED_S, issued_of, warm_up
from bench.programs import expect_accepted, load, say
from bench.stand import Stand, changed, cpu_now
from bench.watch import Watch
from tests.harness import environment, wait_until

FLUSHES = 100
IDLE_S = 3


def flush_ms():
    """Returns the median time to write and flush 8 KiB on the servers' disk, as each commit does."""
    seconds = []
    with tempfile.TemporaryFile(dir=environment.server("SERVERS_DIR")) as file:
        for _ in range(FLUSHES):
            began = time.monotonic()
            os.pwrite(file.fileno(), bytes(8192), 0)
            os.fdatasync(file.fileno())
            seconds.append(time.monotonic() - began)
    return 1000 * statistics.median(seconds)


def switches(pid):
    """The context switches so far of all threads of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as status:
            total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
    return total


def completed(server):
    return server.metric("couponsd_stage_batch_size_sum", stage="complete")


def slice_of_calls(stand, server, n, options):
    what = stand.create_some(server, 1, n)
    flush_before_ms = flush_ms()
    with Watch(stand, issued_of(what)) as watch:
        events = completed(server)
        cpu_before, switches_before = cpu_now([server], watch), switches(server.process.pid)
        result = load(server.grpc, what, requests=n, options=options, gather_us=0)
        watch.wait_for(n, ISSUED_S)
        wait_until(lambda: completed(server) >= events + n, ISSUED_S, what="complete has read all events")
        cpu = {name: value - cpu_before[name] for name, value in cpu_now([server], watch).items()}
        switched = switches(server.process.pid) - switches_before
    expect_accepted(result, n)
    return {"answer_ms": {name: result["latency_us"][name] / 1000 for name in ("p50", "p99")},
            "flush_ms": (flush_before_ms + flush_ms()) / 2, "per_s": n / result["seconds"],
            "cpu_us": {name: value * 1e6 / n for name, value in cpu.items()}, "switches": switched / n}


def idle_cpu(stand, server):
    """Returns the CPU in ms a second while nobody calls."""
    with Watch(stand, "select 1") as watch:
        before = cpu_now([server], watch)
        time.sleep(IDLE_S)
        return {name: 1000 * (value - before[name]) / IDLE_S for name, value in cpu_now([server], watch).items()}


def measure(options):
    """Returns the slices, and the CPU of an idle installation."""
    alone = changed(options, connections=1, in_flight=1)
    with Stand() as stand:
        server = stand.start()
        warm = warm_up(stand, server, options)
        slice_of_calls(stand, server, options.lone_n // 4, alone)
        slices = [slice_of_calls(stand, server, options.lone_n, alone) for _ in range(options.lone_slices)]
        idle = idle_cpu(stand, server)
        stand.stop(server)
        n = warm + options.lone_n // 4 + options.lone_n * options.lone_slices
        stand.check_accepted(n)
        stand.check_issued(n)
    for one in slices:
        say(f"one caller: answer p50 {one['answer_ms']['p50']:.2f} ms, p99 {one['answer_ms']['p99']:.2f} ms; a flush "
            f"{one['flush_ms']:.2f} ms; CPU us a call " + ", ".join(f"{k} {v:.0f}" for k, v in one["cpu_us"].items())
            + f"; context switches of couponsd {one['switches']:.0f}")
    return {"slices": slices, "idle_cpu_ms": idle}
