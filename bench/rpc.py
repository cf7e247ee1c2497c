# SPDX-License-Identifier: Apache-2.0
"""rpc.py: measures the cost of the bridge over the bare C core, with an echo server on each and the same client, all on
this machine.

Rounds alternate between the servers and start a new process each time. Only the ratio within a round counts, because
the machine's speed changes. The exit code is 1 if calls fail, or if the bridge's own code allocates for a call.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys

from tests.harness import BUILD
from tests.harness.processes import cpu_seconds

SERVERS = {
    "raw": [f"{BUILD}/rpc_echo_raw"],
    "raw, told of early ends": [f"{BUILD}/rpc_echo_raw", "--watch"],
    "bridge": [f"{BUILD}/rpc_echo_bridge", f"{BUILD}/tests/unit/rpc/toy.pb"],
}
# This server links the core as a shared library, so that we can tell which of them allocates.
COUNTED = {"bridge": [f"{BUILD}/rpc_echo_counted", f"{BUILD}/tests/unit/rpc/toy.pb"]}


def load(address, seconds, arguments):
    done = subprocess.run([f"{BUILD}/rpc_load", address, str(seconds), str(arguments.connections),
                           str(arguments.in_flight)], capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        sys.exit(f"rpc.py: rpc_load: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


def run(command, arguments, work):
    """Starts the server, warms it up, and runs work(address, process). Returns the results of both."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline()
        found = re.fullmatch(r"listening (\S+)\n", line)
        if not found:
            sys.exit(f"rpc.py: {command[0]} says {line!r}")
        load(found.group(1), arguments.seconds / 4, arguments)  # warms up: pools, connections
        result = work(found.group(1), server)
        server.send_signal(signal.SIGTERM)
        allocations = json.loads(server.stdout.readline())
        if server.wait(30):
            sys.exit(f"rpc.py: {command[0]} ended with {server.returncode}")
    return result, allocations


def measure(name, arguments):
    """Runs one round of one server. Returns calls per second, and CPU and allocations per call."""

    def timed(address, server):
        before = cpu_seconds(server.pid)
        result = load(address, arguments.seconds, arguments)
        return result, cpu_seconds(server.pid) - before

    def counted(address, server):
        server.send_signal(signal.SIGUSR1)
        return load(address, arguments.seconds / 4, arguments)

    (result, cpu), _ = run(SERVERS[name], arguments, timed)
    calls, allocations = run(COUNTED.get(name, SERVERS[name]), arguments, counted)
    return {
        "per_s": result["calls"] / result["seconds"],
        "cpu_us": cpu * 1e6 / result["all_calls"],
        "own": allocations["own"], "counted": calls["all_calls"],
        "own_per_call": allocations["own"] / calls["all_calls"],
        "all_per_call": allocations["all"] / calls["all_calls"],
    }


def spread(values, digits=2):
    values = sorted(values)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="duration per server and round (2)")
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--in-flight", type=int, default=64, help="calls on each connection")
    arguments = parser.parse_args()
    results = {name: [] for name in SERVERS}
    for _ in range(arguments.rounds):
        for name in SERVERS:
            results[name].append(measure(name, arguments))
    print(f"{arguments.rounds} rounds of {arguments.seconds} s, {arguments.connections} connections with "
          f"{arguments.in_flight} calls in flight each: median (least to greatest)\n")
    print("| server | calls/s | beside raw | CPU us a call | beside raw | allocations a call | by its own code |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        speed = [one["per_s"] / raw["per_s"] for one, raw in zip(rounds, results["raw"])]
        cost = [one["cpu_us"] / raw["cpu_us"] for one, raw in zip(rounds, results["raw"])]
        print(f"| {name} | {spread([one['per_s'] for one in rounds], 0)} | {spread(speed)} "
              f"| {spread([one['cpu_us'] for one in rounds], 1)} | {spread(cost)} "
              f"| {statistics.median(one['all_per_call'] for one in rounds):.2f} "
              f"| {statistics.median(one['own_per_call'] for one in rounds):.4f} |")
    # The pool may still grow, at most to the number of concurrent calls; each call has two arenas.
    busy = [one for one in results["bridge"] if one["own"] > 3 * arguments.connections * arguments.in_flight]
    if busy:
        sys.exit(f"rpc.py: the bridge's own code allocates: {busy[0]['own']} times in {busy[0]['counted']} calls")


if __name__ == "__main__":
    main()
